"""What a run passes on to its loggers (see `eofuse.learning.loggers`), beside what it writes into its folder: `Logs`.

The folder's `logged.json` says up to which step each logger has what. So a run that is gone on with goes on in its logged run, and one
that was done before anybody asked for a logger is passed on as a whole. A logger that fails is left out with a warning.
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from eofuse import __version__, ranks
from eofuse.data.store import shared_store
from eofuse.errors import EofuseError
from eofuse.learning.curves import EVALUATIONS_FILE, LOSSES_FILE, ON_TRAINING, read_curve
from eofuse.learning.evaluate import scores_on_test
from eofuse.learning.facts import DATA_FILE, LOGGED_FILE, RESULT_FILE, TEST_FILE, read_facts, write_facts
from eofuse.learning.loggers import LOGGERS, LoggedRun, RunLogger, Status
from eofuse.learning.options import LearningOptions
from eofuse.learning.run import open_run

INTERVAL = {"": "value", "_low": "low", "_high": "high"}
"""End of the name of a score → column of `scores_on_test`."""

_logger = logging.getLogger(__name__)


def check_loggers(names: Sequence[str]) -> None:
    """Raises a `UsageError` if there is no such logger, or its library is missing."""
    for name in names:
        LOGGERS[name].check()


class Logs:
    """Passes on what a run or pretraining records, in the first of several processes; use it in a `with` block.

    Args:
        folder: of the run.
        options: its recipe.
        loggers: their names, in place of `train.loggers`.
        name: of the run, in place of that of the recipe.
        study: that it is of.
    """

    def __init__(
        self,
        folder: Path,
        options: LearningOptions,
        *,
        loggers: Sequence[str] | None = None,
        name: str | None = None,
        study: str | None = None,
    ) -> None:
        self.folder, self.options, self.name, self.study = folder, options, name or options.name, study
        names = options.train.loggers if loggers is None else loggers
        self.names = names if ranks.is_first() else ()
        self._status: Status = "unfinished"
        self._opened: dict[str, RunLogger] | None = None
        self._record: dict[str, dict[str, Any]] = {}

    def write(self, losses: Mapping[str, Sequence[float]], evaluations: Sequence[Mapping[str, float]]) -> None:
        """Passes on what was seen since the last time.

        Args:
            losses: of every step so far, by name (see `eofuse.learning.curves.Curves`).
            evaluations: so far.
        """
        looks = _looks(losses, evaluations)
        for name, logger in self._loggers():
            with self._spared(name):
                for step, values in looks:
                    if step > self._record[name]["step"]:
                        logger.log(values, step)
                        self._record[name]["step"] = step
                self._save()

    def finish(self) -> None:
        """Passes on the end of a run that is done: what is missing of its course, and the scores on test patches with intervals."""
        with self._spared(*self.names):
            if not self._loggers():
                return
            result, stage = read_facts(self.folder, RESULT_FILE), self._stage()
            if (self.folder / LOSSES_FILE).is_file():  # not of a control that was fitted in one go
                losses, evaluations = (read_curve(self.folder / name) for name in (LOSSES_FILE, EVALUATIONS_FILE))
                columns = {str(name): losses[name].tolist() for name in losses.columns.drop("step")}
                rows = evaluations.to_dict("records")
                self.write(columns, [{str(name): value for name, value in row.items()} for row in rows])
            scores = _finite(self._scores())
            for name, logger in self._loggers():
                with self._spared(name):
                    logger.end(scores, result["steps"])
                    self._record[name]["stage"] = stage
                    self._save()
            self._status = "failed" if result.get("diverged") else "finished"

    def _stage(self) -> str:
        """How far the run is: `tested`, `trained`, or neither."""
        stages = {"tested": TEST_FILE, "trained": RESULT_FILE}
        return next((stage for stage, name in stages.items() if (self.folder / name).is_file()), "")

    def _scores(self) -> dict[str, float]:
        """Scores on test patches by name: `test/accuracy`, of several targets `test/<target>.accuracy`."""
        if not (self.folder / TEST_FILE).is_file():
            return {}
        run, found = open_run(self.folder), dict[str, float]()
        for row in scores_on_test(run):
            before = f"test/{row['target']}." if len(run.targets) > 1 else "test/"
            found |= {f"{before}{row['metric']}{end}": row[key] for end, key in INTERVAL.items()}
            found |= {f"{before}{name}": row[name] for name in ("n_test", "n_scenes")}
        return found

    def _loggers(self) -> list[tuple[str, RunLogger]]:
        """Those that have not failed; they are opened when there is something to pass on."""
        if self._opened is None:
            self._opened = {}
            with self._spared(*self.names):
                if (self.folder / LOGGED_FILE).is_file():
                    self._record = read_facts(self.folder, LOGGED_FILE)
                for name in self.names:
                    with self._spared(name):
                        self._open(name)
        return list(self._opened.items())

    def _open(self, name: str) -> None:
        known = self._record.get(name)
        if known and known["stage"] and known["stage"] == self._stage():
            return
        facts = {
            "eofuse.folder": str(self.folder.resolve()),
            "eofuse.fingerprint": self._fingerprint(),
            "eofuse.version": __version__,
        }
        run = LoggedRun(self.name, self.study, facts, self.options.model_dump(mode="json"))
        LOGGERS[name].check()
        logger = LOGGERS[name](run, known["place"] if known else None)
        step = known["step"] if known and known["place"] == logger.place else 0
        self._record[name] = {"place": logger.place, "step": step, "stage": ""}
        assert self._opened is not None
        self._opened[name] = logger
        self._save()

    def _fingerprint(self) -> str:
        """Of the store; controls don't record it, as their study does."""
        if (self.folder / DATA_FILE).is_file():
            return str(read_facts(self.folder, DATA_FILE)["fingerprint"])
        return shared_store(self.options.data.store).fingerprint

    def _save(self) -> None:
        write_facts(self.folder, LOGGED_FILE, self._record)

    @contextmanager
    def _spared(self, *names: str) -> Iterator[None]:
        """Leaves these loggers out if something fails, whatever it is."""
        try:
            yield
        except Exception as error:
            for name in names:
                (self._opened or {}).pop(name, None)
            why = str(error) if isinstance(error, EofuseError) else f"{type(error).__name__}: {error}"
            words = " ".join(why.split())[:300]
            _logger.warning("%s gets nothing more of the run %s: %s", " and ".join(names), self.folder, words)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status = self._status
        if error is not None:
            status = "failed" if isinstance(error, Exception) else "interrupted"
        for name, logger in list((self._opened or {}).items()):
            with self._spared(name):
                logger.close(status)


def _looks(
    losses: Mapping[str, Sequence[float]], evaluations: Sequence[Mapping[str, float]]
) -> list[tuple[int, dict[str, float]]]:
    """What each evaluation saw, with its step: the mean losses since the one before, and what was evaluated."""
    found, before = [], 0
    for row in evaluations:
        step = int(row["step"])
        values = {f"train/{name}": sum(each[before:step]) / (step - before) for name, each in losses.items()}
        for name, value in row.items():
            if name != "step":
                values[name if name.startswith(ON_TRAINING) else f"validation/{name}"] = value
        found.append((step, _finite(values)))
        before = step
    return found


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}

"""The runs of a study as steps that wait for each other (see `eofuse.studies.schedule`): what each needs, and what it leaves.

A pretraining comes before the runs that start from it, the search before the runs with the rate that it finds, and a run that picks
labels before those that learn from them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from eofuse.data.splits.subsets import Amount
from eofuse.errors import DataError
from eofuse.files import write_text
from eofuse.learning.annotation import order_file
from eofuse.learning.facts import RESULT_FILE, TEST_FILE
from eofuse.learning.logs import Logs
from eofuse.learning.options import LearningOptions
from eofuse.learning.run import RECIPE_FILE, open_run, recipe_text
from eofuse.learning.transfer import weights_digest
from eofuse.progress import Progress
from eofuse.studies.executors import Executor, Job
from eofuse.studies.failures import Failure, describe_failure, diverged_before, forget_failure, note_failure
from eofuse.studies.grid import TRAINED, Cell, at_rates, final_cells, rated_by, search_cells
from eofuse.studies.missing import is_answered, is_asked, job
from eofuse.studies.picking import PICKING
from eofuse.studies.plan import Key, StudyPlan
from eofuse.studies.pretraining import Pretraining, started_from
from eofuse.studies.schedule import Step, carry_out

AnyCell = TypeVar("AnyCell", Cell, Pretraining)

NO_RATE = "training diverged at every learning rate"

UNTRAINED_WEIGHT = 0.25
"""How long a control takes that fits something in one go, beside a run that is trained."""


class CellFolders:
    """The folder of each run of a study.

    Args:
        folder: of the study.
        data: digest of the data and of the patches that are used.
        fingerprint: of the store.
    """

    def __init__(self, folder: Path, data: str, fingerprint: str) -> None:
        self.folder, self.data, self.fingerprint = folder, data, fingerprint
        self._weights: dict[tuple[str | None, ...], str | None] = {}

    def of(self, cell: Cell | Pretraining) -> Path:
        """A run's folder; what is pretrained does not depend on which patches have labels.

        Other weights in the file from which a run starts make another run.
        """
        return self.folder / "cells" / cell.identity(self._data(cell))

    def _data(self, cell: Cell | Pretraining) -> str:
        if isinstance(cell, Pretraining):
            return self.fingerprint
        start = None if cell.pretraining else cell.options.start
        if start is None:
            return self.data
        key = (start.source, start.file, *start.also)
        if key not in self._weights:
            self._weights[key] = weights_digest(start)
        return " ".join(filter(None, [self.data, self._weights[key]]))

    def order(self, cell: Cell) -> Path | None:
        """Where the order of labels lies that a run takes the first of, if they are picked."""
        if cell.before is None:
            return None
        return order_file(self.of(cell.before), str(cell.options.labels.picked_by))

    def write_recipe(self, cell: Cell | Pretraining) -> None:
        """Writes the recipe of a run into its folder, where it is another: store and device may have moved since it began."""
        options: LearningOptions = cell.options
        if isinstance(cell, Cell) and cell.pretraining:
            options = started_from(cell.options, self.of(cell.pretraining))
        if isinstance(cell, Cell) and (order := self.order(cell)):
            labels = cell.options.labels.model_copy(update={"order": str(order)})
            options = options.model_copy(update={"labels": labels})
        file, text = self.of(cell) / RECIPE_FILE, recipe_text(options)
        if not file.is_file() or file.read_bytes() != text.encode():
            write_text(file, text)


class StudyWork:
    """The state of a study that runs, and its progress messages.

    Args:
        plan: the study.
        folders: of its runs.
        with_maps: variants whose targets and inputs have pixels.
        retry_failed: try runs again whose training diverged.
        saved: called when a job has ended.
        progress: called with (runs done, runs in all, a few words).

    Attributes:
        rates: the learning rates, where they have been found; the first of the search elsewhere.
        without_rate: variants, folds and amounts of labels for which none was found.
        failures: why jobs failed, by `Job.key`.
    """

    def __init__(
        self,
        plan: StudyPlan,
        folders: CellFolders,
        with_maps: Sequence[str],
        retry_failed: bool,
        saved: Callable[[], None],
        progress: Progress | None,
    ) -> None:
        self.plan, self.folders, self.with_maps, self.retry_failed = plan, folders, with_maps, retry_failed
        self.saved, self.progress = saved, progress
        self.rates = dict.fromkeys(plan.keys, plan.axes.search.learning_rates[0])
        self.without_rate: set[Key] = set()
        self.failures: dict[tuple[str, Path], Failure] = {}
        self.unpicked: dict[Path, Failure] = {}
        self.unanswered: dict[Path, Failure] = {}
        self.done = self.total = 0
        self._searching = dict.fromkeys(plan.keys, 0)
        self._searched: dict[Key, list[tuple[Cell, Path]]] = {key: [] for key in plan.keys}

    def run(self, executor: Executor) -> None:
        """Does all runs of the study.

        Raises:
            DataError: if no variant can be trained, or no run can be done any more.
        """
        steps = self.steps()
        self.total = sum(step.is_counted for step in steps)
        carry_out(steps, executor)
        begun = {step.folder for step in steps if isinstance(step, _CellStep)}
        left = [cell for cell in self.tested() if self.folders.of(cell) not in begun]  # only known with their rates
        self.total += len(left)
        carry_out([_CellStep(self, cell, []) for cell in left], executor)
        self._name_shared_runs()

    def _name_shared_runs(self) -> None:
        """Gives runs that several variants share the recipe of the last one, in whatever order they were done."""
        sharing: dict[Path, list[Cell]] = {}
        for cell, folder in self.finished(self._cells()):
            sharing.setdefault(folder, []).append(cell)
        for cells in sharing.values():
            if len({cell.options.name for cell in cells}) > 1:
                self.folders.write_recipe(cells[-1])

    def steps(self) -> list["_StudyStep"]:
        """Everything that is to be done."""
        pretrained = {_slot(each): _CellStep(self, each, []) for each in self.plan.pretrainings}
        searches: dict[Key, list[Step]] = {key: [] for key in self.plan.keys}
        finals: dict[Slot, _CellStep] = {}
        picks: dict[tuple[Slot, str | None], _PickStep] = {}
        steps: list[_StudyStep] = [*pretrained.values()]
        for cell in self._cells():
            after: list[Step] = [pretrained[_slot(cell.pretraining)]] if cell.pretraining else []
            if cell.before:
                picker, method = _slot(cell.before), cell.options.labels.picked_by
                if (picker, method) not in picks:
                    picks[picker, method] = _PickStep(self, finals[picker], str(method))
                    steps.append(picks[picker, method])
                after.append(picks[picker, method])
            if rated := rated_by(self.plan, cell):
                after += searches[rated, cell.options.split.fold, cell.amount]
            step = _CellStep(self, cell, after)
            steps.append(step)
            if cell.role == "search":
                searches[cell.key].append(step)
                self._searching[cell.key] += 1
            elif cell.role == "variant":
                finals[_slot(cell)] = step
        asked = [step for step in finals.values() if isinstance(step.cell, Cell) and is_asked(self.plan, step.cell)]
        return [*steps, *(_AskStep(self, step) for step in asked)]

    def _cells(self) -> list[Cell]:
        """Search and final runs, stage by stage."""
        found = []
        for amounts in self.plan.stages:
            found += search_cells(self.plan, amounts, self.rates)
            found += self._final_cells(amounts)
        return found

    def _final_cells(self, amounts: Sequence[Amount]) -> list[Cell]:
        return final_cells(self.plan, self.rates, self.with_maps, amounts)

    def searched(self) -> list[Cell]:
        """The runs of the search, as planned."""
        return [cell for amounts in self.plan.stages for cell in search_cells(self.plan, amounts, self.rates)]

    def tested(self) -> list[Cell]:
        """The runs that are tested, as planned, with the learning rates that were found."""
        return [cell for amounts in self.plan.stages for cell in self._final_cells(amounts)]

    def finished(self, cells: Sequence[AnyCell]) -> list[tuple[AnyCell, Path]]:
        """Those of the runs that did not fail, with their folders."""
        found = [(cell, self.folders.of(cell)) for cell in cells]
        return [(cell, folder) for cell, folder in found if Job(cell.role, folder).key not in self.failures]

    def failed(self) -> list[dict[str, Any]]:
        """The runs that failed, as planned (see `describe_failure`)."""
        found = []
        cells: list[Cell | Pretraining] = [*self.plan.pretrainings, *self._cells()]
        for cell in cells:
            if failure := self.failures.get(Job(cell.role, self.folders.of(cell)).key):
                found.append(describe_failure(cell, failure))
        asked = {self.folders.of(cell): cell for cell in self.tested() if is_asked(self.plan, cell)}
        for folder, failure in self.unanswered.items():
            found.append(describe_failure(asked[folder], failure, "without"))
        return found

    def log(self, cell: Cell | Pretraining, folder: Path) -> None:
        """Passes a run that is done on to the loggers of the study; one that was searched and tested is the latter."""
        is_tested_too = cell.role == "search" and (folder / TEST_FILE).is_file()
        if self.plan.loggers and not is_tested_too:
            with Logs(folder, cell.options, loggers=self.plan.loggers, name=cell.words, study=self.plan.name) as logs:
                logs.finish()

    def tell(self, words: str, more: int = 1) -> None:
        """Counts runs, and reports how the last one ended."""
        self.done += more
        if self.progress:
            self.progress(self.done, self.total, words)

    def note_search(self, cell: Cell, folder: Path) -> None:
        """Takes the result of a search run; with that of the last one, the best learning rate is known.

        Raises:
            DataError: if no variant can be trained.
        """
        key = cell.key
        self._searching[key] -= 1
        self._searched[key].append((cell, folder))
        if self._searching[key]:
            return
        found = [(each, at) for each, at in self._searched[key] if ("search", at) not in self.failures]
        best = best_learning_rates(found)
        self.rates |= best
        if best:
            return
        self.without_rate.add(key)
        stage = next(stage for stage in self.plan.stages if key[2] in map(str, stage))
        keys = [each for each in self.plan.keys if each[2] in map(str, stage)]
        if self.without_rate.issuperset(keys):
            where = ", ".join(dict.fromkeys(f"study.variants.{name}" for name, _, _ in keys))
            fix = "add smaller ones to study.search.learning_rates"
            raise DataError(f"{NO_RATE}, or the runs failed", where=where, fix=fix)


Slot = tuple[str, int, int, str]
"""Variant or pretraining, fold, seed and amount of labels."""


def _slot(cell: Cell | Pretraining) -> Slot:
    """Which run it is among those of one role, before its learning rate is known."""
    name, amount = (cell.variant, cell.amount) if isinstance(cell, Cell) else (cell.name, "")
    return name, cell.options.split.fold, cell.options.seed, amount


class _StudyStep(Step):
    is_counted = True


class _CellStep(_StudyStep):
    """A run, or a pretraining."""

    def __init__(self, study: StudyWork, cell: Cell | Pretraining, after: Sequence[Step]) -> None:
        super().__init__(after)
        self.study, self.cell = study, cell
        self.weight = 1.0 if isinstance(cell, Pretraining) or cell.role in TRAINED else UNTRAINED_WEIGHT
        self.folder = Path()

    def begin(self) -> Job | None:
        """Trains what is not done yet, unless it would fail."""
        if isinstance(self.cell, Cell):
            self.cell = at_rates(self.study.plan, self.cell, self.study.rates)
        self.folder = self.study.folders.of(self.cell)
        wanted = Job(self.cell.role, self.folder)
        if wanted.key not in self.study.failures and (failure := self._kept_failure()):
            self.study.failures[wanted.key] = failure
        if wanted.key in self.study.failures:
            self._finish("")
            return None
        self.study.folders.write_recipe(self.cell)
        if _is_done(self.cell, self.folder):
            self._finish("")
            return None
        return wanted

    def _kept_failure(self) -> Failure | None:
        """Why it is not run, if it is not: it diverged before, or what it needs failed."""
        study, cell = self.study, self.cell
        if _is_done(cell, self.folder):
            return None
        if isinstance(cell, Cell):
            if cell.role == "variant" and cell.key in study.without_rate:
                return Failure("blocked", NO_RATE)
            if cell.pretraining:
                start = study.failures.get(("pretraining", study.folders.of(cell.pretraining)))
                if start:
                    return Failure("blocked", f"the pretraining '{cell.pretraining.name}' failed: {start.why}")
            if (order := study.folders.order(cell)) and not order.is_file():
                why = study.unpicked[order].why if order in study.unpicked else "it failed"
                return Failure("blocked", f"the run that picks its labels gave none: {why}")
        return None if study.retry_failed else diverged_before(self.folder)

    def again(self, failure: Failure) -> None:
        """Keeps the failure for whoever looks, and says it."""
        note_failure(self.folder, failure)
        self.study.tell(f"{self.cell.words}: {failure.why}; once more", 0)

    def end(self, failure: Failure | None) -> None:
        """Records how the run ended."""
        self.study.saved()
        forget_failure(self.folder)
        words = self.cell.words
        if failure:
            self.study.failures[Job(self.cell.role, self.folder).key] = failure
            note_failure(self.folder, failure)
            words = f"{words}: failed, {failure.why}"
        self._finish(words)

    def _finish(self, words: str) -> None:
        if _is_done(self.cell, self.folder):
            self.study.log(self.cell, self.folder)
        self.study.tell(words)
        if isinstance(self.cell, Cell) and self.cell.role == "search":
            self.study.note_search(self.cell, self.folder)


class _PickStep(_StudyStep):
    """A finished run picks the labels of those with more."""

    is_counted = False

    def __init__(self, study: StudyWork, picker: _CellStep, method: str) -> None:
        super().__init__([picker])
        self.study, self.picker, self.method = study, picker, method

    @property
    def order(self) -> Path:
        """Where it writes."""
        return order_file(self.picker.folder, self.method)

    def begin(self) -> Job | None:
        """Picks if there is a run that can, and none has."""
        if self.order.is_file() or not _is_done(self.picker.cell, self.picker.folder):
            return None
        return Job(f"{PICKING}{self.method}", self.picker.folder)

    def end(self, failure: Failure | None) -> None:
        """Keeps why there are none."""
        self.study.saved()
        if failure:
            self.study.unpicked[self.order] = failure


class _AskStep(_StudyStep):
    """A final run is asked about its test patches again, with modalities taken away."""

    weight = UNTRAINED_WEIGHT

    def __init__(self, study: StudyWork, run: _CellStep) -> None:
        super().__init__([run])
        self.study, self.run = study, run

    def begin(self) -> Job | None:
        """Asks a run that is done and was not asked before."""
        done = _is_done(self.run.cell, self.run.folder)
        if not done or is_answered(self.study.plan, open_run(self.run.folder)):
            self.study.tell("")
            return None
        return Job(job(self.study.plan.axes), self.run.folder)

    def end(self, failure: Failure | None) -> None:
        """Keeps why there is no answer."""
        self.study.saved()
        if failure:
            self.study.unanswered[self.run.folder] = failure
        self.study.tell(f"{self.run.cell.words}, without some inputs")


def best_learning_rates(searches: Sequence[tuple[Cell, Path]]) -> Mapping[Key, float]:
    """The learning rate of the best search run by validation for each variant, fold and amount; the smaller one of equals.

    Those are left out of which every run diverged.
    """
    best: dict[Key, tuple[float, float]] = {}
    for cell, folder in searches:
        score = open_run(folder).result["score"]
        candidate = (-math.inf if score is None else score, -cell.options.train.learning_rate)
        best[cell.key] = max(best.get(cell.key, candidate), candidate)
    return {key: -negative for key, (score, negative) in best.items() if score > -math.inf}


def _is_done(cell: Cell | Pretraining, folder: Path) -> bool:
    return (folder / (RESULT_FILE if cell.role in ("search", "pretraining") else TEST_FILE)).is_file()

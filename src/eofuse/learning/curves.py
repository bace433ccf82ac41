"""Training curves of a run as CSV files and TensorBoard events; rewritten so that they always fit the checkpoint."""

import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from eofuse.files import replacing
from eofuse.records import read_table

if TYPE_CHECKING:
    from eofuse.learning.logs import Logs

LOSSES_FILE = "losses.csv"
EVALUATIONS_FILE = "evaluations.csv"

ON_TRAINING = "train/"
"""Before the names of what was evaluated on training patches, in `evaluations.csv`."""


class Curves:
    """Writes a run's losses, with what else is logged (a row a step), and evaluations (a row each).

    Args:
        folder: of the run.
        tensorboard: whether events for TensorBoard are written, too.
        logs: where else all of it is passed on to.
    """

    def __init__(self, folder: Path, tensorboard: bool, logs: "Logs | None" = None) -> None:
        self.folder = folder
        self.logs = logs
        self._events: RecordWriter | None = None
        self._losses_logged = 0
        self._evaluations_logged = 0
        if tensorboard:
            events = folder / "tensorboard"
            for old in events.glob("events.*"):  # the checkpoint holds all of it; it is written again from there
                old.unlink()
            events.mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{int(time.time()):010d}.{platform.node()}.{os.getpid()}"
            self._events = RecordWriter((events / name).open("wb"))
            self._events.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())

    def write(self, losses: Mapping[str, Sequence[float]], evaluations: Sequence[dict[str, float]]) -> None:
        """Brings the files to this state."""
        done = len(losses["loss"])
        steps = pd.DataFrame({"step": range(1, done + 1), **losses})
        for name, table in ((LOSSES_FILE, steps), (EVALUATIONS_FILE, pd.DataFrame(evaluations))):
            with replacing(self.folder / name) as temporary:
                table.to_csv(temporary, index=False)
        if self._events is not None:
            self._write_events(losses, evaluations, self._events)
        if self.logs is not None:
            self.logs.write(losses, evaluations)

    def _write_events(
        self, losses: Mapping[str, Sequence[float]], evaluations: Sequence[dict[str, float]], events: RecordWriter
    ) -> None:
        """Adds what was not written yet."""
        done = len(losses["loss"])
        for name, values in losses.items():
            for position in range(self._losses_logged, done):
                self._add(f"train/{name}", values[position], position + 1)
        for row in evaluations[self._evaluations_logged :]:
            for name, value in row.items():
                if name != "step":
                    tag = name if name.startswith(ON_TRAINING) else f"validation/{name}"
                    self._add(tag, value, int(row["step"]))
        events.flush()
        self._losses_logged, self._evaluations_logged = done, len(evaluations)

    def _add(self, name: str, value: float, step: int) -> None:
        """Writes a scalar here, not in a thread as torch's `SummaryWriter` does: there, a full disk is a traceback and no error."""
        assert self._events is not None
        scalar = Summary(value=[Summary.Value(tag=name, simple_value=value)])
        self._events.write(Event(wall_time=time.time(), step=step, summary=scalar).SerializeToString())

    def close(self) -> None:
        """Closes the event file."""
        if self._events is not None:
            self._events.close()


def read_curve(path: Path, *names: str) -> pd.DataFrame:
    """A table of losses or evaluations.

    Raises:
        DataError: if it is damaged.
    """
    return read_table(path, "train the run anew: its curves are lost", numbers=("step", *names))


def read_curves(folder: Path, targets: Sequence[str] = ()) -> pd.DataFrame:
    """The course of a training, a row a value: step, target, split, metric, value.

    `split` is `train` or `validation`. The loss on training patches is that of each step, on its batch as it was augmented. The
    other values are of the evaluations: loss and metrics on the validation patches, and metrics on some training patches without
    augmentation. With several targets, `target` is missing for what is of all of them: the weighted loss, and the mean skill.

    Args:
        folder: of a run or a pretraining.
        targets: of a run, in their order.

    Raises:
        DataError: if the tables are missing or damaged.
    """
    losses, evaluations = read_curve(folder / LOSSES_FILE, "loss"), read_curve(folder / EVALUATIONS_FILE)
    parts = [
        table[["step"]].assign(**_labels(str(name), split, targets), value=table[name])
        for table, split in ((losses, "train"), (evaluations, "validation"))
        for name in table.columns.drop("step")
    ]
    return pd.concat(parts, ignore_index=True).dropna(subset="value", ignore_index=True)


def _labels(name: str, split: str, targets: Sequence[str]) -> dict[str, str | None]:
    """Target, split and metric of a column."""
    if name.startswith(ON_TRAINING):
        name, split = name.removeprefix(ON_TRAINING), "train"
    if len(targets) < 2:
        return {"target": targets[0] if targets else None, "split": split, "metric": name}
    if name in targets:
        return {"target": name, "split": split, "metric": "loss"}
    target = next((each for each in sorted(targets, key=len, reverse=True) if name.startswith(f"{each}.")), None)
    return {"target": target, "split": split, "metric": name.removeprefix(f"{target}.") if target else name}

"""Training curves of a run as CSV files and TensorBoard events; rewritten so that they always fit the checkpoint."""

import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from eofuse.files import replacing
from eofuse.records import read_table

LOSSES_FILE = "losses.csv"
EVALUATIONS_FILE = "evaluations.csv"


class Curves:
    """Writes a run's losses, with what else is logged (a row a step), and evaluations (a row each)."""

    def __init__(self, folder: Path, tensorboard: bool) -> None:
        self.folder = folder
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
        if self._events is None:
            return
        for name, values in losses.items():
            for position in range(self._losses_logged, done):
                self._add(f"train/{name}", values[position], position + 1)
        for row in evaluations[self._evaluations_logged :]:
            for name, value in row.items():
                if name != "step":
                    self._add(f"validation/{name}", value, int(row["step"]))
        self._events.flush()
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

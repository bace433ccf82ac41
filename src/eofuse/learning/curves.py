"""Training curves of a run as CSV files and TensorBoard events; rewritten so that they always fit the checkpoint."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from eofuse.files import replacing
from eofuse.records import read_table

LOSSES_FILE = "losses.csv"
EVALUATIONS_FILE = "evaluations.csv"


class Curves:
    """Writes a run's losses, with what else is logged (a row a step), and evaluations (a row each).

    Args:
        folder: the run folder.
        tensorboard: whether TensorBoard events are written too.
    """

    def __init__(self, folder: Path, tensorboard: bool) -> None:
        self.folder = folder
        self._writer = None
        self._losses_logged = 0
        self._evaluations_logged = 0
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            events = folder / "tensorboard"
            for old in events.glob("events.*"):  # the checkpoint holds all of it; it is written again from there
                old.unlink()
            self._writer = SummaryWriter(str(events))

    def write(self, losses: Mapping[str, Sequence[float]], evaluations: Sequence[dict[str, float]]) -> None:
        """Brings the files to this state."""
        done = len(losses["loss"])
        steps = pd.DataFrame({"step": range(1, done + 1), **losses})
        for name, table in ((LOSSES_FILE, steps), (EVALUATIONS_FILE, pd.DataFrame(evaluations))):
            with replacing(self.folder / name) as temporary:
                table.to_csv(temporary, index=False)
        if self._writer is None:
            return
        for name, values in losses.items():
            for position in range(self._losses_logged, done):
                self._writer.add_scalar(f"train/{name}", values[position], position + 1)
        for row in evaluations[self._evaluations_logged :]:
            for name, value in row.items():
                if name != "step":
                    self._writer.add_scalar(f"validation/{name}", value, int(row["step"]))
        self._writer.flush()
        self._losses_logged, self._evaluations_logged = done, len(evaluations)

    def close(self) -> None:
        """Closes the event file."""
        if self._writer is not None:
            self._writer.close()


def read_curve(path: Path, *names: str) -> pd.DataFrame:
    """A table of losses or evaluations.

    Args:
        path: of the file.
        names: columns that are needed besides `step`.

    Raises:
        DataError: if it is damaged.
    """
    return read_table(path, "train the run anew: its curves are lost", numbers=("step", *names))

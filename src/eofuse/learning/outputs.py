"""What a run says about its test patches, as files.

::

    predictions/<target>.parquet   a row a test patch that has the target: evidence (see `eofuse.evaluation.evidence`)
    maps/<target>.npy              of targets with a class or numbers a pixel: what was predicted for (at most 2,000 of)
                                   these patches, rows in the same order
    test.json                      the scores over the test patches, by target
"""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
import pandas as pd

from eofuse.evaluation.evidence import to_columns
from eofuse.files import file_name, temporary_of
from eofuse.learning.facts import TEST_FILE, write_facts
from eofuse.learning.preparation import Prepared
from eofuse.learning.split_table import places_of
from eofuse.records import read_table, write_table
from eofuse.tasks import Evidence, Task
from eofuse.tasks.base import Array

PREDICTIONS_FOLDER = "predictions"
MAPS_FOLDER = "maps"
MOST_MAPS = 2000


def predictions_file(folder: Path, target: str) -> Path:
    """Where the predictions of a target lie."""
    return folder / PREDICTIONS_FOLDER / f"{file_name(target)}.parquet"


def read_predictions(path: Path) -> pd.DataFrame:
    """The predictions of a target.

    Raises:
        DataError: if they are missing or damaged.
    """
    return read_table(path, "delete test.json of the run and resume it", ("patch_id", "row", "scene"))


def maps_file(folder: Path, target: str) -> Path:
    """Where the predicted maps of a target lie."""
    return folder / MAPS_FOLDER / f"{file_name(target)}.npy"


def write_test(folder: Path, prepared: Prepared, evidence: Mapping[str, Evidence]) -> None:
    """Writes predictions and scores of the test patches; the scores last, whose presence says that all is there."""
    scores = {}
    for task in prepared.tasks:
        if task.name not in evidence:
            continue
        rows = task.known(prepared.rows["test"])
        columns = to_columns(evidence[task.name]) | task.extra_columns(rows, prepared.window)
        table = pd.DataFrame({**places_of(prepared.store.index, rows), **columns})
        write_table(table, predictions_file(folder, task.name))
        values = task.score(evidence[task.name])
        scores[task.name] = {name: None if np.isnan(value) else value for name, value in values.items()}
    write_facts(folder, TEST_FILE, scores)


class MapWriter:
    """Writes the first 2,000 predicted maps batch by batch; use it in a `with` block."""

    def __init__(self, folder: Path, counts: Mapping[str, int]) -> None:
        self.folder = folder
        self.counts = counts
        self._maps: dict[str, np.memmap] = {}
        self._done: dict[str, int] = {}

    def __enter__(self) -> "MapWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, maps in self._maps.items():
            maps.flush()
            temporary = self._temporary(name)
            if kind is None:
                temporary.replace(maps_file(self.folder, name))
            else:
                temporary.unlink()

    def _temporary(self, name: str) -> Path:
        return temporary_of(maps_file(self.folder, name))

    def add(self, task: Task, prediction: Array) -> None:
        """Keeps what a task keeps of some patches, after those that came before."""
        kept = task.keep(prediction)
        if kept is None:
            return
        if task.name not in self._maps:
            path = self._temporary(task.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            shape = (min(self.counts[task.name], MOST_MAPS), *kept.shape[1:])
            self._maps[task.name] = np.lib.format.open_memmap(path, mode="w+", dtype=kept.dtype, shape=shape)
            self._done[task.name] = 0
        start = self._done[task.name]
        kept = kept[: max(0, MOST_MAPS - start)]
        self._maps[task.name][start : start + len(kept)] = kept
        self._done[task.name] += len(kept)

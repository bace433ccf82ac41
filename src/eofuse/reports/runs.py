"""Predictions of a variant: its means over seeds, one run of it, and the maps that the run kept."""

import warnings
from typing import Any

import numpy as np
import pandas as pd

from eofuse.errors import DataError
from eofuse.evaluation.calibration import scale
from eofuse.evaluation.metrics.classification import LabelTotals
from eofuse.evaluation.metrics.segmentation import PixelTotals
from eofuse.kinds import TaskKind
from eofuse.reports.tables import final_cells
from eofuse.studies.results import StudyResults


def seed_means(results: StudyResults, variant: str, name: str) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """One row a test patch of a variant, and its evidence with one array averaged over seeds.

    The other arrays are those of the first run that has the patch.
    """
    chosen = results.predictions[results.predictions["variant"] == variant].reset_index(drop=True)
    evidence = results.evidence(chosen)
    if name == "probabilities":
        evidence[name] = _calibrated(evidence[name], evidence["temperature"], results.kind)
    numbers, _ = pd.factorize(chosen["patch_id"])
    is_first = ~chosen["patch_id"].duplicated().to_numpy()
    counts = np.bincount(numbers)
    sums = np.zeros((len(counts), *evidence[name].shape[1:]))
    np.add.at(sums, numbers, evidence[name])
    means = sums / counts.reshape(-1, *[1] * (sums.ndim - 1))
    return chosen[is_first].reset_index(drop=True), {
        other: means if other == name else array[is_first] for other, array in evidence.items()
    }


def class_totals(results: StudyResults, rows: pd.DataFrame) -> LabelTotals | PixelTotals:
    """Counts of the classes of some predictions of patches or pixels."""
    totals = PixelTotals if results.kind.is_map else LabelTotals
    return totals(results.kind, results.evidence(rows))


def _calibrated(probabilities: np.ndarray, temperatures: np.ndarray, kind: TaskKind) -> np.ndarray:
    """Probabilities at the temperature of their run."""
    found = probabilities.astype(np.float64)
    for temperature in np.unique(temperatures):
        rows = temperatures == temperature
        found[rows] = scale(found[rows], float(temperature), kind)
    return found


def first_seed(results: StudyResults, variant: str) -> pd.DataFrame:
    """Predictions of a variant with its first seed, with the column `place`: the row's place in its run."""
    chosen = results.predictions[results.predictions["variant"] == variant]
    chosen = chosen[chosen["seed"] == chosen["seed"].min()]
    places: pd.DataFrame = chosen.assign(place=chosen.groupby("fold").cumcount()).reset_index(drop=True)
    return places


def predicted_map(results: StudyResults, prediction: pd.Series) -> np.ndarray | None:
    """The map that a run predicted of a patch: (H, W) class numbers or (D, H, W) numbers; None where none was kept.

    `prediction` is a row of `first_seed`.

    Raises:
        DataError: if the file of the run's maps is damaged or belongs to other predictions.
    """
    cells = final_cells(results, prediction["variant"])
    cells = cells[(cells["seed"] == prediction["seed"]) & (cells["fold"] == prediction["fold"])]
    if cells.empty:
        return None
    path = results.maps_file(str(cells["cell"].iloc[0]))
    if not path.is_file():
        return None
    try:
        with warnings.catch_warnings(action="error"):  # numpy warns of heads that it mends
            maps: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy parses the head as Python's literals, which fail in many ways
        raise DataError(f"is damaged: {error}", where=path, fix="run the study again; finished runs are kept") from None
    if prediction["place"] >= len(maps):  # runs keep a limited number of maps
        return None
    return np.asarray(maps[int(prediction["place"])])

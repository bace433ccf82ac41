"""Evidence: what a test patch adds to the metrics, a row a patch; and evidence as columns of a table.

`EVIDENCE` names the arrays of every kind of task and the shape of a row. `to_columns` flattens arrays into lists for a
Parquet table, `from_columns` gives the arrays back.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from eofuse.errors import DataError, UsageError
from eofuse.evaluation.calibration import BINS

MOST_BOXES = 100
"""Predicted boxes of a patch, padded."""

IOU_THRESHOLDS = 10
"""Overlaps at which a predicted box is matched: 0.5, 0.55, …, 0.95."""

EVIDENCE: dict[str, dict[str, Callable[[int], tuple[int, ...]]]] = {
    "single_label": {
        "truth": lambda classes: (),
        "probabilities": lambda classes: (classes,),
        "temperature": lambda classes: (),
    },
    "multi_label": {
        "truth": lambda classes: (classes,),
        "probabilities": lambda classes: (classes,),
        "temperature": lambda classes: (),
    },
    "regression": {
        "truth": lambda classes: (classes,),
        "prediction": lambda classes: (classes,),
        "margin": lambda classes: (classes,),
    },
    "segmentation": {
        "confusion": lambda classes: (classes, classes),
        "boundary": lambda classes: (classes, 4),
        "reliability": lambda classes: (2, BINS, 3),
    },
    "pixel_regression": {"sums": lambda classes: (classes, 7), "margin": lambda classes: (classes,)},
    "detection": {
        "boxes": lambda classes: (MOST_BOXES, 4),
        "scores": lambda classes: (MOST_BOXES,),
        "labels": lambda classes: (MOST_BOXES,),
        "matched": lambda classes: (MOST_BOXES, IOU_THRESHOLDS),
        "counts": lambda classes: (classes,),
    },
}
"""The arrays of each kind of task, with the shape of a row as a function of the number of classes or numbers."""


def to_columns(evidence: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
    """Arrays (N, ...) as columns of N numbers, or of N flat lists where a row holds several."""
    return {
        name: list(array) if array.ndim == 1 else list(np.ascontiguousarray(array).reshape(len(array), -1))
        for name, array in evidence.items()
    }


def from_columns(table: pd.DataFrame, kind: str, classes: int) -> dict[str, np.ndarray]:
    """The inverse of `to_columns`: arrays of the shapes that `EVIDENCE` names, in the dtype of the columns.

    Args:
        table: rows of predictions, with a column for each array of the kind.
        kind: the kind of task.
        classes: number of its classes, or of the numbers that it predicts.

    Raises:
        UsageError: if the kind is unknown.
        DataError: if a column is missing, or a row does not hold as many numbers as its shape asks for.
    """
    if kind not in EVIDENCE:
        raise UsageError(f"unknown task kind '{kind}'", fix=f"known: {', '.join(EVIDENCE)}")
    arrays = {}
    for name, row_shape in EVIDENCE[kind].items():
        if name not in table:
            raise DataError(f"lacks column {name}", where=f"predictions of a {kind} task")
        shape = row_shape(classes)
        if not len(table):
            arrays[name] = np.empty((0, *shape))
        elif shape:
            arrays[name] = _stack([np.asarray(row) for row in table[name]], shape, name)
        else:
            arrays[name] = table[name].to_numpy()
            if arrays[name].dtype.kind not in "biuf":
                raise DataError(f"holds something else than numbers in {name}", where=f"predictions of a {kind} task")
    return arrays


def _stack(rows: list[np.ndarray], shape: tuple[int, ...], name: str) -> np.ndarray:
    size = int(np.prod(shape))
    wrong = next((position for position, row in enumerate(rows) if row.shape != (size,)), None)
    if wrong is not None:
        found = " × ".join(str(length) for length in rows[wrong].shape)
        raise DataError(f"holds {found} numbers instead of {size}", where=f"predictions, column {name}, row {wrong}")
    return np.stack(rows).reshape(len(rows), *shape)

"""Evidence: what a test patch adds to the metrics, a row a patch; and evidence as columns of a table.

Its arrays are named by the kind of task. `to_columns` flattens arrays into lists for a Parquet table, `from_columns` is the inverse.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from eofuse.errors import DataError
from eofuse.kinds import TaskKind


def to_columns(evidence: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
    """Arrays (N, ...) as columns of N numbers, or of N flat lists where a row holds several."""
    return {
        name: list(array) if array.ndim == 1 else list(np.ascontiguousarray(array).reshape(len(array), -1))
        for name, array in evidence.items()
    }


def from_columns(table: pd.DataFrame, kind: TaskKind, classes: int) -> dict[str, np.ndarray]:
    """The inverse of `to_columns`: arrays of the kind's shapes, in the dtype of the columns.

    Args:
        table: rows of predictions, with a column for each array of the kind.
        kind: the kind of task.
        classes: number of its classes, or of the numbers that it predicts.

    Raises:
        DataError: if a column is missing, or a row does not hold as many numbers as its shape asks for.
    """
    arrays = {}
    for name, shape in kind.evidence_shapes(classes).items():
        if name not in table:
            raise DataError(f"lacks column {name}", where=f"predictions of a {kind.name} task")
        if not len(table):
            arrays[name] = np.empty((0, *shape))
        elif shape:
            arrays[name] = _stack([np.asarray(row) for row in table[name]], shape, name)
        else:
            arrays[name] = table[name].to_numpy()
            if arrays[name].dtype.kind not in "biuf":
                what = f"holds something else than numbers in {name}"
                raise DataError(what, where=f"predictions of a {kind.name} task")
    return arrays


def _stack(rows: list[np.ndarray], shape: tuple[int, ...], name: str) -> np.ndarray:
    size = int(np.prod(shape))
    wrong = next((position for position, row in enumerate(rows) if row.shape != (size,)), None)
    if wrong is not None:
        found = " × ".join(str(length) for length in rows[wrong].shape)
        raise DataError(f"holds {found} numbers instead of {size}", where=f"predictions, column {name}, row {wrong}")
    return np.stack(rows).reshape(len(rows), *shape)

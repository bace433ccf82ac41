"""Evidence: what a test patch adds to the metrics, a row a patch; and evidence as columns of a table.

Its arrays are named by the kind of task. `to_columns` flattens arrays into lists for a Parquet table, `from_columns` is the inverse.
Of an array that is mostly zeros (`SparseRows`), a list holds the numbers that are not 0, each with its place in the flattened row.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from eofuse.errors import DataError
from eofuse.evaluation.sparse import AnyRows, SparseRows
from eofuse.kinds import TaskKind

PLACE, VALUE = "place", "value"
"""Fields of a number in the list of a row that is mostly zeros."""


def to_columns(evidence: Mapping[str, AnyRows]) -> dict[str, Any]:
    """Arrays (N, ...) as columns of N numbers, or of N flat lists where a row holds several."""
    return {name: _column(array) for name, array in evidence.items()}


def _column(array: AnyRows) -> Any:
    if isinstance(array, SparseRows):
        numbers = pa.StructArray.from_arrays([pa.array(array.places), pa.array(array.values)], names=[PLACE, VALUE])
        lists = pa.LargeListArray.from_arrays(pa.array(array.offsets, type=pa.int64()), numbers)
        return pd.arrays.ArrowExtensionArray(lists)
    return list(array) if array.ndim == 1 else list(np.ascontiguousarray(array).reshape(len(array), -1))


def joined(tables: Sequence[pd.DataFrame], kind: TaskKind, classes: int) -> pd.DataFrame:
    """Rows of predictions of several runs, one behind the other, where older runs may have written zeros and newer ones not."""
    shapes = kind.evidence_shapes(classes)
    for name in shapes:
        kept = [isinstance(table[name].dtype, pd.ArrowDtype) for table in tables]
        if any(kept) and not all(kept):
            tables = [
                table
                if own
                else table.assign(**to_columns({name: SparseRows.of(from_columns(table, kind, classes)[name])}))
                for table, own in zip(tables, kept, strict=True)
            ]
    return pd.concat(tables, ignore_index=True)


def from_columns(table: pd.DataFrame, kind: TaskKind, classes: int) -> dict[str, Any]:
    """The inverse of `to_columns`: arrays of the kind's shapes, in the dtype of the columns.

    Args:
        table: rows of predictions, with a column for each array of the kind.
        kind: the kind of task.
        classes: number of its classes, or of the numbers that it predicts.

    Raises:
        DataError: if a column is missing, or a row does not hold as many numbers as its shape asks for.
    """
    arrays: dict[str, Any] = {}
    for name, shape in kind.evidence_shapes(classes).items():
        if name not in table:
            raise DataError(f"lacks column {name}", where=f"predictions of a {kind.name} task")
        if isinstance(table[name].dtype, pd.ArrowDtype):
            arrays[name] = _sparse(table[name], shape, name)
        elif not len(table):
            arrays[name] = np.empty((0, *shape))
        elif shape:
            arrays[name] = _stack([np.asarray(row) for row in table[name]], shape, name)
        else:
            arrays[name] = table[name].to_numpy()
            if arrays[name].dtype.kind not in "biuf":
                what = f"holds something else than numbers in {name}"
                raise DataError(what, where=f"predictions of a {kind.name} task")
    return arrays


def _sparse(column: pd.Series, shape: tuple[int, ...], name: str) -> SparseRows:
    """The array of a column that holds lists of numbers with their places."""
    found = column.array.__arrow_array__()
    lists = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
    if {PLACE, VALUE} != {field.name for field in lists.type.value_type}:
        raise DataError("holds something else than numbers with their places", where=f"predictions, column {name}")
    numbers, offsets = lists.flatten(), np.append(0, np.cumsum(lists.value_lengths().to_numpy(zero_copy_only=False)))
    places = numbers.field(PLACE).to_numpy()
    if len(places) and not 0 <= places.min() <= places.max() < np.prod(shape):
        raise DataError(f"holds a number at a place that {shape} has not", where=f"predictions, column {name}")
    return SparseRows(offsets.astype(np.int64), places, numbers.field(VALUE).to_numpy(), shape)


def _stack(rows: list[np.ndarray], shape: tuple[int, ...], name: str) -> np.ndarray:
    size = int(np.prod(shape))
    wrong = next((position for position, row in enumerate(rows) if row.shape != (size,)), None)
    if wrong is not None:
        found = " × ".join(str(length) for length in rows[wrong].shape)
        raise DataError(f"holds {found} numbers instead of {size}", where=f"predictions, column {name}, row {wrong}")
    return np.stack(rows).reshape(len(rows), *shape)

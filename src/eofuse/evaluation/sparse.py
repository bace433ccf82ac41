"""`SparseRows`: an array with a row a patch that is mostly zeros, such as the confusion matrix of each patch, without the zeros."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class SparseRows:
    """An array (N, …) of which only numbers other than 0 are kept. Of NumPy's arrays it has what evidence needs.

    `np.asarray` gives it with its zeros; of a whole test set that may be gigabytes.

    Args:
        offsets: (N + 1,), where the numbers of each row begin.
        places: (n,), where each number stands in its flattened row.
        values: (n,), the numbers.
        row_shape: shape of a row.
    """

    def __init__(self, offsets: Array, places: Array, values: Array, row_shape: tuple[int, ...]) -> None:
        self.offsets = offsets
        self.places = places
        self.values = values
        self.row_shape = row_shape

    @classmethod
    def of(cls, dense: Array) -> "SparseRows":
        """The same numbers without the zeros."""
        flat = dense.reshape(len(dense), int(np.prod(dense.shape[1:])))
        rows, places = np.nonzero(flat)
        offsets = np.searchsorted(rows, np.arange(len(dense) + 1))
        return cls(offsets, places.astype(np.int32), flat[rows, places], dense.shape[1:])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the array with its zeros."""
        return (len(self), *self.row_shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the numbers."""
        return self.values.dtype

    @property
    def row_size(self) -> int:
        """Numbers in a row, zeros among them."""
        return int(np.prod(self.row_shape))

    @property
    def row_of_value(self) -> npt.NDArray[np.int64]:
        """Row of each number that is kept, (n,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        dense = np.zeros((len(self), self.row_size), dtype=self.dtype)
        dense[self.row_of_value, self.places] = self.values
        return dense.reshape(self.shape).astype(dtype or self.dtype, copy=False)

    def __getitem__(self, chosen: Any) -> "SparseRows":
        """Some rows, by a mask, a slice or their numbers."""
        rows = np.arange(len(self))[chosen]
        counts = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        taken = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], counts)
        return SparseRows(offsets, self.places[taken], self.values[taken], self.row_shape)

    def grouped(self, groups: Array, count: int) -> npt.NDArray[np.float64]:
        """Sums over the rows of each of so many groups, (count, …)."""
        return self._summed(np.asarray(groups, dtype=np.int64)[self.row_of_value], self.values, count)

    def weighted(self, weights: Array) -> npt.NDArray[np.float64]:
        """Sums over the rows under weights (R, N): (R, …)."""
        row, nowhere = self.row_of_value, np.zeros(len(self.values), dtype=np.int64)
        return np.concatenate([self._summed(nowhere, self.values * each[row], 1) for each in weights])

    def mapped(self, place_of: Array, count: int) -> npt.NDArray[np.float64]:
        """Sums within each row of the numbers that go to one place: (N, count).

        Args:
            place_of: for each place in a flattened row, to which it goes; −1 for nowhere.
            count: of places.
        """
        goes = place_of[self.places]
        kept = goes >= 0
        cells = self.row_of_value[kept] * count + goes[kept]
        sums = np.bincount(cells, self.values[kept].astype(np.float64), minlength=len(self) * count)
        return np.asarray(sums.reshape(len(self), count), dtype=np.float64)

    def _summed(self, groups: Array, values: Array, count: int) -> npt.NDArray[np.float64]:
        cells = groups * self.row_size + self.places
        sums = np.bincount(cells, values.astype(np.float64), minlength=count * self.row_size)
        return np.asarray(sums.reshape(count, *self.row_shape), dtype=np.float64)


AnyRows = Array | SparseRows


def concatenated(parts: Sequence[AnyRows]) -> AnyRows:
    """Rows one behind the other; without zeros, if those of one part are."""
    if not any(isinstance(part, SparseRows) for part in parts):
        return np.concatenate([np.asarray(part) for part in parts])
    sparse = [part if isinstance(part, SparseRows) else SparseRows.of(part) for part in parts]
    counts = np.concatenate([np.diff(part.offsets) for part in sparse])
    return SparseRows(
        np.concatenate([[0], np.cumsum(counts)]),
        np.concatenate([part.places for part in sparse]),
        np.concatenate([part.values for part in sparse]),
        sparse[0].row_shape,
    )


def summed(rows: AnyRows, groups: Array, count: int) -> npt.NDArray[np.float64]:
    """Sums over the rows of each of so many groups, (count, …)."""
    if isinstance(rows, SparseRows):
        return rows.grouped(groups, count)
    sums = np.zeros((count, *rows.shape[1:]))
    np.add.at(sums, groups, rows)
    return sums

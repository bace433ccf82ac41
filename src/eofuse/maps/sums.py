"""What the windows of a row add up to, finished from left to right as soon as no later window changes it (`Sums`)."""

from typing import Any

import numpy as np
import numpy.typing as npt

from eofuse.maps.products import Product

BLOCK_COLUMNS = 1024
"""Cells from left to right that are added up and finished together."""

Array = npt.NDArray[Any]


class Sums:
    """Weighted predictions of one row of windows after the other.

    Only the cells that windows still change are kept: some blocks of columns, and the cells that the next row shares.

    Args:
        product: what is mapped.
        height: cells of a row of windows from top to bottom.
        width: cells of the map from left to right.
    """

    def __init__(self, product: Product, height: int, width: int) -> None:
        self.product = product
        self.height = height
        self.width = width
        self._open: dict[int, Array] = {}
        self._shared: dict[int, Array] = {}
        self._finished: list[dict[str, Array]] = []

    def add(self, left: int, values: Array) -> None:
        """Adds weighted predictions (sums, rows, columns) from the row's first cell and a column on."""
        right = left + values.shape[2]
        for number in range(left // BLOCK_COLUMNS, (right - 1) // BLOCK_COLUMNS + 1):
            start, end = self._columns(number)
            first, last = max(left, start), min(right, end)
            block = self._open.get(number)
            if block is None:
                block = self._open[number] = self._begun(number)
            block[:, : values.shape[1], first - start : last - start] += values[:, :, first - left : last - left]

    def finish(self, until: int, valid: npt.NDArray[np.bool_]) -> None:
        """Finishes the blocks that end at a column or before it.

        Args:
            until: column from which on something is added yet.
            valid: at which of the cells that the row finishes something is predicted, (rows, columns).
        """
        count = len(valid)
        while (number := len(self._finished)) * BLOCK_COLUMNS < self.width:
            start, end = self._columns(number)
            if end > until:
                return
            block = self._open.pop(number, None)
            if block is None:
                block = self._begun(number)
            self._finished.append(self.product.finish(block[:, :count], valid[:, start:end]))
            self._shared[number] = block[:, count:].copy()

    def take(self) -> dict[str, Array]:
        """The finished cells of the row by the ending of their file, (bands, rows, columns); the next row begins."""
        parts, self._finished = self._finished, []
        return {ending: np.concatenate([part[ending] for part in parts], axis=2) for ending in parts[0]}

    def _columns(self, number: int) -> tuple[int, int]:
        start = number * BLOCK_COLUMNS
        return start, min(start + BLOCK_COLUMNS, self.width)

    def _begun(self, number: int) -> Array:
        """A block with what the row before added to it."""
        start, end = self._columns(number)
        block = np.zeros((self.product.sums, self.height, end - start), dtype=np.float32)
        shared = self._shared.pop(number, None)
        if shared is not None:
            block[:, : shared.shape[1]] = shared
        return block

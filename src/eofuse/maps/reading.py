"""Bands of a scene, read ahead of the model: each file by one thread, each of its pixels once.

What a pixel holds depends on where it lies, not on windows or threads: files are read by cells of a fixed lattice.
"""

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import numpy.typing as npt

from eofuse.data.reading.rasters import reading_environment
from eofuse.maps.handles import Handles
from eofuse.maps.scene import MapScene

BAND_ROWS = 128
"""Rows of a band."""

CELL_COLUMNS = 1024
"""Columns of a cell, the part of a band that is read at a time."""

AHEAD = 1
"""Bands that are read before they are wanted."""

CACHE_BYTES = 160 * 2**20
"""Decoded blocks that GDAL keeps: a row of blocks of every file of a Sentinel-2 tile, so that none is decoded twice."""


@dataclass(frozen=True)
class Band:
    """Rows of a scene.

    Attributes:
        values: by modality, (channels, rows, columns) as the model takes them.
        valid: by modality, at which pixels every channel has a value, (rows, columns).
    """

    values: dict[str, npt.NDArray[np.generic]]
    valid: dict[str, npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class Strip:
    """Rows of a scene that may lie in several bands; nothing is copied before it is wanted.

    Attributes:
        parts: bands with the first of their rows, and the one after the last.
    """

    parts: tuple[tuple[Band, int, int], ...]

    def values(self, name: str, left: int, right: int) -> npt.NDArray[np.generic]:
        """(channels, rows, columns) of a modality between two columns."""
        found = [band.values[name][:, begin:end, left:right] for band, begin, end in self.parts]
        return np.concatenate(found, axis=1)

    def valid(self, name: str) -> npt.NDArray[np.bool_]:
        """At which pixels every channel of a modality has a value, (rows, columns)."""
        return np.concatenate([band.valid[name][begin:end] for band, begin, end in self.parts])


class BandReader:
    """Reads the bands of a scene in order; use it in a `with` block.

    Args:
        scene: what is read.
        readers: threads; the result does not depend on their number.
        first_row: the first that is wanted.
    """

    def __init__(self, scene: MapScene, readers: int = 2, first_row: int = 0) -> None:
        self.scene = scene
        self.count = math.ceil(scene.grid.height / BAND_ROWS)
        names = list(scene.layers)
        readers = max(1, min(readers, len(names)))
        self._groups = [_Group(scene, names[number::readers]) for number in range(readers)]
        self._next = first_row // BAND_ROWS
        self._pending: dict[int, list[Future[Band]]] = {}
        self._bands: dict[int, Band] = {}

    def __enter__(self) -> "BandReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for group in self._groups:
            group.close()

    def rows(self, top: int, bottom: int) -> Strip:
        """Rows of the scene, where neither number is smaller than in the call before.

        Raises:
            DataError: if a file can't be read.
        """
        first, last = top // BAND_ROWS, (bottom - 1) // BAND_ROWS
        while self._next <= min(last + AHEAD, self.count - 1):
            self._pending[self._next] = [group.submit(self._next) for group in self._groups]
            self._next += 1
        for number in range(first, last + 1):
            if number not in self._bands:
                self._bands[number] = _joined([part.result() for part in self._pending.pop(number)])
        for number in [number for number in self._bands if number < first]:
            del self._bands[number]
        begins = [max(top - number * BAND_ROWS, 0) for number in range(first, last + 1)]
        ends = [min(bottom - number * BAND_ROWS, BAND_ROWS) for number in range(first, last + 1)]
        bands = [self._bands[number] for number in range(first, last + 1)]
        return Strip(tuple(zip(bands, begins, ends, strict=True)))


class _Group:
    """Modalities that one thread reads."""

    def __init__(self, scene: MapScene, names: Sequence[str]) -> None:
        self.scene = scene
        self.names = names
        self.handles = Handles()
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="reader")

    def submit(self, number: int) -> "Future[Band]":
        return self.pool.submit(self._read, number)

    def close(self) -> None:
        self.pool.submit(self.handles.close)
        self.pool.shutdown(wait=True, cancel_futures=False)

    def _read(self, number: int) -> Band:
        grid, top = self.scene.grid, number * BAND_ROWS
        height = min(BAND_ROWS, grid.height - top)
        band = Band({}, {})
        with reading_environment(CACHE_BYTES):
            for name in self.names:
                layer = self.scene.layers[name]
                shape = (len(layer.modality.channels), height, grid.width)
                values = np.empty(shape, dtype=layer.modality.dtype)
                valid = np.empty(shape[1:], dtype=bool)
                for left in range(0, grid.width, CELL_COLUMNS):
                    width = min(CELL_COLUMNS, grid.width - left)
                    cell = (left, top, width, height)
                    columns = slice(left, left + width)
                    values[..., columns], valid[:, columns] = layer.read(self.scene.name, grid, cell, self.handles)
                band.values[name], band.valid[name] = values, valid
        return band


def _joined(parts: Sequence[Band]) -> Band:
    joined = Band({}, {})
    for part in parts:
        joined.values.update(part.values)
        joined.valid.update(part.valid)
    return joined

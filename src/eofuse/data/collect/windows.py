"""Which windows of a file are read at once, and a file of which a window lies in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rasterio.windows import Window

from eofuse.data.reading.grid import Grid
from eofuse.data.reading.rasters import PlacedRaster, RasterFile
from eofuse.data.reading.resampling import file_window

MOST_PREFETCHED = 2**25
"""Values that are read at once."""

SPREAD = 1.25
EXTRA_BLOCKS = 2
"""Windows are read at once if the box around them has at most `SPREAD` times as many blocks as they touch, and so many more."""


class Prefetched:
    """An open file of which a window lies in memory: what is read within it comes from there."""

    def __init__(self, dataset: Any, bands: Sequence[int], window: Window, with_masks: bool) -> None:
        self._dataset = dataset
        self._left, self._top = int(window.col_off), int(window.row_off)
        self._right, self._bottom = self._left + int(window.width), self._top + int(window.height)
        self._places = {band: position for position, band in enumerate(bands)}
        self._values = dataset.read(list(bands), window=window)
        self._masks = {band: dataset.read_masks(band, window=window) for band in bands} if with_masks else {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)

    def read(self, bands: int | Sequence[int], window: Window) -> Any:
        """As of a file."""
        several = [bands] if isinstance(bands, int) else list(bands)
        part = self._part(window)
        if part is None or not set(several) <= self._places.keys():
            return self._dataset.read(bands, window=window)
        values = self._values[[self._places[band] for band in several]][(slice(None), *part)]
        return values[0] if isinstance(bands, int) else values

    def read_masks(self, band: int, window: Window) -> Any:
        """As of a file."""
        part = self._part(window)
        if part is None or band not in self._masks:
            return self._dataset.read_masks(band, window=window)
        return self._masks[band][part]

    def _part(self, window: Window) -> tuple[slice, slice] | None:
        left, top = int(window.col_off), int(window.row_off)
        right, bottom = left + int(window.width), top + int(window.height)
        if left < self._left or top < self._top or right > self._right or bottom > self._bottom:
            return None
        return slice(top - self._top, bottom - self._top), slice(left - self._left, right - self._left)


@dataclass
class Cluster:
    """Windows that are read at once, in blocks of the file."""

    members: list[int]
    blocks: set[tuple[int, int]]
    left: int
    top: int
    right: int
    bottom: int

    def box(self, other: "Cluster") -> tuple[int, int, int, int]:
        """First and last column and row of blocks of both."""
        return (
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )


def clusters_of(
    file: RasterFile, placed: Sequence[PlacedRaster], grids: Sequence[Grid], block: tuple[int, int]
) -> list[Cluster]:
    """Windows that share blocks or lie next to each other, together."""
    clusters: list[Cluster] = []
    for number, (raster, grid) in enumerate(zip(placed, grids, strict=True)):
        bounds = _window(file, raster, grid)
        if bounds is None:
            continue
        left, top, right, bottom = bounds
        columns, rows = (
            range(left // block[1], (right - 1) // block[1] + 1),
            range(top // block[0], (bottom - 1) // block[0] + 1),
        )
        blocks = {(column, row) for row in rows for column in columns}
        own = Cluster([number], blocks, columns[0], rows[0], columns[-1], rows[-1])
        for other in reversed(clusters[-8:]):
            box = own.box(other)
            count = (box[2] - box[0] + 1) * (box[3] - box[1] + 1)
            union = len(own.blocks | other.blocks)
            if (
                count <= SPREAD * union + EXTRA_BLOCKS
                and count * block[0] * block[1] * len(raster.bands) <= MOST_PREFETCHED
            ):
                other.members.append(number)
                other.blocks |= blocks
                other.left, other.top, other.right, other.bottom = box
                break
        else:
            clusters.append(own)
    return clusters


def _window(file: RasterFile, raster: PlacedRaster, grid: Grid) -> tuple[int, int, int, int] | None:
    """First column and row, and those behind the last, that a patch needs of a file; None if it lies beside it."""
    if raster.place is not None:
        left, top = -raster.place[0], -raster.place[1]
        box = left, top, left + grid.width, top + grid.height
    else:
        window = file_window(file.grid, grid)
        if window is None:
            return None
        box = window.left, window.top, window.left + window.width, window.top + window.height
    left, top = max(box[0], 0), max(box[1], 0)
    right, bottom = min(box[2], file.grid.width), min(box[3], file.grid.height)
    if box[0] < 0 and file.grid.crs.is_geographic and raster.place is None:
        left, right = 0, file.grid.width  # it goes on at the other end of the file
    return (left, top, right, bottom) if left < right and top < bottom else None


def pixels_of(cluster: Cluster, block: tuple[int, int], file: RasterFile) -> Window:
    """The pixels of a cluster of blocks, as far as the file goes."""
    left, top = cluster.left * block[1], cluster.top * block[0]
    right, bottom = (
        min((cluster.right + 1) * block[1], file.grid.width),
        min((cluster.bottom + 1) * block[0], file.grid.height),
    )
    return Window(left, top, right - left, bottom - top)

"""Pixels of a file of any format on any grid: `read_on` gives some of its bands in float64, NaN where there are no data.

There are none where a band holds its nodata value, NaN or infinity, and where a mask of the file (internal, `.msk`, alpha band,
transparent colours) says so. Overviews are never read. Call everything within `reading_environment()`.
"""

import os
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window

from eofuse.data.reading.decoding import DECODERS
from eofuse.data.reading.formats import open_file
from eofuse.data.reading.grid import Grid
from eofuse.data.reading.rasters import Part, PlacedRaster, RasterFile
from eofuse.data.reading.resampling import Values, file_parts, file_window, resample
from eofuse.errors import DataError

OPEN_FILES = 64
MOST_PIXELS = 2**23
"""Pixels of a file, over all bands, that are resampled at a time."""


def read_on(
    raster: PlacedRaster, grid: Grid, where: str, dataset: Any = None, dtype: npt.DTypeLike = np.float64
) -> Values | None:
    """Bands of a file on a grid.

    Args:
        raster: the bands; their place is that on this grid.
        grid: whose pixels are wanted.
        where: for messages.
        dataset: the file, if it is open.
        dtype: of the values, float64 or float32.

    Returns:
        (bands, height, width), NaN where there are no data; None if the file lies beside the grid.

    Raises:
        DataError: if the file can't be read.
    """
    if dataset is None:
        with open_file(raster.file.path, raster.file.part, where) as opened:
            return read_on(raster, grid, where, opened, dtype)
    try:
        if raster.place:
            return _read_in_place(raster, grid, dataset, dtype)
        return _read_resampled(raster, grid, dataset, where, dtype)
    except RasterioError as error:
        raise DataError("can't be read (damaged?)", where=where, fix="fetch the file again") from error


def _read_in_place(raster: PlacedRaster, grid: Grid, dataset: Any, dtype: npt.DTypeLike) -> Values | None:
    assert raster.place is not None
    left, top = raster.place
    first, end = max(left, 0), min(left + dataset.width, grid.width)
    upper, lower = max(top, 0), min(top + dataset.height, grid.height)
    if end <= first or lower <= upper:
        return None
    part = _native(raster, dataset, Window(first - left, upper - top, end - first, lower - upper), dtype)
    if part.shape[1:] == (grid.height, grid.width):
        return part
    values = np.full((len(raster.bands), grid.height, grid.width), np.nan, dtype=dtype)
    values[:, upper:lower, first:end] = part
    return values


def _read_resampled(raster: PlacedRaster, grid: Grid, dataset: Any, where: str, dtype: npt.DTypeLike) -> Values | None:
    assert raster.method is not None
    window = file_window(raster.file.grid, grid)
    if window is None:
        return None
    if window.width * window.height * len(raster.bands) > MOST_PIXELS and max(grid.width, grid.height) > 1:
        return _in_halves(raster, grid, dataset, where, dtype)
    values = np.full((len(raster.bands), window.height, window.width), np.nan, dtype=dtype)
    for column, start, width in file_parts(raster.file.grid, window):
        part = _native(raster, dataset, Window(column, window.top, width, window.height), dtype)
        values[:, :, start : start + width] = part
    return resample(values, raster.file.grid, window, grid, raster.method, where)


def _in_halves(raster: PlacedRaster, grid: Grid, dataset: Any, where: str, dtype: npt.DTypeLike) -> Values | None:
    """As `_read_resampled`, the halves of the grid one after the other."""
    if grid.width >= grid.height:
        cut = grid.width // 2
        halves = [(0, 0, cut, grid.height), (cut, 0, grid.width - cut, grid.height)]
    else:
        cut = grid.height // 2
        halves = [(0, 0, grid.width, cut), (0, cut, grid.width, grid.height - cut)]
    values: Values | None = None
    for left, top, width, height in halves:
        part = _read_resampled(raster, grid.window(left, top, width, height), dataset, where, dtype)
        if part is not None:
            if values is None:
                values = np.full((len(raster.bands), grid.height, grid.width), np.nan, dtype=dtype)
            values[:, top : top + height, left : left + width] = part
    return values


def _native(raster: PlacedRaster, dataset: Any, window: Window, dtype: npt.DTypeLike) -> Values:
    """Pixels of a file as they lie there, NaN where there are no data."""
    if raster.shows_colours:
        return _colours(raster, dataset, window).astype(dtype)
    read = dataset.read(list(raster.bands), window=window)
    values: Values = read.astype(dtype)
    for band, stored, nodata in zip(values, read, raster.nodata, strict=True):
        if nodata is not None:
            band[stored == nodata] = np.nan
    alpha = raster.file.alpha
    if raster.file.is_masked and (alpha is None or alpha.number not in raster.bands):
        flags = dataset.mask_flag_enums
        for band, number in zip(values, raster.bands, strict=True):
            if flags[number - 1] not in ([MaskFlags.all_valid], [MaskFlags.nodata]):
                band[dataset.read_masks(number, window=window) == 0] = np.nan
    if read.dtype.kind == "f":
        values[~np.isfinite(values)] = np.nan
    return DECODERS[raster.decoder].decode(values) if raster.decoder else values


def _colours(raster: PlacedRaster, dataset: Any, window: Window) -> Values:
    """Red, green and blue of a palette; NaN where the colour is transparent, or declared as nodata."""
    table = np.full((256, 4), np.nan)
    for number, colour in dataset.colormap(1).items():
        table[number] = colour
    table[table[:, 3] == 0] = np.nan
    numbers = dataset.read(1, window=window)
    values: Values = np.moveaxis(table[numbers][..., :3], -1, 0).copy()
    for band, nodata in zip(values, raster.nodata, strict=True):
        if nodata is not None:
            band[numbers == nodata] = np.nan
    return values


@lru_cache(maxsize=OPEN_FILES)
def _open_in(process: int, path: str, part: Part | None) -> Any:
    return open_file(path, part, path)


def kept_open(file: RasterFile, where: str) -> Any:
    """A file that stays open until `close_files`: for many windows of few files. A forked process opens it anew.

    Raises:
        DataError: as `open_file`.
    """
    try:
        return _open_in(os.getpid(), file.path, file.part)
    except DataError as error:
        raise DataError(error.what, where=where, fix=error.fix) from error.__cause__


def close_files() -> None:
    """Closes what is kept open."""
    _open_in.cache_clear()

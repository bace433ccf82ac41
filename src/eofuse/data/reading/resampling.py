"""Pixels of one grid brought to another: which method suits, which part of a file is needed, and the result.

Where the pixels of the new grid are larger than those of the file by `AVERAGE_FROM` or more, numbers are averaged over the area of
each new pixel and maps of classes get the class with the largest area; else numbers are interpolated bilinearly and classes get the
nearest pixel. Missing pixels (NaN) count for nothing.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.warp import reproject

from eofuse.data.reading.grid import TOLERANCE_PIXELS, Grid, transform_places
from eofuse.errors import DataError

Method = Literal["nearest", "bilinear", "cubic", "lanczos", "average", "median", "minimum", "maximum", "mode"]
METHODS_FOR_CLASSES = ("nearest", "mode")
AVERAGE_FROM = 1.5
"""Pixels of the file along a side of a new pixel from which on they are averaged."""

MOST_VALUES_OF_A_MODE = 256
_GDAL = {
    "nearest": Resampling.nearest,
    "bilinear": Resampling.bilinear,
    "cubic": Resampling.cubic,
    "lanczos": Resampling.lanczos,
    "average": Resampling.average,
    "median": Resampling.med,
    "minimum": Resampling.min,
    "maximum": Resampling.max,
}
_POINTS = 21
"""Points along a side of a grid whose places in the file are computed."""

Values = npt.NDArray[np.floating[Any]]
"""Pixels of a file: float64, or float32 where the values are wanted no finer."""


@dataclass(frozen=True)
class FileWindow:
    """The part of a file that a grid needs; along a circle of latitude it may begin before the file or end after it.

    Attributes:
        left: first column; column 0 is that of the file.
        top: first row.
        width: columns.
        height: rows.
        turns: whole turns of 360° by which the file's longitudes differ from those of the grid.
    """

    left: int
    top: int
    width: int
    height: int
    turns: int = 0


def choose_method(file: Grid, grid: Grid, *, categorical: bool, wanted: Method | None = None) -> Method:
    """The method by which a file on one grid is brought to another: the wanted one, else by the size of the pixels."""
    if wanted is not None:
        return wanted
    is_coarser = max(pixels_per_pixel(file, grid)) >= AVERAGE_FROM - 1e-6
    if categorical:
        return "mode" if is_coarser else "nearest"
    return "average" if is_coarser else "bilinear"


def pixels_per_pixel(file: Grid, grid: Grid) -> tuple[float, float]:
    """Pixels of a file along the width and the height of a pixel in the middle of a grid; 1 where that can't be computed."""
    column, row = grid.width / 2, grid.height / 2
    columns, rows, _ = _in_file(file, grid, np.array([column, column + 1, column]), np.array([row, row, row + 1]))
    across = math.hypot(columns[1] - columns[0], rows[1] - rows[0])
    down = math.hypot(columns[2] - columns[0], rows[2] - rows[0])
    return (across, down) if math.isfinite(across + down) else (1.0, 1.0)


def file_window(file: Grid, grid: Grid) -> FileWindow | None:
    """The part of a file that a grid needs, with some pixels around it; None if the file lies beside the grid."""
    steps_across, steps_down = np.linspace(0, grid.width, _POINTS), np.linspace(0, grid.height, _POINTS)
    columns, rows, turns = _in_file(file, grid, np.tile(steps_across, _POINTS), np.repeat(steps_down, _POINTS))
    valid = np.isfinite(columns) & np.isfinite(rows)
    if not valid.any():
        return None
    columns, rows = columns[valid], rows[valid]
    left, right = math.floor(columns.min()), math.ceil(columns.max())
    top, bottom = math.floor(rows.min()), math.ceil(rows.max())
    if bottom <= 0 or top >= file.height or not _copies(file, left, right):
        return None
    around = 2 + 2 * math.ceil(max((right - left) / grid.width, (bottom - top) / grid.height))
    top, bottom = max(top - around, 0), min(bottom + around, file.height)
    left, right = left - around, right + around
    copies = _copies(file, left, right)
    left, right = max(left, min(copies)), min(right, max(copies) + file.width)
    return FileWindow(left, top, right - left, bottom - top, turns)


def file_parts(file: Grid, window: FileWindow) -> list[tuple[int, int, int]]:
    """What to read of a file for a window: (first column in the file, first column in the window, columns)."""
    parts = []
    for start in _copies(file, window.left, window.left + window.width):
        first, end = max(window.left, start), min(window.left + window.width, start + file.width)
        parts.append((first - start, first - window.left, end - first))
    return parts


def resample(values: Values, file: Grid, window: FileWindow, grid: Grid, method: Method, where: str) -> Values:
    """Values (bands, height, width) of a window of a file, NaN being no data, as (bands, height, width) of a grid.

    Raises:
        DataError: if the mode of more than `MOST_VALUES_OF_A_MODE` different values is wanted, or GDAL refuses.
    """
    place = file.window_transform(window.left, window.top)
    place = Affine(place.a, place.b, place.c - 360 * window.turns, place.d, place.e, place.f)
    try:
        if method != "mode":
            return _reproject(values, place, file, grid, _GDAL[method])
        return np.stack([_mode(band, place, file, grid, where) for band in values])
    except (CPLE_BaseError, RasterioError) as error:
        fix = "see whether its georeference is right (gdalinfo)"
        raise DataError(f"can't be brought to the grid of the reference: {error}", where=where, fix=fix) from None


def _mode(values: Values, place: Affine, file: Grid, grid: Grid, where: str) -> Values:
    """(height, width): the value with the largest area in each pixel, the smallest of those with equal areas.

    GDAL's own mode counts pixels that are barely touched like whole ones.
    """
    valid = ~np.isnan(values)
    found = np.full((grid.height, grid.width), np.nan, dtype=values.dtype)
    largest = np.zeros_like(found)
    occurring = np.unique(values[valid])
    if len(occurring) > MOST_VALUES_OF_A_MODE:
        what = f"holds {len(occurring)} different values: no class map, so there is no mode of it"
        raise DataError(what, where=where, fix="choose another `resampling`, such as average or median")
    for value in occurring:
        share = np.where(valid, values == value, np.nan).astype(values.dtype)
        area = _reproject(share[None], place, file, grid, Resampling.average)[0]
        wins = area > largest + 1e-9
        found[wins], largest[wins] = value, area[wins]
    return found


def _reproject(values: Values, place: Affine, file: Grid, grid: Grid, method: Resampling) -> Values:
    has_gaps = bool(np.isnan(values).any())
    if method is Resampling.bilinear and not has_gaps and _is_finer_on_same_axes(place, file, grid):
        return _interpolate(values, place, grid)
    found = np.full((len(values), grid.height, grid.width), np.nan, dtype=values.dtype)
    across, down = _kernel_scales(file, grid)
    missing = np.nan if has_gaps else None  # without, GDAL is up to three times as fast and gives the same
    reproject(
        values,
        found,
        src_transform=place,
        src_crs=file.crs,
        src_nodata=missing,
        dst_transform=grid.transform,
        dst_crs=grid.crs,
        dst_nodata=missing,
        init_dest_nodata=missing is not None,
        resampling=method,
        tolerance=TOLERANCE_PIXELS,
        XSCALE=across,
        YSCALE=down,
    )
    return found


def _kernel_scales(file: Grid, grid: Grid) -> tuple[float, float]:
    """By how much GDAL widens its kernels along columns and rows: 1 for none, less where many pixels become one.

    GDAL's own guess compares the window with the box around it in the file. It blurs where the grid is turned against the file, such
    as in a neighbouring UTM zone, and the more the wider the window.
    """
    across, down = pixels_per_pixel(file, grid)
    if max(across, down) < AVERAGE_FROM:
        return 1.0, 1.0
    return round(min(1 / across, 1), 3), round(min(1 / down, 1), 3)


def _is_finer_on_same_axes(place: Affine, file: Grid, grid: Grid) -> bool:
    """Whether a grid has the file's system and axes, and pixels that are not larger."""
    to_file = ~place @ grid.transform
    aligned = not (to_file.b or to_file.d) and 0 < to_file.a <= 1 and 0 < to_file.e <= 1
    return aligned and grid.crs == file.crs


def _interpolate(values: Values, place: Affine, grid: Grid) -> Values:
    """Bilinear interpolation along one axis after the other: GDAL's values, in less than half of its time.

    Args:
        values: (bands, height, width) without NaN.
        place: transform of the values.
        grid: on the same axes, with pixels that are not larger.

    Returns:
        (bands, height, width) of the grid, NaN where the middle of a pixel lies outside the values.
    """
    to_file = ~place @ grid.transform
    height, width = values.shape[1:]
    upper, lower, down, inside_rows = _neighbours(to_file.e, to_file.f, grid.height, height)
    left, right, across, inside_columns = _neighbours(to_file.a, to_file.c, grid.width, width)
    below, beside = down.astype(values.dtype)[:, None], across.astype(values.dtype)
    found: Values = np.empty((len(values), grid.height, grid.width), dtype=values.dtype)
    for band, result in zip(values, found, strict=True):
        columns: Values = band.take(left, axis=1)
        columns *= 1 - beside
        columns += band.take(right, axis=1) * beside
        np.multiply(columns.take(upper, axis=0), 1 - below, out=result)
        result += columns.take(lower, axis=0) * below
    if not inside_rows.all() or not inside_columns.all():
        found[:, ~(inside_rows[:, None] & inside_columns)] = np.nan
    return found


def _neighbours(
    step: float, start: float, count: int, length: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Along an axis: the pixels of the file around the middle of each pixel, the second's weight, and which lie inside."""
    middles = np.round(
        start + step * (np.arange(count) + 0.5), 9
    )  # on an edge is on it, whatever the transform's last digit
    before = np.floor(middles - 0.5)
    weight = middles - 0.5 - before
    first = before.astype(np.intp)
    return first.clip(0, length - 1), (first + 1).clip(0, length - 1), weight, (middles >= 0) & (middles < length)


def _in_file(
    file: Grid, grid: Grid, columns: npt.NDArray[np.float64], rows: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], int]:
    """Places of a grid as columns and rows of a file, and the turns of 360° between them (0 in projected systems).

    Longitudes that lie on both sides of the antimeridian are continuous.
    """
    a, b, c, d, e, f = grid.transform[:6]
    x, y = c + columns * a + rows * b, f + columns * d + rows * e
    if grid.crs != file.crs:
        x, y = transform_places(grid.crs, file.crs, x, y)
    turns = 0
    if file.crs.is_geographic and np.isfinite(x).any():
        middle = x[np.isfinite(x)][0]
        x = middle + (x - middle + 180) % 360 - 180
        centre = (np.nanmin(x) + np.nanmax(x)) / 2
        around = file.place_of(file.width / 2, file.height / 2)[0]
        turns = round((around - centre) / 360)
        x = x + 360 * turns
    to_file = ~file.transform
    return to_file.a * x + to_file.b * y + to_file.c, to_file.d * x + to_file.e * y + to_file.f, turns


def _copies(file: Grid, left: int, right: int) -> list[int]:
    """Columns at which the file, repeated every 360°, begins, where it has pixels between two columns."""
    starts = [0]
    if file.crs.is_geographic and not file.transform.d and file.transform.a > 0:
        period = round(360 / file.transform.a)
        starts = [-period, 0, period] if period >= file.width else [0]
    return [start for start in starts if start < right and start + file.width > left]

"""Stacks: a series of images in one file, and the dates that go with it.

`inspect_stack` looks at an `.npy` file as if it were a raster with the channels of one date after another, `read_stack` gives some of
them, `read_dates` reads a file of dates. An array is (dates, channels, height, width), (dates, height, width), or (dates, height,
width, channels) where the last axis is the shorter one. It has no place on the map, so it lies as the other files of its row do.
"""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from affine import Affine
from rasterio.crs import CRS

from eofuse.data.reading.grid import Grid
from eofuse.data.reading.rasters import BandHeader, PlacedRaster, RasterFile, inspect_raster
from eofuse.data.reading.resampling import Values
from eofuse.errors import DataError
from eofuse.limits import RASTER, TEXT

SUFFIX = ".npy"


def inspect_file(path: str, where: str) -> RasterFile:
    """What a raster or a stack says of itself; see `inspect_raster` and `inspect_stack`."""
    return inspect_stack(path, where) if path.endswith(SUFFIX) else inspect_raster(path, where)


def inspect_stack(path: str, where: str) -> RasterFile:
    """What an `.npy` file holds, as a raster whose bands are the channels of one date after another.

    Raises:
        DataError: if it can't be read, or is no array of numbers with three or four axes.
    """
    dates, channels, height, width = _open(path, where).shape
    bands = tuple(BandHeader(number, "", None, 1.0, 0.0) for number in range(1, dates * channels + 1))
    return RasterFile(path, Grid(CRS(), Affine.identity(), width, height), str(_open(path, where).dtype), bands)


def read_stack(raster: PlacedRaster, grid: Grid, where: str) -> Values | None:
    """Some bands of a stack on a grid, (bands, height, width), NaN where there are no data; None if it lies beside the grid."""
    array, (left, top) = _open(raster.file.path, where), raster.place or (0, 0)
    channels, height, width = array.shape[1:]
    first, end, upper, lower = max(left, 0), min(left + width, grid.width), max(top, 0), min(top + height, grid.height)
    if end <= first or lower <= upper:
        return None
    values = np.full((len(raster.bands), grid.height, grid.width), np.nan)
    for position, (band, nodata) in enumerate(zip(raster.bands, raster.nodata, strict=True)):
        date, channel = divmod(band - 1, channels)
        found = array[date, channel, upper - top : lower - top, first - left : end - left].astype(np.float64)
        found[~np.isfinite(found) | (found == nodata)] = np.nan
        values[position, upper:lower, first:end] = found
    return values


def bands_of_date(file: RasterFile, date: int, dates: int, where: str) -> RasterFile:
    """A stack as if it held one of its dates only.

    Raises:
        DataError: if its bands are no multiple of the dates.
    """
    channels, rest = divmod(len(file.bands), dates)
    if rest or not channels:
        found = f"has {len(file.bands)} bands, which can't be those of {dates} dates"
        raise DataError(found, where=where, fix="give as many dates as the file holds")
    return replace(file, bands=file.bands[date * channels : (date + 1) * channels])


def read_dates(path: Path, where: str) -> list[str]:
    """Dates in a JSON list, or a text file with one a line.

    Raises:
        DataError: if it can't be read.
    """
    try:
        TEXT.check(path.stat().st_size, "is", where)
        text = path.read_text(encoding="utf-8-sig")
        listed = json.loads(text) if path.suffix == ".json" else text.split()
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"can't be read: {error}", where=where, fix="write a date a line, or a JSON list") from None
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise DataError("is no list of dates", where=where, fix='write ["2024-04-03", "2024-05-11"]')
    return listed


def days_of(dates: list[str], where: str) -> list[float]:
    """Dates as days since 1970.

    Raises:
        DataError: if one is no date, or they do not rise.
    """
    times = pd.to_datetime(pd.Series(dates, dtype="string"), errors="coerce", format="ISO8601", utc=True)
    if times.isna().any() or not len(times):
        wrong = dates[int(np.flatnonzero(times.isna())[0])] if len(times) else "nothing"
        raise DataError(f"'{wrong}' is no date", where=where, fix="write it as 2024-06-30")
    days = ((times - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1)).to_numpy(dtype=np.float64)
    if (np.diff(days) <= 0).any():
        number = int(np.flatnonzero(np.diff(days) <= 0)[0])
        what = f"the dates do not rise: {dates[number + 1]} comes after {dates[number]}"
        raise DataError(what, where=where, fix="sort them, and the images with them")
    found: list[float] = days.tolist()
    return found


def _open(path: str, where: str) -> npt.NDArray[np.generic]:
    """The array of a stack as (dates, channels, height, width), mapped into memory."""
    try:
        array: npt.NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"can't be read: {error}", where=where, fix="write it with numpy.save") from None
    if array.dtype.kind not in "fiu" or array.ndim not in (3, 4) or not array.size:
        found = f"holds {array.dtype} of the shape {array.shape}"
        raise DataError(found, where=where, fix="write numbers of (dates, channels, height, width)")
    RASTER.check(math.prod(array.shape[-3:]) * 8, "has dates that take", where)
    if array.ndim == 3:
        return array[:, None]
    return np.moveaxis(array, -1, 1) if array.shape[-1] < array.shape[1] else array

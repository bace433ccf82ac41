"""Files of arrays with names as images: NumPy, HDF5, NetCDF, Zarr.

`ArrayFormat` is what such a format derives from: it only opens a file as an `ArrayFile`, whose `Variable`s say what they are and give
their values as they are stored. Here these become images with bands and a place (`RasterFile`), and windows are read of them.
The bands of an image are the channels of one variable after those of another; of a series of images, those of one date after
those of another. Nothing is scaled here: what a file declares is compared with the spec, as of any image.
"""

import contextlib
import os
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.windows import Window

from eofuse.data.reading.addresses import is_virtual
from eofuse.data.reading.array_files import Array, ArrayFile, Variable, choose_variables
from eofuse.data.reading.axes import CHANNEL, ROW, TIME, X, Y, pixel_axes
from eofuse.data.reading.formats.base import FileFormat, endings, format_of
from eofuse.data.reading.grid import Grid
from eofuse.data.reading.rasters import BandHeader, Part, RasterFile
from eofuse.errors import DataError, EofuseError
from eofuse.limits import RASTER

OPEN_FILES = 16
EVEN = 1e-3
"""Share of a pixel by which the places of pixels may be uneven."""

READ_AS = {"bool": "uint8", "float16": "float32"}
"""Dtype of an array → that in which it is read."""


class ArrayFormat(FileFormat):
    """A format of files of arrays."""

    holds_arrays = True

    @abstractmethod
    def open_arrays(self, path: str, where: str) -> ArrayFile:
        """The open file; what libraries raise is made a `DataError` by `open_arrays` of this module."""

    def inspect(self, path: str, part: Part | None, where: str) -> RasterFile:
        """The arrays that are wanted, as one image."""
        layout = layout_of(path, part or Part(), where)
        return RasterFile(path, layout.grid, layout.dtype, layout.bands, part=part or Part())

    def open(self, path: str, part: Part | None, where: str) -> "ArrayImage":
        """The arrays that are wanted, as an open image."""
        part = part or Part()
        return ArrayImage(layout_of(path, part, where), open_arrays(path, where), part.row)


def open_arrays(path: str, where: str, state: str | None = None) -> ArrayFile:
    """A file of arrays, which stays open for the next call.

    Raises:
        DataError: if it is missing, can't be read, or needs what is not installed.
    """
    with _named_by(path, where):
        return _open_in(os.getpid(), path, state or _state(path, where))


@lru_cache(maxsize=OPEN_FILES)
def _open_in(process: int, path: str, state: str) -> ArrayFile:
    kind = format_of(path)
    if not isinstance(kind, ArrayFormat):
        fix = f"name a file of arrays: {', '.join(endings(arrays=True))}"
        raise DataError("is a file of pixels, and holds no arrays", where=path, fix=fix)
    try:
        return kind.open_arrays(path, path)
    except EofuseError:
        raise
    except Exception as error:  # whatever a library raises for a damaged file
        found = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"can't be read as {kind.title}: {found}", where=path, fix="fetch or write it again") from None


@contextlib.contextmanager
def _named_by(path: str, where: str) -> Iterator[None]:
    """Lets errors about a file name where it was wanted: what is kept of a file does not know that."""
    try:
        yield
    except DataError as error:
        raise DataError(
            error.what, where=f"{where}{str(error.where).removeprefix(path)}", fix=error.fix
        ) from error.__cause__


def layout_of(path: str, part: Part, where: str) -> "Layout":
    """How the arrays that are wanted of a file make an image.

    Raises:
        DataError: if they don't, the file can't be read, or has no such sample.
    """
    state = _state(path, where)
    with _named_by(path, where):
        layout = _layout(os.getpid(), path, state, replace(part, row=None), part.row is not None)
        if part.row is not None:
            layout.require_row(part.row, path)
    return layout


def _state(path: str, where: str) -> str:
    if is_virtual(path):
        fix = "fetch the file first, or name images (GeoTIFF)"
        raise DataError("is at an address, from which images alone are read", where=where, fix=fix)
    try:
        state = os.stat(path)  # noqa: PTH116 (a str, for speed)
        return f"{state.st_size} {state.st_mtime_ns}"
    except OSError:
        raise DataError("file missing", where=where, fix="add the file, or correct `files`") from None


@dataclass(frozen=True)
class Layout:
    """How arrays of a file make an image.

    Attributes:
        variables: in the order of the channels.
        axes: what the axes of each are.
        channels: of each.
        dates: number of dates; 1 of a single image.
        grid: of the pixels.
        flipped: whether rows, and columns, go up on the map in the file.
        dtype: in which values are read.
        bands: of the image.
    """

    variables: tuple[Variable, ...]
    axes: tuple[tuple[str, ...], ...]
    channels: tuple[int, ...]
    dates: int
    grid: Grid
    flipped: tuple[bool, bool]
    dtype: str
    bands: tuple[BandHeader, ...]

    def require_row(self, row: int, where: str) -> None:
        """Raises a `DataError` if the arrays have no such sample."""
        for variable, axes in zip(self.variables, self.axes, strict=True):
            if not 0 <= row < variable.shape[axes.index(ROW)]:
                what = f"has {variable.shape[axes.index(ROW)]} samples, so none with the number {row} (from 0)"
                raise DataError(what, where=where, fix="correct `rows`, or the table beside it")


@lru_cache(maxsize=4096)
def _layout(process: int, path: str, state: str, part: Part, by_row: bool) -> Layout:
    where = path
    file = _open_in(process, path, state)
    variables = choose_variables(file, part.variables, 2 + by_row, where)
    axes = [
        pixel_axes(each.shape, each.axes, by_row=by_row, dated=part.dated, given=part.axes, where=_named(each, where))
        for each in variables
    ]
    sizes = [dict(zip(roles, each.shape, strict=True)) for each, roles in zip(variables, axes, strict=True)]
    first = sizes[0]
    for each, size in zip(variables, sizes, strict=True):
        for axis in (Y, X, TIME):
            if size.get(axis, 1) != first.get(axis, 1):
                what = f"{variables[0].described()} and {each.described()} differ in their size along {axis}"
                raise DataError(what, where=where, fix="make a modality of each")
    dates = first.get(TIME, 1)
    channels = tuple(size.get(CHANNEL, 1) for size in sizes)
    if not (first[X] and first[Y] and dates and all(channels)):
        raise DataError(f"{variables[0].described()} is empty", where=where)
    RASTER.check(max(each.block for each in variables), "unpacks to blocks of", where)
    grid, flipped = _place(file, variables[0], axes[0], where)
    headers: list[BandHeader] = []
    for each, roles, count in zip(variables, axes, channels, strict=True):
        for name in _band_names(file, each, roles, count, part):
            headers.append(BandHeader(0, name, each.nodata, each.scale, each.offset))
    bands = tuple(replace(header, number=number) for number, header in enumerate(headers * dates, start=1))
    dtype = np.result_type(*(READ_AS.get(each.dtype, each.dtype) for each in variables)).newbyteorder("=")
    return Layout(tuple(variables), tuple(axes), channels, dates, grid, flipped, str(dtype), bands)


def _named(variable: Variable, where: str) -> str:
    return f"{where}, {variable.name}" if variable.name else where


def _band_names(file: ArrayFile, variable: Variable, axes: Sequence[str], count: int, part: Part) -> list[str]:
    """Names of the channels of an array: what its coordinates say, else the array's own name, with a number if there are several."""
    if CHANNEL in axes:
        words = file.coordinates(variable, axes.index(CHANNEL))
        if words is not None and words.dtype.kind in "OUS":
            names = [word.decode() if isinstance(word, bytes) else str(word) for word in words.tolist()]
            return [f"{variable.name}_{name}" for name in names] if len(part.variables) > 1 else names
    if count == 1:
        return [variable.name]
    return [f"{variable.name}_{number}" if len(part.variables) > 1 else "" for number in range(1, count + 1)]


def _place(file: ArrayFile, variable: Variable, axes: Sequence[str], where: str) -> tuple[Grid, tuple[bool, bool]]:
    """The grid of the pixels, and whether rows and columns go up on the map in the file; no place where coordinates are lacking."""
    height, width = (variable.shape[axes.index(axis)] for axis in (Y, X))
    nowhere = Grid(CRS(), Affine.identity(), width, height), (False, False)
    centres = [file.coordinates(variable, axes.index(axis)) for axis in (Y, X)]
    crs = file.crs(variable)
    if crs is None or any(each is None or each.dtype.kind not in "fiu" or len(each) < 2 for each in centres):
        return nowhere
    starts, steps = [], []
    for name, values in zip((variable.axes[axes.index(Y)], variable.axes[axes.index(X)]), centres, strict=True):
        assert values is not None
        numbers = values.astype(np.float64)
        step = float(numbers[-1] - numbers[0]) / (len(numbers) - 1)
        even = numbers[0] + step * np.arange(len(numbers))
        if not np.isfinite(numbers).all() or not step or np.abs(numbers - even).max() > EVEN * abs(step):
            fix = "bring it to an even grid (xarray's interp, or gdalwarp)"
            raise DataError(f"the coordinates '{name}' are not even", where=_named(variable, where), fix=fix)
        starts.append(float(numbers[0]))
        steps.append(step)
    (top, left), (down, across) = starts, steps
    flipped = down > 0, across < 0
    if flipped[0]:
        top, down = top + down * (height - 1), -down
    if flipped[1]:
        left, across = left + across * (width - 1), -across
    return Grid(crs, Affine(across, 0, left - across / 2, 0, down, top - down / 2), width, height), flipped


class ArrayImage:
    """Arrays of a file as an open image; see `eofuse.data.reading.formats.Image`."""

    def __init__(self, layout: Layout, file: ArrayFile, row: int | None) -> None:
        self._layout, self._file, self._row = layout, file, row
        self.width, self.height = layout.grid.width, layout.grid.height

    def __enter__(self) -> "ArrayImage":
        return self

    def __exit__(self, *_: object) -> None:
        return

    def close(self) -> None:
        """Nothing: the file stays open for others."""

    def read(self, bands: Sequence[int], window: Window) -> Array:
        """Values as they are stored, (bands, height, width)."""
        layout = self._layout
        left, top, width, height = (int(each) for each in window.flatten())
        found = np.empty((len(bands), height, width), dtype=layout.dtype)
        each_date = sum(layout.channels)
        date_and_channel = [divmod(band - 1, each_date) for band in bands]
        first = 0
        for variable, axes, count in zip(layout.variables, layout.axes, layout.channels, strict=True):
            wanted = [
                (position, date, channel - first)
                for position, (date, channel) in enumerate(date_and_channel)
                if first <= channel < first + count
            ]
            first += count
            if not wanted:
                continue
            dates, channels = [date for _, date, _ in wanted], [channel for _, _, channel in wanted]
            block = self._block(
                variable, axes, (min(dates), max(dates)), (min(channels), max(channels)), (top, height), (left, width)
            )
            for position, date, channel in wanted:
                found[position] = block[date - min(dates), channel - min(channels)]
        return found

    def _block(
        self,
        variable: Variable,
        axes: Sequence[str],
        dates: tuple[int, int],
        channels: tuple[int, int],
        rows: tuple[int, int],
        columns: tuple[int, int],
    ) -> Array:
        """(dates, channels, height, width) from the first to the last date and channel, of rows and columns from one on."""
        index: list[int | slice] = []
        for axis, size in zip(axes, variable.shape, strict=True):
            if axis == ROW:
                index.append(self._row or 0)
            elif axis in (TIME, CHANNEL):
                start, last = dates if axis == TIME else channels
                index.append(slice(start, last + 1))
            else:
                start, count = rows if axis == Y else columns
                start = size - start - count if self._layout.flipped[axis == X] else start
                index.append(slice(start, start + count))
        values = self._file.read(variable.name, tuple(index))
        kept = [axis for axis in axes if axis != ROW]
        for axis in (CHANNEL, TIME):
            if axis not in kept:
                values, kept = values[None], [axis, *kept]
        values = values.transpose([kept.index(axis) for axis in (TIME, CHANNEL, Y, X)])
        down, right = (-1 if flipped else 1 for flipped in self._layout.flipped)
        return values[:, :, ::down, ::right]


def samples_in(path: str, part: Part, where: str) -> int:
    """Number of samples that the arrays wanted of a file have, by a part of one of them."""
    layout = layout_of(path, part, where)
    return layout.variables[0].shape[layout.axes[0].index(ROW)]


def days_in(path: str, part: Part, where: str) -> list[float]:
    """Days since 1970 of the images in a file of arrays, as its coordinates tell them.

    Raises:
        DataError: if they don't tell any.
    """
    layout = layout_of(path, part, where)
    variable, axes = layout.variables[0], layout.axes[0]
    times = None
    if TIME in axes:
        times = open_arrays(path, where).coordinates(variable, axes.index(TIME))
    if times is None or times.dtype.kind != "M":
        fix = "give them in the spec: dates: [2024-06-30, …], or date_files"
        raise DataError("says of no image from which date it is", where=where, fix=fix)
    if np.isnat(times).any():
        raise DataError("has an image without a date", where=where, fix="give the dates in the spec")
    days: list[float] = (times.astype("datetime64[s]").astype(np.float64) / 86_400).tolist()
    return days

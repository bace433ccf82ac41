"""Raster files of scenes: what a file says of itself, which of its bands are wanted, and windows of them on the scene's grid.

`inspect_file` looks at a file, `match_files` matches bands to channels, `read_window` gives a square of the scene in float64 with
NaN where there are no data, warped if the file's grid is another one.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from eofuse.data.sources.grid import Grid, is_mirrored
from eofuse.errors import DataError
from eofuse.modalities import Modality

DRIVERS = ("GTiff", "JP2OpenJPEG")
CACHE_BYTES = 128 * 2**20
OPEN_FILES = 64
WARP_TOLERANCE_PIXELS = 0.01
"""Largest error of the approximation that GDAL's warper makes, in pixels of the file."""

Values = npt.NDArray[np.float64]


def scene_environment() -> rasterio.Env:
    """GDAL settings for reading windows of large files: little memory, one thread a process."""
    return rasterio.Env(GDAL_NUM_THREADS="1", GDAL_CACHEMAX=CACHE_BYTES)


@dataclass(frozen=True)
class RasterFile:
    """What a raster file says of itself.

    Attributes:
        path: the file.
        grid: its pixels.
        dtype: of its first band.
        nodata: the value that it declares as nodata.
        names: description of each band, "" where there is none.
        scale: factor to physical values that it declares, 1 by default.
        offset: summand that it declares, 0 by default.
    """

    path: str
    grid: Grid
    dtype: str
    nodata: float | None
    names: tuple[str, ...]
    scale: float
    offset: float


@dataclass(frozen=True)
class Layer:
    """Bands of one file, as part of a modality of a scene.

    Attributes:
        path: the file.
        bands: numbers of the bands, from 1.
        nodata: value that means "nothing here", besides NaN and infinity.
        place: column and row of the scene's grid at which the file begins; None if it has to be warped.
    """

    path: str
    bands: tuple[int, ...]
    nodata: float | None
    place: tuple[int, int] | None


def inspect_file(path: Path, scene: str, name: str) -> RasterFile:
    """Looks at a file's header; call it within `scene_environment()`.

    Raises:
        DataError: if it is missing, no raster, has no coordinate reference system, is mirrored or has a mask.
    """
    where = f"scene {scene}, {name}, {path}"
    if not path.is_file():
        fix = "add the file, or list the scenes that have it under `scenes`, cut the others without it and `eofuse merge` the stores"
        raise DataError("file missing", where=where, fix=fix)
    with _open(str(path), where) as dataset:
        transform = dataset.transform
        if dataset.crs is None:
            raise DataError("has no coordinate reference system", where=where, fix="georeference the file")
        if is_mirrored(transform):
            raise DataError(
                "is mirrored: its rows do not go down the map", where=where, fix="warp it to a north-up grid (gdalwarp)"
            )
        if any(MaskFlags.per_dataset in flags for flags in dataset.mask_flag_enums):
            fix = "write a nodata value into the masked pixels and remove the mask or alpha band"
            raise DataError("has a mask or alpha band, which is not read", where=where, fix=fix)
        grid = Grid(dataset.crs, Affine(*transform[:6]), dataset.width, dataset.height)
        names = tuple(text or "" for text in dataset.descriptions)
        scale, offset = float(dataset.scales[0]), float(dataset.offsets[0])
        return RasterFile(str(path), grid, dataset.dtypes[0], dataset.nodata, names, scale, offset)


def band_names(file: RasterFile) -> tuple[str, ...]:
    """Names for the channels of an unknown modality: those that the file gives its bands if they differ, else numbers."""
    if all(file.names) and len(set(file.names)) == len(file.names):
        return file.names
    return tuple(f"band_{number}" for number in range(1, len(file.names) + 1))


def choose_bands(file: RasterFile, modality: Modality, where: str) -> tuple[int, ...]:
    """Numbers of the bands of a file that are the channels of a modality: by the bands' names if it has them, else in order.

    Raises:
        DataError: if the number of bands differs, or a named file lacks a channel.
    """
    wanted = modality.channels
    by_name = {name: number for number, name in enumerate(file.names, start=1) if name}
    found = [next((by_name[n] for n in (channel.name, *channel.aliases) if n in by_name), None) for channel in wanted]
    numbers = [number for number in found if number is not None]
    if len(numbers) == len(wanted):
        return tuple(numbers)
    if numbers:
        missing = ", ".join(channel.name for channel, number in zip(wanted, found, strict=True) if number is None)
        fix = "name the bands that the file has in the spec"
        raise DataError(f"has no band named {missing} (its bands: {', '.join(by_name)})", where=where, fix=fix)
    if len(file.names) != len(wanted):
        names = ", ".join(modality.channel_names)
        fix = "name the file's bands in the spec"
        raise DataError(f"has {len(file.names)} bands, expected {len(wanted)}: {names}", where=where, fix=fix)
    return tuple(range(1, len(wanted) + 1))


def match_files(
    files: Sequence[RasterFile], modality: Modality, nodata: float | None, added: float | None, where: str
) -> Iterator[tuple[RasterFile, tuple[int, ...], float | None]]:
    """Each file of a modality, with the bands that are its channels, and the value that means nodata in it.

    Args:
        files: one file with all channels, or a file a channel.
        modality: what they hold.
        nodata: the value that the spec gives; without it that of the file counts. A category's code is never nodata.
        added: summand that the spec gives in stored units, None if it can't.
        where: for messages, the path follows.

    Raises:
        DataError: if bands and channels don't match, or a file declares other physical values than the spec.
    """
    codes = {category.code for category in modality.categories}
    for number, file in enumerate(files):
        place = f"{where}, {file.path}"
        if len(files) == 1:
            bands = choose_bands(file, modality, place)
        elif len(file.names) == 1:
            bands = (1,)
        else:
            found = f"has {len(file.names)} bands, expected one: {modality.channel_names[number]}"
            raise DataError(found, where=place, fix="write one band a file, or all bands into one file")
        _check_scaling(file, modality, added, place)
        known = (nodata, file.nodata, modality.nodata)
        yield file, bands, next((value for value in known if value is not None and value not in codes), None)


def _check_scaling(file: RasterFile, modality: Modality, added: float | None, where: str) -> None:
    """Raises DataError if the file declares other physical values than the spec does, which may say what is added (else None)."""
    if modality.is_categorical or (file.scale, file.offset) == (1.0, 0.0):
        return
    expected = modality.offset + (added or 0.0) * modality.scale
    if np.isclose(file.scale, modality.scale) and np.isclose(file.offset, expected, atol=1e-9):
        return
    needed = (file.offset - modality.offset) / modality.scale
    can_add = added is not None and np.isclose(file.scale, modality.scale)
    advice = f"set add: {needed:g}" if can_add else "set scale and offset"
    found = (
        f"declares scale {file.scale:g} and offset {file.offset:g}, the spec means {modality.scale:g} and {expected:g}"
    )
    raise DataError(found, where=where, fix=f"{advice} in modalities.{modality.name}")


def read_window(layer: Layer, grid: Grid, left: int, top: int, size: int, *, smooth: bool, where: str) -> Values:
    """A square of a scene from one file.

    Args:
        layer: the bands.
        grid: of the scene.
        left: first column.
        top: first row.
        size: pixels of a side.
        smooth: whether warping interpolates (bilinear) or takes the nearest pixel.
        where: for messages.

    Returns:
        (bands, size, size), NaN where there are no data.

    Raises:
        DataError: if the file can't be read.
    """
    try:
        if layer.place is None:
            resampling = Resampling.bilinear if smooth else Resampling.nearest
            warped = _warped(layer, grid, resampling, where)
            values: Values = warped.read(list(layer.bands), window=Window(left, top, size, size))
        else:
            values = _read_in_place(layer, layer.place, left, top, size, where)
    except RasterioError as error:
        raise DataError("can't be read (damaged?)", where=where, fix="fetch the file again") from error
    values[~np.isfinite(values)] = np.nan
    return values


def _read_in_place(layer: Layer, place: tuple[int, int], left: int, top: int, size: int, where: str) -> Values:
    dataset = _handles().get((layer.path, None), lambda: _open(layer.path, where))
    values = np.full((len(layer.bands), size, size), np.nan)
    first = np.array([left - place[0], top - place[1]])
    begin = np.maximum(first, 0)
    end = np.minimum(first + size, (dataset.width, dataset.height))
    if (end <= begin).any():
        return values
    width, height = end - begin
    read = dataset.read(list(layer.bands), window=Window(*begin.tolist(), width, height))
    part = read.astype(np.float64)
    if layer.nodata is not None:
        part[read == layer.nodata] = np.nan
    column, row = begin - first
    values[:, row : row + height, column : column + width] = part
    return values


def _warped(layer: Layer, grid: Grid, resampling: Resampling, where: str) -> WarpedVRT:
    def make() -> WarpedVRT:
        dataset = _handles().get((layer.path, None), lambda: _open(layer.path, where))
        nodata = {} if layer.nodata is None else {"src_nodata": layer.nodata}
        return WarpedVRT(
            dataset,
            crs=grid.crs,
            transform=grid.transform,
            width=grid.width,
            height=grid.height,
            resampling=resampling,
            tolerance=WARP_TOLERANCE_PIXELS,
            dtype="float64",
            nodata=np.nan,
            **nodata,
        )

    return _handles().get((layer.path, (grid, resampling, layer.nodata)), make)


def _open(path: str, where: str) -> Any:
    try:
        return rasterio.io.DatasetReader(path, driver=list(DRIVERS), sharing=False)
    except RasterioError as error:
        what = "not a readable GeoTIFF or JPEG 2000 file"
        raise DataError(what, where=where, fix="fetch the file again, or convert it to GeoTIFF") from error


class _Handles:
    """Files that a process keeps open, the last used ones."""

    def __init__(self) -> None:
        self._open: OrderedDict[Any, Any] = OrderedDict()

    def get(self, key: Any, make: Any) -> Any:
        if key not in self._open:
            self._open[key] = make()
            if len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)
        self._open.move_to_end(key)
        return self._open[key]


_handles_of_process: dict[int, _Handles] = {}


def _handles() -> _Handles:
    """Of this process: a forked one must not read through its parent's handles."""
    return _handles_of_process.setdefault(os.getpid(), _Handles())


def close_files() -> None:
    """Closes what this process holds open."""
    _handles_of_process.pop(os.getpid(), None)


def fit_values(values: Values, modality: Modality, warped: bool, where: str) -> npt.NDArray[np.generic]:
    """Float values with NaN for nodata, as they are stored.

    Args:
        values: (channels, height, width).
        modality: how they are stored.
        warped: whether they were interpolated, so that fractions are rounded.
        where: for messages.

    Raises:
        DataError: if a value does not fit the dtype, a code is not in the list, or there is no value for nodata.
    """
    dtype = np.dtype(modality.dtype)
    missing = np.isnan(values)
    present = values[~missing]
    key = f"modalities.{modality.name}"
    if missing.any() and modality.nodata is None:
        found = f"{int(missing.sum())} values have no data and no value stands for that"
        raise DataError(found, where=where, fix=f"set {key}.nodata to a value that the files do not hold")
    if modality.is_categorical:
        _check_codes(present, modality, where)
    elif dtype.kind != "f":
        if warped:
            values = np.rint(values)
            present = np.rint(present)
        elif present.size and (present != np.rint(present)).any():
            found = f"holds fractions such as {present[present != np.rint(present)][0]:g}, which {dtype} can't hold"
            raise DataError(found, where=where, fix=f"set {key}.dtype: float32")
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    if present.size and (present.min() < limits.min or present.max() > limits.max):
        found = f"values from {present.min():g} to {present.max():g} do not fit {dtype}"
        raise DataError(found, where=where, fix=f"set {key}.dtype to another one (scenes that are cut may be clipped)")
    nothing = 0 if modality.nodata is None else modality.nodata
    if missing.any() and not limits.min <= nothing <= limits.max:
        if dtype.kind != "f":
            found = f"{int(missing.sum())} values have no data, and {nothing:g}, which stands for that, does not fit {dtype}"
            raise DataError(found, where=where, fix=f"set {key}.dtype to one that holds it")
        nothing = np.nan
    filled = np.where(missing, nothing, values)
    stored: npt.NDArray[np.generic] = filled.astype(dtype)
    return stored


def _check_codes(present: Values, modality: Modality, where: str) -> None:
    codes = [category.code for category in modality.categories]
    strange = present[~np.isin(present, codes)]
    if strange.size:
        names = ", ".join(f"{code:g}" for code in np.unique(strange)[:10])
        found = f"{strange.size} pixels hold codes that are not in the list: {names}"
        fix = f"add them to modalities.{modality.name}.categories, or name one as nodata"
        raise DataError(found, where=where, fix=fix)


def same_grid(files: Sequence[RasterFile]) -> Grid:
    """The grid of a scene: that of its finest file."""
    return min(files, key=lambda file: file.grid.pixel_area).grid

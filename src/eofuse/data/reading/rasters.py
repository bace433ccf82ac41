"""The one way in which an image of a user is opened: its header, masks and side-car files.

`inspect_raster` looks at a file; its pixels are read by `eofuse.data.reading.pixels`.
Side-car files count wherever GDAL knows them (`.aux.xml`, `.msk`, world files such as `.tfw`), and a
`.prj` gives the reference system of a file that has none. Call everything within `reading_environment()`. Files of arrays are opened
by the other formats of `eofuse.data.reading.formats`.
"""

import contextlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Interleaving, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from eofuse.data.reading.addresses import SETTINGS, is_virtual
from eofuse.data.reading.grid import Grid, is_mirrored, parse_crs
from eofuse.data.reading.resampling import Method
from eofuse.errors import DataError
from eofuse.limits import RASTER, TEXT

PICTURES = ("PNG", "JPEG")
"""Drivers of formats that hold a picture: grey, red, green and blue, or a palette of colours, perhaps with transparency."""

SIDEWAYS = 5
"""The EXIF orientation from which on rows are columns."""

DRIVERS = ("GTiff", "JP2OpenJPEG", *PICTURES)
FORMATS = "GeoTIFF, JPEG 2000, PNG or JPEG"
SUFFIXES = (".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg")
CACHE_BYTES = 128 * 2**20
MOST_PACKED = 1000
"""Times that a large file's pixels may be larger than the file."""

_OF_OVERVIEWS = (".ovr", ".msk.ovr")


@contextlib.contextmanager
def reading_environment(cache_bytes: int = CACHE_BYTES) -> Iterator[None]:
    """GDAL settings for reading: little memory, one thread, side-car files by their names rather than by lists of folders.

    The coordinate system is built from the file's own keys, which takes half as long as a look-up of its code.

    Args:
        cache_bytes: memory for decoded blocks.
    """
    settings = {
        "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
        "GDAL_NUM_THREADS": "1",
        "GDAL_CACHEMAX": cache_bytes,
        "GTIFF_SRS_SOURCE": "GEOKEYS",
        **SETTINGS,
    }
    with rasterio.Env(**settings), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


@dataclass(frozen=True)
class BandHeader:
    """What a file says of one of its bands.

    Attributes:
        number: in the file, from 1.
        name: its description, "" if it has none.
        nodata: the value that is declared as nodata.
        scale: declared factor to physical values, 1 by default.
        offset: declared summand, 0 by default.
    """

    number: int
    name: str
    nodata: float | None
    scale: float
    offset: float


@dataclass(frozen=True)
class Part:
    """What is wanted of a file that holds several arrays, or the values of several samples.

    Attributes:
        variables: names of its arrays, in the order of the channels; empty for the only one.
        row: position along the axis of the samples, None if the file is of one sample.
        axes: what each axis is, where names and sizes of the axes don't tell.
        dated: whether images of several dates are wanted.
    """

    variables: tuple[str, ...] = ()
    row: int | None = None
    axes: tuple[str, ...] = ()
    dated: bool = False


@dataclass(frozen=True)
class RasterFile:
    """What a raster file says of itself.

    Attributes:
        path: the file.
        grid: its pixels; the reference system is empty if there is none.
        dtype: of its first band.
        bands: all but an alpha band.
        alpha: the alpha band, which is a mask unless it is read as a band itself.
        is_masked: whether a mask or alpha band says which pixels are valid.
        is_picture: whether it is of a format in `PICTURES`.
        has_palette: whether it is a picture whose one band holds numbers of colours.
        sidecars: files beside it that belong to it, without overviews.
        part: what of it is meant; None for all.
    """

    path: str
    grid: Grid
    dtype: str
    bands: tuple[BandHeader, ...]
    alpha: BandHeader | None = None
    is_masked: bool = False
    is_picture: bool = False
    has_palette: bool = False
    sidecars: tuple[str, ...] = ()
    part: Part | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Descriptions of the bands, "" where there is none."""
        return tuple(band.name for band in self.bands)

    @property
    def nodata(self) -> float | None:
        """Nodata value of the first band."""
        return self.bands[0].nodata

    def band(self, number: int) -> BandHeader:
        """A band, or the alpha band, by its number in the file."""
        return self._by_number[number]

    @cached_property
    def _by_number(self) -> dict[int, BandHeader]:
        every = self.bands if self.alpha is None else (*self.bands, self.alpha)
        return {band.number: band for band in every}


@dataclass(frozen=True)
class PlacedRaster:
    """Bands of a file, and how they come to a grid.

    Attributes:
        file: what it says of itself.
        bands: numbers of the bands, from 1; of a palette, 1 to 3 are red, green and blue.
        nodata: of each of these bands, the value that means "nothing here", besides NaN and infinity.
        place: column and row of the grid at which the file begins, if their pixels are the same ones.
        method: by which the file is brought to the grid if they are not.
        decoder: name of what turns its codes into values, in `eofuse.data.reading.decoding`; "" for none.
    """

    file: RasterFile
    bands: tuple[int, ...]
    nodata: tuple[float | None, ...]
    place: tuple[int, int] | None
    method: Method | None
    decoder: str = ""

    @property
    def shows_colours(self) -> bool:
        """Whether the colours of a palette are wanted, not their numbers."""
        return self.file.has_palette and len(self.bands) > 1


def open_raster(path: str, where: str) -> Any:
    """Opens a file for reading.

    Raises:
        DataError: if there is no such file, or it is of no format in `DRIVERS`.
    """
    try:
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR") if is_virtual(path) else contextlib.nullcontext():
            return rasterio.io.DatasetReader(path, driver=list(DRIVERS), sharing=False)
    except (RasterioError, OSError) as error:
        if is_virtual(path):
            fix = "check the address and the connection, and the variables of your account (AWS_…, GDAL_HTTP_HEADERS)"
            raise DataError(f"can't be fetched: {error}", where=where, fix=fix) from None
        if not os.path.exists(path):  # noqa: PTH110 (a str, for speed)
            raise DataError("file missing", where=where, fix="add the file, or correct `files`") from None
        fix = "fetch the file again, or convert it to GeoTIFF (gdal_translate)"
        raise DataError(f"not a readable {FORMATS} file", where=where, fix=fix) from error


def inspect_raster(path: str | Path, where: str) -> RasterFile:
    """Looks at the header of a file and at its side-car files.

    Raises:
        DataError: if it is missing, no raster, holds nothing but an alpha band, or is georeferenced and mirrored.
    """
    path = str(path)
    with open_raster(path, where) as dataset:
        check_size(dataset, where)
        transform, crs = dataset.transform, dataset.crs or _projection_file(path, where)
        width, height = (
            (dataset.width, dataset.height) if turn_of(dataset) < SIDEWAYS else (dataset.height, dataset.width)
        )
        grid = Grid(crs or CRS(), Affine(*transform[:6]), width, height)
        if not np.isfinite(grid.bounds).all() or not 0 < grid.pixel_area < np.inf:
            raise DataError("its georeference is no place", where=where, fix="georeference the file (gdal_edit)")
        if crs and not (crs.is_geographic or crs.is_projected):
            fix = "give it the reference system of its coordinates (gdal_edit -a_srs)"
            raise DataError("its reference system is none of the Earth's surface", where=where, fix=fix)
        if crs and transform.is_identity:
            fix = "georeference the file, or put a world file (.tfw, .pgw, .jgw) beside it"
            raise DataError("has a coordinate reference system but no place in it", where=where, fix=fix)
        if crs and is_mirrored(transform):
            fix = "warp it to a north-up grid (gdalwarp)"
            raise DataError("is mirrored: its rows do not go down the map", where=where, fix=fix)
        every = [
            BandHeader(number, name or "", nodata, float(scale), float(offset))
            for number, (name, nodata, scale, offset) in enumerate(
                zip(dataset.descriptions, dataset.nodatavals, dataset.scales, dataset.offsets, strict=True), start=1
            )
        ]
        meanings = dataset.colorinterp
        alpha = next(
            (band for band, meaning in zip(every, meanings, strict=True) if meaning is ColorInterp.alpha), None
        )
        bands = tuple(band for band in every if band is not alpha)
        if not bands:
            raise DataError("holds nothing but an alpha band", where=where, fix="give a file with values")
        is_picture = dataset.driver in PICTURES
        return RasterFile(
            path,
            grid,
            dataset.dtypes[bands[0].number - 1],
            bands,
            alpha,
            any(flags not in ([MaskFlags.all_valid], [MaskFlags.nodata]) for flags in dataset.mask_flag_enums),
            is_picture,
            is_picture and meanings[0] is ColorInterp.palette,
            () if is_virtual(path) else _sidecars(path, dataset.files),
        )


def check_size(dataset: Any, where: str) -> None:
    """Refuses a file of complex numbers, and one of which a block, or the whole if it holds next to nothing, unpacks to too much.

    Raises:
        DataError: if it is one.
    """
    if any(dtype.startswith("complex") for dtype in dataset.dtypes):
        raise DataError("holds complex numbers", where=where, fix="give amplitude or power as real numbers")
    sizes = [np.dtype(dtype).itemsize for dtype in dataset.dtypes]
    whole = dataset.width * dataset.height * sum(sizes)
    pixels = max(rows * columns for rows, columns in dataset.block_shapes)
    block = pixels * (max(sizes) if dataset.interleaving is Interleaving.band else sum(sizes))
    RASTER.check(whole if dataset.driver in PICTURES else block, "unpacks to blocks of", where)
    if whole > MOST_PACKED * max(1, _size_of(dataset.name)):
        RASTER.check(whole, "is nearly empty and unpacks to", where)


def _size_of(path: str) -> float:
    """Bytes of a file; infinitely many of one behind an address, which is read in parts."""
    return np.inf if path.startswith("/vsi") else os.path.getsize(path)  # noqa: PTH202 (a str, for speed)


def turn_of(dataset: Any) -> int:
    """How a JPEG picture of a camera is to be turned, by its EXIF orientation: 1 for not at all."""
    if dataset.driver != "JPEG" or dataset.crs:
        return 1
    given = str(dataset.tags().get("EXIF_Orientation", "1")).strip()
    return int(given) if given in ("1", "2", "3", "4", "5", "6", "7", "8") else 1


def _projection_file(path: str, where: str) -> CRS | None:
    """The reference system in a `.prj` file beside a raster, None if there is none."""
    file = Path(path).with_suffix(".prj")
    if not file.is_file():
        return None
    try:
        return parse_crs(TEXT.read(file))
    except (OSError, ValueError):
        raise DataError(f"{file.name} beside it names no coordinate reference system", where=where) from None


def _sidecars(path: str, files: list[str]) -> tuple[str, ...]:
    """Files beside one that belong to it; of one at an address, beside which nothing is looked for, none."""
    found = {str(file) for file in files if not str(file).lower().endswith(_OF_OVERVIEWS)} - {path}
    projection = str(Path(path).with_suffix(".prj"))
    return tuple(sorted(found | ({projection} if os.path.isfile(projection) else set())))  # noqa: PTH113

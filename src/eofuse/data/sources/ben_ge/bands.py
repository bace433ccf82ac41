"""Reads the rasters of one BigEarthNet or ben-ge patch: Sentinel-2, Sentinel-1, elevation and land cover.

`READERS` has a function a modality. Each takes the modality's files (one a channel), the patch's id and the size that
its 10 m grid must have (None: any). It gives (channels, height, width) with the band whose grid that is, or raises a
`DataError` naming patch, band and file. Call them within `reading_environment()`.

`read_band` gives one band with its georeference and refuses anything that is not what was expected. `upsample_bilinear`
is the bilinear interpolation between pixel centres that GDAL's warper does for grids that share their upper-left
corner, exact and much faster.
"""

import functools
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError

from eofuse.data.reading.grid import Grid
from eofuse.data.reading.rasters import check_size
from eofuse.errors import DataError
from eofuse.limits import RASTER
from eofuse.modalities import ELEVATION, SENTINEL1, SENTINEL2, WORLDCOVER, Modality

_ALIGNMENT_TOLERANCE = 1e-3
"""Largest difference between corners or pixel sizes that counts as none, in pixels."""


Raster = npt.NDArray[np.generic]
Size = tuple[int, int] | None

_FINEST_M = 10
REFERENCE_BAND = SENTINEL2.channel_index("B02")
"""The band whose grid a Sentinel-2 patch has."""

_ELEVATION_DTYPES = ("int16", "uint8", "uint16", "int32", "uint32", "float32", "float64")
_WORLDCOVER_CODES = np.array([category.code for category in WORLDCOVER.categories], dtype=np.uint8)

MOST_ZEROS = 0.01
"""Share of pixels of a Sentinel-2 band that may be 0."""


@dataclass(frozen=True)
class Band:
    """One band as it lies in its file.

    Attributes:
        values: the pixels (height, width), in the dtype of the file.
        transform: from pixel to CRS coordinates.
        crs: coordinate reference system, None if the file names none.
        nodata: declared value for "nothing here", None if there is none.
        where: patch, band and file, for messages.
    """

    values: npt.NDArray[np.generic]
    transform: Affine
    crs: rasterio.crs.CRS | None
    nodata: float | None
    where: str


def read_band(path: str | Path, patch_id: str, band: str, dtypes: Collection[str], *, single: bool = True) -> Band:
    """Reads the first band of a GeoTIFF.

    Call it within `eofuse.data.reading.rasters.reading_environment()`.

    Args:
        path: the file.
        patch_id: the patch it belongs to, for messages.
        band: name of the band, for messages.
        dtypes: dtypes that are accepted.
        single: whether a file of more than one band is an error.

    Raises:
        DataError: if the file is missing, not a GeoTIFF, damaged, of another dtype, or holds NaN, infinity or masked pixels.
    """
    where = f"patch {patch_id}, band {band}, {path}"
    try:
        with rasterio.io.DatasetReader(path, driver="GTiff", sharing=False) as dataset:
            count, dtype = dataset.count, dataset.dtypes[0]
            if single and count != 1:
                raise DataError(f"{count} bands where one is expected", where=where, fix="write one band per file")
            if dtype not in dtypes:
                expected = " or ".join(dtypes)
                raise DataError(f"dtype {dtype}, expected {expected}", where=where, fix="fetch the original file again")
            check_size(dataset, where)
            RASTER.check(dataset.width * dataset.height * np.dtype(dtype).itemsize, "unpacks to", where)
            values = dataset.read(1)
            has_mask = MaskFlags.per_dataset in dataset.mask_flag_enums[0]
            masked = int((dataset.read_masks(1) == 0).sum()) if has_mask else 0
            found = Band(values, dataset.transform, dataset.crs, dataset.nodata, where)
    except (RasterioError, OSError) as error:
        if not os.path.exists(path):  # noqa: PTH110 (a path may be a str here, for speed)
            raise DataError("file missing", where=where, fix="restore the file, or remove the whole patch") from None
        what = "not a readable GeoTIFF (damaged, truncated or another format)"
        raise DataError(what, where=where, fix="fetch the file again") from error
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise DataError(f"{count} pixels are NaN or infinite", where=where, fix="leave the patch out")
    if masked:
        raise DataError(f"{masked} pixels are masked, no data", where=where, fix="leave the patch out")
    return found


def read_grid(path: str | Path) -> Grid | None:
    """The grid of a GeoTIFF, whose reference system is empty if it names none; None if it can't be opened.

    Call it within `reading_environment()`.
    """
    try:
        with rasterio.io.DatasetReader(path, driver="GTiff", sharing=False) as dataset:
            return Grid(dataset.crs or rasterio.crs.CRS(), dataset.transform, dataset.width, dataset.height)
    except (RasterioError, OSError):
        return None


def check_shape(band: Band, shape: tuple[int, int]) -> None:
    """Raises DataError unless the band has this (height, width)."""
    if band.values.shape != shape:
        found, expected = "×".join(map(str, band.values.shape)), "×".join(map(str, shape))
        raise DataError(f"{found} pixels, expected {expected}", where=band.where, fix="fetch the original file again")


def check_crs(band: Band, reference: Band) -> None:
    """Raises DataError if the band's coordinate reference system differs from the reference's."""
    texts = [None if each.crs is None else each.crs.wkt for each in (band, reference)]  # quickly compared
    if texts[0] != texts[1] and band.crs != reference.crs:
        own, other = ("none" if each.crs is None else each.crs.to_string()[:60] for each in (band, reference))
        what = f"coordinate reference system {own} differs from {other} of {reference.where}"
        fix = "see whether the file belongs to this patch; else warp it to the patch's grid"
        raise DataError(what, where=band.where, fix=fix)


def check_aligned(band: Band, reference: Band, factor: int) -> None:
    """Raises DataError unless its grid shares the reference's upper-left corner, pixels `factor` times as large."""
    found, base = band.transform, reference.transform
    expected = Affine(base.a * factor, base.b * factor, base.c, base.d * factor, base.e * factor, base.f)
    tolerance = _ALIGNMENT_TOLERANCE * max(abs(base.a), abs(base.e))
    if not found.almost_equals(expected, precision=tolerance):
        what = (
            f"corner ({found.c:g}, {found.f:g}) and pixel size {found.a:g}, expected corner "
            f"({expected.c:g}, {expected.f:g}) and pixel size {expected.a:g} as in {reference.where}"
        )
        raise DataError(what, where=band.where, fix="warp the file to the corner of the patch, or leave the patch out")


def upsample_bilinear(values: npt.NDArray[np.uint16], factor: int) -> npt.NDArray[np.uint16]:
    """Interpolates grids to pixels `factor` times smaller with the same upper-left corner.

    Values lie at pixel centres; beyond the outermost centres the outermost value holds. All sums are of whole numbers
    that the floating-point type holds exactly, so that the result does not depend on the machine.

    Args:
        values: (..., height, width).
        factor: how many small pixels span a large one.

    Returns:
        (..., height × factor, width × factor), halves rounded up.
    """
    if factor == 1:
        return values
    height, width = values.shape[-2:]
    whole = 4 * factor * factor
    exact = np.float32 if 2**16 * whole <= 2**24 else np.float64
    rows, columns = _interpolation_matrix(height, factor, exact), _interpolation_matrix(width, factor, exact)
    scaled: npt.NDArray[np.floating] = rows @ values.astype(exact) @ columns.T
    scaled += whole // 2
    scaled /= whole
    return scaled.astype(np.uint16)  # cuts off the fraction


@functools.lru_cache(maxsize=32)
def _interpolation_matrix(length: int, factor: int, dtype: type[np.floating]) -> npt.NDArray[np.floating]:
    """Weights (length × factor, length) of the large pixels in each small one, times 2 × factor: whole numbers."""
    small = np.arange(length * factor)
    # distance from the first large centre, in steps of 1 / (2 factor) of a large pixel
    position = np.clip(2 * small + 1 - factor, 0, 2 * factor * (length - 1))
    lower = np.minimum(position // (2 * factor), max(length - 2, 0))
    weight = position - 2 * factor * lower
    matrix = np.zeros((length * factor, length), dtype=dtype)
    matrix[small, lower] = 2 * factor - weight
    matrix[small, np.minimum(lower + 1, length - 1)] += weight
    matrix.setflags(write=False)
    return matrix


def band_paths(folder: str, owner: str, modality: Modality) -> list[str]:
    """The files of a patch folder, one a channel; `owner` is the id by which the folder and its files are called."""
    return [f"{folder}/{owner}_{channel.name}.tif" for channel in modality.channels]


def read_s2(paths: Sequence[str], patch_id: str, size: Size = None) -> tuple[Raster, Band]:
    """The twelve Sentinel-2 bands, uint16; those of 20 m and 60 m are interpolated bilinearly to 10 m."""
    names = SENTINEL2.channel_names
    reference = read_band(paths[REFERENCE_BAND], patch_id, names[REFERENCE_BAND], (SENTINEL2.dtype,))
    height, width = size or reference.values.shape
    values = np.empty((len(names), height, width), dtype=SENTINEL2.dtype)
    coarse: dict[int, list[tuple[int, npt.NDArray[np.uint16]]]] = defaultdict(list)
    for number, (channel, path) in enumerate(zip(SENTINEL2.channels, paths, strict=True)):
        band = reference
        if number != REFERENCE_BAND:
            band = read_band(path, patch_id, channel.name, (SENTINEL2.dtype,))
        factor = round((channel.resolution_m or _FINEST_M) / _FINEST_M)
        check_shape(band, (height // factor, width // factor))
        zeros = float((band.values == SENTINEL2.nodata).mean())
        if MOST_ZEROS < zeros < 1:  # in L2A products 0 means no data; a band of nothing else is a matter for the check
            raise DataError(f"{zeros:.0%} of its pixels are 0, no data", where=band.where, fix="leave the patch out")
        check_crs(band, reference)
        check_aligned(band, reference, factor)
        if factor == 1:
            values[number] = band.values
        else:
            coarse[factor].append((number, band.values.astype(np.uint16, copy=False)))
    for factor, bands in coarse.items():
        values[[number for number, _ in bands]] = upsample_bilinear(np.stack([pixels for _, pixels in bands]), factor)
    empty = int((~values.any(axis=0)).sum())
    if empty:
        where = reference.where.replace(f"band {names[REFERENCE_BAND]}", "all bands of s2")
        raise DataError(f"{empty} pixels without data (0 in every band)", where=where, fix="leave the patch out")
    return values, reference


def read_s1(paths: Sequence[str], patch_id: str, size: Size = None) -> tuple[Raster, Band]:
    """Backscatter VV and VH in dB, float32."""
    bands = [
        read_band(path, patch_id, channel.name, (SENTINEL1.dtype,))
        for channel, path in zip(SENTINEL1.channels, paths, strict=True)
    ]
    for band in bands:
        check_shape(band, size or bands[0].values.shape)
        check_crs(band, bands[0])
        check_aligned(band, bands[0], 1)
        _check_no_voids(band, band.nodata)
    return np.stack([band.values for band in bands]), bands[0]


def read_elevation(paths: Sequence[str], patch_id: str, size: Size = None) -> tuple[Raster, Band]:
    """Elevation in whole metres, int16: the first band of the file, of any dtype in which it is whole metres."""
    band = read_band(paths[0], patch_id, ELEVATION.name, _ELEVATION_DTYPES, single=False)
    check_shape(band, size or band.values.shape)
    _check_no_voids(band, band.nodata)
    _check_no_voids(band, ELEVATION.nodata)
    limits = np.iinfo(np.int16)
    if band.values.min() < limits.min or band.values.max() > limits.max:
        raise DataError("heights beyond the range of int16", where=band.where, fix="give whole metres")
    metres = band.values.astype(np.int16)
    if (metres != band.values).any():
        raise DataError("heights are not whole metres", where=band.where, fix="round them and store them as int16")
    return metres[None], band


def read_worldcover(paths: Sequence[str], patch_id: str, size: Size = None) -> tuple[Raster, Band]:
    """WorldCover codes, uint8."""
    band = read_band(paths[0], patch_id, WORLDCOVER.name, (WORLDCOVER.dtype,))
    check_shape(band, size or band.values.shape)
    codes = np.flatnonzero(np.bincount(band.values.ravel(), minlength=256))
    unknown = codes[~np.isin(codes, _WORLDCOVER_CODES)]
    if len(unknown):
        count = int(np.isin(band.values, unknown).sum())
        what = f"{count} pixels hold codes that WorldCover does not have: {', '.join(map(str, unknown))}"
        fix = f"valid: {', '.join(map(str, _WORLDCOVER_CODES))}; fetch the file again or leave the patch out"
        raise DataError(what, where=band.where, fix=fix)
    return band.values[None], band


READERS: dict[str, Callable[[Sequence[str], str, Size], tuple[Raster, Band]]] = {
    SENTINEL2.name: read_s2,
    SENTINEL1.name: read_s1,
    ELEVATION.name: read_elevation,
    WORLDCOVER.name: read_worldcover,
}


def _check_no_voids(band: Band, nodata: float | None) -> None:
    if nodata is not None:
        count = int((band.values == nodata).sum())
        if count:
            raise DataError(f"{count} pixels without data ({nodata:g})", where=band.where, fix="leave the patch out")

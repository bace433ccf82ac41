"""Reads the rasters of one BigEarthNet or ben-ge patch: Sentinel-2, Sentinel-1, elevation and land cover.

`READERS` has a function a modality. Each takes the modality's files (one a channel), the patch's id and the size that
its 10 m grid must have (None: any). It gives (channels, height, width) with the band whose grid that is, or raises a
`DataError` naming patch, band and file. Call them within `reading_environment()`.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from eofuse.data.sources.ben_ge.bands import Band, check_aligned, check_crs, check_shape, read_band, upsample_bilinear
from eofuse.errors import DataError
from eofuse.modalities import ELEVATION, SENTINEL1, SENTINEL2, WORLDCOVER, Modality

Raster = npt.NDArray[np.generic]
Size = tuple[int, int] | None

_FINEST_M = 10
REFERENCE_BAND = SENTINEL2.channel_index("B02")
"""The band whose grid a Sentinel-2 patch has."""

_ELEVATION_DTYPES = ("int16", "uint8", "uint16", "int32", "uint32", "float32", "float64")
_WORLDCOVER_CODES = np.array([category.code for category in WORLDCOVER.categories], dtype=np.uint8)


MOST_ZEROS = 0.01
"""Share of pixels of a Sentinel-2 band that may be 0."""


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

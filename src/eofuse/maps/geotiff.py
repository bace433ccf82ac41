"""Cloud-optimised GeoTIFFs of rows that are complete: tiles, overviews, names, units and colours (`write_geotiff`)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.shutil import copy
from rasterio.windows import Window

from eofuse.data.reading.grid import Grid
from eofuse.errors import DataError
from eofuse.files import replacing
from eofuse.maps.products import MapFile
from eofuse.maps.rows import RawRows

CACHE_BYTES = 64 * 2**20
BLOCK = 512
"""Side of a tile in pixels."""


def write_geotiff(
    path: Path,
    file: MapFile,
    grid: Grid,
    values: RawRows,
    tags: Mapping[str, str],
    scratch: Path,
    threads: int = 1,
) -> None:
    """Writes a file of a map, as a whole or not at all; the same values give the same bytes.

    Args:
        path: of the file.
        file: what it holds.
        grid: its pixels.
        values: of which a row of tiles is read at a time.
        tags: of the file.
        scratch: folder on the same disk, for files that are not whole yet.
        threads: that compress.

    Raises:
        DataError: if it can't be written.
    """
    plain, whole = scratch / "plain.tif", scratch / "whole.tif"
    _tidy(scratch)  # rasterio would look into what a killed process left, which may be no whole file
    try:
        with rasterio.Env(GDAL_NUM_THREADS=str(threads), GDAL_CACHEMAX=CACHE_BYTES):
            _write_plain(plain, file, grid, values, tags)
            copy(
                plain,
                whole,
                driver="COG",
                blocksize=BLOCK,
                compress="DEFLATE",
                predictor="YES",
                bigtiff="IF_SAFER",
                overview_resampling=file.overviews.upper(),
                overview_compress="DEFLATE",
                num_threads=str(threads),
            )
    except RasterioError as error:
        raise DataError(f"can't be written: {error}", where=path, fix="see whether the disk is full") from error
    plain.unlink()
    with replacing(path) as temporary:
        whole.replace(temporary)
    _tidy(scratch)
    path.with_name(f"{path.name}.aux.xml").unlink(missing_ok=True)


def _tidy(scratch: Path) -> None:
    for rest in (*scratch.glob("plain.tif*"), *scratch.glob("whole.tif*")):
        rest.unlink(missing_ok=True)


def _write_plain(path: Path, file: MapFile, grid: Grid, values: RawRows, tags: Mapping[str, str]) -> None:
    height, bands, width = values.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=bands,
        dtype=file.dtype,
        nodata=file.nodata,
        crs=grid.crs,
        transform=grid.transform,
        tiled=True,
        blockxsize=BLOCK,
        blockysize=BLOCK,
        interleave="band",
        bigtiff="IF_SAFER",
    ) as written:
        written.update_tags(**tags)
        written.descriptions = file.bands
        for number in range(1, bands + 1):
            if file.unit:
                written.set_band_unit(number, file.unit)
            if file.band_tags:
                written.update_tags(number, **file.band_tags[number - 1])
        if file.scale != 1:
            written.scales = [file.scale] * bands
        if file.colours:
            written.write_colormap(1, {**dict.fromkeys(range(256), (0, 0, 0, 0)), **_opaque(file.colours)})
        for top in range(0, height, BLOCK):
            rows = np.ascontiguousarray(np.moveaxis(values[top : top + BLOCK], 1, 0))
            written.write(rows, window=Window(0, top, width, rows.shape[1]))


def _opaque(colours: Mapping[int, tuple[int, int, int]]) -> dict[int, tuple[int, int, int, int]]:
    return {code: (*rgb, 255) for code, rgb in colours.items()}

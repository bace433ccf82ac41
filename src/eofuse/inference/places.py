"""Where on the Earth the pixels of a patch lie (`grid_of`)."""

import math
from functools import lru_cache

import pandas as pd
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform

from eofuse.data.sources.grid import Grid
from eofuse.data.store import Store, Window
from eofuse.errors import DataError

PIXEL_M = 10.0
DIGITS = 7
"""Digits of a pixel size that is computed from the place of a patch's centre."""


def grid_of(store: Store, row: int, window: Window | None = None) -> Grid | None:
    """The pixel grid of a patch, or None if the store does not know where it lies.

    Pixels have 10 m, but in stores that were cut from scenes (they have `side_km` in the index) the size that follows from the
    corner and the centre of the patch.

    Args:
        store: the store.
        row: of the patch.
        window: part of the patch that is wanted, the whole by default.

    Raises:
        DataError: if the coordinate reference system of the patch is not known.
    """
    patch = store.index.iloc[row]
    left, top = float(patch["ulx"]), float(patch["uly"])
    if not isinstance(patch["crs"], str) or not (math.isfinite(left) and math.isfinite(top)):
        return None
    try:
        crs = _crs(patch["crs"])
    except CRSError as error:
        where = f"{store.path}, patch {patch['patch_id']}"
        raise DataError(f"unknown coordinate reference system '{patch['crs']}' ({error})", where=where) from None
    across, down = _pixel_size(patch, crs, store.patch_size) if "side_km" in patch.index else (PIXEL_M, PIXEL_M)
    height, width = store.patch_size
    grid = Grid(crs, Affine(across, 0, left, 0, -down, top), width, height)
    if window is None:
        return grid
    return Grid(crs, grid.window_transform(window.left, window.top), window.width, window.height)


def lon_lat(grid: Grid, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Longitude and latitude (WGS 84) of points given as column and row."""
    places = [grid.place_of(column, row) for column, row in points]
    longitudes, latitudes = transform(grid.crs, _crs("EPSG:4326"), *map(list, zip(*places, strict=True)))
    return list(zip(longitudes, latitudes, strict=True))


def _pixel_size(patch: pd.Series, crs: CRS, patch_size: tuple[int, int]) -> tuple[float, float]:
    """Width and height of a pixel in the units of the reference system."""
    (x,), (y,) = transform(_crs("EPSG:4326"), crs, [float(patch["lon"])], [float(patch["lat"])])
    height, width = patch_size
    across, down = 2 * (x - float(patch["ulx"])) / width, 2 * (float(patch["uly"]) - y) / height
    return float(f"{across:.{DIGITS}g}"), float(f"{down:.{DIGITS}g}")


@lru_cache(maxsize=64)
def _crs(name: str) -> CRS:
    return CRS.from_user_input(name)

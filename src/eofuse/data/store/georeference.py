"""Where the pixels of patches lie on the Earth, as an index keeps it.

A patch whose place is known has in the index its coordinate reference system (`crs`), the affine transform from the column and row
of a pixel's upper left corner to coordinates, and its size in pixels, `grid_width` × `grid_height`::

    x = ulx + grid_a · column + grid_b · row
    y = uly + grid_d · column + grid_e · row

The numbers are those of the raster that the patch was read from. Longitude and latitude (`lon`, `lat`) say where a sample was taken;
they place no pixel. What is not known is NaN.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
from affine import Affine
from rasterio.crs import CRS

from eofuse.data.problems import Problem
from eofuse.data.reading.grid import KM_PER_DEGREE, Grid

if TYPE_CHECKING:
    import pyproj

GRID_COLUMNS = ("ulx", "uly", "grid_a", "grid_b", "grid_d", "grid_e", "grid_width", "grid_height")

PIXEL_M = 10.0
"""Side of a pixel of the ben-ge family, by definition of the format."""

SQUARE_TOLERANCE = 0.01
EXACT_TOLERANCE = 1e-6

Numbers = npt.NDArray[np.float64]


def set_grids(index: pd.DataFrame, grids: Sequence[Grid | None]) -> None:
    """Writes the grid of each patch into the columns of an index; None where it is not known."""
    values = np.full((len(grids), len(GRID_COLUMNS)), np.nan)
    names: list[str | None] = []
    for row, grid in enumerate(grids):
        names.append(None if grid is None else crs_name(grid.crs))
        if grid is not None:
            a, b, c, d, e, f = grid.transform[:6]
            values[row] = c, f, a, b, d, e, grid.width, grid.height
    index["crs"] = pd.Series(names, dtype=object, index=index.index)
    for position, column in enumerate(GRID_COLUMNS):
        index[column] = values[:, position]


def has_grid(index: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which patches have a known pixel grid, (patches,)."""
    if "crs" not in index.columns or not set(GRID_COLUMNS) <= set(index.columns):
        return np.zeros(len(index), dtype=bool)
    finite = np.isfinite(index[list(GRID_COLUMNS)].to_numpy(dtype=float)).all(axis=1)
    return np.asarray(finite & index["crs"].notna().to_numpy())


def grid_of(index: pd.DataFrame, row: int) -> Grid | None:
    """The pixel grid of a patch, None if it is not known.

    Raises:
        rasterio.errors.CRSError: if its coordinate reference system is none.
    """
    if not set(GRID_COLUMNS) <= set(index.columns):
        return None
    patch = index.iloc[row]
    left, top, a, b, d, e, width, height = (float(patch[name]) for name in GRID_COLUMNS)
    if not isinstance(patch["crs"], str) or not all(map(math.isfinite, (left, top, a, b, d, e, width, height))):
        return None
    return Grid(named_crs(patch["crs"]), Affine(a, b, left, d, e, top), int(width), int(height))


def corners(index: pd.DataFrame) -> Numbers:
    """Coordinates of the corners of each patch in its reference system, (patches, 4, 2), NaN where they are not known.

    The order is upper left, upper right, lower right, lower left.
    """
    if not set(GRID_COLUMNS) <= set(index.columns):
        return np.full((len(index), 4, 2), np.nan)
    left, top, a, b, d, e, width, height = index[list(GRID_COLUMNS)].to_numpy(dtype=float).T
    across, down = np.stack([a, d], axis=1) * width[:, None], np.stack([b, e], axis=1) * height[:, None]
    first = np.stack([left, top], axis=1)
    return np.stack([first, first + across, first + across + down, first + down], axis=1)


def centres(index: pd.DataFrame) -> Numbers:
    """Longitude and latitude of the middle of each patch's pixels, (patches, 2), NaN where it is not known."""
    return degrees(index, corners(index).mean(axis=1)[:, None])[:, 0]


def misplaced(index: pd.DataFrame, where: str) -> list[Problem]:
    """A warning if the longitude and latitude of patches lie outside their pixels."""
    corner = corners(index)
    rows = np.flatnonzero(has_grid(index) & index[["lon", "lat"]].notna().all(axis=1).to_numpy())
    found = np.full((len(index), 2), np.nan)
    for crs, members in index.iloc[rows].groupby("crs", sort=False).indices.items():
        chosen = rows[members]
        found[chosen] = np.stack(_from_degrees(index.iloc[chosen], str(crs)), axis=1)
    first, right, down = corner[:, 0], corner[:, 1] - corner[:, 0], corner[:, 3] - corner[:, 0]
    area = right[:, 0] * down[:, 1] - right[:, 1] * down[:, 0]
    away = found - first
    with np.errstate(all="ignore"):  # pixels may be too small for their coordinates
        across = (away[:, 0] * down[:, 1] - away[:, 1] * down[:, 0]) / area
        below = (away[:, 1] * right[:, 0] - away[:, 0] * right[:, 1]) / area
    beyond = np.maximum(np.abs(across - 0.5), np.abs(below - 0.5)) > 0.5 + EXACT_TOLERANCE
    outside = rows[beyond[rows]]
    if not len(outside):
        return []
    what = (
        f"lon and lat of {len(outside)} patches lie outside their pixels, such as {index['patch_id'].iloc[outside[0]]}"
    )
    fix = (
        "see whether the place or the georeference of the raster is wrong, or whether these patches lack the reference "
        "and have the grid of another raster; maps follow the raster"
    )
    return [Problem("warning", what, where, fix=fix)]


def unplaced(count: int, of: int) -> str:
    """Words for patches whose grid is not known."""
    return f"it is not known where the pixels of {count} of {of} patches lie"


def recovered(index: pd.DataFrame, patch_size: tuple[int, int]) -> pd.DataFrame:
    """The index of a store of schema 1 or 2, which kept a corner only, with the grids that follow from it beyond doubt.

    Patches of the ben-ge family have pixels of 10 m by definition. Those cut from scenes, or of a table, had the length of their side
    (`side_km`) and mostly the place of their centre: where both agree, they give the size of the pixels. Else it stays unknown.

    Args:
        index: as it was stored.
        patch_size: height and width of the patches.
    """
    height, width = patch_size
    across, down = np.full(len(index), np.nan), np.full(len(index), np.nan)
    placed = np.zeros(len(index), dtype=bool)
    if {"crs", "ulx", "uly"} <= set(index.columns) and height and width:
        placed = index["crs"].notna().to_numpy() & np.isfinite(index[["ulx", "uly"]].to_numpy(dtype=float)).all(axis=1)
    side = index["side_km"].to_numpy(dtype=float) if "side_km" in index.columns else np.full(len(index), np.nan)
    across[placed & np.isnan(side)] = down[placed & np.isnan(side)] = PIXEL_M
    rows = np.flatnonzero(placed & np.isfinite(side))
    for crs, members in index.iloc[rows].groupby("crs", sort=False).indices.items():
        chosen = rows[members]
        across[chosen], down[chosen] = _pixels_by_centre(index.iloc[chosen], str(crs), side[chosen], patch_size)
    known = np.isfinite(across) & np.isfinite(down)
    return index.assign(
        grid_a=across,
        grid_b=np.where(known, 0.0, np.nan),
        grid_d=np.where(known, 0.0, np.nan),
        grid_e=-down,
        grid_width=np.where(known, float(width), np.nan),
        grid_height=np.where(known, float(height), np.nan),
    )


def _pixels_by_centre(
    patches: pd.DataFrame, crs: str, side_km: Numbers, patch_size: tuple[int, int]
) -> tuple[Numbers, Numbers]:
    """Width and height of the pixels of patches with one reference system; NaN where centre and length of the side disagree."""
    import pyproj

    height, width = patch_size
    target = pyproj.CRS.from_user_input(crs)
    x, y = _from_degrees(patches, crs)
    across = 2 * (x - patches["ulx"].to_numpy(dtype=float)) / width
    down = 2 * (patches["uly"].to_numpy(dtype=float) - y) / height
    per_km = 1 / KM_PER_DEGREE if target.is_geographic else 1000 / target.axis_info[0].unit_conversion_factor
    shrink = np.cos(np.radians(patches["lat"].to_numpy(dtype=float))) if target.is_geographic else 1.0
    square = np.round(side_km * per_km / max(patch_size), 12)
    is_square = np.maximum(np.abs(across / square - 1), np.abs(down / square - 1)) < SQUARE_TOLERANCE
    longest = np.maximum(across * shrink, down) * max(patch_size)
    is_exact = np.abs(longest / (side_km * per_km) - 1) < EXACT_TOLERANCE
    unknown = np.where(is_exact & (across > 0) & (down > 0), 1.0, np.nan)
    return np.where(is_square, square, across * unknown), np.where(is_square, square, down * unknown)


def _from_degrees(patches: pd.DataFrame, crs: str) -> tuple[Numbers, Numbers]:
    """Coordinates of longitude and latitude of patches in a reference system."""
    change = _change("EPSG:4326", crs)
    x, y = change.transform(patches["lon"].to_numpy(dtype=float), patches["lat"].to_numpy(dtype=float))
    return x, y


def degrees(index: pd.DataFrame, places: Numbers) -> Numbers:
    """Longitude and latitude of places (patches, n, 2) in the reference system of each patch, NaN where they are not known."""
    found = np.full(places.shape, np.nan)
    rows = np.flatnonzero(has_grid(index))
    for crs, members in index.iloc[rows].groupby("crs", sort=False).indices.items():
        change = _change(str(crs), "EPSG:4326")
        chosen = places[rows[members]]
        found[rows[members]] = np.stack(change.transform(chosen[..., 0], chosen[..., 1]), axis=-1)
    return found


@lru_cache(maxsize=256)
def _change(source: str, target: str) -> "pyproj.Transformer":
    """The change of coordinates from one reference system to another; to make it takes far longer than to use it."""
    import pyproj

    return pyproj.Transformer.from_crs(source, target, always_xy=True)


@lru_cache(maxsize=256)
def named_crs(name: str) -> CRS:
    """A coordinate reference system by its name or WKT."""
    return CRS.from_user_input(name)


@lru_cache(maxsize=1024)
def crs_name(crs: CRS) -> str:
    """The name of a coordinate reference system, or its WKT."""
    return str(crs.to_string())

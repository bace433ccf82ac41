"""The pixel grid of a scene or patch: where it lies, how it is cut into patches, how another grid lies on it."""

import math
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio._err import CPLE_BaseError  # what GDAL itself refuses; rasterio has no public name for it
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform

KM_PER_DEGREE = 111.2
TOLERANCE_PIXELS = 0.01
"""Difference between two grids that counts as none."""


def tile_starts(length: int, size: int, overlap: int) -> range:
    """First pixels of the tiles along one side that lie within it.

    Args:
        length: pixels along the side.
        size: pixels of a tile.
        overlap: pixels that a tile shares with the next.
    """
    return range(0, length - size + 1, size - overlap)


def tiles_to_cover(length: int, size: int, overlap: int) -> int:
    """Number of tiles that would cover the whole side, if the last could stick out."""
    return max(1, math.ceil((length - overlap) / (size - overlap)))


@dataclass(frozen=True)
class Grid:
    """A grid of pixels, which may be turned against the axes of its reference system.

    Attributes:
        crs: coordinate reference system.
        transform: from (column, row) of a pixel's corner to coordinates.
        width: pixels from left to right.
        height: pixels from top to bottom.
    """

    crs: CRS
    transform: Affine
    width: int
    height: int

    @property
    def pixel_area(self) -> float:
        """Area of a pixel in squares of the unit of the reference system."""
        return abs(float(self.transform.determinant))

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Width and height of a pixel in the unit of the reference system."""
        a, b, _, d, e, _ = self.transform[:6]
        return math.hypot(a, d), math.hypot(b, e)

    @property
    def corners(self) -> list[tuple[float, float]]:
        """Coordinates of the upper left, upper right, lower right and lower left corner."""
        places = ((0, 0), (self.width, 0), (self.width, self.height), (0, self.height))
        return [self.place_of(column, row) for column, row in places]

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north end in coordinates."""
        x, y = zip(*self.corners, strict=True)
        return min(x), min(y), max(x), max(y)

    def window_transform(self, left: float, top: float) -> Affine:
        """Transform of a window that begins at this column and row."""
        x, y = self.place_of(left, top)
        a, b, _, d, e, _ = self.transform[:6]
        return Affine(a, b, x, d, e, y)

    def window(self, left: int, top: int, width: int, height: int) -> "Grid":
        """The grid of a window that begins at this column and row."""
        return Grid(self.crs, self.window_transform(left, top), width, height)

    def place_of(self, column: float, row: float) -> tuple[float, float]:
        """Coordinates of a column and row, counted from the upper left corner."""
        a, b, c, d, e, f = self.transform[:6]
        return c + column * a + row * b, f + column * d + row * e

    def pixel_at(self, x: float, y: float) -> tuple[float, float]:
        """Column and row of a place, counted from the upper left corner."""
        a, b, c, d, e, f = self.transform[:6]
        if not b and not d:
            return (x - c) / a, (y - f) / e
        area = a * e - b * d
        return ((x - c) * e - (y - f) * b) / area, ((y - f) * a - (x - c) * d) / area

    def place_on(self, other: "Grid") -> tuple[int, int] | None:
        """Column and row of the other grid at which this one begins, if their pixels are the same ones; else None."""
        if self.crs != other.crs:
            return None
        places = [other.pixel_at(x, y) for x, y in self.corners]
        if not np.isfinite(places).all():
            return None
        left, top = round(places[0][0]), round(places[0][1])
        ends = ((0, 0), (self.width, 0), (self.width, self.height), (0, self.height))
        away = [
            max(abs(column - left - across), abs(row - top - down))
            for (column, row), (across, down) in zip(places, ends, strict=True)
        ]
        return (left, top) if max(away) < TOLERANCE_PIXELS else None


def parse_crs(name: object) -> CRS:
    """A coordinate reference system by its code (`EPSG:32633`), URN, name, PROJ string, PROJJSON or WKT.

    Addresses and paths, which GDAL would open, are refused, as are codes so long that GDAL takes them for other ones.

    Raises:
        ValueError: if it is none of these.
    """
    if not isinstance(name, str) or re.match(r"\s*(?:[A-Za-z]*:{0,2}[/\\.]|[\w:.]*[0-9]{10,}\s*$)", name):
        raise ValueError("is no name of a coordinate reference system")
    try:
        return CRS.from_user_input(name)
    except (CRSError, UnicodeError):
        raise ValueError("is no name of a coordinate reference system") from None


def transform_places(
    source: CRS, wanted: CRS, x: npt.ArrayLike, y: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Coordinates (n,) in another reference system, not finite where they have none there."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    try:
        across, up = transform(source, wanted, x, y)
    except CPLE_BaseError:  # because of one of them, or of all
        if len(x) == 1:
            return np.full(1, np.nan), np.full(1, np.nan)
        half = len(x) // 2
        parts = [transform_places(source, wanted, x[part], y[part]) for part in (slice(half), slice(half, None))]
        across, up = np.concatenate(parts, axis=1)
    return np.asarray(across, dtype=np.float64), np.asarray(up, dtype=np.float64)


def is_mirrored(transform: Affine) -> bool:
    """Whether rows go up on the map, or columns to the left, as in a file that was never georeferenced."""
    return float(transform.determinant) >= 0

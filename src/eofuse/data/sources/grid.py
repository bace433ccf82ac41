"""The pixel grid of a scene: where it lies, how it is cut into patches, how another grid lies on it."""

import math
from dataclasses import dataclass

from affine import Affine
from rasterio.crs import CRS

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
    """A north-up grid of pixels.

    Attributes:
        crs: coordinate reference system.
        transform: from (column, row) of a pixel's corner to coordinates.
        width: pixels from west to east.
        height: pixels from north to south.
    """

    crs: CRS
    transform: Affine
    width: int
    height: int

    @property
    def pixel_area(self) -> float:
        """Area of a pixel in squares of the unit of the reference system."""
        return abs(float(self.transform.a * self.transform.e))

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north edge in coordinates."""
        west, north = self.transform.c, self.transform.f
        return west, north + self.height * self.transform.e, west + self.width * self.transform.a, north

    def side_km(self, pixels: int, latitude: float) -> float:
        """Length in kilometres of the longer side of a square of pixels at a latitude."""
        across, down = abs(self.transform.a) * pixels, abs(self.transform.e) * pixels
        if self.crs.is_geographic:
            return float(max(across * math.cos(math.radians(latitude)), down) * KM_PER_DEGREE)
        return float(max(across, down) * self.crs.linear_units_factor[1] / 1000)

    def window_transform(self, left: int, top: int) -> Affine:
        """Transform of a window that begins at this column and row."""
        x, y = self.place_of(left, top)
        return Affine(self.transform.a, 0, x, 0, self.transform.e, y)

    def place_of(self, column: float, row: float) -> tuple[float, float]:
        """Coordinates of a column and row, counted from the upper left corner."""
        return self.transform.c + column * self.transform.a, self.transform.f + row * self.transform.e

    def pixel_at(self, x: float, y: float) -> tuple[float, float]:
        """Column and row of a place, counted from the upper left corner."""
        return (x - self.transform.c) / self.transform.a, (y - self.transform.f) / self.transform.e

    def place_on(self, other: "Grid") -> tuple[int, int] | None:
        """Column and row of the other grid at which this one begins, if their pixels are the same ones; else None."""
        if self.crs != other.crs:
            return None
        left, top = other.pixel_at(*self.place_of(0, 0))
        right, bottom = other.pixel_at(*self.place_of(self.width, self.height))
        place = round(left), round(top)
        ends = (left - place[0], top - place[1], right - place[0] - self.width, bottom - place[1] - self.height)
        return place if max(map(abs, ends)) < TOLERANCE_PIXELS else None

"""The area of pixels on the ground, in square metres: `PixelAreas`.

Areas are those on the ellipsoid of the map's reference system, not those of the plane of the map. Between two parallels they have
a closed form (authalic latitude: Snyder 1987, Map Projections, USGS Professional Paper 1395, equation 3-12). In a projection the area
of a pixel follows from the change of longitude and latitude along its sides and the ellipsoid's radii of curvature: UTM shows
ground 0.08 % too small at its central meridian and 0.1 % too large at its edge, Web Mercator 2.2 times too large at 47°. It is
computed on a lattice over the map and interpolated: it is smooth.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from eofuse.data.reading.grid import Grid
from eofuse.errors import DataError

HECTARE = 10_000.0
NEAR = 1000.0
"""Metres on the ground over which a projection is straight."""

LATTICE = 65
"""Nodes along each side of the map at which areas are computed."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PixelAreas:
    """The areas of the pixels of a grid.

    Attributes:
        grid: the pixels, with a reference system of the Earth's surface.
    """

    grid: Grid

    def of_rows(self, top: int, rows: int) -> FloatArray:
        """Areas in square metres, (rows, width), or (rows, 1) where all pixels of a row are alike."""
        if self._by_row is not None:
            return self._by_row[top : top + rows, None]
        at_rows = _weights(np.arange(top, top + rows), self.grid.height)
        return np.asarray(at_rows @ self._lattice @ self._across)

    def at(self, rows: npt.NDArray[np.int_], columns: npt.NDArray[np.int_]) -> FloatArray:
        """Areas in square metres of single pixels, (pixels,)."""
        if self._by_row is not None:
            return np.asarray(self._by_row[rows])
        return np.asarray(((_weights(rows, self.grid.height) @ self._lattice) * self._across.T[columns]).sum(axis=1))

    @cached_property
    def _across(self) -> FloatArray:
        return _weights(np.arange(self.grid.width), self.grid.width).T

    @cached_property
    def _by_row(self) -> FloatArray | None:
        """(height,) areas of a grid of longitudes and latitudes that is not turned."""
        a, b, _, d, e, top = self.grid.transform[:6]
        if not self.grid.crs.is_geographic or b or d:
            return None
        edges = np.radians((top + e * np.arange(self.grid.height + 1)) * self._degrees_in_unit)
        band = np.abs(np.diff(_area_below(edges, *self._ellipsoid)))
        return np.asarray(band * np.radians(abs(a) * self._degrees_in_unit))

    @cached_property
    def _lattice(self) -> FloatArray:
        """(LATTICE, LATTICE) areas of pixels at places spread evenly over the grid."""
        columns, rows = np.meshgrid(np.linspace(0, self.grid.width, LATTICE), np.linspace(0, self.grid.height, LATTICE))
        if self.grid.crs.is_geographic:
            _, y = self.grid.place_of(columns, rows)  # type: ignore[arg-type]
            latitude = np.radians(np.asarray(y) * self._degrees_in_unit)
            half = np.radians(0.5e-3)
            per_square = (
                _area_below(latitude + half, *self._ellipsoid) - _area_below(latitude - half, *self._ellipsoid)
            ) / 1e-3
            return np.asarray(self.grid.pixel_area * self._degrees_in_unit**2 * np.radians(1.0) * per_square)
        areas = self._projected(columns, rows)
        usable = np.isfinite(areas) & (areas > 0)
        if not usable.any():
            fix = "warp the map to a reference system with a known scale, such as UTM (gdalwarp)"
            raise DataError("the area of its pixels on the ground can't be computed", where="the map", fix=fix)
        return np.where(usable, areas, np.median(areas[usable]))

    def _projected(self, columns: FloatArray, rows: FloatArray) -> FloatArray:
        """Areas of pixels at places of a projection, from how longitude and latitude change around them; NaN where they have none."""
        from pyproj import Proj
        from pyproj.exceptions import ProjError

        try:
            projection = Proj(self._crs)
        except ProjError:
            return np.full(columns.shape, np.nan)

        def on_ground(across: float, down: float) -> FloatArray:
            x, y = self.grid.place_of(columns + across, rows + down)  # type: ignore[arg-type]
            degrees = projection(np.ravel(x), np.ravel(y), inverse=True)
            radians: FloatArray = np.radians(np.array(degrees)).reshape(2, *columns.shape)
            return np.where(np.isfinite(radians), radians, np.nan)

        unit: float = self.grid.crs.linear_units_factor[1]
        across, down = (max(0.5, NEAR / 2 / (size * unit)) for size in self.grid.pixel_size)
        beside, below = on_ground(across, 0) - on_ground(-across, 0), on_ground(0, down) - on_ground(0, -down)
        beside, below = ((each + np.pi) % (2 * np.pi) - np.pi for each in (beside, below))  # across the antimeridian
        (a, b), (c, d) = beside / (2 * across), below / (2 * down)
        axis, eccentricity = self._ellipsoid
        latitude = on_ground(0, 0)[1]
        curved = 1 - (eccentricity * np.sin(latitude)) ** 2
        return np.asarray(np.abs(a * d - b * c) * np.cos(latitude) * axis**2 * (1 - eccentricity**2) / curved**2)

    @cached_property
    def _crs(self) -> "object":
        from pyproj import CRS

        return CRS.from_wkt(self.grid.crs.to_wkt())

    @cached_property
    def _ellipsoid(self) -> tuple[float, float]:
        """Half of the longer axis in metres, and the eccentricity."""
        ellipsoid = self._crs.ellipsoid  # type: ignore[attr-defined]
        a, b = ellipsoid.semi_major_metre, ellipsoid.semi_minor_metre
        return a, float(np.sqrt(max(1 - (b / a) ** 2, 0)))

    @property
    def _degrees_in_unit(self) -> float:
        return float(np.degrees(self.grid.crs.units_factor[1]))

    @property
    def words(self) -> str:
        """How areas are computed, for people."""
        kind = (
            "of latitude and longitude"
            if self.grid.crs.is_geographic
            else "of a projection, by its scale at their place"
        )
        return f"areas are those on the ellipsoid, pixel by pixel ({kind})"


def _area_below(latitude: FloatArray, a: float, eccentricity: float) -> FloatArray:
    """Area in square metres between the equator and latitudes, for a radian of longitude."""
    sine = np.sin(np.clip(latitude, -np.pi / 2, np.pi / 2))
    if eccentricity == 0:
        return np.asarray(a**2 * sine)
    product = eccentricity * sine
    return np.asarray(a**2 * (1 - eccentricity**2) / 2 * (sine / (1 - product**2) + np.arctanh(product) / eccentricity))


def _weights(pixels: npt.NDArray[np.int_], length: int) -> FloatArray:
    """(pixels, LATTICE) weights of linear interpolation, at their middles, between nodes that are spread evenly over a length."""
    position = (pixels + 0.5) / length * (LATTICE - 1)
    first = np.minimum(position.astype(int), LATTICE - 2)
    part = position - first
    found = np.zeros((len(pixels), LATTICE))
    row = np.arange(len(pixels))
    found[row, first], found[row, first + 1] = 1 - part, part
    return found

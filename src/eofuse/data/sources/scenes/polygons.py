"""Polygons with a class, from a file of shapes, drawn on the pixels of a scene."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS
from rasterio.features import rasterize
from shapely import get_coordinates, transform
from shapely.geometry import mapping

from eofuse.data.reading.grid import Grid, parse_crs, transform_places
from eofuse.data.reading.vectors import FIX_CRS, LONGITUDE_LATITUDE, Vectors, read_vectors
from eofuse.errors import DataError, did_you_mean
from eofuse.modalities import Category


@dataclass(frozen=True)
class Polygons:
    """Polygons in the reference system of a scene, in the order in which they are drawn.

    Attributes:
        geometries: GeoJSON geometries.
        codes: class code of each.
        bounds: (polygons, 4): west, south, east and north edge of each.
        fill: code of the pixels outside all polygons.
    """

    geometries: tuple[dict[str, Any], ...]
    codes: tuple[int, ...]
    bounds: npt.NDArray[np.float64]
    fill: int

    @property
    def dtype(self) -> str:
        """Of the codes that are drawn."""
        return "uint8" if max((self.fill, *self.codes)) < 256 else "uint16"

    @property
    def digest(self) -> str:
        """SHA-256 of shapes, codes and fill."""
        facts = json.dumps([self.geometries, self.codes, self.fill], sort_keys=True)
        return hashlib.sha256(facts.encode()).hexdigest()

    def draw(self, transform: Affine, size: int) -> npt.NDArray[np.generic]:
        """Codes (size, size) of a window: each pixel has that of the last polygon in which its centre lies."""
        a, b, left, d, e, top = transform[:6]
        west, east = left + size * min(0, a, b, a + b), left + size * max(0, a, b, a + b)
        south, north = top + size * min(0, d, e, d + e), top + size * max(0, d, e, d + e)
        touching = self.bounds[:, [0, 1]] <= (east, north)
        touching &= self.bounds[:, [2, 3]] >= (west, south)
        shapes = [(self.geometries[number], self.codes[number]) for number in np.flatnonzero(touching.all(axis=1))]
        if not shapes:
            return np.full((size, size), self.fill, dtype=self.dtype)
        drawn: npt.NDArray[np.generic] = rasterize(
            shapes, out_shape=(size, size), fill=self.fill, transform=transform, dtype=self.dtype
        )
        return drawn


def read_polygons(path: Path, class_property: str, categories: Sequence[Category], fill: int, grid: Grid) -> Polygons:
    """The polygons of a file that touch a scene.

    Args:
        path: a file of shapes (see `eofuse.data.reading.vectors`).
        class_property: property that holds the class, as code or name.
        categories: the classes.
        fill: code of the pixels outside all polygons.
        grid: of the scene.

    Raises:
        DataError: if the file can't be read, a feature is no polygon, or its class is missing or unknown.
    """
    vectors = read_vectors(path)
    code_of: dict[object, int] = {category.name: category.code for category in categories}
    code_of |= {category.code: category.code for category in categories}
    crs = _crs(vectors)
    west, south, east, north = grid.bounds
    geometries, codes, edges = [], [], []
    for number, geometry in enumerate(vectors.geometries):
        if geometry is None:
            raise DataError("has no geometry", where=vectors.where(number), fix="keep polygons only")
    for number, polygon in vectors.polygons():
        where, properties = vectors.where(number), vectors.properties[number]
        if class_property not in properties:
            fix = did_you_mean(class_property, properties)
            raise DataError(f"has no property '{class_property}'", where=where, fix=fix)
        value = properties[class_property]
        if not isinstance(value, str | int | float) or value not in code_of:
            fix = did_you_mean(value, [category.name for category in categories])
            raise DataError(f"its class {value!r} is not in the list", where=where, fix=fix)
        placed = _placed(polygon, crs, grid.crs, where)
        edge = placed.bounds
        if edge[0] < east and edge[2] > west and edge[1] < north and edge[3] > south:
            geometries.append(mapping(placed))
            codes.append(code_of[value])
            edges.append(edge)
    return Polygons(tuple(geometries), tuple(codes), np.array(edges, dtype=np.float64).reshape(-1, 4), fill)


def _crs(vectors: Vectors) -> CRS:
    try:
        return parse_crs("EPSG:4326" if vectors.crs in (None, LONGITUDE_LATITUDE) else vectors.crs)
    except ValueError:
        raise DataError(f"unknown coordinate system '{vectors.crs}'", where=vectors.path, fix=FIX_CRS) from None


def _placed(polygon: Any, crs: CRS, wanted: CRS, where: str) -> Any:
    """A polygon in another reference system."""
    if crs != wanted:
        polygon = transform(polygon, lambda places: np.stack(transform_places(crs, wanted, *places.T), axis=1))
    if not np.isfinite(get_coordinates(polygon)).all():
        raise DataError("its coordinates can't be used", where=where, fix="correct the feature")
    return polygon

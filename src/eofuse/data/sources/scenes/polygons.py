"""Polygons with a class, from a GeoJSON file, drawn on the pixels of a scene."""

import math
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
from shapely.errors import ShapelyError
from shapely.geometry import Polygon, mapping, shape

from eofuse.data.reading.grid import Grid, parse_crs, transform_places
from eofuse.errors import DataError, did_you_mean
from eofuse.files import read_json
from eofuse.modalities import Category

LONGITUDE_LATITUDE = CRS.from_epsg(4326)


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

    def draw(self, transform: Affine, size: int) -> npt.NDArray[np.uint8]:
        """Codes (size, size) of a window: each pixel has that of the last polygon in which its centre lies."""
        a, b, left, d, e, top = transform[:6]
        west, east = left + size * min(0, a, b, a + b), left + size * max(0, a, b, a + b)
        south, north = top + size * min(0, d, e, d + e), top + size * max(0, d, e, d + e)
        touching = self.bounds[:, [0, 1]] <= (east, north)
        touching &= self.bounds[:, [2, 3]] >= (west, south)
        shapes = [(self.geometries[number], self.codes[number]) for number in np.flatnonzero(touching.all(axis=1))]
        if not shapes:
            return np.full((size, size), self.fill, dtype=np.uint8)
        drawn: npt.NDArray[np.uint8] = rasterize(
            shapes, out_shape=(size, size), fill=self.fill, transform=transform, dtype="uint8"
        )
        return drawn


def read_polygons(path: Path, class_property: str, categories: Sequence[Category], fill: int, grid: Grid) -> Polygons:
    """The polygons of a GeoJSON file that touch a scene.

    Coordinates are longitude and latitude unless the file has a `crs` member of the older kind.

    Args:
        path: the file.
        class_property: property that holds the class, as code or name.
        categories: the classes.
        fill: code of the pixels outside all polygons.
        grid: of the scene.

    Raises:
        DataError: if the file can't be read, a feature is no polygon, or its class is missing or unknown.
    """
    features, crs = _read_features(path)
    code_of: dict[object, int] = {category.name: category.code for category in categories}
    code_of |= {category.code: category.code for category in categories}
    west, south, east, north = grid.bounds
    geometries, codes, edges = [], [], []
    for number, feature in enumerate(features):
        where = f"{path}, feature {number}"
        geometry = feature.get("geometry")
        geometry = geometry if isinstance(geometry, dict) else {}
        if geometry.get("type") not in ("Polygon", "MultiPolygon"):
            found = geometry.get("type", "nothing")
            raise DataError(f"is a {found}, not a polygon", where=where, fix="keep polygons only")
        properties = feature.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        if class_property not in properties:
            raise DataError(
                f"has no property '{class_property}'", where=where, fix=did_you_mean(class_property, properties)
            )
        value = properties[class_property]
        if not isinstance(value, str | int | float) or value not in code_of:
            fix = did_you_mean(value, [category.name for category in categories])
            raise DataError(f"its class {value!r} is not in the list", where=where, fix=fix)
        placed, edge = _placed(geometry, crs, grid.crs, where)
        if edge[0] < east and edge[2] > west and edge[1] < north and edge[3] > south:
            geometries.append(placed)
            codes.append(code_of[value])
            edges.append(edge)
    return Polygons(tuple(geometries), tuple(codes), np.array(edges, dtype=np.float64).reshape(-1, 4), fill)


def _placed(
    geometry: dict[str, Any], crs: CRS, wanted: CRS, where: str
) -> tuple[dict[str, Any], tuple[float, float, float, float]]:
    """A polygon in another reference system, and its west, south, east and north edge.

    GDAL crashes on coordinates that are no numbers, hence only what shapely has read reaches it.
    """
    try:
        placed = shape(geometry) if _are_numbers(geometry["coordinates"]) else Polygon()
        if crs != wanted:
            placed = transform(placed, lambda places: np.stack(transform_places(crs, wanted, *places.T), axis=1))
    except (ShapelyError, ValueError, TypeError, LookupError, AttributeError):
        placed = Polygon()
    if placed.is_empty or not np.isfinite(get_coordinates(placed)).all():
        raise DataError("its coordinates can't be used", where=where, fix="correct the feature")
    return mapping(placed), placed.bounds


def _are_numbers(coordinates: object) -> bool:
    """Whether nothing but finite numbers stands in the lists; shapely takes text and truth values for numbers."""
    if isinstance(coordinates, list):
        return all(map(_are_numbers, coordinates))
    return isinstance(coordinates, int | float) and not isinstance(coordinates, bool) and math.isfinite(coordinates)


def _read_features(path: Path) -> tuple[list[dict[str, Any]], CRS]:
    try:
        content = read_json(path)
        features = content["features"]
        declared = content.get("crs")
        crs = parse_crs(declared["properties"]["name"]) if declared else LONGITUDE_LATITUDE
    except FileNotFoundError:
        raise DataError("file missing", where=path, fix="check the path in the spec") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            "is no GeoJSON with features", where=path, fix="save it as a GeoJSON FeatureCollection"
        ) from error
    if not isinstance(features, list) or not all(isinstance(feature, dict) for feature in features):
        raise DataError("is no GeoJSON with features", where=path, fix="save it as a GeoJSON FeatureCollection")
    return features, crs

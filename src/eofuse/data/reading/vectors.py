"""The one way in which a file of shapes is read: `read_vectors`, for polygons of scenes, boxes, and the places of tables.

GeoPackage, Shapefile and FlatGeobuf come through pyogrio, GeoParquet through pyarrow. GeoJSON is parsed here: GDAL drops a geometry
that it does not understand, and makes text of a property whose values are of several sorts. What GDAL and GEOS end the interpreter
on (vertices that are no numbers, collections within collections without end) is an error before it reaches them.

GeoParquet 1.1 (https://geoparquet.org); well-known binary is that of OGC 06-103r4; GeoJSON is RFC 7946, or that of 2008 with a `crs`.
"""

import math
import re
import struct
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely.errors import ShapelyError

from eofuse.data.reading.tables import PARQUET, UNREADABLE, read_parquet
from eofuse.errors import DataError
from eofuse.files import parse_json, read_object
from eofuse.limits import VECTOR

LONGITUDE_LATITUDE = "OGC:CRS84"
JSON_SUFFIXES = (".geojson", ".json")
BINARY_SUFFIXES = {".gpkg": b"SQLite format 3\x00", ".shp": b"\x00\x00\x27\x0a", ".fgb": b"fgb\x03fgb"}
"""Endings of the files that GDAL opens → what they begin with: by their content alone, it would open files that name others."""

SUFFIXES = (*BINARY_SUFFIXES, *JSON_SUFFIXES, *PARQUET)
FORMATS = "GeoPackage, Shapefile, FlatGeobuf, GeoJSON or GeoParquet"
DEEPEST = 16
"""Collections within collections that are read."""

FIX = "write it anew with QGIS, geopandas or ogr2ogr"
FIX_CRS = "name it as EPSG:32633"


@dataclass(frozen=True)
class Vectors:
    """Features of a file.

    Attributes:
        path: the file.
        geometries: (features,) of shapely geometries in two dimensions, None where there is none.
        properties: of each feature.
        crs: coordinate reference system as code or WKT, which pyproj reads; None if the file says that there is none.
        declares_crs: whether the file names one; else it is longitude and latitude.
    """

    path: Path
    geometries: npt.NDArray[np.object_]
    properties: list[dict[str, Any]]
    crs: str | None
    declares_crs: bool

    def where(self, number: int) -> str:
        """A feature, for messages."""
        return f"{self.path}, feature {number}"

    def polygons(self) -> Iterator[tuple[int, Any]]:
        """Number and geometry of the features that have one.

        Raises:
            DataError: if one is no polygon.
        """
        for number, geometry in enumerate(self.geometries):
            if geometry is not None:
                if geometry.geom_type not in ("Polygon", "MultiPolygon"):
                    found = f"is a {geometry.geom_type}, not a polygon"
                    raise DataError(found, where=self.where(number), fix="keep polygons only")
                yield number, geometry


def read_vectors(path: Path) -> Vectors:
    """The features of a file.

    Raises:
        DataError: if it is missing, of no format in `FORMATS`, larger than allowed, or a geometry is damaged.
    """
    if not path.is_file():
        raise DataError("file missing", where=path, fix="check the path")
    suffix = path.suffix.lower()
    if suffix in PARQUET:
        table, geometries, crs = read_geoparquet(path)
        return Vectors(path, geometries, _records(table), crs, True)
    return _read_binary(path, suffix) if suffix in BINARY_SUFFIXES else _read_geojson(path)


def read_geoparquet(path: Path) -> tuple[pd.DataFrame, npt.NDArray[np.object_], str]:
    """A GeoParquet table without its geometries, these, and their reference system.

    Raises:
        DataError: if there is no reference system, or the geometries are not well-known binary.
    """
    try:
        table, metadata = read_parquet(path)
    except UNREADABLE as error:
        raise DataError(f"not a readable {FORMATS} file ({error})", where=path, fix=FIX) from None
    try:
        geo = parse_json(metadata[b"geo"].decode())
        name = str(geo["primary_column"])
        encoding, crs = geo["columns"][name].get("encoding"), geo["columns"][name].get("crs", LONGITUDE_LATITUDE)
        cells = table[name]
    except (ValueError, LookupError, TypeError, AttributeError):
        fix = "write it with geopandas"
        raise DataError("what the file says of its geometry is not understood", where=path, fix=fix) from None
    if encoding != "WKB":
        found = f"the geometry has the encoding {encoding}, WKB is read"
        raise DataError(found, where=path, fix="write it with geopandas")
    if crs is None:
        fix = "write the table with one (GeoDataFrame.set_crs)"
        raise DataError("the geometry has no coordinate reference system", where=path, fix=fix)
    try:
        named = CRS.from_user_input(crs) if isinstance(crs, dict) else CRS.from_user_input(_crs_name(crs))
    except (CRSError, ValueError, TypeError, LookupError):
        what = "the coordinate reference system of the geometry is not understood"
        raise DataError(what, where=path, fix="write the table with another one") from None
    geometries = geometries_of([cell if isinstance(cell, bytes) else None for cell in cells], path, "row", first=1)
    return table.drop(columns=name), geometries, named.to_wkt()


def _read_binary(path: Path, suffix: str) -> Vectors:
    import pyogrio

    with path.open("rb") as file:
        if not file.read(16).startswith(BINARY_SUFFIXES[suffix]):
            raise DataError(f"is no file of shapes such as {suffix} names", where=path, fix=FIX)
    VECTOR.check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
            if len(layers) != 1:
                found = f"has {len(layers)} layers of shapes{': ' * bool(layers)}{', '.join(layers)}"
                raise DataError(found, where=path, fix="write the one that is meant into a file of its own")
            meta, _, geometries, columns = pyogrio.raw.read(path, layer=layers[0], force_2d=True)
    except UnboundLocalError:  # pyogrio's, of a reference system that GDAL can't write
        fix = "give it another one (ogr2ogr -a_srs)"
        raise DataError("its coordinate reference system is damaged", where=path, fix=fix) from None
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError, RuntimeError) as error:
        raise DataError(f"not a readable {FORMATS} file ({error})", where=path, fix=FIX) from None
    if meta["crs"] is None:
        raise DataError("has no coordinate reference system", where=path, fix="give it one (ogr2ogr -a_srs)")
    table = pd.DataFrame(dict(zip(meta["fields"], columns, strict=True)), index=range(len(geometries)))
    return Vectors(path, geometries_of(list(geometries), path, "feature"), _records(table), str(meta["crs"]), True)


def _read_geojson(path: Path) -> Vectors:
    fix = "save it as a GeoJSON FeatureCollection"
    content = read_object(path, fix)
    features = content.get("features")
    if not isinstance(features, list) or not all(isinstance(feature, dict) for feature in features):
        raise DataError("no GeoJSON feature collection", where=path, fix=fix)
    geometries = np.full(len(features), None, dtype=object)
    properties = []
    for number, feature in enumerate(features):
        if feature.get("geometry") is not None:
            geometries[number] = _shape(feature["geometry"], f"{path}, feature {number}")
        own = feature.get("properties")
        properties.append(own if isinstance(own, dict) else {})
    return Vectors(path, geometries, properties, _declared(content, path), "crs" in content)


def _declared(content: Mapping[str, Any], path: Path) -> str | None:
    """The reference system that a collection names, longitude and latitude by default, None for null."""
    if content.get("crs", "") is None:
        return None
    if "crs" not in content:
        return LONGITUDE_LATITUDE
    try:
        return _crs_name(content["crs"]["properties"]["name"])
    except (TypeError, LookupError, ValueError):
        what = f"unknown coordinate system {content['crs']!r}"[:200]
        raise DataError(what, where=f"{path}, crs", fix=FIX_CRS) from None


def _crs_name(name: object) -> str:
    """Authority and code of a reference system, as `EPSG:32633`; a `ValueError` if it is no name of one."""
    match = re.fullmatch(r"(?:urn:ogc:def:crs:)?(EPSG|OGC|ESRI):(?:[\w.]*:)?(\w{1,9})", str(name), re.IGNORECASE)
    if match is None:
        raise ValueError(f"{name!r} is no name of a coordinate reference system")
    return f"{match[1].upper()}:{match[2].upper()}"


def _shape(geometry: object, where: str) -> Any:
    """A geometry of GeoJSON.

    GDAL and GEOS crash on coordinates that are no numbers, and shapely takes text and truth values for numbers.
    """
    found = None
    try:
        if isinstance(geometry, dict) and _are_numbers(geometry):
            found = shapely.force_2d(shapely.geometry.shape(geometry))
    except (ShapelyError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        pass
    if found is None or found.is_empty or not np.isfinite(shapely.get_coordinates(found)).all():
        raise DataError("its coordinates can't be used", where=where, fix="correct the feature")
    return found


def _are_numbers(geometry: Mapping[str, Any]) -> bool:
    """Whether nothing but finite numbers stands in the lists of coordinates."""
    waiting: list[Any] = [geometry]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [value["coordinates"]] if "coordinates" in value else value.get("geometries", [None])
        elif isinstance(value, list):
            waiting += value
        elif not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            return False
    return True


def geometries_of(cells: list[bytes | None], path: Path, unit: str, first: int = 0) -> npt.NDArray[np.object_]:
    """Geometries of well-known binary, (cells,), None where there is none.

    Args:
        cells: well-known binary, or None.
        path: of the file, for messages.
        unit: what a cell is, for messages.
        first: number of the first cell.

    Raises:
        DataError: naming the cell, if one can't be read.
    """
    found = np.full(len(cells), None, dtype=object)
    for number, content in enumerate(cells):
        if content is None:
            continue
        where = f"{path}, {unit} {number + first}"
        if not _is_shallow(content):
            raise DataError("the geometry can't be read: it is nested too deeply", where=where, fix=FIX)
        try:
            geometry = shapely.force_2d(shapely.from_wkb(content))
        except (ShapelyError, ValueError) as error:
            raise DataError(f"the geometry can't be read: {error}", where=where, fix=FIX) from None
        found[number] = geometry
    return found


def _is_shallow(content: bytes) -> bool:
    """Whether well-known binary holds no more collections within collections than GEOS reads without end of its stack."""
    at, open_ = 0, [1]  # geometries still to come, level by level
    try:
        while open_:
            if not open_[-1]:
                open_.pop()
                continue
            open_[-1] -= 1
            order = "<" if content[at] else ">"
            (code,) = struct.unpack_from(f"{order}I", content, at + 1)
            at += 9 if code & 0x20000000 else 5
            flags, kind = divmod(code & 0x0FFFFFFF, 1000)
            size = 8 * (2 + bool(code & 0x80000000 or flags in (1, 3)) + bool(code & 0x40000000 or flags in (2, 3)))
            if kind == 1:
                at += size
                continue
            (count,) = struct.unpack_from(f"{order}I", content, at)
            at += 4
            if kind == 2:
                at += size * count
            elif kind == 3:
                for _ in range(count):
                    (length,) = struct.unpack_from(f"{order}I", content, at)
                    at += 4 + size * length
            elif len(open_) < DEEPEST:
                open_.append(count)
            else:
                return False
    except (struct.error, IndexError):
        pass  # GEOS says what is wrong
    return True


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries of Python's own values, None where there is none."""
    columns = {
        str(name): table[name].astype(object).where(table[name].notna(), None).tolist() for name in table.columns
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)] or [{}] * len(
        table
    )


def centroids(geometries: npt.NDArray[np.object_], crs: str, path: Path) -> npt.NDArray[np.float64]:
    """Longitude and latitude of the centroid of each geometry, (geometries, 2), NaN where there is none.

    Raises:
        DataError: if the reference system is none of the Earth's.
    """
    from pyproj import Transformer
    from pyproj.exceptions import ProjError

    points = shapely.get_coordinates(shapely.centroid(geometries), include_z=False)
    places = np.full((len(geometries), 2), np.nan)
    places[~(shapely.is_missing(geometries) | shapely.is_empty(geometries))] = points
    try:
        transformer = Transformer.from_crs(CRS.from_user_input(crs), LONGITUDE_LATITUDE, always_xy=True)
        degrees = np.stack(transformer.transform(places[:, 0], places[:, 1]), axis=1)
    except (ProjError, ValueError, TypeError, LookupError):
        what = "the coordinate reference system of the geometry is not understood"
        raise DataError(what, where=path, fix="write the table with another one") from None
    return np.where(np.isfinite(degrees), degrees, np.nan)

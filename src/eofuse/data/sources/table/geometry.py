"""Longitude and latitude of the geometries of a GeoParquet table: the centroid of each.

GeoParquet 1.1 (https://geoparquet.org): a column of well-known binary (OGC 06-103r4), its reference system as PROJJSON in the
metadata of the file; longitude and latitude where nothing is said.
"""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from eofuse.errors import DataError
from eofuse.files import parse_json

POINT, LINE, POLYGON = 1, 2, 3
COLLECTIONS = (4, 5, 6, 7)

Weighted = npt.NDArray[np.float64]
"""Weight, and weight times x and y: of an area, a length or a number of points."""


def geometry_places(table: pd.DataFrame, metadata: Mapping[bytes, bytes], path: Path) -> tuple[str, Weighted]:
    """The column with the geometries, and their centroids as longitude and latitude (rows, 2), NaN where there is none.

    Raises:
        DataError: if there is no reference system, or the geometries are not well-known binary.
    """
    try:
        geo = parse_json(metadata[b"geo"].decode())
        name = str(geo["primary_column"])
        encoding, crs = geo["columns"][name].get("encoding"), geo["columns"][name].get("crs", "OGC:CRS84")
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
    places = np.full((len(table), 2), np.nan)
    for row, content in enumerate(cells):
        if isinstance(content, bytes):
            try:
                places[row] = _centroid(content)
            except (struct.error, ValueError, IndexError, RecursionError) as error:
                raise DataError(f"the geometry can't be read: {error}", where=f"{path}, row {row + 1}") from None
    try:
        transformer = Transformer.from_crs(CRS.from_user_input(crs), "OGC:CRS84", always_xy=True)
        longitudes, latitudes = transformer.transform(places[:, 0], places[:, 1])
    except (ProjError, ValueError, TypeError, LookupError):
        what = "the coordinate reference system of the geometry is not understood"
        raise DataError(what, where=path, fix="write the table with another one") from None
    degrees = np.stack([longitudes, latitudes], axis=1)
    return name, np.where(np.isfinite(degrees), degrees, np.nan)


def _centroid(content: bytes) -> Weighted:
    sums, _ = _sums(content, 0)
    best = next((total for total in sums if total[0]), None)
    return np.full(2, np.nan) if best is None else np.asarray(best[1:] / best[0])


def _sums(content: bytes, start: int) -> tuple[Weighted, int]:
    """Sums over areas, lengths and points (3, 3) of the geometry that begins at this byte, and the byte after it."""
    order = "<" if content[start] else ">"
    (code,) = struct.unpack_from(f"{order}I", content, start + 1)
    start += 5
    has_z, has_m = bool(code & 0x80000000), bool(code & 0x40000000)
    if code & 0x20000000:
        start += 4
    flags, kind = divmod(code & 0x0FFFFFFF, 1000)
    size = 2 + (has_z or flags in (1, 3)) + (has_m or flags in (2, 3))
    sums = np.zeros((3, 3))
    if kind == POINT:
        x, y = struct.unpack_from(f"{order}2d", content, start)
        if np.isfinite(x):
            sums[2] = 1, x, y
        return sums, start + 8 * size
    (count,) = struct.unpack_from(f"{order}I", content, start)
    start += 4
    if kind == LINE:
        points, start = _points(content, start, order, count, size)
        return _line(points), start
    if kind == POLYGON:
        for number in range(count):
            (length,) = struct.unpack_from(f"{order}I", content, start)
            points, start = _points(content, start + 4, order, length, size)
            sums[0] += _ring(points) * (-1 if number else 1)
        return sums, start
    if kind in COLLECTIONS:
        for _ in range(count):
            part, start = _sums(content, start)
            sums += part
        return sums, start
    raise ValueError(f"kind {kind} of well-known binary is not known")


def _points(content: bytes, start: int, order: str, count: int, size: int) -> tuple[Weighted, int]:
    values = np.frombuffer(content, f"{order}f8", count * size, start).astype(np.float64)
    return values.reshape(count, size)[:, :2], start + 8 * count * size


def _line(points: Weighted) -> Weighted:
    sums: Any = np.zeros((3, 3))
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    middles = (points[1:] + points[:-1]) / 2
    sums[1] = lengths.sum(), *(lengths[:, None] * middles).sum(axis=0)
    return np.asarray(sums)


def _ring(points: Weighted) -> Weighted:
    """Area, and area times the centroid, of a closed ring (shoelace formula)."""
    if not len(points):
        return np.zeros(3)
    near = points - points[0]
    cross = near[:-1, 0] * near[1:, 1] - near[1:, 0] * near[:-1, 1]
    area = cross.sum() / 2
    moments = ((near[:-1] + near[1:]) * cross[:, None]).sum(axis=0) / 6
    sign = np.sign(area) or 1
    return np.array([area * sign, *(moments * sign + points[0] * area * sign)])

"""Files of points: what a labeller gets and gives back.

`write_points` writes ids and an empty column for the label, and nothing that tells what the map says there. `read_points` reads them
again from any file of shapes, or a table with longitude and latitude.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import shapely

from eofuse.areas.ground import FloatArray
from eofuse.data.geopackage import write_geopackage
from eofuse.data.reading.grid import Grid, parse_crs, transform_places
from eofuse.data.reading.tables import PARQUET, read_table_file
from eofuse.data.reading.vectors import BINARY_SUFFIXES, JSON_SUFFIXES, LONGITUDE_LATITUDE, read_vectors
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.files import replacing
from eofuse.words import listed

FORMATS = (".gpkg", ".geojson", ".json", ".csv")
"""Endings of files that are written."""

LONGITUDES, LATITUDES = ("lon", "longitude"), ("lat", "latitude")
DECIMALS = 8
"""Of degrees: a millimetre."""

LAYER = "points"


@dataclass(frozen=True, eq=False)
class Points:
    """Points with labels.

    Attributes:
        path: their file.
        ids: of each.
        labels: of each, None where there is none.
        columns: (points,) column on the map's grid, counted from its left edge; not finite where a point has no place.
        rows: (points,) row on the map's grid, from its upper edge.
    """

    path: Path
    ids: list[str]
    labels: list[str | None]
    columns: FloatArray
    rows: FloatArray


def check_format(path: Path) -> None:
    """Refuses an ending that can't be written.

    Raises:
        UsageError: if it is one.
    """
    if path.suffix.lower() not in FORMATS:
        fix = "name a file that ends in .gpkg, .geojson or .csv"
        raise UsageError(f"points are not written as '{path.suffix}'", where=path, fix=fix)


def write_points(path: Path, grid: Grid, places: FloatArray, ids: Sequence[str], label: str) -> None:
    """Writes points to be labelled.

    Args:
        path: a GeoPackage in the map's reference system, or GeoJSON or CSV with longitude and latitude.
        grid: of the map.
        places: (points, 2) coordinates in the map's reference system.
        ids: of the points.
        label: name of the empty column.
    """
    suffix = path.suffix.lower()
    if suffix == ".gpkg":
        columns = {"id": pa.array(ids, pa.string()), label: pa.nulls(len(ids), pa.string())}
        write_geopackage(path, LAYER, shapely.points(places).tolist(), columns, grid, "Point")
        return
    with replacing(path) as temporary:
        degrees = lon_lat(grid, places)
        if suffix == ".csv":
            lines = [f"id,lon,lat,{_cell(label)}"]
            lines += [
                f"{each},{lon:.{DECIMALS}f},{lat:.{DECIMALS}f},"
                for each, (lon, lat) in zip(ids, degrees.tolist(), strict=True)
            ]
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
            return
        features = [
            {
                "type": "Feature",
                "properties": {"id": each, label: None},
                "geometry": {"type": "Point", "coordinates": [round(lon, DECIMALS), round(lat, DECIMALS)]},
            }
            for each, (lon, lat) in zip(ids, degrees.tolist(), strict=True)
        ]
        rows = ",\n".join(json.dumps(each, ensure_ascii=False) for each in features)
        temporary.write_text(f'{{"type": "FeatureCollection", "features": [\n{rows}\n]}}\n', encoding="utf-8")


def lon_lat(grid: Grid, places: FloatArray) -> FloatArray:
    """Longitude and latitude, (points, 2), of coordinates of the map."""
    return np.column_stack(transform_places(grid.crs, parse_crs(LONGITUDE_LATITUDE), places[:, 0], places[:, 1]))


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(each in text for each in ',"\n') else text


def read_points(path: Path, grid: Grid, label: str, *, needs_ids: bool = True) -> Points:
    """Points with their labels.

    Args:
        path: a file of shapes, or a CSV or Parquet table with columns `lon` and `lat`.
        grid: of the map.
        label: the column of labels.
        needs_ids: whether there must be a column `id`; else points are numbered.

    Raises:
        DataError: if the file can't be read, lacks a column, holds something else than points, or two have one id.
        UsageError: if there is no column of that name.
    """
    if not path.is_file():
        raise DataError("there are no such points", where=path, fix="check the path")
    suffix = path.suffix.lower()
    if suffix in (*BINARY_SUFFIXES, *JSON_SUFFIXES):
        records, x, y, crs = _shapes(path)
    elif suffix in (*PARQUET, ".csv"):
        records, x, y, crs = _table(path, label)
    else:
        raise UsageError(f"points are not read from '{path.suffix}'", where=path, fix="give GeoPackage, GeoJSON or CSV")
    if not records:
        raise DataError("holds no point", where=path)
    names = list(records[0])
    if label not in names:
        raise UsageError(
            f"has no column '{label}'; {did_you_mean(label, names)}", where=path, fix="name it with --label"
        )
    if needs_ids and "id" not in names:
        raise DataError("has no column 'id'", where=path, fix="give the file that `eofuse sample` wrote, with labels")
    ids = [_text(record.get("id")) or str(number) for number, record in enumerate(records, start=1)]
    doubled = sorted(each for each, count in Counter(ids).items() if count > 1)
    if doubled:
        raise DataError(f"ids occur more than once: {listed(doubled)}", where=path, fix="keep one row of each point")
    across, down = transform_places(parse_crs(crs), grid.crs, x, y)
    columns, rows = grid.pixel_at(across, down)  # type: ignore[arg-type]
    labels = [_text(record.get(label)) for record in records]
    return Points(path, ids, labels, np.asarray(columns, dtype=float), np.asarray(rows, dtype=float))


def _shapes(path: Path) -> tuple[list[dict[str, Any]], FloatArray, FloatArray, str]:
    vectors = read_vectors(path)
    for number, geometry in enumerate(vectors.geometries):
        if geometry is None or geometry.geom_type != "Point" or geometry.is_empty:
            found = "has no geometry" if geometry is None else f"is a {geometry.geom_type}, not a point"
            raise DataError(found, where=vectors.where(number), fix="keep points only")
    if vectors.crs is None:
        raise DataError("has no coordinate reference system", where=path, fix="give it one (ogr2ogr -a_srs)")
    places = shapely.get_coordinates(list(vectors.geometries)).reshape(-1, 2)
    return vectors.properties, places[:, 0], places[:, 1], vectors.crs


def _table(path: Path, label: str) -> tuple[list[dict[str, Any]], FloatArray, FloatArray, str]:
    table = read_table_file(path, texts=_columns_of_text(path, label))
    found = []
    for names in (LONGITUDES, LATITUDES):
        name = next((each for each in names if each in table), None)
        if name is None:
            raise DataError(
                f"has no column '{names[0]}'", where=path, fix="give longitude and latitude as `lon` and `lat`"
            )
        degrees = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        if not np.isfinite(degrees).all():
            row = int(np.flatnonzero(~np.isfinite(degrees))[0]) + 1
            what = f"'{table[name].iloc[row - 1]}' is no number of degrees"
            raise DataError(what, where=f"{path}, column {name}, row {row}", fix="write it as 15.0123, with a point")
        found.append(degrees)
    records = table.astype(object).where(table.notna(), None).to_dict("records")
    return (
        [{str(key): value for key, value in record.items()} for record in records],
        found[0],
        found[1],
        LONGITUDE_LATITUDE,
    )


def _columns_of_text(path: Path, label: str) -> list[str]:
    if path.suffix.lower() in PARQUET:
        return []
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline()
    return [name for name in ("id", label) if name in header]


def _text(value: object) -> str | None:
    """An id or label as text; None where there is none."""
    if value is None or value != value:  # NaN
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None


def _whole_number(label: str) -> str:
    """A label like 3.0, as programs write codes in a column with gaps, as 3; another one as it is."""
    whole, _, decimals = label.partition(".")
    return whole if whole.isdecimal() and decimals and not decimals.strip("0") else label


def class_of_labels(labels: Sequence[str | None], names: Mapping[int, str], where: object) -> list[int | None]:
    """The code of each label, which is a name or a code; None where there is none.

    Args:
        labels: of the points.
        names: code → name of the classes.
        where: for messages.

    Raises:
        UsageError: if a label is neither.
    """
    by_text = {str(code): code for code in names} | {name: code for code, name in names.items()}
    labels = [label if label is None or label in by_text else _whole_number(label) for label in labels]
    unknown = sorted({label for label in labels if label is not None and label not in by_text})
    if unknown:
        found = f"the map has no class '{unknown[0]}'; {did_you_mean(unknown[0], list(names.values()))}"
        more = f" ({len(unknown)} unknown labels: {listed(unknown)})" if len(unknown) > 1 else ""
        fix = "correct the label, or name a class that the map lacks with --classes names.yaml"
        raise UsageError(f"{found}{more}", where=where, fix=fix)
    return [None if label is None else by_text[label] for label in labels]

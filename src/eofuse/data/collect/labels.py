"""The labels of a collection: `read_labels` reads points, polygons, or a table of places, and says of each where and when it is."""

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from eofuse.data.collect.spec import LabelOptions
from eofuse.data.reading.grid import parse_crs, transform_places
from eofuse.data.reading.tables import read_table_file, require_columns
from eofuse.data.reading.vectors import FIX_CRS, LONGITUDE_LATITUDE, SUFFIXES, read_vectors
from eofuse.data.store.georeference import named_crs
from eofuse.errors import DataError, did_you_mean
from eofuse.words import counted

LONGITUDES = ("lon", "longitude", "lng", "long", "x")
LATITUDES = ("lat", "latitude", "y")
IDS = ("id", "patch_id", "plot_id", "field_id", "fid", "name")
MOST_CLASSES = 50
"""Different whole numbers that are codes of classes; more of them are numbers."""

Geometries = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Label:
    """One thing that is known on the ground.

    Attributes:
        id: its name, unique.
        geometry: in longitude and latitude; longitudes of what crosses ±180° go on beyond it.
        value: what is to be predicted; None if it is not known.
        date: in UTC.
        group: what it belongs to.
        facts: its other properties that are text or numbers.
        where: the record, for messages.
    """

    id: str
    geometry: Any
    value: str | int | float | None
    date: datetime | None
    group: str | None
    facts: dict[str, Any]
    where: str

    @property
    def centre(self) -> tuple[float, float]:
        """Longitude and latitude of the centroid."""
        point = self.geometry.centroid
        return (point.x + 180) % 360 - 180, point.y


@dataclass(frozen=True)
class Labels:
    """The labels of a file.

    Attributes:
        path: of the file.
        labels: in the order of the file.
        kind: of the values: `class` or `number`; "" if there are none.
        notes: what looks odd, in words.
    """

    path: Path
    labels: list[Label]
    kind: str
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Records:
    """Geometries and properties of a file, and the words for each record."""

    geometries: Geometries
    properties: list[dict[str, Any]]
    crs: str
    where: list[str]


def read_labels(options: LabelOptions, root: Path, date_column: str | None) -> Labels:
    """The labels that a spec names.

    Args:
        options: what the spec says.
        root: folder to which its file is relative.
        date_column: the property with the date of each label.

    Raises:
        DataError: naming the record, if its place, date, name or value is none, or is another's.
    """
    path = root / str(options.file)
    records = _read_table(options, path) if is_table(path) else _read_shapes(path)
    if not len(records.geometries):
        raise DataError("holds no label", where=path)
    wanted = {"labels.property": options.target, "labels.group": options.group, "labels.id": options.id}
    for key, name in {**wanted, "time.column": date_column}.items():
        names = list(dict.fromkeys(name for each in records.properties for name in each))
        if name is not None and name not in names:
            raise DataError(f"has no property '{name}' ({key})", where=path, fix=did_you_mean(name, names))
    geometries = _to_degrees(records, path)
    names, named_by = _names(options.id, records)
    notes: list[str] = []
    used = {options.target, options.group, date_column, options.lon, options.lat, named_by}
    found = []
    for number, properties in enumerate(records.properties):
        where = records.where[number]
        date = None if date_column is None else _date(properties.get(date_column), f"{where}, {date_column}")
        group = properties.get(options.group) if options.group else None
        value = _value(properties.get(options.target), where) if options.target else None
        facts = {key: each for key, each in properties.items() if key not in used and _is_plain(each)}
        found.append(Label(names[number], geometries[number], value, date, _text(group), facts, where))
    if date_column is not None:
        dates = [each.get(date_column) for each in records.properties]
        notes += _require_zones(list(zip(dates, records.where, strict=True)))
    found, dropped = _without_doubles(found)
    if dropped:
        notes.append(
            f"{counted(dropped, 'label')} repeat another with the same place, date and value, and are left out"
        )
    unknown = sum(label.value is None for label in found)
    if options.target and unknown == len(found):
        raise DataError(f"no label has a value of '{options.target}'", where=path, fix="fill the property")
    if options.target and unknown:
        notes.append(f"{counted(unknown, 'label')} of {len(found):,} without a value of '{options.target}'")
    return Labels(path, found, _kind([label.value for label in found]), notes)


def is_table(path: Path) -> bool:
    """Whether a file of labels is a table rather than a file of shapes."""
    return path.suffix.lower() not in SUFFIXES or (
        path.suffix.lower() in (".parquet", ".pq") and b"geo" not in _parquet_metadata(path)
    )


def _parquet_metadata(path: Path) -> dict[bytes, bytes]:
    from pyarrow.parquet import read_schema

    try:
        return dict(read_schema(path).metadata or {})
    except (OSError, ValueError):
        return {}


def column_like(names: list[str], likely: tuple[str, ...]) -> str | None:
    """The first column whose name is one of the likely ones, whatever its case."""
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[each] for each in likely if each in lower), None)


def _read_shapes(path: Path) -> _Records:
    vectors = read_vectors(path)
    lacking = next((number for number, each in enumerate(vectors.geometries) if each is None or each.is_empty), None)
    if lacking is not None:
        raise DataError("has no geometry", where=vectors.where(lacking), fix="remove it, or give it a place")
    where = [vectors.where(number) for number in range(len(vectors.geometries))]
    return _Records(vectors.geometries, vectors.properties, vectors.crs or LONGITUDE_LATITUDE, where)


def _read_table(options: LabelOptions, path: Path) -> _Records:
    texts = [name for name in (options.id, options.group) if name]
    table = read_table_file(path, texts, options.decimal)
    names = [str(name) for name in table.columns]
    lon, lat = options.lon or column_like(names, LONGITUDES), options.lat or column_like(names, LATITUDES)
    if lon is None or lat is None:
        fix = f"name them as labels.lon and labels.lat; its columns: {', '.join(names[:15])}"
        raise DataError("no columns of longitude and latitude are recognised", where=path, fix=fix)
    require_columns(table, [lon, lat], "labels", path)
    where = [f"{path}, row {number}" for number in range(1, len(table) + 1)]
    numbers = table[[lon, lat]].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.flatnonzero(~np.isfinite(numbers).all(axis=1))
    if len(wrong):
        cells = " and ".join(repr(_plain(cell)) for cell in table[[lon, lat]].iloc[wrong[0]].tolist())
        raise DataError(f"{cells} in {lon} and {lat} are no place", where=where[wrong[0]], fix="correct or remove it")
    records = table.astype(object).where(table.notna(), None).to_dict("records")
    properties = [
        {str(key): _plain(value) for key, value in record.items() if key not in (lon, lat)} for record in records
    ]
    return _Records(shapely.points(numbers), properties, options.crs or LONGITUDE_LATITUDE, where)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _to_degrees(records: _Records, path: Path) -> Geometries:
    """The geometries in longitude and latitude."""
    try:
        crs = parse_crs("EPSG:4326" if records.crs == LONGITUDE_LATITUDE else records.crs)
    except ValueError:
        raise DataError(f"unknown coordinate system '{records.crs}'", where=path, fix=FIX_CRS) from None
    wgs84 = named_crs("EPSG:4326")
    geometries = records.geometries
    if crs != wgs84:
        geometries = shapely.transform(
            geometries, lambda places: np.stack(transform_places(crs, wgs84, *places.T), axis=1)
        )
    bounds = shapely.bounds(geometries)
    for number in np.flatnonzero(~np.isfinite(bounds).all(axis=1)):
        raise DataError("its coordinates can't be used", where=records.where[number], fix="correct it")
    _require_degrees(bounds, records)
    wide = bounds[:, 2] - bounds[:, 0] > 180
    if wide.any():
        beyond = shapely.transform(geometries[wide], lambda places: places + (places[:, :1] < 0) * [360.0, 0.0])
        geometries = geometries.copy()
        geometries[wide] = beyond
    return geometries


def _require_degrees(bounds: npt.NDArray[np.float64], records: _Records) -> None:
    beyond = (np.abs(bounds[:, [1, 3]]) > 90).any(axis=1) | (np.abs(bounds[:, [0, 2]]) > 360).any(axis=1)
    for number in np.flatnonzero(beyond):
        west, south, east, north = bounds[number]
        found = (
            f"longitude {west:g} and latitude {south if abs(south) > abs(north) else north:g} are no place on the Earth"
        )
        if max(abs(south), abs(north)) <= 360 and max(abs(west), abs(east)) <= 90:
            fix = "longitude and latitude seem to be swapped: swap them (labels.lon, labels.lat of a table; ogr2ogr -swapxy of shapes)"
        else:
            fix = "if they are metres, name their reference system: labels.crs of a table, ogr2ogr -a_srs of shapes"
        raise DataError(found, where=records.where[number], fix=fix)


def _names(wanted: str | None, records: _Records) -> tuple[list[str], str | None]:
    """A name of each record, of the property, of one that is likely and unique, or its number; and that property."""
    keys = list(dict.fromkeys(key for each in records.properties for key in each))
    likely = wanted or column_like(keys, IDS)
    if likely is not None:
        names = [_text(each.get(likely)) for each in records.properties]
        counts = Counter(names)
        if wanted is None and (counts[None] or len(counts) < len(names)):
            likely = None
        else:
            for number, name in enumerate(names):
                if name is None:
                    raise DataError(f"has no '{likely}'", where=records.where[number], fix="give each label its own")
                if (other := names.index(name)) < number:
                    what = f"has the {likely} '{name}', as has {records.where[other].rpartition(', ')[2]}"
                    raise DataError(
                        what, where=records.where[number], fix="give each label its own, or leave labels.id out"
                    )
            return [str(name) for name in names], likely
    width = len(str(len(records.where)))
    return [f"{number:0{width}d}" for number in range(1, len(records.where) + 1)], None


def _text(value: object) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return text.strip() or None


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool) and not (isinstance(value, float) and not math.isfinite(value))


def _value(value: object, where: str) -> str | int | float | None:
    if isinstance(value, bool):
        return str(value).lower()
    if (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or (isinstance(value, str) and not value.strip())
    ):
        return None
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float) and math.isfinite(value):
        return value
    raise DataError(f"{value!r} is no label", where=where, fix="give text or a number")


def _kind(values: list[str | int | float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    if any(isinstance(value, str) for value in known):
        return "class"
    is_whole = all(float(value).is_integer() for value in known)
    return "class" if is_whole and len(set(known)) <= MOST_CLASSES else "number"


def _date(value: object, where: str) -> datetime:
    """A date in UTC."""
    text = str(value).strip() if not isinstance(value, float) or not value.is_integer() else str(int(value))
    if re.fullmatch(r"\d{8}", text):
        text = f"{text[:4]}-{text[4:6]}-{text[6:]}"
    try:
        found = datetime.fromisoformat(text.replace("/", "-"))
        if found.year < 1900:
            raise ValueError
    except ValueError:
        what = "has no date" if _text(value) in (None, "NaT", "None") else f"{value!r} is no date"
        raise DataError(what, where=where, fix="write it as 2024-06-30, or remove the record") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _require_zones(dates: list[tuple[object, str]]) -> list[str]:
    """Refuses times of which some have a time zone and others have none; a note if none has one."""
    with_zone, without = None, None
    for value, where in dates:
        match = re.search(r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?\s*(Z|[+-]\d{2}:?\d{0,2})?$", str(value))
        if match is None or re.search(r"[T ]00:00:00$", str(value)):
            continue
        with_zone, without = (where, without) if match[1] else (with_zone, without or where)
        if with_zone and without:
            what = f"has a time without a time zone, and {with_zone.rpartition(', ')[2]} has one"
            raise DataError(what, where=without, fix="write all times with one, as 2024-06-30T10:15:00Z")
    return ["times without a time zone are taken as UTC"] if without else []


def _without_doubles(labels: list[Label]) -> tuple[list[Label], int]:
    """The labels without those that repeat another; an error if two differ in nothing but their value."""
    first: dict[tuple[bytes, datetime | None], Label] = {}
    kept = []
    for label in labels:
        key = (shapely.to_wkb(label.geometry), label.date)
        other = first.setdefault(key, label)
        if other is label:
            kept.append(label)
        elif other.value != label.value:
            what = f"has the place of {other.where.rpartition(', ')[2]}, and is '{label.value}' where that is '{other.value}'"
            raise DataError(what, where=label.where, fix="keep one of them, or give them dates (time.column)")
    return kept, len(labels) - len(kept)

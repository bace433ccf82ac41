"""Where the patches of a collection lie: grids in the UTM zone of each place, around labels or on cells that hold some."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from pyproj import Transformer
from shapely.affinity import translate

from eofuse.data.collect.labels import Label, read_labels
from eofuse.data.collect.spec import LabelOptions, PatchOptions
from eofuse.data.reading.grid import Grid
from eofuse.data.store.georeference import named_crs
from eofuse.errors import DataError

MOST_CELLS = 1_000_000
STRIPE = 8
"""Patches along a side of the squares in which places follow each other."""

LATITUDES = (-90.0, -80.0, -56.0, 0.0, 56.0, 64.0, 72.0, 84.0, 90.0)
"""Latitudes at which rules of UTM zones change, or that make parts of zones small enough."""

POINTS = 4
"""Points along a side of a footprint."""


@dataclass(frozen=True)
class Place:
    """A patch to be.

    Attributes:
        id: of the patch.
        crs: coordinate reference system of its pixels.
        left: easting of its upper left corner.
        top: northing of it.
        lon: longitude of its middle.
        lat: latitude of it.
        date: in UTC, None if it has none.
        labels: numbers of the labels that it is made of.
        facts: columns of the index.
    """

    id: str
    crs: str
    left: float
    top: float
    lon: float
    lat: float
    date: datetime | None = None
    labels: tuple[int, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    def grid(self, options: PatchOptions) -> Grid:
        """Its pixels."""
        transform = Affine(options.resolution, 0, self.left, 0, -options.resolution, self.top)
        return Grid(named_crs(self.crs), transform, options.size, options.size)

    def footprint(self, options: PatchOptions) -> Any:
        """Its outline in longitude and latitude; longitudes go on beyond ±180°."""
        side = options.size * options.resolution
        return _outline(self.crs, self.left, self.top, side, self.lon)


def utm_zone(lon: float, lat: float) -> str:
    """The UTM zone of a place, with the exceptions around Norway and Svalbard; near the poles the stereographic system of UPS."""
    if lat >= 84:
        return "EPSG:32661"
    if lat < -80:
        return "EPSG:32761"
    lon = (lon + 180) % 360 - 180
    zone = int((lon + 180) // 6) + 1
    if 56 <= lat < 64 and 3 <= lon < 12:
        zone = 32
    if lat >= 72 and 0 <= lon < 42:
        zone = next(number for number, end in ((31, 9), (33, 21), (35, 33), (37, 42)) if lon < end)
    return f"EPSG:{32600 + zone if lat >= 0 else 32700 + zone}"


def around(label: Label, options: PatchOptions) -> Place:
    """The patch around the centroid of a label, on whole pixels."""
    lon, lat = label.centre
    crs = utm_zone(lon, lat)
    x, y = _change("EPSG:4326", crs).transform(lon, lat)
    half, pixel = options.size * options.resolution / 2, options.resolution
    left = options.origin[0] + math.floor((x - half - options.origin[0]) / pixel + 0.5) * pixel
    top = options.origin[1] + math.floor((y + half - options.origin[1]) / pixel + 0.5) * pixel
    return _place(label.id, crs, left, top, options, label.date)


def on_cells(labels: Sequence[Label], options: PatchOptions) -> list[Place]:
    """A patch for each cell that holds any of the labels, and each date of these; cells lie side by side."""
    found: dict[tuple[str, int, int, datetime | None], list[int]] = {}
    for number, label in enumerate(labels):
        crs = utm_zone(*label.centre)
        for column, row in _cells(_in_system(label.geometry, crs), options, label.where):
            found.setdefault((crs, column, row, label.date), []).append(number)
    places = []
    for (crs, column, row, date), numbers in found.items():
        name = f"{crs.rpartition(':')[2]}_{column}_{row}" + (f"_{date:%Y%m%d}" if date else "")
        groups = {labels[number].group for number in numbers} - {None}
        place = _cell_place(name, crs, column, row, options, date)
        facts = {"scene": " + ".join(sorted(str(group) for group in groups))} if groups else {}
        places.append(Place(**{**vars(place), "labels": tuple(numbers), "facts": facts}))
    return places


def over_region(options: LabelOptions, patch: PatchOptions, root: Path) -> list[Place]:
    """A patch for each cell of which any part lies in a region."""
    if isinstance(options.grid, tuple):
        west, south, east, north = options.grid
        regions = [shapely.segmentize(shapely.box(west, south, east if east > west else east + 360, north), 0.1)]
        where = "labels.grid"
    else:
        where = f"{root / str(options.grid)}"
        region = LabelOptions(file=options.grid)
        regions = [label.geometry for label in read_labels(region, root, None).labels]
    places: dict[str, Place] = {}
    for region in regions:
        for crs, part in _by_zone(region):
            for column, row in _cells(_in_system(part, crs), patch, where):
                name = f"{crs.rpartition(':')[2]}_{column}_{row}"
                place = places[name] = _cell_place(name, crs, column, row, patch, None)
                if utm_zone(place.lon, place.lat) != crs:  # it is the neighbouring zone's
                    del places[name]
        if len(places) > MOST_CELLS:
            found = f"{len(places):,} patches would come of it, at most {MOST_CELLS:,} are collected"
            raise DataError(found, where=where, fix="choose a smaller region or larger patches")
    return list(places.values())


def in_reading_order(places: Sequence[Place], options: PatchOptions) -> list[Place]:
    """The places so that neighbours, which share blocks of files, follow each other."""
    side = options.size * options.resolution * STRIPE

    def key(place: Place) -> tuple[object, ...]:
        column, row = int(place.left // side), int(-place.top // side)
        return place.crs, _interleaved(column, row), -place.top, place.left, place.id

    return sorted(places, key=key)


def wrapped(geometry: Any, middle: float) -> Any:
    """A geometry in longitude and latitude, with longitudes near that of a place; one that crosses ±180° is put together."""
    west, _, east, _ = geometry.bounds
    if east - west > 180 and not _goes_around(geometry):  # in two parts, or with longitudes that jump
        geometry = shapely.transform(geometry, lambda places: places + (places[:, :1] < 0) * [360.0, 0.0])
        west, _, east, _ = geometry.bounds
    turns = round((middle - (west + east) / 2) / 360)
    return translate(geometry, 360 * turns) if turns else geometry


def _goes_around(geometry: Any) -> bool:
    """Whether a geometry of longitudes from one side of ±180° to the other covers what lies between, rather than jumps over ±180°."""
    lons = shapely.get_coordinates(geometry)[:, 0]
    if np.abs(lons).min() < 90:
        return True
    is_one = any(part.bounds[2] - part.bounds[0] > 359.999 for part in shapely.get_parts(geometry))
    return bool(is_one and (np.abs(lons) > 179.999).all())


def _place(name: str, crs: str, left: float, top: float, options: PatchOptions, date: datetime | None) -> Place:
    half = options.size * options.resolution / 2
    lon, lat = _change(crs, "EPSG:4326").transform(left + half, top - half)
    return Place(name, crs, left, top, lon, lat, date)


def _cell_place(name: str, crs: str, column: int, row: int, options: PatchOptions, date: datetime | None) -> Place:
    side = options.size * options.resolution
    return _place(name, crs, options.origin[0] + column * side, options.origin[1] + (row + 1) * side, options, date)


@lru_cache(maxsize=256)
def _change(source: str, target: str) -> Transformer:
    """The change of coordinates from one reference system to another; to make it takes far longer than to use it."""
    return Transformer.from_crs(source, target, always_xy=True)


def _in_system(geometry: Any, crs: str) -> Any:
    change = _change("EPSG:4326", crs)
    return shapely.transform(geometry, lambda places: np.stack(change.transform(*places.T), axis=1))


def _cells(geometry: Any, options: PatchOptions, where: str) -> Iterable[tuple[int, int]]:
    """Columns and rows, from south to north, of the cells that a geometry touches with more than its edge."""
    side = options.size * options.resolution
    west, south, east, north = geometry.bounds
    columns = range(math.floor((west - options.origin[0]) / side), math.floor((east - options.origin[0]) / side) + 1)
    rows = range(math.floor((south - options.origin[1]) / side), math.floor((north - options.origin[1]) / side) + 1)
    if len(columns) * len(rows) > MOST_CELLS:
        found = f"covers {len(columns) * len(rows):,} patches, at most {MOST_CELLS:,} are collected"
        raise DataError(found, where=where, fix="choose a smaller region or larger patches")
    if len(columns) * len(rows) == 1:
        return [(columns[0], rows[0])]
    shapely.prepare(geometry)
    cells = [(column, row) for row in rows for column in columns]
    lefts = np.array([options.origin[0] + column * side for column, _ in cells])
    bottoms = np.array([options.origin[1] + row * side for _, row in cells])
    boxes = shapely.box(lefts, bottoms, lefts + side, bottoms + side)
    touched = shapely.intersects(geometry, boxes) & ~shapely.touches(geometry, boxes)
    return [cell for cell, meets in zip(cells, touched, strict=True) if meets]


def _by_zone(region: Any) -> Iterable[tuple[str, Any]]:
    """The parts of a region in each UTM zone, with some of the neighbouring one, and on either side of the equator."""
    west, south, east, north = region.bounds
    for start in range(math.floor(west / 3) * 3, math.ceil(east / 3) * 3, 3):
        for low, high in pairwise(LATITUDES):
            if high <= south or low >= north:
                continue
            crs = utm_zone(start + 1.5, (low + high) / 2)
            part = region.intersection(shapely.box(start - 0.05, low - 0.05, start + 3.05, high + 0.05))
            if not part.is_empty:
                yield crs, part


def _outline(crs: str, left: float, top: float, side: float, lon: float) -> Any:
    steps = np.linspace(0, 1, POINTS, endpoint=False)
    ones, zeros = np.ones(POINTS), np.zeros(POINTS)
    across = np.concatenate([steps, ones, 1 - steps, zeros]) * side
    down = np.concatenate([zeros, steps, ones, 1 - steps]) * side
    lons, lats = _change(crs, "EPSG:4326").transform(left + across, top - down)
    lons = lon + (lons - lon + 180) % 360 - 180
    return shapely.Polygon(np.column_stack([lons, lats]))


@lru_cache(maxsize=65536)
def _interleaved(column: int, row: int) -> int:
    """Number of a square on a curve that keeps neighbours together (Morton 1966)."""
    code = 0
    for bit in range(20):
        code |= ((column + (1 << 18)) >> bit & 1) << (2 * bit) | ((row + (1 << 18)) >> bit & 1) << (2 * bit + 1)
    return code

"""Plans the scenes: which place, which day, which weather, and which patches on the tile's 1.2 km grid.

The plan is small and drawn in one go from the seed; everything that costs time happens per scene, later, from seeds
of its own. Regions and months are drawn by systematic sampling, so that with a few hundred patches every frequent
climate zone has several scenes.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from eofuse.simulation.places import REGIONS, Climate, Region, climate_of, epsg_of, tile_of, to_lonlat, to_utm

PATCH_M = 1200
"""Side of a patch in metres."""

_GOLDEN = 0.6180339887498949
"""Steps of this share of a year spread the scenes of each region over the year."""
_CELL = 5
_CELLS = 18
_SHAPES = ((1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 2), (3, 3))


@dataclass(frozen=True)
class Block:
    """Adjacent patches that share one landscape.

    Attributes:
        column: grid column of the upper left patch.
        row: grid row of the upper left patch.
        shape: patches down and across.
    """

    column: int
    row: int
    shape: tuple[int, int]


@dataclass(frozen=True)
class Scene:
    """One acquisition of Sentinel-2 and the one of Sentinel-1 that goes with it.

    Attributes:
        number: position in the plan.
        region: the kind of landscape.
        tile: name of the tile without the leading T.
        epsg: code of its UTM zone.
        ulx: easting of the tile's corner.
        uly: northing of the tile's corner.
        lon: middle of the scene, degrees.
        lat: middle of the scene, degrees.
        elevation_m: mean height.
        climate_anomaly: shift of the temperature normals from the region's, K.
        satellite_s2: S2A or S2B.
        satellite_s1: S1A or S1B.
        time_s2: sensing time.
        time_s1: sensing time.
        ascending: whether Sentinel-1 passed northwards, in the evening.
        at_coast: whether the sea is near.
        anomaly_s2: departure of the temperature from the normal at `time_s2`, K.
        anomaly_s1: the same at `time_s1`, K.
        wind_s2: eastward and northward wind at `time_s2`, m/s.
        wind_s1: the same at `time_s1`.
        wetness: 0 (dry) to 1 (wet) ground and air.
        haze: depth of the haze over the scene, 0 to about 1.
        cloudiness: share of the patches that clouds touch.
        blocks: its patches.
    """

    number: int
    region: Region
    tile: str
    epsg: int
    ulx: float
    uly: float
    lon: float
    lat: float
    elevation_m: float
    climate_anomaly: float
    satellite_s2: str
    satellite_s1: str
    time_s2: datetime
    time_s1: datetime
    ascending: bool
    at_coast: bool
    anomaly_s2: float
    anomaly_s1: float
    wind_s2: tuple[float, float]
    wind_s1: tuple[float, float]
    wetness: float
    haze: float
    cloudiness: float
    blocks: tuple[Block, ...]

    @property
    def patches(self) -> int:
        """Number of patches."""
        return sum(block.shape[0] * block.shape[1] for block in self.blocks)

    def climate(self, elevation_m: float) -> Climate:
        """Climate normals at a height within the scene."""
        return climate_of(self.lon, self.lat, elevation_m, self.climate_anomaly)

    def corner(self, column: int, row: int) -> tuple[float, float]:
        """Easting and northing of the upper left corner of a patch."""
        return self.ulx + PATCH_M * column, self.uly - PATCH_M * row


def plan_scenes(patches: int, seed: int, scenes: int | None = None) -> list[Scene]:
    """Plans so many scenes; by default of 8 to 24 patches each (fewer patches each when there are few in all)."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    count = scenes or min(patches, max(6, round(patches / 16)))
    sizes = _sizes(patches, count, rng)
    shares = np.cumsum([region.share for region in REGIONS])
    draws = (rng.permutation(count) + rng.random()) / count * shares[-1]
    regions = [REGIONS[min(int(np.searchsorted(shares, draw)), len(REGIONS) - 1)] for draw in draws]
    turn = rng.random() + np.argsort(np.argsort(draws)) * _GOLDEN + rng.normal(0, 0.02, count)
    days = (turn % 1 * 365).astype(int)
    used: set[str] = set()
    taken: dict[str, set[int]] = {}
    plan = []
    for number, (size, region, day) in enumerate(zip(sizes, regions, days, strict=True)):
        plan.append(_scene(number, size, region, int(day), used, taken, rng))
    return plan


def _sizes(patches: int, count: int, rng: np.random.Generator) -> list[int]:
    weights = rng.uniform(10, 30, count)
    ideal = weights / weights.sum() * patches
    sizes = np.maximum(1, np.floor(ideal)).astype(int)
    while sizes.sum() != patches:
        step = 1 if sizes.sum() < patches else -1
        gap = (ideal - sizes) * step
        gap[(sizes + step) < 1] = -np.inf
        sizes[int(np.argmax(gap))] += step
    return [int(size) for size in sizes]


def _scene(
    number: int,
    size: int,
    region: Region,
    day: int,
    used: set[str],
    taken: dict[str, set[int]],
    rng: np.random.Generator,
) -> Scene:
    lon = region.lon + region.spread[0] * rng.uniform(-1, 1)
    lat = region.lat + region.spread[1] * rng.uniform(-1, 1)
    epsg = epsg_of(lon)
    tile, ulx, uly = tile_of(epsg, *to_utm(epsg, lon, lat))
    lon, lat = to_lonlat(epsg, ulx + 54_000, uly - 54_000)
    elevation = float(rng.uniform(*region.elevation_m))
    at_coast = bool(rng.random() < region.coast)
    if at_coast:
        elevation = min(elevation, region.elevation_m[0])
    mission = ("S2A", "S2B")[int(day > 30 and rng.random() < 0.5)]
    time_s2 = _overpass(day, 11.2 - lon / 15 + rng.normal(0, 0.12), rng)
    while _scene_key(mission, time_s2) in used:
        time_s2 += timedelta(seconds=1)
    used.add(_scene_key(mission, time_s2))
    ascending = bool(rng.random() < 0.5)
    hour = (17.9 if ascending else 6.4) - lon / 15 + rng.normal(0, 0.1)
    time_s1 = _overpass(day + int(rng.integers(-2, 3)), hour, rng)
    winter = 0.5 + 0.5 * math.cos(2 * math.pi * (time_s2.timetuple().tm_yday - 20) / 365)
    spread = 1.6 + 1.8 * winter
    anomaly = rng.normal(0, spread)
    normals = climate_of(lon, lat, elevation)
    wind = rng.normal((0.6 + 3.0 * normals.maritime, 0.4 + 1.2 * normals.maritime), 2.0)
    dry = normals.dry_summer * (1 - winter)
    wetness = float(np.clip(0.15 + 0.7 * rng.beta(4, 4) + 0.25 * winter + 0.2 * normals.maritime - 0.5 * dry, 0, 1))
    return Scene(
        number=number,
        region=region,
        tile=tile,
        epsg=epsg,
        ulx=ulx,
        uly=uly,
        lon=lon,
        lat=lat,
        elevation_m=elevation,
        climate_anomaly=float(rng.normal(0, 0.3)),
        satellite_s2=mission,
        satellite_s1=("S1A", "S1B")[int(rng.random() < 0.5)],
        time_s2=time_s2,
        time_s1=time_s1,
        ascending=ascending,
        at_coast=at_coast,
        anomaly_s2=float(anomaly),
        anomaly_s1=float(anomaly + rng.normal(0, 1.5)),
        wind_s2=(float(wind[0]), float(wind[1])),
        wind_s1=(float(wind[0] + rng.normal(0, 1.5)), float(wind[1] + rng.normal(0, 1.5))),
        wetness=wetness,
        haze=float(rng.gamma(1.2, 0.12)),
        cloudiness=float(rng.uniform(0.1, 0.5) if rng.random() < 0.15 else 0.0),
        blocks=_blocks(size, taken.setdefault(tile, set()), rng),
    )


def _scene_key(mission: str, time: datetime) -> str:
    return f"{mission}{time:%Y%m%dT%H%M%S}"


def _overpass(day: int, hour: float, rng: np.random.Generator) -> datetime:
    day = min(max(day, 0), 364)
    return datetime(2017, 6, 1) + timedelta(days=day, seconds=int(hour * 3600) + int(rng.integers(0, 60)))


def _blocks(size: int, taken: set[int], rng: np.random.Generator) -> tuple[Block, ...]:
    """Blocks in separate cells of the tile's grid, at least one patch apart, and in none that an earlier scene has."""
    order = rng.permutation(_CELLS * _CELLS)
    cells = sorted(order, key=lambda cell: int(cell) in taken)
    blocks: list[Block] = []
    left = size
    while left:
        fitting = [shape for shape in _SHAPES if shape[0] * shape[1] <= left]
        shape = fitting[int(rng.integers(len(fitting)))]
        cell = int(cells[len(blocks)])
        taken.add(cell)
        row, column = divmod(cell, _CELLS)
        offset_row, offset_column = rng.integers(0, _CELL - np.array(shape))
        blocks.append(Block(column * _CELL + int(offset_column), row * _CELL + int(offset_row), shape))
        left -= shape[0] * shape[1]
    return tuple(blocks)

"""Where the simulated scenes lie: regions of Europe, their climate, and the names of their tiles.

The regions are those of BigEarthNet's countries, in broad strokes. Climate normals are three straight lines
(temperature falls with latitude and height, its yearly swing grows towards the east, summers are dry in the
south-west); the zone follows from them by the Köppen–Geiger rules as Beck et al. 2018 give them, so that zone,
weather, vegetation and place agree.
"""

import csv
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pyproj


@dataclass(frozen=True)
class Region:
    """A part of Europe with one kind of landscape.

    Attributes:
        name: for people.
        lon: middle, degrees east.
        lat: middle, degrees north.
        spread: half widths in degrees of longitude and latitude.
        elevation_m: lowest and highest mean height of a scene.
        relief_m: standard deviation of the height within some kilometres.
        coast: chance that a scene lies at the sea.
        lakes: share of lakes in the land.
        farming: how much of the land is fields; 0 is half of the gentle land, on a logit scale.
        forest: how much of the rest is trees, on a logit scale.
        parcel_m: typical width of a field.
        hedges: share of field edges that carry trees.
        settlements: number per square kilometre.
        share: share of all patches.
    """

    name: str
    lon: float
    lat: float
    spread: tuple[float, float]
    elevation_m: tuple[float, float]
    relief_m: float
    coast: float
    lakes: float
    farming: float
    forest: float
    parcel_m: float
    hedges: float
    settlements: float
    share: float


def _read_regions() -> tuple[Region, ...]:
    regions = []
    with Path(__file__).with_name("regions.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name = row.pop("name")
            numbers = {key: float(value) for key, value in row.items()}
            spread = numbers.pop("lon_spread"), numbers.pop("lat_spread")
            elevation_m = numbers.pop("lowest_m"), numbers.pop("highest_m")
            regions.append(Region(name, spread=spread, elevation_m=elevation_m, **numbers))
    return tuple(regions)


REGIONS = _read_regions()


@dataclass(frozen=True)
class Climate:
    """Normals of a place.

    Attributes:
        mean: yearly mean temperature, °C.
        swing: half the difference between the warmest and the coldest month, K.
        dry_summer: 0 (wet) to 1 (dry).
    """

    mean: float
    swing: float
    dry_summer: float

    @property
    def warmest(self) -> float:
        """Mean temperature of the warmest month, °C."""
        return self.mean + self.swing

    @property
    def maritime(self) -> float:
        """0 (continental) to about 1 (at the ocean)."""
        return max(0.0, 9.0 - self.swing) / 3

    def temperature(self, day_of_year: float) -> float:
        """Normal temperature of a day, °C; the warmest is 24 July."""
        return self.mean + self.swing * math.cos(2 * math.pi * (day_of_year - 205) / 365)


def climate_of(lon: float, lat: float, elevation_m: float, anomaly: float = 0.0) -> Climate:
    """Climate normals of a place; `anomaly` shifts the mean, K."""
    swing = 5.2 + 0.22 * (lon + 9) + 0.06 * (lat - 38)
    maritime = 1.2 * max(0.0, 1 - (lon + 10) / 22) if lat > 45 else 0.0
    mean = 17.2 - 0.585 * (lat - 38.7) - 0.006 * elevation_m + maritime + anomaly
    dry = 1 / (1 + math.exp((lat - (42.3 if lon < 5 else 41.9)) / 0.5 + anomaly))
    return Climate(mean, swing, dry)


def zone_of(climate: Climate) -> int:
    """Köppen–Geiger code of Beck et al. 2018 (Table 1), limited to the codes that occur in ben-ge."""
    coldest = climate.mean - climate.swing
    if climate.warmest < 10:
        return 29
    reach = max(-1.0, min(1.0, (10 - climate.mean) / climate.swing))
    warm_months = 12 * math.acos(reach) / math.pi
    heat = 0 if climate.warmest >= 22 else 1 if warm_months >= 4 else 2
    if climate.dry_summer > 0.5:
        return (7, 8, 9)[heat] if coldest > 0 else 18
    return (14, 15, 16)[heat] if coldest > 0 else (25, 26, 27)[heat]


def epsg_of(lon: float) -> int:
    """EPSG code of the northern UTM zone of a longitude."""
    return 32601 + int((lon + 180) // 6)


@cache
def _to_utm(epsg: int) -> pyproj.Transformer:
    with Path(pyproj.datadir.get_data_dir(), "proj.db").open("rb"):  # where it can't be opened, pyproj ends the process
        return pyproj.Transformer.from_crs(4326, epsg, always_xy=True)


def to_utm(epsg: int, lon: float, lat: float) -> tuple[float, float]:
    """Easting and northing in metres."""
    easting, northing = _to_utm(epsg).transform(lon, lat)
    return float(easting), float(northing)


def to_lonlat(epsg: int, easting: float, northing: float) -> tuple[float, float]:
    """Longitude and latitude in degrees."""
    lon, lat = _to_utm(epsg).transform(easting, northing, direction="INVERSE")
    return float(lon), float(lat)


def tile_of(epsg: int, easting: float, northing: float) -> tuple[str, float, float]:
    """Sentinel-2 tile (the 100 km square of the Military Grid Reference System) at a place.

    Returns:
        Its name without the leading T, such as `33UUP`, and the easting and northing of its upper left corner, on the
        grid that Sentinel-2 products use.
    """
    zone = epsg - 32600
    column, row = int(easting // 100_000), int(northing // 100_000)
    columns = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")[zone % 3]
    rows = "ABCDEFGHJKLMNPQRSTUV" if zone % 2 else "FGHJKLMNPQRSTUVABCDE"
    _, lat = to_lonlat(epsg, (column + 0.5) * 100_000, (row + 0.5) * 100_000)
    band = "CDEFGHJKLMNPQRSTUVWX"[min(19, int((lat + 80) // 8))]
    name = f"{zone}{band}{columns[(column - 1) % 8]}{rows[row % 20]}"
    return name, column * 100_000.0, (row + 1) * 100_000.0 + 40

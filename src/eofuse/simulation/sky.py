"""What depends on the day: season, weather, the sun, and the state of the vegetation."""

import math
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from eofuse.simulation import figures as f
from eofuse.simulation.scenes import Scene

_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_SPECTRA = f.spectra()
_WARMTH = np.array([0.015, 0.02, 0.025, 0.035, 0.03, 0.015, 0.012, 0.012, 0.014, 0.012, 0.032, 0.035])
"""Brightening by band for each kelvin of yearly mean: paler, redder soils and thinner stands towards the south."""
_FROST = 14.0
"""Frost levels off towards this many degrees below zero: harder frosts do not occur in ben-ge."""
_EARTHY = np.ones(len(f.SURFACES))
_EARTHY[[f.SEA, f.LAKE, f.RIVER, f.ICE, f.BUILT, f.ROAD]] = 0.0
_LEVELS = (1000, 975, 950, 925, 900, 875, 850, 825, 800, 775, 750, 700, 650, 600)


def season(time: datetime) -> float:
    """ben-ge's season: 1 at the summer solstice, 0 at the winter solstice, 5 decimals."""
    year = (time.month - 1) / 12 + time.day / (12 * _DAYS[time.month - 1]) + 9 / 365
    return round(math.sin(math.pi * year), 5)


def pressure_level(elevation_m: float) -> int:
    """The reanalysis pressure level nearest to a height in the standard atmosphere, mbar."""
    pressure = 1013.25 * (1 - 2.25577e-5 * max(0.0, elevation_m)) ** 5.25588
    return min(_LEVELS, key=lambda level: abs(level - pressure))


def temperature(scene: Scene, time: datetime, anomaly: float, elevation_m: float) -> float:
    """Air temperature at a time and height, °C: the day's normal, its daily course and the scene's anomaly."""
    day = time.timetuple().tm_yday
    hour = time.hour + time.minute / 60 + scene.lon / 15
    daily = (1.5 + 3.0 * season(time)) * math.cos(2 * math.pi * (hour - 14.5) / 24)
    warmth = scene.climate(elevation_m).temperature(day) + daily + anomaly
    return warmth if warmth > 0 else -_FROST * math.tanh(-warmth / _FROST)


def weather(scene: Scene, elevation_m: float, rng: np.random.Generator) -> dict[str, float]:
    """The nine ERA-5 values of a patch, by column of ben-ge's table."""
    values: dict[str, float] = {"atmpressure_level": float(pressure_level(elevation_m))}
    for sensor, time, anomaly, wind in (
        ("s2", scene.time_s2, scene.anomaly_s2, scene.wind_s2),
        ("s1", scene.time_s1, scene.anomaly_s1, scene.wind_s1),
    ):
        warmth = temperature(scene, time, anomaly, elevation_m) + rng.normal(0, 0.25)
        night = 12.0 if time.hour < 8 else 0.0
        humidity = 42 + 40 * scene.wetness + night + rng.normal(0, 2)
        values[f"temperature_{sensor}"] = round(float(np.clip(warmth + 273.15, 255.0, 306.0)), 3)
        values[f"wind-u_{sensor}"] = round(float(wind[0] + rng.normal(0, 0.2)), 3)
        values[f"wind-v_{sensor}"] = round(float(wind[1] + rng.normal(0, 0.2)), 3)
        values[f"relhumidity_{sensor}"] = round(float(np.clip(humidity, 5, 100)), 3)
    return values


def sun(scene: Scene) -> tuple[float, float]:
    """Zenith and azimuth (clockwise from north) of the sun at the optical overpass, radians."""
    day = scene.time_s2.timetuple().tm_yday
    declination = -0.4091 * math.cos(2 * math.pi * (day + 10) / 365)
    hour = scene.time_s2.hour + scene.time_s2.minute / 60 + scene.lon / 15
    angle = math.pi * (hour - 12) / 12
    lat = math.radians(scene.lat)
    height = math.sin(lat) * math.sin(declination) + math.cos(lat) * math.cos(declination) * math.cos(angle)
    height = max(height, 0.10)
    zenith = math.acos(height)
    azimuth = math.pi + math.atan2(
        math.sin(angle), math.cos(angle) * math.sin(lat) - math.tan(declination) * math.cos(lat)
    )
    return zenith, azimuth


@dataclass(frozen=True)
class State:
    """The state of the surfaces in one scene.

    Attributes:
        mean: (18 surfaces, 12 bands) reflectance × 10,000.
        growth: (18, 12) change of it from dormant to green.
        snow: (18,) share of seasonal snow in what the sensor sees at the scene's height.
        frozen: 0 (no) to 1 (ground frozen).
        greenness: (18,) 0 (dormant) to 1 (green).
    """

    mean: np.ndarray
    growth: np.ndarray
    snow: np.ndarray
    frozen: float
    greenness: np.ndarray


def _rise(value: float, middle: float, width: float) -> float:
    return 1 / (1 + math.exp(-(value - middle) / width))


def surface_state(scene: Scene, elevation_m: float, rng: np.random.Generator) -> State:
    """Phenology, drought and snow of a scene at a height; `rng` shifts the calendar of each surface."""
    time = scene.time_s2
    day = time.timetuple().tm_yday
    normals = scene.climate(elevation_m)
    warm = (normals.temperature(day) + normals.temperature(day - 15)) / 2 + 0.4 * scene.anomaly_s2
    shift = rng.normal(0, 6, len(f.SURFACES))
    drought = normals.dry_summer * math.exp(-(((day - 235) / 75) ** 2)) + 0.25 * (1 - scene.wetness) * season(time)
    harvest = 195 + 2.2 * max(0.0, scene.lat - 47) - 20 * normals.dry_summer
    green = np.ones(len(f.SURFACES))
    dry = np.zeros(len(f.SURFACES))
    green[f.CONIFER] = _rise(warm, 6, 3)
    green[f.BROADLEAF] = max(_rise(warm, 10.0, 1.4), 0.55 * normals.dry_summer) * (1 - 0.5 * drought)
    green[[f.YOUNG_FOREST, f.SHRUB, f.WETLAND]] = _rise(warm, 8, 2.5)
    green[f.PASTURE] = _rise(warm, 6.5, 3.0)
    green[f.NATURAL_GRASS] = _rise(warm, 8, 2.5)
    ripe = _rise(day + shift[f.WINTER_CROP], harvest, 7) * (day < 300)
    autumn = 0.35 * (day > 300) + 0.35 * (day < 90)
    green[f.WINTER_CROP] = max(autumn * _rise(warm, 3, 2), _rise(warm, 7, 1.8) * (1 - ripe) * (day < 300))
    grown = _rise(day + shift[f.SUMMER_CROP], 172, 9) * (1 - _rise(day, 262, 9))
    green[f.SUMMER_CROP] = grown * _rise(warm, 9, 2)
    green[f.ORCHARD] = _rise(warm, 9, 2.5) * (1 - 0.4 * drought)
    dry[[f.PASTURE, f.NATURAL_GRASS, f.YOUNG_FOREST]] = 0.85 * drought, 0.95 * drought, 0.35 * drought
    dry[[f.SHRUB, f.WETLAND, f.ORCHARD, f.LICHEN]] = 0.4 * drought, 0.3 * drought, 0.5 * drought, 0.3 * drought
    dry[f.WINTER_CROP] = 0.9 * ripe
    dry[f.SUMMER_CROP] = (1 - grown) * season(time) ** 2
    dry = np.clip(dry, 0, 1)
    figures = _SPECTRA
    rest = (1 - dry)[:, None] * figures[1] + dry[:, None] * figures[2]
    green = np.clip(green + rng.normal(0, 0.05, len(green)), 0, 1) * (1 - 0.7 * dry)
    mean = green[:, None] * figures[0] + (1 - green)[:, None] * rest
    warmth = float(np.clip(normals.mean - 8, -10, 10))
    mean *= np.exp(warmth * np.outer(_EARTHY, _WARMTH))
    cold = normals.temperature(day - 10) + 0.7 * scene.anomaly_s2
    depth = _rise(-cold, 2.6, 1.1) * float(rng.uniform(0.2, 1.1) if rng.random() < 0.75 else 0.0)
    depth = min(depth, 1.0)
    snow = np.full(len(f.SURFACES), depth)
    snow[[f.CONIFER, f.BROADLEAF, f.YOUNG_FOREST, f.SHRUB, f.BUILT, f.ROAD]] *= 0.2, 0.35, 0.5, 0.6, 0.6, 0.4
    snow[[f.SEA, f.RIVER]] = 0.0
    snow[f.LAKE] *= _rise(-cold, 4, 1)
    return State(
        mean=mean.astype(np.float32),
        growth=(figures[0] - rest).astype(np.float32),
        snow=snow.astype(np.float32),
        frozen=_rise(-(temperature(scene, scene.time_s1, scene.anomaly_s1, elevation_m)), 1.0, 1.0),
        greenness=green.astype(np.float32),
    )

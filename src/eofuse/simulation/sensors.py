"""What Sentinel-2 and Sentinel-1 measure over a patch of ground.

Reflectance: the mean of the surface in its seasonal state, plus its two leading components scaled by random numbers
per parcel, per place and per pixel, snow, sunlight on the slope, cloud and its shadow, haze, and the scene's
radiometric gain; then a blur of about a pixel, and means over 2 × 2 and 6 × 6 pixels for the coarser bands.
Backscatter: mean and spread of the surface in dB, moisture, frost, wind over water, the slope towards the radar, and
speckle as a gamma variable in linear power.
"""

import math

import numpy as np

from eofuse.simulation import figures as f
from eofuse.simulation.noise import smooth_noise
from eofuse.simulation.scenes import Scene
from eofuse.simulation.sky import State, sun

NATIVE_FACTOR = (
    dict.fromkeys(("B02", "B03", "B04", "B08"), 1)
    | dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12"), 2)
    | dict.fromkeys(("B01", "B09"), 6)
)
"""How many 10 m pixels a pixel of each band spans."""

_COMPONENTS = f.components()
_BACKSCATTER = f.backscatter()
_CLOUD, _SNOW, _HAZE = map(f.veil, ("cloud", "snow", "haze"))
_WATER = np.zeros(len(f.SURFACES), bool)
_WATER[[f.SEA, f.LAKE, f.RIVER]] = True
_PARCEL_WEIGHT = np.full(len(f.SURFACES), 0.35, np.float32)
_PARCEL_WEIGHT[[f.PASTURE, f.WINTER_CROP, f.SUMMER_CROP, f.ORCHARD, f.BUILT]] = 1.0
_PARCEL_WEIGHT[[f.CONIFER, f.BROADLEAF, f.YOUNG_FOREST]] = 0.5
_PARCEL_WEIGHT[_WATER] = 0.0
_CROPS = np.zeros(len(f.SURFACES), np.float32)
_CROPS[[f.WINTER_CROP, f.SUMMER_CROP, f.PASTURE]] = 1.0


def slope_towards(elevation_m: np.ndarray, azimuth: float) -> np.ndarray:
    """Rise of the ground in the direction of an azimuth (radians clockwise from north), metres per metre, (H, W)."""
    south, east = np.gradient(elevation_m)
    return np.asarray((east * np.float32(math.sin(azimuth)) - south * np.float32(math.cos(azimuth))) / 10, np.float32)


def scene_gain(rng: np.random.Generator) -> np.ndarray:
    """Radiometric gain of a scene by band, (12,)."""
    return np.asarray(np.exp(rng.normal(0, 0.045) + rng.normal(0, 0.02, 12)), np.float32)


def reflectance(
    scene: Scene,
    state: State,
    gain: np.ndarray,
    surface: np.ndarray,
    parcel: np.ndarray,
    elevation_m: np.ndarray,
    traits: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """The 12 bands of a patch in their native grids.

    Args:
        scene: the acquisition.
        state: of its surfaces.
        gain: from `scene_gain`.
        surface: (H, W) surfaces, H and W multiples of 6.
        parcel: (H, W) rows of `traits`.
        elevation_m: (H, W).
        traits: (parcels, 4) standard normal numbers, of which the first three are used here.
        rng: the patch's own randomness.

    Returns:
        uint16 reflectance × 10,000 by band.
    """
    shape = surface.shape
    texture = smooth_noise(rng, shape, (24, 6, 2, 1), 0.75)
    grain = rng.standard_normal(shape, np.float32)
    patch = rng.normal(0, 0.3, 3)
    of_parcel = traits[parcel] * _PARCEL_WEIGHT[surface][..., None]
    first = 0.62 * of_parcel[..., 0] + 0.6 * texture + np.float32(patch[0])
    second = 0.62 * of_parcel[..., 1] + 0.45 * grain + np.float32(patch[1])
    growth = 0.13 * of_parcel[..., 2] * (0.35 + _CROPS[surface]) + np.float32(0.05 * patch[2])
    axes, water = _COMPONENTS, _WATER[surface]
    scaled = np.where(water, np.float32(0.25), np.float32(1))
    first, second = first * scaled, second * scaled
    bands = np.empty((12, *shape), np.float32)
    for band in range(12):
        bands[band] = state.mean[:, band][surface]
        bands[band] += state.growth[:, band][surface] * growth
        bands[band] += axes[0, :, band][surface] * first
        bands[band] += axes[1, :, band][surface] * second
    water_tint = np.exp(np.float32(rng.normal(0, 0.35)))
    bands[:5, water] *= water_tint
    np.maximum(bands, (0.15 * state.mean.min(0))[:, None, None], out=bands)

    snow = state.snow[surface]
    if snow.max() > 0.02:
        cover = np.clip(snow + 0.25 * texture * (snow > 0.02) * (snow < 0.98), 0, 1) * (snow > 0.02)
        bands += cover * (_SNOW[:, None, None] * (1 + 0.12 * first + 0.06 * grain) - bands)
    zenith, azimuth = sun(scene)
    towards = slope_towards(elevation_m, azimuth)
    light = (1 + np.clip(towards * math.tan(zenith), -0.85, 1.2)) / np.sqrt(1 + towards**2)
    direct = np.linspace(0.5, 0.85, 12, dtype=np.float32)[:, None, None]
    bands *= 1 + direct * (light - 1)
    hazy = scene.haze * np.exp(np.float32(0.5) * smooth_noise(rng, shape, (60,)) + np.float32(rng.normal(0, 0.25)))
    thin = (_HAZE / 900)[:, None, None]
    bands *= 1 - 0.12 * hazy * thin
    bands += hazy * _HAZE[:, None, None]
    if rng.random() < scene.cloudiness:
        _cloud(bands, rng)
    bands *= gain[:, None, None]
    bands = _blur(bands)
    bands *= 1 + 0.012 * rng.standard_normal((12, 1, 1), np.float32)
    bands += 8 * grain
    return {
        name: np.clip(np.rint(_coarser(bands[i], NATIVE_FACTOR[name])), 1, 20_000).astype(np.uint16)
        for i, name in enumerate(f.BANDS)
    }


def _cloud(bands: np.ndarray, rng: np.random.Generator) -> None:
    shape = (bands.shape[1], bands.shape[2])
    field = smooth_noise(rng, shape, (60, 30, 12, 5), 0.5) + np.float32(rng.normal(-0.5, 0.8))
    thick = np.clip(field - 0.3, 0, 1)
    shadow = np.clip(np.roll(field, (12, -9), axis=(0, 1)) - 0.5, 0, 1)
    bands *= 1 - 0.5 * shadow
    bands += thick * (_CLOUD[:, None, None] - bands)


def _blur(bands: np.ndarray) -> np.ndarray:
    """Each pixel mixed with its neighbours: a quarter, a half, a quarter in each direction."""
    for axis in (1, 2):
        rolled = np.moveaxis(bands, axis, 0)
        mixed = 0.5 * rolled
        mixed[1:] += 0.25 * rolled[:-1]
        mixed[:-1] += 0.25 * rolled[1:]
        mixed[[0, -1]] += 0.25 * rolled[[0, -1]]
        bands = np.moveaxis(mixed, 0, axis)
    return bands


def _coarser(band: np.ndarray, factor: int) -> np.ndarray:
    if factor == 1:
        return band
    height, width = band.shape
    return np.asarray(band.reshape(height // factor, factor, width // factor, factor).mean((1, 3)))


def backscatter(
    scene: Scene,
    state: State,
    surface: np.ndarray,
    parcel: np.ndarray,
    elevation_m: np.ndarray,
    traits: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """VV and VH of a patch, dB float32 (H, W); arguments as in `reflectance`, with the fourth of the traits."""
    shape = surface.shape
    water = _WATER[surface]
    shared = (
        0.9 * traits[parcel, 3] * _PARCEL_WEIGHT[surface]
        + 0.7 * smooth_noise(rng, shape, (20, 6), 0.8)
        + np.float32(rng.normal(0, 0.4))
    )
    shared = np.where(water, 0.25 * shared, shared)
    moist = scene.wetness * (1 - 0.7 * state.frozen)
    green = state.greenness[surface] * _CROPS[surface]
    wind = math.hypot(*scene.wind_s1)
    roughness = np.where(water, np.float32(5.5 * math.log1p(wind / 2) - 5.0 + rng.normal(0, 1.0)), np.float32(0))
    look = math.radians(80 if scene.ascending else 280)
    facing = -slope_towards(elevation_m, look)
    relief = np.clip(9 * facing, -6, 6)
    frost = np.where(water, 0, -2.5 * state.frozen).astype(np.float32)
    corner = np.where(surface == f.BUILT, rng.standard_exponential(shape, np.float32) * 2.6 - 2.0, np.float32(0))
    woods = np.isin(surface, (f.CONIFER, f.BROADLEAF, f.YOUNG_FOREST))
    biomass = np.where(woods, np.float32(np.clip(0.1 * (scene.climate(scene.elevation_m).mean - 8), -1, 0.6)), 0)
    bands = {}
    for position, name in enumerate(("VV", "VH")):
        level = _BACKSCATTER[:, position][surface] + _BACKSCATTER[:, 2][surface] * (moist - 0.4) * (1 - 0.4 * position)
        own = 0.5 * smooth_noise(rng, shape, (30, 8), 0.8)
        growth = (1.3 * position - 0.4) * (green - 0.5) * _CROPS[surface]
        level = (
            level
            + shared * (1 + 0.15 * position)
            + own
            + growth
            + relief
            + frost
            + corner
            + biomass
            + roughness * (1 - 0.45 * position)
        )
        power = 10 ** (level / 10) * rng.standard_gamma(f.LOOKS, shape, np.float32) / np.float32(f.LOOKS)
        floor = 10 ** (-3.1) * rng.standard_gamma(f.LOOKS, shape, np.float32) / np.float32(f.LOOKS)
        bands[name] = (10 * np.log10(power + floor)).astype(np.float32)
    return bands

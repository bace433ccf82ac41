"""The ground of a block of adjacent patches: heights, what covers each pixel, and the map that people made of it.

Terrain is multi-scale noise with valleys along a winding line, the zero level of another noise. Water lies low,
settlements on gentle ground, fields in parcels of rotated strips; what is left is the most suitable of the natural
covers, whose suitability depends on climate normals, height, slope and correlated noise. The land cover map is this
ground with mistakes: shifted edges, parcels taken for others, and ground that has changed.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from eofuse.simulation import figures as f
from eofuse.simulation.noise import smooth_noise
from eofuse.simulation.scenes import Scene

_TO_WORLDCOVER = np.zeros(len(f.SURFACES), np.uint8)
for _code, _surfaces in {
    80: (f.SEA, f.LAKE, f.RIVER),
    10: (f.CONIFER, f.BROADLEAF, f.YOUNG_FOREST),
    20: (f.SHRUB,),
    30: (f.PASTURE, f.NATURAL_GRASS),
    40: (f.WINTER_CROP, f.SUMMER_CROP, f.ORCHARD),
    50: (f.BUILT, f.ROAD),
    60: (f.BARE,),
    70: (f.ICE,),
    90: (f.WETLAND,),
    100: (f.LICHEN,),
}.items():
    _TO_WORLDCOVER[list(_surfaces)] = _code


@dataclass(frozen=True)
class Landscape:
    """The ground of a block, all (H, W).

    Attributes:
        elevation_m: float32 height.
        surface: uint8 index into `figures.SURFACES`.
        parcel: int32 number of the parcel that a pixel belongs to.
        worldcover: uint8 codes of the land cover map.
    """

    elevation_m: np.ndarray
    surface: np.ndarray
    parcel: np.ndarray
    worldcover: np.ndarray


def make_landscape(scene: Scene, shape: tuple[int, int], rng: np.random.Generator) -> Landscape:
    """Draws the ground of a block of (H, W) pixels of 10 m."""
    region = scene.region
    valley = smooth_noise(rng, shape, (150, 60, 24), 0.35)
    gradient = np.hypot(*np.gradient(valley)) + np.float32(4e-3)
    to_valley = np.abs(valley) / gradient
    elevation, sea = _terrain(scene, valley, to_valley, rng)
    slope = np.hypot(*np.gradient(elevation)) / 10
    lowness = -(elevation - elevation.mean()) / (elevation.std() + 1)

    parcel, edge = _parcels(rng, shape, region.parcel_m / 10)
    composition = smooth_noise(rng, shape, (100, 40, 16, 6), 0.55)
    detail = smooth_noise(rng, shape, (60, 24, 10, 4), 0.65)
    patchwork = smooth_noise(rng, shape, (80, 30, 12, 5), 0.6)

    surface = _natural(scene, elevation, slope, lowness, composition, detail, patchwork)
    fields, farmed = _fields(scene, elevation, slope, parcel, composition, rng)
    surface = np.where(farmed, fields, surface)
    if region.hedges:
        trees = edge & farmed & (detail > 1.2 - 2.2 * region.hedges)
        surface[trees] = f.BROADLEAF
    cut = (rng.random(parcel.max() + 1) < 0.12)[parcel] & ~farmed
    surface[cut & ((surface == f.CONIFER) | (surface == f.BROADLEAF))] = f.YOUNG_FOREST
    gentle = slope < 0.18
    _settle(surface, scene, gentle & ~sea, rng)
    _road(surface, composition, farmed & gentle, rng)
    elevation, surface = _water(scene, elevation, surface, sea, to_valley, detail, patchwork, rng)
    worldcover = _map(surface, parcel, farmed, detail, rng)
    return Landscape(elevation, surface.astype(np.uint8), parcel, worldcover)


def _terrain(
    scene: Scene, valley: np.ndarray, to_valley: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    shape = to_valley.shape
    relief = scene.region.relief_m
    mean = max(scene.elevation_m + rng.normal(0, 0.5 * relief), 1.6 * relief)
    form = 0.6 * smooth_noise(rng, shape, (170, 70, 28, 12, 5), 0.45) + 1.2 * np.minimum(np.abs(valley), 1.6) - 1.0
    if relief > 80:
        form = form + 0.9 * (0.8 - np.abs(smooth_noise(rng, shape, (130, 50, 20), 0.4)))
    height = mean + relief * (form - 0.25 * np.exp(-((to_valley / 25) ** 2)))
    if not scene.at_coast:
        return np.maximum(height, 1.0).astype(np.float32), np.zeros(shape, bool)
    angle = rng.uniform(0, 2 * np.pi)
    row, column = np.mgrid[: shape[0], : shape[1]]
    inland = (np.cos(angle) * (row - shape[0] / 2) + np.sin(angle) * (column - shape[1] / 2)) / 60
    inland = inland + rng.normal(-0.3, 3.2) + 0.8 * smooth_noise(rng, shape, (60, 24, 10, 4), 0.5)
    sea = inland < 0
    rise = np.clip(inland, 0, 3) / 3
    return np.where(sea, 0.0, 1 + np.maximum(height, 3) * rise**0.8).astype(np.float32), sea


def _parcels(rng: np.random.Generator, shape: tuple[int, int], size: float) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the parcels, and where a new one begins."""
    row, column = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    bend = smooth_noise(rng, shape, (110,)) * np.float32(size * 0.5)
    which = smooth_noise(rng, shape, (70, 30), 0.5) > 0
    number = np.zeros(shape, np.int32)
    first = 0
    reach = int(sum(shape) + 8 * size)
    for half in (0, 1):
        angle = rng.uniform(0, np.pi)
        across = -np.sin(angle) * column + np.cos(angle) * row + bend
        along = np.cos(angle) * column + np.sin(angle) * row + bend
        widths = size * np.exp(rng.normal(0, 0.45, int(2 * reach / size * 1.6) + 8))
        breaks = np.cumsum(widths) - reach
        strip = np.searchsorted(breaks, across.ravel()).reshape(shape)
        length = (size * rng.uniform(1.2, 4.0, len(breaks) + 1)).astype(np.float32)
        start = rng.uniform(0, size * 4, len(breaks) + 1).astype(np.float32)
        cell = ((along + start[strip] + reach) / length[strip]).astype(np.int32)
        strip = strip.astype(np.int32) - int(strip.min())
        cells = int(cell.max()) + 1
        number = np.where(which == bool(half), first + strip * cells + cell, number)
        first += cells * (int(strip.max()) + 1)
    seen = np.zeros(first, np.int32)
    seen[number.ravel()] = 1
    parcel = (np.cumsum(seen, dtype=np.int32) - 1)[number]
    edge = np.zeros(shape, bool)
    edge[:, 1:] |= parcel[:, 1:] != parcel[:, :-1]
    edge[1:] |= parcel[1:] != parcel[:-1]
    return parcel, edge


def _natural(
    scene: Scene,
    elevation: np.ndarray,
    slope: np.ndarray,
    lowness: np.ndarray,
    composition: np.ndarray,
    detail: np.ndarray,
    patchwork: np.ndarray,
) -> np.ndarray:
    """The most suitable natural cover of each pixel."""
    normals = scene.climate(0.0)
    mean = normals.mean - 0.006 * elevation
    warmest = mean + normals.swing
    too_cold = np.clip(11.0 - warmest, -3, 12)
    dry = normals.dry_summer
    maritime = normals.maritime
    forest = (
        scene.region.forest + 1.3 * composition + 0.6 * detail + 1.5 * np.minimum(slope, 0.6) - 1.5 * (too_cold + 1.5)
    )
    needles = np.clip((7.0 - mean) * 0.35, -2, 3) + 1.3 * patchwork - 0.5 * maritime
    suitability = np.stack(
        [
            forest + np.minimum(needles, 0),
            forest - np.maximum(needles, 0),
            forest - 1.1 + 0.9 * patchwork - 0.6 * detail,
            -0.4 + 2.4 * dry + 0.4 * maritime - 0.9 * patchwork + 0.7 * detail - 0.35 * np.maximum(too_cold, 0),
            0.3 - 0.7 * composition + 0.8 * patchwork - 0.7 * np.maximum(too_cold - 1, 0),
            -2.3 + 3.0 * slope + 0.9 * np.maximum(too_cold - 1.5, 0) + 0.8 * detail + 0.5 * dry,
            np.where(warmest < 4.5, 1.0 + 1.2 * (4.5 - warmest) - 1.5 * slope + 0.4 * detail, -9.0),
            -1.6 + 0.9 * lowness - 9 * slope + 0.07 * np.clip(9 - mean, 0, 9) * 3 - 0.6 * patchwork - 1.5 * dry,
            -2.3 + 1.1 * np.clip(too_cold, -1, 3) - 0.9 * patchwork - 2 * slope + 1.2 * (mean < 0),
        ]
    )
    order = np.array(
        [f.CONIFER, f.BROADLEAF, f.YOUNG_FOREST, f.SHRUB, f.NATURAL_GRASS, f.BARE, f.ICE, f.WETLAND, f.LICHEN], np.int64
    )
    return np.asarray(order[suitability.argmax(0)])


def _fields(
    scene: Scene,
    elevation: np.ndarray,
    slope: np.ndarray,
    parcel: np.ndarray,
    composition: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """What each parcel would carry as a field, and whether it is one."""
    normals = scene.climate(scene.elevation_m)
    count = int(parcel.max()) + 1
    pixels = np.bincount(parcel.ravel(), minlength=count)
    fitness = -2.0 * composition - 9 * slope - 0.0012 * np.maximum(elevation - 300, 0)
    fitness = np.bincount(parcel.ravel(), fitness.ravel(), minlength=count) / pixels
    farmed = scene.region.farming + fitness + rng.normal(0, 0.5, count) + rng.normal(0, 0.5) > 0
    maritime = 1.25 * normals.maritime
    cold = max(0.0, 8 - normals.mean) / 4
    weights = {
        f.PASTURE: 0.0 + 1.1 * maritime * (1 - normals.dry_summer) + 1.0 * cold,
        f.NATURAL_GRASS: -1.4 + 1.2 * normals.dry_summer,
        f.WINTER_CROP: 0.6 - 0.3 * maritime - 0.5 * cold,
        f.SUMMER_CROP: 0.2 + 0.12 * (normals.swing - 10) - 0.4 * maritime,
        f.ORCHARD: -3.4 + 3.4 * normals.dry_summer + 0.7 * (normals.mean > 10),
        f.BROADLEAF: -1.8,
    }
    kinds = np.array(list(weights))
    scores = np.array(list(weights.values())) + rng.normal(0, 0.4, len(kinds)) + rng.gumbel(size=(count, len(kinds)))
    return kinds[scores.argmax(1)][parcel], farmed[parcel]


def _settle(surface: np.ndarray, scene: Scene, allowed: np.ndarray, rng: np.random.Generator) -> None:
    """Puts villages and towns on the ground."""
    height, width = surface.shape
    towns = rng.poisson(1.8 * scene.region.settlements * height * width / 1e4)
    for _ in range(int(towns)):
        radius = float(np.clip(10 * np.exp(rng.normal(0, 1.0)), 4, 110))
        middle = rng.uniform((0, 0), (height, width))
        top, left = (max(0, int(place - 1.6 * radius)) for place in middle)
        bottom, right = (min(end, int(p + 1.6 * radius) + 1) for p, end in zip(middle, (height, width), strict=True))
        if bottom - top < 2 or right - left < 2:
            continue
        row, column = np.mgrid[top:bottom, left:right]
        far = np.hypot(row - middle[0], column - middle[1]) / radius
        shape = (bottom - top, right - left)
        inside = far + 0.28 * smooth_noise(rng, shape, (12, 5)) < 1
        plots, edges = _parcels(rng, shape, 5.0)
        kinds = np.array([f.BUILT, f.PASTURE, f.BROADLEAF])
        filled = float(np.clip(0.62 + 0.006 * radius, 0, 0.95))
        plot = kinds[rng.choice(3, int(plots.max()) + 1, p=[filled, 0.55 * (1 - filled), 0.45 * (1 - filled)])][plots]
        plot = np.where(edges & (rng.random(shape) < 0.3), f.BUILT, plot)
        window = surface[top:bottom, left:right]
        window[:] = np.where(inside & allowed[top:bottom, left:right], plot, window)


def _road(surface: np.ndarray, composition: np.ndarray, allowed: np.ndarray, rng: np.random.Generator) -> None:
    """A road, about a pixel wide, through the fields."""
    row, column = np.mgrid[: surface.shape[0], : surface.shape[1]]
    angle = rng.uniform(0, np.pi)
    line = np.cos(angle) * (row - rng.uniform(0, surface.shape[0])) + np.sin(angle) * (
        column - rng.uniform(0, surface.shape[1])
    )
    line = line + 14 * ndimage.uniform_filter(composition, 41)
    surface[(np.abs(line) < 0.7) & allowed] = f.ROAD


def _water(
    scene: Scene,
    elevation: np.ndarray,
    surface: np.ndarray,
    sea: np.ndarray,
    to_valley: np.ndarray,
    detail: np.ndarray,
    patchwork: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Rivers, lakes with level water, and the sea."""
    if rng.random() < 0.45:
        half_width = float(np.clip(np.exp(rng.normal(0.4, 0.7)), 0.5, 9))
        surface[to_valley < half_width] = f.RIVER
    if scene.region.lakes and rng.random() < min(1.0, 8 * scene.region.lakes):
        share = scene.region.lakes * float(rng.exponential(1.0))
        hollow = -(elevation - elevation.mean()) / (elevation.std() + 1) - 0.8 * patchwork + 0.3 * detail
        lake = ndimage.binary_opening(hollow > np.quantile(hollow, 1 - min(share, 0.6)), iterations=2) & ~sea
        number, count = ndimage.label(lake)
        if count:
            level = ndimage.minimum(elevation, number, np.arange(count + 1)).astype(np.float32)
            elevation = np.where(lake, level[number], elevation)
            surface[lake] = f.LAKE
            shore = ndimage.binary_dilation(lake, iterations=3) & ~lake & (detail > 1.0)
            surface[shore] = f.WETLAND
    if sea.any():
        beach = ndimage.binary_dilation(sea, iterations=4) & ~sea
        surface[beach & (patchwork > 0.8)] = f.BARE
        surface[beach & (patchwork < -1.2)] = f.WETLAND
        surface[sea] = f.SEA
    return elevation, surface


def _map(
    surface: np.ndarray, parcel: np.ndarray, farmed: np.ndarray, detail: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The land cover map: the ground with shifted edges and mistaken parcels."""
    codes = _TO_WORLDCOVER[surface]
    young = surface == f.YOUNG_FOREST
    codes[young & (detail < -0.5)] = 30
    codes[young & (detail > 0.9)] = 20
    count = int(parcel.max()) + 1
    mistaken = rng.random(count)
    swap = np.arange(256, dtype=np.uint8)
    swap[[20, 30, 40, 60, 90, 100]] = 30, 20, 40, 30, 30, 30
    in_field = swap.copy()
    in_field[[30, 40]] = 40, 30
    wrong = (mistaken < 0.10)[parcel]
    codes = np.where(wrong, np.where(farmed, in_field[codes], swap[codes]), codes)
    codes[((mistaken > 0.8)[parcel]) & (surface == f.ORCHARD)] = 10
    shifted = codes.copy()
    shifted[1:, 1:] = codes[:-1, :-1]
    return np.asarray(np.where(detail > 0.3, shifted, codes), np.uint8)

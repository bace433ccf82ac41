"""Radiometry: what sensors and air do to values. What is missing stays so, and labels don't change.

What a channel gets follows from its unit: reflectances gain and haze, decibels speckle, metres noise of heights.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from eofuse.devices import send
from eofuse.learning.augment.patches import Patches
from eofuse.modalities import Channel, Kind, Modality

WAVELENGTHS = {
    "B01": 0.443,
    "B02": 0.492,
    "B03": 0.560,
    "B04": 0.665,
    "B05": 0.704,
    "B06": 0.741,
    "B07": 0.783,
    "B08": 0.833,
    "B8A": 0.865,
    "B09": 0.945,
    "B10": 1.374,
    "B11": 1.614,
    "B12": 2.202,
}
"""Central wavelengths of Sentinel-2A in micrometres (ESA, Sentinel-2 spectral response functions); other bands count as blue ones."""

ANGSTROM = 1.3
"""Exponent with which the optical depth of haze falls with the wavelength (Ångström 1929)."""

POOL = 2**18
STRETCH = 2**14


def change_reflectance(patches: Patches, gain: float, haze: float, draw: np.random.Generator) -> None:
    """Brightens or darkens, and lays haze over, channels of reflectance.

    The gain of a band is 1 plus two numbers, one for all bands of the patch and one of its own, each uniform up to half of `gain` in
    either direction. Haze adds light from the path and takes as much from the ground: r becomes (1 - h) r + h, where h is uniform up
    to `haze` in blue light and falls with the wavelength.
    """
    for name, modality, _ in patches.rasters():
        chosen = _channels(modality, "reflectance")
        if not chosen.any():
            continue
        bands = len(modality.channels)
        common, own = (draw.uniform(-gain / 2, gain / 2, (len(patches), width)) for width in (1, bands))
        factor = 1 + common + own
        veil = draw.uniform(0, haze, (len(patches), 1)) * [_haze_share(channel) for channel in modality.channels]
        factor = np.where(chosen, (1 - veil) * factor, 1.0)
        shift = np.where(chosen, (factor * modality.offset + veil - modality.offset) / modality.scale, 0.0)
        values = patches.numbers(name)
        values.mul_(_planes(factor, values))
        if shift.any():
            values.add_(_planes(shift, values))


def add_speckle(patches: Patches, looks: float, draw: np.random.Generator) -> None:
    """Multiplies backscatter, given in decibels, by speckle of so many looks, which keeps the mean of linear power.

    Speckle is gamma-distributed with mean 1 and variance 1 / looks (Goodman 1976). It comes from a fixed pool of 262,144 draws with a
    mean of exactly 1: each channel of each patch takes a stretch that begins at random (see `_noise`).
    """
    _add(patches, "dB", _speckle_pool(looks, patches.device), draw)


def add_height_noise(patches: Patches, deviation_m: float, draw: np.random.Generator) -> None:
    """Adds noise with this standard deviation to heights in metres: one number for each patch, and one for each pixel."""
    _add(patches, "m", _normal_pool(patches.device) * deviation_m, draw, shift=deviation_m)


def _add(patches: Patches, unit: str, pool: Tensor, draw: np.random.Generator, shift: float = 0.0) -> None:
    """Adds noise from a pool, in physical units, to the channels with a unit; and to each of them one normal number."""
    for name, modality, _ in patches.rasters():
        chosen = np.flatnonzero(_channels(modality, unit))
        if not len(chosen):
            continue
        values = patches.numbers(name)
        height, width = values.shape[-2:]
        shifts = _planes(draw.normal(0, 1, (len(patches), 1)) * shift / modality.scale, values)
        for channel in chosen.tolist():
            noise = _noise(pool, len(patches), height * width, draw)
            values[:, channel].add_(noise.view(-1, height, width), alpha=1 / modality.scale)
            if shift:
                values[:, channel].add_(shifts[:, 0])


def _noise(pool: Tensor, count: int, length: int, draw: np.random.Generator) -> Tensor:
    """Noise (count, length): stretches of the pool that begin at random; that two can overlap, shifted, is no matter for pictures."""
    pieces = math.ceil(length / STRETCH)
    long = min(length, STRETCH)
    begins = send(torch.from_numpy(draw.integers(0, POOL, count * pieces)), pool.device)
    return pool.unfold(0, long, 1)[begins].view(count, pieces * long)[:, :length]


@lru_cache(maxsize=8)
def _speckle_pool(looks: float, device: torch.device) -> Tensor:
    """Speckle in decibels; its first values come again at the end, so that a stretch may begin anywhere."""
    power = np.random.default_rng(0).gamma(looks, size=POOL)
    return _ring(10 * np.log10(power / power.mean()), device)


@lru_cache(maxsize=4)
def _normal_pool(device: torch.device) -> Tensor:
    return _ring(np.random.default_rng(1).standard_normal(POOL), device)


def _ring(values: np.ndarray, device: torch.device) -> Tensor:
    return send(torch.from_numpy(np.concatenate([values, values[: STRETCH - 1]]).astype(np.float32)), device)


def _planes(values: np.ndarray, like: Tensor) -> Tensor:
    """(patches, channels) numbers to be broadcast over pixels."""
    return send(torch.from_numpy(values[:, :, None, None].astype(np.float32)), like.device)


def _channels(modality: Modality, unit: str) -> np.ndarray:
    """Which channels of a raster have a unit, (channels,)."""
    raster = modality.kind is Kind.RASTER and not modality.is_categorical
    return np.array([raster and channel.unit == unit for channel in modality.channels])


def _haze_share(channel: Channel) -> float:
    """Haze in a band, where that in blue light (B02) is 1."""
    names = (channel.name, *channel.aliases)
    wavelength = next((WAVELENGTHS[name] for name in names if name in WAVELENGTHS), WAVELENGTHS["B02"])
    return math.pow(WAVELENGTHS["B02"] / wavelength, ANGSTROM)

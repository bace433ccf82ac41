"""Smooth random fields: sums of random grids, each interpolated with cubic B-splines at its own wavelength."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np


@lru_cache(maxsize=256)
def _spline(length: int, wavelength: int) -> np.ndarray:
    """Weights (length, knots) that interpolate a grid with one knot a wavelength; float32."""
    position = np.arange(length, dtype=np.float64) / wavelength
    cell = position.astype(int)
    part = position - cell
    weights = np.zeros((length, int(cell[-1]) + 4), np.float32)
    rows = np.arange(length)
    weights[rows, cell] = (1 - part) ** 3 / 6
    weights[rows, cell + 1] = (3 * part**3 - 6 * part**2 + 4) / 6
    weights[rows, cell + 2] = (-3 * part**3 + 3 * part**2 + 3 * part + 1) / 6
    weights[rows, cell + 3] = part**3 / 6
    return weights


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], wavelengths: Sequence[int], persistence: float = 0.5
) -> np.ndarray:
    """A random field with mean 0 and standard deviation about 1.

    Args:
        rng: source of randomness.
        shape: height and width in pixels.
        wavelengths: distances between the knots of each octave in pixels, the longest first.
        persistence: amplitude of each octave relative to the one before.

    Returns:
        (H, W), float32.
    """
    field = np.zeros(shape, np.float32)
    amplitude, power = 1.0, 0.0
    for wavelength in wavelengths:
        if wavelength == 1:
            field += np.float32(amplitude) * rng.standard_normal(shape, np.float32)
            power += amplitude**2
        else:
            rows, columns = _spline(shape[0], wavelength), _spline(shape[1], wavelength)
            grid = rng.standard_normal((rows.shape[1], columns.shape[1]), np.float32)
            field += np.float32(amplitude) * (rows @ grid @ columns.T)
            power += (0.479 * amplitude) ** 2
        amplitude *= persistence
    return field / np.float32(power**0.5)

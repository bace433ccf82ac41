"""A source whose modalities share a hidden factor, each under nuisances of its own."""

import numpy as np

from eofuse.modalities import SENTINEL1, SENTINEL2, Modality
from fake_source import FakeSource

PERIODS = (3.0, 4.5, 7.0, 11.0)
"""In pixels, of the stripes on the ground; the class of a patch is its period."""

AMPLITUDE = 1.5
"""Of the stripes, where the noise of a pixel has a standard deviation of 1."""

NUISANCE = 0.5
"""Standard deviation of each other thing that a sensor adds."""


class SharedFactorSource(FakeSource):
    """Fields on the ground lie in stripes, whose period is the class; Sentinel-1 and Sentinel-2 both show them.

    Direction (across or down) and phase of the stripes are drawn for each patch. Each sensor adds a brightness of the patch, one
    of each channel, a slope, and noise.
    """

    def plant(self) -> None:
        self.modalities = (SENTINEL2, SENTINEL1)
        generator = np.random.default_rng([self.seed, 1])
        self.index["label"] = generator.integers(0, len(PERIODS), self.patches)

    def stripes(self, row: int) -> np.ndarray:
        """The ground, from -1 to 1: (height, width)."""
        generator = np.random.default_rng([self.seed, row, 2])
        angle, phase = np.pi / 2 * generator.integers(2), generator.uniform(0, 2 * np.pi)
        y, x = np.mgrid[: self.size, : self.size]
        period = PERIODS[int(self.index["label"].iloc[row])]
        return np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period + phase)

    def signal(self, modality: Modality, row: int, raster: np.ndarray) -> np.ndarray:
        generator = np.random.default_rng([self.seed, row, 3, len(modality.channels)])
        count = len(modality.channels)
        y, x = np.mgrid[: self.size, : self.size] / self.size - 0.5
        slope = generator.normal(0, 1, (count, 2))
        brightness = generator.normal(0, 1) + generator.normal(0, 1, (count, 1, 1))
        nuisance = NUISANCE * (brightness + slope[:, :1, None] * x + slope[:, 1:, None] * y)
        visible = AMPLITUDE * self.stripes(row) + nuisance + generator.normal(0, 1, raster.shape)
        return -12 + 3 * visible if modality.name == "s1" else np.clip(3000 + 400 * visible, 1, 10000)

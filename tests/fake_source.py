"""A source made in memory, so that tests of store, loading, training and studies need no files of a foreign layout."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from eofuse.data.sources import Samples
from eofuse.errors import DataError
from eofuse.modalities import CLIMATE_ZONE, ELEVATION, SEASON, SENTINEL1, SENTINEL2, WORLDCOVER, Channel, Kind, Modality

MODALITIES = (SENTINEL2, SENTINEL1, ELEVATION, SEASON, CLIMATE_ZONE)

GREENNESS = Modality("greenness", Kind.SERIES, (Channel("ndvi"), Channel("ndwi")), "Greenness", steps=6, dated=True)
"""Every patch has three to six steps some days apart, and some gaps."""

SCENES = Modality(
    "scenes", Kind.IMAGE_SERIES, (Channel("red"), Channel("nir")), "Scenes", "uint16", 1e-4, steps=5, dated=True
)
"""Every patch has one to five dates of a year; no value stands for nothing, so that zeros are data."""


@dataclass
class FakeSource(Samples):
    """Random patches of every kind of modality; 5 patches a scene; the index has a column `label` of two classes.

    Attributes:
        patches: number of patches.
        seed: of the pixels.
        size: side of a patch in pixels.
        absent: modality → rows that lack it.
        bad: rows that can't be read.
    """

    patches: int = 60
    seed: int = 0
    size: int = 16
    modalities: tuple[Modality, ...] = MODALITIES
    absent: dict[str, set[int]] = field(default_factory=dict)
    bad: set[int] = field(default_factory=set)
    name: str = "fake"
    simulated: bool = True

    def __post_init__(self) -> None:
        rasters = any(modality.has_pixels for modality in self.modalities)
        self.patch_size = (self.size, self.size) if rasters else (0, 0)
        self.fingerprint = f"{self.patches}-{self.seed}-{self.size}-{sorted(self.bad)}-{self.absent}"
        generator = np.random.default_rng(self.seed)
        count = self.patches
        scene = np.arange(count) // 5
        self.index = pd.DataFrame(
            {
                "patch_id": [f"patch_{row}" for row in range(count)],
                "patch_id_s1": [f"radar_{row}" for row in range(count)],
                "scene": [f"scene_{number}" for number in scene],
                "tile": None,
                "column": -1,
                "row": -1,
                "lon": 8.0 + scene * 0.5 + generator.uniform(0, 0.05, count),
                "lat": 47.0 + generator.uniform(0, 0.05, count),
                "crs": "EPSG:32632",
                "ulx": 0.0,
                "uly": 0.0,
                "time_s2": "2017-06-13T10:10:31",
                "time_s1": "2017-06-12T16:58:09",
                "split": np.where(scene % 4 == 3, "test", np.where(scene % 4 == 2, "validation", "train")),
                "label": generator.permutation(np.arange(count) % 2),
                "season.season_s2": generator.uniform(0, 1, count),
                "season.season_s1": generator.uniform(0, 1, count),
                "climate_zone.climatezone": np.where(generator.uniform(size=count) < 0.5, 15, 26),
            }
        )
        for modality in self.modalities:
            lacking = list(self.absent.get(modality.name, ()))
            self.index[f"has_{modality.name}"] = ~np.isin(np.arange(count), lacking)
            if modality.kind is Kind.IMAGE_SERIES:
                days = [[] if row in lacking else self.days(modality, row) for row in range(count)]
                self.index[f"times.{modality.name}"] = days
        self.plant()

    def plant(self) -> None:
        """Changes the index of a source that hides a signal; this one hides none."""

    def read(self, row: int) -> dict[str, np.ndarray]:
        if row in self.bad:
            raise DataError("is truncated", where=f"patch_{row}, B02", fix="fetch it again")
        generator = np.random.default_rng([self.seed, row])
        values: dict[str, np.ndarray] = {}
        for modality in self.modalities:
            if modality.kind is Kind.SERIES and row not in self.absent.get(modality.name, ()):
                values[modality.name] = self.signal(modality, row, _series(modality, generator)).astype(np.float32)
            if modality.has_pixels:
                shape = (len(modality.channels), self.size, self.size)
                if modality.kind is Kind.IMAGE_SERIES:
                    shape = (len(self.days(modality, row)), *shape)
                raster = (
                    generator.normal(-12, 3, shape) if modality.name == "s1" else generator.uniform(100, 3000, shape)
                )
                if row not in self.absent.get(modality.name, ()):
                    values[modality.name] = self.signal(modality, row, raster).astype(modality.dtype)
        return values

    def days(self, modality: Modality, row: int) -> list[float]:
        """Days of the dates of a patch in an image series."""
        generator = np.random.default_rng([self.seed, row, 3])
        count = int(generator.integers(1, (modality.steps or 1) + 1))
        return (17_000.25 + np.sort(generator.choice(365, count, replace=False))).tolist()

    def signal(self, modality: Modality, row: int, raster: np.ndarray) -> np.ndarray:
        """The raster or series of a patch with what is hidden in it; this source hides nothing."""
        return raster


def _series(modality: Modality, generator: np.random.Generator) -> np.ndarray:
    """Random steps, then those that don't exist."""
    values = np.full(modality.shape((0, 0)), np.nan)
    count = int(generator.integers(len(values) // 2, len(values) + 1))
    values[:count, 0] = 17_000 + np.cumsum(generator.uniform(1, 30, count))
    values[:count, 1:] = generator.normal(0, 1, (count, len(modality.channels)))
    values[:, 1:][generator.uniform(size=values[:, 1:].shape) < 0.2] = np.nan
    return values


class PlantedSource(FakeSource):
    """The label shows as 6 dB in Sentinel-1, and nowhere else."""

    def signal(self, modality: Modality, row: int, raster: np.ndarray) -> np.ndarray:
        return raster + 6 * self.index["label"].iloc[row] if modality.name == "s1" else raster


class RisingSource(FakeSource):
    """The series of one class rise and those of the other fall; mean and spread are alike, so that the order tells all."""

    def signal(self, modality: Modality, row: int, raster: np.ndarray) -> np.ndarray:
        if modality.kind is Kind.SERIES:
            exists = np.isfinite(raster[:, 0])
            slope = np.linspace(-3, 3, exists.sum()) * (1 if self.index["label"].iloc[row] else -1)
            raster[exists, 1:] += slope[:, None]
        return raster


class SeasonalSource(FakeSource):
    """One class shines in spring and the other in autumn, all else being alike: only dates with their days tell which is which."""

    def days(self, modality: Modality, row: int) -> list[float]:
        generator = np.random.default_rng([self.seed, row, 3])
        return (17_000 + 60 * np.arange(modality.steps or 1) + generator.uniform(0, 20, modality.steps)).tolist()

    def signal(self, modality: Modality, row: int, raster: np.ndarray) -> np.ndarray:
        if modality.kind is Kind.IMAGE_SERIES:
            raster[3 if self.index["label"].iloc[row] else 1] += 6000
        return raster


@dataclass
class MappedSource(PlantedSource):
    """A rectangle of water in the class map of each patch shows in Sentinel-1 (or another raster), and lifts the elevation.

    The index has a column `value`, a number that goes with the label.

    Attributes:
        visible: the raster in which the rectangle shows; elevation shows it too unless `flat`.
        flat: whether the elevation is noise.
    """

    visible: str = "s1"
    flat: bool = False

    def plant(self) -> None:
        self.modalities = (*self.modalities, WORLDCOVER)
        self.index["has_worldcover"] = True
        self.index["value"] = 10 + 4.0 * self.index["label"] + np.random.default_rng(1).normal(0, 0.5, self.patches)

    def rectangle(self, row: int) -> tuple[int, int, int, int]:
        """Left, top, right, bottom."""
        generator = np.random.default_rng([self.seed, row, 7])
        width, height = generator.integers(self.size // 4, self.size // 2 + 1, 2)
        left, top = generator.integers(0, self.size - width + 1), generator.integers(0, self.size - height + 1)
        return int(left), int(top), int(left + width), int(top + height)

    def mask(self, row: int) -> np.ndarray:
        left, top, right, bottom = self.rectangle(row)
        mask = np.zeros((self.size, self.size))
        mask[top:bottom, left:right] = 1
        return mask

    def signal(self, modality: Modality, row: int, raster: np.ndarray) -> np.ndarray:
        if modality.name == "worldcover":
            return np.where(self.mask(row), 80, 40)[None]
        raster = super().signal(modality, row, raster)
        if modality.name == "elevation" and not self.flat:
            return 500 + raster / 100 + 100 * self.mask(row)
        if modality.name == self.visible:
            strength = {"s1": 12.0, "elevation": 4000.0, "s2": 4000.0}[modality.name]
            return raster + strength * self.mask(row)
        return raster

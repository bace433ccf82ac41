"""A source made in memory, so that tests of store, loading, training and studies need no files of a foreign layout."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from eofuse.data.problems import Problem
from eofuse.errors import DataError
from eofuse.modalities import CLIMATE_ZONE, ELEVATION, SEASON, SENTINEL1, SENTINEL2, Kind, Modality

MODALITIES = (SENTINEL2, SENTINEL1, ELEVATION, SEASON, CLIMATE_ZONE)


@dataclass
class FakeSource:
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
        self.patch_size = (self.size, self.size)
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
        self.problems: list[Problem] = []
        self.plant()

    def plant(self) -> None:
        """Changes the index of a source that hides a signal; this one hides none."""

    def read(self, row: int) -> dict[str, np.ndarray]:
        if row in self.bad:
            raise DataError("is truncated", where=f"patch_{row}, B02", fix="fetch it again")
        generator = np.random.default_rng([self.seed, row])
        values: dict[str, np.ndarray] = {}
        for modality in self.modalities:
            if modality.kind is Kind.RASTER:
                shape = (len(modality.channels), self.size, self.size)
                raster = (
                    generator.normal(-12, 3, shape) if modality.name == "s1" else generator.uniform(100, 3000, shape)
                )
                if row not in self.absent.get(modality.name, ()):
                    values[modality.name] = self.signal(modality, row, raster).astype(modality.dtype)
        return values

    def signal(self, modality: Modality, row: int, raster: np.ndarray) -> np.ndarray:
        """The raster of a patch with what is hidden in it; this source hides nothing."""
        return raster


class PlantedSource(FakeSource):
    """The label shows as 6 dB in Sentinel-1, and nowhere else."""

    def signal(self, modality: Modality, row: int, raster: np.ndarray) -> np.ndarray:
        return raster + 6 * self.index["label"].iloc[row] if modality.name == "s1" else raster

"""A store in memory with the attributes that the pictures read."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from eofuse.data.store import Window
from eofuse.errors import UsageError, did_you_mean
from eofuse.modalities import BEN_GE_MODALITIES, Category, Channel, Kind, Modality


class FakeStore:
    """Patches with smooth random content; patch 1 lacks Sentinel-1 and weather."""

    def __init__(
        self,
        patch_ids: list[str],
        scenes: list[str] | None = None,
        modalities: tuple[Modality, ...] = BEN_GE_MODALITIES,
        size: int = 40,
        simulated: bool = False,
        fingerprint: str = "0a1b2c3d4e5f",
    ) -> None:
        random = np.random.default_rng(3)
        number = len(patch_ids)
        self.path = "demo.store"
        self.name = "fake"
        self.simulated = simulated
        self.fingerprint = fingerprint
        self.provenance: dict[str, Any] = {}
        self.patch_size = (size, size)
        self.modalities = {modality.name: modality for modality in modalities}
        self.index = pd.DataFrame(
            {
                "patch_id": patch_ids,
                "scene": scenes or [f"scene_{i // 3}" for i in range(number)],
                "lon": random.uniform(-9, 28, number),
                "lat": random.uniform(37, 66, number),
                "time_s2": "2017-06-13T10:10:31",
                "time_s1": None,
                "split": None,
                "labels_19": [["Arable land", "Mixed forest"] for _ in range(number)],
            }
        )
        self.values: dict[str, np.ndarray] = {}
        for modality in modalities:
            self.values[modality.name] = _values(modality, number, size, random)
            self.index[f"has_{modality.name}"] = True
            if number > 1 and modality.name in ("s1", "weather"):
                self.index.loc[1, f"has_{modality.name}"] = False

    def __len__(self) -> int:
        return len(self.index)

    def present(self, name: str) -> np.ndarray:
        return self.index[f"has_{name}"].to_numpy(dtype=bool)

    def modality(self, name: str) -> Modality:
        return self.modalities[name]

    def read(
        self,
        name: str,
        rows: Any,
        out: np.ndarray | None = None,
        *,
        channels: Any = None,
        window: Window | None = None,
    ) -> np.ndarray:
        values = self.values[name][np.asarray(rows)]
        if channels is not None:
            values = values[:, list(channels)]
        if window is not None:
            values = values[..., window.top : window.top + window.height, window.left : window.left + window.width]
        return values

    def row_of(self, patch_id: str) -> int:
        rows = np.flatnonzero(self.index["patch_id"] == patch_id)
        if not len(rows):
            raise UsageError(f"no patch '{patch_id}'", fix=did_you_mean(patch_id, self.index["patch_id"]))
        return int(rows[0])


DRONE = Modality(
    name="drone",
    kind=Kind.RASTER,
    channels=tuple(Channel(f"c{i}") for i in range(5)),
    title="<Drone> & co",
    dtype="uint8",
)
THERMAL = Modality(name="thermal", kind=Kind.RASTER, channels=(Channel("t", unit="K"),), dtype="float32")
CROPS = Modality(
    name="crops",
    kind=Kind.RASTER,
    channels=(Channel("map"),),
    dtype="uint8",
    categories=(Category(1, "wheat", "#ffcc00"), Category(2, "maize", "#00aa55")),
)


def _values(modality: Modality, number: int, size: int, random: np.random.Generator) -> np.ndarray:
    if modality.kind is Kind.CATEGORY:
        return random.choice([category.code for category in modality.categories], number).astype(np.uint8)
    if modality.kind is Kind.VECTOR:
        return random.uniform(0.2, 300.0, (number, len(modality.channels))).astype(np.float32)
    fields = np.kron(random.random((number, len(modality.channels), 8, 8)), np.ones((size // 8, size // 8)))
    if modality.name in ("elevation", "worldcover"):
        fields = gaussian_filter(fields, (0, 0, 2.5, 2.5))
        fields = np.clip((fields - 0.2) / 0.6, 0, 0.999)
    if modality.is_categorical:
        codes = np.array([category.code for category in modality.categories])
        return codes[(fields * len(codes)).astype(int)].astype(np.uint8)
    low, high = {"s2": (200, 2800), "s1": (-22, -3), "elevation": (100, 700)}.get(modality.name, (0, 250))
    return (low + (high - low) * fields).astype(modality.dtype)

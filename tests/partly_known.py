"""Patches of which some have no value and some no Sentinel-1, and a small recipe for them."""

import numpy as np

from eofuse.config import merge
from eofuse.data.store.pack import pack_source
from fake_source import MappedSource


class PartlyKnown(MappedSource):
    """Three patches of five have no value."""

    def plant(self):
        super().plant()
        self.index.loc[np.arange(self.patches) % 5 > 1, "value"] = np.nan


def partly_known_store(path):
    source = PartlyKnown(patches=60, size=32, absent={"s1": set(range(0, 60, 5))})
    return pack_source(source, path, workers=1)


def small_recipe(store, budget, /, **change) -> dict:
    base = {
        "data": {"store": str(store.path)},
        "inputs": ["s1", "s2"],
        "split": {"fractions": [0.6, 0.2, 0.2]},
        "fusion": {"encoder": "test_resnet"},
        "train": {"batch_size": 12, **budget},
    }
    return merge(base, change)

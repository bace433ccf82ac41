"""A patch as training sees it: `example_draws`."""

import numpy as np
import numpy.typing as npt
import torch

from eofuse.data.loading import Loader
from eofuse.data.store import Store
from eofuse.kinds import SINGLE_LABEL
from eofuse.learning.augment import AugmentOptions, make_augmentation
from eofuse.modalities import Kind

Rasters = dict[str, npt.NDArray[np.generic]]


def example_draws(store: Store, patch_id: str, options: AugmentOptions, count: int, seed: int) -> list[Rasters]:
    """The rasters that a patch has, by modality, as they are and then augmented so many times.

    Mixing takes as partner another patch of the store that has the same modalities.

    Raises:
        UsageError: if the store has no such patch.
    """
    row = store.row_of(patch_id)
    names = [name for name, each in store.modalities.items() if each.kind is Kind.RASTER and store.present(name)[row]]
    loader = Loader(store, dict.fromkeys(names))
    others = np.setdiff1d(np.flatnonzero(loader.complete()), row)
    augment = make_augmentation(options, loader.modalities, {"patch": SINGLE_LABEL})  # a kind that permits mixing
    generator = torch.Generator().manual_seed(seed)
    partners = np.random.default_rng(seed)
    draws: list[Rasters] = [{name: store.read(name, [row])[0] for name in names}]
    for _ in range(count):
        rows = np.concatenate([[row], partners.choice(others, 1)]) if len(others) else np.array([row])
        inputs = augment(loader.read(rows), generator).inputs
        draws.append({name: values[0].numpy().copy() for name, values in inputs.items()})
    return draws

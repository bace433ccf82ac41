"""A patch as training sees it: `augment_patch`, and `example_draws` behind it."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from eofuse.config import parse_options
from eofuse.data.loading import Loader
from eofuse.data.store import Store
from eofuse.kinds import SINGLE_LABEL
from eofuse.learning.augment import AugmentOptions, make_augmentation
from eofuse.modalities import Kind

Rasters = dict[str, npt.NDArray[np.generic]]


def augment_patch(
    store: Store,
    patch_id: str,
    augment: str | Mapping[str, Any] = "light",
    *,
    draws: int = 1,
    seed: int = 0,
    modalities: Collection[str] | None = None,
) -> list[Rasters]:
    """What an augmentation makes of a patch, drawn so many times.

    Args:
        store: the packed store.
        patch_id: the patch.
        augment: a preset, or single operations, as the section `augment` of a recipe.
        draws: how many times.
        seed: of everything random.
        modalities: the rasters that are wanted; all that the patch has by default.

    Returns:
        For each draw the rasters by modality, (channels, height, width), in the units of the store. What was hidden or
        dropped is missing: NaN, or the modality's nodata.

    Raises:
        UsageError: if the store has no such patch, or the augmentation is wrong.
    """
    return example_draws(store, patch_id, read_augment(augment), draws, seed, modalities)[1:]


def read_augment(augment: str | Mapping[str, Any]) -> AugmentOptions:
    """The options of a preset's name, or of single operations.

    Raises:
        UsageError: if they are wrong.
    """
    return parse_options(AugmentOptions, {"preset": augment} if isinstance(augment, str) else augment, "augment")


def example_draws(
    store: Store,
    patch_id: str,
    options: AugmentOptions,
    count: int,
    seed: int,
    modalities: Collection[str] | None = None,
) -> list[Rasters]:
    """The rasters that a patch has, by modality, as they are and then augmented so many times.

    Mixing takes as partner another patch of the store that has the same modalities.

    Raises:
        UsageError: if the store has no such patch.
    """
    row = store.row_of(patch_id)
    rasters = store.modalities if modalities is None else {name: store.modality(name) for name in modalities}
    names = [name for name, each in rasters.items() if each.kind is Kind.RASTER and store.present(name)[row]]
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

"""Patches on which an exported model is compared with its origin: `stored_inputs` of a store, `random_inputs` of none."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from eofuse.data.store import Store
from eofuse.inference.ensemble import Ensemble
from eofuse.inference.predict import loader_for, usable_patches
from eofuse.modalities import Kind, Modality
from eofuse.models.model import ModelSpec

GAPS = 0.05
"""Share of random numbers that are missing."""

FIRST_DAY = 18_000.0


def stored_inputs(ensemble: Ensemble, store: Store, count: int) -> dict[str, Tensor]:
    """Inputs of some patches of a store, evenly spread over it; none if no patch has them.

    Raises:
        DataError: if the store does not fit the model.
    """
    loader = loader_for(ensemble, store)
    rows = np.flatnonzero(usable_patches(ensemble, loader))
    if not len(rows):
        return {}
    chosen = rows[np.linspace(0, len(rows) - 1, count).astype(int)]
    batch = loader.read(chosen)
    return {modality.name: batch.inputs[modality.name] for modality in ensemble.spec.modalities}


def random_inputs(spec: ModelSpec, count: int) -> dict[str, Tensor]:
    """Stored values of patches that don't exist, spread as the training patches were, with gaps; always the same."""
    generator = np.random.default_rng(0)
    return {
        modality.name: _random(modality, spec.statistics.mean, spec.statistics.std, spec.patch_size, count, generator)
        for modality in spec.modalities
    }


def _random(
    modality: Modality,
    means: Mapping[str, list[float]],
    deviations: Mapping[str, list[float]],
    patch_size: tuple[int, int],
    count: int,
    generator: np.random.Generator,
) -> Tensor:
    shape, dtype = (count, *modality.shape(patch_size)), np.dtype(modality.dtype)
    if modality.categories:
        codes = [*(category.code for category in modality.categories), 255]  # the last is most likely none
        return torch.from_numpy(generator.choice(codes, shape).astype(dtype))
    mean, std = (np.array(each[modality.name], dtype=np.float64) for each in (means, deviations))
    axis = -1 if modality.kind is Kind.SERIES else 1
    if modality.kind is Kind.SERIES:
        mean, std = np.append(0.0, mean), np.append(0.0, std)
    sides = [-1 if place == axis % len(shape) else 1 for place in range(len(shape))]
    physical = mean.reshape(sides) + std.reshape(sides) * generator.normal(size=shape)
    values = (physical - modality.offset) / modality.scale
    gap = modality.nodata if modality.nodata is not None else np.nan
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = values.round().clip(limits.min, limits.max)
    if np.isfinite(gap) or dtype.kind == "f":
        values[generator.uniform(size=shape) < GAPS] = gap
    if modality.kind is Kind.SERIES:
        steps = np.arange(shape[1], dtype=np.float64)
        values[..., 0] = FIRST_DAY + 30 * steps if modality.dated else steps
        values[-1, shape[1] // 2 :] = np.nan  # a shorter one
    return torch.from_numpy(values.astype(dtype))

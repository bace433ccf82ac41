"""Batches of every kind of input and target, made in memory."""

import numpy as np
import torch

from eofuse.data.loading import Batch
from eofuse.kinds import MULTI_LABEL, PIXEL_REGRESSION, REGRESSION, SEGMENTATION, SINGLE_LABEL
from eofuse.modalities import (
    CLIMATE_ZONE,
    ELEVATION,
    SEASON,
    SENTINEL1,
    SENTINEL2,
    WORLDCOVER,
    Kind,
    Modality,
)

MODALITIES = {each.name: each for each in (SENTINEL2, SENTINEL1, ELEVATION, WORLDCOVER, SEASON, CLIMATE_ZONE)}
KINDS = {
    "label": SINGLE_LABEL,
    "labels": MULTI_LABEL,
    "shares": REGRESSION,
    "cover": SEGMENTATION,
    "height": PIXEL_REGRESSION,
}


def fake_inputs(count: int, size: int, modalities: dict[str, Modality], seed: int = 0) -> dict[str, torch.Tensor]:
    generator = np.random.default_rng(seed)
    made = {
        "s2": generator.integers(1, 4000, (count, 12, size, size)).astype(np.uint16),
        "s1": generator.normal(-12, 3, (count, 2, size, size)).astype(np.float32),
        "elevation": generator.integers(-50, 3000, (count, 1, size, size)).astype(np.int16),
        "worldcover": generator.choice([10, 30, 40, 80], (count, 1, size, size)).astype(np.uint8),
        "season": generator.random((count, 2)).astype(np.float32),
        "climate_zone": generator.choice([15, 26], count).astype(np.uint8),
    }
    return {name: torch.from_numpy(made[name]) for name in modalities}


def fake_batch(count: int = 6, size: int = 16, modalities: dict[str, Modality] = MODALITIES, seed: int = 0) -> Batch:
    generator = np.random.default_rng(seed + 1)
    targets = {
        "label": generator.integers(0, 4, count),
        "labels": generator.integers(0, 2, (count, 3)).astype(np.float32),
        "shares": generator.dirichlet([1, 1, 1], count).astype(np.float32),
        "cover": generator.integers(0, 4, (count, size, size)).astype(np.uint8),
        "height": generator.normal(0, 1, (count, 1, size, size)).astype(np.float32),
    }
    everywhere = torch.ones(count, dtype=torch.bool)
    return Batch(
        np.arange(count),
        fake_inputs(count, size, modalities, seed),
        dict.fromkeys(modalities, everywhere),
        {name: torch.from_numpy(values) for name, values in targets.items()},
        dict.fromkeys(targets, everywhere),
    )


def missing(modality: Modality, values: torch.Tensor) -> torch.Tensor:
    """Which values a model would take for missing, of the same shape."""
    numbers = values.float()
    if modality.is_categorical:
        return ~torch.isin(numbers, torch.tensor([float(category.code) for category in modality.categories]))
    found = ~numbers.isfinite()
    return found if modality.nodata is None else found | (numbers == modality.nodata)


def rasters(modalities: dict[str, Modality]) -> list[str]:
    return [name for name, modality in modalities.items() if modality.kind is Kind.RASTER]

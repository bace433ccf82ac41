"""Small models and batches for the tests of models."""

from collections.abc import Callable, Sequence

import pytest
import torch
from fake_series import random_series, random_times
from torch import Tensor

from eofuse.kinds import MULTI_LABEL, SINGLE_LABEL
from eofuse.modalities import Kind, Modality
from eofuse.models.fusion import FusionOptions
from eofuse.models.model import HeadSpec, ModelSpec
from eofuse.models.normalisation import ChannelStatistics

torch.set_num_threads(1)

TINY_ENCODER = "test_resnet"
CODES = {"worldcover": (0, 10, 95, 100), "climate_zone": (7, 29, 255)}


@pytest.fixture
def make_spec() -> Callable[..., ModelSpec]:
    """Makes a specification with a tiny encoder; keyword arguments are fusion options."""

    def make(modalities: Sequence[Modality], patch_size: int = 64, **fusion: object) -> ModelSpec:
        numeric = [modality for modality in modalities if not modality.is_categorical]
        statistics = ChannelStatistics(
            mean={modality.name: [0.1] * len(modality.channels) for modality in numeric},
            std={modality.name: [0.5] * len(modality.channels) for modality in numeric},
            quantiles={modality.name: [[-2.0, -0.5, 0.1, 0.4, 2.0]] * len(modality.channels) for modality in numeric},
        )
        heads = {
            "land_cover": HeadSpec(MULTI_LABEL, ("forest", "water", "urban")),
            "zone": HeadSpec(SINGLE_LABEL, ("north", "south")),
        }
        options = FusionOptions(**{"encoder": TINY_ENCODER, **fusion})
        return ModelSpec(tuple(modalities), options, heads, statistics, (patch_size, patch_size))

    return make


@pytest.fixture
def make_inputs() -> Callable[..., dict[str, Tensor]]:
    """Makes a random batch in native dtype."""

    def make(modalities: Sequence[Modality], size: int = 64, batch_size: int = 3, seed: int = 0) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        inputs = {}
        for modality in modalities:
            shape = (batch_size, *modality.shape((size, size)))
            if modality.kind is Kind.SERIES:
                inputs[modality.name] = random_series(modality, batch_size, generator)
                continue
            if modality.kind is Kind.IMAGE_SERIES:
                inputs[modality.times_key] = random_times(modality, batch_size, generator)
            if modality.is_categorical:
                codes = torch.tensor(CODES[modality.name], dtype=torch.uint8)
                values = codes[torch.randint(len(codes), shape, generator=generator)]
            else:
                values = torch.randn(shape, generator=generator) / modality.scale
            inputs[modality.name] = values.abs().to(getattr(torch, modality.dtype))
        return inputs

    return make

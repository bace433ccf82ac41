"""Random series for the tests of models."""

import torch
from torch import Tensor

from eofuse.modalities import Modality


def random_series(modality: Modality, batch_size: int, generator: torch.Generator) -> Tensor:
    """Series (B, T, 1 + C) of one step and more, with gaps."""
    values = torch.randn(batch_size, *modality.shape((0, 0)), generator=generator)
    values[:, 1:, 1:][torch.rand(values[:, 1:, 1:].shape, generator=generator) < 0.2] = torch.nan
    values[..., 0] = 17_000 + 20 * torch.rand(values.shape[:2], generator=generator).add(0.1).cumsum(1)
    steps = torch.randint(1, values.shape[1] + 1, (batch_size, 1), generator=generator)
    values[torch.arange(values.shape[1]) >= steps] = torch.nan
    return values


def random_times(modality: Modality, batch_size: int, generator: torch.Generator) -> Tensor:
    """Times (B, T) of image series of one date and more, NaN where there is none."""
    times = 17_000 + 60 * torch.rand(batch_size, modality.steps or 1, generator=generator).add(0.1).cumsum(1)
    dates = torch.randint(1, times.shape[1] + 1, (batch_size, 1), generator=generator)
    return times.where(torch.arange(times.shape[1]) < dates, torch.nan)

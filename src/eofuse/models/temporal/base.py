"""What every temporal encoder is (`TemporalEncoder`, named in `TEMPORAL`), and what it takes, `Dates`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from eofuse.models.features import Features, FeatureSizes
from eofuse.registry import Registry

TEMPORAL: Registry["type[TemporalEncoder]"] = Registry("temporal encoder", "eofuse.temporal", "eofuse.models.temporal")
"""Every temporal encoder by its name in recipes."""


@dataclass(frozen=True)
class Dates:
    """What is known about each date of a batch of image series. Of dates that are not valid, all features are zeros.

    Attributes:
        vectors: (B, T, D), one vector a date.
        maps: (B, T, C, h, w) each, the finest first; empty where no head looks at them.
        strides: input pixels per map pixel, for each map.
        times: (B, T, K), features of the times (see `eofuse.models.normalisation.Normaliser`).
        valid: (B, T) bool, dates that exist and show a pixel.
        known: (B, T, 1, H, W), 1 at pixels that a date shows; None where valid dates show all of them.
    """

    vectors: Tensor
    maps: list[Tensor]
    strides: list[int]
    times: Tensor
    valid: Tensor
    known: Tensor | None

    def counted(self, level: int | None = None) -> Tensor:
        """Which dates count, one at least.

        Args:
            level: of the map; without it, for vectors.

        Returns:
            Of vectors (B, T, 1) bool; of a map (B, T, 1, h, w), or (B, T, 1, 1, 1) where valid dates count at every cell. Where no
            date shows a cell, all valid dates count there; where none is valid, all.
        """
        valid = self.valid | ~self.valid.any(1, keepdim=True)
        if level is None:
            return valid[..., None]
        dates: Tensor = valid[:, :, None, None, None]
        if self.known is None:
            return dates
        shape = self.maps[level].shape[-2:]
        shown = F.adaptive_max_pool2d(self.known.flatten(0, 1), shape).view(*self.known.shape[:3], *shape) > 0
        return shown | (dates & ~shown.any(1, keepdim=True))


class TemporalEncoder(nn.Module, ABC):
    """Makes the features of a series of those of its dates, whatever their number and order.

    Dates that are not valid must change nothing, nor must the order of the dates.

    Args:
        sizes: of the features of a date; those of the series have the same.
        time_width: features that tell the time of a date.
    """

    def __init__(self, sizes: FeatureSizes, time_width: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.time_width = time_width

    @abstractmethod
    def forward(self, dates: Dates) -> Features:
        """Features of the series: a (B, D) vector and, where the dates have maps, (B, C, h, w) maps."""

"""`Statistics`: mean and deviation of each channel of a raster, which know nothing of where."""

from collections.abc import Sequence

import torch
from torch import Tensor

from eofuse.modalities import Modality
from eofuse.models.encoders.base import ENCODERS, Encoder
from eofuse.models.features import Features, FeatureSizes


@ENCODERS.register("statistics")
class Statistics(Encoder):
    """Gives the mean and the deviation of each channel of a raster over its pixels, without weights."""

    def __init__(self, modalities: Sequence[Modality], pixels: bool = False) -> None:
        super().__init__(modalities, pixels)
        self.sizes = FeatureSizes(vector=2 * sum(modality.width for modality in modalities))

    def forward(self, values: Tensor) -> Features:
        """Features of (B, C, H, W) normalised values: a (B, 2 C) vector and no maps."""
        pixels = values.float().flatten(2)
        return Features(vector=torch.cat([pixels.mean(2), pixels.std(2, correction=0)], 1))

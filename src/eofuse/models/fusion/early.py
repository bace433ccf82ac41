"""`Early`: all channels together before one encoder; numbers and categories become constant planes."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from eofuse.modalities import Modality
from eofuse.models.encoders import Encoder, RasterEncoder, VectorEncoder
from eofuse.models.features import Features
from eofuse.models.fusion.base import Fusion, FusionOptions, split_kinds


class Early(Fusion):
    """Concatenates everything at the input.

    Vectors and one-hot categories join the rasters as planes, each filled with its value ("blow-up"). Where there is no
    raster, the vectors are concatenated and encoded together.
    """

    def __init__(self, modalities: Sequence[Modality], options: FusionOptions, pixels: bool = False) -> None:
        super().__init__(modalities, options, pixels)
        rasters, scalars = split_kinds(modalities)
        self.rasters = [modality.name for modality in rasters]
        self.scalars = [modality.name for modality in scalars]
        width = sum(modality.width for modality in modalities)
        self.encoder: Encoder = RasterEncoder(options.encoder, width, pixels) if rasters else VectorEncoder(width)
        self.sizes = [self.encoder.sizes]

    def forward(self, inputs: Mapping[str, Tensor]) -> list[Features]:
        """Features of the stack of all modalities."""
        return [self.encoder(self.stack(inputs))]

    def stack(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The encoder's input: (B, C, H, W) with rasters first and planes last, or (B, C) where there is no raster."""
        rasters = [inputs[name] for name in self.rasters]
        scalars = [inputs[name] for name in self.scalars]
        if not rasters:
            return torch.cat(scalars, 1)
        height, width = rasters[0].shape[-2:]
        planes = [values[:, :, None, None].expand(-1, -1, height, width) for values in scalars]
        return torch.cat(rasters + planes, 1)

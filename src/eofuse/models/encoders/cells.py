"""`CellEncoder`: a small network for rasters on a coarse grid, such as the tokens of a pretrained model."""

from collections.abc import Sequence

from torch import Tensor, nn

from eofuse.modalities import Modality
from eofuse.models.encoders.base import ENCODERS, Encoder
from eofuse.models.encoders.raster import prepare_rasters
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.parts import Part, tensors_of

CELLS = "cells"
"""Its name, which rasters with cells have where no other is named."""

WIDTH = 64
"""Channels of the map that a `CellEncoder` gives."""


@ENCODERS.register(CELLS)
class CellEncoder(Encoder):
    """Joins the channels of each cell of a coarse raster, and then those of its neighbours, at one resolution."""

    def __init__(self, modalities: Sequence[Modality], pixels: bool = False) -> None:
        super().__init__(modalities, pixels)
        (modality,) = modalities
        self.layers = nn.Sequential(
            nn.Conv2d(modality.width, WIDTH, 1),
            nn.GroupNorm(1, WIDTH),
            nn.GELU(),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            nn.GroupNorm(1, WIDTH),
            nn.GELU(),
        )
        self.sizes = FeatureSizes(WIDTH, [WIDTH], [modality.cell])

    def forward(self, values: Tensor) -> Features:
        """Features of (B, C, h, w) normalised values: a map (B, 64, h, w) of whole cells, and its mean."""
        cells = self.layers(prepare_rasters(values, self.pad_to))
        return Features(cells.mean((2, 3)), [cells], list(self.sizes.strides))

    def parts(self, path: str) -> list[Part]:
        """Itself, whose first layer is put together by the names of its inputs."""
        return [Part(path, CELLS, tensors_of(self, path), self.columns, "layers.0.weight")]

"""`Late`: an encoder for each modality, whose vectors are joined through a hidden layer."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from eofuse.errors import UsageError
from eofuse.modalities import Modality
from eofuse.models.encoders import RasterEncoder, build_encoder, prepare_rasters
from eofuse.models.features import Features
from eofuse.models.fusion.base import (
    Fusion,
    FusionOptions,
    JoinVectors,
    concatenate_maps,
    concatenated_sizes,
    split_kinds,
)
from eofuse.models.fusion.conditioning import ConditionMaps


class Late(Fusion):
    """Encodes each modality and joins the vectors; the maps of the rasters are concatenated level by level.

    Where a head looks at pixels, numbers and categories condition the maps. With `weights: shared`, the rasters have a
    first convolution each and one trunk between them.

    Raises:
        UsageError: if weights are to be shared by fewer than two rasters, or the encoder's first layer can't be taken.
    """

    def __init__(self, modalities: Sequence[Modality], options: FusionOptions, pixels: bool = False) -> None:
        super().__init__(modalities, options, pixels)
        rasters, scalars = split_kinds(modalities)
        self.rasters = [modality.name for modality in rasters]
        self.scalars = [modality.name for modality in scalars]
        self.order = [modality.name for modality in modalities]
        own = scalars if options.weights == "shared" else modalities
        encoders = {modality.name: build_encoder(modality, options.encoder, pixels) for modality in own}
        self.encoders = nn.ModuleDict(encoders)
        self.trunk = SharedTrunk(rasters, options.encoder, pixels) if options.weights == "shared" else None
        sizes = {name: encoder.sizes for name, encoder in encoders.items()}
        if self.trunk is not None:
            sizes |= dict.fromkeys(self.rasters, self.trunk.encoder.sizes)
        self.join = JoinVectors([sizes[name].vector for name in self.order])
        self.sizes = [concatenated_sizes(self.join.width, [sizes[name] for name in self.rasters])]
        widths = [sizes[name].vector for name in self.scalars]
        self.conditioning = ConditionMaps(widths, self.sizes[0].maps) if pixels and rasters and scalars else None

    def forward(self, inputs: Mapping[str, Tensor]) -> list[Features]:
        """Features of all modalities together."""
        features = {name: encoder(inputs[name]) for name, encoder in self.encoders.items()}
        if self.trunk is not None:
            features |= self.trunk(inputs)
        vector = self.join([features[name].vector for name in self.order])
        maps = concatenate_maps([features[name] for name in self.rasters])
        if self.conditioning is not None:
            maps = self.conditioning([features[name].vector for name in self.scalars], maps)
        return [Features(vector, maps, self.sizes[0].strides)]


class SharedTrunk(nn.Module):
    """One network over several rasters, each with its own first convolution.

    All rasters pass the trunk in one go, one below another on the batch axis: batch norm then learns the statistics
    that it meets in evaluation, which it does not when they pass one after another.

    Args:
        modalities: the rasters, two or more.
        encoder: timm name of the network.
        pixels: whether the maps are looked at, as in `RasterEncoder`.
    """

    def __init__(self, modalities: Sequence[Modality], encoder: str, pixels: bool = False) -> None:
        super().__init__()
        if len(modalities) < 2:
            raise UsageError(
                f"weights can't be shared by {len(modalities)} raster modalities",
                where="fusion.weights",
                fix="name two or more rasters, or use weights: separate",
            )
        encoders = {modality.name: RasterEncoder(encoder, modality.width, pixels) for modality in modalities}
        self.stems = nn.ModuleDict({name: encoder.take_stem() for name, encoder in encoders.items()})
        self.encoder = next(iter(encoders.values()))

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Features]:
        """Features of each raster, by name."""
        stems = [stem(prepare_rasters(inputs[name], self.encoder.pad_to)) for name, stem in self.stems.items()]
        together = self.encoder.encode(torch.cat(stems, 0))
        count = len(stems)
        vectors = together.vector.chunk(count)
        maps = zip(*(level.chunk(count) for level in together.maps), strict=True)
        return {
            name: Features(vector, list(pyramid), together.strides)
            for name, vector, pyramid in zip(self.stems, vectors, maps, strict=True)
        }

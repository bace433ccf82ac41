"""`Middle`: an encoder's lower stages for each raster, whose maps are joined before its upper stages."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from eofuse.errors import UsageError
from eofuse.modalities import Modality
from eofuse.models.encoders import RasterEncoder, build_encoder, prepare_rasters
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.fusion.base import Fusion, FusionOptions, JoinVectors, split_kinds
from eofuse.models.fusion.conditioning import ConditionMaps


class Middle(Fusion):
    """Joins rasters at a stage of the encoder, and numbers and categories at its end.

    A single raster has the whole encoder to itself. Where a head looks at pixels, numbers and categories condition the maps.

    Raises:
        UsageError: if the encoder has no such stage below its last, or can't be cut.
    """

    def __init__(self, modalities: Sequence[Modality], options: FusionOptions, pixels: bool = False) -> None:
        super().__init__(modalities, options, pixels)
        rasters, scalars = split_kinds(modalities)
        several = len(rasters) > 1
        self.pyramid = JoinedPyramid(rasters, options.encoder, options.stage, pixels) if several else None
        own = scalars if several else rasters + scalars
        encoders = {modality.name: build_encoder(modality, options.encoder, pixels) for modality in own}
        self.encoders = nn.ModuleDict(encoders)
        sizes = [] if self.pyramid is None else [self.pyramid.sizes]
        sizes += [encoder.sizes for encoder in encoders.values()]
        self.join = JoinVectors([size.vector for size in sizes])
        self.sizes = [FeatureSizes(self.join.width, sizes[0].maps, sizes[0].strides)]
        conditioned = pixels and rasters and scalars
        self.conditioning = ConditionMaps([size.vector for size in sizes[1:]], sizes[0].maps) if conditioned else None

    def forward(self, inputs: Mapping[str, Tensor]) -> list[Features]:
        """Features of all modalities together; maps below the join are the modalities' own, concatenated."""
        features = [encoder(inputs[name]) for name, encoder in self.encoders.items()]
        if self.pyramid is not None:
            features.insert(0, self.pyramid(inputs))
        vector = self.join([feature.vector for feature in features])
        maps = features[0].maps
        if self.conditioning is not None:
            maps = self.conditioning([feature.vector for feature in features[1:]], maps)
        return [Features(vector, maps, features[0].strides)]


class JoinedPyramid(nn.Module):
    """One pyramid over several rasters: lower stages each, joined by a 1×1 convolution, then upper stages for all.

    Args:
        modalities: the rasters, two or more.
        encoder: timm name of the network.
        stage: number of lower stages.
        pixels: whether the maps are looked at, as in `RasterEncoder`.
    """

    def __init__(self, modalities: Sequence[Modality], encoder: str, stage: int, pixels: bool = False) -> None:
        super().__init__()
        encoders = {modality.name: RasterEncoder(encoder, modality.width, pixels) for modality in modalities}
        first = next(iter(encoders.values()))
        depth = len(first.stages)
        if stage >= depth:
            raise UsageError(
                f"maps can't be joined after stage {stage}: '{encoder}' has {depth} stages",
                where="fusion.stage",
                fix=f"choose 1 to {depth - 1}",
            )
        self.pad_to = first.pad_to
        count, width = len(encoders), first.sizes.maps[stage - 1]
        self.lower = nn.ModuleDict({name: network.stages[:stage] for name, network in encoders.items()})
        self.upper = first.stages[stage:]
        self.join = nn.Sequential(nn.Conv2d(count * width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        below = [count * channels for channels in first.sizes.maps[: stage - 1]]
        self.sizes = FeatureSizes(first.sizes.vector, below + first.sizes.maps[stage - 1 :], first.sizes.strides)

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """Features of the rasters together."""
        pyramids = []
        for name, stages in self.lower.items():
            x = prepare_rasters(inputs[name], self.pad_to)
            pyramid = []
            for stage in stages.children():
                x = stage(x)
                pyramid.append(x)
            pyramids.append(pyramid)
        maps = [torch.cat(level, 1) for level in zip(*pyramids, strict=True)]
        maps[-1] = self.join(maps[-1])
        for stage in self.upper:
            maps.append(stage(maps[-1]))
        return Features(maps[-1].mean((2, 3)), maps, list(self.sizes.strides))

"""`Middle`: an encoder's lower stages for each raster, whose maps are joined before its upper stages."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from eofuse.errors import UsageError
from eofuse.modalities import Modality
from eofuse.models.encoders import Encoder, RasterEncoder, build_encoders, first_convolution, prepare_rasters
from eofuse.models.encoders.raster import raster_part
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.fusion.base import (
    FUSIONS,
    ConditionMaps,
    Fusion,
    FusionOptions,
    JoinByName,
    refuse_cells,
    refuse_image_series,
    split_kinds,
)
from eofuse.models.fusion.missing import Present, Rows, Tokens, encode_present, padded_size, presence
from eofuse.models.parts import Part, columns_of, numbered_columns, tensors_of


@FUSIONS.register("middle")
class Middle(Fusion):
    """Joins rasters at a stage of the encoder, and numbers and categories at its end.

    A single raster has the whole encoder to itself. Where a head looks at pixels, numbers and categories condition the maps.

    Raises:
        UsageError: if the encoder has no such stage below its last, or can't be cut; or for an image series.
    """

    def __init__(self, modalities: Sequence[Modality], options: FusionOptions, pixels: bool = False) -> None:
        super().__init__(modalities, options, pixels)
        refuse_image_series(modalities, "middle", "it joins maps inside an encoder, where each date has its own")
        rasters, scalars = split_kinds(modalities)
        several = len(rasters) > 1
        if several:
            refuse_cells(rasters, "middle fusion joins rasters of one resolution")
        self.pyramid = JoinedPyramid(rasters, options.encoder, options.stage, pixels) if several else None
        encoders = build_encoders(scalars if several else rasters + scalars, options, pixels)
        self.encoders = nn.ModuleDict(encoders)
        sizes = {} if self.pyramid is None else {"+".join(self.pyramid.lower): self.pyramid.sizes}
        sizes |= {name: encoder.sizes for name, encoder in encoders.items()}
        self.pixels = pixels
        self.tokens: Tokens | None = None
        self.flags: list[str] = []
        if options.missing == "token":
            lower = {} if self.pyramid is None else dict.fromkeys(self.pyramid.lower, self.pyramid.lower_sizes)
            self.tokens = Tokens(lower | {name: encoder.sizes for name, encoder in encoders.items()})
            self.flags = [modality.name for modality in modalities]
        widths = {name: size.vector for name, size in sizes.items()}
        self.join = JoinByName("middle.join", widths, self.flags)
        first, *others = sizes.values()
        self.sizes = [FeatureSizes(self.join.width, first.maps, first.strides)]
        conditioned = pixels and rasters and scalars
        self.conditioning = ConditionMaps([size.vector for size in others], first.maps) if conditioned else None

    @classmethod
    def title(cls, options: FusionOptions) -> str:
        """What it is called in reports."""
        return f"{options.strategy} (stage {options.stage})"

    def forward(self, inputs: Mapping[str, Tensor], present: Present | None = None) -> list[Features]:
        """Features of all modalities together; maps below the join are the modalities' own, concatenated."""
        tokens = self.tokens if present is not None else None
        features = []
        for encoder in self.encoders.values():
            assert isinstance(encoder, Encoder)
            features.append(encode_present(encoder, inputs, present, tokens, self.pixels))
        if self.pyramid is not None:
            features.insert(0, self.pyramid(inputs, present, tokens))
        vectors = [feature.vector for feature in features]
        if self.flags:
            vectors.append(presence(present, self.flags, vectors[0]))
        vector = self.join(vectors)
        maps = features[0].maps
        if self.conditioning is not None:
            maps = self.conditioning([feature.vector for feature in features[1:]], maps)
        return [Features(vector, maps, features[0].strides)]


class JoinedPyramid(nn.Module):
    """One pyramid over several rasters: lower stages each, joined by a 1×1 convolution, then upper stages for all."""

    def __init__(self, modalities: Sequence[Modality], encoder: str, stage: int, pixels: bool = False) -> None:
        super().__init__()
        encoders = {modality.name: RasterEncoder(encoder, modality.width, pixels) for modality in modalities}
        first = next(iter(encoders.values()))
        depth = len(first.stages)
        if stage >= depth:
            what = f"maps can't be joined after stage {stage}: '{encoder}' has {depth} stages"
            raise UsageError(what, where="fusion.stage", fix=f"choose 1 to {depth - 1}")
        self.pad_to, self.network = first.pad_to, encoder
        self.modalities = tuple(modalities)
        count, width = len(encoders), first.sizes.maps[stage - 1]
        self.lower = nn.ModuleDict({name: network.stages[:stage] for name, network in encoders.items()})
        self.upper = first.stages[stage:]
        self.join = nn.Sequential(nn.Conv2d(count * width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.lower_sizes = FeatureSizes(0, first.sizes.maps[:stage], first.sizes.strides[:stage])
        below = [count * channels for channels in first.sizes.maps[: stage - 1]]
        self.sizes = FeatureSizes(first.sizes.vector, below + first.sizes.maps[stage - 1 :], first.sizes.strides)

    def parts(self, path: str) -> list[Part]:
        """An encoder for each raster, of its lower stages and the common upper ones; and the join."""
        parts = []
        for modality in self.modalities:
            lower: Any = self.lower[modality.name]
            tensors = tensors_of(lower, f"{path}.lower.{modality.name}", "body.stages.")
            for index, upper in enumerate(self.upper, len(lower)):
                tensors |= tensors_of(upper, f"{path}.upper.{index - len(lower)}", f"body.stages.{index}.")
            stem, first = first_convolution(lower)
            title, stem = f"{path}.{modality.name}", f"body.stages.{stem}"
            parts.append(raster_part(title, self.network, tensors, columns_of(modality), stem, first))
        joined: Any = self.join[0]
        columns = numbered_columns(dict.fromkeys(self.lower, joined.in_channels // len(self.lower)))
        tensors = tensors_of(self.join, f"{path}.join")
        return [*parts, Part(f"{path}.join", "pyramid.join", tensors, columns, "0.weight", identity=len(lower))]

    def forward(
        self, inputs: Mapping[str, Tensor], present: Present | None = None, tokens: Tokens | None = None
    ) -> Features:
        """Features of the rasters together; with tokens, an absent raster has learned maps at the join and below."""
        pyramids = []
        for name in self.lower:
            lower, size = partial(self._lower, name, inputs[name]), padded_size(inputs[name], self.pad_to)
            if present is None or tokens is None:
                pyramids.append(lower(slice(None)).maps)
            else:
                pyramids.append(tokens.encode(name, lower, present[name], size).maps)
        maps = [torch.cat(level, 1) for level in zip(*pyramids, strict=True)]
        maps[-1] = self.join(maps[-1])
        for stage in self.upper:
            maps.append(stage(maps[-1]))
        return Features(maps[-1].mean((2, 3)), maps, list(self.sizes.strides))

    def _lower(self, name: str, values: Tensor, rows: Rows) -> Features:
        """The maps of a raster below the join, of some patches; there is no vector yet."""
        x, maps = prepare_rasters(values[rows], self.pad_to), []
        for stage in self.lower[name].children():
            x = stage(x)
            maps.append(x)
        return Features(x.new_zeros(x.shape[0], 0), maps, list(self.lower_sizes.strides))

"""`PerModality`: what strategies with an encoder for each modality share; `SharedTrunk`: one network over several rasters."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from eofuse.errors import UsageError
from eofuse.modalities import Modality
from eofuse.models.encoders import RasterEncoder, build_encoder, prepare_rasters
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.fusion.absence import Present, Rows, Tokens, encode_rows, padded_size
from eofuse.models.fusion.base import Fusion, FusionOptions, concatenate_maps, concatenated_sizes, split_kinds
from eofuse.models.fusion.conditioning import ConditionMaps


class PerModality(Fusion):
    """Encodes each modality by itself; with `weights: shared`, the rasters have a first convolution each and one trunk.

    Attributes:
        order: names of the modalities.
        rasters: of those with pixels.
        scalars: of the others.
        widths: length of the vector of each modality, by name.
    """

    def __init__(self, modalities: Sequence[Modality], options: FusionOptions, pixels: bool = False) -> None:
        super().__init__(modalities, options, pixels)
        rasters, scalars = split_kinds(modalities)
        self.rasters = [modality.name for modality in rasters]
        self.scalars = [modality.name for modality in scalars]
        self.order = [modality.name for modality in modalities]
        own = scalars if options.weights == "shared" else modalities
        encoders = {modality.name: build_encoder(modality, options, pixels) for modality in own}
        self.encoders = nn.ModuleDict(encoders)
        self.trunk = SharedTrunk(rasters, options.encoder, pixels) if options.weights == "shared" else None
        found = {name: encoder.sizes for name, encoder in encoders.items()}
        if self.trunk is not None:
            found |= dict.fromkeys(self.rasters, self.trunk.encoder.sizes)
        self.feature_sizes: dict[str, FeatureSizes] = {name: found[name] for name in self.order}
        self.widths = {name: size.vector for name, size in self.feature_sizes.items()}
        self.tokens = Tokens(self.feature_sizes) if options.missing == "token" else None
        self.pixels = pixels
        maps = concatenated_sizes(0, [self.feature_sizes[name] for name in self.rasters])
        self.maps, self.strides = maps.maps, maps.strides
        self.conditioning: ConditionMaps | None = None

    def encode(self, inputs: Mapping[str, Tensor], present: Present | None) -> dict[str, Features]:
        """Features of each modality, by name; of absent ones, tokens."""
        features = {name: self.encode_one(name, inputs, present) for name in self.encoders}
        if self.trunk is None:
            return features
        if present is None or self.tokens is None:
            encoded: dict[str, Features] = self.trunk(inputs)
            return features | encoded
        return features | self.trunk.encode_present(inputs, present, self.tokens, self.pixels)

    def encode_one(
        self,
        name: str,
        inputs: Mapping[str, Tensor],
        present: Present | None,
        encode: Callable[[Rows], Features] | None = None,
    ) -> Features:
        """Features of a modality with an encoder of its own; tokens where it is absent.

        Args:
            name: the modality.
            inputs: as in `forward`.
            present: as in `forward`.
            encode: features of some rows of the batch; those of the modality's encoder by default.
        """
        encoder, values = self.encoders[name], inputs[name]
        encode = encode or partial(encode_rows, encoder, values)
        if present is None or self.tokens is None:
            return encode(slice(None))
        size = padded_size(values, encoder.pad_to) if self.pixels and isinstance(encoder, RasterEncoder) else None
        return self.tokens.encode(name, encode, present[name], size)

    def condition_maps(self) -> None:
        """Lets what has no pixels condition the maps, where a head looks at them."""
        if self.pixels and self.rasters and self.scalars:
            self.conditioning = ConditionMaps([self.widths[name] for name in self.scalars], self.maps)

    def join_maps(self, features: Mapping[str, Features]) -> list[Tensor]:
        """The maps of all rasters level by level, conditioned after `condition_maps`."""
        maps = concatenate_maps([features[name] for name in self.rasters])
        if self.conditioning is None:
            return maps
        conditioned: list[Tensor] = self.conditioning([features[name].vector for name in self.scalars], maps)
        return conditioned


class JoinedByModule(PerModality):
    """One vector from those of all modalities, by a module; the maps of rasters are concatenated as in `Late`.

    Attributes:
        join_type: the module. It takes the length of each vector by modality name, has a `width`, and makes one (B, width) vector from
            the vectors (B, D) by name and, where absent modalities have no tokens, from which patches have them.
    """

    join_type: ClassVar[type[nn.Module]]

    def __init__(self, modalities: Sequence[Modality], options: FusionOptions, pixels: bool = False) -> None:
        super().__init__(modalities, options, pixels)
        self.joining = self.join_type(self.widths)
        self.condition_maps()
        width: Any = self.joining.width
        self.sizes = [FeatureSizes(width, self.maps, self.strides)]

    def forward(self, inputs: Mapping[str, Tensor], present: Present | None = None) -> list[Features]:
        """Features of all modalities together."""
        features = self.encode(inputs, present)
        vectors = {name: features[name].vector for name in self.order}
        vector = self.joining(vectors, present if self.tokens is None else None)
        return [Features(vector, self.join_maps(features), self.strides)]


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
        return self._encode({name: inputs[name] for name in self.stems})

    def encode_present(
        self, inputs: Mapping[str, Tensor], present: Present, tokens: Tokens, pixels: bool
    ) -> dict[str, Features]:
        """Features of each raster where it is present, tokens elsewhere."""
        rows = {name: present[name].nonzero()[:, 0] for name in self.stems}
        there = {name: inputs[name][found] for name, found in rows.items() if len(found)}
        if sum(map(len, there.values())) == 1:
            there = {name: values.repeat(2, 1, 1, 1) for name, values in there.items()}
        encoded = self._encode(there) if there else {}
        features = {}
        for name, found in rows.items():
            values = inputs[name]
            size = padded_size(values, self.encoder.pad_to) if pixels else None
            features[name] = tokens.scatter(name, encoded.get(name), found, len(values), size)
        return features

    def _encode(self, inputs: Mapping[str, Tensor]) -> dict[str, Features]:
        stems = [self.stems[name](prepare_rasters(values, self.encoder.pad_to)) for name, values in inputs.items()]
        together = self.encoder.encode(torch.cat(stems, 0))
        counts = [len(values) for values in inputs.values()]
        vectors = torch.split_with_sizes(together.vector, counts)
        maps = zip(*(torch.split_with_sizes(level, counts) for level in together.maps), strict=True)
        return {
            name: Features(vector, list(pyramid), together.strides)
            for name, vector, pyramid in zip(inputs, vectors, maps, strict=True)
        }

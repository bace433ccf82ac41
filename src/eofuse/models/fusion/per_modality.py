"""`PerModality`: what strategies with an encoder for each modality share; `SharedTrunk`: one network over several rasters."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eofuse.errors import UsageError
from eofuse.modalities import Modality
from eofuse.models.encoders import RasterEncoder, build_encoders, prepare_rasters
from eofuse.models.encoders.raster import raster_part
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.fusion.base import ConditionMaps, Fusion, FusionOptions, common_levels, refuse_cells, split_kinds
from eofuse.models.fusion.missing import Present, Rows, Tokens, encode_present, padded_size, rows_of
from eofuse.models.parts import Part, columns_of, tensors_of


class PerModality(Fusion):
    """Encodes each modality by itself; with `weights: shared`, the rasters have a first convolution each and one trunk.

    Where one encoder takes several modalities together, these count as one, whose name has a `+` between theirs.

    Attributes:
        order: names of what is encoded: modalities, or groups of them with one encoder.
        members: by that name, the modalities.
        rasters: names of those with maps.
        scalars: of the others.
        widths: length of the vector of each, by name.
    """

    def __init__(self, modalities: Sequence[Modality], options: FusionOptions, pixels: bool = False) -> None:
        super().__init__(modalities, options, pixels)
        rasters, scalars = split_kinds(modalities)
        is_shared = options.weights == "shared"
        encoders = build_encoders(scalars if is_shared else modalities, options, pixels)
        self.encoders = nn.ModuleDict(encoders)
        self.trunk = SharedTrunk(rasters, options.encoder, pixels) if is_shared else None
        if pixels and not is_shared:
            multiple = math.lcm(*(encoder.pad_to * encoder.cell for encoder in encoders.values()))
            for encoder in encoders.values():
                encoder.pad_to = multiple // encoder.cell if encoder.sizes.maps else encoder.pad_to
        members = {name: encoder.names for name, encoder in encoders.items()}
        if self.trunk is not None:
            members |= {modality.name: [modality.name] for modality in rasters}
        places = {modality.name: place for place, modality in enumerate(modalities)}
        self.order = sorted(members, key=lambda name: places[members[name][0]])
        self.members = {name: members[name] for name in self.order}
        shared = {} if self.trunk is None else dict.fromkeys(self.trunk.stems, self.trunk.encoder.sizes)
        self.feature_sizes = {name: shared[name] if name in shared else encoders[name].sizes for name in self.order}
        self.widths = {name: size.vector for name, size in self.feature_sizes.items()}
        self.rasters = [name for name, size in self.feature_sizes.items() if size.maps]
        self.scalars = [name for name in self.order if name not in self.rasters]
        self.tokens = Tokens(self.feature_sizes) if options.missing == "token" else None
        self.flags = [modality.name for modality in modalities] if self.tokens is not None else []
        self.pixels = pixels
        cells = {name: encoder.cell for name, encoder in encoders.items()}
        finest = min((cells.get(name, 1) for name in self.rasters), default=1)
        self.joined_at = JoinedLevels(
            {name: self.feature_sizes[name] for name in self.rasters},
            [name for name in self.rasters if cells.get(name, 1) == finest],
        )
        if pixels and self.rasters and not self.joined_at.strides:
            fix = "choose encoders with a stride in common"
            raise UsageError("the encoders have no maps of the same stride", where="fusion.encoders", fix=fix)
        self.maps, self.strides = self.joined_at.widths, self.joined_at.strides
        self.conditioning: ConditionMaps | None = None

    def encode(self, inputs: Mapping[str, Tensor], present: Present | None) -> dict[str, Features]:
        """Features of each modality or group, by name; of absent ones, tokens."""
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
        """Features of what has an encoder of its own; tokens where it is absent.

        Args:
            name: of the encoder.
            inputs: as in `forward`.
            present: as in `forward`.
            encode: features of some rows of the batch; those of the encoder by default.
        """
        encoder: Any = self.encoders[name]
        return encode_present(encoder, inputs, present, self.tokens, self.pixels, encode)

    def by_encoder(self, present: Present) -> dict[str, Tensor]:
        """Which patches have something to encode, by the names in `order`."""
        return {name: torch.stack([present[each] for each in group]).any(0) for name, group in self.members.items()}

    def join_vectors(self, vectors: Mapping[str, Tensor], present: Present | None) -> Tensor | None:
        """One (B, `joined_width`) vector from those of all modalities, (B, D) by name; None where no layer joins them by itself."""
        return None

    @property
    def joined_width(self) -> int:
        """Length of the vector of `join_vectors`, 0 where there is none."""
        return 0

    def condition_maps(self) -> None:
        """Lets what has no pixels condition the maps, where a head looks at them."""
        if self.pixels and self.rasters and self.scalars:
            self.conditioning = ConditionMaps([self.widths[name] for name in self.scalars], self.maps)

    def join_maps(self, features: Mapping[str, Features]) -> list[Tensor]:
        """The maps of all rasters level by level, conditioned after `condition_maps`."""
        maps = self.joined_at.join({name: features[name].maps for name in self.rasters})
        if self.conditioning is None:
            return maps
        conditioned: list[Tensor] = self.conditioning([features[name].vector for name in self.scalars], maps)
        return conditioned


class JoinedLevels:
    """Which maps of several encoders are concatenated: of those on the finest grid, the levels of strides that all of them have.

    Maps of a coarser grid, such as tokens of a pretrained model, are enlarged to the level with the nearest finer stride.

    Args:
        sizes: of the features of each encoder with maps, by its name.
        finest: names of those whose rasters have the finest grid.

    Attributes:
        strides: of the levels, in pixels of the patch.
        widths: channels of each level.
    """

    def __init__(self, sizes: Mapping[str, FeatureSizes], finest: Sequence[str]) -> None:
        self.finest = list(finest)
        levels = common_levels([sizes[name] for name in finest]) if finest else []
        self.strides = [sizes[self.finest[0]].strides[level] for level in levels[0]] if levels else []
        self.places: dict[str, list[tuple[int, int]]] = {}
        for name, size in sizes.items():
            if name in self.finest:
                self.places[name] = [(own, level) for level, own in enumerate(levels[self.finest.index(name)])]
            elif self.strides:
                finer = [sum(stride <= own for stride in self.strides) - 1 for own in size.strides]
                self.places[name] = [(own, max(level, 0)) for own, level in enumerate(finer)]
        self.widths = [0] * len(self.strides)
        for name, places in self.places.items():
            for own, level in places:
                self.widths[level] += sizes[name].maps[own]

    def join(self, maps: Mapping[str, Sequence[Tensor]]) -> list[Tensor]:
        """The maps of all encoders level by level, of maps (B, C, h, w) by name; none where an encoder gave none."""
        if not self.finest or not all(maps.values()):  # tokens without pixels
            return []
        joined: list[list[Tensor]] = [[] for _ in self.strides]
        sizes = {level: maps[self.finest[0]][own].shape[-2:] for own, level in self.places[self.finest[0]]}
        for name, places in self.places.items():
            for own, level in places:
                given = maps[name][own]
                if name not in self.finest:
                    given = F.interpolate(given, size=sizes[level], mode="bilinear")
                joined[level].append(given)
        return [torch.cat(level, 1) for level in joined]


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
        lacking = present is not None and self.tokens is None
        vector = self.joining(vectors, self.by_encoder(present) if lacking and present else None)
        return [Features(vector, self.join_maps(features), self.strides)]


class SharedTrunk(nn.Module):
    """One network over several rasters, each with its own first convolution.

    All rasters pass the trunk in one go, one below another on the batch axis: batch norm then learns the statistics
    that it meets in evaluation, which it does not when they pass one after another.
    """

    def __init__(self, modalities: Sequence[Modality], encoder: str, pixels: bool = False) -> None:
        super().__init__()
        if len(modalities) < 2:
            what = f"weights can't be shared by {len(modalities)} raster modalities"
            fix = "name two or more rasters, or use weights: separate"
            raise UsageError(what, where="fusion.weights", fix=fix)
        refuse_cells(modalities, "shared weights pass all rasters at one resolution")
        self.modalities = tuple(modalities)
        encoders = {modality.name: RasterEncoder(encoder, modality.width, pixels) for modality in modalities}
        self.stems = nn.ModuleDict({name: encoder.take_stem() for name, encoder in encoders.items()})
        self.encoder = next(iter(encoders.values()))

    def parts(self, path: str) -> list[Part]:
        """An encoder for each raster: its own first convolution, and the trunk."""
        parts = []
        for modality in self.modalities:
            stem: Any = self.stems[modality.name]
            tensors = tensors_of(self.encoder, f"{path}.encoder")
            tensors |= tensors_of(stem, f"{path}.stems.{modality.name}", f"{self.encoder.stem}.")
            title, network = f"{path}.{modality.name}", self.encoder.name
            parts.append(raster_part(title, network, tensors, columns_of(modality), self.encoder.stem, stem))
        return parts

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Features]:
        """Features of each raster, by name."""
        return self._encode({name: inputs[name] for name in self.stems})

    def encode_present(
        self, inputs: Mapping[str, Tensor], present: Present, tokens: Tokens, pixels: bool
    ) -> dict[str, Features]:
        """Features of each raster where it is present, tokens elsewhere."""
        rows = {name: rows_of(present[name]) for name in self.stems}
        chosen = {name: inputs[name][found] for name, found in rows.items() if len(found)}
        if sum(map(len, chosen.values())) == 1:
            chosen = {name: values.repeat(2, 1, 1, 1) for name, values in chosen.items()}
        encoded = self._encode(chosen) if chosen else {}
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

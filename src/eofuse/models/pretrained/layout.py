"""The parts of a model by names that do not depend on its fusion: `Part`, `parts_of`, `distances`.

Every strategy puts its encoders elsewhere and cuts them elsewhere. As parts they look alike: each raster encoder has its tensors
under the names that they have in a `RasterEncoder`, and a first layer whose inputs have names. A trunk that several rasters share
is a part of each of them.
"""

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import nn

from eofuse.modalities import Channel, Modality
from eofuse.models.encoders import Encoder, RasterEncoder, SeriesEncoder, first_convolution
from eofuse.models.fusion.base import split_kinds
from eofuse.models.fusion.early import Early
from eofuse.models.fusion.late import Late
from eofuse.models.fusion.middle import Middle
from eofuse.models.fusion.single import Single
from eofuse.models.model import Model
from eofuse.models.pretrained.stems import Column, columns_of


@dataclass(frozen=True)
class Part:
    """A part of a model.

    Attributes:
        title: where it is, for people.
        kind: parts of the same kind can start from each other.
        tensors: by the name within the part, the name in the model.
        columns: what the inputs of its first layer mean.
        first: name within the part of the first layer's weight, "" where it has none whose inputs are the columns.
        identity: what must be equal for parts without named columns.
    """

    title: str
    kind: str
    tensors: dict[str, str]
    columns: tuple[Column, ...] = ()
    first: str = ""
    identity: Hashable = None

    def sees(self, modality: str) -> bool:
        """Whether a modality comes into it."""
        return any(column.modality == modality for column in self.columns)


def parts_of(model: Model) -> list[Part]:
    """Every part of a model, in the order in which values pass them; the normalisation is none."""
    modalities = {modality.name: modality for modality in model.normaliser.gives}
    names = tuple(modalities)
    fusion: Any = model.fusion  # a strategy, whose encoders are told apart here
    if isinstance(fusion, Single):
        parts = [_encoder("encoder", fusion.encoder, [modalities[fusion.modality]])]
    elif isinstance(fusion, Early):
        seen = [modalities[name] for name in fusion.rasters + fusion.scalars]
        parts = [_encoder("encoder", fusion.encoder, seen, _flags(fusion, names))]
    else:
        parts = [_encoder(f"encoders.{name}", encoder, [modalities[name]]) for name, encoder in fusion.encoders.items()]
    if isinstance(fusion, Late):
        parts = _shared(fusion, modalities) + parts + _join_of_late(fusion)
    if isinstance(fusion, Middle):
        parts = _pyramid(fusion, modalities) + parts + _join_of_middle(fusion, model.spec.modalities)
    fused = model.spec.fusion.model_copy(update={"dropout": 0.0})
    for name in ("conditioning", "films", "joining", "tokens"):
        if getattr(fusion, name, None) is not None:
            tensors = _tensors(f"fusion.{name}.", getattr(fusion, name))
            parts.append(Part(name, name, tensors, identity=(fused, names)))
    for index, (name, spec) in enumerate(model.spec.heads.items()):
        identity: Hashable = (replace(spec, temperature=1.0, margin=()), fused, names)
        tensors = _tensors(f"heads.{index}.", model.heads[index])
        parts.append(Part(f"head of {name}", f"head of {name}", tensors, identity=identity))
    return parts


def distances(model: Model) -> dict[str, int]:
    """How many layers lie between each tensor of the fusion and the heads, counting its own: 1 for the last.

    A layer is a stage of a convolutional network, or a block of a transformer; what joins modalities counts as a last one.
    """
    found: dict[str, int] = {}
    for part in parts_of(model):
        if part.kind.startswith("head of "):
            continue
        layers = _layers(list(part.tensors)) if part.kind == "raster" else dict.fromkeys(part.tensors, 0)
        depth = max(layers.values(), default=0) + 1
        for name, tensor in part.tensors.items():
            found[tensor] = depth - layers[name]
    return found


def _layers(names: Sequence[str]) -> dict[str, int]:
    """The layer, from 0, of each tensor of a `RasterEncoder`."""
    order: dict[str, int] = {}
    layers = {}
    blocks = [
        int(found[1])
        for name in names
        if (found := re.match(r"body\.network\.(?:blocks|layers|stages)\.(\d+)\.", name))
    ]
    for name in names:
        if stage := re.match(r"body\.stages\.(\d+)\.", name):
            layers[name] = int(stage[1])
        elif block := re.match(r"body\.network\.(?:blocks|layers|stages)\.(\d+)\.", name):
            layers[name] = int(block[1]) + 1
        elif blocks:  # of a transformer: what makes tokens comes first, norms and pooling last
            last = re.match(r"body\.network\.(norm|fc_norm|attn_pool)\b", name)
            layers[name] = max(blocks) + 1 if last else 0
        else:
            child = name.split(".")[2]
            layers[name] = order.setdefault(child, len(order))
    return layers


def _tensors(prefix: str, module: nn.Module) -> dict[str, str]:
    return {name: prefix + name for name in module.state_dict()}


def _flags(fusion: Any, names: Sequence[str]) -> tuple[Column, ...]:
    """The inputs that say which modalities are present, of a fusion that is told."""
    return () if fusion.tokens is None else tuple(Column("presence", Channel(name)) for name in names)


def _encoder(path: str, encoder: Encoder, modalities: Sequence[Modality], flags: tuple[Column, ...] = ()) -> Part:
    columns = tuple(column for modality in modalities for column in columns_of(modality)) + flags
    tensors = _tensors(f"fusion.{path}.", encoder)
    if isinstance(encoder, SeriesEncoder):
        channels = tuple(Column(modality.name, channel) for modality in modalities for channel in modality.channels)
        return Part(path, "series", tensors, channels, identity=(type(encoder), *modalities))
    if not isinstance(encoder, RasterEncoder):
        return Part(path, "vector", tensors, columns, "layers.0.weight")
    name, stem = first_convolution(encoder)
    named = stem is not None and stem.in_channels == len(columns) and stem.groups == 1
    return Part(path, "raster", tensors, columns, f"{name}.weight" if named else "")


@cache
def _stem_of(encoder: str) -> str:
    """Name of the first convolution of an encoder that may have been taken out of the one at hand."""
    with torch.random.fork_rng(devices=[]):
        return first_convolution(RasterEncoder(encoder, 3))[0]


def _shared(fusion: Late, modalities: Mapping[str, Modality]) -> list[Part]:
    if fusion.trunk is None:
        return []
    stem = _stem_of(fusion.trunk.encoder.name)
    parts = []
    for name, taken in fusion.trunk.stems.items():
        tensors = _tensors("fusion.trunk.encoder.", fusion.trunk.encoder)
        tensors |= {f"{stem}.{key}": f"fusion.trunk.stems.{name}.{key}" for key in taken.state_dict()}
        parts.append(Part(f"trunk.{name}", "raster", tensors, columns_of(modalities[name]), f"{stem}.weight"))
    return parts


def _pyramid(fusion: Middle, modalities: Mapping[str, Modality]) -> list[Part]:
    if fusion.pyramid is None:
        return []
    parts, blocks, stage = [], [], 0
    for name, lower in fusion.pyramid.lower.items():
        assert isinstance(lower, nn.ModuleList)
        stage = len(lower)
        tensors = {f"body.stages.{key}": f"fusion.pyramid.lower.{name}.{key}" for key in lower.state_dict()}
        for index, upper in enumerate(fusion.pyramid.upper):
            prefix = f"body.stages.{stage + index}."
            tensors |= {prefix + key: f"fusion.pyramid.upper.{index}.{key}" for key in upper.state_dict()}
        parts.append(_pyramid_part(name, lower, tensors, columns_of(modalities[name])))
        blocks.append(name)
    joined: Any = fusion.pyramid.join[0]
    columns = _numbered(dict.fromkeys(blocks, joined.in_channels // len(blocks)))
    tensors = _tensors("fusion.pyramid.join.", fusion.pyramid.join)
    return [*parts, Part("pyramid.join", "pyramid.join", tensors, columns, "0.weight", identity=stage)]


def _pyramid_part(name: str, lower: nn.ModuleList, tensors: dict[str, str], columns: tuple[Column, ...]) -> Part:
    path, stem = first_convolution(lower)
    named = stem is not None and stem.in_channels == len(columns) and stem.groups == 1
    return Part(f"pyramid.{name}", "raster", tensors, columns, f"body.stages.{path}.weight" if named else "")


def _join_of_late(fusion: Late) -> list[Part]:
    shared = {} if fusion.trunk is None else dict.fromkeys(fusion.rasters, fusion.trunk.encoder.sizes.vector)
    widths = {name: _width(fusion.encoders[name]) if name in fusion.encoders else shared[name] for name in fusion.order}
    return _join("late.join", fusion.join, _numbered(widths) + _flags(fusion, fusion.order))


def _join_of_middle(fusion: Middle, modalities: Sequence[Modality]) -> list[Part]:
    widths = {}
    if fusion.pyramid is not None:
        rasters, _ = split_kinds(modalities)
        widths["+".join(modality.name for modality in rasters)] = fusion.pyramid.sizes.vector
    widths |= {name: _width(encoder) for name, encoder in fusion.encoders.items()}
    return _join("middle.join", fusion.join, _numbered(widths) + _flags(fusion, fusion.order))


def _join(kind: str, join: nn.Module, columns: tuple[Column, ...]) -> list[Part]:
    tensors = _tensors("fusion.join.", join)
    return [Part("join", kind, tensors, columns, "layers.0.weight")] if tensors else []


def _width(encoder: Any) -> int:
    return int(encoder.sizes.vector)


def _numbered(widths: Mapping[str, int]) -> tuple[Column, ...]:
    """The values of vectors or maps that are joined, by whose they are."""
    return tuple(Column(name, Channel(str(index))) for name, width in widths.items() for index in range(width))

"""The parts of a model, by names that do not depend on its fusion: `Part`, and what the inputs of a layer mean, `Column`.

Every strategy puts its encoders elsewhere and cuts them elsewhere. As parts they look alike: each raster encoder has its tensors
under the names that they have in a `RasterEncoder`, and a first layer whose inputs have names. A trunk that several rasters share
is a part of each of them. So weights go from any model to any other, whatever their fusion.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import nn

from eofuse.errors import UsageError
from eofuse.modalities import Channel, Kind, Modality
from eofuse.models.piecewise import PiecewiseModality


@dataclass(frozen=True)
class Column:
    """What one input of a layer means.

    Attributes:
        modality: name of the modality, None for weights that only name their bands.
        channel: the channel; its name is that of a category for one-hot planes.
        fills: whether the mean of known channels may stand for it.
    """

    modality: str | None
    channel: Channel
    fills: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The name of the channel and its aliases."""
        return self.channel.name, *self.channel.aliases

    def fits(self, other: "Column") -> bool:
        """Whether both mean the same channel, by name or alias, of the same modality.

        Raises:
            UsageError: if they do but have different units.
        """
        if None not in (self.modality, other.modality) and self.modality != other.modality:
            return False
        if set(self.names).isdisjoint(other.names):
            return False
        if self.channel.unit and other.channel.unit and self.channel.unit != other.channel.unit:
            what = f"is in {self.channel.unit} here and in {other.channel.unit} where the weights were trained"
            raise UsageError(what, where=str(self), fix="bring the data to the same unit")
        return True

    def __str__(self) -> str:
        return f"{self.modality}.{self.channel.name}" if self.modality else self.channel.name


@dataclass(frozen=True)
class Part:
    """A part of a model.

    Attributes:
        title: where it is, for people.
        kind: parts of the same kind can start from each other.
        tensors: by the name within the part, the name in the model.
        columns: what the inputs of its first layer mean.
        first: name within the part of the first layer's weight, "" where it has none whose inputs are the columns.
        identity: what must be equal, too, for one to start from the other.
        layers: by the name within the part, the layer of a tensor, from 0 at the inputs; where it is empty, the part is one layer.
        network: architecture of a raster encoder, without timm's tag of its weights.
    """

    title: str
    kind: str
    tensors: Mapping[str, str]
    columns: tuple[Column, ...] = ()
    first: str = ""
    identity: Hashable = None
    layers: Mapping[str, int] = field(default_factory=dict)
    network: str = ""

    def sees(self, modality: str) -> bool:
        """Whether a modality comes into it."""
        return any(column.modality == modality for column in self.columns)


@runtime_checkable
class HasParts(Protocol):
    """A module of a fusion that divides itself into parts: encoders, and what joins them by name."""

    def parts(self, path: str) -> list[Part]:
        """Its parts."""
        ...


def tensors_of(module: nn.Module, path: str, within: str = "") -> dict[str, str]:
    """The tensors of a module: by their names in it behind `within`, their names behind its path."""
    return {within + name: f"{path}.{name}" for name in module.state_dict()}


def channels_of(modality: Modality) -> list[Column]:
    """The channels of a modality, one by one."""
    fills = modality.has_pixels
    return [Column(modality.name, channel, fills) for channel in modality.channels]


def columns_of(modality: Modality) -> tuple[Column, ...]:
    """What a layer sees of a modality: its channels or their pieces, of each step of a series, or a plane a category."""
    if modality.is_categorical:
        return tuple(Column(modality.name, Channel(category.name)) for category in modality.categories)
    columns = channels_of(modality)
    if isinstance(modality, PiecewiseModality):
        columns = [
            Column(modality.name, Channel(f"{channel.name} {number}: {edges[number]:g} to {edges[number + 1]:g}"))
            for channel, edges in zip(modality.channels, modality.edges, strict=True)
            for number in range(len(edges) - 1)
        ]
    if modality.kind is not Kind.SERIES:
        return tuple(columns)
    names = [f"time {number}" for number in range(modality.time_width)]
    names += [column.channel.name for column in columns] + [f"{name} is known" for name in modality.channel_names]
    return tuple(
        Column(modality.name, Channel(f"step {step}: {name}")) for step in range(modality.steps or 1) for name in names
    )


def numbered_columns(widths: Mapping[str, int]) -> tuple[Column, ...]:
    """The values of vectors or maps that are joined, by whose they are."""
    return tuple(Column(name, Channel(str(index))) for name, width in widths.items() for index in range(width))


def presence_columns(names: Sequence[str]) -> tuple[Column, ...]:
    """The flags that say which modalities a patch has."""
    return tuple(Column("presence", Channel(name)) for name in names)

"""First layers, mapped by the names of their channels, never by position: `Column`, `match_columns`, `map_columns`.

The rule: where a channel has the name (or an alias) of a channel that the weights know, it takes that channel's weights as they
are. A channel of a raster that they do not know takes the mean of the known channels of its modality, and all channels of this
modality are multiplied by known / (known + unknown): a patch with equal values in all of them then gives what it gave with the
known ones alone. Where no channel of a modality is known, its channels keep their fresh weights.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

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
            raise UsageError(
                f"is in {self.channel.unit} here and in {other.channel.unit} where the weights were trained",
                where=str(self),
                fix="bring the data to the same unit",
            )
        return True

    def __str__(self) -> str:
        return f"{self.modality}.{self.channel.name}" if self.modality else self.channel.name


@dataclass(frozen=True)
class MappedColumns:
    """A first layer that was mapped.

    Attributes:
        weight: (outputs, columns, …).
        known: by position, the position of the source's column of the same name.
        filled: positions that got the mean of the known ones.
    """

    weight: Tensor
    known: dict[int, int]
    filled: tuple[int, ...]


def channels_of(modality: Modality) -> list[Column]:
    """The channels of a modality, one by one."""
    fills = modality.kind is Kind.RASTER
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


def match_columns(columns: Sequence[Column], source: Sequence[Column]) -> dict[int, int]:
    """The position in `source` of each column that is known there, by its position in `columns`."""
    places: dict[tuple[str | None, str], int] = {}
    for index, column in enumerate(source):
        for name in column.names:
            places.setdefault((column.modality, name), index)
    found = {}
    for position, column in enumerate(columns):
        keys = [(modality, name) for modality in (column.modality, None) for name in column.names]
        same = next((places[key] for key in keys if key in places), None)
        if same is not None and column.fits(source[same]):
            found[position] = same
    return found


def map_columns(
    weight: Tensor, columns: Sequence[Column], source_weight: Tensor, source_columns: Sequence[Column]
) -> MappedColumns:
    """A first layer with the weights of another one, by the rule of this module.

    Args:
        weight: (outputs, columns, …), fresh.
        columns: what its inputs mean.
        source_weight: (outputs, columns, …), trained.
        source_columns: what its inputs mean.
    """
    known = match_columns(columns, source_columns)
    mapped = weight.detach().clone()
    for position, index in known.items():
        mapped[:, position] = source_weight[:, index]
    filled: list[int] = []
    for modality in dict.fromkeys(column.modality for column in columns):
        members = [position for position, column in enumerate(columns) if column.modality == modality]
        here = [position for position in members if position in known]
        missing = [position for position in members if position not in known and columns[position].fills]
        if here and missing:
            mean = mapped[:, here].mean(1, keepdim=True)
            mapped[:, missing] = mean.expand_as(mapped[:, missing])
            mapped[:, members] *= len(here) / len(members)
            filled += missing
    return MappedColumns(mapped, known, tuple(filled))


def join_weights(parts: Iterable[tuple[Tensor, Sequence[Column]]]) -> tuple[Tensor, list[Column]]:
    """Several first layers of equal outputs as one over all their columns."""
    weights, columns = zip(*parts, strict=True)
    return torch.cat(weights, 1), [column for each in columns for column in each]

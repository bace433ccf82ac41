"""First layers, mapped by the names of their channels, never by position: `match_columns`, `map_columns`.

The rule: where a channel has the name (or an alias) of a channel that the weights know, it takes that channel's weights as they
are. A channel of a raster that they do not know takes the mean of the known channels of its modality, and all channels of this
modality are multiplied by known / (known + unknown): a patch with equal values in all of them then gives what it gave with the
known ones alone. Where no channel of a modality is known, its channels keep their fresh weights.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eofuse.models.parts import Column


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

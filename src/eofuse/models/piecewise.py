"""Numbers in pieces: `encode_piecewise`, and the modality that comes of it, `in_pieces`.

The piecewise-linear encoding of Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning"
(NeurIPS 2022): a network then finds a bend or a threshold of a number as easily as a slope.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from eofuse.modalities import Kind, Modality


@dataclass(frozen=True)
class PiecewiseModality(Modality):
    """A vector or series of which each number comes in pieces.

    Attributes:
        edges: where the pieces of each channel begin and end, in physical units; as many for each.
    """

    edges: tuple[tuple[float, ...], ...] = ()

    @property
    def width(self) -> int:
        """Number of channels that an encoder sees: the pieces of each; of a series also the time, and which are known."""
        pieces = sum(len(each) - 1 for each in self.edges)
        return self.time_width + pieces + len(self.channels) if self.kind is Kind.SERIES else pieces


def in_pieces(modality: Modality, edges: Sequence[Sequence[float]]) -> PiecewiseModality:
    """The same vector or series with the pieces between these edges."""
    values = {each.name: getattr(modality, each.name) for each in fields(Modality)}
    return PiecewiseModality(**values, edges=tuple(map(tuple, edges)))


def encode_piecewise(values: Tensor, edges: Tensor) -> Tensor:
    """How much of each piece lies below each number: 1 of those below it, 0 of those above it, a share of its own.

    Numbers beyond the outermost edges count as these. A piece without width is a threshold.

    Args:
        values: (..., C).
        edges: (C, pieces + 1), rising.

    Returns:
        (..., C, pieces).
    """
    low, high = edges[:, :-1], edges[:, 1:]
    x = values[..., None]
    share = ((x - low) / torch.where(high > low, high - low, 1.0)).clamp(0, 1)
    return torch.where(high > low, share, (x >= high).to(share))

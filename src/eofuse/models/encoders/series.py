"""`SeriesEncoder`: series of any length to one vector, by `TemporalConvolution` or `SeriesTransformer`.

Only steps of which a channel is known count. Whatever else a series holds, be it steps that don't exist at its end or what stands in
gaps, changes nothing.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eofuse.modalities import Kind, Modality
from eofuse.models.encoders.base import ENCODERS, Encoder
from eofuse.models.features import Features, FeatureSizes

WIDTH = 64
"""Length of the vector that a `SeriesEncoder` gives, and of those of its steps."""

MOST_BLOCKS = 6
HEADS = 4


class SeriesEncoder(Encoder):
    """Encodes each step with those around it, and takes the mean over the valid steps.

    Args:
        modalities: one series, as the normaliser gives it.
        pixels: has no influence, as there are no maps.
    """

    kinds = (Kind.SERIES,)

    def __init__(self, modalities: Sequence[Modality], pixels: bool = False) -> None:
        super().__init__(modalities, pixels)
        (modality,) = modalities
        self.channels = len(modality.channels)
        self.norm = nn.LayerNorm(WIDTH)
        self.last = nn.Linear(WIDTH, WIDTH)
        self.sizes = FeatureSizes(vector=WIDTH)

    def forward(self, values: Tensor) -> Features:
        """Features of (B, T, C) normalised series, whose last channels say what is known: a (B, 64) vector and no maps."""
        known = values[..., -self.channels :].amax(-1, keepdim=True)
        steps = self.norm(self.encode(values, known)) * known
        mean = steps.sum(1) / known.sum(1).clamp(min=1)
        return Features(vector=self.last(mean))

    @abstractmethod
    def encode(self, values: Tensor, known: Tensor) -> Tensor:
        """Each step with what lies around it, (B, T, 64), of series (B, T, C) with steps that are known (B, T, 1: 1 or 0)."""


@ENCODERS.register("convolution")
class TemporalConvolution(SeriesEncoder):
    """Residual blocks of dilated convolutions over the steps, as many as let the first step see the last.

    After the temporal convolutional network of Bai, Kolter and Koltun (2018, arXiv:1803.01271), looking both ways in time, with layer
    norm of each step in place of weight norm.
    """

    def __init__(self, modalities: Sequence[Modality], pixels: bool = False) -> None:
        super().__init__(modalities, pixels)
        (modality,) = modalities
        steps = modality.steps or 1
        count = next((n for n in range(1, MOST_BLOCKS) if 2 * (2**n - 1) >= steps - 1), MOST_BLOCKS)
        self.first = nn.Linear(modality.width, WIDTH)
        self.blocks = nn.ModuleList(_ConvolutionBlock(2**number) for number in range(count))

    def encode(self, values: Tensor, known: Tensor) -> Tensor:
        """Each step with those within reach of the convolutions."""
        x: Tensor = self.first(values)
        for block in self.blocks:
            x = block(x, known)
        return x


class _ConvolutionBlock(nn.Module):
    """Twice: norm, activation, convolution over the known steps; added to what came in."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
        self.convolutions = nn.ModuleList(
            nn.Conv1d(WIDTH, WIDTH, 3, padding=dilation, dilation=dilation) for _ in range(2)
        )

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        y = x
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            active = F.gelu(norm(y)) * known  # zeros, as beyond the ends
            y = convolution(active.transpose(1, 2)).transpose(1, 2)
        return x + y


@ENCODERS.register("transformer")
class SeriesTransformer(SeriesEncoder):
    """Two layers of self-attention among the known steps, which carry sines and cosines of their times.

    After Vaswani et al. (2017, arXiv:1706.03762), with the norm before each layer and encodings of times in place of places: periods
    from two years down to some days, or from twice the length of the series to a 64th of it where steps are numbered.
    """

    def __init__(self, modalities: Sequence[Modality], pixels: bool = False) -> None:
        super().__init__(modalities, pixels)
        (modality,) = modalities
        self.time = modality.time_width - 1
        self.register_buffer("frequencies", math.pi * 2.0 ** torch.arange(8), persistent=False)
        self.first = nn.Linear(modality.width + 16, WIDTH)
        self.blocks = nn.ModuleList(_AttentionBlock() for _ in range(2))

    def encode(self, values: Tensor, known: Tensor) -> Tensor:
        """Each step with all others that are known."""
        angle = values[..., self.time, None] * self.get_buffer("frequencies")
        x: Tensor = self.first(torch.cat([values, angle.sin(), angle.cos()], -1))
        seen = known[:, None, None, :, 0] > 0
        seen = seen | ~seen.any(-1, keepdim=True)  # softmax over nothing is no number
        for block in self.blocks:
            x = block(x, seen)
        return x


class _AttentionBlock(nn.Module):
    """Attention of four heads, then two layers for each step; each added to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.join = nn.Linear(WIDTH, WIDTH)
        self.layers = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
        )

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        query, key, value = (
            each.unflatten(-1, (HEADS, -1)).transpose(1, 2) for each in self.qkv(self.norm(x)).chunk(3, -1)
        )
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        x = x + self.join(attended.transpose(1, 2).flatten(2))
        result: Tensor = x + self.layers(x)
        return result

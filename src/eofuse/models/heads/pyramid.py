"""`Pyramid`: the maps of any encoder as a pyramid in which each map is exactly half as wide as the finer one before it."""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

FEWEST_LEVELS = 4


class Pyramid(nn.Module):
    """Gives decoders four maps or more whose strides double from each to the next.

    Most networks have such maps, and they pass unchanged. Those of a network that works at one resolution, such as a vision
    transformer, are brought to four by transposed convolutions and pooling, the shallowest to the finest, like the simple
    pyramid of ViTDet (Li et al. 2022), but each from a depth of its own. Where there are fewer than four maps, finer ones
    are made from the finest.

    Args:
        channels: of each map, the finest first.
        strides: input pixels per map pixel, for each map.

    Attributes:
        channels: of each map that is given.
        strides: input pixels per map pixel for each map that is given; fractions where the network's are no power of 2.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        targets = _doubling(strides)
        layers = [
            _resample(width, stride / target) for width, stride, target in zip(channels, strides, targets, strict=True)
        ]
        self.layers = nn.ModuleList(layer for layer, _ in layers)
        self.channels = [width for _, width in layers]
        self.strides = targets
        self.finer = nn.ModuleList()
        while len(self.channels) < FEWEST_LEVELS:
            layer, width = _resample(self.channels[0], 2)
            self.finer.append(layer)
            self.channels.insert(0, width)
            self.strides.insert(0, self.strides[0] / 2)

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> list[Tensor]:
        """The pyramid of patches of `size` pixels, padded at the lower right to a multiple of the largest stride.

        Args:
            maps: (B, C, h, w) each, the finest first.
            size: height and width of the patches in pixels.
        """
        pyramid = [layer(level) for layer, level in zip(self.layers, maps, strict=True)]
        for layer in self.finer:
            pyramid.insert(0, layer(pyramid[0]))
        height, width = (math.ceil(side / self.strides[-1]) for side in size)
        factors = [2 ** (len(pyramid) - 1 - level) for level in range(len(pyramid))]
        return [_fit(level, height * factor, width * factor) for level, factor in zip(pyramid, factors, strict=True)]


def _doubling(strides: Sequence[int]) -> list[float]:
    """Strides that double from level to level, up to the largest of these, or its double if several maps have that."""
    coarsest = strides[-1] * (2 if len(strides) > 1 and strides[-2] == strides[-1] else 1)
    return [coarsest / 2 ** (len(strides) - 1 - level) for level in range(len(strides))]


def _resample(channels: int, factor: float) -> tuple[nn.Module, int]:
    """A layer that makes maps larger by a power of 2, or smaller where it is below 1, and the channels of its output."""
    if factor <= 1:
        return (nn.MaxPool2d(round(1 / factor), ceil_mode=True) if factor < 1 else nn.Identity()), channels
    layers: list[nn.Module] = []
    width = channels
    for _ in range(round(math.log2(factor))):
        wide, width = width, max(width // 2, 1)
        layers += [nn.ConvTranspose2d(wide, width, 2, 2, bias=False), nn.BatchNorm2d(width), nn.GELU()]
    return nn.Sequential(*layers), width


def _fit(level: Tensor, height: int, width: int) -> Tensor:
    """The map with zeros below and at the right, or cut there, so that every cell stays at its pixels."""
    below, right = height - level.shape[-2], width - level.shape[-1]
    return F.pad(level, (0, right, 0, below)) if below or right else level

"""Decoders of segmentation-models-pytorch over a `Pyramid`: `DECODERS` by the name in recipes.

Their widths follow the encoder's, never above those of the papers: a decoder of 256 channels would dwarf a small encoder.
Each takes the channels of the maps of the pyramid, the finest first, and their strides, and has `out_channels`, those of its map.
All enlargements keep cells at their pixels (they align the borders, not the centres, of the outermost pixels).
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder
from segmentation_models_pytorch.decoders.fpn.decoder import Conv3x3GNReLU, FPNDecoder
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from torch import Tensor, nn

WIDEST = 256
"""Largest number of channels of a decoder's layer."""

NARROWEST = 16
"""Smallest number of channels of a U-Net's level."""

UNET_WIDTHS = {1: 16, 2: 32, 4: 64, 8: 128}
"""Largest number of channels of a U-Net's level by its stride; `WIDEST` at larger strides."""

ATROUS_RATES = (2, 4, 6)
"""Dilations in DeepLabV3+: at stride 16, those of the paper (6, 12, 18) would reach beyond patches of 120 pixels."""


class UNet(nn.Module):
    """U-Net (Ronneberger et al. 2015): enlarges the coarsest map step by step, joined by the finer ones, up to the pixels.

    A level has 256, 128, 64, 32 and 16 channels at strides of 16, 8, 4, 2 and 1, but no more than the pyramid's map at that
    stride and than the coarser level (half of it below stride 4), and never fewer than 16.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[float]) -> None:
        super().__init__()
        self.coarsest = strides[-1]
        levels = list(strides)
        while levels[0] >= 4:
            levels.insert(0, levels[0] / 2)
        if levels[0] > 1:
            levels.insert(0, 1)
        self.without_maps = levels[: len(levels) - len(strides)]
        skips = [0] * len(self.without_maps) + list(channels)
        widths = [channels[-1]]
        for stride, skip in zip(levels[-2::-1], skips[-2::-1], strict=True):
            coarser = widths[-1] if stride >= 4 else widths[-1] // 2
            widths.append(max(NARROWEST, min(_unet_width(stride), skip or WIDEST, coarser)))
        self.out_channels = widths[-1]
        # The decoder takes no channels from the first map: it is a mere place holder if the pyramid has one at stride 1.
        self.layers = UnetDecoder([0, *skips[1:]], widths[1:], n_blocks=len(widths) - 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The map (B, out_channels, H, W) at stride 1, of the maps of a pyramid."""
        coarsest = maps[-1]
        factors = [self.coarsest / stride for stride in self.without_maps]
        sizes = [[round(side * factor) for side in coarsest.shape[-2:]] for factor in factors]
        empty = [coarsest.new_empty((coarsest.shape[0], 0, *size)) for size in sizes]
        given: Tensor = self.layers([*empty, *maps])
        return given


class FeaturePyramid(nn.Module):
    """FPN (Kirillov et al. 2019): the four coarsest maps, each enlarged to the finest of them, and added.

    Pyramid levels have as many channels as the coarsest map, but at most 256; the sum has half of that, in steps of 32.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[float]) -> None:
        super().__init__()
        width = min(channels[-1], WIDEST)
        self.out_channels = max(32, width // 64 * 32)
        self.layers = FPNDecoder(
            list(channels[-4:]), 4, pyramid_channels=width, segmentation_channels=self.out_channels, dropout=0.0
        )
        for module in self.layers.modules():
            if not isinstance(module, Conv3x3GNReLU):
                continue
            module.block[1] = nn.GroupNorm(4, self.out_channels)  # of its own 32 groups, one could be a single number
            if module.upsample:
                module.upsample = False  # its own enlargement would shift cells towards the edges
                module.block.append(_Enlarge(2))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The map (B, out_channels, h, w) at the stride of the fourth map from the end of the pyramid."""
        given: Tensor = self.layers(list(maps[-4:]))
        return given


class DeepLabV3Plus(nn.Module):
    """DeepLabV3+ (Chen et al. 2018): atrous convolutions over the deep maps, refined by a fine one.

    The fine map is the fourth from the end of the pyramid, the deep ones are the last two, joined at the stride of the
    finer (a quarter of the fine map's resolution), where the paper dilates the encoder's last stage instead. Layers have as
    many channels as the coarsest map, but at most 256. The pooled branch has group norm in place of batch norm, which can't
    be trained on a single patch.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[float]) -> None:
        super().__init__()
        self.out_channels = min(channels[-1], WIDEST)
        self.layers = DeepLabV3PlusDecoder(
            [0, 0, channels[-4], channels[-2] + channels[-1]],
            encoder_depth=4,
            out_channels=self.out_channels,
            atrous_rates=ATROUS_RATES,
            output_stride=16,
            aspp_separable=True,
            aspp_dropout=0.0,
        )
        self.layers.up = _Enlarge(4)
        pooled = self.layers.aspp[0].convs[-1]
        pooled[2] = nn.GroupNorm(1, self.out_channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The map (B, out_channels, h, w) at the stride of the fourth map from the end of the pyramid."""
        fine, _, deep, deepest = maps[-4:]
        joined = torch.cat([deep, enlarge(deepest, deep.shape[-2:])], 1)
        given: Tensor = self.layers([None, None, fine, joined])
        return given


DECODERS: dict[str, Callable[[Sequence[int], Sequence[float]], UNet | FeaturePyramid | DeepLabV3Plus]] = {
    "unet": UNet,
    "fpn": FeaturePyramid,
    "deeplabv3plus": DeepLabV3Plus,
}
"""Every decoder by its name in recipes; built from the channels and strides of a pyramid."""


def enlarge(level: Tensor, size: Sequence[int]) -> Tensor:
    """The map (B, C, h, w) brought to another height and width, interpolated between the centres of its cells."""
    return F.interpolate(level, size=tuple(size), mode="bilinear")


class _Enlarge(nn.Module):
    """Enlarges maps by a factor."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, level: Tensor) -> Tensor:
        return enlarge(level, [side * self.factor for side in level.shape[-2:]])


def _unet_width(stride: float) -> int:
    return next((width for largest, width in UNET_WIDTHS.items() if stride <= largest), WIDEST)

"""DOFA of torchgeo: it takes any channels of Sentinel-1 and -2."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn

from eofuse.models.foundation.base import FOUNDATIONS
from eofuse.models.foundation.galileo import Size
from eofuse.models.foundation.torchgeo_tokens import (
    WAVELENGTHS_NM,
    Images,
    Tokens,
    TorchgeoModel,
    of_mean,
    position_codes,
    radar_and_optical,
    torchgeo,
)

RADAR_NM = 3750
"""What stands for the wavelength of radar."""


@FOUNDATIONS.register("dofa")
class Dofa(TorchgeoModel):
    """DOFA: the first layer's weights follow from the wavelengths of the channels, of which it takes any."""

    title = "DOFA"
    licence = "CC-BY-4.0"
    paper = "Xiong et al. 2024, arXiv 2403.15356"
    sizes = ("base", "large")
    SIZES: ClassVar[dict[str, Size]] = {"base": Size(768, 12, 12), "large": Size(1024, 24, 16)}
    channels = radar_and_optical(together=False)
    groups = ("tokens",)
    side = 16

    def __init__(self, size: str) -> None:
        super().__init__(size)
        own = self.SIZES[size]
        self.size_name, self.width = size, own.width
        options = {"embed_dim": own.width, "depth": own.depth, "num_heads": own.heads, "num_classes": 0}
        self.network = torchgeo("dofa").DOFA(img_size=self.GRID * self.side, patch_size=self.side, **options)
        self.network.fc_norm = nn.Identity()  # of a head

    def files(self) -> Sequence[str]:
        """As torchgeo names it."""
        return f"dofa_{self.size_name}_patch16_224*.pth", f"DOFA_ViT_{self.size_name}*.pth"

    def tokens(self, images: Images) -> Tokens:
        """The mean of the tokens, normalised, and tokens from four depths."""
        waves = [WAVELENGTHS_NM.get(name, RADAR_NM) / 1000 for name in images.names]
        x, _ = self.network.patch_embed(images.values, torch.tensor(waves, device=images.values.device))
        codes = position_codes(self.network.pos_embed, images.grid)
        x = torch.cat([(self.network.cls_token + codes[:, :1]).expand(len(x), -1, -1), x + codes[:, 1:]], 1)
        return of_mean(self.through(self.network.blocks, x, images.shown), images.shown, 1e-6)

"""Panopticon of torchgeo: it takes any channels of Sentinel-1 and -2."""

from collections.abc import Sequence
from typing import ClassVar

import torch

from eofuse.models.foundation.base import FOUNDATIONS
from eofuse.models.foundation.torchgeo_tokens import (
    RADAR,
    WAVELENGTHS_NM,
    Images,
    Tokens,
    TorchgeoModel,
    mean_of,
    position_codes,
    radar_and_optical,
    torchgeo,
)


@FOUNDATIONS.register("panopticon")
class Panopticon(TorchgeoModel):
    """Panopticon: a cross-attention over the channels of each token, of which it takes any; its vector is the class token."""

    title = "Panopticon"
    licence = "Apache-2.0"
    paper = "Waldmann et al. 2025, arXiv 2503.10845"
    sizes = ("base",)
    channels = radar_and_optical(together=False)
    groups = ("tokens",)
    side = 14
    PRETRAINED_PIXELS: ClassVar[int] = 518

    def __init__(self, size: str) -> None:
        super().__init__(size)
        self.network = torchgeo("panopticon").Panopticon(img_size=self.PRETRAINED_PIXELS).model
        self.width = int(self.network.embed_dim)

    def files(self) -> Sequence[str]:
        """As its authors name it."""
        return ("*panopticon*.pth",)

    def tokens(self, images: Images) -> Tokens:
        """The class token, the mean of the tokens as that of their group, and tokens from four depths."""
        count = len(images.values)
        polarisations = {name: -1 - place for place, name in enumerate(RADAR)}  # of an orbit that is not known
        ids = [float({**WAVELENGTHS_NM, **polarisations}[name]) for name in images.names]
        channels = torch.tensor(ids, device=images.values.device).repeat(count, 1)
        x = self.network.patch_embed({"imgs": images.values, "chn_ids": channels})
        x = torch.cat([self.network.cls_token.expand(count, -1, -1), x], 1)
        x = x + position_codes(self.network.pos_embed, images.grid)
        found = [self.network.norm(each) for each in self.through(self.network.blocks, x, images.shown)]
        mean = mean_of(found[-1][:, 1:], images.shown)
        return Tokens([each[:, 1:] for each in found], mean[:, None], found[-1][:, 0], [0])

"""Copernicus-FM of torchgeo: it takes any channels of Sentinel-1 and -2, and sees places."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn

from eofuse.modalities import PLACE
from eofuse.models.foundation.base import FOUNDATIONS
from eofuse.models.foundation.galileo import Size
from eofuse.models.foundation.torchgeo_tokens import (
    BANDWIDTHS_NM,
    WAVELENGTHS_NM,
    Images,
    Tokens,
    TorchgeoModel,
    of_mean,
    position_codes,
    radar_and_optical,
    torchgeo,
)


@FOUNDATIONS.register("copernicus_fm")
class CopernicusFM(TorchgeoModel):
    """Copernicus-FM: the first layer's weights follow from wavelengths and bandwidths; the place and the area of a token are seen."""

    title = "Copernicus-FM"
    licence = "CC-BY-4.0"
    paper = "Wang et al. 2025, arXiv 2503.11849"
    sizes = ("base",)
    SIZES: ClassVar[dict[str, Size]] = {"base": Size(768, 12, 12)}
    channels = radar_and_optical(together=False)
    groups = ("tokens",)
    sees = (PLACE,)
    side = 16

    def __init__(self, size: str) -> None:
        super().__init__(size)
        own = self.SIZES[size]
        self.width = own.width
        options = {"embed_dim": own.width, "depth": own.depth, "num_heads": own.heads}
        self.network = torchgeo("copernicusfm").CopernicusFM(
            img_size=self.GRID * self.side, patch_size=self.side, **options
        )
        self.network.fc_norm = nn.Identity()  # of a head

    def files(self) -> Sequence[str]:
        """As torchgeo names it."""
        return "CopernicusFM_ViT_base*.pth", "*opernicus*FM*.pth"

    def tokens(self, images: Images) -> Tokens:
        """The mean of the tokens, normalised, and tokens from four depths."""
        network, values = self.network, images.values
        waves = [float(WAVELENGTHS_NM.get(name, 50_000_000)) for name in images.names]
        widths = [float(BANDWIDTHS_NM.get(name, 1_000_000_000)) for name in images.names]
        spectrum = {"wavelengths": values.new_tensor(waves), "bandwidths": values.new_tensor(widths)}
        x = network.patch_embed_spectral(values, **spectrum, kernel_size=self.side)
        known = images.places.isfinite().all(1)
        lon, lat = images.places.nan_to_num(0.0).unbind(1)
        coordinates = network.get_coord_pos_embed(lon, lat, self.width)
        coordinates = coordinates.where(known[:, None, None], network.coord_token)
        area = network.get_area_pos_embed(values.new_full((len(values),), images.token_km2), self.width)
        codes = position_codes(network.pos_embed, images.grid) + network.coord_fc(coordinates) + network.scale_fc(area)
        codes = codes + network.time_fc(network.time_token)
        x = torch.cat([network.cls_token + codes[:, :1], x + codes[:, 1:]], 1)
        return of_mean(self.through(network.blocks, x, images.shown), images.shown, 1e-5)

"""CROMA of torchgeo: it takes both polarisations of Sentinel-1, all twelve bands of Sentinel-2, or both."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from eofuse.errors import UsageError
from eofuse.models.foundation.base import FOUNDATIONS
from eofuse.models.foundation.galileo import Size
from eofuse.models.foundation.torchgeo_tokens import (
    OPTICAL,
    RADAR,
    Images,
    Tokens,
    TorchgeoModel,
    mean_of,
    quarters,
    radar_and_optical,
    torchgeo,
)


@FOUNDATIONS.register("croma")
class Croma(TorchgeoModel):
    """CROMA: an encoder of radar, one of all twelve optical bands, and one that joins both where a sample has both."""

    title = "CROMA"
    licence = "CC-BY-4.0"
    paper = "Fuller et al. 2023, arXiv 2311.00566"
    sizes = ("base", "large")
    SIZES: ClassVar[dict[str, Size]] = {"base": Size(768, 12, 16), "large": Size(1024, 24, 16)}
    channels = radar_and_optical(together=True)
    groups = ("S1", "S2", "S1_S2")
    side = 8

    def __init__(self, size: str) -> None:
        super().__init__(size)
        own = self.SIZES[size]
        self.size_name, self.width, self.heads = size, own.width, own.heads
        options = {"encoder_dim": own.width, "encoder_depth": own.depth, "num_heads": own.heads}
        self.network = torchgeo("croma").CROMA(image_size=self.side, **options)
        del self.network.attn_bias  # of one size

    def files(self) -> Sequence[str]:
        """As torchgeo names it."""
        return (f"CROMA_{self.size_name}*.pt",)

    def tokens(self, images: Images) -> Tokens:
        """Of each sensor the mean of its tokens through its own last layers, of both the mean of the joint tokens.

        Raises:
            UsageError: if the patches are no squares.
        """
        if images.grid[0] != images.grid[1]:
            raise UsageError(f"CROMA takes squares, not {images.grid[0]} × {images.grid[1]} tokens", where="patch")
        network, shown = self.network, images.shown
        bias = alibi(self.heads, images.grid[0]).to(images.values)
        bias = bias.masked_fill(~shown[:, None, None], -math.inf) if not bool(shown.all()) else bias
        values = ((images.values + 2) / 4).clamp(0, 1)
        radar, optical = (values[:, [name in names for name in images.names]] for names in (RADAR, OPTICAL))
        layers: list[Tensor] = []
        means, places, found = [], [], {}
        for place, (name, own) in enumerate((("s1", radar), ("s2", optical))):
            if not own.shape[1]:
                continue
            encoder = getattr(network, f"{name}_encoder")
            x = encoder.linear_input(pixels_of_tokens(own, self.side))
            levels = []
            for attention, feed in encoder.transformer.layers:
                x = attention(x, bias) + x
                x = feed(x) + x
                levels.append(x)
            found[name] = encoder.transformer.norm_out(x)
            layers = [*levels[:-1], found[name]]
            means.append(getattr(network, f"{name}_GAP_FFN")(mean_of(found[name], shown)))
            places.append(place)
        if len(found) == 2:
            x = found["s1"]
            levels = []
            for attention, across, feed in network.joint_encoder.layers:
                x = attention(x, bias) + x
                x = across(x, found["s2"], bias) + x
                x = feed(x) + x
                levels.append(x)
            joint = network.joint_encoder.norm_out(x)
            layers = [*layers, *levels[:-1], joint]
            means.append(mean_of(joint, shown))
            places.append(2)
        maps = [F.layer_norm(each, (self.width,)) for each in quarters(layers)[:-1]] + [layers[-1]]
        return Tokens(maps, torch.stack(means, 1), means[-1], places)

    def layer_of(self, tensor: str) -> int:
        """The joint encoder comes after the encoders of the sensors."""
        _, _, behind = tensor.partition(".layers.")
        depth = len(self.network.s2_encoder.transformer.layers) if ".joint_encoder." in tensor else 0
        return depth + int(behind.partition(".")[0]) + 1 if behind else 0


def pixels_of_tokens(images: Tensor, side: int) -> Tensor:
    """(n, channels, h × side, w × side) → (n, h × w, channels × side × side)."""
    count, channels, height, width = images.shape
    cells = images.reshape(count, channels, height // side, side, width // side, side)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(count, -1, channels * side * side)


@lru_cache(maxsize=8)
def alibi(heads: int, side: int) -> Tensor:
    """Bias (1, heads, tokens, tokens) of the attention, which falls with the distance between tokens on a square grid."""
    places = torch.cartesian_prod(torch.arange(side), torch.arange(side)).view(-1, 2).float()
    start = 2 ** -(2 ** -(math.log2(heads) - 3))
    slopes = torch.tensor([start ** (head + 1) for head in range(heads)])
    return -(torch.cdist(places, places) * slopes[:, None, None])[None]

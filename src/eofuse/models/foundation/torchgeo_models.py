"""CROMA, DOFA, Panopticon and Copernicus-FM: transformers over Sentinel-1 and -2 whose networks torchgeo has (`eofuse[torchgeo]`).

Their weights are read from the files that torchgeo names. The networks are torchgeo's; how tokens pass them is here, since theirs
know neither missing pixels nor sizes other than those of the pretraining: a token is hidden from the attention if one of its pixels is
missing, and patches are resized so that a token covers as many pixels as is wanted.
"""

import importlib
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eofuse.errors import UsageError
from eofuse.modalities import PLACE, Kind
from eofuse.models.foundation.base import FOUNDATIONS, FoundationModel, GroupMeans, InputChannel, Sample
from eofuse.models.foundation.galileo import Size

RADAR = {"VV": (-12.59, 5.26), "VH": (-20.26, 5.91)}
OPTICAL = {
    "B1": (1612.9, 791.0),
    "B2": (1397.6, 854.3),
    "B3": (1322.3, 878.7),
    "B4": (1373.1, 1144.9),
    "B5": (1561.0, 1127.5),
    "B6": (2108.4, 1164.2),
    "B7": (2390.7, 1276.0),
    "B8": (2318.7, 1249.5),
    "B8A": (2581.0, 1345.9),
    "B9": (837.7, 577.5),
    "B11": (2195.2, 1340.0),
    "B12": (1537.4, 1142.9),
}
"""Mean and deviation of SSL4EO-S12 (Wang et al. 2023), in dB and in digital numbers, as torchgeo has them."""

WAVELENGTHS_NM = dict(zip(OPTICAL, (440, 490, 560, 665, 705, 740, 783, 842, 860, 940, 1610, 2190), strict=True))
BANDWIDTHS_NM = dict(zip(OPTICAL, (20, 65, 35, 30, 15, 15, 20, 115, 20, 20, 90, 180), strict=True))


def radar_and_optical(together: bool) -> tuple[InputChannel, ...]:
    """The channels of both sensors, of which a sample has all of a sensor if they are taken `together`."""
    found = []
    for names, unit, sensor in ((RADAR, "dB", "S1"), (OPTICAL, "reflectance × 10,000", "S2")):
        for name, (mean, deviation) in names.items():
            alias = (f"B0{name[1:]}",) if sensor == "S2" and len(name) == 2 else ()
            group = sensor if together else name
            found.append(InputChannel(name, unit, group, alias, deviation, Kind.RASTER, mean))
    return tuple(found)


@dataclass(frozen=True)
class Tokens:
    """What a network makes of patches of which all have the same channels.

    Attributes:
        maps: (n, tokens, width) after as many depths as `FoundationModel.maps` says.
        means: (n, groups, width), a vector a group of the model.
        pooled: (n, width).
        groups: places of the groups that it has, among those of the model.
    """

    maps: list[Tensor]
    means: Tensor
    pooled: Tensor
    groups: list[int]


@dataclass(frozen=True)
class Images:
    """Patches of which all have the same channels, as a network takes them.

    Attributes:
        values: (n, channels, height, width), standardised, 0 in tokens that are hidden.
        names: of the channels.
        shown: (n, tokens), which of the tokens have all of their pixels.
        grid: height and width in tokens.
        places: (n, 2) longitude and latitude in degrees, NaN where it is not known.
        token_km2: area of a token.
    """

    values: Tensor
    names: tuple[str, ...]
    shown: Tensor
    grid: tuple[int, int]
    places: Tensor
    token_km2: float


class TorchgeoModel(FoundationModel):
    """A transformer of torchgeo over rasters, whose patches are resized to tokens of `side` pixels.

    Attributes:
        side: of a token, as the network was trained.
        network: torchgeo's.
    """

    maps = 4
    sees: ClassVar[tuple[str, ...]] = ()
    side: ClassVar[int]
    network: Any

    @abstractmethod
    def tokens(self, images: Images) -> Tokens:
        """What the network makes of patches with the same channels."""

    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of the network; heads and what served the pretraining are left out."""
        own = {name.removeprefix("network.") for name in self.state_dict()}
        return {f"network.{name}": tensor for name, tensor in weights.items() if name in own}

    def embed(self, batch: Sample, patch: int) -> GroupMeans:
        """Vectors of patches; rasters are cut at their rims to whole tokens."""
        return self.pyramid(batch, patch)[0]

    def pyramid(self, batch: Sample, patch: int) -> tuple[GroupMeans, list[Tensor]]:
        """Vectors of patches, and maps from four depths.

        Raises:
            UsageError: if the patch is larger than the rasters.
        """
        channels = [channel for channel in self.channels if channel.name in batch.values]
        planes = torch.stack([standardised(channel, batch.values[channel.name]) for channel in channels], 1)
        count, _, height, width = planes.shape
        grid = (height // patch, width // patch)
        if not all(grid):
            raise UsageError(f"rasters of {height} × {width} pixels have no token of {patch}", where="patch")
        top, left = (height - grid[0] * patch) // 2, (width - grid[1] * patch) // 2
        planes = planes[:, :, top : top + grid[0] * patch, left : left + grid[1] * patch]
        missing = planes.isnan()
        taken = whole_groups(channels, ~missing.flatten(2).all(2))
        cells = missing.reshape(*missing.shape[:2], grid[0], patch, grid[1], patch).any(5).any(3)
        places = planes.new_full((count, 2), torch.nan) if batch.places is None else batch.places
        maps = [planes.new_zeros(count, self.width, *grid) for _ in range(self.maps)]
        means = planes.new_zeros(count, len(self.groups), self.width)
        number, pooled = planes.new_zeros(count, len(self.groups)), planes.new_zeros(count, self.width)
        for chosen in torch.unique(taken, dim=0) if count else ():
            rows = (taken == chosen).all(1)
            shown = ~cells[:, chosen].any(1).flatten(1)
            rows = (rows & shown.any(1)).nonzero()[:, 0] if bool(chosen.any()) else rows.new_zeros(0).long()
            if not len(rows):
                continue
            size = [side * self.side for side in grid]
            pixels = shown[rows].reshape(-1, *grid).repeat_interleave(patch, 1).repeat_interleave(patch, 2)
            values = planes[rows][:, chosen].where(
                pixels[:, None], planes.new_zeros(())
            )  # neighbours see rims of hidden tokens
            if size != list(values.shape[-2:]):
                values = F.interpolate(values, size=size, mode="bilinear", align_corners=False)
            own = tuple(each.name for each, there in zip(channels, chosen.tolist(), strict=True) if there)
            token_km2 = (patch * batch.pixel_m / 1000) ** 2
            found = self.tokens(Images(values, own, shown[rows], grid, places[rows], token_km2))
            seen = shown[rows]
            maps = [
                level.index_copy(0, rows, (own_map * seen[..., None]).mT.reshape(len(rows), -1, *grid).to(level))
                for level, own_map in zip(maps, found.maps, strict=True)
            ]
            groups = torch.tensor(found.groups, device=rows.device)
            means = means.index_put((rows[:, None], groups), found.means.to(means))
            number = number.index_put(
                (rows[:, None], groups), seen.sum(1, keepdim=True).expand(-1, len(groups)).to(number)
            )
            pooled = pooled.index_copy(0, rows, found.pooled.to(pooled))
        return GroupMeans(means, number, pooled), maps

    def through(self, blocks: Sequence[nn.Module], x: Tensor, shown: Tensor) -> list[Tensor]:
        """Tokens after each quarter of timm's blocks, (n, 1 + tokens, width), with a class token that all see.

        Args:
            blocks: of the network.
            x: (n, 1 + tokens, width).
            shown: (n, tokens), which take part.
        """
        attend = F.pad(shown, (1, 0), value=True)[:, None, None]
        found = []
        for block in blocks:
            x = block(x, attn_mask=None if bool(shown.all()) else attend)
            found.append(x)
        return quarters(found)


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
        self.network = torchgeo("dofa").DOFA(img_size=GRID * self.side, patch_size=self.side, **options)
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
        self.network = torchgeo("copernicusfm").CopernicusFM(img_size=GRID * self.side, patch_size=self.side, **options)
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


GRID = 14
"""Tokens on a side in the pretraining of DOFA and Copernicus-FM."""

RADAR_NM = 3750
"""What stands for the wavelength of radar in DOFA."""


def torchgeo(module: str) -> Any:
    """A module of torchgeo's models.

    Raises:
        UsageError: if torchgeo can't be imported.
    """
    try:
        return importlib.import_module(f"torchgeo.models.{module}")
    except ImportError as error:
        fix = "pip install 'eofuse[torchgeo]'"
        raise UsageError(f"torchgeo can't be imported ({error})", where=f"the model {module}", fix=fix) from None


def standardised(channel: InputChannel, values: Tensor) -> Tensor:
    """Values of a channel, by the mean and deviation of its pretraining."""
    assert channel.mean is not None
    assert channel.deviation is not None
    return (values - channel.mean) / channel.deviation


def whole_groups(channels: Sequence[InputChannel], present: Tensor) -> Tensor:
    """Which channels samples have all of the group of, of those that they have, both (B, channels) bool."""
    groups = [channel.group for channel in channels]
    same = torch.tensor([[one == other for other in groups] for one in groups], device=present.device)
    return ~((~present)[:, None] & same).any(2)


def quarters(layers: Sequence[Tensor]) -> list[Tensor]:
    """What layers give after each quarter of them."""
    return [layers[max(len(layers) * quarter // 4 - 1, 0)] for quarter in (1, 2, 3, 4)]


def mean_of(tokens: Tensor, shown: Tensor) -> Tensor:
    """The mean (n, width) of the tokens (n, tokens, width) that are shown."""
    return (tokens * shown[..., None]).sum(1) / shown.sum(1, keepdim=True).clamp(min=1)


def of_mean(levels: Sequence[Tensor], shown: Tensor, epsilon: float) -> Tokens:
    """Tokens without the class token, and their mean, all normalised without weights, which are of heads."""
    width = levels[-1].shape[-1]
    pooled = F.layer_norm(mean_of(levels[-1][:, 1:], shown), (width,), eps=epsilon)
    maps = [F.layer_norm(each[:, 1:], (width,), eps=epsilon) for each in levels]
    return Tokens(maps, pooled[:, None], pooled, [0])


def position_codes(codes: Tensor, grid: tuple[int, int]) -> Tensor:
    """Codes (1, 1 + tokens, width) of a square grid, the first of the class token, resized to another grid."""
    side = math.isqrt(codes.shape[1] - 1)
    if (side, side) == grid:
        return codes
    square = codes[:, 1:].mT.reshape(1, -1, side, side)
    resized = F.interpolate(square, size=grid, mode="bicubic", antialias=True)
    return torch.cat([codes[:, :1], resized.flatten(2).mT], 1)


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

"""What models on torchgeo's networks share, CROMA, DOFA, Panopticon and Copernicus-FM (`eofuse[torchgeo]`): `TorchgeoModel`.

They are transformers over Sentinel-1 and -2, whose weights are read from the files that torchgeo names. The networks are torchgeo's;
how tokens pass them is here, since theirs know neither missing pixels nor sizes other than those of the pretraining: a token is hidden
from the attention if one of its pixels is missing, and patches are resized so that a token covers as many pixels as is wanted.
"""

import importlib
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eofuse.errors import UsageError
from eofuse.modalities import Kind
from eofuse.models.foundation.base import FoundationModel, GroupMeans, InputChannel, Sample

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

    GRID: ClassVar[int] = 14
    """Tokens on a side in the pretraining of DOFA and Copernicus-FM."""

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

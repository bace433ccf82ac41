"""Galileo, a transformer over optical, radar, terrain, weather and place at once (Tseng et al. 2025, arXiv 2502.09356).

A token stands for a group of channels in a patch of pixels at one date (`space_time`), in a patch (`space`), at a date (`time`), or
for the whole sample (`static`). Tokens of what is missing are left out of the attention. Written anew from the paper and the facts
of the original code (nasaharvest/galileo, MIT); weights keep their original names on disk.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eofuse.errors import UsageError
from eofuse.modalities import Kind, Modality
from eofuse.models.foundation.base import FOUNDATIONS, FoundationModel, GroupMeans, InputChannel, Sample
from eofuse.models.foundation.derived import month_codes, month_waves, ndvi, slope, unit_sphere
from eofuse.models.foundation.sensors import SENSORS, sensor_channels

LARGEST_PATCH = 8
RESOLUTION_M = 10.0
MOST_DATES = 24

SPACE_TIME = {**SENSORS, "NDVI": ("NDVI",)}
DYNAMIC_WORLD = (
    "DW_water", "DW_trees", "DW_grass", "DW_flooded_vegetation", "DW_crops", "DW_shrub_and_scrub", "DW_built", "DW_bare",
    "DW_snow_and_ice",
)  # fmt: skip
WORLD_CEREAL = ("WC_temporarycrops", "WC_maize", "WC_wintercereals", "WC_springcereals", "WC_irrigation")
SPACE = {"SRTM": ("elevation", "slope"), "DW": DYNAMIC_WORLD, "WC": WORLD_CEREAL}
TIME = {"ERA5": ("temperature_2m", "total_precipitation_sum"), "TC": ("def", "soil", "aet"), "VIIRS": ("avg_rad",)}
STATIC = {
    "LS": ("landscan",),
    "location": ("x", "y", "z"),
    "DW_static": tuple(f"{name}_static" for name in DYNAMIC_WORLD),
    "WC_static": tuple(f"{name}_static" for name in WORLD_CEREAL),
}
ORDERED = (SPACE_TIME, SPACE, TIME, STATIC)

NORMALISATION = {
    "VV": (-11.728724389184965, 4.887145774840316),
    "VH": (-18.85558188024017, 5.730270320384293),
    "B2": (1395.3408730676722, 917.7041440370853),
    "B3": (1338.4026921784578, 913.2988423581528),
    "B4": (1343.09883810357, 1092.678723527555),
    "B5": (1543.8607982512297, 1047.2206083460424),
    "B6": (2186.2022069512263, 1048.0101611156767),
    "B7": (2525.0932853316694, 1143.6903026819996),
    "B8": (2410.3377187373408, 1098.979177731649),
    "B8A": (2750.2854646886753, 1204.472755085893),
    "B11": (2234.911100061487, 1145.9774063078878),
    "B12": (1474.5311266077113, 980.2429840007796),
    "elevation": (673.0152819503361, 983.0697298296237),
    "slope": (5.930092668915115, 8.167406789813247),
    "temperature_2m": (271.5674963541667, 79.80828940314429),
    "total_precipitation_sum": (0.08554303677156568, 0.11669547098151486),
    "def": (657.3181260091111, 704.0008695557707),
    "soil": (692.1291795806885, 925.0116126406431),
    "aet": (562.781331880633, 453.2434022278578),
    "avg_rad": (1.5647115934036673, 7.513020170832818),
    "landscan": (188.20315880851746, 1154.5919128300602),
}
"""Mean and standard deviation of the pretraining, in the units that the model takes."""


@dataclass(frozen=True)
class Size:
    """What the weights of a size need to be built.

    Attributes:
        width: numbers of a token.
        depth: blocks.
        heads: of the attention.
    """

    width: int
    depth: int
    heads: int


SIZES = {"nano": Size(128, 4, 8), "tiny": Size(192, 12, 3), "base": Size(768, 12, 12)}


class GalileoEncoder(nn.Module):
    """The network: normalised groups of channels in, tokens out.

    Args:
        size: of the network.

    Attributes:
        size: of the network.
    """

    def __init__(self, size: Size) -> None:
        from timm.models.vision_transformer import Block  # see `eofuse.models.encoders.raster`

        super().__init__()
        self.size = size
        quarter = size.width // 4
        for name, groups in (("space_time", SPACE_TIME), ("space", SPACE)):
            self.add_module(
                f"{name}_embed", nn.ModuleDict({key: _Patches(len(group), size.width) for key, group in groups.items()})
            )
        for name, groups in (("time", TIME), ("static", STATIC)):
            self.add_module(
                f"{name}_embed",
                nn.ModuleDict({key: nn.Linear(len(group), size.width) for key, group in groups.items()}),
            )
        for name, groups in zip(("s_t", "sp", "t", "st"), ORDERED, strict=True):
            self.register_parameter(f"{name}_channel_embed", nn.Parameter(torch.zeros(len(groups), quarter)))
        self.register_buffer("pos_embed", waves(torch.arange(MOST_DATES), quarter))
        self.month_embed = nn.Embedding(12, quarter, _weight=month_waves(quarter))
        layers = [Block(size.width, size.heads, 4.0, qkv_bias=True, norm_layer=nn.LayerNorm) for _ in range(size.depth)]
        self.blocks = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(size.width)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(
        self,
        values: Mapping[str, Tensor],
        visible: Mapping[str, Tensor],
        months: Tensor,
        patch: int,
        resolution: float = RESOLUTION_M,
    ) -> dict[str, Tensor]:
        """The tokens of normalised inputs; see `at_depths`."""
        return self.at_depths(values, visible, months, patch, resolution, [len(self.blocks)])[0]

    def at_depths(
        self,
        values: Mapping[str, Tensor],
        visible: Mapping[str, Tensor],
        months: Tensor,
        patch: int,
        resolution: float,
        depths: Sequence[int],
    ) -> list[dict[str, Tensor]]:
        """The tokens of normalised inputs after some of the blocks.

        Args:
            values: `space_time` (B, H, W, T, 13), `space` (B, H, W, 16), `time` (B, T, 6) and `static` (B, 18), channels in the order
                of the groups. H and W are multiples of `patch`.
            visible: which tokens take part, bool: (B, h, w, T, 7), (B, h, w, 3), (B, T, 3) and (B, 4), with h = H / patch.
            months: (B, T), 0 for January, −1 where it is not known.
            patch: side of a token in pixels, 1 to 8.
            resolution: side of a pixel in metres.
            depths: numbers of blocks, rising.

        Returns:
            For each depth and sort its tokens, of the shape of `visible` with the width behind; 0 where they did not take part.
        """
        tokens = {
            "space_time": torch.stack(
                [
                    each(part, patch)
                    for each, part in zip(
                        self._embeddings("space_time"), _split(values["space_time"], SPACE_TIME), strict=True
                    )
                ],
                dim=-2,
            ),
            "space": torch.stack(
                [
                    each(part[:, :, :, None], patch)[:, :, :, 0]
                    for each, part in zip(self._embeddings("space"), _split(values["space"], SPACE), strict=True)
                ],
                dim=-2,
            ),
            "time": torch.stack(
                [each(part) for each, part in zip(self._embeddings("time"), _split(values["time"], TIME), strict=True)],
                dim=-2,
            ),
            "static": torch.stack(
                [
                    each(part)
                    for each, part in zip(self._embeddings("static"), _split(values["static"], STATIC), strict=True)
                ],
                dim=-2,
            ),
        }
        for name, codes in self._codes(tokens, months, patch * resolution / RESOLUTION_M).items():
            tokens[name] = tokens[name] + codes
        flat = torch.cat([each.flatten(1, -2) for each in tokens.values()], dim=1)
        seen = torch.cat([visible[name].flatten(1) for name in tokens], dim=1)
        anywhere = seen.any(dim=0)
        found, mask = flat[:, anywhere], seen[:, anywhere]
        attend = None if bool(mask.all()) else (mask | ~mask.any(dim=1, keepdim=True))[:, None, None]
        given = []
        for depth, block in enumerate(self.blocks, 1):
            found = block(found, attn_mask=attend) if found.shape[1] else found
            if depth in depths:
                whole = flat.new_zeros(flat.shape)
                whole[:, anywhere] = (self.norm(found) * mask[..., None]).to(whole)
                parts = torch.split(whole, [each.flatten(1, -2).shape[1] for each in tokens.values()], dim=1)
                given.append({name: p.reshape(tokens[name].shape) for name, p in zip(tokens, parts, strict=True)})
        return given

    def _embeddings(self, name: str) -> list[nn.Module]:
        return list(self.get_submodule(f"{name}_embed").children())

    def _codes(self, tokens: Mapping[str, Tensor], months: Tensor, ratio: float) -> dict[str, Tensor]:
        """What tells tokens their channels, date, month and place: a quarter of the width each."""
        _, height, width, dates, _, _ = tokens["space_time"].shape
        quarter = self.size.width // 4
        names = [self.get_parameter(f"{name}_channel_embed") for name in ("s_t", "sp", "t", "st")]
        date = torch.cat(
            [self.get_buffer("pos_embed")[:dates].expand(len(months), -1, -1), month_codes(self.month_embed, months)],
            dim=-1,
        )
        rows, columns = (
            waves(torch.arange(count, device=months.device) * ratio, quarter // 2) for count in (height, width)
        )
        place = torch.cat([columns.expand(height, -1, -1), rows[:, None].expand(-1, width, -1)], dim=-1)

        def joined(like: Tensor, *parts: Tensor) -> Tensor:
            return torch.cat([part.expand(*like.shape[:-1], part.shape[-1]) for part in parts], dim=-1)

        none = torch.zeros(1, device=months.device)
        return {
            "space_time": joined(tokens["space_time"], names[0], date[:, None, None, :, None], place[:, :, None, None]),
            "space": joined(tokens["space"], names[1], none.expand(2 * quarter), place[:, :, None]),
            "time": joined(tokens["time"], names[2], date[:, :, None], none.expand(quarter)),
            "static": joined(tokens["static"], names[3], none.expand(3 * quarter)),
        }


@FOUNDATIONS.register("galileo")
class Galileo(FoundationModel):
    """Galileo on co-registered rasters and numbers a sample, of one date, or on series of images.

    NDVI and slope are computed from the bands and the elevation. The place is seen only where it is given.
    """

    title = "Galileo"
    licence = "MIT"
    paper = "Tseng et al. 2025, arXiv 2502.09356"
    sizes = tuple(SIZES)
    groups = tuple(name for groups in ORDERED for name in groups)
    maps = 4
    dates = MOST_DATES
    undated = tuple(SPACE)
    channels = (
        *sensor_channels(NORMALISATION, Kind.RASTER),
        InputChannel("elevation", "m", "SRTM", ("dem",), NORMALISATION["elevation"][1], Kind.RASTER),
        InputChannel("temperature_2m", "K", "ERA5", (), NORMALISATION["temperature_2m"][1], Kind.VECTOR),
        InputChannel(
            "total_precipitation_sum",
            "m/month",
            "ERA5",
            (),
            NORMALISATION["total_precipitation_sum"][1],
            Kind.VECTOR,
        ),
    )

    def __init__(self, size: str) -> None:
        super().__init__(size)
        self.encoder = GalileoEncoder(SIZES[size])
        self.width = SIZES[size].width
        self.size_name = size

    @classmethod
    def processing_notes(cls, modalities: Sequence[Modality]) -> list[str]:
        """That Sentinel-2 was top-of-atmosphere reflectance in the pretraining."""
        return [
            f"{each.name} is surface reflectance (L2A), and that of the pretraining was of the top of the atmosphere (L1C)"
            for each in modalities
            if "L2A" in each.title
        ]

    def files(self) -> Sequence[str]:
        """The original name, or one with the size in it."""
        size = self.size_name
        return "encoder.pt", f"*{size}*encoder*.safetensors", f"*{size}*encoder*.pt", f"**/{size}/encoder.pt"

    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Queries, keys and values of a block as one matrix."""
        found = {f"encoder.{name.replace('.backbone', '')}": tensor for name, tensor in weights.items()}
        for name in [name for name in found if ".attn.q." in name]:
            parts = [found.pop(name.replace(".attn.q.", f".attn.{letter}.")) for letter in "qkv"]
            found[name.replace(".attn.q.", ".attn.qkv.")] = torch.cat(parts)
        return found

    def embed(self, batch: Sample, patch: int) -> GroupMeans:
        """Means of the tokens of each group; rasters are cut at their rims to whole tokens.

        Raises:
            UsageError: if the patch is none, or larger than the rasters.
        """
        return self._embed(batch, patch, [len(self.encoder.blocks)])[0]

    def pyramid(self, batch: Sample, patch: int) -> tuple[GroupMeans, list[Tensor]]:
        """Means of the tokens of each group, and maps after each quarter of the blocks."""
        blocks = len(self.encoder.blocks)
        return self._embed(batch, patch, [blocks * (quarter + 1) // self.maps for quarter in range(self.maps)])

    def _embed(self, batch: Sample, patch: int, depths: Sequence[int]) -> tuple[GroupMeans, list[Tensor]]:
        if not 1 <= patch <= LARGEST_PATCH:
            raise UsageError(f"tokens of {patch} pixels", where="patch", fix=f"choose 1 to {LARGEST_PATCH}")
        known = dict(batch.values)
        sizes = {tuple(each.shape[-2:]) for each in known.values() if each.ndim > 2} or {(patch, patch)}
        dates = max((each.shape[1] for each in known.values() if each.ndim == 4), default=1)
        (height, width) = next(iter(sizes))
        high, wide = height // patch * patch, width // patch * patch
        if not high or not wide:
            raise UsageError(f"rasters of {height} × {width} pixels have no token of {patch}", where="patch")
        if batch.places is not None:
            known |= dict(zip("xyz", unit_sphere(batch.places).unbind(1), strict=True))
        if "B4" in known and "B8" in known:
            known["NDVI"] = ndvi(known["B8"], known["B4"])
        if "elevation" in known and known["elevation"].ndim == 3:
            known["slope"] = slope(known["elevation"], batch.pixel_m)
        top, left = (height - high) // 2, (width - wide) // 2
        values: dict[str, Tensor] = {}
        visible: dict[str, Tensor] = {}
        count = len(batch.months)
        for name, groups in zip(("space_time", "space", "time", "static"), ORDERED, strict=True):
            has_pixels, has_dates = name.startswith("space"), name.endswith("time")
            shape = (count, *([dates] if has_dates else []), *([high, wide] if has_pixels else []))
            planes, seen = [], []
            for group in groups.values():
                found = [
                    known.get(channel, batch.months.new_full((), torch.nan, dtype=torch.float32)) for channel in group
                ]
                if has_pixels:
                    found = [
                        each[..., top : top + high, left : left + wide]
                        if each.ndim > 2
                        else each.new_full(shape, torch.nan)
                        for each in found
                    ]
                    found = [each[:, None] if has_dates and each.ndim == 3 else each for each in found]
                else:
                    found = [each if each.ndim == 1 else each.new_full((count,), torch.nan) for each in found]
                    found = [each[:, None] if has_dates else each for each in found]
                found = [each.expand(shape) for each in found]
                missing = torch.stack([each.isnan() for each in found]).any(dim=0)
                if has_pixels:
                    tiles = missing.reshape(*missing.shape[:-2], high // patch, patch, wide // patch, patch)
                    missing = tiles.any(dim=-1).any(dim=-2)
                seen.append(~missing)
                planes += [
                    _normalised(channel, each).nan_to_num(0.0) for channel, each in zip(group, found, strict=True)
                ]
            values[name], visible[name] = torch.stack(planes, dim=-1), torch.stack(seen, dim=-1)
        for given in (values, visible):  # dates behind the pixels
            given["space_time"] = given["space_time"].movedim(1, 3)
        months = batch.months if batch.months.ndim == 2 else batch.months[:, None]
        found_at = self.encoder.at_depths(values, visible, months, patch, batch.pixel_m, depths)
        tokens = found_at[-1]
        sums = [each.flatten(1, -3).sum(dim=1) for each in tokens.values() if each.ndim > 3] + [tokens["static"]]
        counts = [each.flatten(1, -2).sum(dim=1) for each in visible.values() if each.ndim > 2] + [
            visible["static"].float()
        ]
        number = torch.cat(counts, dim=1).float()
        total = torch.cat(sums, dim=1)
        pooled = total.sum(dim=1) / number.sum(dim=1, keepdim=True).clamp(min=1)
        there = (visible["space_time"].sum(dim=(3, 4)) + visible["space"].sum(dim=3)).clamp(min=1)[..., None]
        maps = [(each["space_time"].sum(dim=(3, 4)) + each["space"].sum(dim=3)) / there for each in found_at]
        means = GroupMeans(total / number.clamp(min=1)[..., None], number, pooled)
        return means, [each.permute(0, 3, 1, 2) for each in maps]


def _normalised(channel: str, values: Tensor) -> Tensor:
    """Two deviations below the mean as 0 and two above as 1; NDVI, probabilities and places as they are."""
    if channel in NORMALISATION:
        mean, deviation = NORMALISATION[channel]
        return (values - (mean - 2 * deviation)) / (4 * deviation)
    return values


class _Patches(nn.Module):
    """A linear map of patches of pixels, resized to the patch that is wanted (Beyer et al. 2023, FlexiViT)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, LARGEST_PATCH, LARGEST_PATCH)

    def forward(self, values: Tensor, patch: int) -> Tensor:
        """(B, H, W, T, C) → (B, h, w, T, width)."""
        from timm.layers.patch_embed import resample_patch_embed

        batch, _, _, dates, _ = values.shape
        weight = resample_patch_embed(self.proj.weight, [patch, patch])
        found = nn.functional.conv2d(values.permute(0, 3, 4, 1, 2).flatten(0, 1), weight, self.proj.bias, stride=patch)
        return found.reshape(batch, dates, *found.shape[1:]).permute(0, 3, 4, 1, 2)


def waves(positions: Tensor, width: int) -> Tensor:
    """Sines and cosines of positions (n,) at falling frequencies, (n, width)."""
    frequencies = 10_000.0 ** -(torch.arange(width // 2, device=positions.device) / width / 2)
    angles = positions[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _split(values: Tensor, groups: Mapping[str, tuple[str, ...]]) -> tuple[Tensor, ...]:
    return torch.split(values, [len(group) for group in groups.values()], dim=-1)

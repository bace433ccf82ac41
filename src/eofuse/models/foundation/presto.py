"""Presto, a small transformer over the series of a single pixel (Tseng et al. 2023, arXiv 2304.14065).

A token stands for a group of channels at a step; terrain and place have one token each. Tokens of what is missing are left out of the
attention. Written anew from the paper and the facts of the original code (nasaharvest/presto, MIT); weights keep their original
names on disk.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from eofuse.errors import UsageError
from eofuse.models.foundation.base import FOUNDATIONS, FoundationModel, GroupMeans, InputChannel, Sample
from eofuse.models.foundation.derived import month_codes, month_waves, ndvi, slope, unit_sphere
from eofuse.models.foundation.sensors import SENSORS, sensor_channels

GROUPS = {
    **SENSORS,
    "ERA5": ("temperature_2m", "total_precipitation"),
    "SRTM": ("elevation", "slope"),
    "NDVI": ("NDVI",),
}
ONCE = "SRTM"
"""The group with one token for all steps."""

NO_COVER = 9
"""Class of Dynamic World that stands for none."""

WIDTH, DEPTH, HEADS, MOST_STEPS = 128, 2, 8, 24
QUARTER = WIDTH // 4


class PrestoEncoder(nn.Module):
    """The network: normalised series of a pixel in, a vector out."""

    def __init__(self) -> None:
        from timm.models.vision_transformer import Block  # see `eofuse.models.encoders.raster`

        super().__init__()
        self.eo_patch_embed = nn.ModuleDict({name: nn.Linear(len(group), WIDTH) for name, group in GROUPS.items()})
        self.dw_embed = nn.Embedding(NO_COVER + 1, WIDTH)
        self.latlon_embed = nn.Linear(3, WIDTH)
        self.blocks = nn.ModuleList(
            [Block(WIDTH, HEADS, 4.0, qkv_bias=True, norm_layer=nn.LayerNorm) for _ in range(DEPTH)]
        )
        self.norm = nn.LayerNorm(WIDTH)
        self.register_buffer("pos_embed", step_waves(2 * QUARTER)[None])
        self.month_embed = nn.Embedding(12, QUARTER, _weight=month_waves(QUARTER))
        self.channel_embed = nn.Embedding(len(GROUPS) + 1, QUARTER)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(
        self,
        values: Tensor,
        visible: Tensor,
        months: Tensor,
        places: Tensor | None = None,
        cover: Tensor | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The tokens of normalised inputs, before the last normalisation.

        Args:
            values: (B, T, 17), channels in the order of the groups.
            visible: (B, T, 9), which groups take part.
            months: (B, T), 0 for January, −1 where it is not known.
            places: (B, 3) on the unit sphere, NaN where it is not known; None where the place is hidden.
            cover: (B, T) class of Dynamic World, 9 for none; None for none at all.

        Returns:
            Tokens (B, n, 128), and which of them took part (B, n), by group, `cover` and `place`.
        """
        batch, steps, _ = values.shape
        cover = months.new_full((batch, steps), NO_COVER) if cover is None else cover
        date, place = (
            month_codes(self.month_embed, months),
            self.get_buffer("pos_embed")[:, :steps].expand(batch, -1, -1),
        )
        tokens: dict[str, Tensor] = {}
        seen: dict[str, Tensor] = {}
        parts = torch.split(values, [len(group) for group in GROUPS.values()], dim=-1)
        for number, (name, part) in enumerate(zip(GROUPS, parts, strict=True)):
            channel = self.channel_embed.weight[number].expand(batch, steps, -1)
            codes = torch.cat([date, channel, place], dim=-1)
            if name == ONCE:
                codes = torch.cat([torch.zeros_like(date), channel, torch.zeros_like(place)], dim=-1)[:, :1]
            steps_shown = slice(0, 1) if name == ONCE else slice(None)
            tokens[name] = self.eo_patch_embed[name](part[:, steps_shown]) + codes
            seen[name] = visible[:, steps_shown, number]
        channel = self.channel_embed.weight[len(GROUPS)].expand(batch, steps, -1)
        tokens["cover"] = self.dw_embed(cover) + torch.cat([date, channel, place], dim=-1)
        seen["cover"] = cover != NO_COVER
        if places is not None:
            tokens["place"] = self.latlon_embed(places.nan_to_num(0.0))[:, None]
            seen["place"] = ~places.isnan().any(dim=1, keepdim=True)
        found, mask = torch.cat(list(tokens.values()), dim=1), torch.cat(list(seen.values()), dim=1)
        anywhere = mask.any(dim=0)
        taken, attend = found[:, anywhere], mask[:, anywhere]
        allowed = None if bool(attend.all()) else (attend | ~attend.any(dim=1, keepdim=True))[:, None, None]
        for block in self.blocks if taken.shape[1] else ():
            taken = block(taken, attn_mask=allowed)
        whole = torch.zeros_like(found)
        whole[:, anywhere] = (taken * attend[..., None]).to(whole)
        sizes = [each.shape[1] for each in tokens.values()]
        return dict(zip(tokens, torch.split(whole, sizes, dim=1), strict=True)), seen


@FOUNDATIONS.register("presto")
class Presto(FoundationModel):
    """Presto on series, or on one date; rasters enter as the mean of their pixels, as if the sample were one.

    What is no series is the same at all steps.
    """

    title = "Presto"
    licence = "MIT"
    paper = "Tseng et al. 2023, arXiv 2304.14065"
    sizes = ("default",)
    groups = (*GROUPS, "cover", "place")
    channels = (
        *sensor_channels(
            {name: (None, 5.0 if group == "S1" else 1000.0) for group, names in SENSORS.items() for name in names}
        ),
        InputChannel("temperature_2m", "K", "ERA5", ("t2m",), 12.0),
        InputChannel("total_precipitation", "m/day", "ERA5", ("precip",)),
        InputChannel("elevation", "m", "SRTM", ("dem",), 1000.0),
        InputChannel("slope", "°", "SRTM", derived_from="elevation"),
    )
    series = True
    width = WIDTH

    def __init__(self, size: str) -> None:
        super().__init__(size)
        self.encoder = PrestoEncoder()

    def files(self) -> Sequence[str]:
        """The original name, as torch or safetensors."""
        return "default_model.pt", "*presto*.safetensors", "*presto*.pt"

    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The encoder's tensors; the decoder served the pretraining."""
        return {name: tensor for name, tensor in weights.items() if name.startswith("encoder.")}

    def embed(self, batch: Sample, patch: int) -> GroupMeans:
        """Means of the tokens of each group; `patch` has no meaning here.

        Raises:
            UsageError: if series have too many steps.
        """
        known = dict(batch.values)
        if "elevation" in known and known["elevation"].ndim == 3:
            known["slope"] = slope(known["elevation"], batch.pixel_m)
        known = {name: each.flatten(1).nanmean(dim=1) if each.ndim == 3 else each for name, each in known.items()}
        steps = max((each.shape[1] for each in known.values() if each.ndim == 2), default=1)
        if steps > MOST_STEPS:
            fix = f"take {MOST_STEPS} at most, such as one a month"
            raise UsageError(f"Presto takes no series of {steps} steps", where="fusion.joint", fix=fix)
        known = {name: each if each.ndim == 2 else each[:, None].expand(-1, steps) for name, each in known.items()}
        if "B4" in known and "B8" in known:
            known["NDVI"] = ndvi(known["B8"], known["B4"])
        nothing = torch.full((len(batch.months), steps), torch.nan, device=batch.months.device)
        rows = {name: [_normalised(each, known.get(each, nothing)) for each in group] for name, group in GROUPS.items()}
        visible = torch.stack([~torch.stack(group).isnan().any(dim=0) for group in rows.values()], dim=2)
        values = torch.stack([each for group in rows.values() for each in group], dim=2).nan_to_num(0.0)
        places = None if batch.places is None else unit_sphere(batch.places)
        months = batch.months if batch.months.ndim == 2 else batch.months[:, None].expand(-1, steps)
        tokens, seen = self.encoder(values, visible, months, places)
        names = [name for name in self.groups if name in tokens]
        count = torch.stack([seen[name].sum(dim=1) for name in names], dim=1).float()
        means = torch.stack([tokens[name].sum(dim=1) for name in names], dim=1) / count.clamp(min=1)[..., None]
        pooled = (means * count[..., None]).sum(dim=1) / count.sum(dim=1, keepdim=True).clamp(min=1)
        if batch.places is None:
            means, count = nn.functional.pad(means, (0, 0, 0, 1)), nn.functional.pad(count, (0, 1))
        shown = self.encoder.norm(means) * (count > 0)[..., None]
        return GroupMeans(shown, count, self.encoder.norm(pooled))


def step_waves(width: int) -> Tensor:
    """Sine and cosine of the number of a step, in turn, at falling frequencies, (steps, width)."""
    frequencies = 1000.0 ** -(2 * (torch.arange(width) // 2) / width)
    angles = torch.arange(MOST_STEPS)[:, None] * frequencies
    return torch.where(torch.arange(width) % 2 == 0, angles.sin(), angles.cos())


def _normalised(channel: str, values: Tensor) -> Tensor:
    """Values of a channel as the pretraining had them."""
    if channel in GROUPS["S1"]:
        return (values + 25) / 25
    if channel.startswith("B"):
        return values / 10_000
    scale = {"temperature_2m": 35.0, "total_precipitation": 0.03, "elevation": 2000.0, "slope": 50.0}
    return (values - 272.15 if channel == "temperature_2m" else values) / scale.get(channel, 1.0)

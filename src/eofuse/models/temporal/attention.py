"""`TemporalAttention`: a lightweight attention over the dates, whose weights also join the finer maps."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eofuse.models.features import Features, FeatureSizes
from eofuse.models.temporal.base import TEMPORAL, Dates, TemporalEncoder

WIDTH = 128
HEADS = 16
KEY = 8
HARMONICS = 4


class DateEncoding(nn.Module):
    """Sines and cosines of the times of dates, (B, T, 16), of their features (see `eofuse.models.normalisation.Normaliser`).

    Of days: four harmonics of the season, and of the years since the first date periods from four years to half a year. Of numbered
    dates: periods from twice the length of the series to a 64th of it.
    """

    width = 4 * HARMONICS

    def forward(self, times: Tensor) -> Tensor:
        """The encoding of features (B, T, K), K being 3 of days and 1 of numbers."""
        powers = torch.arange(HARMONICS, device=times.device, dtype=times.dtype)
        if times.shape[-1] == 1:
            angle = times * math.pi * 2 ** torch.cat([powers, powers + HARMONICS])
        else:
            sine, cosine, years = times[..., :1], times[..., 1:2], times[..., 2:]
            season = torch.atan2(sine, cosine) * (powers + 1)
            angle = torch.cat([season, years * math.pi * 2 ** (powers - 1)], -1)
        return torch.cat([angle.sin(), angle.cos()], -1)


@TEMPORAL.register("attention")
class TemporalAttention(TemporalEncoder):
    """Attention of 16 heads over the dates, each over a share of the channels of its own and with one learned query.

    The lightweight temporal attention encoder (L-TAE) of Garnot and Landrieu (2020, arXiv:2007.00586). Where a head looks at pixels,
    each cell of the coarsest map attends by itself, and the weights, made larger, join the dates of the finer maps, whose channels the
    heads share out: U-TAE (Garnot and Landrieu 2021, arXiv:2107.07933). What differs: layer norm of each date in place of group norm
    over all of them and batch norm, so that dates that fill up a batch change nothing; and the encoding of the dates has harmonics of
    the year.
    """

    def __init__(self, sizes: FeatureSizes, time_width: int) -> None:
        super().__init__(sizes, time_width)
        self.first = nn.Linear(sizes.vector, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.encoding = DateEncoding()
        self.date = nn.Linear(DateEncoding.width, WIDTH)
        self.key = nn.Linear(WIDTH, HEADS * KEY)
        self.query = nn.Parameter(torch.randn(HEADS, KEY))
        self.last = nn.Sequential(nn.Linear(WIDTH, sizes.vector), nn.LayerNorm(sizes.vector), nn.GELU())

    def forward(self, dates: Dates) -> Features:
        """Features of the series."""
        date = self.date(self.encoding(dates.times))
        if not dates.maps:
            vector, _ = self._attend(dates.vectors, date, dates.counted())
            return Features(vector, [], dates.strides)
        cells = dates.maps[-1].movedim(2, -1)
        coarsest, weights = self._attend(cells, date[:, :, None, None], dates.counted(-1).movedim(2, -1))
        weights = weights.movedim(-1, 2)
        maps = [self._join(values, weights, dates.counted(level)) for level, values in enumerate(dates.maps[:-1])]
        return Features(coarsest.mean((1, 2)), [*maps, coarsest.movedim(-1, 1)], dates.strides)

    def _attend(self, values: Tensor, date: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
        """What is made of (B, T, …, D) values, (B, …, D), and the weights of the dates, (B, T, …, heads)."""
        x = self.norm(self.first(values)) + date
        keys = self.key(x).view(*x.shape[:-1], HEADS, KEY)
        weights = ((keys * self.query).sum(-1) / math.sqrt(KEY)).masked_fill(~counted, -math.inf).softmax(1)
        joined = (x.view(*x.shape[:-1], HEADS, WIDTH // HEADS) * weights[..., None]).sum(1).flatten(-2)
        return self.last(joined), weights

    def _join(self, values: Tensor, weights: Tensor, counted: Tensor) -> Tensor:
        """A finer map (B, C, h, w) of those of the dates (B, T, C, h, w), by the weights of coarser cells (B, T, heads, h', w')."""
        finer = F.interpolate(weights.flatten(0, 1), values.shape[-2:], mode="bilinear", align_corners=False)
        finer = finer.view(*weights.shape[:3], *values.shape[-2:]) * counted
        finer = finer / finer.sum(1, keepdim=True).clamp(min=1e-6)
        heads = torch.arange(values.shape[2], device=values.device) * HEADS // values.shape[2]
        joined: Tensor = (values * finer[:, :, heads]).sum(1)
        return joined

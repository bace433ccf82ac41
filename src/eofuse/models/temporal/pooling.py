"""`TemporalMean` and `TemporalMax`: the controls of attention, which do not see when a date was."""

import torch
from torch import Tensor

from eofuse.models.features import Features
from eofuse.models.temporal.base import TEMPORAL, Dates, TemporalEncoder


@TEMPORAL.register("mean")
class TemporalMean(TemporalEncoder):
    """The mean over the valid dates, of maps over those that show a pixel of the cell."""

    def forward(self, dates: Dates) -> Features:
        """Means of vectors and maps."""
        maps = [_mean(values, dates.counted(level)) for level, values in enumerate(dates.maps)]
        return Features(_mean(dates.vectors, dates.counted()), maps, dates.strides)


@TEMPORAL.register("max")
class TemporalMax(TemporalEncoder):
    """The largest of each value over the valid dates, of maps over those that show a pixel of the cell."""

    def forward(self, dates: Dates) -> Features:
        """Maxima of vectors and maps."""
        maps = [_largest(values, dates.counted(level)) for level, values in enumerate(dates.maps)]
        return Features(_largest(dates.vectors, dates.counted()), maps, dates.strides)


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    weights = counted.to(values)
    return (values * weights).sum(1) / weights.sum(1)


def _largest(values: Tensor, counted: Tensor) -> Tensor:
    return values.masked_fill(~counted, torch.finfo(values.dtype).min).amax(1)

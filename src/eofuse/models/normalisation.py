"""`Normaliser`: native values to normalised ones; `ChannelStatistics`: the mean and deviation it works with."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eofuse.devices import on_cpu
from eofuse.errors import UsageError
from eofuse.modalities import LARGEST_CODE, TIMES, Kind, Modality, code_places
from eofuse.models.piecewise import encode_piecewise, in_pieces

DAYS_A_YEAR = 365.2425


@dataclass(frozen=True)
class ChannelStatistics:
    """Mean and standard deviation of each channel in physical units, usually those of the training patches.

    Categorical modalities have none.

    Attributes:
        mean: by modality name, one value a channel.
        std: by modality name, one value a channel; 0 for a channel that is constant.
        quantiles: by name of a vector or series, evenly spaced quantiles of each channel, from the smallest value to the largest;
            the same number for every channel. Only needed where numbers are encoded piecewise.
    """

    mean: dict[str, list[float]]
    std: dict[str, list[float]]
    quantiles: dict[str, list[list[float]]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description, the inverse of `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ChannelStatistics":
        """Builds statistics from their JSON description."""
        return cls(mean=dict(values["mean"]), std=dict(values["std"]), quantiles=dict(values.get("quantiles", {})))


class Normaliser(nn.Module):
    """Turns batches in native dtype into float32 with mean 0 and standard deviation 1, and codes into one-hot.

    Scale, offset, mean and deviation make one multiplication and addition a channel. A missing value (the modality's
    nodata value, NaN or infinity) becomes the channel's mean, and a code that is no category becomes zeros. Steps of a series
    get their time in front (sine and cosine of the season, and years since the first step; or the step's number, the last being
    1) and behind them a flag a channel, 1 where its number is known; a step that doesn't exist is zeros throughout. Dates of an
    image series get one more plane behind their channels, 1 where a channel of the pixel is known; a date that doesn't exist is zeros
    throughout. Their times, as those of steps, stand beside them.

    Args:
        modalities: what comes in, with only those channels that do.
        statistics: for each channel of each modality that is not categorical.
        piecewise: whether the numbers of vectors and series become pieces, see `encode_piecewise`.

    Attributes:
        modalities: what comes in.
        gives: the same as it goes out, with a channel for each piece.
        physical: names of rasters, vectors and series, also of images, that go out in physical units, with NaN where a value is
            missing, and days in place of features of their times; none at first.

    Raises:
        UsageError: if statistics are missing or don't fit the channels, or a code is beyond what a store holds.
    """

    def __init__(self, modalities: Sequence[Modality], statistics: ChannelStatistics, piecewise: bool = False) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        self.piecewise = piecewise
        self.gives: tuple[Modality, ...] = ()
        self.physical: frozenset[str] = frozenset()
        for modality in self.modalities:
            given = modality
            if piecewise and modality.kind in (Kind.VECTOR, Kind.SERIES):
                edges = _check_quantiles(modality, statistics)
                self.register_buffer(f"{modality.name}_edges", torch.tensor(edges))
                given = in_pieces(modality, edges)
            self.gives += (given,)
            if modality.is_categorical:
                self.register_buffer(f"{modality.name}_one_hot", _one_hot_table(modality), persistent=False)
            else:
                mean, std = _check_statistics(modality, statistics)
                self.register_buffer(f"{modality.name}_mean", mean)
                self.register_buffer(f"{modality.name}_std", std)

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Normalises a batch.

        Args:
            inputs: by modality name, in native dtype: (B, C, H, W) for rasters, (B, C) for vectors, (B, T, 1 + C) for series,
                (B,) for codes, (B, T, C, H, W) for image series, with their times (B, T) under `Modality.times_key`. Modalities that
                the model does not use are left out.

        Returns:
            float32 of the same shapes, with as many channels as the modality in `gives` is wide; one-hot (B, K, H, W) and (B, K)
            for codes; features of the times of image series (B, T, `time_width`). Those in `physical` are not standardised.

        Raises:
            UsageError: if a modality is missing or has another shape, or rasters differ in size.
        """
        normalised: dict[str, Tensor] = {}
        first: Modality | None = None
        for modality in self.modalities:
            values = inputs.get(modality.name)
            if values is None:
                raise UsageError("the model needs this input", where=modality.name, fix="add it to the batch")
            _check_shape(modality, values)
            if modality.has_pixels:
                if first is not None:
                    _check_same_size(modality, values, first, normalised[first.name])
                first = first or modality
            if modality.name in self.physical:
                normalised[modality.name] = _physical(modality, values)
                if modality.kind is Kind.IMAGE_SERIES:
                    times = _times(modality, values, inputs).float()
                    nothing = ~times.isfinite()[:, :, None, None, None]
                    normalised[modality.name] = normalised[modality.name].masked_fill(nothing, math.nan)
                    normalised[modality.times_key] = times if modality.dated else torch.full_like(times, math.nan)
            elif modality.is_categorical:
                normalised[modality.name] = self._one_hot(modality, values)
            elif modality.kind is Kind.SERIES:
                normalised[modality.name] = self._series(modality, values)
            elif modality.kind is Kind.IMAGE_SERIES:
                normalised |= self._image_series(modality, values, _times(modality, values, inputs))
            elif modality.kind is Kind.VECTOR:
                normalised[modality.name] = self._numbers(modality, values)
            else:
                normalised[modality.name] = self._standardise(modality, values)
        return normalised

    def valid(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Which normalised values of a batch stand for data, by the name of each modality that lacks some; of series none is named.

        Args:
            inputs: as in `forward`.
            present: by modality name, the patches that have it, (B,) bool; None where all have all.

        Returns:
            Of the shape that `forward` gives, bool; of categories (B, 1, H, W) and (B, 1).
        """
        found: dict[str, Tensor] = {}
        for modality, given in zip(self.modalities, self.gives, strict=True):
            if modality.kind in (Kind.SERIES, Kind.IMAGE_SERIES):
                continue
            values = inputs[modality.name]
            if modality.is_categorical:
                codes = values if modality.kind is Kind.RASTER else values[:, None]
                table = self.get_buffer(f"{modality.name}_one_hot").any(1)
                valid = table[codes.long().clamp(max=len(table) - 1)]
            else:
                valid = is_data(modality, values.float())
                valid = valid.repeat_interleave(given.width // modality.width, 1)
            if present is not None:
                valid = valid & present[modality.name].view(-1, *(1,) * (valid.ndim - 1))
            if not bool(valid.all()):
                found[modality.name] = valid
        return found

    def _numbers(self, modality: Modality, values: Tensor) -> Tensor:
        """Numbers (B, C), standardised or, as (B, C × pieces), in pieces, of which the channel's mean is all zeros."""
        if not self.piecewise:
            return self._standardise(modality, values)
        edges = self.get_buffer(f"{modality.name}_edges")
        x = values.float()
        mean = self.get_buffer(f"{modality.name}_mean")
        x = torch.where(is_data(modality, x), x * modality.scale + modality.offset, mean)
        return (encode_piecewise(x, edges) - encode_piecewise(mean, edges)).flatten(1)

    def _series(self, modality: Modality, values: Tensor) -> Tensor:
        time, channels = values[..., :1].float(), values[..., 1:].float()
        exists = time.isfinite()
        known = is_data(modality, channels) & exists
        steps = channels.where(known, channels.new_tensor(math.nan)).flatten(0, 1)
        numbers = self._numbers(modality, steps).view(*values.shape[:2], -1)
        return torch.cat([_time_features(modality, time, exists), numbers, known.float()], -1)

    def _image_series(self, modality: Modality, values: Tensor, times: Tensor) -> dict[str, Tensor]:
        exists = times.isfinite()
        numbers = self._standardise(modality, values.flatten(0, 1)).view(values.shape)
        known = exists[:, :, None, None, None].expand(-1, -1, 1, *values.shape[-2:])
        if values.is_floating_point() or modality.nodata is not None:
            known = known & is_data(modality, values.float()).any(2, keepdim=True)
        if not bool(exists.all()):
            numbers = numbers.where(exists[:, :, None, None, None], numbers.new_zeros(()))
        features = _time_features(modality, times[..., None].float(), exists[..., None])
        return {modality.name: torch.cat([numbers, known.to(numbers)], 2), modality.times_key: features}

    def _standardise(self, modality: Modality, values: Tensor) -> Tensor:
        mean, std = self.get_buffer(f"{modality.name}_mean"), self.get_buffer(f"{modality.name}_std")
        shape = (1, -1) + (1,) * (values.ndim - 2)
        factor = (modality.scale / std).view(shape)
        shift = ((modality.offset - mean) / std).view(shape)
        x = values.float()  # first of all: torch can do next to nothing with unsigned 16-bit integers
        result = torch.addcmul(shift, x, factor)
        if modality.nodata is not None:
            # zeros and ones in float: a boolean mask takes three times as long
            result.mul_(torch.ne(x.detach(), modality.nodata, out=torch.empty_like(x)))
        return result.nan_to_num_(0.0, 0.0, 0.0) if values.is_floating_point() else result

    def _one_hot(self, modality: Modality, codes: Tensor) -> Tensor:
        table = self.get_buffer(f"{modality.name}_one_hot")
        codes = codes.long().clamp(max=len(table) - 1)
        if modality.kind is Kind.RASTER:
            return F.embedding(codes[:, 0], table).movedim(-1, 1)
        return F.embedding(codes, table)


def hide_absent(
    normalised: Mapping[str, Tensor], present: Mapping[str, Tensor], physical: Collection[str] = ()
) -> dict[str, Tensor]:
    """Normalised values with zeros, which is the mean, where a patch lacks the modality, whatever the batch holds there.

    Args:
        normalised: by modality name, (B, …); times by their key.
        present: by modality name, (B,) bool.
        physical: names of those that get NaN in place of zeros (see `Normaliser`).
    """
    hidden = dict(normalised)
    for name, values in normalised.items():
        there = present[name.removesuffix(TIMES)]
        if not bool(on_cpu(there).all()):
            blank = values.new_full((), math.nan if name in physical else 0.0)
            hidden[name] = values.where(there.view(-1, *(1 for _ in values.shape[1:])), blank)
    return hidden


def _physical(modality: Modality, values: Tensor) -> Tensor:
    """Values in physical units, NaN where one is missing."""
    x = values.float()
    if modality.kind is Kind.SERIES:  # times stay as they are
        return torch.cat([x[..., :1], _known(modality, x[..., 1:])], -1)
    return _known(modality, x)


def _known(modality: Modality, x: Tensor) -> Tensor:
    return (x * modality.scale + modality.offset).where(is_data(modality, x), x.new_full((), math.nan))


def is_data(modality: Modality, numbers: Tensor) -> Tensor:
    """Which numbers are finite and not the modality's nodata value, bool."""
    return numbers.isfinite() if modality.nodata is None else numbers.isfinite() & (numbers != modality.nodata)


def _times(modality: Modality, values: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
    """The times (B, T) of an image series.

    Raises:
        UsageError: if they are missing or not as many as its dates.
    """
    times = inputs.get(modality.times_key)
    if times is None or times.shape != values.shape[:2]:
        found = "are missing" if times is None else f"have the shape {tuple(times.shape)}"
        what = f"its times {found} where {tuple(values.shape[:2])} are expected"
        fix = "give each date its time, NaN where a patch has fewer dates"
        raise UsageError(what, where=modality.times_key, fix=fix)
    return times


def _time_features(modality: Modality, time: Tensor, exists: Tensor) -> Tensor:
    """Features of the time of steps (B, T, 1), 0 where a step does not exist: see `Normaliser`."""
    if not modality.dated:
        return torch.where(exists, time / max((modality.steps or 1) - 1, 1), 0.0)
    years = time / DAYS_A_YEAR
    first = torch.where(exists, years, math.inf).amin(1, keepdim=True)
    angle = 2 * math.pi * years
    return torch.where(exists, torch.cat([angle.sin(), angle.cos(), years - first], -1), 0.0)


def _one_hot_table(modality: Modality) -> Tensor:
    """(256 or more, K): the row of a category's code has a one in its column, every other row is zero, as is the last one."""
    table = torch.zeros(code_places(modality.categories), len(modality.categories))
    for column, category in enumerate(modality.categories):
        if not 0 <= category.code <= LARGEST_CODE:
            raise UsageError(f"the code {category.code} is not from 0 to {LARGEST_CODE}", where=modality.name)
        table[category.code, column] = 1.0
    return table


def _check_statistics(modality: Modality, statistics: ChannelStatistics) -> tuple[Tensor, Tensor]:
    """Mean and deviation as tensors, with 1 for the deviation of a channel that is constant but for rounding."""
    if modality.name not in statistics.mean or modality.name not in statistics.std:
        raise UsageError("there are no channel statistics", where=modality.name, fix="compute them on training patches")
    mean, std = statistics.mean[modality.name], statistics.std[modality.name]
    if not len(mean) == len(std) == len(modality.channels):
        what = f"statistics of {len(mean)} channels for {len(modality.channels)}"
        raise UsageError(what, where=modality.name, fix="compute them for the channels that are used")
    for channel, centre, deviation in zip(modality.channel_names, mean, std, strict=True):
        if not (math.isfinite(centre) and math.isfinite(deviation) and deviation >= 0):
            what = f"mean {centre} and deviation {deviation} can't be used"
            raise UsageError(what, where=f"{modality.name}.{channel}")
    resolution = torch.finfo(torch.float32).eps
    varies = [deviation > resolution * abs(centre) for centre, deviation in zip(mean, std, strict=True)]
    return torch.tensor(mean), torch.tensor([value if true else 1.0 for value, true in zip(std, varies, strict=True)])


def _check_quantiles(modality: Modality, statistics: ChannelStatistics) -> list[list[float]]:
    """Quantiles of each channel, as many for each."""
    found = statistics.quantiles.get(modality.name)
    if found is None:
        raise UsageError("there are no quantiles", where=modality.name, fix="compute them on training patches")
    lengths = {len(values) for values in found}
    if len(found) != len(modality.channels) or len(lengths) != 1 or min(lengths) < 2:
        raise UsageError(
            f"quantiles of {len(found)} channels for {len(modality.channels)}, {sorted(lengths)} of a channel",
            where=modality.name,
            fix="compute as many for each of the channels that are used, two at least",
        )
    return found


def _check_shape(modality: Modality, values: Tensor) -> None:
    channels, steps = len(modality.channels), modality.steps
    sides, expected = {
        Kind.CATEGORY: ((), "(B,)"),
        Kind.VECTOR: ((channels,), f"(B, {channels})"),
        Kind.SERIES: ((steps, 1 + channels), f"(B, {steps}, 1 + {channels})"),
        Kind.RASTER: ((channels, *values.shape[-2:]), f"(B, {channels}, H, W)"),
        Kind.IMAGE_SERIES: ((*values.shape[1:2], channels, *values.shape[-2:]), f"(B, T, {channels}, H, W)"),
    }[modality.kind]
    if values.ndim != len(sides) + 1 or values.shape[1:] != sides:
        names = ", ".join(modality.channel_names)
        what = f"has the shape {tuple(values.shape)} where the model expects {expected}"
        raise UsageError(what, where=modality.name, fix=f"give its channels in this order: {names}")


def _check_same_size(modality: Modality, values: Tensor, other: Modality, others: Tensor) -> None:
    """Raises a `UsageError` if two rasters, each on its own grid, do not cover the same patch."""
    own, size = (
        [side * each.cell for side in given.shape[-2:]] for each, given in ((modality, values), (other, others))
    )
    if own != size:
        what = f"has {own[0]}×{own[1]} pixels where {other.name} has {size[0]}×{size[1]}"
        raise UsageError(what, where=modality.name, fix="bring all rasters to one grid")

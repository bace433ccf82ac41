"""`FoundationEncoder`: a pretrained model of several sensors as one encoder of all the modalities that it knows.

Every model of `FOUNDATIONS` is an encoder by its name and size, as `galileo:nano`. It takes physical units, which are brought to its
own, and hides by itself what is missing: a token with a missing pixel, a modality that a patch lacks, a place that is not known.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from eofuse.errors import UsageError, did_you_mean
from eofuse.modalities import CONTEXT, MONTH, PLACE, VECTORS, Kind, Modality
from eofuse.models.encoders.base import ENCODERS, Encoder
from eofuse.models.encoders.options import EncoderOptions, FoundationOptions
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.foundation import FOUNDATIONS, PIXEL_M, FoundationModel, GroupMeans, Sample
from eofuse.models.foundation.matching import IN_RECIPES, Taken, known_channels, match_channels
from eofuse.models.parts import Part

CONSTANT = 1e-5
"""Largest deviation of a number that counts as constant, beside 1 and its mean."""


class FoundationEncoder(Encoder):
    """A pretrained model of several sensors, with random weights until it starts from a file of its own.

    Args:
        modalities: rasters, vectors or (of models that take them) series, also of images, of which it knows a channel each, by name,
            in units that can be converted. Series have the same steps, of which the first one has the dates; series of images follow
            one another, each with dates of its own.
        pixels: whether its maps are looked at, from four depths where the model has maps.
        options: how it is used.

    Attributes:
        foundation: the model.
        size: of the model.
        network: the model itself.
        taken: the channels that it takes.
        series: the first series of numbers, None where there is none.
        image_series: the series of images.

    Raises:
        UsageError: if it knows no channel of a modality, the unit of one is not known, or series differ in their steps.
    """

    kinds = (Kind.RASTER, Kind.VECTOR, Kind.SERIES, Kind.IMAGE_SERIES)
    takes_gaps = True
    foundation: ClassVar[type[FoundationModel]]
    size: ClassVar[str]

    def __init__(
        self, modalities: Sequence[Modality], pixels: bool = False, options: FoundationOptions | None = None
    ) -> None:
        super().__init__(modalities, pixels)
        self.options = options = options or FoundationOptions()
        self.taken = channels_taken(self.foundation, modalities, options)
        self.series = next((each.modality for each in self.taken if each.modality.kind is Kind.SERIES), None)
        self.image_series = [each for each in self.modalities if each.kind is Kind.IMAGE_SERIES]
        self.network = self.foundation(self.size)
        self.network.name = f"{self.foundation_name()}:{self.size}"
        self.pixel_m = options.pixel_m or min(
            (side for each in self.taken if (side := each.resolution_m)), default=PIXEL_M
        )
        self.groups = self._groups()
        width = self.network.width * (len(self.groups) if options.pool == "groups" else 1)
        maps = self.foundation.maps if pixels and any(each.has_pixels for each in modalities) else 0
        self.sizes = FeatureSizes(width, [self.network.width] * maps, [options.patch] * maps)
        self.pad_to = options.patch if maps else 1
        self.register_buffer("vector_mean", torch.zeros(width))
        self.register_buffer("vector_std", torch.ones(width))

    @classmethod
    def make(cls, modalities: Sequence[Modality], pixels: bool, options: EncoderOptions) -> Encoder:
        """One with the options of foundation models."""
        return cls(modalities, pixels, options.foundation)

    @classmethod
    def takes(cls, options: EncoderOptions) -> tuple[str, ...]:
        """The month, and the place where it is asked for, as far as the model sees them."""
        wanted = CONTEXT if options.foundation.place else (MONTH,)
        return tuple(name for name in wanted if name in cls.foundation.sees)

    @classmethod
    def of_size(cls, size: str) -> type[Encoder]:
        """The same model in another size."""
        if size not in cls.foundation.sizes:
            name = cls.foundation_name()
            raise UsageError(
                f"{name} has no size '{size}'", where="fusion", fix=did_you_mean(size, cls.foundation.sizes)
            )
        return foundation_encoder(cls.foundation, size)

    @classmethod
    def foundation_name(cls) -> str:
        """Name of the model without its size."""
        return next(name for name, model in FOUNDATIONS.items() if model is cls.foundation)

    @classmethod
    def knows(cls) -> str:
        """The channels that it knows."""
        return known_channels(cls.foundation)

    @classmethod
    def accepts(cls, modalities: Sequence[Modality]) -> bool:
        """Any number of rasters of pixels and vectors without categories, and series, also of images, where the model takes them."""
        kinds = kinds_of(cls.foundation)
        return all(each.kind in kinds and not each.is_categorical and each.cell == 1 for each in modalities)

    def features(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> Features:
        """The mean of its tokens, or one mean a group; standardised by `standardise_by`, 0 where there is no token.

        What is missing, and modalities that a patch lacks, are NaN: `present` says nothing new.
        """
        maps: list[Tensor] = []
        vectors = inputs.get(self.key)
        if self.sizes.maps:
            means, maps = self.network.pyramid(self._sample(inputs), self.options.patch)
            vectors = self._pooled(means)
        elif vectors is None:
            vectors = self.vectors(inputs)
        standard = (vectors - self.get_buffer("vector_mean")) / self.get_buffer("vector_std")
        return Features(standard.where(vectors != 0, standard.new_zeros(())), maps, list(self.sizes.strides))

    @property
    def key(self) -> str:
        """The name under which a batch has its vectors, if they were computed before."""
        return VECTORS + "+".join(self.names)

    def vectors(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Vectors (B, width) before they are standardised, 0 where there is no token; `inputs` as for `features`."""
        return self._pooled(self.network.embed(self._sample(inputs), self.options.patch))

    def _sample(self, inputs: Mapping[str, Tensor]) -> Sample:
        """A batch as the model takes it; where maps are looked at, with missing pixels up to whole tokens."""
        first = inputs[self.modalities[0].name]
        values = self._one_after_another(inputs)
        months = inputs.get(MONTH, first.new_full((len(first),), -1, dtype=torch.long))
        if self.series is not None:
            times = inputs[self.series.name][..., 0]
            months = months_of_days(times) if self.series.dated else torch.full_like(times, -1, dtype=torch.long)
        elif self.image_series:
            months = torch.cat([months_of_days(inputs[each.times_key]) for each in self.image_series], 1)
        if self.options.month is not None:
            months = months.where(months >= 0, self.options.month - 1)
        places = inputs.get(PLACE) if self.options.place else None
        if self.sizes.maps:
            values = {name: _padded(each, self.pad_to) if each.ndim > 2 else each for name, each in values.items()}
        return Sample(values, months, places, self.pixel_m)

    def _one_after_another(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Values by channel; of series of images (B, dates of all of them, H, W), NaN at the dates of the others."""
        dates = {each.name: inputs[each.name].shape[1] for each in self.image_series}
        found = {}
        for each in self.taken:
            own = found[each.channel.name] = each.of(inputs[each.modality.name])
            if each.modality.name in dates:
                nothing = {
                    name: own.new_full((1,), math.nan).expand(len(own), count, *own.shape[2:])
                    for name, count in dates.items()
                }
                found[each.channel.name] = torch.cat(list({**nothing, each.modality.name: own}.values()), 1)
        return found

    @property
    def is_raw(self) -> bool:
        """Whether its vectors are not standardised yet."""
        mean, std = self.get_buffer("vector_mean"), self.get_buffer("vector_std")
        return bool((mean == 0).all()) and bool((std == 1).all())

    def standardise_by(self, vectors: Tensor) -> None:
        """Takes mean and deviation of `vectors` (n, width)."""
        known = vectors != 0
        count = known.sum(0).clamp(min=1)
        mean = vectors.sum(0) / count
        std = (((vectors - mean).square() * known).sum(0) / count).sqrt()
        varies = std > CONSTANT * (1 + mean.abs())  # else rounding would be blown up
        self.get_buffer("vector_mean").copy_(mean)
        self.get_buffer("vector_std").copy_(std.where(varies, torch.ones_like(std)))

    def tensors_from(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Those of the published weights.

        Raises:
            DataError: if they are of another size, or damaged.
        """
        return {f"network.{name}": tensor for name, tensor in self.network.own_tensors(weights).items()}

    def published(self) -> list[str]:
        """All of the network."""
        return [f"network.{name}" for name in self.network.state_dict()]

    def layer_numbers(self) -> dict[str, int]:
        """What makes tokens comes first, then block after block, then the norm."""
        numbers = {name: self.network.layer_of(name) for name in self.state_dict()}
        last = max(numbers.values()) + 1
        return numbers | {name: last for name in numbers if name.startswith("network.encoder.norm.")}

    def parts(self, path: str) -> list[Part]:
        """The network, which is the same whatever modalities it takes, and what standardises its vectors, which is not."""
        (whole,) = super().parts(path)
        network = {name: tensor for name, tensor in whole.tensors.items() if name.startswith("network.")}
        others = {name: tensor for name, tensor in whole.tensors.items() if name not in network}
        identity = (type(self), self.options.pool, self.options.patch, *self.modalities)
        standard = Part(f"{path} (standardised)", "vectors", others, identity=identity)
        return [replace(whole, tensors=network, identity=type(self)), standard]

    def _pooled(self, found: GroupMeans) -> Tensor:
        """Vectors (B, width), 0 where there is no token."""
        if self.options.pool == "mean":
            return found.pooled.where(found.tokens.sum(dim=1, keepdim=True) > 0, found.pooled.new_zeros(()))
        means, tokens = found.means[:, self.groups], found.tokens[:, self.groups]
        return means.where((tokens > 0)[..., None], means.new_zeros(())).flatten(1)

    def _groups(self) -> list[int]:
        """Places of the groups that can have tokens, among those of the model."""
        side = self.options.patch
        pixels = (1, side, side)
        shapes = {Kind.RASTER: pixels, Kind.VECTOR: (1,), Kind.SERIES: (1, 1), Kind.IMAGE_SERIES: (1, *pixels)}
        ones = {each.channel.name: torch.ones(shapes[each.modality.kind]) for each in self.taken}
        places = torch.zeros(1, 2) if self.options.place else None
        with torch.no_grad():
            found = self.network.embed(Sample(ones, torch.zeros(1, dtype=torch.long), places, self.pixel_m), side)
        groups: list[int] = (found.tokens[0] > 0).nonzero()[:, 0].tolist()
        return groups


def _padded(raster: Tensor, multiple: int) -> Tensor:
    """A channel (B, H, W) with missing pixels below and at the right until both sides are multiples."""
    height, width = raster.shape[-2:]
    return F.pad(raster, (0, -width % multiple, 0, -height % multiple), value=math.nan)


def months_of_days(days: Tensor) -> Tensor:
    """Months from 0 of days since 1970-01-01 (Gregorian), −1 of what is no number."""
    z = days.nan_to_num(0.0).floor().long() + 719_468  # from the first of March of the year 0
    of_era = z % 146_097
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    months = ((5 * of_year + 2) // 153 + 2) % 12
    return months.where(days.isfinite(), -1)


def kinds_of(model: type[FoundationModel]) -> tuple[Kind, ...]:
    """Kinds of modalities that a model takes."""
    found = [Kind.RASTER, Kind.VECTOR]
    found += [Kind.SERIES] if model.series else []
    return (*found, *([Kind.IMAGE_SERIES] if model.dates else []))


def channels_taken(
    model: type[FoundationModel], modalities: Sequence[Modality], options: FoundationOptions
) -> list[Taken]:
    """The channels that a model takes of modalities, each of which it must know.

    Raises:
        UsageError: if it knows no channel of a modality, or the unit of one is not known.
    """
    names = {name for each in modalities for name in (each.name, *(f"{each.name}.{c}" for c in each.channel_names))}
    units = {name: unit for name, unit in options.units.items() if name in names}  # others are of other inputs
    taken = match_channels(model, modalities, units, IN_RECIPES, kinds_of(model))
    steps = {(each.steps, each.dated): each.name for each in modalities if each.kind is Kind.SERIES}
    if len(steps) > 1:
        first, other, *_ = steps.values()
        what = f"the series '{first}' and '{other}' differ in their steps, which {model.title} takes together"
        raise UsageError(what, where=IN_RECIPES.inputs, fix="bring them to the same steps, or leave one out")
    _check_image_series(model, taken, [each for each in modalities if each.kind is Kind.IMAGE_SERIES])
    for modality in modalities:
        if all(each.modality.name != modality.name for each in taken):
            what = f"{model.title} takes nothing of '{modality.name}' ({', '.join(modality.channel_names[:8])})"
            raise UsageError(f"{what}; it knows {known_channels(model)}", where=IN_RECIPES.inputs)
    return taken


def _check_image_series(model: type[FoundationModel], taken: Sequence[Taken], series: Sequence[Modality]) -> None:
    """Raises a `UsageError` if series of images have too many dates, none that are days, or stand beside what has one date."""
    if not series:
        return
    dates = sum(each.steps or 0 for each in series)
    if dates > model.dates:
        what = f"{model.title} takes {model.dates} dates, and {' and '.join(each.name for each in series)} have up to {dates}"
        raise UsageError(what, where=IN_RECIPES.inputs, fix="pack fewer, such as one a month, or leave a series out")
    for each in taken:
        if each.modality.kind is not Kind.IMAGE_SERIES and each.channel.group not in model.undated:
            what = f"'{each.modality.name}' has one date, and stands beside the series '{series[0].name}'"
            raise UsageError(what, where=IN_RECIPES.inputs, fix="give it an encoder of its own")


@cache
def foundation_encoder(model: type[FoundationModel], size: str) -> type[FoundationEncoder]:
    """The encoder that a model is in a size."""
    words = (
        f"{model.title} ({model.paper}; {model.licence}) over all modalities that it knows: [how](../foundation.md)."
    )
    own = {"foundation": model, "size": size, "__doc__": words, "__module__": model.__module__}
    return cast(type[FoundationEncoder], type(f"{model.__name__}Encoder", (FoundationEncoder,), own))


for _name, _model in FOUNDATIONS.items():
    ENCODERS.register(_name)(foundation_encoder(_model, _model.sizes[0]))

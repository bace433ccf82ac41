"""Which channels of data a foundation model takes, in which unit: by name, checked by unit and by spread, never by position."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.modalities import Kind, Modality
from eofuse.models.foundation.base import (
    CONVERSIONS,
    ODD_MEAN,
    ODD_SPREAD,
    REFUSED_SPREAD,
    FoundationModel,
    InputChannel,
    convert,
)


@dataclass(frozen=True)
class Taken:
    """A channel of data that a model takes.

    Attributes:
        modality: in which it lies.
        position: among the channels of the modality.
        unit: of its physical values.
        channel: of the model.
    """

    modality: Modality
    position: int
    unit: str
    channel: InputChannel

    @property
    def where(self) -> str:
        """Its name in messages."""
        return f"{self.modality.name}.{self.modality.channel_names[self.position]}"

    @property
    def resolution_m(self) -> float | None:
        """Its native side of a pixel in metres, where it has one."""
        return self.modality.channels[self.position].resolution_m

    def values(self, stored: npt.NDArray[np.generic]) -> Tensor:
        """Stored values (batch, channels, …) of the modality as the model takes the channel, NaN where one is missing."""
        own = self._own(stored)
        plane = torch.from_numpy(own.astype(np.float32))
        physical = plane * self.modality.scale + self.modality.offset
        if self.modality.nodata is not None:
            physical[plane == self.modality.nodata] = torch.nan
        return self.converted(physical)

    def of(self, physical: Tensor) -> Tensor:
        """The channel as the model takes it, of physical values of its modality, laid out as a batch has them."""
        return self.converted(self._own(physical))

    def _own(self, values: Any) -> Any:
        """The channel out of values of its modality."""
        if self.modality.kind is Kind.SERIES:
            return values[..., 1 + self.position]
        return values[:, :, self.position] if self.modality.kind is Kind.IMAGE_SERIES else values[:, self.position]

    def converted(self, physical: Tensor) -> Tensor:
        """Physical values of the channel in the unit of the model."""
        converted = convert(physical, self.unit, self.channel.unit)
        assert converted is not None
        return converted


@dataclass(frozen=True)
class Wording:
    """How messages name what a user can change.

    Attributes:
        unit: comes before `s2=DN`.
        inputs: where the modalities are named.
    """

    unit: str = "--unit "
    inputs: str = "--inputs"


IN_RECIPES = Wording("fusion.foundation.units.", "fusion.joint")


def match_channels(
    model: FoundationModel | type[FoundationModel],
    modalities: Iterable[Modality],
    units: Mapping[str, str],
    wording: Wording = Wording(),
    kinds: Sequence[Kind] = (Kind.RASTER, Kind.VECTOR),
) -> list[Taken]:
    """The channels that a model takes of rasters, vectors or series: groups of which a channel is missing are left out.

    Args:
        model: that takes them.
        modalities: that it may take.
        units: of a modality (`s2`) or one of its channels (`s2.B04`), in place of those that the data name.
        wording: of messages.
        kinds: of modalities that can be taken.

    Raises:
        UsageError: if the model takes none, or it is not clear which or in which unit.
    """
    candidates = [each for each in modalities if each.kind in kinds and not each.is_categorical and each.cell == 1]
    names = {name: channel for channel in model.channels for name in (channel.name, *channel.aliases)}
    found: dict[str, Taken] = {}
    places = {name for each in candidates for name in (each.name, *(f"{each.name}.{c}" for c in each.channel_names))}
    for place in units:
        if place not in places:
            raise UsageError(
                f"no modality or channel '{place}'", where=wording.unit.strip(" ."), fix=did_you_mean(place, places)
            )
    for modality in candidates:
        for position, channel in enumerate(modality.channels):
            known = next((names[name] for name in (channel.name, *channel.aliases) if name in names), None)
            kind = Kind.RASTER if modality.kind is Kind.IMAGE_SERIES else modality.kind
            if known is None or known.kind not in (None, kind):
                continue
            place = f"{modality.name}.{channel.name}"
            unit = units.get(place) or units.get(modality.name) or channel.unit
            taken = Taken(modality, position, unit, known)
            if known.name in found:
                what = f"{found[known.name].where} and {place} are both {known.name} of {model.title}"
                raise UsageError(what, where=wording.inputs, fix="name the modalities that the model takes")
            if unit != known.unit and (unit, known.unit) not in CONVERSIONS:
                others = [source for source, wanted in CONVERSIONS if wanted == known.unit]
                what = f"{model.title} takes {known.unit}, and the unit is {unit or 'not known'}"
                fix = f"say which it is: {wording.unit}{modality.name}={_one_of([known.unit, *others])}"
                raise UsageError(what, where=place, fix=fix)
            found[known.name] = taken
    whole = [taken for taken in found.values() if not _lacking(model, found, taken.channel.group)]
    if not whole:
        lacking = sorted({name for taken in found.values() for name in _lacking(model, found, taken.channel.group)})
        what = f"{model.title} takes none of these channels" + (f" without {', '.join(lacking)}" if lacking else "")
        raise UsageError(f"{what}; it knows {known_channels(model)}", where=wording.inputs)
    return whole


def known_channels(model: FoundationModel | type[FoundationModel]) -> str:
    """The channels that a model knows, in words."""
    return ", ".join(f"{channel.name} ({channel.kind or 'raster or vector'})" for channel in model.channels)


def _lacking(model: FoundationModel | type[FoundationModel], found: Mapping[str, Taken], group: str) -> list[str]:
    """Channels of a group that are missing, without which the model sees none of it."""
    names = {name for name, taken in found.items() if taken.modality.has_pixels}
    return [
        channel.name
        for channel in model.channels
        if channel.group == group and channel.name not in found and channel.derived_from not in names
    ]


def odd_units(taken: Sequence[Taken], values: Mapping[str, Tensor], wording: Wording = Wording()) -> list[str]:
    """Warnings of channels whose spread or mean differs from that of the pretraining.

    Args:
        taken: channels that a model takes.
        values: of some samples, by the model's names of the channels, in its units.
        wording: of messages.

    Raises:
        DataError: if a spread is so different that the unit must be wrong.
    """
    warnings = []
    for each in taken:
        known = values[each.channel.name]
        known = known[~known.isnan()]
        if each.channel.deviation is None or known.numel() < 2:
            continue
        ratio = float(known.std()) / each.channel.deviation
        if not ratio:  # constants have no spread in any unit
            continue
        what = (
            f"values spread by {float(known.std()):.3g} {each.channel.unit}, those of the pretraining by "
            f"{each.channel.deviation:.3g}"
        )
        if not REFUSED_SPREAD[0] <= ratio <= REFUSED_SPREAD[1]:
            fix = f"say the unit: {wording.unit}{each.modality.name}=…, or pack the data with it"
            raise DataError(f"{what}: '{each.unit}' can't be the unit", where=each.where, fix=fix)
        if not ODD_SPREAD[0] <= ratio <= ODD_SPREAD[1]:
            warnings.append(f"{each.where}: {what}: another unit, or places unlike those of the pretraining")
        mean, expected = float(known.mean()), each.channel.mean
        if expected is not None and abs(mean - expected) > ODD_MEAN * each.channel.deviation:
            what = f"the mean is {mean:.3g} {each.channel.unit}, that of the pretraining {expected:.3g}"
            warnings.append(
                f"{each.where}: {what}: another sign, unit or offset, or places unlike those of the pretraining"
            )
    return warnings


def _one_of(units: Sequence[str]) -> str:
    return " or ".join(f"'{unit}'" for unit in units)

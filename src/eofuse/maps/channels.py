"""Which channels of a scene are those of a model, and whether their values mean the same."""

from collections.abc import Sequence
from contextlib import suppress

from eofuse.errors import DataError, UsageError
from eofuse.modalities import Kind, Modality

SAME = ("kind", "scale", "offset", "categories", "steps", "dated")
"""What a modality of a scene has in common with the model's."""


def check_same(model: Modality, given: Modality, where: str) -> None:
    """Raises a `DataError` if a spec's values of a modality mean something else than the model's."""
    for key in SAME:
        expected, found = getattr(model, key), getattr(given, key)
        if expected != found:
            what = f"{key} is {found} here and {expected} in the model"
            raise DataError(what, where=where, fix="give the values as the model's were")
    for channel in model.channels:
        with suppress(UsageError):
            unit = given.channels[given.channel_index(channel.name)].unit
            if unit and channel.unit and unit != channel.unit:
                what = f"the unit of {channel.name} is '{unit}' here and '{channel.unit}' in the model"
                raise DataError(what, where=where, fix="give the values as the model's were")


def channel_positions(wanted: Modality, given: Modality, where: str) -> tuple[int, ...]:
    """Where the model's channels are among those of a scene, by name.

    Raises:
        DataError: if one is missing.
    """
    try:
        return tuple(_position(given, channel.name, channel.aliases) for channel in wanted.channels)
    except UsageError as error:
        word = "band" if wanted.kind is Kind.RASTER else "channel"
        raise DataError(f"lacks a {word} of the model: {error.what}", where=where, fix=error.fix) from None


def _position(given: Modality, name: str, aliases: Sequence[str]) -> int:
    for alias in aliases:
        with suppress(UsageError):
            return given.channel_index(alias)
    return given.channel_index(name)

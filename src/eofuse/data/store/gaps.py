"""Bands without any value, and which patches have which inputs when such bands count as gaps."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal
from urllib.parse import quote, unquote

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.store import Store
from eofuse.data.store.arrays import by_channel, in_order, is_value
from eofuse.modalities import Kind, Modality

EmptyBands = Literal["keep", "absent"]
"""What a band without any value makes of its modality in that patch: nothing, or a modality that the patch lacks."""

NEVER_ZERO = ("reflectance", "dB")
"""Units in which a band that is 0 throughout holds no value: no surface is black in every pixel, nor backscatter 1."""

FIX_EMPTY = "leave the bands out of the inputs, or let them count as gaps (data.empty_bands: absent)"

FIRST = 64
"""Values of a channel that are looked at first, since most channels show there that they are not empty."""

AT_ONCE = 64


def empty_channels(modality: Modality, values: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    """Which channels of some patches hold no value: only nodata, NaN or infinity, or in units of `NEVER_ZERO` only 0.

    Args:
        modality: what the values are; a raster or series without categories.
        values: in native dtype, (n, channels, height, width), (n, steps, 1 + channels) or (n, dates, channels, height, width).

    Returns:
        (n, channels).
    """
    flat = by_channel(modality, values)
    empty = _hold_nothing(modality, flat[:, :, :FIRST])
    suspects = np.flatnonzero(empty.any(axis=1))
    if len(suspects):
        empty[suspects] = _hold_nothing(modality, flat[suspects])
    return empty


def _hold_nothing(modality: Modality, flat: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    """Which channels of (n, channels, values) hold no value, (n, channels)."""
    missing = ~is_value(modality, flat)
    never_zero = np.array([channel.unit in NEVER_ZERO for channel in modality.channels])
    if never_zero.any():
        missing |= (flat == 0) & never_zero[:, None]
    return np.asarray(missing.all(axis=2))


def may_have_empty_bands(modality: Modality) -> bool:
    """Whether bands of a modality are looked at: those of rasters, series and image series of numbers."""
    return modality.is_array and not modality.is_categorical


def empty_bands_column(
    modality: Modality, portions: Iterable[npt.NDArray[np.generic]], present: npt.NDArray[np.bool_]
) -> pd.Series:
    """A column of the index: names of the channels that hold no value, of each patch that has the modality.

    Args:
        modality: a raster, series or image series.
        portions: its values in the order of the patches, some patches at a time; of an image series one.
        present: which patches have it, (patches,).
    """
    empty = np.concatenate([empty_channels(modality, portion) for portion in portions]) & present[:, None]
    names = np.array(modality.channel_names, dtype=object)
    return pd.Series([names[found].tolist() for found in empty], dtype=object)


@lru_cache(maxsize=16)
def empty_bands(store: Store, name: str) -> npt.NDArray[np.bool_]:
    """Which channels of a modality hold no value, in patches that have it: (patches, channels).

    They are read from the index; in stores that were packed before it knew them, from the values.
    """
    modality = store.modality(name)
    empty = np.zeros((len(store), len(modality.channels)), dtype=bool)
    if not may_have_empty_bands(modality):
        return empty
    listed = store.index.get(f"empty_bands.{name}")
    if listed is None:
        at_once = 1 if modality.kind is Kind.IMAGE_SERIES else AT_ONCE
        for part in in_order(np.flatnonzero(store.present(name)), at_once):
            empty[part] = empty_channels(modality, store.read(name, part))
        return empty
    for row in np.flatnonzero(listed.map(np.size)):
        empty[row] = np.isin(modality.channel_names, list(listed.iloc[row]))
    return empty


def presence(
    store: Store, inputs: Mapping[str, Sequence[str] | None], bands: EmptyBands
) -> dict[str, npt.NDArray[np.bool_]]:
    """Which patches have which modalities, (patches,) by name.

    Args:
        store: the store.
        inputs: modalities, with the names of the channels that are looked at or None for all.
        bands: whether one of these channels without any value makes the modality absent.
    """
    there = {name: store.present(name) for name in inputs}
    if bands == "keep":
        return there
    for name, channels in inputs.items():
        modality = store.modality(name)
        if modality.is_categorical:
            continue
        wanted = [modality.channel_index(channel) for channel in channels or modality.channel_names]
        there[name] = there[name] & ~empty_bands(store, name)[:, wanted].any(axis=1)
    return there


def requirement(inputs: Mapping[str, Sequence[str] | None], *, one_is_enough: bool) -> list[str]:
    """What a patch must have of some inputs, as `has_required` reads it.

    Args:
        inputs: modalities, with the names of the channels that are used or None for all.
        one_is_enough: whether one of the modalities is.
    """
    entries = [
        name if channels is None else f"{name}.{'+'.join(quote(channel, safe=' ') for channel in channels)}"
        for name, channels in inputs.items()
    ]
    return ["|".join(sorted(entries))] if one_is_enough else entries


def has_required(store: Store, require: Sequence[str], bands: EmptyBands) -> npt.NDArray[np.bool_]:
    """Which patches have what is required, (patches,).

    Args:
        store: the store.
        require: names of modalities, with the channels that are meant where not all are (`s2.B02+B03`), or several in one, as
            `s1|s2`, of which one is enough.
        bands: as in `presence`.

    Raises:
        UsageError: if a modality or channel is unknown.
    """
    found = np.ones(len(store), dtype=bool)
    for entry in require:
        choice = map(_parse, entry.split("|"))
        found &= np.logical_or.reduce([presence(store, {name: channels}, bands)[name] for name, channels in choice])
    return found


def lacking(store: Store, require: Sequence[str], bands: EmptyBands, among: npt.NDArray[np.bool_]) -> dict[str, int]:
    """What patches lack of what is required, with their number, the most frequent first; a patch can lack several things.

    Args:
        store: the store.
        require: as in `has_required`.
        bands: as in `presence`.
        among: the patches that are looked at, (patches,).
    """
    counts: dict[str, int] = {}
    for entry in dict.fromkeys(require):
        lack = among & ~has_required(store, [entry], bands)
        name, channels = _parse(entry)
        if "|" in entry:
            counts[" or ".join(_parse(each)[0] for each in entry.split("|"))] = int(lack.sum())
            continue
        has = store.present(name)
        counts[name] = int((lack & ~has).sum())
        if (lack & has).any():
            modality, empty = store.modality(name), empty_bands(store, name)[lack & has].sum(axis=0)
            for channel in modality.own_names(channels):
                counts[f"{name}.{channel} without a value"] = int(empty[modality.channel_index(channel)])
    return {name: count for name, count in sorted(counts.items(), key=lambda item: -item[1]) if count}


def left_out_words(excluded: Mapping[str, int], lacked: Mapping[str, int], stored: int | None = None) -> str:
    """A sentence on the patches that are left out, and why; empty if none is.

    Args:
        excluded: their number by the first reason that holds.
        lacked: what those lack that lack an input (see `lacking`).
        stored: patches in all, if that is known.
    """
    if not excluded:
        return ""
    detail = ", ".join(f"{name}: {count:,}" for name, count in lacked.items())
    reasons = [
        f"{count:,} ({reason}; {detail})" if detail and reason.startswith("lacks ") else f"{count:,} ({reason})"
        for reason, count in excluded.items()
    ]
    total = f"{sum(excluded.values()):,} of {stored:,}: " if stored else ""
    return f"Patches left out: {total}{', '.join(reasons)}."


def _parse(entry: str) -> tuple[str, tuple[str, ...] | None]:
    """Modality and channels of one requirement."""
    name, _, channels = entry.partition(".")
    return name, tuple(unquote(channel) for channel in channels.split("+")) if channels else None

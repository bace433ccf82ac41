"""Moments and quantiles of every channel, in physical units, over chosen patches."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eofuse.data.loading import Loader, Rows, in_order
from eofuse.data.store.arrays import by_channel, is_value
from eofuse.modalities import Kind, Modality

MOST_PATCHES = 10_000

PIECES = 16
"""Number of pieces of equal numbers of values between quantiles."""


@dataclass(frozen=True)
class ChannelMoments:
    """Moments of a modality's channels, in physical units.

    Attributes:
        mean: (channels,).
        std: (channels,).
        minimum: (channels,).
        maximum: (channels,).
        patches: number of patches they were taken from.
    """

    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    minimum: npt.NDArray[np.float64]
    maximum: npt.NDArray[np.float64]
    patches: int


def channel_moments(loader: Loader, rows: Rows) -> dict[str, ChannelMoments]:
    """Moments of every numeric modality that a loader reads, over the patches of `rows` that have it.

    Pixels without data and gaps of series do not count. Of more than 10,000 patches, as many evenly spaced ones are taken. Categorical
    modalities have no moments.
    """
    rows = _evenly(rows)
    numeric = [modality for modality in loader.modalities.values() if not modality.is_categorical]
    gathered: dict[str, list[npt.NDArray[np.float64]]] = {modality.name: [] for modality in numeric}
    for batch in in_order(rows, 16):
        for modality in numeric:
            values = loader.read_array(modality.name, batch)[loader.present(modality.name)[batch]]
            if len(values):
                gathered[modality.name].append(_of_patches(by_channel(modality, values), modality))
    moments = {}
    for modality in numeric:
        if not gathered[modality.name]:
            empty = np.full(len(modality.channels), np.nan)
            moments[modality.name] = ChannelMoments(empty, empty, empty, empty, 0)
            continue
        count, mean, variance, low, high = np.concatenate(gathered[modality.name], axis=1)
        weight = count / np.where(count.sum(axis=0), count.sum(axis=0), np.nan)
        centre = (weight * mean).sum(axis=0)
        std = np.sqrt((weight * (variance + (mean - centre) ** 2)).sum(axis=0))
        scale, offset = modality.scale, modality.offset
        moments[modality.name] = ChannelMoments(
            centre * scale + offset,
            std * abs(scale),
            low.min(axis=0) * scale + offset,
            high.max(axis=0) * scale + offset,
            len(mean),
        )
    return moments


def channel_quantiles(loader: Loader, rows: Rows) -> dict[str, list[list[float]]]:
    """Quantiles of every vector and series that a loader reads, over the patches of `rows` that have it, as `channel_moments`.

    Returns:
        By name, for each channel the smallest value, the 15 sixteenths in between, and the largest; NaN where nothing is known.
    """
    rows, quantiles = _evenly(rows), {}
    for name, modality in loader.modalities.items():
        if modality.kind in (Kind.VECTOR, Kind.SERIES):
            channels = [loader.store.modality(name).channel_index(channel) for channel in modality.channel_names]
            values = loader.store.read(name, rows[loader.present(name)[rows]], channels=channels)
            numbers = np.moveaxis(by_channel(modality, values), 1, 0).astype(np.float64)
            physical, known = numbers * modality.scale + modality.offset, is_value(modality, numbers)
            steps, none = np.linspace(0, 1, PIECES + 1), [float("nan")] * (PIECES + 1)
            quantiles[name] = [
                np.quantile(column[valid], steps).tolist() if valid.any() else none
                for column, valid in zip(physical, known, strict=True)
            ]
    return quantiles


def _evenly(rows: Rows) -> Rows:
    """The rows, or as many evenly spaced ones as are looked at."""
    if len(rows) <= MOST_PATCHES:
        return rows
    return np.asarray(rows[np.linspace(0, len(rows) - 1, MOST_PATCHES).astype(np.int64)])


def _of_patches(values: npt.NDArray[np.generic], modality: Modality) -> npt.NDArray[np.float64]:
    """Count, mean, variance, minimum and maximum of what is data, (5, patches, channels), of (patches, channels, pixels)."""
    flat = values.astype(np.float32)
    valid = np.isfinite(flat) & is_value(modality, values)
    if valid.all():
        count = np.full(flat.shape[:2], float(flat.shape[2]))
        mean = flat.mean(axis=2, dtype=np.float64)
        variance = np.square(flat - mean[:, :, None].astype(np.float32)).mean(axis=2, dtype=np.float64)
        return np.stack([count, mean, variance, flat.min(axis=2), flat.max(axis=2)])
    count = valid.sum(axis=2).astype(np.float64)
    known = np.maximum(count, 1)
    mean = np.where(valid, flat, 0).sum(axis=2, dtype=np.float64) / known
    difference = np.where(valid, flat - mean[:, :, None].astype(np.float32), 0)
    variance = np.square(difference).sum(axis=2, dtype=np.float64) / known
    low, high = np.where(valid, flat, np.inf).min(axis=2), np.where(valid, flat, -np.inf).max(axis=2)
    return np.stack([count, mean, variance, low, high])

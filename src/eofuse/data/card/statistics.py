"""What the channels of a store hold, over chosen patches: `channel_moments` and `channel_quantiles`, in physical units.

`scan_store` gathers in one pass what a data card needs: digests, small pictures, values, dead bands.
"""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from eofuse.data.loading import Loader, Rows, in_order
from eofuse.data.store import Store
from eofuse.data.store.arrays import by_channel, is_value
from eofuse.data.store.gaps import empty_channels, may_have_empty_bands
from eofuse.modalities import Kind, Modality
from eofuse.progress import Progress

MOST_PATCHES = 10_000
BATCH = 16
VALUES = 64
CELLS = 8

Mask = npt.NDArray[np.bool_]

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
    for batch in in_order(rows, BATCH):
        for modality in numeric:
            if modality.kind is Kind.IMAGE_SERIES:
                for row in batch[loader.present(modality.name)[batch]]:  # one by one, so that no date fills up others
                    values = by_channel(modality, loader.read_array(modality.name, np.array([row])))
                    gathered[modality.name].append(_of_patches(values, modality))
                continue
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


@dataclass(frozen=True)
class Scan:
    """What was seen of a modality that holds numbers.

    Attributes:
        modality: the modality.
        rows: patches that were looked at and have it, (n,).
        digests: digest of the stored bytes of each, (n,).
        values: some values of each in physical units, always of the same pixels, NaN where unknown: (n, channels, at most 64).
        empty: whether a channel holds no value (see `eofuse.data.store.gaps.empty_channels`), (n, channels).
        constant: whether a channel that is not empty holds one value in all pixels, of which there are several, (n, channels).
        cells: of rasters, means of 8 × 8 blocks in physical units: (n, channels, 8, 8), fewer of small patches; else None.
    """

    modality: Modality
    rows: Rows
    digests: npt.NDArray[np.object_]
    values: npt.NDArray[np.float32]
    empty: Mask
    constant: Mask
    cells: npt.NDArray[np.float32] | None


def scan_store(store: Store, rows: Rows, seed: int = 0, progress: Progress | None = None) -> dict[str, Scan]:
    """Looks once at every numeric modality of some patches, by name; class maps and categories are left out.

    Args:
        store: the store.
        rows: the patches to look at.
        seed: of the pixels whose values are kept.
        progress: called with (patches done, patches in all).
    """
    numeric = [modality for modality in store.modalities.values() if not modality.is_categorical]
    gathered: dict[str, list[tuple[npt.NDArray[np.generic], ...]]] = {modality.name: [] for modality in numeric}
    seen: dict[str, list[Rows]] = {modality.name: [] for modality in numeric}
    pixels = {modality.name: _chosen_pixels(store, modality, seed) for modality in numeric}
    for batch in in_order(rows, BATCH):
        for modality in numeric:
            present = batch[store.present(modality.name)[batch]]
            if not len(present):
                continue
            seen[modality.name].append(present)
            one_by_one = modality.kind is Kind.IMAGE_SERIES  # so that no date fills up others
            for part in present[:, None] if one_by_one else [present]:
                values = store.read(modality.name, part)
                gathered[modality.name].append(_look(modality, values, pixels[modality.name]))
        if progress:
            progress(int(np.searchsorted(rows, batch[-1])) + 1, len(rows))
    scans = {}
    for modality in numeric:
        if parts := gathered[modality.name]:
            digests, values, empty, constant, cells = (np.concatenate(column) for column in zip(*parts, strict=True))
            pooled = cells if modality.kind is Kind.RASTER else None
            found = np.concatenate(seen[modality.name])
            scans[modality.name] = Scan(modality, found, digests, values, empty, constant, pooled)
    return scans


def _chosen_pixels(store: Store, modality: Modality, seed: int) -> npt.NDArray[np.int64]:
    """Positions of the values that are kept of each channel."""
    shape = store.shape(modality.name)
    counts = {
        Kind.RASTER: int(np.prod(shape[1:])),
        Kind.SERIES: shape[0] if shape else 1,
        Kind.IMAGE_SERIES: int(np.prod(shape[2:])) * (modality.steps or 1),
    }
    count = counts.get(modality.kind, 1)
    generator = np.random.default_rng([seed, 13])
    return np.sort(generator.choice(count, size=min(count, VALUES), replace=False))


def _look(
    modality: Modality, stored: npt.NDArray[np.generic], pixels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.generic], ...]:
    """Digests, values, empty, constant and cells of some patches."""
    digests = np.array([blake2b(patch.tobytes(), digest_size=16).digest() for patch in stored], dtype=object)
    flat = by_channel(modality, stored)
    numbers = flat.astype(np.float32)
    known = np.isfinite(numbers) & is_value(modality, flat)
    numbers = numbers * np.float32(modality.scale) + np.float32(modality.offset)
    if not known.all():
        numbers[~known] = np.nan
    empty = empty_channels(modality, stored) if may_have_empty_bands(modality) else np.asarray(~known.any(axis=2))
    with np.errstate(invalid="ignore"):
        even = numbers.max(axis=2) == numbers.min(axis=2)
    constant = np.asarray(known.all(axis=2) & even & (flat.shape[2] > 1) & ~empty)
    if modality.kind is Kind.IMAGE_SERIES:  # the same pixels of the dates that there are
        dates, size = stored.shape[1], int(np.prod(stored.shape[3:]))
        pixels = pixels // size * dates // (modality.steps or 1) * size + pixels % size
    cells = np.zeros((len(stored), 0), dtype=np.float32)
    if modality.kind is Kind.RASTER:
        cells = _pool(numbers.reshape(stored.shape), known.reshape(stored.shape))
    return digests, numbers[:, :, pixels], empty, constant, cells


def _pool(numbers: npt.NDArray[np.float32], known: Mask) -> npt.NDArray[np.float32]:
    """Means over blocks of (n, channels, height, width); a block without data has the mean of its channel, or 0."""
    edges = [np.linspace(0, size, min(size, CELLS) + 1).astype(np.int64)[:-1] for size in numbers.shape[2:]]

    def sums(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(np.add.reduceat(np.add.reduceat(values, edges[0], axis=2), edges[1], axis=3))

    if known.all():
        ones = np.ones(numbers.shape[2:], dtype=np.float32)[None, None]
        return sums(numbers) / sums(ones)
    total, count = sums(np.where(known, numbers, np.float32(0))), sums(known.astype(np.float32))
    whole = total.sum(axis=(2, 3), keepdims=True) / np.maximum(count.sum(axis=(2, 3), keepdims=True), 1)
    return np.where(count > 0, total / np.maximum(count, 1), whole).astype(np.float32)

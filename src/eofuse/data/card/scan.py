"""One pass over the patches of a store that gathers what its data card needs: digests, small pictures, values, dead bands."""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from eofuse.data.loading import in_order
from eofuse.data.store import Store
from eofuse.data.store.arrays import by_channel, is_value
from eofuse.data.store.gaps import empty_channels, may_have_empty_bands
from eofuse.modalities import Kind, Modality
from eofuse.progress import Progress

BATCH = 16
VALUES = 64
CELLS = 8

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


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
            if len(present):
                seen[modality.name].append(present)
                gathered[modality.name].append(
                    _look(modality, store.read(modality.name, present), pixels[modality.name])
                )
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
    count = {Kind.RASTER: int(np.prod(shape[1:])), Kind.SERIES: shape[0]}.get(modality.kind, 1)
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

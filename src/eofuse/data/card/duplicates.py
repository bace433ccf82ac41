"""Finds patches that are in a store twice: with the same bytes, or nearly the same picture.

Nearly the same are two patches whose 8 × 8 block means show one pattern at about one level, and whose fine detail agrees too: the
differences between neighbouring pixels correlate. The second test tells a copy (other compression, a little noise, another
brightness) from another place that looks alike from afar. A patch without a pattern (open water) can't be told and is counted.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eofuse.data.card.statistics import Scan
from eofuse.data.store import Store
from eofuse.modalities import Modality

PATTERN = 0.98
DETAIL = 0.7
LEVEL = 0.5
LEAST_CONTRAST = 0.02
MOST_CANDIDATES = 2000
_BLOCK = 1024

Rows = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Duplicates:
    """Patches that are there twice.

    Attributes:
        name: the modality, or what was compared.
        looked_at: number of patches that were compared.
        undecided: of these, those without a pattern, which were compared by their bytes only.
        same: pairs of rows whose bytes are the same, (pairs, 2); of many equal patches, not every pair.
        alike: pairs of rows that are nearly the same, (pairs, 2).
        cut_off: whether there were more candidates than were examined.
    """

    name: str
    looked_at: int
    undecided: int
    same: Rows
    alike: Rows
    cut_off: bool = False

    def across(self, part: Rows, pairs: Rows) -> Rows:
        """Those of the pairs whose patches lie in two parts of a split, the later part first: (pairs, 2).

        Args:
            part: number of the part of each patch of the store, −1 for none.
            pairs: `same` or `alike`.
        """
        sides = part[pairs]
        torn = (sides >= 0).all(axis=1) & (sides[:, 0] != sides[:, 1])
        order = np.argsort(-sides[torn], axis=1)
        return np.take_along_axis(pairs[torn], order, axis=1)


def find_duplicates(store: Store, scans: dict[str, Scan], part: Rows) -> list[Duplicates]:
    """Duplicates by numeric raster; in a store without rasters, patches all of whose series and vectors are the same.

    Args:
        store: the store.
        scans: what was seen of it.
        part: number of the part of each patch of the store, −1 for none.
    """
    rasters = [scan for scan in scans.values() if scan.cells is not None]
    if not rasters:
        return [_by_numbers(list(scans.values()), part)] if scans else []
    return [_by_raster(store, scan, part) for scan in rasters]


def _by_numbers(scans: list[Scan], part: Rows) -> Duplicates:
    complete = scans[0].rows
    for scan in scans[1:]:
        complete = np.intersect1d(complete, scan.rows)
    columns = [scan.digests[np.searchsorted(scan.rows, complete)] for scan in scans]
    digests = [b"".join(values) for values in zip(*columns, strict=True)]
    name = "all numbers together" if len(scans) > 1 else scans[0].modality.name
    return Duplicates(name, len(complete), 0, _equal_pairs(complete, digests, part), np.zeros((0, 2), dtype=np.int64))


def _by_raster(store: Store, scan: Scan, part: Rows) -> Duplicates:
    varied = ~(scan.constant | scan.empty).all(axis=1)  # two even patches are no copies of each other
    rows, digests = scan.rows[varied], scan.digests[varied]
    same = _equal_pairs(rows, digests.tolist(), part)
    if scan.cells is None or not varied.any():
        return Duplicates(scan.modality.name, len(scan.rows), len(scan.rows), same, same)
    cells = scan.cells[varied] / _spread(scan.values[varied])[:, None, None]
    level = cells.mean(axis=(2, 3))
    pattern = (cells - level[:, :, None, None]).reshape(len(cells), -1)
    length = np.sqrt(np.square(pattern).sum(axis=1))
    visible = length > LEAST_CONTRAST * np.sqrt(max(pattern.shape[1], 1))
    known = np.flatnonzero(visible)
    pairs, cut_off = _candidates(pattern[known] / length[known, None], level[known])
    digest_of = dict(zip(rows.tolist(), digests.tolist(), strict=True))
    alike = [
        (first, other)
        for first, other in rows[known][pairs].tolist()
        if digest_of[first] != digest_of[other] and _detail_agrees(*_pixels(store, scan.modality, [first, other]))
    ]
    undecided = int((~visible).sum() + (~varied).sum())
    found = np.array(alike, dtype=np.int64).reshape(-1, 2)
    return Duplicates(scan.modality.name, len(scan.rows), undecided, same, found, cut_off)


def _spread(values: Numbers) -> Numbers:
    """Standard deviation of each channel's known values, (channels,); infinite where it is 0 or nothing is known."""
    known = [channel[np.isfinite(channel)] for channel in np.moveaxis(values, 1, 0)]
    return np.array(
        [channel.std() if len(channel) and np.ptp(channel) > 0 else np.inf for channel in known], np.float32
    )


def _equal_pairs(rows: Rows, digests: list[bytes], part: Rows) -> Rows:
    """Pairs of patches with one digest: each with the first of its own part and the first of every other part."""
    groups: dict[bytes, list[int]] = {}
    for row, digest in zip(rows.tolist(), digests, strict=True):
        groups.setdefault(digest, []).append(row)
    pairs: set[tuple[int, int]] = set()
    for group in groups.values():
        firsts: dict[int, int] = {}
        for row in group:
            firsts.setdefault(int(part[row]), row)
        pairs |= {(min(row, first), max(row, first)) for row in group for first in firsts.values() if row != first}
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def _candidates(pattern: Numbers, level: Numbers) -> tuple[Rows, bool]:
    """Pairs of one pattern (unit vectors, (n, cells)) and level, the most alike first; whether some were cut off."""
    pairs, likeness, count = [], [], 0
    for start in range(0, len(pattern), _BLOCK):
        similar = pattern[start : start + _BLOCK] @ pattern[start:].T
        first, other = np.nonzero(np.triu(similar > PATTERN, k=1))
        near = np.sqrt(np.square(level[start + first] - level[start + other]).mean(axis=1)) < LEVEL
        alike = similar[first[near], other[near]]
        best = np.argsort(-alike, kind="stable")[:MOST_CANDIDATES]
        pairs.append(np.column_stack([start + first[near][best], start + other[near][best]]))
        likeness.append(alike[best])
        count += len(alike)
    if not pairs:
        return np.zeros((0, 2), dtype=np.int64), False
    order = np.argsort(-np.concatenate(likeness), kind="stable")
    return np.concatenate(pairs)[order[:MOST_CANDIDATES]], count > MOST_CANDIDATES


def _pixels(store: Store, modality: Modality, rows: list[int]) -> Numbers:
    """Patches as numbers, NaN where there is no data: (patches, channels, height, width)."""
    stored = store.read(modality.name, rows)
    values = stored.astype(np.float32)
    if modality.nodata is not None:
        values[stored == modality.nodata] = np.nan
    return values


def _detail_agrees(first: Numbers, other: Numbers) -> bool:
    """Whether the differences between neighbouring pixels of two patches (channels, height, width) correlate."""
    found = []
    for axis in (1, 2):
        a, b = (np.diff(values, axis=axis) for values in (first, other))
        known = np.isfinite(a) & np.isfinite(b)
        count = np.maximum(known.sum(axis=(1, 2), keepdims=True), 1)
        a, b = (np.where(known, values, 0) for values in (a, b))
        a, b = (np.where(known, values - values.sum(axis=(1, 2), keepdims=True) / count, 0) for values in (a, b))
        size = np.sqrt(np.square(a).sum(axis=(1, 2)) * np.square(b).sum(axis=(1, 2)))
        found.append((a * b).sum(axis=(1, 2))[size > 0] / size[size > 0])
    together = np.concatenate(found)
    return bool(len(together) and together.mean() > DETAIL)

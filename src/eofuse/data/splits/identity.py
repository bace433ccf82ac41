"""What identifies a patch in whichever store it lies: `Identities`, digests of 8 bytes each.

An id can be given anew, or stand for another patch in another dataset; pixels can be stored anew; so a patch has three marks: its
id, a digest of what it holds of each modality, and the ground that it covers.

The digest of a raster is that of some rows in the middle of its first channel; those of other modalities are of all values. Where
hardly any values differ, as in open water, a class map or a vector of two numbers, a digest can be that of other patches too: it is
a hint only, which tells patches apart, but recognises none.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import cKDTree

from eofuse.cache import cache_folder, recall, remember
from eofuse.data.splits.footprints import PATCH_KM
from eofuse.data.store import Rows, Store, Window
from eofuse.data.store.arrays import in_order
from eofuse.data.store.georeference import corners, degrees, has_grid
from eofuse.files import file_name
from eofuse.modalities import Kind, Modality

STRIP = 4
"""Rows of pixels that are looked at."""

FEWEST_VALUES = 16
"""Different values among them, with fewer of which they identify no patch."""

AT_ONCE = 1024

MANY = 20_000
"""Patches read from which their digests are kept for other processes."""

EARTH_M = 6_371_000.0
UNIT_M = 0.1
"""Unit of the centres."""

LEAST_OVERLAP = 0.1
"""Share of a side from which patches cover common ground: sides are taken to point north, which turns them a little."""

Digests = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Identities:
    """The marks of some patches.

    Attributes:
        ids: digest of the id of each patch, (patches,).
        values: by modality, digest of its values, 0 where there is none or other patches can have the same, (patches,).
        hints: by modality, digest of its values, 0 where there is none or `values` has one, (patches,).
        centre: geocentric place of the middle in units of 0.1 m, (patches, 3) int32.
        side: length of a side in metres, 0 where the place is not known, (patches,) float32.
    """

    ids: Digests
    values: dict[str, Digests]
    hints: dict[str, Digests]
    centre: npt.NDArray[np.int32]
    side: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Rows | Mask) -> "Identities":
        """Those of some of the patches."""
        values, hints = ({name: digests[rows] for name, digests in each.items()} for each in (self.values, self.hints))
        return Identities(self.ids[rows], values, hints, self.centre[rows], self.side[rows])


def mixed(digests: Mapping[str, Digests], names: Iterable[str], size: int) -> Digests:
    """One digest of those of some modalities, 0 where a patch has none of them, (size,)."""
    found = np.zeros(size, dtype=np.uint64)
    for number, name in enumerate(sorted(names)):
        found += digests[name] * np.uint64(2 * number + 1)
    return found


def identities(store: Store, names: Iterable[str], rows: Rows | None = None) -> Identities:
    """The marks of patches of a store.

    Args:
        store: the store.
        names: modalities whose values are looked at; class maps and those that the store lacks are left out.
        rows: of the patches, all by default; the values of others are not read.
    """
    rows = np.arange(len(store)) if rows is None else rows
    looked_at = [
        name
        for name in names
        if name in store.modalities
        and not (store.modality(name).kind is Kind.RASTER and store.modality(name).is_categorical)
    ]
    found = {name: _value_digests(store, name, rows) for name in looked_at}
    values = {name: np.where(identifies, digests, 0) for name, (digests, identifies) in found.items()}
    hints = {name: np.where(identifies, 0, digests) for name, (digests, identifies) in found.items()}
    return Identities(_id_digests(store), values, hints, *_places(store)).take(rows)


def digests_of(ids: Iterable[str]) -> Digests:
    """Digests of ids, (patches,)."""
    return np.fromiter((int.from_bytes(_digest(str(name).encode())) for name in ids), dtype=np.uint64)


@lru_cache(maxsize=8)
def _id_digests(store: Store) -> Digests:
    return digests_of(store.index["patch_id"])


@lru_cache(maxsize=16)
def _begun(store: Store, name: str) -> tuple[Digests, Mask, Mask]:
    """Digests of a modality's values so far, which of them identify a patch, and of which patches they are not known yet."""
    kept = recall(_file(store, name), len(store))
    if kept is not None and len(kept) == 3:
        return kept[0], kept[1], kept[2]
    return (np.zeros(len(store), dtype=np.uint64), np.zeros(len(store), dtype=bool), store.present(name).copy())


def _file(store: Store, name: str) -> Path:
    """Where the digests of a modality's values are kept for other processes."""
    return cache_folder() / "marks" / f"{store.fingerprint[:32]}-{file_name(name)}.npz"


def _value_digests(store: Store, name: str, rows: Rows) -> tuple[Digests, Mask]:
    """Digests of a modality's values, of at least these rows, and which of them identify a patch, (all patches,) each."""
    modality, (found, identifies, unread) = store.modality(name), _begun(store, name)
    rows = np.unique(rows[unread[rows]])
    for part in in_order(rows, AT_ONCE):
        looked_at = _looked_at(store, modality, part)
        found[part] = [int.from_bytes(_digest(values.tobytes())) for values in looked_at]
        identifies[part] = _differ(looked_at)
        unread[part] = False
    if len(rows) >= MANY:
        remember(_file(store, name), found, identifies, unread)
    return found, identifies


def _differ(patches: Sequence[npt.NDArray[np.generic]]) -> Mask:
    """Which patches have enough different values; most show it by their first ones."""
    if len({values.shape for values in patches}) != 1:
        return np.array([len(np.unique(values)) >= FEWEST_VALUES for values in patches], dtype=bool)
    flat = np.stack(patches).reshape(len(patches), -1)
    found = _distinct(flat[:, : 4 * FEWEST_VALUES]) >= FEWEST_VALUES
    found[~found] = _distinct(flat[~found]) >= FEWEST_VALUES
    return np.asarray(found)


def _distinct(rows: npt.NDArray[np.generic]) -> Rows:
    """Number of different values in each row, (rows,); all NaN are one."""
    ordered = np.sort(rows, axis=1)
    after, before = ordered[:, 1:], ordered[:, :-1]
    return np.asarray(((after != before) & ((after == after) | (before == before))).sum(axis=1) + (rows.shape[1] > 0))


def _looked_at(store: Store, modality: Modality, rows: Rows) -> Sequence[npt.NDArray[np.generic]]:
    if not modality.has_pixels:
        return list(store.read(modality.name, rows))
    if modality.cell > 1:  # few values
        return list(store.read(modality.name, rows, channels=[0]))
    height, width = store.patch_size
    window = Window(max(0, (height - STRIP) // 2), 0, min(STRIP, height), width)
    if modality.kind is Kind.IMAGE_SERIES:  # one by one, so that no date fills up others
        return [store.read(modality.name, [row], channels=[0], window=window)[0] for row in rows]
    return list(store.read(modality.name, rows, channels=[0], window=window))


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=8).digest()


@lru_cache(maxsize=8)
def _places(store: Store) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    return places(store.index)


def places(index: pd.DataFrame) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Centre and side of the patches of an index, as `Identities` has them.

    They are those of the pixel grid; where it is not known, longitude and latitude with `side_km`, or 1.2 km.
    """
    gridded = has_grid(index).any()
    edge = degrees(index, corners(index)) if gridded else np.full((len(index), 4, 2), np.nan)
    middle = edge.mean(axis=1)
    side = np.linalg.norm(_earth(edge) - np.roll(_earth(edge), 1, axis=1), axis=2).max(axis=1)
    rough = np.isnan(side)
    if {"lon", "lat"} <= set(index.columns):
        middle[rough] = index.loc[rough, ["lon", "lat"]].to_numpy(dtype=float)
        given = index["side_km"].fillna(PATCH_KM) if "side_km" in index.columns else pd.Series(PATCH_KM, index.index)
        side[rough] = 1000 * given[rough].to_numpy(dtype=float)
    known = np.isfinite(middle).all(axis=1)
    centre = np.where(known[:, None], _earth(middle), 0) / UNIT_M
    return np.rint(centre).astype(np.int32), np.where(known, side, 0).astype(np.float32)


def _earth(degree: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Geocentric metres (…, 3) of longitude and latitude (…, 2) on a sphere."""
    longitude, latitude = np.moveaxis(np.radians(degree), -1, 0)
    flat = np.cos(latitude)
    return EARTH_M * np.stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)], axis=-1)


def overlaps(first: Identities, other: Identities) -> Mask:
    """Which of the first patches cover ground that one of the others covers, (first,)."""
    found = np.zeros(len(first), dtype=bool)
    for one, two in _near(first, other):
        across = np.abs(_local(first, one, other, two)).max(axis=1)
        reach = (1 - LEAST_OVERLAP) * (first.side[one] + other.side[two]) / 2
        found[one[across < reach]] = True
    return found


def far_apart(first: Identities, other: Identities) -> Mask:
    """Which pairs of patches lie at different places, (pairs,); not those one of which has no known place."""
    distance = UNIT_M * np.linalg.norm(first.centre.astype(np.float64) - other.centre, axis=1)
    return np.asarray((first.side > 0) & (other.side > 0) & (distance > first.side + other.side))


def _near(first: Identities, other: Identities) -> Iterator[tuple[Rows, Rows]]:
    """Positions of pairs whose centres are as near as the longest sides allow."""
    placed, there = np.flatnonzero(first.side > 0), np.flatnonzero(other.side > 0)
    if not len(placed) or not len(there):
        return
    tree = cKDTree(UNIT_M * other.centre[there].astype(np.float64))
    longest = float(other.side[there].max())
    for part in in_order(placed, AT_ONCE):
        reach = np.sqrt(2) * (first.side[part] + longest) / 2
        neighbours = tree.query_ball_point(UNIT_M * first.centre[part].astype(np.float64), reach)
        counts = np.fromiter(map(len, neighbours), dtype=np.int64)
        if counts.sum():
            yield np.repeat(part, counts), there[np.concatenate([n for n in neighbours if n]).astype(np.int64)]


def _local(first: Identities, one: Rows, other: Identities, two: Rows) -> npt.NDArray[np.float64]:
    """Metres to the east and north from one patch of each pair to the other, (pairs, 2)."""
    here = UNIT_M * first.centre[one].astype(np.float64)
    away = UNIT_M * other.centre[two].astype(np.float64) - here
    up = here / np.linalg.norm(here, axis=1, keepdims=True)
    east = np.stack([-up[:, 1], up[:, 0], np.zeros(len(up))], axis=1)
    east /= np.maximum(np.linalg.norm(east, axis=1, keepdims=True), 1e-12)
    return np.stack([(away * east).sum(axis=1), (away * np.cross(up, east)).sum(axis=1)], axis=1)

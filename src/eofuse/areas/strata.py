"""Strata of a map, and how many points each gets.

`make_strata` divides the frame by class, by confidence, by both, or not at all. `allocate` shares points among strata: equally, in
proportion to their area, or by Neyman's rule (Neyman 1934; Cochran 1977, section 5.5), area times the spread that is expected.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from eofuse.areas.frame import CONFIDENCES, UNKNOWN, Census, Frame
from eofuse.areas.ground import FloatArray
from eofuse.errors import UsageError, did_you_mean
from eofuse.words import counted

IntArray = npt.NDArray[np.int64]

EXPECTED = 0.8
"""User's accuracy that is expected where no confidence says more (Olofsson et al. 2014, section 5.1.1, expect 0.6 to 0.95)."""

EXPECTED_RANGE = (0.5, 0.95)
"""Mean confidence beyond is not believed."""

FEWEST = 2
"""Points of a stratum, for a variance."""

USUAL_SMALLEST = 30
GROUPS = 3
"""Groups of confidence, of about as many pixels."""


@dataclass(frozen=True, eq=False)
class Strata:
    """Strata of a frame.

    Attributes:
        names: of each.
        pixels: (strata,) of each.
        areas: (strata,) of each, in square metres.
        expected: (strata,) share of right pixels that is expected.
        of_cell: (classes · CONFIDENCES,) stratum of each cell of a census, -1 for those without pixels.
    """

    names: tuple[str, ...]
    pixels: IntArray
    areas: FloatArray
    expected: FloatArray
    of_cell: npt.NDArray[np.int16]

    def classes(self) -> npt.NDArray[np.bool_]:
        """(strata, classes) whether a stratum may hold a class of the map."""
        found = np.zeros((len(self.names), len(self.of_cell) // CONFIDENCES), dtype=bool)
        for cell in np.flatnonzero(self.of_cell >= 0).tolist():
            found[self.of_cell[cell], cell // CONFIDENCES] = True
        return found


def _ordered(counts: IntArray) -> IntArray:
    """Counts by confidence with "not known" first, as the least sure."""
    return np.concatenate([counts[UNKNOWN:], counts[:UNKNOWN]])


def _cuts(counts: IntArray, groups: int) -> list[int]:
    """Per cents at which a group begins, for groups of about as many pixels; none where they would be empty."""
    below = np.cumsum(_ordered(counts))  # below[c]: pixels of less than c per cent
    valid = np.flatnonzero((below > 0) & (below < below[-1]))
    valid = valid[(valid > 0) & (valid <= 100)]
    if not len(valid):
        return []
    return sorted(
        {int(valid[np.argmin(np.abs(below[valid] - below[-1] * part / groups))]) for part in range(1, groups)}
    )


def _groups(counts: IntArray, groups: int) -> tuple[list[str], IntArray]:
    """Names of groups of confidence, and the group of each per cent, (CONFIDENCES,)."""
    cuts = _cuts(counts, groups)
    edges = [0, *cuts, 101]
    names = [
        f"confidence {low} to {high - 1} %" if high < 101 else f"confidence {low} % and more"
        for low, high in pairwise(edges)
    ]
    group = np.searchsorted(np.array(cuts), np.arange(CONFIDENCES), side="right") if cuts else np.zeros(CONFIDENCES)
    group = np.asarray(group, dtype=np.int64)
    group[UNKNOWN] = 0
    return names if cuts else ["any confidence"], group


def _by_none(census: Census, names: Sequence[str]) -> tuple[list[str], IntArray]:
    return ["all"], np.zeros(census.pixels.shape, dtype=np.int64)


def _by_class(census: Census, names: Sequence[str]) -> tuple[list[str], IntArray]:
    return list(names), np.repeat(np.arange(len(names))[:, None], CONFIDENCES, axis=1)


def _by_confidence(census: Census, names: Sequence[str]) -> tuple[list[str], IntArray]:
    titles, group = _groups(census.pixels.sum(axis=0), GROUPS)
    return titles, np.repeat(group[None], len(names), axis=0)


def _by_class_and_confidence(census: Census, names: Sequence[str]) -> tuple[list[str], IntArray]:
    titles: list[str] = []
    rows = []
    for name, counts in zip(names, census.pixels, strict=True):
        own, group = _groups(counts, 2)
        rows.append(len(titles) + group)
        titles += [f"{name}, {title}" for title in own]
    return titles, np.array(rows)


WAYS: Mapping[str, Callable[[Census, Sequence[str]], tuple[list[str], IntArray]]] = {
    "class": _by_class,
    "confidence": _by_confidence,
    "class-confidence": _by_class_and_confidence,
    "none": _by_none,
}
"""Ways to divide a frame: census and names of its classes → names of strata, and the stratum of each class and confidence."""


def needs_confidence(frame: Frame, by: str, allocation: str = "") -> bool:
    """Whether the confidence of the map is to be read.

    Raises:
        UsageError: if there is no such way, or strata of confidence are wanted and the map has none.
    """
    if by not in WAYS:
        raise UsageError(f"there is no '{by}'; {did_you_mean(by, WAYS)}", where="by")
    wanted = "confidence" in by
    if wanted and frame.map.confidence is None:
        found = f"strata of confidence need {frame.map.path.stem}.confidence.tif beside the map"
        raise UsageError(found, where=frame.map.path, fix="sample by class")
    return wanted or (allocation == "neyman" and frame.map.confidence is not None)


def make_strata(frame: Frame, census: Census, by: str) -> Strata:
    """Divides a frame.

    Args:
        frame: the frame.
        census: its counts, with confidence where `needs_confidence` says so.
        by: one of `WAYS`.
    """
    names = [frame.map.name(code) for code in census.codes]
    titles, stratum = WAYS[by](census, names)
    cell = np.where(census.pixels > 0, stratum, -1)
    present = np.unique(cell[cell >= 0])
    order = (
        sorted(present.tolist(), key=lambda each: _place(each, stratum, census)) if by == "class" else present.tolist()
    )
    number = np.full(len(titles) + 1, -1, dtype=np.int16)
    number[order] = np.arange(len(order))
    of_cell = number[cell].ravel()
    inside = of_cell >= 0
    pixels = np.bincount(of_cell[inside], census.pixels.ravel()[inside], len(order)).astype(np.int64)
    areas = np.bincount(of_cell[inside], census.areas.ravel()[inside], len(order)).astype(np.float64)
    return Strata(
        tuple(titles[each] for each in order), pixels, areas, _expected(frame, census, of_cell, pixels), of_cell
    )


def _place(stratum: int, strata: IntArray, census: Census) -> int:
    return census.codes[int(np.flatnonzero((strata == stratum).any(axis=1))[0])]


def _expected(frame: Frame, census: Census, of_cell: npt.NDArray[np.int16], pixels: IntArray) -> FloatArray:
    """Share of right pixels that is expected in each stratum: its mean confidence, or `EXPECTED`."""
    counts = census.pixels[:, 1:UNKNOWN]
    if frame.map.confidence is None or not counts.any():
        return np.full(len(pixels), EXPECTED)
    weight = np.where(np.arange(CONFIDENCES) <= 100, census.pixels, 0)
    stratum = of_cell.reshape(census.pixels.shape)
    inside = stratum >= 0
    total = np.bincount(stratum[inside], weight[inside], len(pixels))
    per_cent = np.bincount(stratum[inside], (weight * np.arange(CONFIDENCES))[inside], len(pixels))
    mean = np.divide(per_cent, 100 * total, out=np.full(len(pixels), EXPECTED), where=total > 0)
    return np.asarray(mean.clip(*EXPECTED_RANGE))


ALLOCATIONS: Mapping[str, Callable[[Strata], FloatArray]] = {
    "equal": lambda strata: np.ones(len(strata.names)),
    "proportional": lambda strata: strata.areas,
    "neyman": lambda strata: strata.areas * np.sqrt(strata.expected * (1 - strata.expected)),
}
"""Ways to share points among strata: what a stratum's number of points is proportional to."""


def allocate(strata: Strata, n: int, allocation: str, smallest: int | None = None) -> IntArray:
    """Points of each stratum, (strata,); they sum to n.

    No stratum gets fewer than `smallest`, or than it has pixels; none gets more than it has pixels.

    Args:
        strata: the strata.
        n: points in all.
        allocation: one of `ALLOCATIONS`.
        smallest: points that each stratum gets at least; by default 30, or half of an equal share where that is less, never below 2.

    Raises:
        UsageError: if n is too small for the strata, or larger than the frame.
    """
    if allocation not in ALLOCATIONS:
        raise UsageError(f"there is no '{allocation}'; {did_you_mean(allocation, ALLOCATIONS)}", where="allocation")
    count, pixels = len(strata.names), strata.pixels
    if n > pixels.sum():
        raise UsageError(f"{n:,} points are more than the {pixels.sum():,} pixels that may be drawn", where="n")
    least = int(np.minimum(pixels, FEWEST).sum())
    if n < least:
        found = f"{counted(n, 'point')} for {counted(count, 'stratum', 'strata')}: each needs {FEWEST}"
        raise UsageError(found, where="n", fix=f"take {least} or more, or sample with --by none")
    if smallest is None:
        smallest = max(FEWEST, min(USUAL_SMALLEST, n // (2 * count)))
    if smallest < FEWEST:
        raise UsageError(
            f"{smallest} points of a stratum give no variance", where="smallest", fix=f"take {FEWEST} or more"
        )
    floor = np.minimum(pixels, smallest)
    if floor.sum() > n:
        found = f"{smallest} points for each of {count} strata are more than {n}"
        raise UsageError(found, where="smallest", fix=f"take at most {n // count}")
    weight = ALLOCATIONS[allocation](strata)
    return _filled(weight / weight.sum(), floor, pixels, n)


def _filled(weight: FloatArray, floor: IntArray, most: IntArray, n: int) -> IntArray:
    """Whole numbers in proportion to weights, within limits, that sum to n."""
    low, high = 0.0, 1.0
    while np.clip(high * weight, floor, most).sum() < n and high < 1e18:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.clip(middle * weight, floor, most).sum() < n else (low, middle)
    wanted = np.clip(high * weight, floor, most)
    found = np.maximum(np.floor(wanted + 1e-9).astype(np.int64), floor)
    while found.sum() != n:
        step = 1 if found.sum() < n else -1
        free = found < most if step > 0 else found > floor
        short = np.where(free, step * (wanted - found), -np.inf)
        found[int(np.argmax(short))] += step
    return found

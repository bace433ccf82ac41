"""Label subsets: which of the training patches are labelled, in the worlds where fewer are.

Subsets of one seed are nested: the patches are put into one order, and a subset is a prefix of it, so that 1 % lies within 5 % within
10 %. The order is stratified: every prefix shows the classes in about the shares of the whole, and each class at least once as soon as
there is room. With `grouped`, patches come scene by scene instead, as they do where somebody labels a few scenes.

Strata: classes; for numbers, fifths of their range (of the first principal component, if there are several); for maps, the class
of most pixels; for boxes, the classes that occur. With several targets, a patch is labelled for all of them or for none, and the
strata of all count.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, StrictFloat, StrictInt, field_validator

from eofuse.config import Options
from eofuse.data.loading import Rows, in_order
from eofuse.data.store import Window
from eofuse.data.targets import IGNORE, Target
from eofuse.errors import DataError, UsageError

FIFTHS = 5
"""Strata of numbers: quantile ranges."""

FEWEST = 2
"""Patches of the smallest subset: nothing can be learned from one."""

Strata = npt.NDArray[np.bool_]
"""Which strata each row belongs to, (rows, strata); every stratum has a row."""

Amount = float | int


class LabelOptions(Options):
    """How many of the training patches are labelled; the inputs of the others may still be used.

    Attributes:
        amount: a fraction of the training patches (`0.1`; `1.0` is all), or a whole number of patches a class (`20`).
        seed: fixes the draw.
        grouped: whether patches are labelled scene by scene.
        order: a CSV file whose column `patch_id` has patches in the order in which they are labelled, in place of a draw.
        picked_by: in a study with several amounts, how the labels that an amount has more than the one before it are chosen, by
            the run with that one (see `eofuse.evaluation.acquisition`).
    """

    amount: StrictInt | StrictFloat = 1.0
    seed: int = Field(default=0, ge=0)
    grouped: bool = False
    order: str | None = None
    picked_by: Literal["random", "uncertainty", "diversity", "mix"] | None = None

    @field_validator("amount")
    @classmethod
    def _possible(cls, value: Amount) -> Amount:
        return check_amount(value)

    @property
    def is_all(self) -> bool:
        """Whether every training patch is labelled."""
        return isinstance(self.amount, float) and self.amount == 1


def check_amount(value: Amount) -> Amount:
    """An amount of labels, if it is one.

    Raises:
        ValueError: if it is none.
    """
    if isinstance(value, float) and not 0 < value <= 1:
        what = "a fraction lies above 0 and up to 1.0; a number of patches a class is written without a point"
        raise ValueError(what)
    if value < 1 and isinstance(value, int):
        raise ValueError("at least one patch a class is needed")
    return value


def label_subset(
    targets: Sequence[Target],
    scenes: npt.NDArray[Any],
    rows: Rows,
    options: LabelOptions,
    window: Window | None = None,
) -> Rows:
    """The training patches that are labelled.

    Args:
        targets: what is learned.
        scenes: scene of each patch of the store, (patches,).
        rows: the training patches, each with one of the targets at least.
        options: how many.
        window: pixels that are used, for targets with pixels.

    Returns:
        Some of the rows, ascending: of a fraction as many as it says, at least two; of a number a class that many of each class
        (all of a rarer one). By scenes, the last scene is labelled only as far as needed.
    """
    if options.is_all or not len(rows):
        return rows
    found = [strata(target, rows, window) for target in targets]
    member = np.concatenate(found, axis=1)
    generator = np.random.default_rng([options.seed, 11])
    if isinstance(options.amount, int):
        chosen = (_scenes_until if options.grouped else _each_stratum)(
            member, scenes[rows], min(options.amount, len(rows)), generator
        )
    else:
        size = subset_size(options.amount, len(rows))
        order = _by_scene(scenes[rows], generator) if options.grouped else stratified_order(member, size, generator)
        chosen = order[:size]
    return np.sort(rows[chosen])


def first_in_order(patch_ids: npt.NDArray[Any], rows: Rows, options: LabelOptions) -> Rows:
    """The training patches that are labelled, where a file says in which order they are.

    Args:
        patch_ids: of each patch of the store, (patches,).
        rows: the training patches, each with one of the targets at least.
        options: how many, and the file; patches that it names beyond the rows don't count.

    Raises:
        UsageError: if the amount is no fraction, or the file can't be read.
        DataError: if the file names too few of the patches.
    """
    assert options.order is not None
    if isinstance(options.amount, int):
        fix = "give a fraction of the training patches, like 0.1"
        raise UsageError("an order of labels has no number a class", where="labels.amount", fix=fix)
    try:
        listed = pd.read_csv(Path(options.order), usecols=["patch_id"], dtype=str, encoding="utf-8-sig")["patch_id"]
    except (OSError, ValueError) as error:
        fix = "give a CSV file with a column patch_id"
        raise UsageError(f"can't be read: {error}", where=options.order, fix=fix) from None
    row_of = dict(zip(patch_ids[rows].tolist(), rows.tolist(), strict=True))
    ordered = [row_of[identifier] for identifier in dict.fromkeys(listed) if identifier in row_of]
    size = subset_size(options.amount, len(rows))
    if len(ordered) < size:
        what = f"names {len(ordered)} of the training patches with a label, and {size} are to be labelled"
        raise DataError(what, where=options.order, fix="name more, or choose a smaller labels.amount")
    return np.sort(np.array(ordered[:size], dtype=np.int64))


def subset_size(fraction: float, patches: int) -> int:
    """Number of labelled patches that a fraction comes to."""
    return min(patches, max(FEWEST, round(fraction * patches)))


def strata(target: Target, rows: Rows, window: Window | None = None) -> Strata:
    """As `membership`, without strata to which none of the patches belongs."""
    member = membership(target, rows, window)
    return np.asarray(member[:, member.any(axis=0)])


def membership(target: Target, rows: Rows, window: Window | None = None) -> Strata:
    """To which strata of a target each of some patches belongs, (rows, strata); to none where the target is not known.

    Strata are the classes of the target in their order (of maps that of most pixels, of boxes those that occur), or fifths of numbers.
    """
    known = target.valid[rows]
    if target.kind.is_boxes:
        member = _carried(target, rows, window)
    elif target.kind.has_several:
        member = np.asarray(target.values[rows] > 0.5)
    else:
        numbers = _stratum_numbers(target, rows, window)
        member = np.asarray(numbers[:, None] == np.arange(max(int(numbers.max(initial=-1)), 0) + 1))
    return np.asarray(member & known[:, None])


def _stratum_numbers(target: Target, rows: Rows, window: Window | None) -> npt.NDArray[np.int64]:
    """Number of the one stratum of each row, −1 for none."""
    if target.kind.is_map:
        return np.full(len(rows), -1) if target.kind.is_numbers else _commonest(target, rows, window)
    if target.kind.is_numbers:
        return _fifths(target.values[rows].astype(np.float64), target.valid[rows])
    return np.asarray(target.values[rows], dtype=np.int64)


def _fifths(values: npt.NDArray[np.float64], known: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Quantile range of each row's number, or of the first principal component of its numbers."""
    if not known.any():
        return np.full(len(values), -1)
    centred = values - values[known].mean(axis=0)
    spread = centred[known].std(axis=0)
    centred /= np.where(spread > 0, spread, 1)
    line = np.linalg.svd(centred[known], full_matrices=False)[2][0] if values.shape[1] > 1 else np.ones(1)
    placed = centred @ line
    edges = np.unique(np.quantile(placed[known], np.arange(1, FIFTHS) / FIFTHS))
    return np.asarray(np.searchsorted(edges, placed, side="right"), dtype=np.int64)


def _commonest(target: Target, rows: Rows, window: Window | None) -> npt.NDArray[np.int64]:
    """Class of most labelled pixels of each row, −1 where no pixel is labelled."""
    found = []
    for part in in_order(rows, 64):
        for codes in target.read(part, window):
            counts = np.bincount(codes.ravel(), minlength=256)
            counts[IGNORE] = 0
            found.append(int(counts.argmax()) if counts.any() else -1)
    return np.array(found, dtype=np.int64)


def _carried(target: Target, rows: Rows, window: Window | None) -> Strata:
    """Classes of which each row has a box."""
    member = np.zeros((len(rows), len(target.classes)), dtype=bool)
    for start, part in enumerate(in_order(rows, 64)):
        for position, boxes in enumerate(target.read(part, window)):
            classes = boxes[:, 4].astype(np.int64)
            member[start * 64 + position, classes[classes >= 0]] = True
    return member


def stratified_order(member: Strata, size: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """The first rows of an order of which every prefix is stratified.

    One row after another is taken: as long as a stratum was not seen yet, a row of the commonest of these; then a row after which the
    counts of all strata come closest to their shares (squared distance over the share). This is the greedy rule of iterative
    stratification (Sechidis, Tsoumakas and Vlahavas 2011, On the Stratification of Multi-label Data), turned from subsets of given
    sizes into one order, so that subsets are nested. Rows that belong to the same strata follow each other at random.

    Args:
        member: (rows, strata).
        size: how many rows are wanted.
        generator: of the draws; the order of a longer prefix begins with that of a shorter one.
    """
    patterns, pattern_of_row = np.unique(member, axis=0, return_inverse=True)
    pattern_of_row = pattern_of_row.reshape(-1)
    shuffled = generator.permutation(len(member))
    waiting = [shuffled[pattern_of_row[shuffled] == number] for number in range(len(patterns))]
    left = np.array([len(queue) for queue in waiting])
    shares = member.mean(axis=0)
    inverse = 1 / shares
    tie = generator.permutation(len(patterns)) * 1e-9
    commonest = np.argsort(-shares, kind="stable")
    weights = patterns * inverse
    cost_of_pattern = weights.sum(
        axis=1
    )  # (have + pattern − wanted)² / share, without what is the same for all patterns
    have = np.zeros(len(shares))
    order = np.empty(min(size, len(member)), dtype=np.int64)
    for place in range(len(order)):
        gap = have - shares * (place + 1)
        cost = cost_of_pattern + 2 * (weights @ gap) + tie
        cost[left == 0] = np.inf
        unseen = commonest[have[commonest] == 0]
        if len(unseen):
            cost[~patterns[:, unseen[0]]] = np.inf
        number = int(cost.argmin())
        queue = waiting[number]
        order[place] = queue[len(queue) - left[number]]
        left[number] -= 1
        have += patterns[number]
    return order


def _each_stratum(
    member: Strata, scenes: npt.NDArray[Any], amount: int, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Rows until every stratum has `amount` (or all it has): in rounds of one more a stratum, the rarest first.

    Rows of no stratum count as one of their own.
    """
    unplaced = ~np.asarray(member.any(axis=1))
    if unplaced.any():
        member = np.concatenate([member, unplaced[:, None]], axis=1)
    shuffled = generator.permutation(len(member))
    queues = [shuffled[member[shuffled, stratum]] for stratum in range(member.shape[1])]
    rarest = sorted(range(len(queues)), key=lambda stratum: len(queues[stratum]))
    have = np.zeros(len(queues), dtype=np.int64)
    place = np.zeros(len(queues), dtype=np.int64)
    taken = np.zeros(len(member), dtype=bool)
    for turn in range(1, amount + 1):
        for stratum in rarest:
            queue = queues[stratum]
            while have[stratum] < turn and place[stratum] < len(queue):
                row = queue[place[stratum]]
                place[stratum] += 1
                if not taken[row]:
                    taken[row] = True
                    have += member[row]
    return np.flatnonzero(taken)


def _by_scene(scenes: npt.NDArray[Any], generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Rows scene by scene, scenes and the rows within them in random order."""
    number = np.unique(scenes.astype(str), return_inverse=True)[1]
    rank = generator.permutation(int(number.max()) + 1)[number]
    return np.lexsort((generator.permutation(len(scenes)), rank))


def _scenes_until(
    member: Strata, scenes: npt.NDArray[Any], amount: int, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Rows scene by scene until every stratum has `amount`, or all it has."""
    order = _by_scene(scenes, generator)
    if not member.shape[1]:
        return order[:amount]
    counts = np.asarray(member[order].cumsum(axis=0))
    lacking = (counts < np.minimum(amount, counts[-1])).any(axis=1)
    return order[: int(lacking.sum()) + 1]

"""Which patches to annotate next: how uncertain a prediction is, how far a patch lies from those with labels, and the choice by both.

`METHODS` names the ways of choosing. All are one greedy choice: the patch with the highest score is taken, then distances are brought
up to date, so that what was just taken repels its like. They differ in the score:

- `random`: a random number; what the others must beat.
- `uncertainty`: the entropy of what is predicted (uncertainty sampling: Settles 2009, Active Learning Literature Survey).
- `diversity`: the distance to the nearest patch with a label, or taken before (greedy k-centre: Sener & Savarese 2018, Active Learning
  for Convolutional Neural Networks: A Core-Set Approach).
- `mix`: the product of both, after the uncertainty-weighted clusters of Prabhu et al. (2021, Active Domain Adaptation via Clustering
  Uncertainty-weighted Embeddings), in the greedy form of the core-set.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eofuse.errors import UsageError

FloatArray = npt.NDArray[np.float64]

_CHUNK_BYTES = 100e6
_ROUNDING = 1e-9  # of squared lengths: far more than products of vectors lose


def class_entropy(probabilities: npt.NDArray[np.floating]) -> FloatArray:
    """Entropy as a share of the largest possible, (patches,): 0 where one class is certain, 1 where all are alike.

    Args:
        probabilities: of classes that exclude each other, (patches, classes), or (patches, classes, height, width) for the mean over
            the pixels.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    entropy = _surprise(values).sum(axis=1) / np.log(max(values.shape[1], 2))
    return np.asarray(entropy.reshape(len(values), -1).mean(axis=1))


def binary_entropy(probabilities: npt.NDArray[np.floating]) -> FloatArray:
    """Mean over the classes of the entropy of their presence, in bits, (patches,).

    Args:
        probabilities: of classes that occur independently, (patches, classes).
    """
    values = np.asarray(probabilities, dtype=np.float64)
    return np.asarray((_surprise(values) + _surprise(1 - values)).mean(axis=1) / np.log(2))


def _surprise(probabilities: FloatArray) -> FloatArray:
    """−p log p, 0 for p = 0."""
    clipped = np.clip(probabilities, 0, 1)
    return np.asarray(-clipped * np.log(np.where(clipped > 0, clipped, 1)))


def nearest_distance(vectors: npt.NDArray[np.floating], centres: npt.NDArray[np.floating]) -> FloatArray:
    """Euclidean distance of each vector to the nearest centre, (patches,); infinity where there is no centre.

    Matrix products find the nearest centre, block by block; the distance to it is then taken from the difference.

    Args:
        vectors: (patches, width).
        centres: (centres, width).
    """
    values, goals = np.asarray(vectors, dtype=np.float64), np.asarray(centres, dtype=np.float64)
    if not len(goals) or not len(values):
        return np.full(len(values), np.inf)
    nearest = np.zeros(len(values), dtype=np.int64)
    middle = goals.mean(axis=0)  # near the middle, squares lose the fewest digits
    moved, around = values - middle, goals - middle
    squares = (around**2).sum(axis=1)
    per_block = max(1, math.isqrt(int(_CHUNK_BYTES / 8)))
    for rows in _blocks(len(values), per_block):
        least = np.full(len(moved[rows]), np.inf)
        for columns in _blocks(len(goals), per_block):
            found = squares[columns] - 2 * (moved[rows] @ around[columns].T)  # less what is alike for all centres
            place = found.argmin(axis=1)
            lowest = np.take_along_axis(found, place[:, None], axis=1)[:, 0]
            nearest[rows] = np.where(lowest < least, place + columns.start, nearest[rows])
            least = np.minimum(least, lowest)
    return np.concatenate([_distance(values[rows], goals[nearest[rows]]) for rows in _blocks(len(values), per_block)])


def _distance(values: FloatArray, goals: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.norm(values - goals, axis=1))


def _blocks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


Score = Callable[[FloatArray, FloatArray, np.random.Generator], FloatArray]
"""(uncertainty, distance to the nearest centre, source of random numbers) → score of each patch, the larger the better."""


METHODS: dict[str, Score] = {
    "random": lambda uncertainty, distance, generator: generator.random(len(distance)),
    "uncertainty": lambda uncertainty, distance, generator: uncertainty,
    "diversity": lambda uncertainty, distance, generator: distance,
    "mix": lambda uncertainty, distance, generator: uncertainty * distance,
}

NEED_UNCERTAINTY = ("uncertainty", "mix")
"""Methods that ask how uncertain a prediction is."""

WITHOUT_DISTANCE = ("random", "uncertainty")
"""Methods that look at no distance."""


@dataclass(frozen=True)
class Picks:
    """Patches that were chosen, the most wanted first.

    Attributes:
        positions: among the candidates, (picks,).
        distances: of each to the nearest patch with a label, or chosen before it, (picks,).
    """

    positions: npt.NDArray[np.int64]
    distances: FloatArray


def pick(
    by: str,
    count: int,
    vectors: npt.NDArray[np.floating],
    centres: npt.NDArray[np.floating],
    uncertainty: FloatArray | None = None,
    seed: int = 0,
) -> Picks:
    """Chooses patches one by one; of equals, the first. The choice of fewer begins the choice of more.

    Args:
        by: one of `METHODS`.
        count: how many are wanted; all candidates, if there are no more.
        vectors: features of the candidates, (candidates, width).
        centres: features of the patches with labels, (labelled, width).
        uncertainty: of the candidates, (candidates,), for the methods that ask for it.
        seed: of `random`.

    Raises:
        UsageError: if the method needs an uncertainty and there is none.
    """
    if by in NEED_UNCERTAINTY and uncertainty is None:
        raise UsageError(f"'{by}' needs predictions that say how uncertain they are", fix="choose by diversity")
    points: FloatArray = np.asarray(vectors, dtype=np.float64)
    unsure = np.zeros(len(points)) if uncertainty is None else np.asarray(uncertainty, dtype=np.float64)
    needed = by not in WITHOUT_DISTANCE
    distance = nearest_distance(points, centres) if needed else np.zeros(len(points))
    generator = np.random.default_rng([seed, 23])
    left = np.ones(len(points), dtype=bool)
    squares = (points**2).sum(axis=1) if needed else distance
    positions, distances = [], []
    for _ in range(min(count, len(points))):
        score = np.where(left, METHODS[by](unsure, distance, generator), -np.inf)
        place = int(score.argmax())
        positions.append(place)
        distances.append(distance[place])
        left[place] = False
        if needed:
            nearer = _may_be_nearer(points, squares, place, distance)
            distance[nearer] = np.minimum(distance[nearer], _distance(points[nearer], points[place]))
    if not needed:
        distances = _distances_in_turn(points[positions], centres)
    return Picks(np.array(positions, dtype=np.int64), np.array(distances, dtype=np.float64))


def _may_be_nearer(vectors: FloatArray, squares: FloatArray, place: int, distance: FloatArray) -> npt.NDArray[np.intp]:
    """Vectors that may be nearer to that at a place than a distance, by a product that rounds: all that are, and few others."""
    apart = squares + squares[place] - 2 * (vectors @ vectors[place])
    return np.flatnonzero(apart <= distance**2 + _ROUNDING * (squares + squares[place]))


def _distances_in_turn(picked: FloatArray, centres: npt.NDArray[np.floating]) -> list[float]:
    """Distance of each picked vector to the nearest centre, or vector that was picked before it."""
    distance = nearest_distance(picked, centres)
    before = [float(_distance(picked[:turn], picked[turn]).min(initial=np.inf)) for turn in range(len(picked))]
    return [min(pair) for pair in zip(distance.tolist(), before, strict=True)]

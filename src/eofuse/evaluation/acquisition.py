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

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eofuse.errors import UsageError

FloatArray = npt.NDArray[np.float64]

_CHUNK_BYTES = 100e6


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

    Args:
        vectors: (patches, width).
        centres: (centres, width).
    """
    values, goals = np.asarray(vectors, dtype=np.float64), np.asarray(centres, dtype=np.float64)
    nearest = np.full(len(values), np.inf)
    step = max(1, int(_CHUNK_BYTES / 8 / max(values.size, 1)))
    for start in range(0, len(goals), step):
        part = goals[start : start + step]
        nearest = np.minimum(nearest, np.linalg.norm(values[:, None] - part[None], axis=2).min(axis=1))
    return nearest


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
    vectors = np.asarray(vectors, dtype=np.float64)
    unsure = np.zeros(len(vectors)) if uncertainty is None else np.asarray(uncertainty, dtype=np.float64)
    distance = nearest_distance(vectors, centres)
    generator = np.random.default_rng([seed, 23])
    left = np.ones(len(vectors), dtype=bool)
    positions, distances = [], []
    for _ in range(min(count, len(vectors))):
        score = np.where(left, METHODS[by](unsure, distance, generator), -np.inf)
        place = int(score.argmax())
        positions.append(place)
        distances.append(distance[place])
        left[place] = False
        distance = np.minimum(distance, nearest_distance(vectors, vectors[place : place + 1]))
    return Picks(np.array(positions, dtype=np.int64), np.array(distances, dtype=np.float64))

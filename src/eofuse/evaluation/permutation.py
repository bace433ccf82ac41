"""What an input is worth to a metric, found by permuting it among the test patches, and whether numbers tell scenes apart.

Permutation breaks the tie between an input and the truth, and leaves its values as they are (Breiman 2001, Random Forests, Machine
Learning 45). What is the same for all patches of a scene is permuted by whole scenes (`permute_scenes`).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from eofuse.evaluation.metrics import lower_is_better
from eofuse.evaluation.resampling import LeftOut
from eofuse.evaluation.shapley import Estimate, estimates


def importance(whole: LeftOut, permuted: Sequence[LeftOut], metric: str) -> tuple[Estimate, float]:
    """What is lost when an input is permuted: the mean over draws, and their standard deviation."""
    sign = -1.0 if lower_is_better(metric) else 1.0
    losses = sign * (whole.value - np.array([each.value for each in permuted]))
    without = sign * (whole.without - np.mean([each.without for each in permuted], 0))
    deviation = float(losses.std(ddof=1)) if len(losses) > 1 else float("nan")
    return estimates(losses.mean(keepdims=True), without[:, None], whole)[0], deviation


def permute_scenes(scenes: ArrayLike, seed: int | Sequence[int]) -> NDArray[np.int64]:
    """For each row, the row whose values it gets when whole scenes swap theirs, (N,).

    A scene takes the values of one scene, in their order, which go round where that has fewer rows. So rows of one scene keep
    what they have in common.
    """
    names, codes = np.unique(np.asarray(scenes), return_inverse=True)
    members = [np.flatnonzero(codes == code) for code in range(len(names))]
    givers = np.random.default_rng(seed).permutation(len(names)).tolist()
    rows = np.empty(len(codes), dtype=np.int64)
    for own, giver in zip(members, givers, strict=True):
        rows[own] = np.resize(members[giver], len(own))
    return rows


def tells_scenes(values: ArrayLike, scenes: ArrayLike) -> float:
    """Share of the rows whose numbers tell their scene: the row that is most like each is of the same scene.

    Rows that another scene has exactly alike tell nothing. Scenes of a single row are left out; NaN if there are no others.

    Args:
        values: (N, D) numbers; each column is standardised.
        scenes: (N,) scene of each row.
    """
    _, codes, sizes = np.unique(np.asarray(scenes), return_inverse=True, return_counts=True)
    several = sizes[codes] > 1
    if not several.any():
        return math.nan
    numbers, codes = np.asarray(values, dtype=np.float64)[several], codes[several]
    deviation = numbers.std(0)
    numbers = (numbers - numbers.mean(0)) / np.where(deviation > 0, deviation, 1.0)
    alike = np.unique(numbers, axis=0, return_inverse=True)[1].reshape(-1)
    in_scenes = np.bincount(np.unique(np.stack([alike, codes], 1), axis=0)[:, 0])[alike]
    repeated = np.bincount(alike)[alike] > 1
    nearest = KDTree(numbers).query(numbers, k=2)[1]
    other = np.where(nearest[:, 0] == np.arange(len(numbers)), nearest[:, 1], nearest[:, 0])
    tells = (in_scenes == 1) & (repeated | (codes[other] == codes))
    return float(tells.mean())

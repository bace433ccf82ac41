"""How many labels a method needs to be as good as another one is with all of them: read off its curve, with an interval.

The curve of a metric against the number of labels is made monotone (isotonic regression: more labels do not hurt) and interpolated
along the logarithm of the number. The interval comes from the replicates of the bootstrap over scenes: curve and goal of a replicate
come from the same draw of scenes, so that what both have in common cancels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from eofuse.evaluation.intervals import expanded_level
from eofuse.evaluation.weighting import FloatArray

_ROUNDING = 1e-12  # a smaller gap comes from the order of a sum


@dataclass(frozen=True)
class LabelsNeeded:
    """The number of labels with which a method reaches a goal.

    Infinity stands for more labels than were tried; the smallest number that was tried, for that many or fewer.

    Attributes:
        labels: on the test patches as they are.
        low: lower end of its 95 % interval; NaN for a single scene.
        high: its upper end.
        reached: share of the replicates in which the goal is reached.
    """

    labels: float
    low: float
    high: float
    reached: float


def monotone(values: ArrayLike) -> FloatArray:
    """Isotonic regression with equal weights along the last axis: the non-decreasing values closest to these (..., amounts).

    By the max–min formula of Robertson, Wright and Dykstra 1988, Order Restricted Statistical Inference.
    """
    given = np.asarray(values, dtype=np.float64)
    count = given.shape[-1]
    sums = np.concatenate([np.zeros((*given.shape[:-1], 1)), given.cumsum(axis=-1)], axis=-1)
    result = np.empty_like(given)
    for place in range(count):
        starts = []
        for start in range(place + 1):
            means = [(sums[..., end] - sums[..., start]) / (end - start) for end in range(place + 1, count + 1)]
            starts.append(np.min(means, axis=0))
        result[..., place] = np.max(starts, axis=0)
    return result


def crossing(labels: ArrayLike, values: ArrayLike, goal: ArrayLike) -> FloatArray:
    """The fewest labels with which monotone curves reach their goals, interpolated along the logarithm.

    Args:
        labels: (amounts,), ascending.
        values: (..., amounts); more is better.
        goal: (...).

    Returns:
        (...); the first of the labels where the curve begins above the goal, infinity where it ends below.
    """
    places = np.asarray(labels, dtype=np.float64)
    curve = monotone(values)
    wanted = np.asarray(goal, dtype=np.float64)[..., None] - _ROUNDING
    reaches = curve >= wanted
    after = np.where(reaches.any(axis=-1), reaches.argmax(axis=-1), 0)
    before = np.maximum(after - 1, 0)
    high, low = (np.take_along_axis(curve, place[..., None], -1)[..., 0] for place in (after, before))
    rise = np.where(high > low, high - low, 1.0)
    way = np.where(after > 0, np.clip((wanted[..., 0] - low) / rise, 0, 1), 1.0)
    found = places[before] * (places[after] / places[before]) ** way
    return np.where(reaches.any(axis=-1), found, np.inf)


def labels_to_match(
    labels: ArrayLike,
    values: ArrayLike,
    replicates: ArrayLike,
    goal: float,
    goal_replicates: ArrayLike,
    *,
    scenes: int,
    lower_is_better: bool = False,
    level: float = 0.95,
) -> LabelsNeeded:
    """How many labels a method needs to reach a goal.

    Args:
        labels: numbers of labels that were tried, ascending, (amounts,).
        values: metric of the method at each, (amounts,).
        replicates: the same in each replicate of the bootstrap, (amounts, R).
        goal: the metric to be reached.
        goal_replicates: the same in each replicate, (R,).
        scenes: distinct test scenes, for which the interval is widened.
        lower_is_better: whether the metric is better when smaller.
        level: of the interval.
    """
    sign = -1.0 if lower_is_better else 1.0
    curves, goals = sign * np.asarray(replicates, dtype=np.float64).T, sign * np.asarray(goal_replicates)
    defined = np.isfinite(curves).all(axis=1) & np.isfinite(goals)
    point = float(crossing(labels, sign * np.asarray(values, dtype=np.float64), sign * goal))
    if np.isnan(np.asarray(values, dtype=np.float64)).any() or np.isnan(goal):
        point = float("nan")
    if not defined.any() or scenes < 2:
        return LabelsNeeded(point, float("nan"), float("nan"), float("nan"))
    found = crossing(labels, curves[defined], goals[defined])
    tail = (1 - expanded_level(level, scenes)) / 2
    low = float(
        np.quantile(found, tail, method="lower")
    )  # between a number and infinity there is nothing to interpolate
    high = float(np.quantile(found, 1 - tail, method="higher"))
    return LabelsNeeded(point, low, high, float(np.isfinite(found).mean()))

"""How many labels a method needs to be as good as another one is with all of them: read off its curve, with an interval.

The curve of a metric against the number of labels is made monotone (isotonic regression: more labels do not hurt) and interpolated
along the logarithm of the number. The interval follows from those of the paired differences to the goal at each number: it reaches
from where the upper ends come to 0 to where the lower ends do. So it excludes a number just where the difference there does.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from eofuse.evaluation.weighting import FloatArray

_ROUNDING = 1e-12  # a smaller gap comes from the order of a sum


@dataclass(frozen=True)
class LabelsNeeded:
    """The number of labels with which a method reaches a goal.

    Infinity stands for more labels than were tried; the smallest number that was tried, for that many or fewer.

    Attributes:
        labels: on the test patches as they are.
        low: lower end of its 95 % interval; NaN where none can be given.
        high: its upper end.
        reached: share of the draws of test scenes in which the goal is reached.
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
    differences: ArrayLike,
    lows: ArrayLike,
    highs: ArrayLike,
    replicates: ArrayLike,
    *,
    lower_is_better: bool = False,
) -> LabelsNeeded:
    """How many labels a method needs to reach a goal.

    Args:
        labels: numbers of labels that were tried, ascending, (amounts,).
        differences: metric of the method at each, minus the goal, (amounts,).
        lows: lower ends of their 95 % intervals, (amounts,); NaN where none can be given.
        highs: their upper ends, (amounts,).
        replicates: the differences when the test scenes are drawn again, (amounts, R).
        lower_is_better: whether the metric is better when smaller.
    """
    sign = -1.0 if lower_is_better else 1.0
    points, first, second = (sign * np.asarray(each, dtype=np.float64) for each in (differences, lows, highs))
    drawn = sign * np.asarray(replicates, dtype=np.float64).T
    drawn = drawn[np.isfinite(drawn).all(axis=1)]
    needed = float("nan") if np.isnan(points).any() else float(crossing(labels, points, 0.0))
    if np.isnan([first, second]).any() or not len(drawn):
        return LabelsNeeded(needed, float("nan"), float("nan"), float("nan"))
    worst, best = np.minimum(first, second), np.maximum(first, second)
    reached = float(np.isfinite(crossing(labels, drawn, np.zeros(len(drawn)))).mean())
    return LabelsNeeded(needed, float(crossing(labels, best, 0.0)), float(crossing(labels, worst, 0.0)), reached)

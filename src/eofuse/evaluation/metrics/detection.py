"""Metrics of boxes, as COCO defines them, under one weighting of the patches or many at once.

`match_boxes` finds once which boxes are true; from that `BoxTotals` has average precision under any weighting of the patches.

Definitions (Lin et al. 2014, arXiv:1405.0312, and the COCO tools):

- Within a patch and a class, boxes choose in order of their scores the true box with which they overlap most, among those
  not taken yet and with an intersection over union (IoU) of at least the threshold; what finds none is a false alarm.
- Average precision is the mean over 101 recalls (0, .01 … 1) of the best precision reached at that recall or a higher one, 0
  where it is never reached; boxes of all sizes, at most 100 a patch.
- `box_map` is the mean over the IoU thresholds .5, .55 … .95 and over the classes of which a true box occurs (in patches with
  weight); `box_ap50` the same at .5 only. Where no class occurs, they are NaN.
- Boxes of equal score enter in the order of the patches, and of the boxes in a patch. An integer weight equals as many copies
  of the patch next to each other, if no two boxes of one class and patch have the same score.
"""

from functools import cached_property
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eofuse.errors import DataError, UsageError
from eofuse.evaluation.metrics import METRICS, Metric
from eofuse.evaluation.weighting import Evidence, FloatArray, Totals, divide, mean_where
from eofuse.kinds import OVERLAPS, TaskKind

IOU_THRESHOLDS = np.linspace(0.5, 0.95, OVERLAPS)
RECALLS = np.linspace(0, 1, 101)
MOST_VALUES = 4_000_000  # of one array while many weightings are computed; 32 MB


def match_boxes(predicted: ArrayLike, truth: ArrayLike, classes: int) -> dict[str, NDArray[Any]]:
    """Which boxes are true.

    Args:
        predicted: (N, P, 6) rows of x0, y0, x1, y1, score, class; rows of class −1 fill up.
        truth: (N, M, 5) rows of x0, y0, x1, y1, class; rows of a class below 0, and boxes without area, are passed over.
        classes: number of classes.

    Returns:
        `boxes` (N, P, 4) float32, `scores` (N, P) float32, `labels` (N, P) int64 (−1 fills up), `matched` (N, P, 10) int8, 1
        where the box is true at an IoU of .5, .55 … .95, and `counts` (N, classes) int64 of true boxes.

    Raises:
        UsageError: if the shapes do not fit.
        DataError: if a class number does not exist or a number is not finite.
    """
    found, real = np.asarray(predicted, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if found.ndim != 3 or real.ndim != 3 or found.shape[2] != 6 or real.shape[2] != 5 or len(found) != len(real):
        fix = "give (N, P, 6) and (N, M, 5)"
        raise UsageError(f"boxes have the shape {found.shape}, the truth {real.shape}", fix=fix)
    for name, values in (("predicted", found), ("truth", real)):
        wrong = ~np.isfinite(values).all(axis=2) | (values[..., -1] >= classes)
        if wrong.any():
            row = int(np.flatnonzero(wrong.any(axis=1))[0])
            raise DataError(f"a box is not finite or of a class above {classes - 1}", where=f"{name}, row {row}")
    labels = found[..., 5].astype(np.int64)
    numbers = np.where((real[..., 2:4] > real[..., :2]).all(axis=2), real[..., 4], -1).astype(np.int64)
    matched = np.zeros((*labels.shape, len(IOU_THRESHOLDS)), dtype=np.int8)
    for row in range(len(found)):
        here, there = np.flatnonzero(labels[row] >= 0), np.flatnonzero(numbers[row] >= 0)
        if len(here) and len(there):
            overlaps = intersection_over_union(found[row, here, :4], real[row, there, :4])
            overlaps[labels[row, here, None] != numbers[row, there]] = 0.0
            matched[row, here] = _match(overlaps, found[row, here, 4])
    return {
        "boxes": found[..., :4].astype(np.float32),
        "scores": found[..., 4].astype(np.float32),
        "labels": labels,
        "matched": matched,
        "counts": (numbers[..., None] == np.arange(classes)).sum(axis=1).astype(np.int64),
    }


def intersection_over_union(boxes: FloatArray, others: FloatArray) -> FloatArray:
    """(n, m) of boxes (n, 4) and others (m, 4), rows of x0, y0, x1, y1; 0 where neither has area."""
    lower = np.maximum(boxes[:, None, :2], others[None, :, :2])
    upper = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = np.clip(upper - lower, 0, None).prod(axis=2)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)[:, None] + (others[:, 2:] - others[:, :2]).prod(axis=1) - common
    return np.nan_to_num(divide(common, union))


def _match(overlaps: FloatArray, scores: FloatArray) -> NDArray[np.int8]:
    """(n, 10): whether each of n boxes finds a true one at each threshold, from overlaps (n, m) and scores (n,)."""
    matched = np.zeros((len(overlaps), len(IOU_THRESHOLDS)), dtype=np.int8)
    taken = np.zeros((len(IOU_THRESHOLDS), overlaps.shape[1]), dtype=bool)
    able = overlaps.max(axis=1) >= IOU_THRESHOLDS[0]
    last = overlaps.shape[1] - 1
    for box in np.argsort(-scores, kind="stable"):
        if not able[box]:
            continue
        free = np.where(taken | (overlaps[box] < IOU_THRESHOLDS[:, None]), 0.0, overlaps[box])
        best = last - free[:, ::-1].argmax(axis=1)  # the last of equals, as in the COCO tools
        hit = np.flatnonzero(free.max(axis=1) > 0)
        taken[hit, best[hit]] = True
        matched[box, hit] = 1
    return matched


class BoxTotals(Totals):
    """Boxes of some patches under weightings: the evidence that `match_boxes` gives.

    Raises:
        UsageError: if the shapes do not fit.
    """

    def __init__(self, kind: TaskKind, evidence: Evidence, weights: ArrayLike | None = None) -> None:
        self.scores, self.labels = (np.asarray(evidence[name]) for name in ("scores", "labels"))
        self.matched = np.asarray(evidence["matched"]).astype(bool)
        self.counts = np.asarray(evidence["counts"], dtype=np.float64)
        shape = self.labels.shape
        fits = self.scores.shape == shape and self.matched.shape == (*shape, OVERLAPS)
        if not fits or len(shape) != 2 or self.counts.ndim != 2 or len(self.counts) != shape[0]:
            raise UsageError(
                f"scores {self.scores.shape}, labels {shape}, matched {self.matched.shape} and counts "
                f"{self.counts.shape} do not fit each other",
                fix="give what match_boxes gives",
            )
        super().__init__(kind, evidence, weights)

    @cached_property
    def support(self) -> FloatArray:
        """Weighted number of true boxes of each class, (R, K)."""
        return self.weights @ self.counts

    @cached_property
    def hits(self) -> FloatArray:
        """Weighted number of those that are found at an IoU of .5, whatever the score, (R, K)."""
        classes = range(self.counts.shape[1])
        found = [(self.labels == number) & self.matched[..., 0] for number in classes]
        return np.array([[(weights @ each).sum() for each in found] for weights in self.weights])

    @cached_property
    def precisions(self) -> FloatArray:
        """Average precision by class and threshold, (R, K, 10); NaN where no true box of the class has weight."""
        result = np.full((*self.support.shape, OVERLAPS), np.nan)
        for number in range(self.support.shape[1]):
            patches, places = np.nonzero(self.labels == number)
            order = np.argsort(-self.scores[patches, places], kind="stable")
            patches, places = patches[order], places[order]
            step = max(1, MOST_VALUES // max(1, len(patches)))
            for start in range(0, len(self.weights), step):
                part = slice(start, start + step)
                result[part, number] = _interpolated(
                    self.weights[part], patches, self.matched[patches, places], self.support[part, number]
                )
        return result

    @property
    def average_precisions(self) -> FloatArray:
        """The mean over the thresholds, (R, K)."""
        values: FloatArray = self.precisions.mean(axis=2)
        return values


def _interpolated(
    weights: FloatArray, patches: NDArray[np.int64], matched: NDArray[np.bool_], support: FloatArray
) -> FloatArray:
    """Average precision at each threshold, (R, 10), of the boxes of one class, best first.

    From weights (R, N) of the patches, the patch of each box (boxes,), `matched` (boxes, 10) and the weighted number of true boxes
    (R,). Precision is at its best where a true box has just come in, so only these places are looked at.
    """
    all_so_far = np.cumsum(weights[:, patches], axis=1)
    result = np.zeros((len(weights), len(IOU_THRESHOLDS)))
    for threshold in range(len(IOU_THRESHOLDS)):
        true = np.flatnonzero(matched[:, threshold])
        true_so_far = np.cumsum(weights[:, patches[true]], axis=1)
        precision = np.nan_to_num(divide(true_so_far, all_so_far[:, true]))
        best_from_here = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        with_end = np.concatenate([best_from_here, np.zeros((len(weights), 1))], axis=1)
        recall = divide(true_so_far, np.broadcast_to(support[:, None], true_so_far.shape))
        for replicate in range(len(weights)):
            reached = np.searchsorted(recall[replicate], RECALLS, side="left")
            result[replicate, threshold] = with_end[replicate, reached].mean()
    result[support == 0] = np.nan
    return result


_is_boxes = attrgetter("is_boxes")

METRICS.add(
    Metric(
        "box_map",
        "box mAP",
        "the mean over classes of the average precision of boxes, averaged over the overlaps (IoU of 0.50, 0.55, … 0.95) from "
        "which a box counts as found",
        _is_boxes,
        lambda totals: mean_where(totals.average_precisions, totals.support > 0),
        by_class="average_precision",
        order=100,
    )
)
METRICS.add(
    Metric(
        "box_ap50",
        "box AP50",
        "the same for boxes that count as found from an IoU of 0.5",
        _is_boxes,
        lambda totals: mean_where(totals.precisions[..., 0], totals.support > 0),
        by_class="average_precision",
        order=110,
    )
)
METRICS.add(
    Metric(
        "ap50",
        "AP50",
        "average precision of the boxes of a class at an IoU of 0.5",
        _is_boxes,
        per_class=lambda totals: totals.precisions[..., 0],
        order=260,
    )
)

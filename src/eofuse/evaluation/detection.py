"""Metrics of boxes, as COCO defines them, under one weighting of the patches or many at once.

`match_boxes` finds once which boxes are true; from that `detection_metrics` gives average precision under any weighting of
the patches, and `detection_per_class` each class's scores.

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

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eofuse.errors import DataError, UsageError
from eofuse.evaluation.weighting import FloatArray, divide, mean_where, weightings

DETECTION = ("box_map", "box_ap50")
"""Metrics of boxes, the ranking one first."""

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
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
        raise UsageError(
            f"boxes have the shape {found.shape}, the truth {real.shape}", fix="give (N, P, 6) and (N, M, 5)"
        )
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


def detection_metrics(
    scores: ArrayLike, labels: ArrayLike, matched: ArrayLike, counts: ArrayLike, weights: ArrayLike | None = None
) -> dict[str, Any]:
    """Mean average precision over IoU .5 to .95, and at .5, from what `match_boxes` gives.

    Args:
        scores: (N, P).
        labels: (N, P) class numbers, −1 fills up.
        matched: (N, P, 10) of 0 and 1.
        counts: (N, K) true boxes.
        weights: None, (N,) or (R, N) for R weightings at once; not negative.

    Returns:
        `box_map` and `box_ap50`: floats, or (R,) values for (R, N) weights; NaN where no true box has weight.

    Raises:
        UsageError: if the shapes do not fit.
        DataError: if a weight is not a finite number, or negative.
    """
    boxes = _Boxes(scores, labels, matched, counts)
    rows, many = weightings(weights, len(boxes.counts))
    precisions = boxes.average_precisions(rows)  # (R, K, T)
    occurs = boxes.supports(rows) > 0
    values = {
        "box_map": mean_where(precisions.mean(axis=2), occurs),
        "box_ap50": mean_where(precisions[..., 0], occurs),
    }
    return {name: values[name] if many else float(values[name][0]) for name in DETECTION}


def detection_per_class(
    scores: ArrayLike, labels: ArrayLike, matched: ArrayLike, counts: ArrayLike, weights: ArrayLike | None = None
) -> dict[str, FloatArray]:
    """Scores of each class.

    Args:
        scores: (N, P).
        labels: (N, P) class numbers, −1 fills up.
        matched: (N, P, 10) of 0 and 1.
        counts: (N, K) true boxes.
        weights: None or (N,).

    Returns:
        `average_precision` (over IoU .5 to .95), `ap50`, `recall` (at an IoU of .5, of all boxes whatever their score) and
        `support` (weighted count of true boxes), each (K,); NaN for a class that does not occur, but for its support.

    Raises:
        UsageError: if the shapes do not fit or several weightings are given.
        DataError: if a weight is not a finite number, or negative.
    """
    boxes = _Boxes(scores, labels, matched, counts)
    rows, many = weightings(weights, len(boxes.counts))
    if many:
        raise UsageError("only one weighting is possible here", where="weights", fix="give (N,)")
    precisions, support = boxes.average_precisions(rows)[0], boxes.supports(rows)[0]
    hits = [(rows[0] @ ((boxes.labels == number) & boxes.matched[..., 0])).sum() for number in range(len(support))]
    return {
        "average_precision": precisions.mean(axis=1),
        "ap50": precisions[:, 0],
        "recall": divide(np.array(hits), support),
        "support": support,
    }


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


class _Boxes:
    """Boxes of all patches, and what weightings of the patches make of them."""

    def __init__(self, scores: ArrayLike, labels: ArrayLike, matched: ArrayLike, counts: ArrayLike) -> None:
        self.scores = np.asarray(scores)
        self.labels = np.asarray(labels)
        self.matched = np.asarray(matched).astype(bool)
        self.counts = np.asarray(counts, dtype=np.float64)
        shape, thresholds = self.labels.shape, len(IOU_THRESHOLDS)
        fits = self.scores.shape == shape and self.matched.shape == (*shape, thresholds)
        if not fits or len(shape) != 2 or self.counts.ndim != 2 or len(self.counts) != shape[0]:
            raise UsageError(
                f"scores {self.scores.shape}, labels {shape}, matched {self.matched.shape} and counts "
                f"{self.counts.shape} do not fit each other",
                fix="give what match_boxes gives",
            )

    def supports(self, weights: FloatArray) -> FloatArray:
        """Weighted number of true boxes, (R, K)."""
        counts: FloatArray = weights @ self.counts
        return counts

    def average_precisions(self, weights: FloatArray) -> FloatArray:
        """Average precision by class and threshold, (R, K, 10); NaN where no true box of the class has weight."""
        supports = self.supports(weights)
        result = np.full((*supports.shape, len(IOU_THRESHOLDS)), np.nan)
        for number in range(supports.shape[1]):
            patches, places = np.nonzero(self.labels == number)
            order = np.argsort(-self.scores[patches, places], kind="stable")
            patches, places = patches[order], places[order]
            step = max(1, MOST_VALUES // max(1, len(patches)))
            for start in range(0, len(weights), step):
                part = slice(start, start + step)
                result[part, number] = _interpolated(
                    weights[part], patches, self.matched[patches, places], supports[part, number]
                )
        return result


def _interpolated(
    weights: FloatArray, patches: NDArray[np.int64], matched: NDArray[np.bool_], support: FloatArray
) -> FloatArray:
    """Average precision at each threshold, (R, 10), of the boxes of one class, best first.

    Precision is at its best where a true box has just come in, so only these places are looked at.

    Args:
        weights: (R, N) of the patches.
        patches: (boxes,) in which each box lies.
        matched: (boxes, 10).
        support: (R,) weighted number of true boxes.
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

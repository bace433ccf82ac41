"""Metrics of a class a pixel, from counts of each patch, under one weighting of the patches or many at once.

`confusion_counts` and `boundary_counts` reduce a batch of class maps to counts; `segmentation_metrics` gives every
metric of a test set from them and `segmentation_per_class` the scores of each class.

Definitions:

- Scores are of the **whole data set**: counts are summed over the (weighted) patches first, ratios are taken last. A
  mean of patches' IoU would be another number, and undefined for patches without the class.
- Class means (`miou`, `macro_f1`, `boundary_f1`) go over the classes that occur in the weighted truth.
- A **boundary pixel** of a class is a pixel of the class with at least one of its four neighbours in another class. The
  patch's edge is no boundary. Pixels whose truth is unknown are neither boundary nor neighbours, in truth and prediction.
- **Boundary F1** (Csurka, Larlus and Perronnin 2013, "What is a good evaluation measure for semantic segmentation?",
  BMVC): precision is the share of predicted boundary pixels with a true boundary pixel of the same class within the
  tolerance, by Euclidean distance; recall the converse. There the scores of images are averaged, here counts are summed.
  A class that occurs but has no boundary, neither true nor predicted, has no boundary F1 and is left out of the mean;
  one with boundaries on one side only has 0.
- What is undefined is NaN, never 0.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eofuse.errors import DataError, UsageError
from eofuse.evaluation.weighting import FloatArray, divide, mean_where, weightings
from eofuse.kinds import IGNORE

SEGMENTATION = ("miou", "macro_f1", "accuracy", "boundary_f1")
"""Metrics of tasks with one class a pixel, the ranking one first."""

_CHUNK_BYTES = 64e6


def confusion_counts(predicted: ArrayLike, truth: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Pixels of each patch by true and predicted class.

    Args:
        predicted: (B, H, W) class numbers, 0 … K−1.
        truth: (B, H, W) class numbers; 255 where unknown.
        classes: number of classes K.

    Returns:
        (B, K, K): a row a true class, a column a predicted class.

    Raises:
        UsageError: if the shapes do not fit or the numbers are no integers.
        DataError: if a class number is out of range.
    """
    found, real, known = _maps(predicted, truth, classes)
    patches = np.arange(len(real), dtype=np.int64)[:, None, None] * (classes + 1)
    cells = (np.where(known, real, classes) + patches) * classes + found  # unknown pixels have a row of their own
    counts = np.bincount(cells.ravel(), minlength=len(real) * (classes + 1) * classes)
    table = counts.reshape(len(real), classes + 1, classes)[:, :classes]
    return np.ascontiguousarray(table, dtype=np.int64)


def boundary_counts(predicted: ArrayLike, truth: ArrayLike, classes: int, tolerance: float = 2) -> NDArray[np.int64]:
    """Boundary pixels of each patch by class, and how many of them have a counterpart nearby.

    Args:
        predicted: (B, H, W) class numbers, 0 … K−1.
        truth: (B, H, W) class numbers; 255 where unknown.
        classes: number of classes K.
        tolerance: the largest Euclidean distance of counterparts, in pixels.

    Returns:
        (B, K, 4): predicted boundary pixels near a true one, predicted boundary pixels, true boundary pixels near a
        predicted one, true boundary pixels.

    Raises:
        UsageError: if the shapes do not fit, the numbers are no integers or the tolerance is negative.
        DataError: if a class number is out of range.
    """
    if not 0 <= tolerance < np.inf:
        raise UsageError(f"a tolerance of {tolerance} pixels is impossible", where="tolerance", fix="give 0 or more")
    found, real, known = _maps(predicted, truth, classes)
    # numbers below 0 that differ: where neither has a boundary, nothing matches
    of_prediction = np.where(_boundary(found, known), found, -1)
    of_truth = np.where(_boundary(real, known), real, -2)
    sides = ((of_prediction, of_truth), (of_truth, of_prediction))
    columns = []
    for own, other in sides:
        columns += [_count(own, _near(own, other, tolerance), classes), _count(own, own >= 0, classes)]
    return np.stack(columns, axis=-1)


def segmentation_metrics(confusion: ArrayLike, boundary: ArrayLike, weights: ArrayLike | None = None) -> dict[str, Any]:
    """Metrics of a set of patches.

    Args:
        confusion: (N, K, K) of `confusion_counts`.
        boundary: (N, K, 4) of `boundary_counts`.
        weights: None, (N,) or (R, N) for R weightings of the patches at once; not negative.

    Returns:
        Name → value for each name of `SEGMENTATION`: a float, or (R,) values for (R, N) weights.

    Raises:
        UsageError: if the shapes do not fit.
        DataError: if a weight is negative or not a finite number.
    """
    pixels, edges = _evidence(confusion, boundary)
    rows, many = weightings(weights, len(pixels))
    scores = _scores(_weighted_sums(rows, pixels), _weighted_sums(rows, edges))
    support, hits = scores["support"], scores["hits"]
    occurs = support > 0
    values = {
        "miou": mean_where(scores["iou"], occurs),
        "macro_f1": mean_where(scores["f1"], occurs),
        "accuracy": divide(hits.sum(axis=1), support.sum(axis=1)),
        "boundary_f1": mean_where(scores["boundary_f1"], occurs & ~np.isnan(scores["boundary_f1"])),
    }
    return {name: values[name] if many else float(values[name][0]) for name in SEGMENTATION}


def segmentation_per_class(confusion: ArrayLike, boundary: ArrayLike) -> dict[str, FloatArray]:
    """Scores of each class over a set of patches.

    Args:
        confusion: (N, K, K) of `confusion_counts`.
        boundary: (N, K, 4) of `boundary_counts`.

    Returns:
        `iou`, `f1`, `precision`, `recall`, `boundary_f1` and `support` (true pixels), each (K,). Precision is NaN for a
        class never predicted, the other scores for one that does not occur.

    Raises:
        UsageError: if the shapes do not fit.
    """
    pixels, edges = _evidence(confusion, boundary)
    rows, _ = weightings(None, len(pixels))
    scores = _scores(_weighted_sums(rows, pixels), _weighted_sums(rows, edges))
    names = ("iou", "f1", "precision", "recall", "boundary_f1", "support")
    return {name: scores[name][0] for name in names}


def _scores(pixels: FloatArray, edges: FloatArray) -> dict[str, FloatArray]:
    """Scores of each class, (R, K) each, from sums (R, K, K) and (R, K, 4)."""
    hits = np.diagonal(pixels, axis1=1, axis2=2)
    support, found = pixels.sum(axis=2), pixels.sum(axis=1)
    occurs = support > 0
    precision = np.nan_to_num(divide(edges[..., 0], edges[..., 1]))
    recall = np.nan_to_num(divide(edges[..., 2], edges[..., 3]))
    harmonic = np.nan_to_num(divide(2 * precision * recall, precision + recall))
    has_boundary = edges[..., 1] + edges[..., 3] > 0
    return {
        "iou": np.where(occurs, divide(hits, support + found - hits), np.nan),
        "f1": np.where(occurs, divide(2 * hits, support + found), np.nan),
        "precision": divide(hits, found),
        "recall": divide(hits, support),
        "boundary_f1": np.where(occurs & has_boundary, harmonic, np.nan),
        "support": support,
        "hits": hits,
    }


def _weighted_sums(weight_rows: FloatArray, counts: NDArray[np.int64]) -> FloatArray:
    """Sums (R, …) of (N, …) counts under (R, N) weights, some patches at a time, as the product needs floats."""
    table = counts.reshape(len(counts), int(np.prod(counts.shape[1:])))
    step = max(1, int(_CHUNK_BYTES / (8 * max(1, table.shape[1]))))
    sums = np.zeros((len(weight_rows), table.shape[1]))
    for start in range(0, len(table), step):
        sums += weight_rows[:, start : start + step] @ table[start : start + step].astype(np.float64)
    return sums.reshape(len(weight_rows), *counts.shape[1:])


def _boundary(labels: NDArray[np.int16], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Known pixels with a known neighbour, of four, in another class; all (B, H, W)."""
    boundary = np.zeros(labels.shape, dtype=bool)
    for axis in (1, 2):
        before = tuple(slice(None, -1) if this == axis else slice(None) for this in range(3))
        after = tuple(slice(1, None) if this == axis else slice(None) for this in range(3))
        differ = (labels[before] != labels[after]) & known[before] & known[after]
        boundary[before] |= differ
        boundary[after] |= differ
    return boundary


def _near(own: NDArray[np.int16], other: NDArray[np.int16], tolerance: float) -> NDArray[np.bool_]:
    """Where the other map has the own number within the tolerance; all (B, H, W)."""
    height, width = own.shape[1:]
    # no two pixels of a patch are farther apart than its diagonal
    reach = int(min(tolerance, np.hypot(height, width)))
    padded = np.pad(other, ((0, 0), (reach, reach), (reach, reach)), constant_values=-3)
    near = np.zeros(own.shape, dtype=bool)
    for down in range(2 * reach + 1):
        for right in range(2 * reach + 1):
            if (down - reach) ** 2 + (right - reach) ** 2 <= tolerance**2:
                near |= own == padded[:, down : down + height, right : right + width]
    return near


def _count(labels: NDArray[np.int16], chosen: NDArray[np.bool_], classes: int) -> NDArray[np.int64]:
    """Chosen pixels by patch and class, (B, K)."""
    patch = np.nonzero(chosen)[0]
    counts = np.bincount(patch * classes + labels[chosen], minlength=len(labels) * classes)
    return counts.reshape(len(labels), classes).astype(np.int64)


def _maps(
    predicted: ArrayLike, truth: ArrayLike, classes: int
) -> tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.bool_]]:
    """Predicted and true class numbers and where the truth is known, all (B, H, W), checked."""
    found, real = np.asarray(predicted), np.asarray(truth)
    if found.ndim != 3 or found.shape != real.shape:
        raise UsageError(f"truth has the shape {real.shape}, the prediction {found.shape}", fix="give (B, H, W) both")
    if not 1 <= classes <= IGNORE:
        raise UsageError(f"{classes} classes are not possible", where="classes", fix=f"give 1 to {IGNORE}")
    for name, numbers in (("truth", real), ("predicted", found)):
        if not np.issubdtype(numbers.dtype, np.integer):
            raise UsageError(f"a map must hold class numbers, not {numbers.dtype}", where=name)
    known = real != IGNORE
    for name, numbers, wrong in (
        ("truth", real, ((real < 0) | (real >= classes)) & known),
        ("predicted", found, (found < 0) | (found >= classes)),
    ):
        if wrong.any():
            patch, row, column = (int(index[0]) for index in np.nonzero(wrong))
            raise DataError(
                f"class {numbers[patch, row, column]} does not exist (0 to {classes - 1})",
                where=f"{name}, patch {patch}, row {row}, column {column}",
            )
    return found.astype(np.int16), real.astype(np.int16), known


def _evidence(confusion: ArrayLike, boundary: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    pixels, edges = np.asarray(confusion), np.asarray(boundary)
    if pixels.ndim != 3 or pixels.shape[1] != pixels.shape[2] or edges.shape != (*pixels.shape[:2], 4):
        raise UsageError(
            f"confusion has the shape {pixels.shape}, boundary {edges.shape}", fix="give (N, K, K) and (N, K, 4)"
        )
    return pixels, edges

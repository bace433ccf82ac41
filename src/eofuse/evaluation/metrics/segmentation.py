"""Metrics of a class a pixel, from counts of each patch, under one weighting of the patches or many at once.

`confusion_counts` and `boundary_counts` reduce a batch of class maps to counts, of which `PixelTotals` are the sums.

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

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eofuse.errors import DataError, UsageError
from eofuse.evaluation.metrics import METRICS, Metric
from eofuse.evaluation.metrics.calibration import ProbabilityTotals
from eofuse.evaluation.sparse import SparseRows
from eofuse.evaluation.weighting import Evidence, FloatArray, divide, mean_where, weighted_sums
from eofuse.kinds import IGNORE, TaskKind


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


class PixelTotals(ProbabilityTotals):
    """Counts of the pixels of some patches under weightings: evidence `confusion` (N, K, K) and `boundary` (N, K, 4).

    Raises:
        UsageError: if the shapes do not fit.
    """

    def __init__(self, kind: TaskKind, evidence: Evidence, weights: ArrayLike | None = None) -> None:
        pixels, edges = (
            each if isinstance(each, SparseRows) else np.asarray(each)
            for each in (evidence["confusion"], evidence["boundary"])
        )
        if pixels.ndim != 3 or pixels.shape[1] != pixels.shape[2] or edges.shape != (*pixels.shape[:2], 4):
            fix = "give (N, K, K) and (N, K, 4)"
            raise UsageError(f"confusion has the shape {pixels.shape}, boundary {edges.shape}", fix=fix)
        super().__init__(kind, {**evidence, "confusion": pixels, "boundary": edges}, weights)

    @cached_property
    def confusion(self) -> FloatArray:
        """Pixels by true and predicted class, (R, K, K)."""
        return weighted_sums(self.weights, self.evidence["confusion"])

    @cached_property
    def support(self) -> FloatArray:
        """Pixels of each class in the truth, (R, K)."""
        values: FloatArray = self.confusion.sum(axis=2)
        return values

    @cached_property
    def found(self) -> FloatArray:
        """The same in the predictions."""
        values: FloatArray = self.confusion.sum(axis=1)
        return values

    @cached_property
    def hits(self) -> FloatArray:
        """The same in both."""
        return np.diagonal(self.confusion, axis1=1, axis2=2)

    @cached_property
    def boundary_f1(self) -> FloatArray:
        """Boundary F1 of each class, (R, K)."""
        edges = weighted_sums(self.weights, self.evidence["boundary"])
        precision = np.nan_to_num(divide(edges[..., 0], edges[..., 1]))
        recall = np.nan_to_num(divide(edges[..., 2], edges[..., 3]))
        harmonic = np.nan_to_num(divide(2 * precision * recall, precision + recall))
        has_boundary = edges[..., 1] + edges[..., 3] > 0
        return np.where((self.support > 0) & has_boundary, harmonic, np.nan)

    @property
    def reliability(self) -> Any:
        """Pixels of each patch by confidence, raw and calibrated, (N, 2, 15, 3)."""
        return self.evidence["reliability"]


def patch_counts(confusion: Any) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Right pixels, and pixels in truth and in prediction, of each patch and class, (N, K) each, from confusions (N, K, K)."""
    rows = confusion if isinstance(confusion, SparseRows) else SparseRows.of(np.asarray(confusion))
    classes = rows.row_shape[0]
    true, predicted = np.divmod(np.arange(classes**2), classes)
    hit = np.where(true == predicted, true, -1)
    return rows.mapped(hit, classes), rows.mapped(true, classes), rows.mapped(predicted, classes)


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
            what = f"class {numbers[patch, row, column]} does not exist (0 to {classes - 1})"
            raise DataError(what, where=f"{name}, patch {patch}, row {row}, column {column}")
    return found.astype(np.int16), real.astype(np.int16), known


def _is_class_map(kind: TaskKind) -> bool:
    return kind.is_map and not kind.is_numbers


def _iou(totals: PixelTotals) -> FloatArray:
    union = totals.support + totals.found - totals.hits
    return np.where(totals.support > 0, divide(totals.hits, union), np.nan)


METRICS.add(
    Metric(
        "miou",
        "mean IoU",
        "the mean over classes of the intersection of predicted and true pixels over their union; a rare class counts as much "
        "as a common one",
        _is_class_map,
        lambda totals: mean_where(_iou(totals), totals.support > 0),
        rewards_guessing=True,
        order=100,
        from_sums=True,
    )
)
METRICS.add(
    Metric(
        "boundary_f1",
        "boundary F1",
        "F1 of the outlines of the classes, found where one lies close to the other",
        _is_class_map,
        lambda totals: mean_where(totals.boundary_f1, (totals.support > 0) & ~np.isnan(totals.boundary_f1)),
        lambda totals: totals.boundary_f1,
        is_slow=True,
        order=300,
        from_sums=True,
    )
)
METRICS.add(
    Metric(
        "iou",
        "IoU",
        "intersection of predicted and true pixels over their union",
        _is_class_map,
        per_class=_iou,
        order=200,
        from_sums=True,
    )
)

"""Metrics of classes of patches: `LabelTotals`, and the metrics of classes that other kinds share.

Definitions:

- A weight of 2 counts a row twice and a weight of 0 leaves it out, so integer weights are what draws of scenes need.
- **Macro averages** (`macro_f1`, `mAP`, `balanced_accuracy`) go over the classes that occur in the truth (weighted
  count above 0). A class absent from the test set is not counted: it has no recall, and no F1 worth the name.
- `micro_f1` pools the decisions on all classes, absent ones included, so a false alarm for an absent class lowers it.
  For single-label tasks it equals accuracy.
- `mAP` is the macro mean of average precision in its stepwise form, as in scikit-learn: the sum over thresholds of
  (gain of recall) × precision, where rows of equal score enter together. For single-label tasks: one class against
  the rest.
- The predicted class is the most probable one (the first of equals); a label is predicted where its probability
  reaches 0.5.
- What is undefined is NaN, never 0: every metric of no rows (or of weights that are all 0), averages over classes if no
  class occurs, `micro_f1` if there is nothing to find and nothing was found.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eofuse.errors import DataError, UsageError
from eofuse.evaluation.calibration import label_reliability, scale
from eofuse.evaluation.metrics import METRICS, Metric
from eofuse.evaluation.metrics.calibration import ProbabilityTotals
from eofuse.evaluation.weighting import Evidence, FloatArray, divide, mean_where
from eofuse.kinds import TaskKind, Values

THRESHOLD = 0.5
"""Probability from which a class of several counts as predicted."""


class LabelTotals(ProbabilityTotals):
    """Classes of patches under weightings.

    Attributes:
        truth: (N, K), which classes each patch has.
        scores: (N, K) probabilities before calibration, or any scores that grow with them.
        predicted: (N, K), which classes are predicted.

    Raises:
        UsageError: if the shapes do not fit.
        DataError: if a class number is out of range, a label is not 0 or 1, or a probability is not a finite number.
    """

    def __init__(self, kind: TaskKind, evidence: Evidence, weights: ArrayLike | None = None) -> None:
        truth, probabilities = evidence["truth"], evidence["probabilities"]
        if kind.has_several:
            self.truth, self.scores = _multi_label(truth, probabilities)
            self.predicted = self.scores >= THRESHOLD
        else:
            self.truth, self.scores = _single_label(truth, probabilities)
            self.predicted = _one_hot(self.scores.argmax(axis=1), self.scores.shape[1])
        super().__init__(kind, {**evidence, "truth": np.asarray(truth)}, weights)

    @cached_property
    def support(self) -> FloatArray:
        """Weighted count of each class in the truth, (R, K)."""
        return self.weights @ self.truth.astype(np.float64)

    @cached_property
    def found(self) -> FloatArray:
        """The same in the predictions."""
        return self.weights @ self.predicted.astype(np.float64)

    @cached_property
    def hits(self) -> FloatArray:
        """The same in both."""
        return self.weights @ (self.truth & self.predicted).astype(np.float64)

    @property
    def confusion(self) -> FloatArray:
        """Patches by true and predicted class, where they have one, (R, K, K)."""
        predicted = self.predicted.astype(np.float64)
        return np.stack([(self.truth * row[:, None]).T @ predicted for row in self.weights])

    @cached_property
    def average_precisions(self) -> FloatArray:
        """Average precision of each class, (R, K)."""
        return _average_precisions(self.ranked, np.ascontiguousarray(self.weights.T)).T

    @cached_property
    def ranked(self) -> list["_Ranked | None"]:
        """The patches of each class by falling score; None where no patch has the class."""
        return [_ranked(*columns) for columns in zip(self.truth.T, self.scores.T, strict=True)]

    def look_at_patches(self) -> None:
        """Ranks the patches, and computes the reliability."""
        super().look_at_patches()
        _ = self.ranked

    @cached_property
    def reliability(self) -> FloatArray:
        """Predictions of each patch by confidence, raw and calibrated, (N, 2, 15, 3)."""
        temperatures, truth = self.evidence["temperature"], self.evidence["truth"]
        temperature = float(temperatures[0]) if len(truth) else 1.0
        calibrated = scale(self.evidence["probabilities"].astype(np.float64), temperature, self.kind)
        return label_reliability(calibrated, truth, temperature, self.kind)


@dataclass(frozen=True)
class _Ranked:
    """The patches of a class by falling score.

    Attributes:
        order: of the patches, (N,).
        positive: places in the order of those that have the class, (P,).
        last_of_score: the last place with the same score, for each of these.
        positives_until: how many of these have come in there, less one.
    """

    order: NDArray[np.intp]
    positive: NDArray[np.intp]
    last_of_score: NDArray[np.intp]
    positives_until: NDArray[np.intp]


def _ranked(truth: NDArray[np.bool_], scores: FloatArray) -> _Ranked | None:
    """The ranking of a class, from (N,) each."""
    if not truth.any():
        return None
    order = np.argsort(-scores, kind="stable")
    descending = -scores[order]
    is_positive = truth[order]
    positive = np.flatnonzero(is_positive)
    # precision is taken where the last row of the same score has come in
    last_of_score = np.searchsorted(descending, descending[positive], side="right") - 1
    return _Ranked(order, positive, last_of_score, np.cumsum(is_positive)[last_of_score] - 1)


def _average_precisions(ranked: Sequence[_Ranked | None], weight_columns: FloatArray) -> FloatArray:
    """Average precision (K, R) of each class under each weighting, from weights (N, R); NaN without positive weight.

    Weights have rows first, so that sorting the rows copies whole lines of memory.
    """
    result = np.full((len(ranked), weight_columns.shape[1]), np.nan)
    for number, of_class in enumerate(ranked):
        if of_class is None:
            continue
        all_so_far = np.cumsum(weight_columns[of_class.order], axis=0)[of_class.last_of_score]
        positive_weights = weight_columns[of_class.order[of_class.positive]]
        positive_so_far = np.cumsum(positive_weights, axis=0)
        total = positive_so_far[-1]
        precision = divide(positive_so_far[of_class.positives_until], all_so_far)
        # a positive row of weight 0 adds nothing, even where nothing has weight so far and precision is undefined
        gained = np.where(positive_weights > 0, positive_weights * precision, 0.0)
        result[number] = divide(gained.sum(axis=0), total)
    return result


def _one_hot(numbers: NDArray[np.int64], classes: int) -> NDArray[np.bool_]:
    return np.asarray(numbers[:, None] == np.arange(classes))


def _single_label(truth: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.bool_], FloatArray]:
    """One-hot truth and scores, both (N, K), checked."""
    scores = _scores(probabilities)
    numbers = np.asarray(truth)
    if numbers.shape != (len(scores),):
        fix = "give truth (N,), probabilities (N, K)"
        raise UsageError(f"truth has the shape {numbers.shape}, probabilities {scores.shape}", fix=fix)
    if numbers.size and not (np.issubdtype(numbers.dtype, np.integer) or numbers.dtype == bool):
        raise UsageError(f"truth must be class numbers, not {numbers.dtype}", where="truth")
    wrong = (numbers < 0) | (numbers >= scores.shape[1])
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(f"class {numbers[row]} does not exist (0 to {scores.shape[1] - 1})", where=f"truth, row {row}")
    return _one_hot(numbers.astype(np.int64), scores.shape[1]), scores


def _multi_label(truth: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.bool_], FloatArray]:
    """Truth as booleans and scores, both (N, K), checked."""
    scores = _scores(probabilities)
    labels = np.asarray(truth)
    if labels.shape != scores.shape:
        fix = "give (N, K) for both"
        raise UsageError(f"truth has the shape {labels.shape}, probabilities {scores.shape}", fix=fix)
    wrong = (labels != 0) & (labels != 1)
    if wrong.any():
        row = int(np.flatnonzero(wrong.any(axis=1))[0])
        raise DataError("labels must be 0 or 1", where=f"truth, row {row}")
    return labels.astype(bool), scores


def _scores(probabilities: ArrayLike) -> FloatArray:
    scores = np.asarray(probabilities, dtype=np.float64)
    if scores.ndim != 2 or scores.shape[1] == 0:
        raise UsageError(f"probabilities have the shape {scores.shape}", fix="give (N, K), a column a class")
    finite = np.isfinite(scores).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise DataError("a probability is not a finite number", where=f"probabilities, row {row}")
    return scores


_has_classes = attrgetter("has_probabilities")
_has_labels = attrgetter("has_labels")


def _has_one_class(kind: TaskKind) -> bool:
    return kind.has_probabilities and kind.values is Values.CLASS


def _f1(totals: Any) -> FloatArray:
    return np.where(totals.support > 0, divide(2 * totals.hits, totals.support + totals.found), np.nan)


METRICS.add(
    Metric(
        "macro_f1",
        "macro F1",
        "the mean of the classes' F1 scores, so that a rare class counts as much as a common one",
        _has_classes,
        lambda totals: mean_where(_f1(totals), totals.support > 0),
        rewards_guessing=True,
        order=110,
        pixel_meaning="the mean of the classes' F1 scores over all test pixels, so that a rare class counts as much as a common one",
        from_sums=True,
    )
)
METRICS.add(
    Metric(
        "accuracy",
        "accuracy",
        "the share of test patches whose class is right",
        _has_one_class,
        lambda totals: divide(totals.hits.sum(axis=1), totals.support.sum(axis=1)),
        order=120,
        pixel_meaning="the share of test pixels whose class is right",
        from_sums=True,
    )
)
BALANCED_ACCURACY = METRICS.add(
    Metric(
        "balanced_accuracy",
        "balanced accuracy",
        "the mean of the classes' recalls",
        lambda kind: kind.has_labels and kind.values is Values.CLASS,
        lambda totals: mean_where(divide(totals.hits, totals.support), totals.support > 0),
        order=140,
    )
)
METRICS.add(
    Metric(
        "micro_f1",
        "micro F1",
        "F1 over all decisions, so that common classes weigh most",
        _has_labels,
        lambda totals: divide(2 * totals.hits.sum(axis=1), (totals.support + totals.found).sum(axis=1)),
        order=150,
    )
)
METRICS.add(
    Metric(
        "mAP",
        "mean average precision",
        "the mean over classes of the area under the precision–recall curve",
        _has_labels,
        lambda totals: mean_where(totals.average_precisions, totals.support > 0),
        by_class="average_precision",
        order=160,
    )
)
METRICS.add(
    Metric(
        "f1", "F1", "the harmonic mean of precision and recall", _has_classes, per_class=_f1, order=220, from_sums=True
    )
)
METRICS.add(
    Metric(
        "precision",
        "precision",
        "the share of what was predicted as the class that is the class",
        _has_classes,
        per_class=lambda totals: divide(totals.hits, totals.found),
        order=230,
        from_sums=True,
    )
)
METRICS.add(
    Metric(
        "recall",
        "recall",
        "the share of the class that was found",
        lambda kind: not kind.is_numbers,
        per_class=lambda totals: divide(totals.hits, totals.support),
        order=240,
        from_sums=True,
    )
)
METRICS.add(
    Metric(
        "average_precision",
        "average precision",
        "the area under the precision–recall curve",
        lambda kind: not kind.is_numbers and not kind.is_map,
        per_class=lambda totals: totals.average_precisions,
        order=250,
    )
)

"""Metrics of a whole test set, on arrays, under one weighting of the rows or many weightings at once.

`single_label_metrics` and `multi_label_metrics` give every metric of a kind of task (named in
`SINGLE_LABEL` and `MULTI_LABEL`); `per_class` gives precision, recall, F1, average precision and support of
each class; `confusion_matrix` counts; `average_precision` is the ranking score of one class.

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
  reaches the threshold.
- What is undefined is NaN, never 0: every metric of no rows (or of weights that are all 0), averages over classes if no
  class occurs, `micro_f1` if there is nothing to find and nothing was found.
"""

from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eofuse.errors import DataError, UsageError
from eofuse.evaluation.weighting import FloatArray, divide, mean_where, weightings

SINGLE_LABEL = ("macro_f1", "accuracy", "balanced_accuracy", "micro_f1", "mAP")
"""Metrics of tasks with one class a row, the ranking one first."""

MULTI_LABEL = ("mAP", "macro_f1", "micro_f1")
"""Metrics of tasks with any number of labels a row, the ranking one first."""


@overload
def single_label_metrics(truth: ArrayLike, probabilities: ArrayLike, weights: None = None) -> dict[str, float]: ...
@overload
def single_label_metrics(truth: ArrayLike, probabilities: ArrayLike, weights: ArrayLike) -> dict[str, Any]: ...
def single_label_metrics(
    truth: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None
) -> dict[str, Any]:
    """Metrics of a task with one class a row.

    Args:
        truth: (N,) class numbers, 0 … K−1.
        probabilities: (N, K) probabilities, or any scores that grow with them.
        weights: None, (N,) or (R, N) for R weightings at once; not negative.

    Returns:
        Name → value for each name of `SINGLE_LABEL`: a float, or (R,) values for (R, N) weights.

    Raises:
        UsageError: if the shapes do not fit.
        DataError: if a class number is out of range or a probability or weight is not a finite number.
    """
    truth_matrix, scores = _single_label(truth, probabilities)
    return _metrics(SINGLE_LABEL, truth_matrix, _one_hot(_most_probable(scores), scores.shape[1]), scores, weights)


@overload
def multi_label_metrics(
    truth: ArrayLike, probabilities: ArrayLike, weights: None = None, threshold: float = 0.5
) -> dict[str, float]: ...
@overload
def multi_label_metrics(
    truth: ArrayLike, probabilities: ArrayLike, weights: ArrayLike, threshold: float = 0.5
) -> dict[str, Any]: ...
def multi_label_metrics(
    truth: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None, threshold: float = 0.5
) -> dict[str, Any]:
    """Metrics of a task with any number of labels a row.

    Args:
        truth: (N, K) of 0 and 1.
        probabilities: (N, K).
        weights: None, (N,) or (R, N) for R weightings at once; not negative.
        threshold: a label is predicted where its probability is at least this.

    Returns:
        Name → value for each name of `MULTI_LABEL`: a float, or (R,) values for (R, N) weights.

    Raises:
        UsageError: if the shapes do not fit.
        DataError: if the truth is not 0 or 1 or a probability or weight is not a finite number.
    """
    truth_matrix, scores = _multi_label(truth, probabilities)
    return _metrics(MULTI_LABEL, truth_matrix, scores >= threshold, scores, weights)


def per_class(
    truth: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None, threshold: float = 0.5
) -> dict[str, FloatArray]:
    """Scores of each class, ready for a `pandas.DataFrame`.

    Args:
        truth: (N,) class numbers of a single-label task or (N, K) of 0 and 1 of a multi-label one.
        probabilities: (N, K).
        weights: None or (N,).
        threshold: of multi-label tasks.

    Returns:
        `precision`, `recall`, `f1`, `average_precision` and `support` (weighted count in the truth), each (K,).
        Precision is NaN for a class never predicted; recall, F1 and average precision for one that does not occur.

    Raises:
        UsageError: if the shapes do not fit.
        DataError: as `single_label_metrics` and `multi_label_metrics`.
    """
    if np.ndim(truth) == 1:
        truth_matrix, scores = _single_label(truth, probabilities)
        predicted = _one_hot(_most_probable(scores), scores.shape[1])
    else:
        truth_matrix, scores = _multi_label(truth, probabilities)
        predicted = scores >= threshold
    row_weights = _one_weighting(weights, len(scores))[None]
    support, found, hits = (counts[0] for counts in _counts(truth_matrix, predicted, row_weights))
    columns = np.ascontiguousarray(row_weights.T)
    return {
        "precision": divide(hits, found),
        "recall": divide(hits, support),
        "f1": np.where(support > 0, divide(2 * hits, support + found), np.nan),
        "average_precision": _average_precisions(truth_matrix, scores, columns)[:, 0],
        "support": support,
    }


def confusion_matrix(truth: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None) -> FloatArray:
    """Weighted counts of a single-label task, (K, K): a row a true class, a column a predicted class.

    Args:
        truth: (N,) class numbers.
        probabilities: (N, K).
        weights: None or (N,).

    Raises:
        UsageError: if the shapes do not fit.
        DataError: as `single_label_metrics`.
    """
    truth_matrix, scores = _single_label(truth, probabilities)
    predicted = _one_hot(_most_probable(scores), scores.shape[1]).astype(np.float64)
    row_weights = _one_weighting(weights, len(scores))
    counts: FloatArray = (truth_matrix * row_weights[:, None]).T @ predicted
    return counts


def average_precision(truth: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Any:
    """Average precision of one class, stepwise, rows of equal score entering together.

    Args:
        truth: (N,) of 0 and 1.
        scores: (N,).
        weights: None, (N,) or (R, N).

    Returns:
        A float, or (R,) values for (R, N) weights; NaN where no positive row has weight.

    Raises:
        UsageError: if the shapes do not fit.
        DataError: if the truth is not 0 or 1 or a score or weight is not a finite number.
    """
    if np.ndim(truth) != 1 or np.ndim(scores) != 1:
        raise UsageError("truth and scores of one class must be (N,)", where="average_precision")
    truth_matrix, score_matrix = _multi_label(np.asarray(truth)[:, None], np.asarray(scores)[:, None])
    weight_rows, many = weightings(weights, len(score_matrix))
    values = _average_precisions(truth_matrix, score_matrix, np.ascontiguousarray(weight_rows.T))[0]
    return values if many else float(values[0])


def _metrics(
    names: tuple[str, ...],
    truth: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    scores: FloatArray,
    weights: ArrayLike | None,
) -> dict[str, Any]:
    """The named metrics from (N, K) truth, predictions and scores."""
    weight_rows, many = weightings(weights, len(scores))
    support, found, hits = _counts(truth, predicted, weight_rows)  # (R, K) each
    occurs = support > 0
    precisions = _average_precisions(truth, scores, np.ascontiguousarray(weight_rows.T)).T
    values = {
        "macro_f1": mean_where(divide(2 * hits, support + found), occurs),
        "micro_f1": divide(2 * hits.sum(axis=1), (support + found).sum(axis=1)),
        "mAP": mean_where(precisions, occurs),
        "balanced_accuracy": mean_where(divide(hits, support), occurs),
        "accuracy": divide(hits.sum(axis=1), support.sum(axis=1)),
    }
    return {name: values[name] if many else float(values[name][0]) for name in names}


def _counts(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], weight_rows: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weighted counts of true, predicted and rightly predicted rows by class, (R, K) each."""
    return (
        weight_rows @ truth.astype(np.float64),
        weight_rows @ predicted.astype(np.float64),
        weight_rows @ (truth & predicted).astype(np.float64),
    )


def _average_precisions(truth: NDArray[np.bool_], scores: FloatArray, weight_columns: FloatArray) -> FloatArray:
    """Average precision of each class under each weighting.

    Args:
        truth: (N, K).
        scores: (N, K).
        weight_columns: (N, R): rows first, so that sorting the rows copies whole lines of memory.

    Returns:
        (K, R); NaN where no positive row has weight.
    """
    result = np.full((truth.shape[1], weight_columns.shape[1]), np.nan)
    for number in range(truth.shape[1]):
        if not truth[:, number].any():
            continue
        order = np.argsort(-scores[:, number], kind="stable")
        descending = -scores[order, number]
        is_positive = truth[order, number]
        positive = np.flatnonzero(is_positive)
        # precision is taken where the last row of the same score has come in
        last_of_score = np.searchsorted(descending, descending[positive], side="right") - 1
        all_so_far = np.cumsum(weight_columns[order], axis=0)[last_of_score]
        positive_weights = weight_columns[order[positive]]
        positive_so_far = np.cumsum(positive_weights, axis=0)
        total = positive_so_far[-1]
        positives_until = np.cumsum(is_positive)[last_of_score] - 1
        precision = divide(positive_so_far[positives_until], all_so_far)
        # a positive row of weight 0 adds nothing, even where nothing has weight so far and precision is undefined
        gained = np.where(positive_weights > 0, positive_weights * precision, 0.0)
        result[number] = divide(gained.sum(axis=0), total)
    return result


def _most_probable(scores: FloatArray) -> NDArray[np.int64]:
    numbers: NDArray[np.int64] = np.argmax(scores, axis=1).astype(np.int64)
    return numbers


def _one_hot(numbers: NDArray[np.int64], classes: int) -> NDArray[np.bool_]:
    hot: NDArray[np.bool_] = numbers[:, None] == np.arange(classes)
    return hot


def _single_label(truth: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.bool_], FloatArray]:
    """One-hot truth and scores, both (N, K), checked."""
    scores = _scores(probabilities)
    numbers = np.asarray(truth)
    if numbers.shape != (len(scores),):
        raise UsageError(
            f"truth has the shape {numbers.shape}, probabilities {scores.shape}",
            fix="give truth (N,), probabilities (N, K)",
        )
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
        raise UsageError(
            f"truth has the shape {labels.shape}, probabilities {scores.shape}", fix="give (N, K) for both"
        )
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


def _one_weighting(weights: ArrayLike | None, count: int) -> FloatArray:
    weight_rows, many = weightings(weights, count)
    if many:
        raise UsageError("only one weighting is possible here", where="weights", fix="give (N,)")
    row: FloatArray = weight_rows[0]
    return row

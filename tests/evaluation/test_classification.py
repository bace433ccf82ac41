"""Metrics: against scikit-learn, against duplicated rows, and many weightings against one at a time."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from eofuse.errors import DataError, UsageError
from eofuse.evaluation.metrics.classification import LabelTotals
from eofuse.kinds import SINGLE_LABEL
from scoring import multi_label_metrics, per_class, single_label_metrics

Case = tuple[np.ndarray, np.ndarray, np.ndarray]


@st.composite
def single_label_cases(draw: st.DrawFn) -> Case:
    """Truth, probabilities with many ties, integer weights that are not all 0."""
    count, classes = draw(st.integers(1, 30)), draw(st.integers(2, 6))
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    truth = generator.integers(0, draw(st.integers(1, classes)), count)
    probabilities = np.round(generator.random((count, classes)), draw(st.integers(1, 3)))
    weights = generator.integers(0, 4, count)
    weights[generator.integers(count)] += 1
    return truth, probabilities, weights


@st.composite
def multi_label_cases(draw: st.DrawFn) -> Case:
    """Truth with at least one label, probabilities with many ties, integer weights that include that row."""
    count, classes = draw(st.integers(1, 30)), draw(st.integers(1, 6))
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    truth = (generator.random((count, classes)) < draw(st.sampled_from([0.05, 0.3, 0.8]))).astype(int)
    weights = generator.integers(0, 4, count)
    row = generator.integers(count)
    truth[row, generator.integers(classes)] = 1
    weights[row] += 1
    return truth, np.round(generator.random((count, classes)), draw(st.integers(1, 3))), weights


def sklearn_single_label(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    predicted, occurring = probabilities.argmax(1), np.unique(truth)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "accuracy": sklearn_metrics.accuracy_score(truth, predicted),
            "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(truth, predicted),
            "macro_f1": sklearn_metrics.f1_score(truth, predicted, labels=occurring, average="macro", zero_division=0),
            "micro_f1": sklearn_metrics.f1_score(truth, predicted, average="micro"),
            "mAP": np.mean(
                [sklearn_metrics.average_precision_score(truth == k, probabilities[:, k]) for k in occurring]
            ),
        }


def sklearn_multi_label(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    predicted, occurring = (probabilities >= 0.5).astype(int), np.flatnonzero(truth.any(0))
    f1_by_class = [sklearn_metrics.f1_score(truth[:, k], predicted[:, k], zero_division=0) for k in occurring]
    return {
        "macro_f1": np.mean(f1_by_class),
        "micro_f1": sklearn_metrics.f1_score(truth.ravel(), predicted.ravel()),
        "mAP": np.mean([sklearn_metrics.average_precision_score(truth[:, k], probabilities[:, k]) for k in occurring]),
    }


@settings(max_examples=30)
@given(single_label_cases())
def test_single_label_metrics_with_weights_equal_sklearn_on_repeated_rows(case: Case) -> None:
    truth, probabilities, weights = case
    expected = sklearn_single_label(np.repeat(truth, weights), np.repeat(probabilities, weights, axis=0))
    assert single_label_metrics(truth, probabilities, weights) == pytest.approx(expected)
    assert single_label_metrics(truth, probabilities) == pytest.approx(sklearn_single_label(truth, probabilities))


@settings(max_examples=30)
@given(multi_label_cases())
def test_multi_label_metrics_with_weights_equal_sklearn_on_repeated_rows(case: Case) -> None:
    truth, probabilities, weights = case
    expected = sklearn_multi_label(np.repeat(truth, weights, axis=0), np.repeat(probabilities, weights, axis=0))
    assert multi_label_metrics(truth, probabilities, weights) == pytest.approx(expected)
    assert multi_label_metrics(truth, probabilities) == pytest.approx(sklearn_multi_label(truth, probabilities))


@settings(max_examples=20)
@given(single_label_cases(), multi_label_cases(), st.integers(0, 10**6))
def test_many_weightings_equal_one_at_a_time(single: Case, multi: Case, seed: int) -> None:
    for metric_function, (truth, probabilities, _) in ((single_label_metrics, single), (multi_label_metrics, multi)):
        many = np.random.default_rng(seed).integers(0, 3, (7, len(truth)))
        together = metric_function(truth, probabilities, many)
        for replicate, weights in enumerate(many):
            alone = metric_function(truth, probabilities, weights)
            assert {name: values[replicate] for name, values in together.items()} == pytest.approx(alone, nan_ok=True)


@settings(max_examples=30)
@given(multi_label_cases())
def test_average_precision_with_real_weights_equals_sklearn(case: Case) -> None:
    truth, probabilities, weights = case
    real = weights + np.random.default_rng(int(weights.sum())).random(len(weights))
    k = int(np.flatnonzero(truth.any(0))[0])
    expected = sklearn_metrics.average_precision_score(truth[:, k], probabilities[:, k], sample_weight=real)
    assert average_precision(truth[:, k], probabilities[:, k], real) == pytest.approx(expected)


def test_rows_of_equal_score_enter_together_whatever_their_order() -> None:
    assert average_precision([1, 0, 0, 1], [0.5, 0.5, 0.5, 0.5]) == 0.5
    assert average_precision([0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5]) == 0.5


def average_precision(truth, scores, weights=None):
    return multi_label_metrics(np.reshape(truth, (-1, 1)), np.reshape(scores, (-1, 1)), weights)["mAP"]


def test_single_label_metrics_of_a_worked_example() -> None:
    truth = [0, 0, 0, 1]
    probabilities = [[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.1, 0.2, 0.7], [0.7, 0.3, 0.0]]
    values = single_label_metrics(truth, probabilities)
    assert values["accuracy"] == values["micro_f1"] == 0.5
    assert values["balanced_accuracy"] == pytest.approx((2 / 3 + 0) / 2)
    assert values["macro_f1"] == pytest.approx((2 * 2 / (3 + 3) + 0) / 2)  # class 2 is predicted but does not occur
    assert values["mAP"] == pytest.approx(((1 / 3 + 1 / 3 + 3 / 4 / 3) + 1) / 2)


def test_a_class_absent_from_the_test_set_does_not_lower_macro_averages() -> None:
    perfect = np.eye(3)[[0, 1, 0, 1]]
    assert set(single_label_metrics([0, 1, 0, 1], perfect).values()) == {1.0}
    truth = np.array([[1, 0, 0], [0, 1, 0]])
    assert multi_label_metrics(truth, truth) == {"mAP": 1.0, "macro_f1": 1.0, "micro_f1": 1.0}


def test_a_class_that_weights_leave_out_is_absent_in_that_replicate() -> None:
    truth, probabilities = np.array([0, 1]), np.array([[1.0, 0.0], [1.0, 0.0]])
    values = single_label_metrics(truth, probabilities, np.array([[1, 0], [0, 1], [1, 1]]))
    assert values["balanced_accuracy"].tolist() == [1.0, 0.0, 0.5]


def test_micro_f1_counts_false_alarms_for_absent_classes() -> None:
    assert multi_label_metrics([[1, 0], [1, 0]], [[1.0, 1.0], [1.0, 0.0]])["micro_f1"] == pytest.approx(2 * 2 / (2 + 3))


def test_a_label_is_predicted_from_the_threshold_on() -> None:
    assert multi_label_metrics([[1]], [[0.5]])["micro_f1"] == 1.0
    assert multi_label_metrics([[1]], [[0.49]])["micro_f1"] == 0.0


def test_metrics_of_nothing_are_nan() -> None:
    assert all(np.isnan(v) for v in single_label_metrics(np.zeros(0, int), np.zeros((0, 3))).values())
    assert all(np.isnan(v) for v in multi_label_metrics(np.zeros((0, 3)), np.zeros((0, 3))).values())
    assert all(np.isnan(v) for v in single_label_metrics([0, 1], np.eye(2), [0, 0]).values())
    assert np.isnan(single_label_metrics([0, 1], np.eye(2), [[0, 0], [1, 1]])["mAP"]).tolist() == [True, False]
    assert all(np.isnan(v) for v in multi_label_metrics([[0, 0]], [[0.1, 0.1]]).values())


def test_metrics_are_floats_without_weights_and_arrays_with_many() -> None:
    assert all(type(value) is float for value in single_label_metrics([0, 1], np.eye(2)).values())
    assert all(value.shape == (3,) for value in multi_label_metrics(np.eye(2), np.eye(2), np.ones((3, 2))).values())


@settings(max_examples=30)
@given(single_label_cases())
def test_per_class_scores_equal_sklearn_and_average_to_the_metrics(case: Case) -> None:
    truth, probabilities, weights = case
    scores = per_class(truth, probabilities, weights)
    classes = np.arange(probabilities.shape[1])
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        truth, probabilities.argmax(1), labels=classes, sample_weight=weights, zero_division=np.nan
    )
    occurs = support > 0
    assert scores["precision"] == pytest.approx(precision, nan_ok=True)
    assert scores["recall"] == pytest.approx(recall, nan_ok=True)
    assert scores["f1"][occurs] == pytest.approx(f1[occurs])
    assert np.isnan(scores["f1"][~occurs]).all()
    assert scores["support"] == pytest.approx(support)
    values = single_label_metrics(truth, probabilities, weights)
    assert np.nanmean(scores["f1"]) == pytest.approx(values["macro_f1"])
    assert np.nanmean(scores["average_precision"]) == pytest.approx(values["mAP"])


def test_per_class_takes_multi_label_truth() -> None:
    scores = per_class([[1, 0, 0], [1, 1, 0]], [[0.9, 0.6, 0.2], [0.2, 0.7, 0.1]])
    np.testing.assert_array_equal(scores["precision"], [1.0, 0.5, np.nan])
    np.testing.assert_array_equal(scores["recall"], [0.5, 1.0, np.nan])
    np.testing.assert_array_equal(scores["average_precision"], [1.0, 1.0, np.nan])
    np.testing.assert_array_equal(scores["support"], [2.0, 1.0, 0.0])


@settings(max_examples=20)
@given(single_label_cases())
def test_confusion_matrix_equals_sklearn(case: Case) -> None:
    truth, probabilities, weights = case
    expected = sklearn_metrics.confusion_matrix(
        truth, probabilities.argmax(1), labels=np.arange(probabilities.shape[1]), sample_weight=weights
    )
    totals = LabelTotals(SINGLE_LABEL, {"truth": truth, "probabilities": probabilities}, weights)
    np.testing.assert_array_equal(totals.confusion[0], expected)


def test_numbers_out_of_range_or_not_finite_are_data_errors_that_name_the_row() -> None:
    with pytest.raises(DataError, match=r"row 1.*class 2 does not exist"):
        single_label_metrics([0, 2], np.eye(2))
    with pytest.raises(DataError, match=r"row 1.*not a finite number"):
        single_label_metrics([0, 1], [[1.0, 0.0], [np.nan, 0.0]])
    with pytest.raises(DataError, match=r"row 0.*0 or 1"):
        multi_label_metrics([[2, 0]], [[0.5, 0.5]])
    with pytest.raises(DataError, match="not negative"):
        single_label_metrics([0, 1], np.eye(2), [1, -1])


def test_shapes_that_do_not_fit_are_usage_errors() -> None:
    with pytest.raises(UsageError, match=r"truth has the shape \(3,\)"):
        single_label_metrics([0, 1, 0], np.eye(2))
    with pytest.raises(UsageError, match=r"truth has the shape \(2,\)"):
        multi_label_metrics([0, 1], np.eye(2))
    with pytest.raises(UsageError, match=r"weights have the shape \(3,\) for 2 rows"):
        single_label_metrics([0, 1], np.eye(2), [1, 1, 1])
    with pytest.raises(UsageError, match="class numbers"):
        single_label_metrics([0.0, 1.0], np.eye(2))
    with pytest.raises(UsageError, match="only one weighting"):
        per_class([0, 1], np.eye(2), np.ones((2, 2)))

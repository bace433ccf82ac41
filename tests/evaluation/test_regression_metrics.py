"""Regression: against scikit-learn, patches and pixels, and sums that keep their digits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from eofuse.errors import DataError, UsageError
from eofuse.evaluation.metrics.regression import pixel_sums
from scoring import (
    pixel_regression_metrics,
    pixel_regression_per_class,
    regression_metrics,
    regression_per_class,
)

Case = tuple[np.ndarray, np.ndarray, np.ndarray]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Truth and prediction (N, D) and integer weights that keep at least two different rows."""
    count, outputs = draw(st.integers(2, 25)), draw(st.integers(1, 4))
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    truth = generator.normal(draw(st.sampled_from([0.0, 50.0, -2000.0])), 1, (count, outputs))
    prediction = truth + generator.normal(0.2, draw(st.sampled_from([0.1, 2.0])), truth.shape)
    weights = generator.integers(0, 4, count)
    weights[generator.choice(count, 2, replace=False)] += 1
    return truth, prediction, weights


def sklearn_regression(truth: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    return {
        "rmse": np.sqrt(sklearn_metrics.mean_squared_error(truth, prediction)),
        "mae": sklearn_metrics.mean_absolute_error(truth, prediction),
        "r2": sklearn_metrics.r2_score(truth, prediction, multioutput="variance_weighted"),
        "bias": float((prediction - truth).mean()),
    }


@settings(max_examples=60)
@given(cases())
def test_metrics_with_weights_equal_sklearn_on_repeated_rows(case: Case) -> None:
    truth, prediction, weights = case
    expected = sklearn_regression(np.repeat(truth, weights, axis=0), np.repeat(prediction, weights, axis=0))
    assert regression_metrics(truth, prediction, weights) == pytest.approx(expected, rel=1e-8)
    assert regression_metrics(truth, prediction) == pytest.approx(sklearn_regression(truth, prediction), rel=1e-8)


@settings(max_examples=40)
@given(cases(), st.integers(0, 10**6))
def test_many_weightings_equal_one_at_a_time(case: Case, seed: int) -> None:
    truth, prediction, _ = case
    many = np.random.default_rng(seed).random((6, len(truth))) * [[0], [1], [1], [2], [3], [1]]
    together = regression_metrics(truth, prediction, many)
    for replicate, weights in enumerate(many):
        alone = regression_metrics(truth, prediction, weights)
        assert {name: values[replicate] for name, values in together.items()} == pytest.approx(alone, nan_ok=True)


@settings(max_examples=30)
@given(cases())
def test_r2_under_real_weights_equals_sklearn(case: Case) -> None:
    truth, prediction, weights = case
    real = weights + 0.5
    expected = sklearn_metrics.r2_score(truth, prediction, sample_weight=real, multioutput="variance_weighted")
    assert regression_metrics(truth, prediction, real)["r2"] == pytest.approx(expected)


@settings(max_examples=30)
@given(cases())
def test_scores_of_outputs_equal_sklearn(case: Case) -> None:
    truth, prediction, _ = case
    scores = regression_per_class(truth, prediction)
    for output in range(truth.shape[1]):
        expected = sklearn_regression(truth[:, output], prediction[:, output])
        assert {name: scores[name][output] for name in expected} == pytest.approx(expected)
    assert scores["support"].tolist() == [len(truth)] * truth.shape[1]


def test_an_output_whose_truth_does_not_vary_has_no_r2_and_is_left_out_of_the_mean() -> None:
    generator = np.random.default_rng(0)
    truth = np.stack([np.full(50, 0.1), generator.normal(size=50)], axis=1)
    prediction = truth + generator.normal(size=truth.shape) * 0.1
    scores = regression_per_class(truth, prediction)
    assert np.isnan(scores["r2"]).tolist() == [True, False]
    assert regression_metrics(truth, prediction)["r2"] == pytest.approx(scores["r2"][1])
    assert np.isnan(regression_metrics(truth[:, :1], prediction[:, :1])["r2"])
    one_row = np.eye(50)[:3]  # under each of these weightings, one row only
    assert np.isnan(regression_metrics(truth, prediction, one_row)["r2"]).all()


def test_bias_is_positive_where_the_prediction_is_too_high() -> None:
    values = regression_metrics([[1.0], [2.0]], [[2.0], [4.0]])
    assert values["bias"] == values["mae"] == 1.5
    assert values["rmse"] == pytest.approx(np.sqrt(2.5))
    assert values["r2"] == pytest.approx(1 - 5 / 0.5)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 3), st.sampled_from([0.0, 0.3]))
def test_pixel_metrics_equal_those_of_all_known_pixels(seed: int, outputs: int, unknown: float) -> None:
    generator = np.random.default_rng(seed)
    truth = generator.normal(300, 20, (5, outputs, 4, 4))
    prediction = truth + generator.normal(1, 5, truth.shape)
    truth[np.broadcast_to(generator.random((5, 1, 4, 4)) < unknown, truth.shape)] = np.nan
    weights = np.array([1, 0, 2, 1, 3])
    sums = pixel_sums(prediction, truth)
    flat = [
        np.moveaxis(np.repeat(values, weights, axis=0), 1, -1).reshape(-1, outputs) for values in (truth, prediction)
    ]
    known = ~np.isnan(flat[0][:, 0])
    expected = regression_metrics(flat[0][known], flat[1][known])
    assert pixel_regression_metrics(sums, weights) == pytest.approx(expected)
    assert pixel_regression_metrics(sums, np.stack([weights, weights]))["r2"] == pytest.approx([expected["r2"]] * 2)
    assert pixel_regression_metrics(np.repeat(sums, weights, axis=0)) == pytest.approx(expected)
    by_output = pixel_regression_per_class(np.repeat(sums, weights, axis=0))
    for name, values in regression_per_class(flat[0][known], flat[1][known]).items():
        assert by_output[name] == pytest.approx(values)


def test_each_output_counts_its_own_known_pixels() -> None:
    truth = np.zeros((1, 2, 2, 2))
    truth[0, 1, 0] = np.nan
    prediction = np.stack([np.full((2, 2), 1.0), np.full((2, 2), 4.0)])[None]
    prediction[0, 1, 0] = np.nan  # not looked at
    sums = pixel_sums(prediction, truth)
    assert pixel_regression_per_class(sums)["support"].tolist() == [4, 2]
    assert pixel_regression_metrics(sums)["mae"] == pytest.approx((4 * 1 + 2 * 4) / 6)


def test_sums_of_a_worked_example() -> None:
    truth = np.array([[[[10.0, 12.0], [np.nan, 14.0]]]])
    prediction = np.array([[[[11.0, 10.0], [99.0, 14.0]]]])
    assert pixel_sums(prediction, truth, margin=[1.0], reference=[10.0])[0, 0].tolist() == [3, -1, 3, 5, 6, 20, 2]
    assert pixel_sums(prediction, truth)[0, 0, :6].tolist() == [3, -1, 3, 5, 36, 440]
    assert np.isnan(pixel_sums(prediction, truth)[0, 0, 6])
    assert pixel_sums(prediction, truth, margin=[np.inf])[0, 0, 6] == 3


def test_high_elevations_with_little_relief_keep_their_r2() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(2000, 1, (4, 1, 40, 40))
    prediction = truth + generator.normal(0, 0.5, truth.shape)
    expected = sklearn_metrics.r2_score(truth.ravel(), prediction.ravel())
    assert pixel_regression_metrics(pixel_sums(prediction, truth))["r2"] == pytest.approx(expected, rel=1e-7)
    single = truth.astype(np.float32), prediction.astype(np.float32)
    from_single = pixel_regression_metrics(pixel_sums(single[1], single[0]))["r2"]
    assert from_single == pytest.approx(expected, rel=1e-3)


def test_a_reference_near_the_truth_keeps_digits_that_zero_would_lose() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(1e8, 0.1, (4, 1, 40, 40))
    prediction = truth + generator.normal(0, 0.05, truth.shape)
    expected = sklearn_metrics.r2_score(truth.ravel(), prediction.ravel())
    near = pixel_regression_metrics(pixel_sums(prediction, truth, reference=[1e8]))
    assert near["r2"] == pytest.approx(expected, rel=1e-6)
    assert np.isnan(pixel_regression_metrics(pixel_sums(prediction, truth))["r2"])  # no number rather than a wrong one


def test_pixels_of_equal_truth_have_no_r2() -> None:
    truth = np.full((3, 1, 5, 5), 273.15)
    assert np.isnan(pixel_regression_metrics(pixel_sums(truth + 1, truth))["r2"])


def test_metrics_of_nothing_are_nan() -> None:
    assert all(np.isnan(value) for value in regression_metrics(np.zeros((0, 2)), np.zeros((0, 2))).values())
    assert all(np.isnan(value) for value in regression_metrics([[1.0], [2.0]], [[1.0], [2.0]], [0, 0]).values())
    unknown = pixel_sums(np.zeros((2, 1, 3, 3)), np.full((2, 1, 3, 3), np.nan), margin=[1.0])
    assert not unknown.any()
    assert all(np.isnan(value) for value in pixel_regression_metrics(unknown).values())
    assert np.isnan(pixel_regression_per_class(unknown)["rmse"]).all()


def test_metrics_are_floats_without_weights_and_arrays_with_many() -> None:
    truth = np.arange(6.0).reshape(3, 2)
    assert all(type(value) is float for value in regression_metrics(truth, truth).values())
    assert all(value.shape == (4,) for value in regression_metrics(truth, truth, np.ones((4, 3))).values())


def test_numbers_that_are_not_finite_and_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match=r"row 1.*a prediction is not a finite number"):
        regression_metrics([[1.0], [2.0]], [[1.0], [np.inf]])
    with pytest.raises(DataError, match=r"row 0.*a truth"):
        regression_metrics([[np.nan]], [[1.0]])
    with pytest.raises(DataError, match=r"patch 1.*not a finite number"):
        pixel_sums(np.array([0, np.nan]).reshape(2, 1, 1, 1), np.zeros((2, 1, 1, 1)))
    with pytest.raises(DataError, match=r"patch 0.*not a finite number"):
        pixel_sums(np.full((1, 1, 1, 1), np.inf), np.full((1, 1, 1, 1), np.inf))
    with pytest.raises(DataError, match="a margin is NaN"):
        pixel_sums(np.zeros((1, 1, 1, 1)), np.zeros((1, 1, 1, 1)), margin=[np.nan])
    with pytest.raises(UsageError, match=r"margin has the shape \(2,\) for 1 outputs"):
        pixel_sums(np.zeros((1, 1, 1, 1)), np.zeros((1, 1, 1, 1)), margin=[1, 2])
    with pytest.raises(UsageError, match="shape"):
        regression_metrics([1.0, 2.0], [1.0, 2.0])
    with pytest.raises(UsageError, match="shape"):
        pixel_sums(np.zeros((1, 1, 2, 2)), np.zeros((1, 2, 2, 2)))
    with pytest.raises(UsageError, match="shape"):
        pixel_regression_metrics(np.zeros((1, 6)))

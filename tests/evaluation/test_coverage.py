"""Conformal intervals cover as often as they say where units are exchangeable, and coverage is counted as it is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eofuse.errors import UsageError
from eofuse.evaluation.coverage import conformal_margin
from eofuse.evaluation.metrics.regression import pixel_sums
from scoring import coverage_metrics, pixel_coverage_metrics


@pytest.mark.parametrize("count", [9, 19, 57])
@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_conformal_intervals_cover_exchangeable_units_at_least_as_often_as_they_say(
    count: int, coverage: float
) -> None:
    trials = 20_000  # each column is a calibration set of its own with a new unit
    residuals = np.random.default_rng(count).standard_t(2, (count + 1, trials))
    covered = np.abs(residuals[-1]) <= conformal_margin(residuals[:-1], coverage)
    rounding = 4 * np.sqrt(coverage * (1 - coverage) / trials)
    assert coverage - rounding <= covered.mean() <= coverage + 1 / (count + 1) + rounding


def test_conformal_margins_of_worked_examples() -> None:
    residuals = np.array([[-3.0], [1.0], [2.0], [-4.0]])
    assert conformal_margin(residuals, 0.5).tolist() == [3.0]  # ⌈5 × 0.5⌉ = 3rd of 1, 2, 3, 4
    assert conformal_margin(residuals, 0.8).tolist() == [4.0]  # ⌈5 × 0.8⌉ = 4th
    assert conformal_margin(residuals, 0.81).tolist() == [np.inf]
    assert conformal_margin(np.arange(1.0, 10)[:, None]).tolist() == [9.0]
    assert conformal_margin(np.arange(1.0, 9)[:, None]).tolist() == [np.inf]
    assert conformal_margin(np.arange(1.0, 100)[:, None], 0.07).tolist() == [7.0]  # 100 × 0.07 is a bit more than 7
    assert conformal_margin(np.zeros((0, 2))).tolist() == [np.inf, np.inf]


def test_unknown_residuals_do_not_count() -> None:
    residuals = np.array([[-3.0, 1.0], [1.0, np.nan], [2.0, np.nan], [-4.0, np.nan]])
    assert conformal_margin(residuals, 0.5).tolist() == [3.0, 1.0]
    assert conformal_margin(residuals, 0.8).tolist() == [4.0, np.inf]


def test_coverage_counts_numbers_within_their_intervals() -> None:
    truth, prediction = np.array([[0.0, 0.0], [0.0, 0.0]]), np.array([[1.0, 1.0], [3.0, 1.0]])
    assert coverage_metrics(truth, prediction, [1.0, 0.5]) == {"coverage": 0.25, "interval_width": 1.5}
    assert coverage_metrics(truth, prediction, [1.0, np.inf]) == {"coverage": 0.75, "interval_width": np.inf}
    many = coverage_metrics(truth, prediction, [1.0, 0.5], [[1, 0], [0, 1], [0, 0]])
    np.testing.assert_array_equal(many["coverage"], [0.5, 0.0, np.nan])
    np.testing.assert_array_equal(many["interval_width"], [1.5, 1.5, np.nan])


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_coverage_of_pixels_is_that_of_all_known_pixels_of_repeated_patches(seed: int) -> None:
    generator = np.random.default_rng(seed)
    truth, prediction = generator.normal(size=(2, 4, 2, 3, 3))
    truth[np.broadcast_to(generator.random((4, 1, 3, 3)) < 0.3, truth.shape)] = np.nan
    margin, weights = [0.5, 2.0], np.array([1, 0, 2, 1])
    flat = [np.moveaxis(np.repeat(values, weights, axis=0), 1, -1).reshape(-1, 2) for values in (truth, prediction)]
    known = ~np.isnan(flat[0][:, 0])
    expected = coverage_metrics(flat[0][known], flat[1][known], margin)
    sums = pixel_sums(prediction, truth, margin)
    assert pixel_coverage_metrics(sums, margin, weights) == pytest.approx(expected, nan_ok=True)
    many = pixel_coverage_metrics(sums, margin, np.stack([weights, 0 * weights]))
    assert many["coverage"][0] == pytest.approx(expected["coverage"], nan_ok=True)
    assert np.isnan([values[1] for values in many.values()]).all()


def test_an_output_without_known_pixels_does_not_widen_the_intervals() -> None:
    truth = np.zeros((1, 2, 2, 2))
    truth[:, 1] = np.nan
    sums = pixel_sums(np.zeros_like(truth), truth, [1.0, np.inf])
    assert pixel_coverage_metrics(sums, [1.0, np.inf]) == {"coverage": 1.0, "interval_width": 2.0}


def test_coverage_without_a_margin_or_without_rows_is_nan() -> None:
    sums = pixel_sums(np.zeros((1, 1, 2, 2)), np.zeros((1, 1, 2, 2)))
    assert np.isnan(pixel_coverage_metrics(sums, [1.0])["coverage"])
    assert np.isnan(list(coverage_metrics(np.zeros((0, 1)), np.zeros((0, 1)), [1.0]).values())).all()


def test_impossible_coverages_and_shapes_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="coverage"):
        conformal_margin(np.zeros((3, 1)), 1.0)

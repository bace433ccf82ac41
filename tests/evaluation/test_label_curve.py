"""Labels needed to match: monotone curves, interpolation, and what can't be told."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from eofuse.evaluation.label_curve import crossing, labels_to_match, monotone

LABELS = [10, 100, 1000]


@settings(max_examples=60)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=7))
def test_the_monotone_curve_is_the_isotonic_regression(values):
    wanted = IsotonicRegression().fit_transform(np.arange(len(values)), values)
    np.testing.assert_allclose(monotone(values), wanted, atol=1e-9)


def test_many_curves_are_made_monotone_at_once():
    curves = np.random.default_rng(0).normal(size=(50, 4))
    np.testing.assert_allclose(monotone(curves), [monotone(curve) for curve in curves])


def test_half_of_the_way_is_half_of_the_logarithm():
    assert crossing(LABELS, [0.2, 0.4, 0.8], 0.6) == pytest.approx(np.sqrt(100 * 1000))


@pytest.mark.parametrize(("goal", "needed"), [(0.1, 10), (0.2, 10), (0.4, 100), (0.8, 1000), (0.81, np.inf)])
def test_the_ends_and_corners_of_a_curve(goal, needed):
    assert crossing(LABELS, [0.2, 0.4, 0.8], goal) == pytest.approx(needed)


def test_a_flat_curve_reaches_its_height_at_once():
    assert crossing(LABELS, [0.5, 0.5, 0.5], 0.5) == 10


@settings(max_examples=60)
@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=6),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_a_higher_goal_needs_no_fewer_labels(values, first, second):
    labels = 10 * 2 ** np.arange(len(values))
    easy, hard = sorted([first, second])
    assert crossing(labels, values, easy) <= crossing(labels, values, hard)


def needed(values, half, goal=0.8, spread=0.01, **options):
    """Labels to match a goal, where each difference has this half interval."""
    differences = np.asarray(values) - goal
    drawn = differences[:, None] + np.random.default_rng(0).normal(0, spread, (len(values), 500))
    return labels_to_match(LABELS, differences, differences - half, differences + half, drawn, **options)


def test_the_interval_holds_the_number_that_was_read_off():
    found = needed([0.5, 0.7, 0.9], 0.03)
    assert found.low < found.labels < found.high
    assert found.labels == pytest.approx(np.sqrt(100 * 1000))
    assert found.reached == 1


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.floats(0.001, 0.3))
def test_the_interval_excludes_an_amount_just_where_the_difference_there_does(values, half):
    values = sorted(values)
    found = needed(values, half)
    for labels, value in zip(LABELS, values, strict=True):
        assert (value - half > 0.8) <= (found.high <= labels)
        assert (value + half < 0.8 - 1e-9) == (found.low > labels)


def test_a_goal_that_is_not_reached_is_said_to_be_so():
    found = needed([0.3, 0.4, 0.5], 0.03)
    assert (found.labels, found.low, found.high, found.reached) == (np.inf, np.inf, np.inf, 0)


def test_a_goal_that_may_be_reached_has_no_upper_end():
    found = needed([0.3, 0.4, 0.79], 0.05, spread=0.02)
    assert found.labels == found.high == np.inf
    assert np.isfinite(found.low)
    assert 0 < found.reached < 1


def test_of_errors_less_is_better():
    found = needed([8, 4, 2], 0.5, goal=4, lower_is_better=True)
    assert found.labels == pytest.approx(100)
    assert found.low < 100 < found.high


def test_without_an_interval_of_the_differences_there_is_none():
    found = needed([0.1, 0.2, 0.3], np.nan, goal=0.2)
    assert found.labels == pytest.approx(100)
    assert np.isnan([found.low, found.high]).all()


def test_draws_in_which_the_metric_is_not_defined_are_left_out():
    differences = np.array([-0.3, -0.1, 0.1])
    drawn = np.tile(differences[:, None], 10)
    drawn[1, :9] = np.nan
    assert labels_to_match(LABELS, differences, differences, differences, drawn).reached == 1

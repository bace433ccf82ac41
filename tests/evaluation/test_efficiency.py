"""Labels needed to match: monotone curves, interpolation, and what can't be told."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from eofuse.evaluation.efficiency import crossing, labels_to_match, monotone

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


def replicated(values, spread, seed=0):
    return np.asarray(values)[:, None] + np.random.default_rng(seed).normal(0, spread, (len(values), 1000))


def test_the_interval_holds_the_number_that_was_read_off():
    values = [0.5, 0.7, 0.9]
    found = labels_to_match(LABELS, values, replicated(values, 0.01), 0.8, replicated([0.8], 0.01, 1)[0], scenes=50)
    assert found.low < found.labels < found.high
    assert found.labels == pytest.approx(np.sqrt(100 * 1000))
    assert found.reached == 1


def test_what_curve_and_goal_share_cancels():
    values = np.array([0.5, 0.7, 0.9])
    common = np.random.default_rng(0).normal(0, 0.2, 1000)
    found = labels_to_match(LABELS, values, values[:, None] + common, 0.8, 0.8 + common, scenes=50)
    assert found.high - found.low < 1e-6 * found.labels


def test_a_goal_that_is_not_reached_is_said_to_be_so():
    values = [0.3, 0.4, 0.5]
    found = labels_to_match(LABELS, values, replicated(values, 0.01), 0.8, replicated([0.8], 0.01)[0], scenes=50)
    assert (found.labels, found.low, found.high, found.reached) == (np.inf, np.inf, np.inf, 0)


def test_a_goal_that_is_reached_by_chance_has_no_upper_end():
    values = [0.3, 0.4, 0.79]
    found = labels_to_match(LABELS, values, replicated(values, 0.02), 0.8, np.full(1000, 0.8), scenes=50)
    assert found.labels == found.high == np.inf
    assert np.isfinite(found.low)
    assert 0 < found.reached < 1


def test_of_errors_less_is_better():
    found = labels_to_match(
        LABELS, [8, 4, 2], replicated([8, 4, 2], 0.01), 4, np.full(1000, 4.0), scenes=50, lower_is_better=True
    )
    assert found.labels == pytest.approx(100)


def test_a_single_scene_gives_no_interval():
    found = labels_to_match(
        LABELS, [0.1, 0.2, 0.3], replicated([0.1, 0.2, 0.3], 0.01), 0.2, np.full(1000, 0.2), scenes=1
    )
    assert found.labels == pytest.approx(100)
    assert np.isnan(found.low)
    assert np.isnan(found.high)


def test_few_scenes_widen_the_interval():
    values = [0.5, 0.7, 0.9]
    few, many = (
        labels_to_match(LABELS, values, replicated(values, 0.02), 0.75, np.full(1000, 0.75), scenes=scenes)
        for scenes in (4, 100)
    )
    assert few.low <= many.low < many.high <= few.high
    assert few.high - few.low > many.high - many.low


def test_replicates_in_which_the_metric_is_not_defined_are_left_out():
    values = [0.5, 0.7, 0.9]
    replicates = replicated(values, 0.01)
    replicates[1, :10] = np.nan
    assert np.isfinite(labels_to_match(LABELS, values, replicates, 0.8, np.full(1000, 0.8), scenes=50).high)

"""When the course of a training, or its calibration, speaks against its scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eofuse.evaluation.cautions import (
    FEW_PASSES,
    OVERTRAINED,
    UNFINISHED,
    calibration_got_worse,
    has_no_width,
    training_cautions,
)

STEPS = np.arange(1, 21) * 15


def cautions(scores, passes=50.0, **options):
    best = STEPS[: len(scores)][np.argmax(scores if not options else -np.asarray(scores))]
    return training_cautions(STEPS[: len(scores)], scores, best_step=best, passes=passes, **options)


def saturating(rate, noise=0.0, seed=0):
    return 1 - np.exp(-rate * STEPS / STEPS[-1]) + np.random.default_rng(seed).normal(0, noise, len(STEPS))


def test_a_training_whose_best_step_is_the_last_is_unfinished():
    assert cautions(saturating(1)) == (UNFINISHED,)
    assert cautions(-saturating(1), lower_is_better=True) == (UNFINISHED,)


def test_a_curve_that_rises_to_its_end_is_unfinished_though_noise_made_the_last_but_one_best():
    scores = saturating(1)
    scores[-2] = scores[-1] + 0.01
    assert cautions(scores) == (UNFINISHED,)


def test_a_plateau_with_noise_deserves_no_caution():
    found = [cautions(saturating(20, 0.02, seed)) for seed in range(100)]
    assert np.mean([each != () for each in found]) < 0.2  # one best evaluation in twenty is the last one


def test_scores_that_fall_from_the_first_evaluations_on_are_overtrained():
    falling = np.concatenate([[0.5, 0.8, 0.9], np.linspace(0.88, 0.6, 17)])
    assert cautions(falling) == (OVERTRAINED,)
    assert cautions(np.concatenate([[0.9], 0.5 * np.ones(19)])) == (OVERTRAINED,)


def test_a_model_that_never_learned_is_not_called_overtrained():
    assert cautions(np.zeros(6)) == ()


def test_labels_seen_a_few_times_only_are_cautioned():
    assert cautions(saturating(20), passes=3)[-1] == FEW_PASSES
    assert FEW_PASSES not in cautions(saturating(20), passes=10)


def test_too_few_evaluations_show_no_course():
    assert cautions([0.1, 0.9]) == ()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=20), st.integers(-5, 5))
def test_the_unit_of_the_score_does_not_matter(scores, power):
    best = STEPS[int(np.argmax(scores))]
    one, other = (
        training_cautions(STEPS[: len(scores)], np.array(scores) * factor, best_step=best, passes=50)
        for factor in (1, 2.0**power)
    )
    assert one == other


@pytest.mark.parametrize(("raw", "calibrated", "worse"), [(0.06, 0.24, True), (0.06, 0.07, False), (0.2, 0.05, False)])
def test_a_calibration_error_that_grows_clearly_is_cautioned(raw, calibrated, worse):
    assert calibration_got_worse(raw, calibrated) == worse


def test_a_calibration_error_that_is_not_known_is_not_cautioned():
    assert not calibration_got_worse(np.nan, np.nan)


def test_an_interval_without_width_is_seen_and_none_is_not():
    assert has_no_width(1.0, 1.0)
    assert not has_no_width(0.9, 1.0)
    assert not has_no_width(np.nan, np.nan)

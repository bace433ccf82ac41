"""Permuting inputs among scenes, and numbers that tell scenes apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eofuse.evaluation.intervals import Design
from eofuse.evaluation.permutation import importance, permute_scenes, tells_scenes
from eofuse.evaluation.resampling import LeftOut


@settings(max_examples=40)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(0, 99))
def test_rows_of_one_scene_get_values_of_one_scene(scenes, seed):
    scenes = np.array(scenes)
    givers = permute_scenes(scenes, seed)
    of = {scene: set(scenes[givers[scenes == scene]].tolist()) for scene in set(scenes.tolist())}
    assert all(len(found) == 1 for found in of.values())
    assert set.union(*of.values()) == set(scenes.tolist())
    assert permute_scenes(scenes, seed).tolist() == givers.tolist()


def test_the_loss_is_the_mean_over_draws_and_positive_where_the_input_helps():
    design = Design(np.full(6, 1 / 6), np.full(6, 1 / 6))
    steps = np.linspace(-0.1, 0.1, 6)
    whole, *permuted = (LeftOut(value, value + steps, design, 6) for value in (0.9, 0.6, 0.7))
    estimate, deviation = importance(whole, permuted, "accuracy")
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.25, 0.25, 0.25))
    assert deviation == pytest.approx(np.std([0.3, 0.2], ddof=1))
    assert importance(whole, permuted, "rmse")[0].value == pytest.approx(-0.25)


def test_numbers_that_are_constant_within_scenes_and_differ_between_them_tell_scenes():
    scenes = np.repeat(np.arange(20), 5)
    assert tells_scenes(scenes[:, None], scenes) == 1
    nearly = scenes[:, None] + np.random.default_rng(0).normal(0, 0.01, (100, 1))
    assert tells_scenes(nearly, scenes) > 0.95


def test_numbers_that_scenes_share_tell_little():
    scenes = np.repeat(np.arange(20), 5)
    assert tells_scenes((scenes // 2)[:, None], scenes) == 0
    assert tells_scenes(np.random.default_rng(0).normal(size=(100, 3)), scenes) < 0.3
    assert tells_scenes(np.ones((100, 2)), scenes) == 0


def test_scenes_of_one_patch_tell_nothing():
    assert np.isnan(tells_scenes(np.arange(5.0)[:, None], np.arange(5)))

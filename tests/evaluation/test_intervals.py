"""Intervals and p values from few scenes: worked examples, corner cases, and how often they are wrong in simulations."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from eofuse.evaluation.intervals import Design, infer, jackknife


def scenes_of_one_size(values):
    """A mean over scenes of one size: estimate, without each scene, design."""
    values = np.asarray(values, dtype=float)
    count = len(values)
    shares = np.full(count, 1 / count)
    return values.mean(), (values.sum() - values) / (count - 1), Design(shares, shares)


def test_for_scenes_of_one_size_it_is_the_t_test():
    values = np.random.default_rng(0).normal(0.3, 0.4, 12)
    found = infer(*scenes_of_one_size(values))
    expected = ttest_1samp(values, 0)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high, found.p) == pytest.approx((interval.low, interval.high, expected.pvalue))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30), st.integers(0, 1000))
def test_p_is_below_005_just_where_the_interval_excludes_zero(values, seed):
    sizes = np.random.default_rng(seed).lognormal(0, 1, len(values))
    shares = sizes / sizes.sum()
    estimate = float(shares @ values)
    without = (estimate - shares * np.array(values)) / (1 - shares)
    found = infer(estimate, without, Design(shares, shares))
    assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


def test_six_standard_errors_are_sure_with_eleven_scenes():
    values = np.linspace(-1, 1, 11)
    values += 6 * values.std(ddof=1) / np.sqrt(11)
    assert infer(*scenes_of_one_size(values)).p < 0.001


def test_one_large_scene_leaves_few_degrees_of_freedom():
    shares = np.array([0.8, 0.05, 0.05, 0.05, 0.05])
    _, freedom = jackknife(0.0, np.zeros(5), shares)
    assert freedom == 1
    _, equal = jackknife(0.0, np.zeros(5), np.full(5, 0.2))
    assert equal == pytest.approx(4)


def test_no_difference_in_any_scene_has_a_p_of_one():
    found = infer(*scenes_of_one_size(np.zeros(7)))
    assert (found.low, found.high, found.p) == (0, 0, 1)


def test_the_same_difference_in_every_scene_has_the_p_of_the_sign_flip_test():
    found = infer(*scenes_of_one_size(np.full(8, 0.25)))
    assert (found.low, found.high, found.p) == (0.25, 0.25, 2**-7)
    few = infer(*scenes_of_one_size(np.full(4, 0.25)))
    assert few.p == 2**-3
    assert np.isnan([few.low, few.high]).all()


@pytest.mark.parametrize("without", [[], [0.5], [0.4, np.nan, 0.6]])
def test_where_nothing_can_be_told_there_is_neither_interval_nor_p(without):
    shares = np.full(len(without), 1 / max(len(without), 1))
    found = infer(0.5, without, Design(shares, shares))
    assert np.isnan([found.low, found.high, found.p]).all()


def test_rounding_of_large_numbers_is_no_spread():
    estimate, without, design = scenes_of_one_size(np.zeros(5))
    found = infer(estimate + 1e-9, without, design, scale=1e4)
    assert (found.low, found.high, found.p) == (0, 0, 1)


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location(
        "intervals_benchmark", Path(__file__).parents[2] / "benchmarks" / "intervals.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "rmse"])
def test_equally_good_models_are_seldom_called_different(benchmark, metric):
    """1,000 simulations: the standard error of a share of 5 % is .7 %."""
    random, metric = np.random.default_rng(0), benchmark.METRICS[metric]
    for kind in benchmark.SIZES:
        for scenes in (5, 11, 25):
            patches = benchmark.sizes(kind, 1000, scenes, random)
            sums = metric.draw(patches, random)
            total = sums.sum(1)
            rest = total[:, None] - sums
            estimate, without = (metric.of(each, 0) - metric.of(each, 1) for each in (total, rest))
            wrong = benchmark.eofuse(estimate, without, patches / patches.sum(1, keepdims=True), 0.0).mean()
            assert wrong <= 0.06 + 2 * 0.007

"""Intervals of areas hold the truth as often as they say: `benchmarks/area_coverage.py`, small."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "area_coverage.py"


@pytest.fixture(scope="module")
def benchmark_module():
    spec = importlib.util.spec_from_file_location("area_coverage", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["area_coverage"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["area_coverage"]


@pytest.fixture(scope="module")
def found(benchmark_module):
    scenario = benchmark_module.SCENARIOS["unequal"]
    return benchmark_module.simulate(scenario, 300, "neyman", simulations=250, pixels=40_000, seed=1)


def test_areas_are_covered_as_often_as_is_said(found):
    assert found.is_held(250)
    assert (found.area > 0.91).all()


def test_probabilities_narrow_intervals_that_stay_honest(found):
    assert (found.good > 0.91).all()
    assert (found.good_width < 1).all()


def test_rubbish_neither_widens_nor_breaks_them(found):
    assert (found.rubbish > 0.91).all()
    assert (abs(found.rubbish_width - 1) < 0.02).all()


def test_rare_classes_that_cannot_be_covered_are_named(benchmark_module):
    scenario = benchmark_module.SCENARIOS["rare"]
    found = benchmark_module.simulate(scenario, 100, "equal", simulations=60, pixels=20_000)
    assert (found.cautioned[:2] > 0.9).all()
    assert (found.wald[:2] < 0.9).all()

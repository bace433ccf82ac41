"""Shapley values: their axioms, their intervals, and what is drawn where there are many modalities."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eofuse.errors import UsageError
from eofuse.evaluation.predictions import Predictions
from eofuse.evaluation.resampling import Resampling
from eofuse.evaluation.shapley import Game, attribute_gain

NAMES = ("s1", "s2", "elevation", "season")


@st.composite
def games(draw, most=4):
    """A game with a value of each of its subsets."""
    game = Game(NAMES[: draw(st.integers(1, most))])
    numbers = st.floats(-100, 100, allow_subnormal=False)
    return game, np.array(draw(st.lists(numbers, min_size=len(game.subsets), max_size=len(game.subsets))))


def by_all_orders(game: Game, values: np.ndarray) -> np.ndarray:
    value = dict(zip(game.subsets, values.tolist(), strict=True))
    orders = list(permutations(game.names))
    sums = dict.fromkeys(game.names, 0.0)
    for order in orders:
        for place, name in enumerate(order):
            sums[name] += value[frozenset(order[: place + 1])] - value[frozenset(order[:place])]
    return np.array([sums[name] / len(orders) for name in game.names])


@settings(max_examples=40)
@given(games())
def test_a_value_is_the_mean_contribution_over_all_orders(drawn):
    game, values = drawn
    assert np.allclose(game.shapley(values), by_all_orders(game, values), atol=1e-9)


@settings(max_examples=40)
@given(games())
def test_values_sum_to_the_gain_of_all_over_none(drawn):
    game, values = drawn
    assert game.shapley(values).sum() == pytest.approx(values[-1] - values[0], abs=1e-9)


@settings(max_examples=40)
@given(games(), st.data())
def test_who_contributes_alike_is_worth_alike(drawn, data):
    game, values = drawn
    first, other = data.draw(st.sampled_from(game.names)), data.draw(st.sampled_from(game.names))
    swap = {first: other, other: first}
    swapped = [game.subsets.index(frozenset(swap.get(name, name) for name in subset)) for subset in game.subsets]
    shapley = dict(zip(game.names, game.shapley(values + values[swapped]), strict=True))
    assert shapley[first] == pytest.approx(shapley[other], abs=1e-9)


@settings(max_examples=40)
@given(games(), st.data())
def test_who_adds_nothing_is_worth_nothing(drawn, data):
    game, values = drawn
    null = data.draw(st.sampled_from(game.names))
    value = dict(zip(game.subsets, values.tolist(), strict=True))
    without = np.array([value[subset - {null}] for subset in game.subsets])
    assert game.shapley(without)[game.names.index(null)] == pytest.approx(0, abs=1e-9)
    assert game.drop_one(without)[game.names.index(null)] == pytest.approx(0, abs=1e-9)


@settings(max_examples=40)
@given(games(), st.floats(-3, 3), st.integers(0, 99))
def test_values_of_a_sum_of_games_are_the_sums(drawn, factor, seed):
    game, values = drawn
    others = np.random.default_rng(seed).normal(size=len(values))
    together = game.shapley(values + factor * others)
    assert np.allclose(together, game.shapley(values) + factor * game.shapley(others), atol=1e-9)


def test_drawn_orders_give_exact_sums_and_tell_their_error():
    names = [f"m{number}" for number in range(8)]
    worth = dict(zip(names, np.arange(8.0), strict=True))

    def sums(game):
        return np.array([sum(worth[name] for name in subset) for subset in game.subsets])

    game, finer = Game(names, seed=3), Game(names, seed=4, orders=1000)
    assert not game.is_exact
    assert game.shapley(sums(game)) == pytest.approx(np.arange(8.0))
    assert game.sampling_error(sums(game)) == pytest.approx(np.zeros(8), abs=1e-12)
    assert game.shapley(sums(game) ** 2).sum() == pytest.approx(28**2, abs=1e-9)
    rough, fine = (1.0 * (sums(each) > 14) for each in (game, finer))
    assert (game.sampling_error(rough)[-3:] > 0).all()
    assert (np.abs(game.shapley(rough) - finer.shapley(fine)) <= 4 * game.sampling_error(rough) + 0.02).all()


def test_up_to_six_all_subsets_are_evaluated():
    assert len(Game([f"m{number}" for number in range(6)]).subsets) == 64
    assert Game(NAMES).sampling_error(np.arange(16.0)).tolist() == [0] * 4


def test_no_modality_is_refused():
    with pytest.raises(UsageError, match="no modality"):
        Game([])


def planted(patches=400, scenes=40, seed=0):
    """A truth that s1 tells but for some noise, and elevation does not."""
    random = np.random.default_rng(seed)
    truth, noise = random.normal(size=patches), random.normal(size=(2, patches))
    scene = np.array([f"scene_{place % scenes}" for place in range(patches)])

    def value(subset):
        told = 0.9 * truth + 0.3 * noise[0] if "s1" in subset else np.zeros(patches)
        told = told + (0.05 * noise[1] if "elevation" in subset else 0)
        return [Predictions({"error": (told - truth) ** 2}, scene, np.arange(patches), seed=seed)]

    return value


def judge(names, value, metric_function, metric):
    game, resampling = Game(names), Resampling(metric_function)
    return attribute_gain(game, [resampling.leave_out(value(subset))[metric] for subset in game.subsets], metric)


def rmse(evidence, weights):
    squares = evidence["error"]
    mean = squares.mean() if weights is None else (weights @ squares) / weights.sum(-1)
    return {"rmse": np.sqrt(mean)}


def test_of_an_error_positive_means_that_it_helps_and_noise_is_worth_nothing():
    found = judge(("s1", "elevation"), planted(), rmse, "rmse")
    radar, elevation = found.worths
    assert radar.shapley.value == pytest.approx(found.constant - found.whole, abs=0.05)
    assert radar.shapley.low > 0.3
    assert elevation.shapley.low <= 0 <= elevation.shapley.high
    assert radar.shapley.value + elevation.shapley.value == pytest.approx(found.constant - found.whole, abs=1e-9)


def test_intervals_come_from_the_same_scenes_for_all_subsets():
    """What all subsets have in common cancels, so a constant contribution has no spread."""
    value = planted()

    def shifted(subset):
        (run,) = value(frozenset({"s1"}))
        error = run.evidence["error"] + (0 if "elevation" in subset else 1.0)
        return [Predictions({"error": error}, run.scenes, run.patch_ids)]

    def mean(evidence, weights):
        return {"mae": rmse(evidence, weights)["rmse"] ** 2}

    found = judge(("s1", "elevation"), shifted, mean, "mae")
    estimate = found.worths[1].shapley
    assert (estimate.low, estimate.value, estimate.high) == pytest.approx((1, 1, 1))


def test_a_single_scene_gives_no_interval():
    found = judge(("s1",), planted(scenes=1), rmse, "rmse")
    assert np.isnan(found.worths[0].shapley.low)

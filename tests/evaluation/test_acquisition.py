"""Which patches to annotate next: entropies between 0 and 1, and a greedy choice that does what its score says."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from eofuse.data.splits.subsets import LabelOptions
from eofuse.errors import UsageError
from eofuse.evaluation.acquisition import (
    METHODS,
    NEED_UNCERTAINTY,
    binary_entropy,
    class_entropy,
    nearest_distance,
    pick,
)


def test_entropy_is_0_for_a_certain_class_and_1_where_all_are_alike():
    np.testing.assert_allclose(class_entropy(np.array([[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25]])), [0, 1], atol=1e-12)


def test_entropy_of_a_map_is_the_mean_over_its_pixels():
    half = np.array([[[0.5, 1.0]], [[0.5, 0.0]]])[None]
    assert class_entropy(half) == pytest.approx([0.5])


def test_entropy_of_several_classes_is_the_mean_of_their_bits():
    np.testing.assert_allclose(binary_entropy(np.array([[0.5, 0.5], [0.0, 0.5], [1.0, 0.0]])), [1, 0.5, 0], atol=1e-12)


@settings(max_examples=30)
@given(arrays(np.float64, (4, 3), elements=st.floats(0, 1)))
def test_entropies_lie_between_0_and_1(values):
    shares = (values + 1e-9) / (values + 1e-9).sum(axis=1, keepdims=True)
    for entropy in (class_entropy(shares), binary_entropy(values)):
        assert ((entropy >= 0) & (entropy <= 1 + 1e-9)).all()


def test_distances_in_parts_are_those_at_once(monkeypatch):
    generator = np.random.default_rng(0)
    vectors, centres = generator.normal(size=(7, 3)), generator.normal(size=(5, 3))
    whole = nearest_distance(vectors, centres)
    monkeypatch.setattr("eofuse.evaluation.acquisition._CHUNK_BYTES", 1)
    np.testing.assert_allclose(nearest_distance(vectors, centres), whole)
    np.testing.assert_allclose(whole, np.linalg.norm(vectors[:, None] - centres, axis=2).min(axis=1))


VECTORS = np.array([[0.0], [10.0], [10.1], [4.0]])
LABELLED = np.array([[0.5]])


def test_uncertainty_takes_the_most_uncertain_first():
    assert pick("uncertainty", 3, VECTORS, LABELLED, np.array([0.1, 0.9, 0.8, 0.3])).positions.tolist() == [1, 2, 3]


def test_diversity_takes_what_is_far_from_labels_and_never_its_near_duplicate_next():
    picks = pick("diversity", 4, VECTORS, LABELLED)
    assert picks.positions.tolist() == [2, 3, 0, 1]
    np.testing.assert_allclose(picks.distances, [9.6, 3.5, 0.5, 0.1])


def test_mix_leaves_a_far_patch_that_is_certain_and_a_duplicate_that_is_not():
    vectors = np.array([[20.0], [10.0], [10.1], [4.0]])
    assert pick("mix", 2, vectors, LABELLED, np.array([0.01, 0.9, 0.9, 0.5])).positions.tolist() == [2, 3]


def test_the_draw_looks_at_nothing_and_changes_with_the_seed():
    draws = [pick("random", 4, VECTORS, LABELLED, seed=seed).positions.tolist() for seed in range(6)]
    assert len({tuple(draw) for draw in draws}) > 1
    assert draws[0] == pick("random", 4, VECTORS[::-1], np.zeros((3, 1)), np.arange(4.0), seed=0).positions.tolist()


@settings(max_examples=20)
@given(st.sampled_from(sorted(METHODS)), st.integers(0, 100), st.integers(1, 12))
def test_fewer_picks_begin_more_and_none_comes_twice(by, seed, count):
    generator = np.random.default_rng(seed)
    vectors, unsure = generator.normal(size=(9, 2)), generator.uniform(size=9)
    few, all_of_them = (pick(by, n, vectors, vectors[:2], unsure, seed).positions.tolist() for n in (count, 9))
    assert few == all_of_them[:count]
    assert sorted(all_of_them) == list(range(9))


@pytest.mark.parametrize("by", METHODS)
def test_the_distances_are_to_labels_and_to_what_was_taken_before(by):
    vectors, centres = np.random.default_rng(5).normal(100, 1, size=(2, 30, 4))
    picks = pick(by, 30, vectors, centres, np.random.default_rng(6).random(30))
    taken = vectors[picks.positions]
    for turn, distance in enumerate(picks.distances):
        others = np.concatenate([centres, taken[:turn]])
        assert distance == np.linalg.norm(taken[turn] - others, axis=1).min()


@pytest.mark.parametrize("by", NEED_UNCERTAINTY)
def test_methods_that_need_an_uncertainty_say_so(by):
    with pytest.raises(UsageError, match="how uncertain"):
        pick(by, 1, VECTORS, LABELLED)


def test_recipes_name_the_methods_that_there_are():
    named = get_args(get_args(LabelOptions.model_fields["picked_by"].annotation)[0])
    assert set(named) == set(METHODS)

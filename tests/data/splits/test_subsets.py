"""Label subsets: nested, stratified, of the size that was asked for, the same each time."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eofuse.config import parse_options
from eofuse.data.splits.subsets import LabelOptions, label_subset, strata, stratified_order
from eofuse.data.targets import Target
from eofuse.errors import UsageError
from eofuse.kinds import DETECTION, MULTI_LABEL, PIXEL_REGRESSION, REGRESSION, SEGMENTATION, SINGLE_LABEL

SCENES = np.repeat([f"scene_{number}" for number in range(40)], 5)
ROWS = np.arange(200)


def target(kind, values, known=None):
    values = np.asarray(values)
    width = values.shape[1] if values.ndim > 1 else int(values.max()) + 1
    known = np.ones(len(values), dtype=bool) if known is None else known
    return Target("t", kind, tuple(f"c{number}" for number in range(width)), known, values=values)


def one_class(seed, classes=5):
    """Class numbers of 200 patches, some classes rare, each with one patch at least."""
    generator = np.random.default_rng(seed)
    shares = generator.dirichlet(np.full(classes, 0.7))
    return target(
        SINGLE_LABEL, np.concatenate([np.arange(classes), generator.choice(classes, 200 - classes, p=shares)])
    )


def several_classes(seed, classes=7):
    generator = np.random.default_rng(seed)
    values = generator.uniform(size=(200, classes)) < generator.uniform(0.03, 0.6, classes)
    return target(MULTI_LABEL, values.astype(np.float32))


def numbers(seed, width=1):
    return target(REGRESSION, np.random.default_rng(seed).normal(size=(200, width)).astype(np.float32))


TARGETS = st.builds(
    lambda make, seed: make(seed), st.sampled_from([one_class, several_classes, numbers]), st.integers(0, 99)
)


def subset(truth, amount, **options):
    targets = truth if isinstance(truth, list) else [truth]
    return label_subset(targets, SCENES, ROWS, LabelOptions(amount=amount, **options))


@settings(max_examples=60)
@given(
    truth=TARGETS,
    amounts=st.tuples(st.floats(0.005, 1), st.floats(0.005, 1)) | st.tuples(st.integers(1, 60), st.integers(1, 60)),
    seed=st.integers(0, 1000),
    grouped=st.booleans(),
)
def test_the_smaller_subset_lies_within_the_larger(truth, amounts, seed, grouped):
    small, large = (subset(truth, amount, seed=seed, grouped=grouped) for amount in sorted(amounts))
    assert set(small) <= set(large)


@settings(max_examples=60)
@given(truth=TARGETS, amount=st.floats(0.005, 1), seed=st.integers(0, 1000), grouped=st.booleans())
def test_a_fraction_gives_its_number_of_patches_each_once(truth, amount, seed, grouped):
    chosen = subset(truth, amount, seed=seed, grouped=grouped)
    assert len(chosen) == max(2, round(amount * 200))
    assert (np.diff(chosen) > 0).all()


@settings(max_examples=60)
@given(seed=st.integers(0, 1000), amount=st.floats(0.03, 0.9))
def test_every_class_keeps_its_share_and_appears(seed, amount):
    truth = one_class(seed)
    chosen = subset(truth, amount, seed=seed)
    whole, part = np.bincount(truth.values, minlength=5), np.bincount(truth.values[chosen], minlength=5)
    wanted = whole * len(chosen) / 200
    assert (part >= 1).all()
    assert (part <= np.maximum(np.ceil(wanted) + 1, 1)).all()
    assert (part >= wanted - 5).all()  # each of the five classes that is lifted to one patch takes from the others


@settings(max_examples=40)
@given(seed=st.integers(0, 1000), amount=st.sampled_from([0.1, 0.3, 0.6]))
def test_labels_of_several_keep_their_shares_better_than_by_chance(seed, amount):
    truth = several_classes(seed)
    wanted = truth.values.mean(axis=0) * round(amount * 200)
    stratified = np.abs(truth.values[subset(truth, amount, seed=seed)].sum(axis=0) - wanted)
    generator = np.random.default_rng(seed)
    by_chance = np.mean(
        [
            np.abs(truth.values[generator.choice(200, round(amount * 200), replace=False)].sum(axis=0) - wanted).mean()
            for _ in range(20)
        ]
    )
    assert stratified.mean() < by_chance
    assert stratified.max() <= 3


def test_each_label_of_several_appears_once_there_is_room():
    truth = several_classes(3)
    assert (truth.values[subset(truth, 0.05)].sum(axis=0) >= 1).all()


@settings(max_examples=40)
@given(seed=st.integers(0, 1000), amount=st.integers(1, 80))
def test_a_number_a_class_gives_that_many_of_each_or_all(seed, amount):
    truth = one_class(seed)
    whole, part = (np.bincount(truth.values[rows], minlength=5) for rows in (ROWS, subset(truth, amount, seed=seed)))
    np.testing.assert_array_equal(part, np.minimum(whole, amount))


@settings(max_examples=40)
@given(seed=st.integers(0, 1000), amount=st.integers(1, 80), grouped=st.booleans())
def test_a_number_a_class_gives_as_many_of_each_label_of_several(seed, amount, grouped):
    truth = several_classes(seed)
    part = truth.values[subset(truth, amount, seed=seed, grouped=grouped)].sum(axis=0)
    assert (part >= np.minimum(truth.values.sum(axis=0), amount)).all()


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), width=st.integers(1, 4))
def test_numbers_are_drawn_from_all_of_their_range(seed, width):
    truth = numbers(seed, width)
    counts = strata(truth, ROWS)[subset(truth, 0.25, seed=seed)].sum(axis=0)
    assert counts.tolist() == [10] * 5


@settings(max_examples=40)
@given(amount=st.floats(0.01, 1), seed=st.integers(0, 1000))
def test_grouped_labels_fill_whole_scenes_but_the_last(amount, seed):
    counts = np.unique(SCENES[subset(one_class(0), amount, seed=seed, grouped=True)], return_counts=True)[1]
    assert (counts < 5).sum() <= 1


@settings(max_examples=20)
@given(truth=TARGETS, amount=st.sampled_from([0.1, 3]), grouped=st.booleans())
def test_the_seed_fixes_the_draw(truth, amount, grouped):
    first, again = (subset(truth, amount, seed=5, grouped=grouped) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    others = [set(subset(truth, amount, seed=seed, grouped=grouped)) for seed in range(6, 10)]
    assert any(other != set(first) for other in others)


def test_everything_is_labelled_by_default():
    np.testing.assert_array_equal(label_subset([one_class(0)], SCENES, ROWS, LabelOptions()), ROWS)


def test_only_the_rows_given_are_labelled():
    chosen = label_subset([one_class(0)], SCENES, ROWS[50:150], LabelOptions(amount=0.1))
    assert len(chosen) == 10
    assert set(chosen) <= set(range(50, 150))


def test_with_several_targets_the_strata_of_all_count():
    first, second = one_class(1), several_classes(2)
    chosen = subset([first, second], 0.2)
    assert set(first.values[chosen]) == set(range(5))
    assert np.abs(second.values[chosen].mean(axis=0) - second.values.mean(axis=0)).max() < 0.08


def test_a_patch_that_does_not_know_the_target_is_of_no_stratum():
    known = np.arange(200) % 2 == 0
    truth = target(SINGLE_LABEL, np.ones(200, dtype=int), known)
    np.testing.assert_array_equal(strata(truth, ROWS)[:, 0], known)


def test_maps_are_stratified_by_the_class_of_most_pixels():
    maps = np.full((200, 4, 4), 255, dtype=np.uint8)
    maps[:, :2] = (np.arange(200) % 4 == 0)[:, None, None]
    truth = SimpleNamespace(kind=SEGMENTATION, valid=np.ones(200, dtype=bool), read=lambda rows, window: maps[rows])
    np.testing.assert_array_equal(strata(truth, ROWS)[:, 1], np.arange(200) % 4 == 0)


def test_boxes_are_stratified_by_the_classes_that_occur():
    boxes = np.full((200, 2, 5), -1.0)
    boxes[::3, 0, 4] = 1
    truth = SimpleNamespace(
        kind=DETECTION, classes=("a", "b"), valid=np.ones(200, dtype=bool), read=lambda rows, window: boxes[rows]
    )
    np.testing.assert_array_equal(strata(truth, ROWS)[:, 0], np.arange(200) % 3 == 0)


def test_what_has_no_strata_is_drawn_at_random():
    truth = target(PIXEL_REGRESSION, np.zeros((200, 1)))
    assert len(subset(truth, 0.1)) == 20
    assert len(subset(truth, 7)) == len(subset(truth, 7, grouped=True)) == 7


def test_a_long_order_is_made_in_no_time():
    member = np.random.default_rng(0).uniform(size=(20_000, 19)) < 0.15
    order = stratified_order(member, 400, np.random.default_rng(1))
    assert np.abs(member[order].mean(axis=0) - member.mean(axis=0)).max() < 0.005


@pytest.mark.parametrize("amount", [0.0, 1.5, -0.1, 0, -3, "many", True])
def test_a_wrong_amount_is_explained(amount):
    with pytest.raises(UsageError, match="amount"):
        parse_options(LabelOptions, {"amount": amount})

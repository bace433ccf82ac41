"""Draws to be looked at: the patch itself first, then what training could see, of a store that lacks things too."""

import numpy as np
import pytest
import torch

from eofuse.data.store.pack import pack_source
from eofuse.errors import UsageError
from eofuse.learning.augment import AugmentOptions
from eofuse.learning.augment.examples import augment_patch, example_draws
from eofuse.pictures import show_augmented
from eofuse.reports.figures.patch import show_augmented as augmented_figure
from fake_source import FakeSource


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    source = FakeSource(patches=10, absent={"s1": {3}})
    return pack_source(source, tmp_path_factory.mktemp("examples") / "fake.store", workers=1)


def test_the_first_is_the_patch_and_the_others_are_seeded(store):
    options = AugmentOptions(preset="strong")
    draws, again = (example_draws(store, "patch_4", options, 3, seed=2) for _ in range(2))
    other = example_draws(store, "patch_4", options, 3, seed=3)
    np.testing.assert_array_equal(draws[0]["s2"], store.read("s2", [4])[0])
    assert len(draws) == 4
    for one, same in zip(draws, again, strict=True):
        np.testing.assert_array_equal(one["s1"], same["s1"])
    assert not np.array_equal(draws[1]["s1"], other[1]["s1"], equal_nan=True)


def test_torchs_own_randomness_is_left_alone(store):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    example_draws(store, "patch_4", AugmentOptions(preset="strong"), 2, seed=2)
    assert torch.rand(1) == expected


def test_rasters_that_the_patch_lacks_are_left_out(store):
    draws = example_draws(store, "patch_3", AugmentOptions(preset="light"), 2, seed=0)
    assert [list(draw) for draw in draws] == [["s2", "elevation"]] * 3


def test_what_is_dropped_as_a_whole_is_shown_as_absent(store):
    draws = example_draws(store, "patch_4", AugmentOptions(drop_modalities=0.95), 2, seed=0)
    figure = augmented_figure(store, "patch_4", draws, "dropped")
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert words.count("absent") >= 3


def test_single_operations_of_chosen_rasters_are_drawn_as_often_as_wanted(store):
    draws = augment_patch(store, "patch_4", {"turns": True}, draws=3, seed=1, modalities=["s2"])
    assert [list(draw) for draw in draws] == [["s2"]] * 3
    for draw in draws:
        np.testing.assert_array_equal(np.sort(draw["s2"], axis=None), np.sort(store.read("s2", [4])[0], axis=None))


def test_a_picture_shows_the_draws_beside_the_patch(store):
    figure = show_augmented(store, "patch_4", {"turns": True}, seed=1, modalities=["s2"])
    words = {text.get_text() for axes in figure.axes for text in axes.texts} | {
        axes.get_title() for axes in figure.axes
    }
    words |= {text.get_text() for text in figure.texts}
    assert {f"draw {number}" for number in range(1, 6)} <= words


def test_an_augmentation_that_does_not_exist_is_named(store):
    with pytest.raises(UsageError, match="mirror"):
        augment_patch(store, "patch_4", {"mirror": True})

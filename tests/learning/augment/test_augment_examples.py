"""Draws to be looked at: the patch itself first, then what training could see, of a store that lacks things too."""

import numpy as np
import pytest
import torch

from eofuse.data.store.pack import pack_source
from eofuse.learning.augment import AugmentOptions
from eofuse.learning.augment.examples import example_draws
from eofuse.reports.figures.patch import show_augmented
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
    figure = show_augmented(store, "patch_4", draws, "dropped")
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert words.count("absent") >= 3

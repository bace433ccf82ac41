"""Splits: who may be on which side, and how leaky each is."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eofuse.config import parse_options
from eofuse.data.leakage import protocol_leakage
from eofuse.data.splits import Split, SplitOptions, leakage, make_split
from eofuse.errors import DataError, UsageError
from fake_source import FakeSource

INDEX = FakeSource(patches=200).index
GROUPED = st.sampled_from(["scene", "blocks", "random"])


@settings(max_examples=40, deadline=None)
@given(protocol=GROUPED, split_seed=st.integers(0, 1000), folds=st.sampled_from([None, 2, 5]))
def test_every_patch_is_in_exactly_one_part(protocol, split_seed, folds):
    split = make_split(INDEX, SplitOptions(protocol=protocol, split_seed=split_seed, folds=folds))
    together = np.concatenate([split.train, split.validation, split.test])
    assert sorted(together.tolist()) == list(range(200))


@settings(max_examples=40, deadline=None)
@given(split_seed=st.integers(0, 1000), folds=st.sampled_from([None, 3]))
def test_no_scene_is_torn_apart(split_seed, folds):
    split = make_split(INDEX, SplitOptions(protocol="scene", split_seed=split_seed, folds=folds))
    parts = [set(INDEX["scene"].iloc[rows]) for rows in split.parts().values()]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]


@settings(max_examples=20, deadline=None)
@given(split_seed=st.integers(0, 1000))
def test_shares_are_close_to_the_fractions(split_seed):
    split = make_split(INDEX, SplitOptions(split_seed=split_seed))
    assert abs(len(split.train) / 200 - 0.7) < 0.05
    assert abs(len(split.test) / 200 - 0.2) < 0.05


def test_a_large_scene_goes_where_it_has_room():
    index = FakeSource(patches=40).index.assign(scene=["large"] * 15 + [f"small_{row}" for row in range(25)])
    for seed in range(20):
        split = make_split(index, SplitOptions(fractions=(0.5, 0.2, 0.3), split_seed=seed))
        assert (index["scene"].iloc[split.train] == "large").sum() == 15


def test_the_folds_test_every_patch_once():
    tested = [make_split(INDEX, SplitOptions(folds=4, fold=fold)).test for fold in range(4)]
    assert sorted(np.concatenate(tested).tolist()) == list(range(200))


def test_the_default_is_grouped_by_scene():
    split = make_split(INDEX, SplitOptions())
    assert leakage(INDEX, split).sharing_scene == 0


def test_the_split_seed_fixes_the_split():
    first, second = (make_split(INDEX, SplitOptions(split_seed=3)) for _ in range(2))
    np.testing.assert_array_equal(first.train, second.train)
    assert set(first.train) != set(make_split(INDEX, SplitOptions(split_seed=4)).train)


def test_the_published_lists_are_used():
    split = make_split(INDEX, SplitOptions(protocol="published"))
    assert set(INDEX["split"].iloc[split.test]) == {"test"}


def test_a_dataset_without_lists_has_no_published_split():
    with pytest.raises(DataError, match="no published split"):
        make_split(INDEX.assign(split=None), SplitOptions(protocol="published"))


def test_an_empty_part_is_an_error():
    with pytest.raises(DataError, match="leaves no validation patch"):
        make_split(INDEX[INDEX["split"] != "validation"], SplitOptions(protocol="published"))


def test_the_tutorials_split_is_that_of_random_split_with_seed_42():
    index = FakeSource(patches=800).index
    split = make_split(index, SplitOptions(protocol="tutorial"))
    generator = torch.Generator().manual_seed(42)
    train, rest = torch.utils.data.random_split(range(800), [600, 200], generator=generator)
    validation, test = torch.utils.data.random_split(rest, [100, 100], generator=generator)
    assert (list(train)[:3], list(validation)[:3], list(test)[:3]) == ([742, 627, 678], [482, 546, 476], [246, 796, 86])
    assert split.train.tolist() == sorted(train)
    assert split.validation.tolist() == sorted(validation)
    assert split.test.tolist() == sorted(test)


def test_the_tutorials_split_is_for_800_patches_only():
    with pytest.raises(UsageError, match="800 patches, here are 200"):
        make_split(INDEX, SplitOptions(protocol="tutorial"))


def test_the_tutorials_split_leaks_almost_every_scene_of_the_published_ids(shared):
    lists = shared / "realdata" / "ben-index" / "ben-ge-splits"
    ids = pd.Series((lists / "ben-ge-8k_val.csv").read_text().split())
    parts = ids.str.split("_", expand=True)
    index = pd.DataFrame({"patch_id": ids, "scene": parts[0] + "_" + parts[2], "tile": None, "column": -1, "row": -1})
    index = index.assign(lat=np.nan, lon=np.nan, split=None)
    found = protocol_leakage(index, SplitOptions())
    assert len(ids) == 800
    assert found["tutorial"].sharing_scene == 99
    assert found["scene"].sharing_scene == 0
    assert found["tutorial"].adjacent is None


@pytest.mark.parametrize(("offset_km", "expected"), [(1.2, 1), (5.0, 0)])
def test_neighbours_across_the_split_are_counted(offset_km, expected):
    index = FakeSource(patches=10).index.assign(lat=47.0, lon=np.arange(10) * 1.0)
    index.loc[1, "lon"] = index.loc[0, "lon"] + offset_km / (111.2 * np.cos(np.radians(47.0)))
    split = Split(np.array([0, 2, 3]), np.array([4]), np.array([1, 5]))
    assert leakage(index, split).adjacent == expected


def test_neighbours_are_found_by_tile_where_no_coordinates_are_known():
    index = FakeSource(patches=10).index.assign(lat=np.nan, lon=np.nan, tile="33UUP", row=5)
    index["column"] = [3, 4, 50, 60, 70, 80, 90, 100, 110, 120]
    split = Split(np.array([0, 2, 3]), np.array([4]), np.array([1, 5]))
    assert leakage(index, split).adjacent == 1


def test_blocks_keep_neighbours_together():
    index = FakeSource(patches=100).index
    split = make_split(index, SplitOptions(protocol="blocks", block_km=100))
    assert leakage(index, split).adjacent == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"protocol": "scenes"}, "did you mean 'scene'"),
        ({"fractions": [0.5, 0.2, 0.2]}, "sum to 1"),
        ({"folds": 3, "fold": 3}, "fold must be smaller"),
        ({"protocol": "tutorial", "folds": 3}, "has no folds"),
    ],
)
def test_wrong_options_are_explained(values, message):
    with pytest.raises(UsageError, match=message):
        parse_options(SplitOptions, values)

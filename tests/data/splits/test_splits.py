"""Splits: who may be on which side, and how leaky each is."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eofuse.config import parse_options
from eofuse.data.splits import Split, SplitOptions, leakage, make_split
from eofuse.data.splits.comparison import protocol_leakage
from eofuse.errors import DataError, UsageError
from fake_source import FakeSource

INDEX = FakeSource(patches=200).index
GROUPED = st.sampled_from(["scene", "blocks", "random"])


@settings(max_examples=40)
@given(protocol=GROUPED, split_seed=st.integers(0, 1000), folds=st.sampled_from([None, 2, 5]))
def test_every_patch_is_in_exactly_one_part(protocol, split_seed, folds):
    split = make_split(INDEX, SplitOptions(protocol=protocol, split_seed=split_seed, folds=folds))
    together = np.concatenate([split.train, split.validation, split.test])
    assert sorted(together.tolist()) == list(range(200))


@settings(max_examples=40)
@given(split_seed=st.integers(0, 1000), folds=st.sampled_from([None, 3]))
def test_no_scene_is_torn_apart(split_seed, folds):
    split = make_split(INDEX, SplitOptions(protocol="scene", split_seed=split_seed, folds=folds))
    parts = [set(INDEX["scene"].iloc[rows]) for rows in split.parts().values()]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]


@settings(max_examples=20)
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
    with pytest.raises(DataError, match="leaves no test patch"):
        make_split(INDEX[INDEX["split"] != "test"], SplitOptions(protocol="published"))


@settings(max_examples=20)
@given(split_seed=st.integers(0, 1000))
def test_published_lists_without_validation_lend_it_whole_training_scenes(split_seed):
    index = INDEX.assign(split=INDEX["split"].replace("validation", "train"))
    options = SplitOptions(protocol="published", fractions=(0.6, 0.2, 0.2), split_seed=split_seed)
    split = make_split(index, options)
    scenes = [set(index["scene"].iloc[rows]) for rows in (split.train, split.validation)]
    assert not scenes[0] & scenes[1]
    assert set(index["split"].iloc[split.test]) == {"test"}
    assert (index["split"] == "test").sum() == len(split.test)
    together = np.sort(np.concatenate([split.train, split.validation]))
    np.testing.assert_array_equal(together, np.flatnonzero(index["split"] == "train"))
    assert abs(len(split.validation) / len(together) - 0.25) < 0.05


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


def test_validation_patches_that_are_learned_from_leak_too():
    options = SplitOptions(protocol="random", fractions=(0.1, 0.4, 0.5))
    split = make_split(INDEX, options)
    both = Split(np.union1d(split.train, split.validation), split.validation, split.test)
    alone, together = (protocol_leakage(INDEX, options, refit=refit)["random"] for refit in (False, True))
    assert (alone, together) == (leakage(INDEX, split), leakage(INDEX, both))
    assert together.sharing_scene > alone.sharing_scene


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


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.sampled_from([1, 2**20, 5_200_000]))
def test_neighbours_in_a_tile_are_those_a_step_away(seed, size):
    generator = np.random.default_rng(seed)
    index = FakeSource(patches=40).index.assign(lat=np.nan, lon=np.nan)
    index["tile"] = generator.choice(["33UUP", "33UUQ"], 40)
    index["column"], index["row"] = generator.integers(0, 8, 40), generator.integers(0, 8, 40) * size
    split = Split(np.arange(0, 20), np.arange(20, 25), np.arange(25, 40))
    places = list(zip(index["tile"], index["column"], index["row"], strict=True))
    near = [
        any(places[i][0] == t and abs(places[i][1] - c) <= 1 and abs(places[i][2] - r) <= 1 for t, c, r in places[:20])
        for i in split.test
    ]
    assert leakage(index, split).adjacent == sum(near)


def test_what_patches_of_unknown_scenes_share_is_not_known():
    index = FakeSource(patches=10).index.assign(scene=None)
    found = leakage(index, Split(np.arange(5), np.array([5]), np.arange(6, 10)))
    assert (found.sharing_scene, found.unknown_scene) == (None, 4)


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


def cut_index(scenes: int, across: int, down: int, block: int) -> pd.DataFrame:
    """The index of scenes far from each other that were cut into patches of 640 m, with blocks."""
    rows = [(scene, column, row) for scene in range(scenes) for row in range(down) for column in range(across)]
    scene, column, row = np.array(rows).T
    names = pd.Series(scene).map("scene_{}".format)
    return pd.DataFrame(
        {
            "patch_id": [f"{s}_{c}_{r}" for s, c, r in rows],
            "scene": names,
            "tile": None,
            "column": column,
            "row": row,
            "lon": 10.0 + scene + column * 0.64 / 111.2,
            "lat": 0.05 - row * 0.64 / 111.2,
            "side_km": 0.64,
            "split": None,
            "block": names + "_" + pd.Series(column // block).astype(str) + "_" + pd.Series(row // block).astype(str),
        }
    )


GRIDS = {"scenes": st.integers(1, 5), "across": st.integers(3, 9), "down": st.integers(3, 9)}


@settings(max_examples=40)
@given(**GRIDS, block=st.integers(1, 2), folds=st.sampled_from([None, 2, 4]), split_seed=st.integers(0, 100))
def test_no_block_of_the_index_is_torn_apart(scenes, across, down, block, folds, split_seed):
    index = cut_index(scenes, across, down, block)
    fractions = (0.4, 0.3, 0.3)
    options = SplitOptions(protocol="blocks", folds=folds, split_seed=split_seed, fractions=fractions)
    parts = [set(index["block"].iloc[rows]) for rows in make_split(index, options).parts().values()]
    assert sum(map(len, parts)) == index["block"].nunique()


@settings(max_examples=40)
@given(**GRIDS, block=st.integers(1, 2), folds=st.integers(2, 4), split_seed=st.integers(0, 100))
def test_folds_of_blocks_are_spread_over_every_scene(scenes, across, down, block, folds, split_seed):
    index = cut_index(scenes, across, down, block)
    fold = {"protocol": "blocks", "folds": folds, "split_seed": split_seed, "fractions": (0.5, 0.3, 0.2)}
    tests = [make_split(index, SplitOptions(**fold, fold=number)).test for number in range(folds)]
    assert sorted(np.concatenate(tests).tolist()) == list(range(len(index)))
    blocks = index.groupby("scene")["block"].nunique()
    for test in tests:
        in_fold = index.iloc[test].groupby("scene")["block"].nunique().reindex(blocks.index, fill_value=0)
        assert (in_fold >= blocks // folds).all()


def test_four_folds_of_nine_patches_a_scene_are_of_equal_size():
    index = cut_index(scenes=4, across=3, down=3, block=1)
    folds = [make_split(index, SplitOptions(protocol="blocks", folds=4, fold=fold)) for fold in range(4)]
    assert [len(split.test) for split in folds] == [9, 9, 9, 9]
    assert [leakage(index, split).adjacent for split in folds] == [9, 9, 9, 9]


def test_a_side_of_blocks_in_kilometres_is_used_in_place_of_those_of_the_index():
    index = cut_index(scenes=5, across=3, down=3, block=1)
    split = make_split(index, SplitOptions(protocol="blocks", block_km=20))
    assert leakage(index, split).adjacent == 0


@pytest.mark.parametrize(("steps", "expected"), [(1, 1), (2, 0)])
def test_neighbours_of_smaller_patches_are_nearer(steps, expected):
    index = cut_index(scenes=2, across=4, down=1, block=1)
    split = Split(np.array([0]), np.array([7]), np.array([steps]))
    assert leakage(index, split).adjacent == expected

"""Stores that are merged, appended to and cut down: every value and every row of the index is the one it was."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eofuse.data.store import Store, open_store, partial, placing
from eofuse.data.store import pack as packing
from eofuse.data.store.combine import append, merge
from eofuse.data.store.pack import pack_source
from eofuse.data.store.subset import meets, read_ids, subset
from eofuse.data.targets import make_target
from eofuse.errors import DataError, UsageError
from eofuse.modalities import SEASON, SENTINEL1, SENTINEL2, Channel, Kind, Modality
from fake_source import MODALITIES, FakeSource

HOURLY = Modality("hourly", Kind.SERIES, (Channel("t"), Channel("p")), steps=3)


class SeriesSource(FakeSource):
    """Beside the others a series of three steps with a gap."""

    def plant(self):
        self.modalities = (*self.modalities, HOURLY)
        self.index["has_hourly"] = [row not in self.absent.get("hourly", ()) for row in range(self.patches)]

    def read(self, row):
        series = np.array([[0, row, 1], [1, np.nan, 2], [np.nan] * 3], dtype=np.float32)
        present = row not in self.absent.get("hourly", ())
        return super().read(row) | ({"hourly": series} if present else {})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    source = SeriesSource(patches=23, size=4, absent={"s1": {0, 7}, "hourly": {3}})
    return pack_source(source, tmp_path_factory.mktemp("whole") / "whole.store", workers=1)


def packed(folder, name, renamed=True, **changes):
    """A store of five patches whose ids begin with its name."""
    source = FakeSource(**{"patches": 5, "size": 4, "modalities": MODALITIES, **changes})
    if renamed:
        source.index["patch_id"] = [f"{name}_{row}" for row in range(source.patches)]
    return pack_source(source, folder / name, workers=1)


def holds_the_same(one: Store, other: Store, rows: np.ndarray) -> None:
    """`one` holds the rows of `other`, value by value."""
    expected = other.index.iloc[rows].reset_index(drop=True)
    pd.testing.assert_frame_equal(one.index[sorted(one.index)], expected[sorted(expected)])
    assert one.modalities == other.modalities
    for name in one.modalities:
        assert one.read(name, np.arange(len(one))).tobytes() == other.read(name, rows).tobytes()
    assert one.verify() == []


@settings(max_examples=5, suppress_health_check=[HealthCheck.too_slow])
@given(parts=st.lists(st.integers(0, 2), min_size=23, max_size=23).filter(lambda parts: {0, 1} <= set(parts)))
def test_merged_subsets_are_the_store_bit_for_bit(whole, tmp_path_factory, parts):
    folder = tmp_path_factory.mktemp("parts")
    rows = [np.flatnonzero(np.array(parts) == part) for part in sorted(set(parts))]
    for number, chosen in enumerate(rows):
        subset(whole.path, folder / str(number), ids=list(whole.index["patch_id"].iloc[chosen]))
    merged = merge([folder / str(number) for number in range(len(rows))], folder / "merged")
    holds_the_same(merged, whole, np.concatenate(rows))


@settings(max_examples=8)
@given(rows=st.sets(st.integers(0, 22), min_size=8))
def test_a_subset_keeps_index_and_values_in_step(whole, tmp_path_factory, rows):
    chosen = np.array(sorted(rows))
    part = subset(whole.path, tmp_path_factory.mktemp("part") / "s", ids=list(whole.index["patch_id"].iloc[chosen]))
    holds_the_same(part, whole, chosen)


def test_rows_cross_shards(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(partial, "SHARD_BYTES", 5 * 12 * 4 * 4 * 2 + 200)
    part = subset(whole.path, tmp_path / "small", where=["patch_id!=patch_4"])
    assert len(list((part.path / "s2").iterdir())) == 5
    holds_the_same(part, whole, np.delete(np.arange(23), 4))


def test_a_modality_that_a_store_lacks_is_absent_for_its_patches(whole, tmp_path):
    part = subset(whole.path, tmp_path / "part", modalities=["s1", "season"])
    first = subset(part.path, tmp_path / "a", ids=["patch_1"])
    other = subset(whole.path, tmp_path / "b", ids=["patch_2"])
    merged = merge([first.path, other.path], tmp_path / "c")
    assert merged.present("hourly").tolist() == [False, True]


def test_a_byte_order_mark_is_no_part_of_an_id(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\r\n")
    assert read_ids(path) == ["a", "b"]


def test_a_draw_is_fixed_by_its_seed(whole, tmp_path):
    first, again, other = (
        subset(whole.path, tmp_path / str(number), count=9, seed=seed) for number, seed in enumerate((1, 1, 2))
    )
    assert list(first.index["patch_id"]) == list(again.index["patch_id"]) != list(other.index["patch_id"])
    assert first.fingerprint == again.fingerprint


def test_a_modality_that_is_not_wanted_leaves_no_column(whole, tmp_path):
    part = subset(whole.path, tmp_path / "part", modalities=["s1", "climate_zone"])
    assert list(part.modalities) == ["s1", "climate_zone"]
    assert not [name for name in part.index.columns if "season" in name or name == "has_s2"]


def test_what_no_chosen_patch_has_is_no_modality_any_more(whole, tmp_path):
    assert "s1" not in subset(whole.path, tmp_path / "part", ids=["patch_0", "patch_7"]).modalities


CONDITIONS = {
    "split=train": [True, False, False],
    "split=train,test": [True, True, False],
    "split!=test": [True, False, True],
    "lat>=47.5": [False, True, False],
    "lat<48": [True, False, False],
    "has_s1=true": [True, False, False],
    "labels=Water": [True, True, False],
    "labels=Land, with trees": [False, True, False],
    "time_s2<2018": [True, False, False],
    "row=3": [False, True, False],
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_compares_a_column_with_values(condition):
    index = pd.DataFrame(
        {
            "split": ["train", "test", None],
            "lat": [47.0, 48.5, np.nan],
            "has_s1": [True, False, False],
            "labels": [["Water"], ["Water", "Land, with trees"], None],
            "time_s2": ["2017-06-13", "2018-01-01", None],
            "row": [-1, 3, 4],
        }
    )
    assert meets(index, condition).tolist() == CONDITIONS[condition]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("spilt=train", "did you mean 'split'"),
        ("split", "write column=value"),
        ("lat>north", "'north' is no number"),
        ("has_s1=maybe", "neither true nor false"),
        ("acquired<spring", "'spring' is no date"),
        ("__import__('os').system('true')", "can't be understood"),
    ],
)
def test_a_condition_that_is_wrong_says_how(whole, tmp_path, condition, message):
    index = whole.index.assign(acquired=pd.Timestamp(2024, 1, 1, tz="UTC"))
    with pytest.raises(UsageError, match=message):
        meets(index, condition)


def test_nothing_left_is_an_error(whole, tmp_path):
    with pytest.raises(DataError, match="no patch meets"):
        subset(whole.path, tmp_path / "part", where=["lat>80"])
    with pytest.raises(DataError, match="99 patches are wanted and 23"):
        subset(whole.path, tmp_path / "part", count=99)


def test_a_modality_that_one_lacks_is_absent_there(tmp_path):
    first = packed(tmp_path, "a", modalities=MODALITIES[1:])
    second = packed(tmp_path, "b", seed=1)
    merged = merge([first.path, second.path], tmp_path / "merged")
    assert merged.present("s2").tolist() == [False] * 5 + [True] * 5
    assert not merged.read("s2", range(5)).any()
    np.testing.assert_array_equal(merged.read("s2", range(5, 10)), second.read("s2", range(5)))
    assert merged.verify() == []


def test_a_column_that_one_lacks_is_unknown_there(tmp_path):
    sources = [FakeSource(patches=5, size=4, seed=seed) for seed in (0, 1)]
    sources[0].index["crop"] = ["wheat"] * 5
    sources[0].index["stories"] = 3
    sources[1].index["patch_id"] = [f"other_{row}" for row in range(5)]
    paths = [pack_source(source, tmp_path / str(n), workers=1).path for n, source in enumerate(sources)]
    index = merge(paths, tmp_path / "merged").index
    assert index["crop"].isna().tolist() == [False] * 5 + [True] * 5
    assert index["stories"].tolist()[:5] == [3] * 5
    assert index["stories"].isna().sum() == 5
    target = make_target(open_store(tmp_path / "merged"), "stories")
    assert (target.classes, target.valid.sum()) == (("3",), 5)


def test_a_column_of_numbers_here_and_text_there_is_refused(tmp_path):
    sources = [FakeSource(patches=5, size=4, seed=seed) for seed in (0, 1)]
    sources[1].index["patch_id"] = [f"other_{row}" for row in range(5)]
    sources[1].index["label"] = "a"
    paths = [pack_source(source, tmp_path / str(n), workers=1).path for n, source in enumerate(sources)]
    with pytest.raises(DataError, match="'label' holds numbers in one store and text in another"):
        merge(paths, tmp_path / "merged")


def test_two_patches_of_one_id_name_it_and_both_stores(tmp_path):
    first, second = packed(tmp_path, "a", renamed=False), packed(tmp_path, "b", renamed=False, seed=1)
    with pytest.raises(DataError, match=r"/a and .*/b: both hold a patch 'patch_0', with different content"):
        merge([first.path, second.path], tmp_path / "merged", skip_identical=True)


def test_identical_patches_are_taken_once_if_asked(tmp_path):
    store = packed(tmp_path, "a")
    part = subset(store.path, tmp_path / "part", ids=["a_1", "a_3"])
    with pytest.raises(DataError, match="same content; pass --skip-identical"):
        merge([store.path, part.path], tmp_path / "merged")
    merged = merge([store.path, part.path], tmp_path / "merged", skip_identical=True)
    holds_the_same(merged, store, np.arange(5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 8}, "differ in size: 4 × 4 and 8 × 8"),
        ({"modalities": (SENTINEL2.select(["B02", "B03"]),)}, r"'s2' differently: channels B01 \(reflectance\), .* against B02"),
        ({"modalities": (replace(SENTINEL2, dtype="int16"),)}, "'s2' differently: dtype uint16 against int16"),
        ({"modalities": (replace(SENTINEL2, scale=1.0),)}, "'s2' differently: scale 0.0001 against 1.0"),
    ],
)  # fmt: skip
def test_stores_that_do_not_fit_say_what_differs(tmp_path, changes, message):
    first, second = packed(tmp_path, "a"), packed(tmp_path, "b", **changes)
    with pytest.raises(DataError, match=message):
        merge([first.path, second.path], tmp_path / "merged")


def test_every_two_stores_have_to_fit(tmp_path):
    names = [packed(tmp_path, "a", modalities=(SEASON,)).path]
    names += [packed(tmp_path, n, modalities=(replace(SENTINEL1, scale=s),)).path for n, s in (("b", 1.0), ("c", 2.0))]
    with pytest.raises(DataError, match=r"'s1' differently: scale 1\.0 against 2\.0"):
        merge(names, tmp_path / "merged")


def test_simulated_and_real_patches_are_mixed_only_if_asked(tmp_path):
    real, simulated = packed(tmp_path, "a", simulated=False), packed(tmp_path, "b")
    with pytest.raises(DataError, match="/b: holds simulated patches, others hold real ones"):
        merge([real.path, simulated.path], tmp_path / "merged")
    merged = merge([real.path, simulated.path], tmp_path / "merged", with_simulated=True)
    assert merged.simulated
    assert [part["simulated"] for part in merged.provenance["parts"]] == [False, True]


def test_a_damaged_store_is_not_merged(tmp_path):
    first, second = packed(tmp_path, "a"), packed(tmp_path, "b")
    with (second.path / "s2" / "00000.npy").open("r+b") as file:
        file.seek(300)
        file.write(b"\xff\xff")
    with pytest.raises(DataError, match="checksum differs"):
        merge([first.path, second.path], tmp_path / "merged")


def test_vectors_alone_can_be_merged(tmp_path):
    stores = [packed(tmp_path, name, modalities=(SEASON,)) for name in "ab"]
    merged = merge([store.path for store in stores], tmp_path / "merged")
    np.testing.assert_array_equal(merged.read("season", range(5, 10)), stores[1].read("season", range(5)))


def test_appending_is_merging_in_place(tmp_path):
    stores = [packed(tmp_path, name, seed=seed) for seed, name in enumerate("abc")]
    merged = merge([store.path for store in stores], tmp_path / "merged")
    append(stores[0].path, [stores[1].path])
    grown = append(stores[0].path, [stores[2].path])
    holds_the_same(grown, merged, np.arange(15))
    assert [part["patches"] for part in grown.provenance["parts"]] == [5, 5, 5]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c", "merged"]


@pytest.fixture
def grown(tmp_path, monkeypatch):
    """A store of 23 patches in shards of a few rows, a smaller one, and what they are together."""
    monkeypatch.setattr(partial, "SHARD_BYTES", 3000)
    monkeypatch.setattr(packing, "CHUNK", 2)
    base = pack_source(SeriesSource(patches=23, size=4, absent={"s1": {0, 7}}), tmp_path / "base", workers=1)
    more = SeriesSource(patches=6, size=4)
    more.index["patch_id"] = [f"more_{row}" for row in range(6)]
    other = pack_source(more, tmp_path / "more", workers=1)
    return base, other, merge([base.path, other.path], tmp_path / "merged")


def test_a_store_that_grows_keeps_its_full_arrays(grown):
    base, other, merged = grown
    inodes = {path.name: path.stat().st_ino for path in (base.path / "s2").iterdir()}
    appended = append(base.path, [other.path])
    holds_the_same(appended, merged, np.arange(len(merged)))
    assert appended.fingerprint == merged.fingerprint
    assert len(inodes) > 3
    kept = {path.name for path in (appended.path / "s2").iterdir() if inodes.get(path.name) == path.stat().st_ino}
    assert kept == {*inodes} - {max(inodes)}
    assert all(path.stat().st_nlink == 1 for path in appended.path.rglob("*.npy"))


def test_an_interrupted_append_never_writes_into_the_store_that_grows(grown, monkeypatch):
    base, other, merged = grown
    before = {path.relative_to(base.path): path.read_bytes() for path in base.path.rglob("*.npy")}
    witness = base.path.with_name("witness")
    shutil.copytree(base.path, witness, copy_function=os.link)

    def killed(writer, skip_bad):
        raise KeyboardInterrupt

    with monkeypatch.context() as kill:
        kill.setattr(partial.PartialStore, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            append(base.path, [other.path])
    lent = base.path.with_name("base.partial") / "s2" / "00001.npy"
    content = bytearray(lent.read_bytes())
    content[-1] ^= 1
    lent.unlink()
    lent.write_bytes(content)  # what was taken by its file is damaged: all from here on is read again
    holds_the_same(append(base.path, [other.path]), merged, np.arange(len(merged)))
    assert all((witness / path).read_bytes() == content for path, content in before.items())


def test_appending_what_is_there_changes_nothing(tmp_path):
    store = packed(tmp_path, "a")
    part = subset(store.path, tmp_path / "part", ids=["a_1"])
    assert append(store.path, [part.path], skip_identical=True).fingerprint == store.fingerprint


class Killed(BaseException):
    """Stands for a kill: no handler of the code sees it."""


@pytest.mark.parametrize("step", ["append", "finish", "move_into_place", "clear_up"])
def test_a_kill_leaves_the_old_or_the_new_store(tmp_path, monkeypatch, step):
    first, second = packed(tmp_path, "a"), packed(tmp_path, "b", seed=1)
    owner = {"move_into_place": packing, "clear_up": placing}.get(step, partial.PartialStore)
    original = getattr(owner, step)

    def kill(*args):
        if step != "clear_up" or (args[0] / placing.JOURNAL_FILE).exists():  # the new store has its name
            raise Killed
        original(*args)

    with monkeypatch.context() as patched:
        patched.setattr(owner, step, kill)
        with pytest.raises(Killed):
            append(first.path, [second.path])
    left = open_store(first.path)
    assert len(left) == (10 if step == "clear_up" else 5)
    assert left.verify() == []
    grown = append(first.path, [second.path])
    assert (len(grown), grown.verify()) == (10, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    third = packed(tmp_path, "c")
    assert len(append(first.path, [third.path])) == 15
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_where_the_system_swaps_no_folders_a_store_is_replaced_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(placing, "exchange", lambda first, second: False)
    first, second = packed(tmp_path, "a"), packed(tmp_path, "b", seed=1)
    assert len(append(first.path, [second.path])) == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_store_is_not_written_onto_itself(whole, tmp_path):
    with pytest.raises(UsageError, match="is the store that is read"):
        subset(whole.path, whole.path)
    with pytest.raises(UsageError, match="is one of the stores"):
        merge([whole.path, whole.path], whole.path)


def test_the_store_says_where_it_came_from(whole, tmp_path):
    part = subset(whole.path, tmp_path / "part", where=["split=test"], count=2, seed=4)
    said = json.loads((part.path / "store.json").read_text())["provenance"]
    assert said["operation"] == "subset"
    assert said["selection"] == {"where": ["split=test"], "count": 2, "seed": 4}
    assert said["of"]["fingerprint"] == whole.fingerprint

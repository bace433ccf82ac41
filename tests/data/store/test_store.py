"""The packed store: what is packed is what is read, and damage is found."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eofuse.data.store import Window, open_store, partial
from eofuse.data.store.pack import pack_source
from eofuse.errors import DataError, UsageError
from fake_source import FakeSource


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    source = FakeSource(patches=23, absent={"s1": {0, 7}})
    return pack_source(source, tmp_path_factory.mktemp("store") / "fake.store", workers=1)


@settings(max_examples=30)
@given(rows=st.lists(st.integers(0, 22), min_size=1, max_size=9))
def test_a_batch_holds_the_packed_values_in_the_order_asked_for(store, rows):
    source = FakeSource(patches=23, absent={"s1": {0, 7}})
    batch = store.read("s2", rows)
    assert batch.dtype == np.uint16
    np.testing.assert_array_equal(batch, np.stack([source.read(row)["s2"] for row in rows]))


def test_backscatter_keeps_its_decimals(store):
    expected = FakeSource(patches=23).read(3)["s1"]
    assert store.read("s1", [3]).dtype == np.float32
    np.testing.assert_array_equal(store.read("s1", [3])[0], expected)


def test_a_read_fills_the_buffer_that_is_given(store):
    buffer = np.empty((2, 1, 16, 16), dtype=np.int16)
    assert store.read("elevation", [5, 1], buffer) is buffer
    np.testing.assert_array_equal(buffer, store.read("elevation", [5, 1]))


@settings(max_examples=20)
@given(size=st.integers(1, 16), channels=st.lists(st.integers(0, 11), min_size=1, max_size=5, unique=True))
def test_channels_and_window_select_from_the_whole_patch(store, size, channels):
    window = Window.centred(size, store.patch_size)
    whole = store.read("s2", [4, 2])
    part = store.read("s2", [4, 2], channels=channels, window=window)
    rows, columns = slice(window.top, window.top + size), slice(window.left, window.left + size)
    np.testing.assert_array_equal(part, whole[:, channels, rows, columns])


def test_a_window_larger_than_the_patch_is_refused(store):
    with pytest.raises(UsageError, match="17 pixels does not fit patches of 16"):
        Window.centred(17, store.patch_size)


def test_vectors_and_categories_come_from_the_index(store):
    assert store.read("season", [1, 2]).shape == (2, 2)
    assert set(store.read("climate_zone", np.arange(23)).tolist()) <= {15, 26}


def test_absent_patches_are_known(store):
    assert np.flatnonzero(~store.present("s1")).tolist() == [0, 7]


def test_an_unknown_patch_names_the_nearest(store):
    with pytest.raises(UsageError, match="did you mean 'patch_1"):
        store.row_of("patch_1x")


def test_an_unknown_modality_names_the_nearest(store):
    with pytest.raises(UsageError, match="did you mean 'elevation'"):
        store.read("elevatoin", [0])


def test_rows_cross_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(partial, "SHARD_BYTES", 5 * 12 * 16 * 16 * 2 + 200)
    small = pack_source(FakeSource(patches=23), tmp_path / "small.store", workers=1)
    assert len(list((small.path / "s2").iterdir())) == 5
    source = FakeSource(patches=23)
    np.testing.assert_array_equal(
        small.read("s2", [22, 4, 5]), np.stack([source.read(row)["s2"] for row in (22, 4, 5)])
    )


def test_a_shard_is_a_plain_npy_file(store):
    array = np.load(store.path / "s2" / "00000.npy")
    assert array.shape == (23, 12, 16, 16)


def test_a_store_can_be_sent_to_another_process(store):
    copy = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(copy.read("s2", [3]), store.read("s2", [3]))


def test_verify_is_silent_on_a_good_store(store):
    assert store.verify() == []


@pytest.mark.parametrize("file", ["s2/00000.npy", "index.parquet"])
def test_verify_finds_a_flipped_bit(tmp_path, file):
    damaged = pack_source(FakeSource(patches=7), tmp_path / "fake.store", workers=1)
    path = damaged.path / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert [problem.where for problem in damaged.verify()] == [file]


def test_verify_finds_a_missing_file(tmp_path):
    damaged = pack_source(FakeSource(patches=7), tmp_path / "fake.store", workers=1)
    (damaged.path / "s1" / "00000.npy").unlink()
    assert "is missing" in damaged.verify()[0].what


def test_a_folder_that_is_no_store_says_how_to_make_one(tmp_path):
    with pytest.raises(DataError, match="eofuse pack"):
        open_store(tmp_path)


def test_a_newer_schema_is_not_read(tmp_path):
    path = pack_source(FakeSource(patches=7), tmp_path / "fake.store", workers=1).path
    description = json.loads((path / "store.json").read_text())
    (path / "store.json").write_text(json.dumps({**description, "schema_version": 99}))
    with pytest.raises(DataError, match="schema version 99"):
        open_store(path)


def test_a_damaged_description_is_one_clear_error(tmp_path):
    path = pack_source(FakeSource(patches=7), tmp_path / "fake.store", workers=1).path
    (path / "store.json").write_text("{")
    with pytest.raises(DataError, match="can't be read"):
        open_store(path)

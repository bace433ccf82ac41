"""What a process shares between runs: the store that it opened last, what it prepared, and digests that other processes computed."""

import os

import numpy as np
import pytest

from eofuse.cache import recall, remember
from eofuse.config import merge, parse_options
from eofuse.data.splits import identity
from eofuse.data.store import STORE_FILE, integrity, open_store, shared_store
from eofuse.errors import DataError
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import model_spec
from eofuse.learning.sharing import prepare_once


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Files count as old."""
    monkeypatch.setattr(integrity, "YOUNG_NS", -(10**12))


@pytest.fixture
def store(planted_store):
    """The planted one."""
    return open_store(planted_store.path)


def of_store(store, **changes):
    values = {
        "data": {"store": str(store.path)},
        "inputs": ["s1"],
        "split": {"protocol": "random"},
        "task": {"target": "label"},
    }
    return parse_options(RunOptions, merge(values, changes))


def test_a_store_is_shared_until_its_files_change(store):
    first = shared_store(store.path)
    assert shared_store(store.path) is first
    assert open_store(store.path) is not first
    os.utime(store.path / STORE_FILE)
    assert shared_store(store.path) is not first


def test_the_arrays_of_a_shared_store_are_compared_each_time(store, monkeypatch):
    shared_store(store.path)
    monkeypatch.setattr(
        "eofuse.data.store.opening.wrong_arrays", lambda store: [*integrity.wrong_arrays(store), PROBLEM]
    )
    with pytest.raises(DataError, match="is damaged"):
        shared_store(store.path)


PROBLEM = integrity.Problem("error", "is damaged", "s1/00000.npy", fix="")


def test_runs_that_differ_in_their_training_alone_share_what_is_prepared(store):
    prepared = prepare_once(store, of_store(store))
    assert prepare_once(store, of_store(store, seed=1, train={"learning_rate": 0.1})) is prepared
    assert prepare_once(store, of_store(store, inputs=["s2"])) is not prepared
    assert prepare_once(store, of_store(store, split={"split_seed": 1})) is not prepared


def test_statistics_are_measured_once_for_the_same_patches(store, monkeypatch):
    prepared, options = prepare_once(store, of_store(store)), of_store(store)
    spec = model_spec(prepared, options)
    monkeypatch.setattr("eofuse.learning.preparation.training_statistics", None)
    assert model_spec(prepared, options).statistics == spec.statistics
    with pytest.raises(TypeError):
        model_spec(prepared.with_validation(), options)


def test_digests_are_read_from_the_cache_and_computed_again_where_it_is_damaged(store, monkeypatch):
    monkeypatch.setattr(identity, "MANY", 1)
    clear = identity._begun.cache_clear
    clear()
    expected = identity.identities(store, ["s1"])
    file = identity._file(store, "s1")
    clear()
    with monkeypatch.context() as patch:
        patch.setattr(identity, "_looked_at", None)
        np.testing.assert_array_equal(identity.identities(store, ["s1"]).values["s1"], expected.values["s1"])
    file.write_bytes(file.read_bytes()[:-30])
    clear()
    np.testing.assert_array_equal(identity.identities(store, ["s1"]).values["s1"], expected.values["s1"])
    clear()


def test_arrays_of_another_length_are_not_recalled(tmp_path):
    remember(tmp_path / "kept.npz", np.arange(3))
    np.testing.assert_array_equal(recall(tmp_path / "kept.npz", 3)[0], np.arange(3))
    assert recall(tmp_path / "kept.npz", 4) is None


def test_enough_different_values_are_counted_as_numpy_does():
    values = np.random.default_rng(0).integers(0, 30, (40, 70)).astype(np.float32)
    values[values == 3] = np.nan
    values[:9] //= 4
    expected = [len(np.unique(row)) >= identity.FEWEST_VALUES for row in values]
    assert 0 < sum(expected) < 40
    np.testing.assert_array_equal(identity._differ(list(values)), expected)

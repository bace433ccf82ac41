"""Batches: pure in seed and step, aligned with the store, balanced if asked."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eofuse.data.card.statistics import channel_moments
from eofuse.data.loading import Loader, balancing_weights, in_order, read_ahead, sampled_rows, shuffled_rows
from eofuse.data.store.pack import pack_source
from eofuse.data.targets import make_target
from eofuse.errors import UsageError
from fake_source import FakeSource


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    source = FakeSource(patches=30, absent={"s1": {0, 7}})
    return pack_source(source, tmp_path_factory.mktemp("loading") / "fake.store", workers=1)


@given(count=st.integers(1, 50), batch_size=st.integers(1, 20), seed=st.integers(0, 99), step=st.integers(0, 200))
def test_the_rows_of_a_step_are_a_function_of_seed_and_step(count, batch_size, seed, step):
    rows = np.arange(count) * 3
    first, again = (shuffled_rows(rows, batch_size, seed, step) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert len(first) == batch_size


@given(count=st.integers(1, 40), batch_size=st.integers(1, 13), seed=st.integers(0, 99))
def test_an_epoch_shows_every_patch_once(count, batch_size, seed):
    steps = -(-count // batch_size)
    seen = np.concatenate([shuffled_rows(np.arange(count), batch_size, seed, step) for step in range(steps)])[:count]
    assert sorted(seen.tolist()) == list(range(count))


def test_epochs_and_seeds_differ_in_order():
    rows = np.arange(100)
    first = shuffled_rows(rows, 100, 0, 0)
    assert not np.array_equal(first, rows)
    assert not np.array_equal(first, shuffled_rows(rows, 100, 0, 1))
    assert not np.array_equal(first, shuffled_rows(rows, 100, 1, 0))


def test_a_batch_has_inputs_presence_targets_and_what_is_known(store):
    loader = Loader(store, {"s2": None, "s1": ["VH"], "season": None}, {"label": make_target(store, "label")})
    batch = loader.read(np.array([7, 3]))
    assert batch.inputs["s2"].dtype == torch.uint16
    assert {name: tuple(values.shape) for name, values in batch.inputs.items()} == {
        "s2": (2, 12, 16, 16),
        "s1": (2, 1, 16, 16),
        "season": (2, 2),
    }
    assert batch.present["s1"].tolist() == [False, True]
    assert batch.targets["label"].tolist() == store.index["label"].iloc[[7, 3]].tolist()
    assert batch.valid["label"].tolist() == [True, True]
    assert batch.known is batch.valid  # its old name


def test_channels_are_chosen_by_name(store):
    batch = Loader(store, {"s2": ["B04", "B2"]}).read(np.array([5]))
    np.testing.assert_array_equal(batch.inputs["s2"].numpy(), store.read("s2", [5])[:, [3, 1]])


def test_a_crop_is_the_middle_of_the_patch(store):
    batch = Loader(store, {"elevation": None}, crop=8).read(np.array([5]))
    np.testing.assert_array_equal(batch.inputs["elevation"].numpy(), store.read("elevation", [5])[:, :, 4:12, 4:12])


def test_an_unknown_modality_is_misuse(store):
    with pytest.raises(UsageError, match="unknown modality 's3'"):
        Loader(store, {"s3": None})


def test_batches_read_ahead_are_those_read_one_by_one(store):
    rows = in_order(np.arange(30), 4)
    ahead = [batch.inputs["s2"].clone() for batch in Loader(store, {"s2": None}).batches(rows)]
    np.testing.assert_array_equal(torch.cat(ahead).numpy(), store.read("s2", np.arange(30)))


def test_an_error_while_reading_ahead_is_raised():
    with pytest.raises(ZeroDivisionError):
        list(read_ahead(lambda divisor: 1 / divisor, [1, 0]))


def test_balanced_sampling_shows_rare_classes_as_often(store):
    target = make_target(store, "label")
    rows = np.concatenate([np.flatnonzero(target.values == 0), np.flatnonzero(target.values == 1)[:2]])
    drawn = np.concatenate([sampled_rows(rows, balancing_weights(target, rows), 50, 0, step) for step in range(20)])
    assert 0.4 < target.values[drawn].mean() < 0.6


def test_moments_are_in_physical_units_and_of_the_given_rows_only(store):
    rows = np.array([0, 1, 2, 3])
    loader = Loader(store, {"s2": None, "s1": None, "season": None, "climate_zone": None})
    moments = channel_moments(loader, rows)
    reflectance = store.read("s2", rows) * 1e-4
    np.testing.assert_allclose(moments["s2"].mean, reflectance.mean(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(moments["s2"].std, reflectance.std(axis=(0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(moments["season"].mean, store.read("season", rows).mean(axis=0), rtol=1e-6)
    assert "climate_zone" not in moments


def test_moments_leave_out_patches_without_the_modality(store):
    moments = channel_moments(Loader(store, {"s1": None}), np.array([0, 1, 7]))
    assert moments["s1"].patches == 1
    np.testing.assert_allclose(moments["s1"].mean, store.read("s1", [1]).mean(axis=(0, 2, 3)), rtol=1e-5)


def test_weighted_draws_are_those_of_numpy():
    weights = np.random.default_rng(3).random(50)
    expected = np.random.default_rng([7, 4, 2]).choice(np.arange(50), size=9, p=weights / weights.sum())
    np.testing.assert_array_equal(sampled_rows(np.arange(50), weights, 9, 7, 4), expected)

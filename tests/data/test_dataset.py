"""A store as samples and as a PyTorch dataset."""

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from eofuse.data.splits import SplitOptions, make_split
from eofuse.errors import DataError, UsageError


def test_a_patch_is_a_flat_sample_in_native_values(planted_store):
    sample = planted_store[3]
    np.testing.assert_array_equal(sample["s2"], planted_store.read("s2", [3])[0])
    assert sample["s2"].dtype == np.uint16
    assert sample["present"]["s2"] is True
    assert sample["patch_id"] == planted_store.index["patch_id"][3]
    assert sample["lon"] == planted_store.index["lon"][3]


def test_a_patch_is_found_by_its_id_and_from_the_end(planted_store):
    last = planted_store.index["patch_id"].iloc[-1]
    assert planted_store[last]["row"] == planted_store[-1]["row"] == len(planted_store) - 1


def test_a_wrong_id_or_row_is_refused(planted_store):
    with pytest.raises(UsageError, match="no patch 'patch_1x'; did you mean"):
        planted_store["patch_1x"]
    with pytest.raises(IndexError, match=r"has \d+ patches: no row"):
        planted_store[len(planted_store)]


def test_batches_hold_the_patches_of_the_part_with_their_target(planted_store):
    dataset = planted_store.dataset(inputs={"s1": None, "s2": ["B04", "B03"]}, target="label", part="train")
    expected = make_split(planted_store.index, SplitOptions()).train
    assert dataset.rows.tolist() == expected.tolist()
    batches = list(dataset.loader(batch_size=16))
    assert torch.cat([batch["row"] for batch in batches]).tolist() == expected.tolist()
    assert batches[0]["s2"].shape == (16, 2, 16, 16)
    channels = [planted_store.modality("s2").channel_index(name) for name in ("B04", "B03")]
    np.testing.assert_array_equal(batches[0]["s2"], planted_store.read("s2", expected[:16], channels=channels))
    labels = [dataset.classes[number] for number in batches[0]["target"].tolist()]
    assert labels == planted_store.index["label"].iloc[expected[:16]].astype(str).tolist()


def test_another_split_gives_another_part(planted_store):
    dataset = planted_store.dataset(part="test", split={"split_seed": 1})
    assert dataset.rows.tolist() == make_split(planted_store.index, SplitOptions(split_seed=1)).test.tolist()


def test_a_batch_is_read_in_one_pass_a_modality(planted_store, monkeypatch):
    dataset = planted_store.dataset(inputs=["s1", "s2"])
    calls, read = [], type(planted_store).read
    monkeypatch.setattr(
        type(planted_store), "read", lambda *args, **options: calls.append(args[1]) or read(*args, **options)
    )
    next(iter(dataset.loader(batch_size=32)))
    assert calls == ["s1", "s2"]


def test_the_default_collate_function_gives_the_same_batch(planted_store):
    dataset = planted_store.dataset(inputs=["s2"], target="label")
    own, default = next(iter(dataset.loader(8))), next(iter(DataLoader(dataset, 8)))
    assert own.keys() == default.keys()
    torch.testing.assert_close(own["s2"], default["s2"])
    torch.testing.assert_close(own["present"]["s2"], default["present"]["s2"])
    assert list(own["patch_id"]) == list(default["patch_id"])


def test_a_dataset_can_go_to_a_worker_process(planted_store):
    dataset = planted_store.dataset(inputs=["s1"], target="label")
    copy = pickle.loads(pickle.dumps(dataset))
    torch.testing.assert_close(copy[5]["s1"], dataset[5]["s1"])


def test_rows_can_be_chosen(planted_store):
    assert planted_store.dataset(rows=[5, 2])[0]["row"] == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": ["sentinel2"]}, "unknown modality"),
        ({"part": "tests"}, "did you mean 'test'"),
        ({"target": "labl"}, "did you mean 'label'"),
        ({"split": {"protocol": "random"}}, "a split without a part"),
        ({"part": "test", "split": {"sead": 1}}, "sead"),
        ({"rows": [1], "part": "test"}, "leave one of them out"),
    ],
)
def test_what_a_dataset_can_not_give_is_explained(planted_store, options, message):
    with pytest.raises(UsageError, match=message):
        planted_store.dataset(**options)


def test_a_dataset_without_patches_is_refused(planted_store):
    with pytest.raises(DataError, match="no patch is left"):
        planted_store.dataset(rows=[])

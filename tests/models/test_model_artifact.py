"""Saved models: whole, or refused with a reason."""

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from eofuse.errors import DataError
from eofuse.files import sha256
from eofuse.modalities import SEASON, SENTINEL1
from eofuse.models.artifact import DESCRIPTION, WEIGHTS, load_model, save_model
from eofuse.models.model import build_model
from eofuse.records import SEAL, sealed

MODALITIES = (SENTINEL1, SEASON)


@pytest.fixture
def folder(make_spec, tmp_path):
    return save_model(build_model(make_spec(MODALITIES), seed=0), tmp_path / "model")


def rewrite(folder, **change):
    path = folder / DESCRIPTION
    path.write_text(json.dumps(sealed({**json.loads(path.read_text()), **change})))


def test_a_model_is_two_files_and_nothing_is_left_over(folder):
    assert sorted(path.name for path in folder.iterdir()) == [DESCRIPTION, WEIGHTS]


def test_a_loaded_model_is_in_evaluation_mode(folder):
    assert not load_model(folder).training


def test_saving_again_replaces_the_model(folder, make_spec, make_inputs):
    other = build_model(make_spec(MODALITIES, strategy="late"), seed=5)
    save_model(other, folder)
    inputs = make_inputs(MODALITIES)
    assert torch.equal(load_model(folder).predict(inputs)["zone"], other.predict(inputs)["zone"])


def test_loading_leaves_the_random_state_alone(folder):
    torch.manual_seed(2)
    expected = torch.rand(3)
    torch.manual_seed(2)
    load_model(folder)
    assert torch.equal(torch.rand(3), expected)


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match="No such file or directory; name the folder of a saved model"):
        load_model(tmp_path / "nowhere")


def test_missing_weights_are_an_error(folder):
    (folder / WEIGHTS).unlink()
    with pytest.raises(DataError, match=WEIGHTS):
        load_model(folder)


@pytest.mark.parametrize("position", [0, 20, 5000, -1])
def test_one_wrong_byte_is_noticed(folder, position):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[position] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(DataError, match=r"is not the file that model\.json describes"):
        load_model(folder)


def test_cut_off_weights_are_noticed_even_with_the_right_digest(folder):
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:1000])
    rewrite(folder, weights_sha256=sha256(folder / WEIGHTS))
    with pytest.raises(DataError, match="is damaged"):
        load_model(folder)


def test_a_pickle_is_not_loaded(folder, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    (folder / WEIGHTS).write_bytes(pickle.dumps(Trap()))
    rewrite(folder, weights_sha256=sha256(folder / WEIGHTS))
    with pytest.raises(DataError, match="is damaged"):
        load_model(folder)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("change", ["missing", "shape"])
def test_weights_of_another_model_are_refused(folder, change):
    weights = load_file(folder / WEIGHTS)
    name = next(name for name in weights if name.endswith("weight"))
    weight = weights.pop(name)
    if change == "shape":
        weights[name] = torch.zeros(*weight.shape, 2)
    save_file(weights, folder / WEIGHTS)
    rewrite(folder, weights_sha256=sha256(folder / WEIGHTS))
    with pytest.raises(DataError, match=r"does not fit model\.json"):
        load_model(folder)


def test_a_changed_number_in_the_description_is_noticed(folder):
    path = folder / DESCRIPTION
    values = json.loads(path.read_text())
    values["spec"]["patch_size"][0] += 1
    path.write_text(json.dumps(values))
    with pytest.raises(DataError, match=r"model\.json: has changed since it was written"):
        load_model(folder)


def test_a_description_of_an_older_version_holds_no_digest_and_is_read(folder):
    path = folder / DESCRIPTION
    values = json.loads(path.read_text())
    del values[SEAL]
    path.write_text(json.dumps(values))
    load_model(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "other"}'])
def test_a_foreign_description_is_refused(folder, text):
    (folder / DESCRIPTION).write_text(text)
    with pytest.raises(DataError, match=DESCRIPTION):
        load_model(folder)


def test_a_later_format_is_refused_with_its_version(folder):
    rewrite(folder, version=99)
    with pytest.raises(DataError, match="has the format version 99; this eofuse reads 1"):
        load_model(folder)


@pytest.mark.parametrize("key", ["modalities", "fusion", "heads", "statistics", "patch_size"])
@pytest.mark.parametrize("value", [None, 3, "x", [1], {"x": 1}])
def test_a_damaged_specification_is_refused(folder, key, value):
    spec = json.loads((folder / DESCRIPTION).read_text())["spec"]
    rewrite(folder, spec={**spec, key: value})
    with pytest.raises(DataError, match=DESCRIPTION):
        load_model(folder)


def test_a_description_that_is_not_text_is_refused(folder):
    (folder / DESCRIPTION).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="is not JSON"):
        load_model(folder)

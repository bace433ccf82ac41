"""A fusion strategy, an encoder and a pretraining method of another package are wherever those of eofuse are."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from eofuse import recipe as recipes
from eofuse.config import merge, parse_options
from eofuse.errors import UsageError
from eofuse.inference.predict import predict_store
from eofuse.learning.pretraining import METHODS, PretrainingOptions
from eofuse.models.encoders import ENCODERS
from eofuse.models.fusion import FUSIONS, FusionOptions
from eofuse.models.model import build_model

pytestmark = pytest.mark.usefixtures("plugin")


@pytest.fixture
def values(planted_store) -> dict:
    """A run with the strategy and the encoder from outside."""
    return {
        "data": {"store": str(planted_store.path)},
        "inputs": ["s1", "s2", "season"],
        "split": {"fractions": [0.5, 0.2, 0.3]},
        "task": {"target": "label"},
        "fusion": {"strategy": "example_mean", "joint_width": 8, "encoder": "example_pair"},
        "train": {"steps": 4, "batch_size": 8, "evaluations": 2},
    }


@pytest.fixture
def pretraining(values) -> dict:
    """A pretraining with the method from outside, too."""
    del values["task"]
    return values | {"pretrain": {"method": "example_centred", "keep": 0.5}}


class Interrupted(BaseException):
    """Stands for a kill."""


def stop(done, total, words):
    if done == 3:
        raise Interrupted


def test_its_things_are_in_the_registries():
    for registry, name in ((FUSIONS, "example_mean"), (ENCODERS, "example_pair"), (METHODS, "example_centred")):
        assert registry.package_of(name) == "example_plugin"


def test_a_process_that_is_started_has_them():
    code = "from eofuse.evaluation.metrics import METRICS; assert 'class_distance' in METRICS"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_its_options_are_its_own():
    options = parse_options(FusionOptions, {"strategy": "example_mean"})
    assert options.model_dump()["joint_width"] == 16
    assert "joint_width" not in FusionOptions(strategy="late").model_dump()
    assert parse_options(FusionOptions, {"strategy": "late", "joint_width": 16}) == FusionOptions(strategy="late")
    with pytest.raises(UsageError, match="'joint_width' is for example_mean, not for late"):
        parse_options(FusionOptions, {"strategy": "late", "joint_width": 8})
    with pytest.raises(UsageError, match="unknown key; did you mean 'joint_width'"):
        parse_options(FusionOptions, {"strategy": "example_mean", "joint_widht": 8})


def check_encoder_of_several(model, store):
    """It takes physical units, the patches that have one of its modalities, and nothing of what they lack."""
    inputs = {name: torch.from_numpy(store.read(name, np.arange(6))) for name in ("s1", "s2", "season")}
    encoder = model.fusion.encoders["s1+s2"]
    (optical,) = [each for each in encoder.modalities if each.name == "s2"]
    reflectance = encoder.physical(optical, model.normaliser(inputs)["s2"])
    torch.testing.assert_close(reflectance, inputs["s2"].float() * optical.scale, atol=1e-5, rtol=1e-5)
    fusion = model.spec.fusion.model_copy(update={"missing": "token"})
    tolerant = build_model(replace(model.spec, fusion=fusion), seed=0)
    present = {name: torch.arange(6) > count for name, count in (("s1", 2), ("s2", 0), ("season", 4))}
    before = tolerant.predict(inputs, present)["label"]
    inputs["s1"][:3], inputs["s2"][:1], inputs["season"][:5] = 7, 7, 7
    assert torch.equal(tolerant.predict(inputs, present)["label"], before)


def test_a_run_is_trained_resumed_and_loaded_and_another_starts_from_it(values, planted_store, tmp_path):
    whole = recipes.train(values, to=tmp_path / "whole")
    with pytest.raises(Interrupted):
        recipes.train(values, to=tmp_path / "again", overrides=["train.checkpoint_minutes=1e-9"], progress=stop)
    again = recipes.resume(tmp_path / "again")
    assert (again.folder / "losses.csv").read_bytes() == (whole.folder / "losses.csv").read_bytes()
    assert list(again.model().fusion.encoders) == ["s1+s2", "season"]
    found, expected = (predict_store(run.folder / "model", planted_store) for run in (again, whole))
    pd.testing.assert_frame_equal(found, expected)
    with pytest.raises(UsageError, match="unknown modality 's3'"):
        recipes.train(merge(values, {"fusion": {"encoders": {"s3": "resnet18"}}}), to=tmp_path / "wrong")
    check_encoder_of_several(again.model(), planted_store)
    start = {"start": {"from": str(whole.folder), "mode": "layer_decay"}, "fusion": {"joint_width": 12}}
    started = recipes.train(merge(values, start), to=tmp_path / "started")
    table = pd.read_csv(started.folder / "transfer.csv")
    loaded = table[table["status"] == "loaded"]
    assert set(loaded["part"]) == {"encoders.s1+s2", "encoders.season", "normalisation"}


def test_a_pretraining_is_resumed_with_what_it_remembers_and_a_run_starts_from_it(pretraining, values, tmp_path):
    whole = recipes.pretrain(pretraining, to=tmp_path / "whole")
    with pytest.raises(Interrupted):
        recipes.pretrain(pretraining, to=tmp_path / "again", overrides=["train.checkpoint_minutes=1e-9"], progress=stop)
    again = recipes.resume(tmp_path / "again")
    modules = [torch.load(run.folder / "checkpoint.pt")["module"] for run in (whole, again)]
    assert modules[0]["centre"].any()
    assert all(torch.equal(tensor, modules[1][name]) for name, tensor in modules[0].items())
    start = {"task": {"target": "label"}, "start": {"from": str(whole.folder)}, "train": {"steps": 1}}
    values = {key: value for key, value in values.items() if key != "pretrain"}
    table = pd.read_csv(recipes.train(merge(values, start), to=tmp_path / "run").folder / "transfer.csv")
    assert {"encoders.s1+s2", "projections"} <= set(table.loc[table["status"] == "loaded", "part"])
    options = parse_options(PretrainingOptions, pretraining)
    assert options.pretrain.model_dump()["keep"] == 0.5


def test_its_encoder_starts_from_a_file_of_weights_that_it_knows(values, tmp_path):
    first = recipes.train(values, to=tmp_path / "first", overrides=["train.steps=1", "train.evaluations=1"]).model()
    path = next(name for name, module in first.named_modules() if getattr(module, "name", "") == "example_pair")
    weights = first.get_submodule(path).state_dict()
    save_file({f"encoder.{name}": tensor for name, tensor in weights.items()}, tmp_path / "weights.safetensors")
    start = {"start": {"from": str(tmp_path / "weights.safetensors"), "mode": "linear_probe"}, "seed": 1}
    run = recipes.train(merge(values, start), to=tmp_path / "run")
    table = pd.read_csv(run.folder / "transfer.csv")
    assert set(table.loc[table["status"] == "loaded", "tensor"]) == {f"{path}.{name}" for name in weights}
    assert all(
        torch.equal(tensor, weights[name]) for name, tensor in run.model().get_submodule(path).state_dict().items()
    )


def test_a_file_that_no_encoder_takes_is_one_clear_error(values, tmp_path):
    save_file({"other": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match=r"no encoder of the model takes weights of a file: example_pair, perceptron"):
        recipes.train(merge(values, {"start": {"from": str(tmp_path / "other.safetensors")}}), to=tmp_path / "run")


def test_an_unknown_encoder_names_it_too(values, tmp_path):
    with pytest.raises(UsageError, match=r"unknown encoder 'example_pear'; the nearest names: example_pair.*besides"):
        recipes.train(merge(values, {"fusion": {"encoder": "example_pear"}}), to=tmp_path / "run")

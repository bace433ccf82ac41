"""Runs that start from trained weights: they say what they took, learn what the mode lets learn, and resume to the same bits."""

import copy
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from eofuse import recipe as recipes
from eofuse.cli import main
from eofuse.config import merge, parse_options, write_yaml
from eofuse.data.store import open_store
from eofuse.errors import DataError, UsageError
from eofuse.kinds import SINGLE_LABEL
from eofuse.learning.fine_tuning import FineTuning
from eofuse.learning.loop import TrainOptions, make_optimizer
from eofuse.learning.options import RunOptions
from eofuse.learning.run import open_run
from eofuse.learning.transfer import StartOptions, read_transfer, start_from, summarise_transfer
from eofuse.modalities import SEASON, SENTINEL1, SENTINEL2
from eofuse.models.artifact import load_model, save_model
from eofuse.models.fusion import FusionOptions
from eofuse.models.lora import LowRank, merged
from eofuse.models.model import HeadSpec, Model, ModelSpec, build_model, example_inputs
from eofuse.models.normalisation import ChannelStatistics
from eofuse.models.pretrained import map_weights
from eofuse.models.pretrained.source import model_source
from eofuse.studies.grid import final_cells
from eofuse.studies.plan import plan_study
from eofuse.studies.steps import CellFolders

MODES = {
    "full": {},
    "linear_probe": {},
    "layer_decay": {"decay": 0.5},
    "unfreeze": {"unfrozen_at": 0.8},
    "lora": {"rank": 2},
}


def small(modalities=(SENTINEL1,), seed=0, strategy="single", encoder="test_resnet", heads=None) -> Model:
    statistics = ChannelStatistics(
        {modality.name: [0.2] * len(modality.channels) for modality in modalities},
        {modality.name: [0.7] * len(modality.channels) for modality in modalities},
    )
    fusion = FusionOptions(strategy=strategy, encoder=encoder)
    return build_model(ModelSpec(tuple(modalities), fusion, heads or {}, statistics, (16, 16)), seed=seed)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """Folders of saved models without heads, by the name of their encoder."""
    folder = tmp_path_factory.mktemp("pretrained")
    for encoder in ("test_resnet", "test_vit"):
        save_model(small(seed=7, encoder=encoder), folder / encoder / "model")
    return folder


@pytest.fixture
def make_recipe(recipe, pretrained):
    """The small run, started from a saved model in some mode."""

    def make(mode="full", encoder="test_resnet", **start) -> dict:
        change = {
            "start": {"from": str(pretrained / encoder), "mode": mode, **MODES[mode], **start},
            "fusion": {"encoder": encoder},
            "train": {"steps": 4, "batch_size": 8, "evaluations": 2},
        }
        return merge(recipe, change)

    return make


def encoder_of(mode: str) -> str:
    return "test_vit" if mode == "lora" else "test_resnet"


def outcome(folder) -> dict[str, bytes]:
    names = ["model/model.safetensors", "model/model.json", "losses.csv", "evaluations.csv", "transfer.csv"]
    return {name: (folder / name).read_bytes() for name in names}


class Interrupted(BaseException):
    """Stands for a kill at some step."""


@pytest.mark.parametrize("mode", MODES)
def test_an_interrupted_run_goes_on_to_the_same_bits_without_the_weights(make_recipe, pretrained, tmp_path, mode):
    """Interrupted twice, before the first checkpoint and behind one."""
    source = shutil.copytree(pretrained / encoder_of(mode), tmp_path / "source")
    values = merge(make_recipe(mode, encoder_of(mode)), {"start": {"from": str(source)}})
    whole = recipes.train(values, to=tmp_path / "whole")

    def stopping(at):
        def stop(done, total, words):
            if done == at:
                raise Interrupted

        return stop

    with pytest.raises(Interrupted):
        recipes.train(values, to=tmp_path / "again", progress=stopping(1))
    shutil.rmtree(source)
    with pytest.raises(Interrupted):
        recipes.resume(tmp_path / "again", stopping(3))
    again = recipes.resume(tmp_path / "again")
    assert outcome(again.folder) == outcome(whole.folder)
    assert not (again.folder / "start").exists()


def test_a_run_does_not_go_on_when_its_weights_have_changed(make_recipe, pretrained, tmp_path):
    def stop(done, total, words):
        raise Interrupted

    source = shutil.copytree(pretrained / "test_resnet", tmp_path / "source")
    values = merge(make_recipe(), {"start": {"from": str(source)}})
    with pytest.raises(Interrupted):
        recipes.train(values, to=tmp_path / "run", progress=stop)
    save_model(small(seed=8), source / "model")
    for go_on in (lambda: recipes.resume(tmp_path / "run"), lambda: recipes.train(values, to=tmp_path / "run")):
        with pytest.raises(DataError, match="the weights are not those with which this run began; start a new run"):
            go_on()


def test_other_weights_at_the_same_place_make_another_run_and_another_cell(make_recipe, pretrained, tmp_path):
    source = shutil.copytree(pretrained / "test_resnet", tmp_path / "source")
    values = merge(make_recipe(), {"start": {"from": str(source)}})
    options = parse_options(RunOptions, values)
    study = {
        "baseline": "scratch",
        "seeds": [0],
        "controls": False,
        "variants": {"started": {}, "scratch": {"start": None}},
    }
    plan = plan_study({**values, "study": study})
    cells = final_cells(plan, dict.fromkeys(plan.keys, 0.001))

    def folders():
        run = recipes._default_folder(options, open_store(options.data.store))
        named = CellFolders(tmp_path, "data", "fingerprint").of
        return [run, *map(named, cells)]

    before = folders()
    assert folders() == before
    save_model(small(seed=8), source / "model")
    assert [one == other for one, other in zip(before, folders(), strict=True)] == [False, False, True]


def test_the_weights_are_those_that_were_trained_before_the_first_step(make_recipe, pretrained, tmp_path):
    values = merge(make_recipe("full"), {"train": {"learning_rate": 1e-30, "weight_decay": 0.0, "warmup": 0.0}})
    run = recipes.train(values, to=tmp_path / "run", overrides=["train.steps=1", "train.evaluations=1"])
    source, model = load_model(pretrained / "test_resnet" / "model"), run.model()
    for name, parameter in source.named_parameters():
        torch.testing.assert_close(model.get_parameter(name), parameter, rtol=0, atol=1e-20)
    assert model.spec.statistics.mean == source.spec.statistics.mean


def test_the_table_tells_and_the_command_prints_it(make_recipe, tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text(write_yaml(make_recipe("linear_probe")))
    assert main(["train", str(tmp_path / "recipe.yaml"), "--to", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr().out
    assert "What the run started from" in printed
    assert "head of label" in printed
    table = read_transfer(tmp_path / "run")
    assert list(table.columns) == ["part", "tensor", "source", "shape", "status", "note"]
    assert set(table["status"]) == {"loaded", "fresh"}
    assert set(table.loc[table["status"] == "fresh", "part"]) == {"head of label"}
    assert set(table["tensor"]) == set(open_run(tmp_path / "run").model().state_dict())


def test_a_run_folder_says_absolutely_what_it_started_from(make_recipe, pretrained, tmp_path, monkeypatch):
    monkeypatch.chdir(pretrained)
    values = merge(make_recipe("linear_probe"), {"start": {"from": "test_resnet"}})
    run = recipes.train(values, to=tmp_path / "run")
    assert run.options.start is not None
    assert run.options.start.source == str(pretrained / "test_resnet")
    assert recipes.train(values, to=tmp_path / "run").result == run.result


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"from": "nowhere"}, "there is no 'nowhere'"),
        ({"from": "timm:nonsense"}, "timm has no weights 'nonsense'"),
        ({"mode": "probe"}, r"start\.mode: 'probe' is not valid"),
        ({"form": "x"}, r"start\.form: unknown key; did you mean 'from'"),
        ({"mode": "lora"}, "has no attention layers"),
        ({"trunk": "s3"}, "no encoder of 's3'"),
        ({"mean": [1.0]}, "give mean and std"),
    ],
)
def test_misuse_is_found_before_a_folder_is_made(make_recipe, tmp_path, start, message):
    with pytest.raises(UsageError, match=message):
        recipes.train(merge(make_recipe(), {"start": start}), to=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_source_is_an_error(make_recipe, pretrained, tmp_path):
    damaged = shutil.copytree(pretrained / "test_resnet", tmp_path / "source")
    (damaged / "model" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match="is not the file"):
        recipes.train(merge(make_recipe(), {"start": {"from": str(damaged)}}), to=tmp_path / "run")


def test_the_options_survive_their_recipe():
    options = StartOptions(**{"from": "timm:resnet18", "mode": "lora", "rank": 3})
    assert parse_options(StartOptions, options.model_dump(mode="json")) == options
    assert "start" in RunOptions.model_fields


def started(
    mode, modalities=(SENTINEL1,), strategy="single", source_strategy=None, **options
) -> tuple[Model, FineTuning]:
    """A model with a head in some mode, started from one over Sentinel-1 and -2 or Sentinel-1."""
    encoder = encoder_of(mode)
    seen = [modality for modality in modalities if modality is not SEASON]
    source = small(seen, 7, source_strategy or strategy, encoder)
    model = small(modalities, 1, strategy, encoder, {"label": HeadSpec(SINGLE_LABEL, ("a", "b"))})
    rows = map_weights(model, model_source(source, "source"))
    table = pd.DataFrame([vars(row) for row in rows])
    return model, FineTuning(model, StartOptions(**{"from": "x", "mode": mode, **MODES[mode], **options}), table, 3)


def learn(model: Model, tuning: FineTuning, steps: int = 3) -> tuple[dict, dict]:
    """The state before and after a few steps."""
    before = copy.deepcopy(model.state_dict())
    optimizer = make_optimizer(model, TrainOptions(learning_rate=0.01), tuning)
    model.train()
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        tuning.set_step(step, steps)
        inputs = {
            name: torch.randint(1, 200, values.shape, generator=generator).to(values.dtype)
            for name, values in example_inputs(model.spec.modalities, (16, 16), 4).items()
        }
        model(inputs)["label"].square().sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return before, model.state_dict()


def test_a_linear_probe_changes_the_head_and_nothing_else():
    before, after = learn(*started("linear_probe"))
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert changed == {name for name in after if name.startswith("heads.")}


def test_a_linear_probe_lets_what_started_fresh_learn():
    model, tuning = started("linear_probe", (SENTINEL2, SENTINEL1, SEASON), "late")
    before, after = learn(model, tuning)
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    fresh = {name for name in after if name.startswith(("heads.", "fusion.encoders.season."))}
    assert changed == fresh


def test_layers_unfreeze_from_the_heads():
    model, tuning = started("unfreeze", unfrozen_at=0.5)
    reached = [tuning.reach(step, 100) for step in range(100)]
    assert reached == sorted(reached)
    assert reached[0] == 0
    assert reached[50] == reached[99] == tuning.depth
    assert set(reached) == set(range(tuning.depth + 1))
    for step in (0, 30, 99, 10):  # in any order: a function of the step
        tuning.set_step(step, 100)
        learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        stages = {name.split(".")[4] for name in learning if name.startswith("fusion.encoder.body.stages.")}
        assert len(stages) == tuning.reach(step, 100)
        norms = [module for module in model.fusion.modules() if isinstance(module, nn.BatchNorm2d)]
        assert {norm.training for norm in norms} == {norm.weight.requires_grad for norm in norms}


def test_frozen_layers_keep_weights_and_statistics_until_they_unfreeze():
    model, tuning = started("unfreeze", unfrozen_at=1.0)
    before, after = learn(model, tuning, 2)
    first = [name for name in after if ".stages.0." in name]
    assert all(torch.equal(before[name], after[name]) for name in first)


def test_the_learning_rate_falls_from_layer_to_layer():
    model, tuning = started("layer_decay", (SENTINEL1, SEASON), "late", "single", decay=0.5)
    groups = make_optimizer(model, TrainOptions(), tuning).param_groups
    scales = {id(parameter): group["scale"] for group in groups for parameter in group["params"]}
    rates = {name: scales[id(parameter)] for name, parameter in model.named_parameters()}
    stages = [{rate for name, rate in rates.items() if f".stages.{stage}." in name} for stage in range(tuning.depth)]
    assert stages == [{0.5 ** (tuning.depth - stage)} for stage in range(tuning.depth)]
    assert {rate for name, rate in rates.items() if name.startswith(("heads", "fusion.encoders.season"))} == {1.0}


def test_lora_learns_few_values_and_its_artifact_predicts_the_same_bits(tmp_path):
    model, tuning = started("lora")
    counted = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    whole = sum(parameter.numel() for parameter in model.parameters())
    assert counted < 0.05 * whole
    before, after = learn(model, tuning)
    changed = {name.rpartition(".")[2] for name in after if not torch.equal(before[name], after[name])}
    assert changed == {"up", "down", "weight", "bias"}
    assert all(torch.equal(before[name], after[name]) for name in after if name.endswith("weight.original"))
    save_model(merged(model), tmp_path)
    inputs = {"s1": torch.randn(3, 2, 16, 16)}
    assert torch.equal(load_model(tmp_path).predict(inputs)["label"], model.predict(inputs)["label"])


def test_lora_begins_as_the_weights_that_were_loaded():
    model, _ = started("lora")
    plain, _ = started("lora")
    inputs = {"s1": torch.randn(3, 2, 16, 16)}
    source = small((SENTINEL1,), 7, "single", "test_vit")
    with torch.no_grad():
        expected = source.eval().features(inputs)[0].vector
        assert torch.equal(model.eval().features(inputs)[0].vector, expected)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), plain.state_dict().values(), strict=True))


def test_lora_changes_queries_keys_and_values_each_by_its_rank():
    weight = torch.randn(6, 8)
    change = LowRank(weight, 1, 1.0, torch.Generator().manual_seed(0), parts=3)
    with torch.no_grad():
        change.up.normal_()
        parts = (change(weight) - weight).chunk(3)
    assert [int(torch.linalg.matrix_rank(part)) for part in parts] == [1, 1, 1]
    assert int(torch.linalg.matrix_rank(torch.cat(parts))) == 3


def test_a_summary_counts_tensors_and_values(pretrained):
    model = small((SENTINEL1, SEASON), 1, "early")
    table = start_from(model, StartOptions(**{"from": str(pretrained / "test_resnet")}))
    summary = summarise_transfer(table).set_index(["part", "status"])
    assert summary["tensors"].sum() == len(table)
    assert summary.loc[("encoder", "mapped"), "notes"] == "s1: 2 by name | season: 2 fresh"


def test_every_option_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
    section = text.split("## start\n")[1].split("\n## ")[0]
    for name, field in StartOptions.model_fields.items():
        assert f"`{field.alias or name}`" in section, name

"""Pretraining: every method runs, resumes to the same bits, never reads test patches, and shows what it does."""

import json
import time
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from eofuse import recipe as recipes
from eofuse.cli import main
from eofuse.config import merge, parse_options, write_yaml
from eofuse.data.splits import make_split
from eofuse.data.store import Store
from eofuse.data.store.pack import pack_source
from eofuse.errors import DataError, UsageError
from eofuse.learning.pretraining import METHODS, PretrainingOptions
from eofuse.learning.pretraining import monitoring as watching
from eofuse.learning.pretraining.examples import reconstructions
from eofuse.learning.pretraining.preparation import prepare_unlabelled
from eofuse.models.artifact import load_model
from eofuse.models.model import build_model
from eofuse.pictures import reconstruction_of_pretraining, show_run
from eofuse.studies.pretraining import Pretraining
from fake_source import FakeSource
from forked import forked, kill_when, lines

FITTING = {"masked": {"block": 4}, "clusters": {"clusters": 5}}


@pytest.fixture
def values(planted_store) -> dict:
    return values_on(planted_store)


def values_on(planted_store) -> dict:
    """A small pretraining on the planted store."""
    return {
        "name": "planted",
        "data": {"store": str(planted_store.path)},
        "inputs": ["s1", "s2"],
        "split": {"fractions": [0.5, 0.2, 0.3]},
        "fusion": {"strategy": "late", "encoder": "test_resnet"},
        "train": {"steps": 6, "batch_size": 8, "evaluations": 3},
        "pretrain": {"method": "cross_modal"},
    }


def by_method(values, method):
    return {**values, "pretrain": {"method": method, **FITTING.get(method, {})}}


@pytest.fixture(scope="module")
def whole(planted_store, tmp_path_factory):
    """The pretraining by method, to its end; leave it as it is."""

    @cache
    def pretrain(method: str):
        return recipes.pretrain(
            by_method(values_on(planted_store), method), to=tmp_path_factory.mktemp("whole") / "run"
        )

    return pretrain


@pytest.fixture(scope="module")
def monitored(planted_store, tmp_path_factory):
    """The same with labels by which neighbours are scored."""
    values = merge(values_on(planted_store), {"pretrain": {"monitor": "label"}})
    return recipes.pretrain(values, to=tmp_path_factory.mktemp("monitored") / "run")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_leaves_a_model_without_heads_from_scalars_and_rasters(values, tmp_path, method, planted_store):
    """All of it that a probe stands on has learned."""
    values = by_method({**values, "inputs": ["s1", "elevation", "season", "climate_zone"]}, method)
    run = recipes.pretrain(values, to=tmp_path / "run", overrides=["train.steps=2", "train.evaluations=1"])
    model = run.model()
    assert model.spec.heads == {}
    assert [modality.name for modality in model.spec.modalities] == values["inputs"]
    assert len(pd.read_csv(run.folder / "losses.csv")) == 2
    assert {"step", "loss", "spread", "effective_rank"} <= set(run.evaluations)
    assert np.isfinite(list(run.result["after"].values())).all()
    before = build_model(model.spec, seed=run.options.seed).state_dict()
    joins = [name for name in before if name.startswith("fusion.join.")]
    assert joins
    assert not any(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items() if name in joins)


def test_a_pretraining_records_the_part_of_every_patch(values, planted_store):
    data = prepare_unlabelled(planted_store, parse_options(PretrainingOptions, values))
    split = data.split_table()
    parts = make_split(planted_store.index, parse_options(PretrainingOptions, values).split).parts()
    assert split["part"].value_counts().to_dict() == {name: len(rows) for name, rows in parts.items()}
    assert split["reason"].isna().all()


@pytest.mark.parametrize("strategy", ["single", "early", "middle", "decision"])
@pytest.mark.parametrize("method", ["vicreg", "masked"])
def test_methods_learn_the_encoders_of_every_fusion(values, tmp_path, method, strategy):
    values = by_method({**values, "fusion": {"strategy": strategy}}, method)
    if strategy == "single":
        values["inputs"] = ["s2"]
    run = recipes.pretrain(values, to=tmp_path / "run", overrides=["train.steps=2", "train.evaluations=1"])
    assert run.result["after"]["loss"] != run.result["before"]["loss"]


@pytest.mark.parametrize("method", ["cross_modal", "masked"])
def test_a_shared_trunk_and_a_transformer_can_be_pretrained(values, tmp_path, method):
    shared = {"fusion": {"weights": "shared"}} if method == "cross_modal" else {"fusion": {"encoder": "test_vit"}}
    few = ["train.steps=2", "train.evaluations=1"]
    run = recipes.pretrain(by_method(merge(values, shared), method), to=tmp_path / "run", overrides=few)
    assert run.result["steps"] == 2


def test_a_recipe_has_the_identity_that_it_had_when_all_methods_had_the_same_options(values):
    def identity(**pretrain):
        options = parse_options(PretrainingOptions, {**values, "data": {"store": "x"}, "pretrain": pretrain})
        return Pretraining("name", options).identity("data")

    assert identity(method="simclr") == "550006afdecf5f02"
    assert identity(method="masked", mask=0.5, hole=0.5) == "bcf35e75375c365a"


def test_the_contrast_is_watched_by_how_often_modalities_find_each_other(whole):
    run = whole("cross_modal")
    seen = run.evaluations.iloc[0]
    assert 0 <= seen["matching_top1"] <= seen["matching_top5"] <= 1
    assert [path.name for path in show_run(run.folder).paths] == ["curves.png"]


def test_the_pretext_of_regions_is_watched_by_its_accuracy(values, tmp_path):
    run = recipes.pretrain(
        by_method(values, "clusters"), to=tmp_path / "run", overrides=["train.steps=2", "train.evaluations=1"]
    )
    assert run.evaluations["pretext_accuracy"].between(0, 1).all()


@pytest.mark.parametrize("encoder", ["test_resnet", "test_vit"])
def test_what_was_hidden_and_reconstructed_is_given(values, tmp_path, planted_store, encoder):
    values = merge(by_method(values, "masked"), {"fusion": {"encoder": encoder}, "pretrain": {"mask": 0.5}})
    run = recipes.pretrain(values, to=tmp_path / "run", overrides=["train.steps=2", "train.evaluations=1"])
    for found in reconstructions(run.folder, most=3):
        rows = [planted_store.row_of(name) for name in found.patch_ids]
        np.testing.assert_allclose(found.original, planted_store.read(found.modality.name, rows))
        assert found.reconstructed.shape == found.original.shape
        assert found.hidden.any()


def test_what_was_hidden_and_reconstructed_can_be_looked_at(whole):
    run = whole("masked")
    assert [path.name for path in show_run(run.folder).paths] == ["curves.png", "reconstruction.png"]
    assert len(reconstruction_of_pretraining(run, most=2).axes) >= 6


class Interrupted(BaseException):
    """Stands for a kill at some step."""


@pytest.mark.parametrize(("method", "step"), [("masked", 6), ("byol", 3)])  # cross_modal is killed below
def test_an_interrupted_pretraining_goes_on_to_the_same_bits(values, whole, tmp_path, method, step):
    def stop(done, total, words):
        if done == step:
            raise Interrupted

    values = by_method(values, method)
    with pytest.raises(Interrupted):
        recipes.pretrain(values, to=tmp_path / "again", overrides=["train.checkpoint_minutes=1e-9"], progress=stop)
    assert not (tmp_path / "again" / "result.json").exists()
    assert torch.load(tmp_path / "again" / "checkpoint.pt")["state"]["step"] == step
    again = recipes.pretrain(tmp_path / "again" / "recipe.yaml", to=tmp_path / "again")
    for name in ("model/model.safetensors", "losses.csv", "evaluations.csv"):
        assert (again.folder / name).read_bytes() == (whole(method).folder / name).read_bytes()


def test_a_killed_pretraining_goes_on_to_the_same_bits(values, whole, tmp_path):
    """kill −9 of the whole process, in the middle of training."""
    evaluations = tmp_path / "killed" / "evaluations.csv"

    def pretrain():
        recipes.pretrain(values, to=tmp_path / "killed", progress=lambda done, total, words: time.sleep(0.1))

    kill_when(forked(pretrain), lambda: lines(evaluations) > 1)
    assert not (tmp_path / "killed" / "result.json").exists()
    assert (tmp_path / "killed" / "checkpoint.pt").exists()
    killed = recipes.resume(tmp_path / "killed")
    for name in ("model/model.safetensors", "losses.csv", "evaluations.csv"):
        assert (killed.folder / name).read_bytes() == (whole("cross_modal").folder / name).read_bytes()


@pytest.mark.parametrize("method", ["cross_modal", "clusters"])
def test_no_test_patch_is_ever_read(values, planted_store, tmp_path, monkeypatch, method):
    seen = set()
    read = Store.read

    def watched(self, name, rows, *arguments, **keywords):
        seen.update(np.asarray(rows).tolist())
        return read(self, name, rows, *arguments, **keywords)

    monkeypatch.setattr(Store, "read", watched)
    values = by_method(values, method)
    few = {"pretrain": {"monitor": "label"}, "train": {"steps": 2, "evaluations": 1}}
    run = recipes.pretrain(merge(values, few), to=tmp_path / "run")
    split = make_split(planted_store.index, run.options.split)
    assert seen == {*split.train.tolist(), *split.validation.tolist()}
    patches = pd.read_parquet(run.folder / "patches.parquet")
    assert not set(patches["scene"]) & set(planted_store.index["scene"].iloc[split.test])
    assert patches.loc[patches["part"] == "train", "row"].tolist() == split.train.tolist()


def test_training_patches_without_a_label_are_learned_from(values, tmp_path):
    source = FakeSource(patches=120, absent={"s1": {0, 1, 2}})
    source.index["label"] = None
    store = pack_source(source, tmp_path / "unlabelled.store", workers=1)
    data = prepare_unlabelled(store, parse_options(PretrainingOptions, values))
    split = make_split(store.index, data_split := parse_options(PretrainingOptions, values).split)
    assert data_split.protocol == "scene"
    assert set(data.rows["train"]) == set(split.train) - {0, 1, 2}
    assert data.excluded.get("lacks an input modality", 0) == len({0, 1, 2} & {*split.train, *split.validation})


def test_with_tokens_cross_modal_pretraining_takes_patches_with_two_inputs(values, tmp_path):
    store = pack_source(FakeSource(patches=120, absent={"s1": {0, 1, 2}}), tmp_path / "lacking.store", workers=1)
    few = {"inputs": ["s1", "s2", "season"], "fusion": {"missing": "token"}, "train": {"steps": 2, "evaluations": 1}}
    run = recipes.pretrain(merge(values, few), store=store, to=tmp_path / "run")
    train = run.options.split and make_split(store.index, run.options.split).train
    patches = pd.read_parquet(run.folder / "patches.parquet")
    assert set(patches.loc[patches["part"] == "train", "row"]) == set(train)
    assert {0, 1, 2} & set(train)


def test_statistics_come_from_training_patches(whole, planted_store):
    run = whole("cross_modal")
    split = make_split(planted_store.index, run.options.split)
    expected = planted_store.read("s1", split.train).mean(axis=(0, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(run.model().spec.statistics.mean["s1"], expected, rtol=1e-5)


def test_the_last_weights_are_kept_whatever_validation_says(values, tmp_path, monkeypatch):
    """The loss on validation only grows here; the saved weights are those of the checkpoint at the end all the same."""
    growing = iter(range(100))
    monkeypatch.setattr(watching.Monitor, "_loss", lambda self: float(next(growing)))
    run = recipes.pretrain(values, to=tmp_path / "run", overrides=["train.steps=3"])
    checkpoint = torch.load(run.folder / "checkpoint.pt", weights_only=True)["module"]
    for name, tensor in load_model(run.folder / "model").state_dict().items():
        assert torch.equal(checkpoint[f"model.{name}"], tensor), name


def test_neighbours_are_scored_where_labels_are_known(monitored):
    assert monitored.evaluations["knn_accuracy"].between(0, 1).all()
    assert 0 <= monitored.result["before"]["knn_accuracy"] <= 1


def test_labels_that_are_monitored_change_no_weight(monitored, whole):
    weights = Path("model", "model.safetensors")
    assert (monitored.folder / weights).read_bytes() == (whole("cross_modal").folder / weights).read_bytes()


def test_a_collapsed_embedding_raises_an_alarm(values, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(watching, "spread", lambda vectors: 0.01)
    few = merge(values, {"train": {"steps": 2, "evaluations": 1}})
    run = recipes.pretrain(few, to=tmp_path / "run", progress=lambda done, total, words: said.append(words))
    assert any("collapsing: spread 0.010" in words for words in said)
    assert any("The embedding collapsed" in note and "since step 2" in note for note in run.notes())


def test_a_sound_embedding_raises_none(whole):
    assert whole("cross_modal").result["warnings"] == []


def test_spread_is_one_for_all_directions_and_zero_for_one():
    generator = np.random.default_rng(0)
    assert watching.spread(generator.normal(size=(4000, 64))) == pytest.approx(1, abs=0.02)
    assert watching.spread(np.ones((50, 64)) + 1e-6 * generator.normal(size=(50, 64))) < 1e-4


@pytest.mark.parametrize("rank", [1, 5])
def test_the_effective_rank_counts_directions(rank):
    directions = np.linalg.qr(np.random.default_rng(0).normal(size=(400, rank)))[0]
    centred = directions - directions.mean(axis=0)
    assert watching.effective_rank(centred @ np.eye(rank, 16)) == pytest.approx(rank, rel=0.02)
    assert watching.effective_rank(np.ones((9, 4))) == 0


def test_neighbours_of_the_same_scene_do_not_count():
    """Each scene has its own direction and both classes; by scene-mates alone, every patch would be told right."""
    vectors = np.array([[1, 0.0], [1, 0.01], [0, 1.0], [0.01, 1]])
    scenes, truth = np.array(["a", "a", "b", "b"], dtype=object), np.array([0, 0, 1, 1])
    assert watching.neighbour_accuracy(vectors, truth, scenes) == 0
    assert watching.neighbour_accuracy(vectors, np.array([0, 1, 0, 1]), np.array(["a"] * 4, dtype=object)) < 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"fusion": {"strategy": "early"}}, UsageError, "which early fusion has not; use late or decision"),
        ({"inputs": ["s1"]}, UsageError, "cross-modal pretraining compares modalities"),
        ({"pretrain": {"method": "simclr"}, "augment": "none"}, UsageError, "the same without augmentation"),
        ({"pretrain": {"method": "masked", "block": 9}}, UsageError, "more than half of a patch; use 2"),
        ({"pretrain": {"method": "masked", "block": 4}, "inputs": ["season"]}, UsageError, "no pixels to reconstruct"),
        ({"pretrain": {"method": "clusters", "clusters": 500}}, DataError, "make no 500 clusters"),
        ({"pretrain": {"mask": 0.3}}, UsageError, "'mask' is for masked, not for cross_modal"),
        ({"pretrain": {"method": "simcrl"}}, UsageError, "did you mean 'simclr'"),
        ({"pretrain": {"monitor": "labell"}}, UsageError, "did you mean 'label'"),
        ({"pretrain": {"monitor": "season"}}, UsageError, "not one class a patch"),
        ({"train": {"batch_size": 64}}, UsageError, "can't be filled from"),
        ({"task": {"target": "label"}}, UsageError, "task: unknown key"),
        ({"augment": {"mixup": 0.3}}, UsageError, "without targets"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(values, tmp_path, change, error, message):
    changed = merge(values, change)
    if "block" in str(change) or "season" in str(change.get("inputs")):
        changed["fusion"] = {"strategy": "early"}
    with pytest.raises(error, match=message):
        recipes.pretrain(changed, to=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_train_says_that_a_pretraining_is_another_command(values):
    with pytest.raises(UsageError, match="run it with `eofuse pretrain`"):
        recipes.train(values)


def test_the_command_tells_what_was_seen(values, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(write_yaml(merge(values, {"pretrain": {"monitor": "label"}})))
    assert main(["pretrain", str(recipe), "train.steps=2", "--to", str(tmp_path / "run")]) == 0
    told = capsys.readouterr().out
    assert "knn accuracy 0." in told
    assert "weights after 2 steps of cross_modal" in told
    assert json.loads((tmp_path / "run" / "result.json").read_text())["steps"] == 2
    assert main(["pretrain", str(recipe), "--to", str(tmp_path / "run")]) == 2
    assert "holds another run" in capsys.readouterr().err


def test_every_option_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
    options = {key for method in METHODS.values() for key in method.Options.model_fields}
    for name in sorted(options | {name for name in METHODS if METHODS.package_of(name) == "eofuse"}):
        assert f"`{name}`" in text, name


@pytest.mark.parametrize("strategy", ["late", "early"])
def test_a_run_starts_from_a_pretraining(whole, recipe, tmp_path, strategy):
    start = {"from": str(whole("cross_modal").folder)}
    changed = {"inputs": ["s1", "s2"], "fusion": {"strategy": strategy}, "start": start}
    few = ["train.steps=2", "train.evaluations=1"]
    run = recipes.train(merge(recipe, changed), to=tmp_path / "run", overrides=few)
    table = pd.read_csv(run.folder / "transfer.csv")
    assert table["status"].isin(["loaded", "mapped"]).sum() > len(table) / 4

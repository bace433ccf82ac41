"""Several tasks on one network: partly known targets, weights, one stopping rule, and resuming to the same bits."""

from functools import cache

import numpy as np
import pandas as pd
import pytest

from eofuse import recipe as recipes
from eofuse.config import merge, parse_options
from eofuse.data.store.pack import pack_source
from eofuse.errors import DataError, UsageError
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import prepare
from eofuse.pictures import show_run
from fake_source import MappedSource

TARGETS = {"label": None, "value": None, "worldcover": {"network": "fpn"}}


class PartlyKnown(MappedSource):
    """Two patches of three have no value."""

    def plant(self):
        super().plant()
        self.index.loc[np.arange(self.patches) % 3 > 0, "value"] = np.nan


@pytest.fixture(scope="module")
def partly_known(tmp_path_factory):
    source = PartlyKnown(patches=90, size=32)
    return pack_source(source, tmp_path_factory.mktemp("multitask") / "partly.store", workers=1)


@pytest.fixture
def several(partly_known) -> dict:
    return recipe_of(partly_known)


@pytest.fixture(scope="module")
def trained_by(partly_known, tmp_path_factory):
    """The run by weighting, trained once; leave it as it is. That with fixed weights has steps enough to learn."""

    @cache
    def train(weighting: str):
        budget = {"steps": 60, "evaluations": 4} if weighting == "fixed" else {}
        values = merge(recipe_of(partly_known), {"weighting": weighting, "train": budget})
        return recipes.train(values, to=tmp_path_factory.mktemp("trained") / "run")

    return train


def recipe_of(store) -> dict:
    return {
        "data": {"store": str(store.path)},
        "inputs": ["s1", "s2"],
        "split": {"fractions": [0.5, 0.2, 0.3]},
        "tasks": TARGETS,
        "train": {"steps": 6, "batch_size": 12, "evaluations": 2, "learning_rate": 0.004},
    }


def test_several_targets_are_learned_at_once(trained_by):
    run = trained_by("fixed")
    assert run.test["label"]["accuracy"] > 0.9
    assert run.test["value"]["r2"] > 0.3
    assert run.test["worldcover"]["miou"] > 0.6


def test_each_target_has_its_pictures(trained_by):
    run = trained_by("fixed")
    names = ["curves", "confusion_label", "examples_label", "scatter_value", "examples_value"]
    names += ["confusion_worldcover", "examples_worldcover"]
    assert [path.stem for path in show_run(run.folder).paths] == names


def test_a_patch_that_knows_one_target_only_is_used_for_that(several, partly_known):
    prepared = prepare(partly_known, parse_options(RunOptions, several))
    known = {part: prepared.known(part) for part in prepared.rows}
    assert sum(len(rows) for rows in prepared.rows.values()) == 90
    assert sum(len(of["label"]) for of in known.values()) == 90
    assert sum(len(of["value"]) for of in known.values()) == 30
    assert set(known["test"]["value"]) <= set(prepared.rows["test"])


def test_each_target_is_tested_on_the_patches_that_know_it(trained_by, partly_known):
    run = trained_by("fixed")
    everywhere, known = run.predictions("label")["row"], run.predictions("value")["row"]
    assert known.tolist() == [row for row in everywhere if np.isfinite(partly_known.index["value"].iloc[row])]


@pytest.mark.parametrize("weighting", ["fixed", "uncertainty", "gradient_norm"])
def test_the_loss_and_weight_of_each_task_are_written_down(trained_by, weighting):
    run = trained_by(weighting)
    losses = pd.read_csv(run.folder / "losses.csv")
    assert len(losses) == run.result["steps"]
    assert set(losses) == {"step", "loss", *TARGETS, *(f"{name}.weight" for name in TARGETS)}
    weights = losses[[f"{name}.weight" for name in TARGETS]]
    assert ((weights - 1).abs().to_numpy().max() < 1e-6) == (weighting == "fixed")


class Interrupted(BaseException):
    """Stands for a kill at some step."""


@pytest.mark.parametrize("weighting", ["uncertainty", "gradient_norm"])
def test_an_interrupted_run_goes_on_with_the_weights_it_had_learned(several, trained_by, tmp_path, weighting):
    def stop(done, total, words):
        if done == 4:
            raise Interrupted

    several = {**several, "weighting": weighting}
    whole = trained_by(weighting)
    with pytest.raises(Interrupted):
        recipes.train(several, to=tmp_path / "again", progress=stop)
    again = recipes.resume(tmp_path / "again")
    for name in ("losses.csv", "evaluations.csv", "test.json", "model/model.safetensors"):
        assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_the_mean_skill_over_the_constant_prediction_selects_the_weights(trained_by):
    run = trained_by("fixed")
    scores = pd.read_csv(run.folder / "evaluations.csv")
    assert run.result["metric"] == "skill"
    assert {"label.loss", "worldcover.loss", "train/skill", "train/value.rmse"} < set(scores)
    curves = run.curves()
    of_all = curves[curves["target"].isna() & curves["metric"].isin(["loss", "skill"])]
    assert set(zip(of_all["split"], of_all["metric"], strict=True)) == {
        ("train", "loss"),
        ("train", "skill"),
        ("validation", "skill"),
    }
    assert scores.loc[scores["skill"].idxmax(), "step"] == run.result["best_step"]
    best = scores[scores["step"] == run.result["best_step"]].iloc[0]
    validation = {found["target"]: found["validation"] for found in run.result["targets"]}
    assert validation["value"]["rmse"] == pytest.approx(best["value.rmse"])


def test_a_weight_by_hand_makes_a_task_louder(several, tmp_path):
    several["tasks"] = {**TARGETS, "label": {"weight": 5.0}}
    run = recipes.train(several, to=tmp_path / "run", overrides=["train.steps=4", "train.evaluations=1"])
    losses = pd.read_csv(run.folder / "losses.csv")
    total = 5 * losses["label"] + losses["value"] + losses["worldcover"]
    np.testing.assert_allclose(losses["loss"], total, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": {"target": "label"}}, "both given"),
        ({"tasks": {}}, "give task, or tasks"),
        ({"tasks": {"label": {"target": "value"}}}, "name it once"),
        ({"tasks": {"label": {"balance": "sampling"}, "climate_zone": {"balance": "sampling"}}}, "only one"),
        ({"tasks": {"label": None, "lable": None}}, "did you mean 'label'"),
        ({"tasks": {"label": {"network": "unet"}}}, "unknown network"),
        ({"tasks": {"label": {"threshold": 0.3}}}, "'threshold' is for land_cover_above"),
        ({"tasks": {"worldcover": {"loss": "mse"}}}, "unknown loss 'mse' for segmentation"),
    ],
)
def test_what_does_not_fit_is_refused(several, partly_known, change, message):
    with pytest.raises(UsageError, match=message):
        prepare(partly_known, parse_options(RunOptions, {**several, **change}))


def test_a_target_that_no_validation_patch_knows_is_an_error(several, tmp_path):
    class Rare(MappedSource):
        def plant(self):
            super().plant()
            self.index.loc[self.index["split"] == "validation", "value"] = np.nan

    store = pack_source(Rare(patches=60, size=32), tmp_path / "rare.store", workers=1)
    options = parse_options(
        RunOptions, {**several, "data": {"store": str(store.path)}, "split": {"protocol": "published"}}
    )
    with pytest.raises(DataError, match="no validation patch has the target 'value'"):
        prepare(store, options)

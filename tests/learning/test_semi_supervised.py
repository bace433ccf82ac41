"""FixMatch: what the model is sure of is learned from, nothing else changes, and hidden labels are not looked at."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from eofuse import recipe as recipes
from eofuse.config import merge, parse_options
from eofuse.data.store.pack import pack_source
from eofuse.errors import UsageError
from eofuse.learning.fitting import rows_of_step, supervised
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import model_spec, prepare
from eofuse.learning.semi_supervised import UnlabelledOptions, pseudo_labels, pseudo_losses
from eofuse.models.model import build_model
from eofuse.studies.grid import final_cells
from eofuse.studies.plan import plan_study
from fake_source import MappedSource

FEW = {"labels": {"amount": 2}, "train": {"steps": 6, "batch_size": 4, "evaluations": 2}}


@pytest.fixture
def plain(recipe) -> dict:
    """Four labels, and some dropout, which draws of the unlabelled patches would change."""
    return merge(recipe, {**FEW, "fusion": {"dropout": 0.2}, "augment": "light"})


@pytest.fixture
def values(plain) -> dict:
    return merge(plain, {"unlabelled": {"threshold": 0.51, "ratio": 3}})


def weights(run) -> dict[str, torch.Tensor]:
    return run.model().state_dict()


def losses(run) -> pd.DataFrame:
    return pd.read_csv(run.folder / "losses.csv")


def same_bits(one, other) -> bool:
    first, second = weights(one), weights(other)
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_threshold_that_is_never_reached_leaves_supervised_training_as_it_is(plain, tmp_path):
    supervised = recipes.train(plain, to=tmp_path / "plain")
    never = recipes.train(merge(plain, {"unlabelled": {"threshold": 1.01, "ratio": 3}}), to=tmp_path / "never")
    assert same_bits(supervised, never)
    assert (losses(never)["sure"] == 0).all()
    assert losses(never)["loss"].tolist() == losses(supervised)["loss"].tolist()


def test_pseudo_labels_tell_a_class_that_few_labels_left_unclear(recipe, tmp_path):
    """Steps enough to learn four patches by heart; the class shows in every patch."""
    few = merge(recipe, {"labels": {"amount": 2}, "train": {"steps": 60, "batch_size": 8, "learning_rate": 0.003}})
    run = recipes.train(merge(few, {"unlabelled": {"threshold": 0.8}}), to=tmp_path / "run")
    logged = losses(run)
    assert np.isfinite(logged.to_numpy()).all()
    assert logged["sure"].iloc[-10:].mean() > 0.5
    assert logged["pseudo_loss"].max() > 0
    assert run.test["label"]["accuracy"] > 0.9


class Interrupted(BaseException):
    """Stands for a kill at some step."""


def test_an_interrupted_run_goes_on_to_the_same_bits(values, tmp_path):
    """Interrupted twice, before the first checkpoint and behind one."""
    for step in (2, 4):

        def stop(done, total, words, step=step):
            if done == step:
                raise Interrupted

        with pytest.raises(Interrupted):
            recipes.train(values, to=tmp_path / "again", progress=stop)
    again = recipes.resume(tmp_path / "again")
    whole = recipes.train(values, to=tmp_path / "whole")
    assert same_bits(whole, again)
    assert losses(whole).equals(losses(again))
    assert (losses(whole)["sure"] > 0).any()


def test_hidden_labels_change_nothing(values, planted_store, tmp_path):
    """Patches that are read as labelled stay as they are; of all others in training, the truth is turned round."""
    values = merge(values, {"train": {"steps": 1, "evaluations": 1}})
    options = parse_options(RunOptions, values)
    run = recipes.train(values, to=tmp_path / "run")
    prepared = prepare(planted_store, options)
    prepared.tasks[0].target.values[prepared.unlabelled] = 1 - prepared.tasks[0].target.values[prepared.unlabelled]
    model = build_model(model_spec(prepared, options), seed=options.seed)
    objective = supervised(model, prepared, options)
    loader, rows = prepared.loader(options), rows_of_step(prepared, options)
    torch.manual_seed(options.seed * 1_000_003)
    loss, logs = objective.step(loader.read(rows(0)))
    assert logs["sure"] > 0
    assert loss.item() == losses(run)["loss"][0]


def test_each_step_reads_labelled_and_then_unlabelled_patches(values, planted_store):
    options = parse_options(RunOptions, values)
    prepared = prepare(planted_store, options)
    rows = rows_of_step(prepared, options)(7)
    assert len(rows) == 4 + 12
    assert set(rows[:4]) <= set(prepared.rows["train"])
    assert set(rows[4:]) <= set(prepared.unlabelled)
    np.testing.assert_array_equal(rows, rows_of_step(prepared, options)(7))


def test_without_unlabelled_patches_training_is_supervised_and_says_so(plain, tmp_path):
    everything = merge(plain, {"labels": {"amount": 1.0}, "train": {"steps": 2, "evaluations": 1}})
    run = recipes.train(merge(everything, {"unlabelled": {}}), to=tmp_path / "run")
    assert sum("none for pseudo-labels" in note for note in run.notes()) == 1
    supervised = recipes.train(everything, to=tmp_path / "plain")
    assert same_bits(run, supervised)
    assert losses(run).equals(losses(supervised))


@pytest.mark.parametrize("strategy", ["late", "decision"])  # one head, and one of each modality
def test_rasters_numbers_and_categories_learn_from_pseudo_labels(values, tmp_path, strategy):
    inputs = ["s1", "s2", "elevation", "season", "climate_zone"]
    fused = merge(values, {"inputs": inputs, "fusion": {"strategy": strategy}, "train": {"steps": 3, "evaluations": 1}})
    run = recipes.train(fused, to=tmp_path / "run")
    assert (losses(run)["sure"] > 0).any()
    assert np.isfinite(losses(run).to_numpy()).all()


def test_several_classes_a_patch_learn_from_pseudo_labels(values, tmp_path):
    store = pack_source(MappedSource(patches=60), tmp_path / "mapped.store", workers=1)
    several = {"task": {"target": "land_cover_above"}, "unlabelled": {"threshold": 0.55}}
    run = recipes.train(merge(values, several), store=store, to=tmp_path / "run")
    assert (losses(run)["sure"] > 0).any()
    assert np.isfinite(losses(run).to_numpy()).all()


def test_single_labels_count_where_their_class_is_probable():
    labels, sure = pseudo_labels(torch.tensor([[0.96, 0.04], [0.4, 0.6]]), True, 0.95)
    assert labels.tolist() == [0, 1]
    assert sure.tolist() == [True, False]


def test_of_several_labels_each_counts_that_is_probably_there_or_not():
    labels, sure = pseudo_labels(torch.tensor([[0.96, 0.5, 0.03]]), False, 0.95)
    assert labels.tolist() == [[1, 1, 0]]
    assert sure.tolist() == [[True, False, True]]


def test_what_is_unsure_adds_no_loss():
    output = torch.randn(2, 3, 4, generator=torch.manual_seed(0))
    one_class = pseudo_losses(output, torch.tensor([0, 1, 2]), torch.tensor([True, False, True]))
    assert one_class.shape == (2, 3)
    assert (one_class[:, 1] == 0).all()
    assert torch.allclose(one_class[:, 2], -output[:, 2].log_softmax(-1)[:, 2])
    sure = torch.tensor([[True, False, False, False]] * 3)
    several = pseudo_losses(output, torch.ones(3, 4), sure)
    assert torch.allclose(several, torch.nn.functional.softplus(-output[..., 0]) / 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": {"target": "season"}}, "needs classes of patches, and 'season' is regression"),
        ({"task": None, "tasks": {"label": {}, "climate_zone": {}}}, "learns one task, here are 2"),
        ({"unlabelled": {"strong": {"mixup": 0.3}}}, "nothing to be mixed"),
        ({"unlabelled": {"treshold": 0.9}}, "did you mean 'threshold'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(values, tmp_path, change, message):
    with pytest.raises(UsageError, match=message):
        recipes.train(merge(values, change), to=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_controls_do_not_learn_from_unlabelled_patches(values):
    study = {"baseline": "a", "seeds": [0], "variants": {"a": {"unlabelled": None}, "b": {}}}
    plan = plan_study({**values, "study": study})
    cells = final_cells(plan, dict.fromkeys(plan.keys, 0.001))
    assert [cell.role for cell in cells] == ["variant", "frozen_random", "variant", "constant"]
    assert [cell.options.unlabelled is None for cell in cells] == [True, True, False, True]


def test_every_option_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
    section = text.partition("## unlabelled")[2].partition("\n## ")[0]
    for name in UnlabelledOptions.model_fields:
        assert f"`{name}`" in section, name

"""Training once more with the validation patches, when they have chosen: what is learned from, what stays, what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from eofuse import recipe as recipes
from eofuse.cli import main
from eofuse.config import merge, parse_options
from eofuse.data.store import open_store
from eofuse.data.store.pack import pack_source
from eofuse.errors import DataError, UsageError
from eofuse.learning import run as runs
from eofuse.learning.controls import frozen_random_control
from eofuse.learning.controls import linear as linear_models
from eofuse.learning.loop import Training
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import prepare
from eofuse.learning.semi_supervised import FixMatch
from eofuse.studies.plan import plan_study
from eofuse.suggestions import suggest
from fake_source import FakeSource


def outcome(folder) -> dict[str, bytes]:
    names = ["model/model.safetensors", "test.json", "predictions/label.parquet", "evaluations.csv"]
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture
def refitted(refitted_once):
    """A finished run with `refit`; leave it as it is."""
    return runs.open_run(refitted_once)


def shorter(recipe) -> dict:
    return merge(recipe, {"refit": True, "train": {"steps": 6, "evaluations": 2}})


@pytest.fixture
def short(recipe) -> dict:
    """A run with `refit` of few steps."""
    return shorter(recipe)


@pytest.fixture(scope="module")
def whole(same_recipe, tmp_path_factory):
    """That run, finished; leave it as it is."""
    return recipes.train(shorter(same_recipe), to=tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def learned(monkeypatch):
    """Rows of all batches from which a loop has learned, and the learning rates, by number of the loop."""
    loops: list[dict] = []
    run = Training.run

    def watched(training):
        seen: dict = {"rows": set(), "steps": []}
        loops.append(seen)

        def rows(step):
            found = training.rows_of_step(step)
            seen["rows"] |= set(found.tolist())
            seen["steps"].append(step)
            return found

        return run(replace(training, rows_of_step=rows))

    monkeypatch.setattr(Training, "run", watched)
    return loops


def test_the_last_model_has_learned_from_training_and_validation_patches(short, learned, tmp_path):
    run = recipes.train(short, to=tmp_path / "run")
    rows = prepare(open_store(short["data"]["store"]), run.options).rows
    first, second = learned
    assert first["rows"] == set(rows["train"].tolist())
    assert second["rows"] == set(rows["train"].tolist()) | set(rows["validation"].tolist())
    assert second["steps"] == list(range(run.result["best_step"]))
    assert run.result["refit"]["patches"] == len(rows["train"]) + len(rows["validation"])


def test_the_last_model_finds_what_is_planted(refitted):
    assert refitted.test["label"]["accuracy"] > 0.9


def test_what_validation_says_is_of_the_model_before(refitted, trained_once):
    plain = runs.open_run(trained_once)
    assert (plain.folder / "evaluations.csv").read_bytes() == (refitted.folder / "evaluations.csv").read_bytes()
    assert refitted.result["score"] == plain.result["score"]
    head, before = refitted.model().spec.heads["label"], plain.model().spec.heads["label"]
    assert head.temperature == before.temperature
    assert outcome(refitted.folder)["model/model.safetensors"] != outcome(plain.folder)["model/model.safetensors"]


def test_the_run_says_so_and_counts_what_it_cost(recipe, refitted):
    assert any("once more" in note for note in refitted.notes())
    assert refitted.result["seconds"] > refitted.result["refit"]["seconds"] > 0


def test_what_it_needed_on_the_way_is_gone(refitted):
    assert not (refitted.folder / "refit").exists()


class Interrupted(BaseException):
    """Stands for a kill at some moment."""


@pytest.mark.parametrize("moment", ["first steps", "last step"])
def test_an_interruption_while_it_trains_once_more_changes_nothing(short, whole, tmp_path, moment):
    calls, until = [], whole.result["best_step"]
    wanted = 6 + (2 if moment == "first steps" else until)

    def stop(done, total, words):
        calls.append(done)
        if len(calls) == wanted:
            raise Interrupted

    often = merge(short, {"train": {"checkpoint_minutes": 1e-9}})
    with pytest.raises(Interrupted):
        recipes.train(often, to=tmp_path / "again", progress=stop)
    assert outcome(recipes.resume(tmp_path / "again").folder) == outcome(whole.folder)


@pytest.mark.parametrize("last", ["save_model", "write_test"])
def test_an_interruption_before_the_scores_are_written_changes_nothing(short, whole, tmp_path, monkeypatch, last):
    def stop(*arguments):
        raise Interrupted

    folder = tmp_path / "again"
    runs.start_run(parse_options(RunOptions, short), folder)
    runs.train_run(folder)
    with monkeypatch.context() as patch:
        patch.setattr(runs, last, stop)
        with pytest.raises(Interrupted):
            runs.test_run(folder)
    assert outcome(recipes.resume(folder).folder) == outcome(whole.folder)


def test_the_model_before_is_not_taken_for_the_last_one(short, planted_store, tmp_path):
    runs.start_run(parse_options(RunOptions, short), tmp_path / "run")
    runs.train_run(tmp_path / "run")
    with pytest.raises(DataError, match="still to be trained once more"):
        suggest(tmp_path / "run", planted_store, 1, output=tmp_path / "out")
    assert main(["predict", str(tmp_path / "run"), str(planted_store.path), "-o", str(tmp_path / "said.csv")]) != 0
    assert not (tmp_path / "said.csv").exists()


def test_a_kill_while_it_tidies_leaves_nothing_after_the_next_look(short, tmp_path, monkeypatch):
    def stop(*arguments):
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(runs, "forget_start", stop)
        with pytest.raises(Interrupted):
            recipes.train(short, to=tmp_path / "run")
    assert (tmp_path / "run" / "test.json").is_file()
    assert (tmp_path / "run" / "refit").is_dir()
    recipes.resume(tmp_path / "run")
    assert not (tmp_path / "run" / "refit").exists()


def test_pseudo_labels_are_what_the_model_says_before_calibration(short, tmp_path, monkeypatch):
    temperatures = []

    class Watched(FixMatch):
        def step(self, batch):
            temperatures.append(self.model.head("label").spec.temperature)
            return super().step(batch)

    def with_hidden(store, options):
        prepared = prepare(store, options)
        train = prepared.rows["train"]
        return replace(prepared, rows={**prepared.rows, "train": train[::2]}, unlabelled=train[1::2])

    monkeypatch.setattr("eofuse.learning.fitting.FixMatch", Watched)
    monkeypatch.setattr(runs, "prepare_once", with_hidden)
    run = recipes.train({**short, "unlabelled": {"threshold": 0.8, "ratio": 1}}, to=tmp_path / "run")
    assert run.model().head("label").spec.temperature != 1
    assert len(temperatures) == 6 + run.result["best_step"]
    assert set(temperatures) == {1.0}


def test_a_class_that_only_validation_shows_is_learned_then(recipe, tmp_path):
    source = FakeSource(patches=120)
    parts, number = source.index["split"].to_numpy(), np.arange(120)
    rare = (parts != "train") & (number % 5 == 0)
    source.index["label"] = np.where(rare, "rare", source.index["label"].astype(str))
    store = pack_source(source, tmp_path / "rare.store", workers=1)

    def warned(**change):
        options = parse_options(RunOptions, {**recipe, "split": {"protocol": "published"}, **change})
        return any("no training patch shows" in warning for warning in prepare(store, options).warnings)

    assert warned()
    assert not warned(refit=True)
    assert warned(refit=True, task={"target": "label", "balance": "class_weights"})


def test_a_run_from_trained_weights_begins_again_from_them(short, trained_once, tmp_path, learned):
    start = {"from": str(trained_once / "model"), "mode": "linear_probe"}
    run = recipes.train({**short, "start": start, "seed": 1}, to=tmp_path / "probe")
    weights, before = run.model().state_dict(), runs.open_run(trained_once).model().state_dict()
    for name in weights:
        if name.startswith("fusion.") and name.endswith("weight"):
            np.testing.assert_array_equal(weights[name], before[name], err_msg=name)
    assert len(learned) == 2
    assert not (run.folder / "start").exists()


def test_few_labels_are_not_joined_by_those_of_validation(recipe):
    with pytest.raises(UsageError, match="refit adds the labels of validation"):
        parse_options(RunOptions, {**recipe, "refit": True, "labels": {"amount": 0.5}})
    with pytest.raises(UsageError, match=r"labels.amount or order"):
        parse_options(RunOptions, {**recipe, "refit": True, "labels": {"order": "order.csv"}})
    study = {"baseline": "a", "variants": {"a": {}}, "label_amounts": [0.5, 1.0]}
    with pytest.raises(UsageError, match="refit adds the labels of validation"):
        plan_study({**recipe, "refit": True, "study": study})


def test_variants_are_all_trained_once_more_or_none(recipe):
    study = {"baseline": "a", "variants": {"a": {}, "b": {"refit": True}}}
    with pytest.raises(UsageError, match="differs in 'refit'"):
        plan_study({**recipe, "study": study})


def test_linear_models_of_controls_learn_from_both_too(recipe, tmp_path, monkeypatch):
    counts = []

    class Watched(linear_models.Linear):
        def __init__(self, task, features, truth, strength):
            counts.append(len(truth))
            super().__init__(task, features, truth, strength)

    monkeypatch.setattr(linear_models, "Linear", Watched)
    options = parse_options(RunOptions, {**recipe, "refit": True})
    runs.start_run(options, tmp_path / "run")
    frozen_random_control(tmp_path / "run")
    rows = prepare(open_store(options.data.store), options).rows
    assert set(counts[:-1]) == {len(rows["train"])}
    assert counts[-1] == len(rows["train"]) + len(rows["validation"])

"""A run: learns, resumes to the same bits, refuses what would cheat, and says what it left out."""

import json
import shutil
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from eofuse import recipe as recipes
from eofuse.config import merge, parse_options
from eofuse.data.store import open_store
from eofuse.data.store.pack import pack_source
from eofuse.errors import DataError, UsageError
from eofuse.evaluation.calibration import scale
from eofuse.files import temporary_of
from eofuse.inference.predict import predict_store
from eofuse.kinds import SINGLE_LABEL
from eofuse.learning import run as runs
from eofuse.learning.evaluate import evaluate
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import model_spec, prepare
from eofuse.learning.train_options import TrainOptions
from eofuse.learning.watching import LossKeeper, Watch
from eofuse.modalities import WORLDCOVER
from eofuse.models.model import build_model
from eofuse.records import sealed
from eofuse.studies.grid import Cell
from fake_source import FakeSource
from forked import forked, kill_when, lines


def outcome(folder) -> dict[str, bytes]:
    names = ["model/model.safetensors", "losses.csv", "evaluations.csv", "test.json", "predictions/label.parquet"]
    return {name: (folder / name).read_bytes() for name in names}


def shorter(recipe) -> dict:
    return merge(recipe, {"train": {"steps": 8, "evaluations": 4}})


@pytest.fixture
def short(recipe) -> dict:
    """A run of few steps."""
    return shorter(recipe)


@pytest.fixture(scope="module")
def short_once(same_recipe, tmp_path_factory):
    """The folder of that run, trained and tested; leave it as it is."""
    return recipes.train(shorter(same_recipe), to=tmp_path_factory.mktemp("short") / "run").folder


def test_a_run_learns_what_is_planted(trained):
    assert trained.test["label"]["accuracy"] > 0.95


def test_the_training_loss_falls(trained):
    losses = pd.read_csv(trained.folder / "losses.csv")["loss"]
    assert len(losses) == 30
    assert losses.tail(5).mean() < 0.7 * losses.head(5).mean()


def test_each_evaluation_records_the_loss_on_validation_and_scores_on_training_patches(trained):
    curves = trained.curves().set_index(["split", "metric"])["value"]
    assert len(curves["train", "loss"]) == 30
    assert len(curves["validation", "loss"]) == len(curves["train", "accuracy"]) == 5
    assert curves["train", "accuracy"].iloc[-1] > 0.95
    assert curves["validation", "loss"].iloc[-1] < curves["validation", "loss"].iloc[0]


def test_what_is_recorded_of_training_patches_is_a_draw_as_large_as_validation(recipe):
    options = parse_options(RunOptions, recipe)
    prepared = prepare(open_store(options.data.store), options)
    model = build_model(model_spec(prepared, options), seed=0)
    watch = Watch(prepared, options, LossKeeper(model, prepared.tasks, torch.device("cpu")), model.spec.heads)
    assert len(watch.rows) == len(prepared.rows["validation"]) < len(prepared.rows["train"])
    assert set(watch.rows) < set(prepared.rows["train"])


def test_the_kept_loss_is_that_of_training_in_evaluation_mode(recipe):
    options = parse_options(RunOptions, recipe)
    prepared = prepare(open_store(options.data.store), options)
    model = build_model(model_spec(prepared, options), seed=0)
    keeper = LossKeeper(model, prepared.tasks, torch.device("cpu"))
    batch = prepared.loader(options).read(prepared.rows["validation"])
    predicted = keeper(batch)["label"]
    np.testing.assert_array_equal(predicted, model.predict(batch.inputs, batch.present)["label"].numpy())
    assert model.training
    true = predicted[np.arange(len(batch)), batch.targets["label"].numpy()]
    assert keeper.take()["label"] == pytest.approx(-np.log(true).mean(), rel=1e-4)


def test_a_run_of_an_older_version_has_the_curves_that_it_recorded(trained):
    file = trained.folder / "evaluations.csv"
    table = pd.read_csv(file)
    table.drop(columns=[name for name in table if name == "loss" or name.startswith("train/")]).to_csv(
        file, index=False
    )
    opened = runs.open_run(trained.folder)
    assert set(opened.curves().loc[lambda rows: rows["split"] == "train", "metric"]) == {"loss"}


def test_a_run_folder_tells_everything(trained):
    data = json.loads((trained.folder / "data.json").read_text())
    assert sum(data["patches"].values()) == 120
    none = dict.fromkeys(("sharing_scene", "adjacent", "same_ground", "unknown_scene"), 0)
    assert data["leakage"] == {"test_patches": data["patches"]["test"], **none}
    assert json.loads((trained.folder / "environment.json").read_text())["torch"]
    (events,) = (trained.folder / "tensorboard").iterdir()
    scalars = [
        (value.tag, event.step) for event in EventFileLoader(str(events)).Load() for value in event.summary.value
    ]
    assert [step for tag, step in scalars if tag == "train/loss"] == list(range(1, 31))
    assert ("validation/accuracy", 30) in scalars
    assert len(trained.predictions()) == data["patches"]["test"]


def test_a_run_records_the_part_of_every_patch(trained):
    split = pd.read_parquet(trained.folder / "split.parquet")
    assert list(split.columns) == ["patch_id", "row", "scene", "part", "reason"]
    assert split["part"].value_counts().to_dict() == json.loads((trained.folder / "data.json").read_text())["patches"]
    assert set(split.loc[split["part"] == "test", "patch_id"]) == set(trained.predictions()["patch_id"])


def test_the_recorded_parts_say_what_was_hidden_and_why_patches_were_left_out(recipe, planted_store):
    prepared = prepare(planted_store, parse_options(RunOptions, {**recipe, "labels": {"amount": 0.2}}))
    reasons = prepared.reasons.copy()
    reasons[prepared.rows["test"][0]] = "flagged (cloudy)"
    rows = {**prepared.rows, "test": prepared.rows["test"][1:]}
    split = replace(prepared, rows=rows, reasons=reasons).split_table()
    hidden = split["part"] == "unlabelled"
    assert hidden.sum() == len(prepared.unlabelled) > 0
    assert set(split.loc[hidden, "reason"]) == {"label not used"}
    assert split.loc[split["part"].isna(), "reason"].tolist() == ["flagged (cloudy)"]


def test_the_same_seed_gives_the_same_bits(short, short_once, tmp_path):
    again = recipes.train(short, to=tmp_path / "again")
    assert outcome(again.folder) == outcome(short_once)


def test_another_seed_gives_another_model(short, short_once, tmp_path):
    other = recipes.train(short, to=tmp_path / "other", overrides=["seed=1"])
    assert outcome(other.folder)["losses.csv"] != outcome(short_once)["losses.csv"]


class Interrupted(BaseException):
    """Stands for a kill at some step."""


@pytest.mark.parametrize("step", [1, 8])  # before the first checkpoint, and at the end; in the middle in test_logs
def test_an_interrupted_run_goes_on_to_the_same_bits(short, short_once, tmp_path, step):
    def stop(done, total, words):
        if done == step:
            raise Interrupted

    with pytest.raises(Interrupted):
        recipes.train(short, to=tmp_path / "again", progress=stop)
    assert outcome(recipes.resume(tmp_path / "again").folder) == outcome(short_once)


def test_a_run_killed_between_evaluations_goes_on_where_it_wrote_a_checkpoint(short, short_once, tmp_path):
    def stop(done, total, words):
        if done == 5:
            raise Interrupted

    folder = tmp_path / "again"
    with pytest.raises(Interrupted):
        recipes.train(short, to=folder, overrides=["train.checkpoint_minutes=1e-9"], progress=stop)
    assert torch.load(folder / "checkpoint.pt")["state"]["step"] == 5
    assert outcome(recipes.train(short, to=folder).folder) == outcome(short_once)


def test_how_often_checkpoints_are_written_tells_no_two_runs_apart(recipe, planted_store):
    often = merge(recipe, {"train": {"checkpoint_minutes": 0.5}})
    options = [parse_options(RunOptions, values) for values in (recipe, often)]
    assert len({recipes._default_folder(each, planted_store) for each in options}) == 1
    assert len({Cell("s1", "variant", each).identity("") for each in options}) == 1


def test_a_run_killed_twice_goes_on_to_the_same_bits(short, short_once, tmp_path):
    """kill −9 of the whole process, in the middle of training."""
    folder = tmp_path / "killed"
    evaluations = folder / "evaluations.csv"
    runs.start_run(parse_options(RunOptions, short), folder)
    for wanted in (1, 3):
        process = forked(runs.train_run, folder, lambda done, total, words: time.sleep(0.05))
        kill_when(process, lambda wanted=wanted: lines(evaluations) > wanted)
        assert not (folder / "result.json").exists()
    assert outcome(recipes.resume(folder).folder) == outcome(short_once)


def test_resuming_removes_what_a_killed_process_left(trained):
    left = [trained.folder / ".test.json.77.tmp", temporary_of(trained.folder / "model" / "model.json")]
    left.append(trained.folder / "model" / ".model.json.lock")
    for path in left:
        path.touch()
    recipes.resume(trained.folder)
    assert not any(path.exists() for path in left)


def test_training_a_finished_recipe_again_only_reads_it(recipe, trained):
    before = (trained.folder / "result.json").stat().st_mtime_ns
    assert recipes.train(recipe, to=trained.folder).test == trained.test
    assert (trained.folder / "result.json").stat().st_mtime_ns == before


def test_a_folder_of_another_run_is_left_alone(recipe, trained):
    with pytest.raises(UsageError, match="holds another run"):
        recipes.train(recipe, to=trained.folder, overrides=["seed=1"])


def test_resuming_on_changed_data_is_refused(recipe, trained, tmp_path):
    (trained.folder / "result.json").unlink()
    data = json.loads((trained.folder / "data.json").read_text())
    (trained.folder / "data.json").write_text(json.dumps(sealed({**data, "fingerprint": "other"})))
    with pytest.raises(DataError, match="not the one with which this run began"):
        recipes.resume(trained.folder)


def test_a_damaged_checkpoint_is_one_clear_error(recipe, trained):
    (trained.folder / "result.json").unlink()
    (trained.folder / "checkpoint.pt").write_bytes(b"damaged")
    with pytest.raises(DataError, match="the checkpoint can't be read"):
        recipes.resume(trained.folder)


def test_early_stopping_keeps_the_best_weights(recipe, tmp_path):
    run = recipes.train(
        recipe, to=tmp_path / "run", overrides=["train.steps=60", "train.evaluations=15", "train.patience=3"]
    )
    assert run.result["stopped_early"]
    assert run.result["steps"] < 60
    scores = pd.read_csv(run.folder / "evaluations.csv")
    best = scores.loc[scores["step"] == run.result["best_step"], "macro_f1"].item()
    assert best == pytest.approx(scores["macro_f1"].max())


def test_scores_of_the_saved_model_are_those_reported(trained, planted_store):
    table = predict_store(trained.folder / "model", planted_store).set_index("patch_id")
    test = trained.predictions().set_index("patch_id")
    spread = table.loc[test.index, ["label.p.0", "label.p.1"]].to_numpy()
    raw, temperature = np.array(test["probabilities"].tolist(), dtype=float), test["temperature"].iloc[0]
    np.testing.assert_allclose(spread, scale(raw, temperature, SINGLE_LABEL), atol=1e-4)


def test_normalisation_comes_from_training_patches_only(trained, planted_store):
    prepared = prepare(planted_store, trained.options)
    expected = planted_store.read("s1", prepared.rows["train"]).mean(axis=(0, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(trained.model().spec.statistics.mean["s1"], expected, rtol=1e-5)


def test_evaluate_gives_intervals_and_the_constant_predictor(trained):
    scores = evaluate(trained.folder).set_index(["predictor", "metric"])
    row = scores.loc[("run", "accuracy")]
    assert row["low"] <= row["value"] <= row["high"]
    assert row["value"] == pytest.approx(trained.test["label"]["accuracy"])
    assert scores.loc[("constant", "accuracy"), "value"] < 0.8


@pytest.mark.parametrize(
    "change", [{"inputs": ["s1", "climate_zone"], "fusion": {"strategy": "late"}}, {"inputs": ["climate_zone"]}]
)
def test_a_target_that_derives_from_an_input_is_refused(recipe, planted_store, change):
    options = parse_options(RunOptions, merge({**recipe, "task": {"target": "climate_zone"}}, change))
    with pytest.raises(UsageError, match="derives from the input 'climate_zone'"):
        prepare(planted_store, options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": ["s1", "s3"]}, "unknown modality 's3'"),
        ({"inputs": {"s2": ["B99"]}}, "unknown channel 'B99'"),
        ({"task": {"target": "labell"}}, "did you mean 'label'"),
        ({"task": {"metric": "acuracy"}}, "did you mean 'accuracy'"),
        ({"fusion": {"encoder": "test_resnett"}}, "did you mean 'test_resnet'|test_resnet"),
    ],
)
def test_misuse_is_found_before_training(recipe, tmp_path, change, message):
    values = merge(recipe, change)
    values["inputs"] = change.get("inputs", recipe["inputs"])
    with pytest.raises(UsageError, match=message):
        recipes.train(values, to=tmp_path / "run")


def test_patches_without_input_or_label_are_left_out_and_counted(recipe, tmp_path):
    source = FakeSource(patches=120, absent={"s1": set(range(10))})
    source.index["label"] = source.index["label"].astype(object)
    source.index.loc[[20, 21, 22], "label"] = None
    store = pack_source(source, tmp_path / "gaps.store", workers=1)
    prepared = prepare(store, parse_options(RunOptions, recipe))
    assert prepared.excluded == {"lacks an input modality": 10, "has no label (label)": 3}
    used = np.concatenate(list(prepared.rows.values()))
    assert not set(used) & {*range(10), 20, 21, 22}


def test_flagged_patches_can_be_left_out(recipe, tmp_path):
    source = FakeSource(patches=60)
    source.index["seasonal_snow"] = np.arange(60) < 7
    store = pack_source(source, tmp_path / "snow.store", workers=1)
    prepared = prepare(store, parse_options(RunOptions, merge(recipe, {"data": {"exclude": ["seasonal_snow"]}})))
    assert prepared.excluded == {"flagged (seasonal_snow)": 7}
    with pytest.raises(UsageError, match="did you mean 'seasonal_snow'"):
        prepare(store, parse_options(RunOptions, merge(recipe, {"data": {"exclude": ["seasonal_show"]}})))


def test_a_class_that_training_never_shows_is_said(recipe, tmp_path):
    source = FakeSource(patches=120)
    test_scenes = (source.index["split"] == "test").to_numpy()
    source.index["label"] = np.where(test_scenes & (np.arange(120) % 5 == 0), "rare", source.index["label"].astype(str))
    store = pack_source(source, tmp_path / "rare.store", workers=1)
    prepared = prepare(store, parse_options(RunOptions, merge(recipe, {"split": {"protocol": "published"}})))
    assert any("no training patch shows" in warning and "rare (6)" in warning for warning in prepared.warnings)


def test_training_patches_of_one_class_only_are_an_error(recipe, tmp_path):
    source = FakeSource(patches=60)
    source.index["label"] = np.where(source.index["split"] == "train", "a", "b")
    store = pack_source(source, tmp_path / "one.store", workers=1)
    with pytest.raises(DataError, match="fewer than two classes"):
        prepare(store, parse_options(RunOptions, merge(recipe, {"split": {"protocol": "published"}})))


def test_a_loss_that_explodes_stops_the_run_with_advice(recipe, tmp_path):
    with pytest.raises(DataError, match=r"training loss is .*lower train\.learning_rate"):
        recipes.train(recipe, to=tmp_path / "run", overrides=["train.learning_rate=1e30", "train.clip_norm=null"])


@pytest.mark.parametrize("balance", ["class_weights", "sampling"])
def test_rare_classes_can_be_balanced(recipe, tmp_path, balance):
    assert (
        recipes.train(recipe, to=tmp_path / "run", overrides=[f"task.balance={balance}"]).test["label"]["accuracy"]
        > 0.9
    )


def test_a_run_finds_its_store_from_any_folder(recipe, planted_store, tmp_path, monkeypatch):
    monkeypatch.chdir(planted_store.path.parent)
    values = merge(recipe, {"data": {"store": planted_store.path.name}, "train": {"steps": 2, "evaluations": 1}})
    run = recipes.train(values, to=tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert len(evaluate("run"))
    assert recipes.train({**values, "data": recipe["data"]}, to="run").test == run.test


def test_a_finished_run_is_not_read_for_other_data(recipe, trained, tmp_path):
    other = pack_source(FakeSource(patches=120, seed=9), tmp_path / "other.store", workers=1)
    with pytest.raises(DataError, match="not the one with which this run began"):
        recipes.train(recipe, store=other, to=trained.folder)


def test_predicting_values_of_another_scale_is_refused(trained, planted_store, tmp_path):
    copy = shutil.copytree(planted_store.path, tmp_path / "scaled.store")
    description = json.loads((copy / "store.json").read_text())
    for modality in description["modalities"]:
        modality["offset"] = -5.0
    (copy / "store.json").write_text(json.dumps(sealed(description)))
    with pytest.raises(DataError, match=r"offset is -5\.0 in the store and 0\.0 in the model"):
        predict_store(trained.folder / "model", open_store(copy))


def test_a_ranking_metric_that_validation_does_not_define_is_an_error(recipe, tmp_path):
    source = FakeSource(patches=60)
    names = [f"worldcover_fraction.{category.name}" for category in WORLDCOVER.categories]
    source.index[names] = 0.0
    for name in names[:2]:
        source.index[name] = np.where(source.index["split"] == "validation", 0.0, 0.5)
    store = pack_source(source, tmp_path / "empty.store", workers=1)
    values = merge(recipe, {"split": {"protocol": "published"}, "task": {"target": "land_cover_above"}})
    with pytest.raises(DataError, match="mAP is not defined on the validation patches"):
        prepare(store, parse_options(RunOptions, values))


def test_misuse_leaves_no_run_folder(recipe, tmp_path):
    with pytest.raises(UsageError):
        recipes.train(recipe, to=tmp_path / "run", overrides=["fusion.encoder=nonsense"])
    assert not (tmp_path / "run").exists()


def test_a_single_run_takes_the_threads_that_there_are_leaves_them_and_goes_on_with_as_many(recipe, tmp_path):
    before = torch.get_num_threads()
    few = ["train.steps=2"]
    torch.set_num_threads(2)
    try:
        run = recipes.train(recipe, to=tmp_path / "run", overrides=few)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert run.options.train.threads == 2
    assert recipes.train(recipe, to=tmp_path / "run", overrides=few).options.train.threads == 2
    with pytest.raises(UsageError, match="exists and holds another run"):
        recipes.train(recipe, to=tmp_path / "run", overrides=[*few, "train.threads=1"])


def test_a_run_of_a_study_takes_one_thread_and_keeps_the_identity_that_it_had():
    assert TrainOptions().model_dump()["threads"] == TrainOptions(threads=1).model_dump()["threads"] == 1

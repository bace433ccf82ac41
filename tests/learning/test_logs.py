"""Runs are followed elsewhere too: everything once, in one logged run, and never at the cost of the training."""

import json
from pathlib import Path

import pytest

from eofuse import ranks
from eofuse import recipe as recipes
from eofuse.errors import UsageError
from eofuse.learning.logs import Logs
from eofuse.learning.options import RunOptions
from fake_logger import registered


class Interrupted(BaseException):
    """Stands for a kill at some step."""


def outcome(folder: Path) -> dict[str, bytes]:
    names = ["model/model.safetensors", "losses.csv", "evaluations.csv", "test.json", "predictions/label.parquet"]
    return {name: (folder / name).read_bytes() for name in names}


def wandb_records(folder: Path):
    """What Weights & Biases wrote for a run into one of its folders: records of at most a block, each behind seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = folder.glob("run-*.wandb")
    content, start = file.read_bytes(), 7
    while start < len(content):
        length = int.from_bytes(content[start + 4 : start + 6], "little")
        yield Record.FromString(content[start + 7 : start + 7 + length])
        start += 7 + length


def test_an_interrupted_run_goes_on_in_its_logged_run_to_the_bits_of_one_without_loggers(
    recipe, trained_once, tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.delenv("WANDB_MODE", raising=False)

    def stop(done, total, words):
        if done == 17:
            raise Interrupted

    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        recipes.train(recipe, to=folder, overrides=["train.loggers=[mlflow,wandb]"], progress=stop)
    assert outcome(recipes.resume(folder).folder) == outcome(trained_once)

    from mlflow import MlflowClient

    client = MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("eofuse").experiment_id])
    assert run.info.run_name == "planted"
    assert run.info.status == "FINISHED"
    assert run.data.params["train.steps"] == "30"
    assert run.data.tags["eofuse.folder"] == str(folder)
    history = client.get_metric_history(run.info.run_id, "validation/accuracy")
    assert [point.step for point in history] == [6, 12, 18, 24, 30]
    test = json.loads((folder / "test.json").read_text())["label"]
    assert run.data.metrics["test/accuracy"] == pytest.approx(test["accuracy"])
    assert run.data.metrics["test/accuracy_low"] <= test["accuracy"] <= run.data.metrics["test/accuracy_high"]

    parts = sorted((tmp_path / "wandb").glob("offline-run-*"))
    records = [record for part in parts for record in wandb_records(part)]
    assert len({record.run.run_id for record in records if record.HasField("run")}) == 1
    seen = [item for record in records if record.HasField("history") for item in record.history.item]
    steps = [int(item.value_json) for item in seen if "/".join(item.nested_key) == "_step" or item.key == "_step"]
    assert steps == [6, 12, 18, 24, 30]


def test_a_finished_run_is_passed_on_once_and_completely_when_a_logger_is_asked_for(recipe, trained, monkeypatch):
    runs = registered(monkeypatch)
    for _ in range(2):
        recipes.train(recipe, to=trained.folder, overrides=["train.loggers=noted"])
    (logged,) = runs.values()
    assert logged["steps"] == [6, 12, 18, 24, 30]
    assert {"train/loss", "validation/loss", "validation/accuracy", "train/accuracy"} <= set(logged["latest"])
    assert {"test/accuracy", "test/accuracy_low", "test/n_scenes"} <= set(logged["scores"])
    assert logged["closed"] == ["finished"]
    assert logged["run"].options["fusion"]["encoder"] == "test_resnet"


def test_the_loss_of_a_look_is_the_mean_since_the_one_before(recipe, trained, monkeypatch):
    runs = registered(monkeypatch)
    with Logs(trained.folder, trained.options, loggers=["noted"]) as logs:
        logs.write({"loss": [5.0, 1.0, 2.0, 3.0]}, [{"step": 1, "f1": 0.1}, {"step": 4, "f1": float("nan")}])
    assert runs["0"]["latest"] == {"train/loss": 2.0}
    assert runs["0"]["closed"] == ["unfinished"]


@pytest.mark.parametrize("at", ["begin", "log", "end", "close"])
def test_a_logger_that_fails_is_one_warning_and_the_others_go_on(trained, monkeypatch, caplog, at):
    registered(monkeypatch, fails_at=at)
    with Logs(trained.folder, trained.options, loggers=["noted"]) as logs:
        logs.write({"loss": [1.0, 1.0]}, [{"step": 1, "f1": 0.1}, {"step": 2, "f1": 0.2}])
        logs.finish()
    assert [record.getMessage() for record in caplog.records] == [
        f"noted gets nothing more of the run {trained.folder}: ConnectionError: nobody listens at {at}"
    ]


def test_a_run_whose_training_fails_is_called_failed(trained, monkeypatch):
    runs = registered(monkeypatch)

    def train():
        with Logs(trained.folder, trained.options, loggers=["noted"]) as logs:
            logs.write({"loss": []}, [])
            raise ValueError

    with pytest.raises(ValueError):
        train()
    assert runs["0"]["closed"] == ["failed"]


def test_only_the_first_of_several_processes_passes_on(trained, monkeypatch):
    runs = registered(monkeypatch)
    monkeypatch.setattr(ranks, "_place", ranks.Place(1, 2, 1))
    with Logs(trained.folder, trained.options, loggers=["noted"]) as logs:
        logs.finish()
    assert runs == {}


@pytest.mark.parametrize(
    ("name", "missing", "message"),
    [
        ("mlfow", "", "did you mean 'mlflow'"),
        ("wandb", "wandb", r"wandb is not installed; pip install 'eofuse\[wandb\]'"),
        ("mlflow", "sqlalchemy", r"sqlalchemy, .* is not installed.*; pip install 'eofuse\[mlflow\]'"),
    ],
)
def test_a_logger_that_is_not_there_is_said_before_any_work(recipe, tmp_path, monkeypatch, name, missing, message):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for module in ("eofuse.learning.loggers", "eofuse.learning.loggers.mlflow"):
        monkeypatch.setattr(f"{module}.find_spec", lambda library: None if library == missing else object())
    with pytest.raises(UsageError, match=message):
        recipes.train(recipe, to=tmp_path / "run", overrides=[f"train.loggers={name}"])
    assert not (tmp_path / "run").exists()


def test_loggers_tell_no_two_runs_apart(recipe, planted_store):
    options = [
        RunOptions.model_validate(values)
        for values in (recipe, {**recipe, "train": {**recipe["train"], "loggers": "wandb"}})
    ]
    assert len({recipes._default_folder(each, planted_store) for each in options}) == 1

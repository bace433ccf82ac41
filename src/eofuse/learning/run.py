"""A run: one recipe trained and tested, in a folder that holds all of it.

::

    recipe.yaml        the options, complete
    data.json          store, fingerprint, patches and scenes of each part, what was left out, leakage, warnings
    environment.json   versions and machine
    checkpoint.pt      where the loop stands
    model/             the best weights by validation: safetensors and JSON, all that `predict` needs
    losses.csv  evaluations.csv  tensorboard/
    result.json        best validation scores, steps, cost; its presence says that the training is finished
    predictions.parquet  test.json   probabilities and truth of every test patch, and the scores over them
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eofuse.config import parse_options, read_yaml, write_yaml
from eofuse.data.loading import Rows, balancing_weights, sampled_rows, shuffled_rows
from eofuse.data.store import open_store
from eofuse.errors import DataError, UsageError
from eofuse.files import replacing, write_text
from eofuse.learning.curves import Curves
from eofuse.learning.environment import describe_environment
from eofuse.learning.loop import Progress, fit, open_fabric
from eofuse.learning.preparation import Prepared, RunOptions, model_spec, prepare
from eofuse.models.artifact import load_model, save_model
from eofuse.models.model import Model, build_model, count_parameters
from eofuse.tasks.base import Array
from eofuse.tasks.objective import Supervised, predict_probabilities

RECIPE_FILE = "recipe.yaml"
DATA_FILE = "data.json"
ENVIRONMENT_FILE = "environment.json"
PREDICTIONS_FILE = "predictions.parquet"
RESULT_FILE = "result.json"
TEST_FILE = "test.json"
MODEL_FOLDER = "model"


@dataclass(frozen=True)
class Run:
    """A trained run, read from its folder.

    Attributes:
        folder: where it is.
        options: its recipe.
        result: validation scores and cost.
        test: scores on the test patches, None before they were looked at.
    """

    folder: Path
    options: RunOptions
    result: dict[str, Any]
    test: dict[str, float] | None

    def predictions(self) -> pd.DataFrame:
        """Test patches: patch_id, row, scene, truth, probabilities."""
        return pd.read_parquet(self.folder / PREDICTIONS_FILE)

    def warnings(self) -> list[str]:
        """What a reader of the scores must know about the data."""
        return list(_read_json(self.folder / DATA_FILE)["warnings"])

    def model(self) -> Model:
        """The model with the best weights, on the CPU."""
        return load_model(self.folder / MODEL_FOLDER)


def read_options(folder: Path) -> RunOptions:
    """The recipe of a run folder.

    Raises:
        UsageError: if it is no run folder.
    """
    if not (folder / RECIPE_FILE).is_file():
        raise UsageError(
            "is no run folder (it has no recipe.yaml)", where=folder, fix="give the folder that `eofuse train` made"
        )
    return parse_options(RunOptions, read_yaml(folder / RECIPE_FILE), where=folder / RECIPE_FILE)


def open_run(folder: Path) -> Run:
    """A trained run.

    Raises:
        UsageError: if it is no run folder.
        DataError: if its training is not finished or its files are damaged.
    """
    options = read_options(folder)
    if not (folder / RESULT_FILE).is_file():
        raise DataError("the run is not finished", where=folder, fix=f"go on with `eofuse resume {folder}`")
    test = _read_json(folder / TEST_FILE) if (folder / TEST_FILE).is_file() else None
    return Run(folder, options, _read_json(folder / RESULT_FILE), test)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"can't be read: {error}", where=path, fix="delete it and resume the run") from None
    return values


def start_run(options: RunOptions, folder: Path) -> None:
    """Makes a run folder with its recipe; one that holds this very recipe is left as it is.

    Raises:
        UsageError: if the folder holds something else.
    """
    recipe = write_yaml(options.model_dump(mode="json"))
    file = folder / RECIPE_FILE
    if file.is_file() and file.read_text(encoding="utf-8") == recipe:
        return
    if folder.exists() and any(folder.iterdir()):
        fix = (
            f"choose another folder, or go on with it by `eofuse resume {folder}`"
            if file.is_file()
            else "choose another folder"
        )
        raise UsageError("exists and holds something else", where=folder, fix=fix)
    write_text(file, recipe)


def train_run(folder: Path, progress: Progress | None = None, tensorboard: bool = True) -> Run:
    """Trains the recipe of a run folder; goes on where an interrupted run stopped; a finished one is only read.

    The test patches are not looked at (see `test_run`).

    Args:
        folder: a run folder (see `start_run`).
        progress: called with (steps done, steps in all, a few words).
        tensorboard: whether TensorBoard events are written.
    """
    if (folder / RESULT_FILE).is_file():
        return open_run(folder)
    options = read_options(folder)
    prepared = prepare(open_store(options.data.store), options)
    _check_same_data(folder, prepared)
    write_text(folder / ENVIRONMENT_FILE, json.dumps(describe_environment(), indent=1) + "\n")

    fabric = open_fabric(options.train)
    task, validation = prepared.task, prepared.rows["validation"]
    steps = options.train.budget(len(prepared.rows["train"]))
    model = build_model(model_spec(prepared, options), seed=options.seed)
    evaluation_loader = prepared.loader(options)

    def evaluate() -> dict[str, float]:
        probabilities = predict_probabilities(model, evaluation_loader, validation, fabric.device)[task.name]
        return task.score(task.target.values[validation], probabilities)

    curves = Curves(folder, tensorboard)
    state = fit(
        Supervised(model, task),
        prepared.loader(options),
        rows_of_step(prepared, options),
        evaluate,
        metric=task.metric,
        options=options.train,
        steps=steps,
        seed=options.seed,
        folder=folder,
        fabric=fabric,
        save_best=partial(save_model, model, folder / MODEL_FOLDER),
        curves=curves,
        progress=progress,
    )
    curves.close()
    best = next(row for row in state.evaluations if row["step"] == state.best_step)
    result = {
        "target": task.name,
        "kind": task.kind,
        "classes": list(task.classes),
        "metric": task.metric,
        "validation": {name: best[name] for name in task.metrics},
        "steps": state.step,
        "budget": steps,
        "best_step": state.best_step,
        "stopped_early": state.stopped,
        "seconds": state.seconds,
        "parameters": count_parameters(model),
    }
    write_text(folder / RESULT_FILE, json.dumps(result, indent=1) + "\n")
    return open_run(folder)


def test_run(folder: Path) -> Run:
    """Predicts the test patches with the best weights and scores them; done once."""
    run = open_run(folder)
    if run.test is not None:
        return run
    prepared = prepare(open_store(run.options.data.store), run.options)
    _check_same_data(folder, prepared)
    device = open_fabric(run.options.train).device
    model = load_model(folder / MODEL_FOLDER, device)
    rows = prepared.rows["test"]
    probabilities = predict_probabilities(model, prepared.loader(run.options), rows, device)[prepared.task.name]
    write_test(folder, prepared, probabilities)
    return open_run(folder)


def write_test(folder: Path, prepared: Prepared, probabilities: Array) -> None:
    """Writes predictions and scores of the test patches.

    Args:
        folder: the run folder.
        prepared: the run's data.
        probabilities: (test patches, classes).
    """
    rows = prepared.rows["test"]
    index = prepared.store.index.iloc[rows]
    truth = prepared.task.target.values[rows]
    table = pd.DataFrame(
        {
            "patch_id": index["patch_id"].to_numpy(),
            "row": rows,
            "scene": index["scene"].to_numpy(),
            "truth": list(truth),
            "probabilities": list(probabilities.astype(np.float32)),
        }
    )
    with replacing(folder / PREDICTIONS_FILE) as temporary:
        table.to_parquet(temporary, index=False)
    write_text(folder / TEST_FILE, json.dumps(prepared.task.score(truth, probabilities), indent=1) + "\n")


def rows_of_step(prepared: Prepared, options: RunOptions) -> Callable[[int], Rows]:
    """Rows of each training step, by the options' way of sampling; a pure function of the step."""
    train, batch_size = prepared.rows["train"], options.train.batch_size
    if options.task.balance == "sampling":
        weights = balancing_weights(prepared.task.target, train)
        return lambda step: sampled_rows(train, weights, batch_size, options.seed, step)
    return lambda step: shuffled_rows(train, batch_size, options.seed, step)


def _check_same_data(folder: Path, prepared: Prepared) -> None:
    """Writes the facts about the data; on resuming they must be the same."""
    file = folder / DATA_FILE
    if file.is_file():
        before = json.loads(file.read_text(encoding="utf-8"))["fingerprint"]
        if before != prepared.store.fingerprint:
            raise DataError("the store is not the one with which this run began", where=folder, fix="start a new run")
    write_text(file, json.dumps(prepared.summary(), indent=1) + "\n")

"""A run: one recipe trained and tested, in a folder that holds all of it.

::

    recipe.yaml        the options, complete
    data.json          store, fingerprint, digest of the weights it starts from, patches and scenes of each part, what was left out,
                       leakage, warnings
    split.parquet      the part of every patch of the store, or why it was left out (see `split_table`)
    environment.json   versions and machine
    transfer.csv       the mapping of every tensor, of a run that starts from trained weights; start/ until it is finished
    checkpoint.pt      where the loop stands
    model/             the best weights by validation: safetensors and JSON, all that `predict` needs
    losses.csv  evaluations.csv  tensorboard/
    logged.json        what loggers have of it (with `train.loggers`, see `logs`)
    result.json        best validation scores, steps, cost; its presence says that the training is finished
    calibration.json   the temperature of each head, and the losses on held-out validation scenes by which it is used or not
    refit/             the same loop over training and validation patches (with `refit`), until the test is done
    predictions/  maps/  test.json   what it says about the test patches, and the scores over them (see `outputs`)
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from eofuse import ranks
from eofuse.data.store import shared_store
from eofuse.data.store.gaps import left_out_words
from eofuse.errors import DataError
from eofuse.learning.cautions import run_cautions, temperature_notes
from eofuse.learning.curves import Curves, read_curves
from eofuse.learning.environment import describe_environment
from eofuse.learning.fabric import evaluate_as_trained, open_device, open_fabric
from eofuse.learning.facts import (
    CALIBRATION_FILE,
    DATA_FILE,
    ENVIRONMENT_FILE,
    FIX,
    RESULT_FILE,
    TEST_FILE,
    read_facts,
    read_result,
    write_facts,
)
from eofuse.learning.fitted import has_fitted_heads
from eofuse.learning.fitting import begin, learn, refit
from eofuse.learning.loop import Selection, State
from eofuse.learning.options import RunOptions
from eofuse.learning.outputs import MapWriter, predictions_file, read_predictions, write_test
from eofuse.learning.preparation import Prepared, inherited
from eofuse.learning.run_folder import RECIPE_FILE as RECIPE_FILE
from eofuse.learning.run_folder import began_with
from eofuse.learning.run_folder import check_same_data as check_same_data
from eofuse.learning.run_folder import read_options as read_options
from eofuse.learning.run_folder import read_recipe as read_recipe
from eofuse.learning.run_folder import recipe_text as recipe_text
from eofuse.learning.run_folder import start_run as start_run
from eofuse.learning.several import check_several, describe_batch_norm, process_notes
from eofuse.learning.sharing import prepare_once
from eofuse.learning.split_table import write_split
from eofuse.learning.transfer import (
    forget_start,
    read_transfer,
    summarise_transfer,
    weights_digest,
)
from eofuse.learning.validation import Validation, calibration
from eofuse.learning.vectors import with_vectors
from eofuse.learning.watching import LossKeeper, Watch
from eofuse.models.artifact import load_model, save_model
from eofuse.models.lora import merged
from eofuse.models.model import Model, count_parameters
from eofuse.progress import Progress
from eofuse.tasks.gathering import gather, predict_with

if TYPE_CHECKING:
    from eofuse.learning.logs import Logs

MODEL_FOLDER = "model"
REFIT_FOLDER = "refit"


@dataclass(frozen=True)
class Run:
    """A trained run, read from its folder.

    Attributes:
        folder: where it is.
        options: its recipe.
        result: validation scores by target, and cost.
        test: scores on the test patches by target, None before they were looked at.
    """

    folder: Path
    options: RunOptions
    result: dict[str, Any]
    test: dict[str, dict[str, float]] | None

    @property
    def targets(self) -> list[str]:
        """Names of the targets that were predicted."""
        return list(self.test or {})

    def predictions(self, target: str | None = None) -> pd.DataFrame:
        """Test patches that have a target (the first one by default): patch_id, row, scene, and evidence."""
        return read_predictions(predictions_file(self.folder, target or self.targets[0]))

    @property
    def is_simulated(self) -> bool:
        """Whether it was trained on simulated data."""
        return bool(read_facts(self.folder, DATA_FILE)["simulated"])

    def notes(self) -> list[str]:
        """What a reader of the scores must know about data, training and calibration."""
        simulated = ["Simulated data: these numbers say nothing about the real world."] if self.is_simulated else []
        data = read_facts(self.folder, DATA_FILE)
        left_out = left_out_words(data["excluded"], data.get("lacking", {}), data.get("stored"))
        patches, batch_size = data["patches"]["train"], self.options.train.batch_size
        calibrated = (self.folder / CALIBRATION_FILE).is_file()
        return [
            *simulated,
            *([left_out] if left_out else []),
            *data["warnings"],
            *self.start_notes(),
            *process_notes(self.result.get("processes", [])),
            *run_cautions(self.folder, self.result, patches, batch_size, self.test),
            *(temperature_notes(read_facts(self.folder, CALIBRATION_FILE)) if calibrated else []),
        ]

    def start_notes(self) -> list[str]:
        """What a reader of the scores must know about the weights from which it started."""
        if self.options.start is None:
            return []
        unchecked = [
            f"Whether '{self.options.start.source}', where this run starts, has seen its test patches is not known."
        ]
        return list(read_facts(self.folder, DATA_FILE).get("start", unchecked))

    def transfer(self) -> pd.DataFrame | None:
        """What became of the tensors of trained weights, by part of the model; None for a run that started without any."""
        return summarise_transfer(read_transfer(self.folder)) if self.options.start is not None else None

    def curves(self) -> pd.DataFrame:
        """The course of training: step, target, split, metric, value (see `read_curves`).

        Raises:
            DataError: if its files are missing or damaged.
        """
        return read_curves(self.folder, [task.target for task in self.options.targets])

    def model(self) -> Model:
        """The model with the best weights, on the CPU."""
        return load_model(self.folder / MODEL_FOLDER)


def open_run(folder: Path) -> Run:
    """A trained run.

    Raises:
        UsageError: if it is no run folder.
        DataError: if its training is not finished or its files are damaged.
    """
    options = read_options(folder)
    if not (folder / RESULT_FILE).is_file():
        raise DataError("the run is not finished", where=folder, fix=f"go on with `eofuse resume {folder}`")
    result = read_result(folder)
    test = read_facts(folder, TEST_FILE) if (folder / TEST_FILE).is_file() else None
    if test is not None:
        missing = [entry["target"] for entry in result["targets"] if entry["target"] not in test]
        if missing:
            raise DataError(f"lacks {', '.join(missing)}", where=folder / TEST_FILE, fix=FIX)
        nan = float("nan")
        test = {
            target: {name: nan if value is None else value for name, value in scores.items()}
            for target, scores in test.items()
        }
    return Run(folder, options, result, test)


def open_last(folder: Path) -> Run:
    """A trained run whose model is the one that it ends with: with `refit`, the one that was trained once more.

    Raises:
        UsageError: if it is no run folder.
        DataError: as `open_run`, or if it is still to be trained once more.
    """
    run = open_run(folder)
    if run.options.refit and run.test is None:
        fix = f"go on with `eofuse resume {folder}`"
        raise DataError("the run is still to be trained once more (refit)", where=folder, fix=fix)
    return run


def train_run(
    folder: Path, progress: Progress | None = None, tensorboard: bool = True, logs: "Logs | None" = None
) -> Run:
    """Trains the recipe of a run folder; goes on where an interrupted run stopped; a finished one is only read.

    The test patches are not looked at (see `test_run`).

    Args:
        folder: a run folder (see `start_run`).
        progress: called with (steps done, steps in all, a few words).
        tensorboard: whether TensorBoard events are written.
        logs: where its curves are passed on to.
    """
    options = read_options(folder)
    store = shared_store(options.data.store)
    check_same_data(folder, store)
    if (folder / RESULT_FILE).is_file():
        return open_run(folder)
    check_several(options, ranks.place().size)
    prepared = prepare_once(store, options)
    if is_first := ranks.is_first():
        write_split(prepared.split_table(), folder)
        notes = inherited(prepared, options.start, folder)[1] if options.start is not None else []
        weights = began_with(folder) or (weights_digest(options.start) if options.start is not None else None)
        write_facts(folder, DATA_FILE, {**prepared.summary(), "weights": weights, "start": notes})

    fabric = open_fabric(options.train)
    model, fine_tuning = begin(prepared, options, folder)
    if is_first:
        several = ranks.describe(fabric.device, describe_batch_norm(model))
        write_facts(folder, ENVIRONMENT_FILE, {**describe_environment(options.train.device), **several})
    evaluate_as_trained(model, fabric.device, options.train)
    prepared = with_vectors(prepared, model, options, fabric.device)
    predict = LossKeeper(model, prepared.tasks, fabric.device)
    validation = Validation(prepared, options, predict, model.spec.heads)
    curves = Curves(folder, tensorboard and is_first, logs)
    selection = Selection(
        lambda: save_model(merged(model), folder / MODEL_FOLDER),
        validation.evaluate,
        validation.metric,
        validation.lower_is_better,
        Watch(prepared, options, predict, model.spec.heads).evaluate,
    )
    more = {"fabric": fabric, "curves": curves, "fine_tuning": fine_tuning, "progress": progress}
    state, budget = learn(model, prepared, options, folder, selection, **more)
    curves.close()
    if is_first:
        _write_result(folder, options, model, validation, state, budget, fabric.device)
    ranks.wait()
    return open_run(folder)


def _write_result(
    folder: Path,
    options: RunOptions,
    model: Model,
    validation: Validation,
    state: State,
    budget: int,
    device: torch.device,
) -> None:
    """Finishes the training of a run."""
    best, score, sampled = validation.judge(state, folder / MODEL_FOLDER, device)
    result = {
        "targets": validation.describe(best),
        "metric": validation.metric,
        "score": score,
        "steps": state.step,
        "budget": budget,
        "best_step": state.best_step,
        "stopped_early": state.stopped,
        "seconds": state.seconds,
        "parameters": count_parameters(model),
        **({"fitted": True} if has_fitted_heads(options) else {}),
        **sampled,
        **({"processes": state.processes} if state.processes else {}),
    }
    write_facts(folder, RESULT_FILE, result)
    if not options.refit:
        forget_start(folder)


def test_run(folder: Path, progress: Progress | None = None) -> Run:
    """Calibrates the best weights on validation, predicts the test patches and scores them; done once.

    With `refit`, it is the model that was trained once more that is calibrated so and predicts.

    Args:
        folder: a trained run.
        progress: called while the model is trained once more, with (steps done, steps in all, a few words).
    """
    run = open_run(folder)
    store = shared_store(run.options.data.store)
    check_same_data(folder, store)
    if run.test is not None:
        _tidy(folder)
        return run
    prepared = prepare_once(store, run.options)
    device = open_device(run.options.train)
    if run.options.refit:
        refit_run(folder, progress)
        model = load_model(folder / REFIT_FOLDER, device)
    else:
        model = _calibrated(run, prepared, device)
    specs, calibrated = model.spec.heads, model.spec.calibration
    evaluate_as_trained(model, device, run.options.train)
    model.calibrate({})  # evidence holds what the model says before calibration, and how it is calibrated
    counts = {name: len(rows) for name, rows in prepared.known("test").items()}
    predict, loader = predict_with(model, device), prepared.loader(run.options)
    with MapWriter(folder, counts) as maps:
        evidence = gather(predict, prepared.tasks, specs, loader, prepared.rows["test"], keep=maps.add)
    model.calibrate(calibrated)
    save_model(model, folder / MODEL_FOLDER)
    write_test(folder, prepared, evidence)
    _tidy(folder)
    return open_run(folder)


def _tidy(folder: Path) -> None:
    """Removes what a tested run needed on its way."""
    forget_start(folder)
    shutil.rmtree(folder / REFIT_FOLDER, ignore_errors=True)


def _calibrated(run: Run, prepared: Prepared, device: torch.device) -> Model:
    """The model with the best weights by validation, calibrated there."""
    model = load_model(run.folder / MODEL_FOLDER, device)
    evaluate_as_trained(model, device, run.options.train)
    model.calibrate({})  # an interrupted test may have left it calibrated
    loader = prepared.loader(run.options)
    known, scenes = prepared.known("validation"), prepared.store.index["scene"].to_numpy(dtype=str)
    predict = predict_with(model, device)
    changes, facts = calibration(predict, prepared.tasks, loader, known, scenes, run.options.seed)
    model.calibrate(changes)
    write_facts(run.folder, CALIBRATION_FILE, facts)
    return model


def refit_run(folder: Path, progress: Progress | None = None) -> None:
    """Trains the model of a run with `refit` once more.

    It is calibrated like the one that validation chose, which it does not replace yet.

    Args:
        folder: a trained run; nothing is done if it is tested, or was trained once more already.
        progress: called with (steps done, steps in all, a few words).
    """
    run = open_run(folder)
    if not run.options.refit or run.test is not None or "refit" in run.result:
        return
    prepared = prepare_once(shared_store(run.options.data.store), run.options)
    device, is_first = open_device(run.options.train), ranks.is_first()
    calibrated = _calibrated(run, prepared, device).spec.calibration if is_first else {}
    steps, until = run.result["budget"], run.result["best_step"]
    seconds = refit(
        prepared,
        run.options,
        folder,
        folder / REFIT_FOLDER,
        steps=steps,
        until=until,
        calibrated=calibrated,
        progress=progress,
    )
    if is_first:
        again = {"steps": until, "patches": len(prepared.with_validation().rows["train"]), "seconds": seconds}
        write_facts(folder, RESULT_FILE, {**run.result, "refit": again, "seconds": run.result["seconds"] + seconds})
    ranks.wait()

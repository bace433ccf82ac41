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
    result.json        best validation scores, steps, cost; its presence says that the training is finished
    calibration.json   the temperature of each head, and the losses on held-out validation scenes by which it is used or not
    refit/             the same loop over training and validation patches (with `refit`), until the test is done
    predictions/  maps/  test.json   what it says about the test patches, and the scores over them (see `outputs`)
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from eofuse.config import OptionsType, parse_options, read_yaml, write_yaml
from eofuse.data.doors import describe_path
from eofuse.data.store import Store, shared_store
from eofuse.data.store.gaps import left_out_words
from eofuse.errors import DataError, UsageError
from eofuse.files import is_empty, write_text
from eofuse.learning.cautions import run_cautions, temperature_notes
from eofuse.learning.curves import Curves, read_curves
from eofuse.learning.environment import describe_environment
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
from eofuse.learning.loop import WITHOUT_EFFECT, Selection, evaluate_as_trained, open_device, open_fabric
from eofuse.learning.options import LearningOptions, RunOptions
from eofuse.learning.outputs import MapWriter, predictions_file, read_predictions, write_test
from eofuse.learning.preparation import Prepared, annotation_digests, inherited
from eofuse.learning.sharing import prepare_once
from eofuse.learning.split_table import write_split
from eofuse.learning.transfer import (
    forget_start,
    read_transfer,
    refuse_changed_weights,
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

RECIPE_FILE = "recipe.yaml"
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


def read_options(folder: Path) -> RunOptions:
    """The recipe of a run folder.

    Raises:
        UsageError: if it is no run folder.
    """
    return read_recipe(folder, RunOptions)


def read_recipe(folder: Path, kind: type[OptionsType]) -> OptionsType:
    """The recipe of a folder, as options of this kind.

    Raises:
        UsageError: if there is none.
    """
    if not (folder / RECIPE_FILE).is_file():
        what, fix = "is no run folder (it has no recipe.yaml)", "give the folder that `eofuse train` made"
        found = describe_path(folder)
        if found is not None:
            what, fix = f"is {found[0]}, not a run", found[1]
        raise UsageError(what, where=folder, fix=fix)
    return parse_options(kind, read_yaml(folder / RECIPE_FILE), where=folder / RECIPE_FILE)


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


def recipe_text(options: LearningOptions) -> str:
    """A run's recipe as it stands in its folder, with absolute paths."""
    if isinstance(options, RunOptions) and options.start is not None:
        options = options.model_copy(update={"start": options.start.resolved()})
    values = options.model_dump(mode="json")
    values["data"]["store"] = str(Path(options.data.store).resolve())
    for task in [values.get("task"), *(values.get("tasks") or {}).values()]:
        if task and task["file"]:
            task["file"] = str(Path(task["file"]).resolve())
    if (values.get("labels") or {}).get("order"):
        values["labels"]["order"] = str(Path(values["labels"]["order"]).resolve())
    return write_yaml(values)


def start_run(options: LearningOptions, folder: Path) -> None:
    """Makes a run folder with its recipe; one that holds this very recipe, but for what changes no number, is gone on with.

    Raises:
        UsageError: if the folder holds something else.
    """
    file = folder / RECIPE_FILE
    if folder.exists():
        if file.is_file():
            there = read_recipe(folder, type(options))
            alike = {name: getattr(options.train, name) for name in WITHOUT_EFFECT}
            train = there.train.model_copy(update=alike)
            if recipe_text(there.model_copy(update={"data": options.data, "train": train})) != recipe_text(options):
                fix = f"choose another folder, or go on with it by `eofuse resume {folder}`"
                raise UsageError("exists and holds another run", where=folder, fix=fix)
        elif not is_empty(folder):
            raise UsageError("exists and holds something else", where=folder, fix="choose another folder")
    write_text(file, recipe_text(options))


def train_run(folder: Path, progress: Progress | None = None, tensorboard: bool = True) -> Run:
    """Trains the recipe of a run folder; goes on where an interrupted run stopped; a finished one is only read.

    The test patches are not looked at (see `test_run`).

    Args:
        folder: a run folder (see `start_run`).
        progress: called with (steps done, steps in all, a few words).
        tensorboard: whether TensorBoard events are written.
    """
    options = read_options(folder)
    store = shared_store(options.data.store)
    check_same_data(folder, store)
    if (folder / RESULT_FILE).is_file():
        return open_run(folder)
    prepared = prepare_once(store, options)
    write_split(prepared.split_table(), folder)
    notes = inherited(prepared, options.start, folder)[1] if options.start is not None else []
    weights = _began_with(folder) or (weights_digest(options.start) if options.start is not None else None)
    write_facts(folder, DATA_FILE, {**prepared.summary(), "weights": weights, "start": notes})
    write_facts(folder, ENVIRONMENT_FILE, describe_environment(options.train.device))

    fabric = open_fabric(options.train)
    model, fine_tuning = begin(prepared, options, folder)
    evaluate_as_trained(model, fabric.device, options.train)
    prepared = with_vectors(prepared, model, options, fabric.device)
    predict = LossKeeper(model, prepared.tasks, fabric.device)
    validation = Validation(prepared, options, predict, model.spec.heads)
    curves = Curves(folder, tensorboard)
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
    best, score, sampled = validation.judge(state, folder / MODEL_FOLDER, fabric.device)
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
    }
    write_facts(folder, RESULT_FILE, result)
    if not options.refit:
        forget_start(folder)
    return open_run(folder)


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
    model = _refitted(run, prepared, device, progress) if run.options.refit else _calibrated(run, prepared, device)
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


def _refitted(run: Run, prepared: Prepared, device: torch.device, progress: Progress | None) -> Model:
    """The model after it was trained once more, calibrated like the one that validation chose, which it does not replace yet."""
    folder = run.folder / REFIT_FOLDER
    if "refit" not in run.result:
        steps, until = run.result["budget"], run.result["best_step"]
        seconds = refit(
            prepared,
            run.options,
            run.folder,
            folder,
            steps=steps,
            until=until,
            calibrated=_calibrated(run, prepared, device).spec.calibration,
            progress=progress,
        )
        again = {"steps": until, "patches": len(prepared.with_validation().rows["train"]), "seconds": seconds}
        result = {**run.result, "refit": again, "seconds": run.result["seconds"] + seconds}
        write_facts(run.folder, RESULT_FILE, result)
    return load_model(folder, device)


def check_same_data(folder: Path, store: Store) -> None:
    """Raises a `DataError` if the run began with other data, or from other weights."""
    file = folder / DATA_FILE
    if not file.is_file():
        return
    began = read_facts(folder, DATA_FILE)
    if "annotations" in began:
        digests = annotation_digests(read_options(folder))
        changed = [name for name, digest in digests.items() if digest not in began["annotations"]]
        if changed:
            what = "the file is not the one with which this run began"
            raise DataError(what, where=changed[0], fix="start a new run")
        start = read_options(folder).start
        if start is not None:
            refuse_changed_weights(start, _began_with(folder))
    if began["fingerprint"] != store.fingerprint:
        raise DataError("the store is not the one with which this run began", where=folder, fix="start a new run")


def _began_with(folder: Path) -> str | None:
    """The digest of the weights with which a run began; None if it did not begin, or with none that has a file."""
    file = folder / DATA_FILE
    return read_facts(folder, DATA_FILE).get("weights") if file.is_file() else None

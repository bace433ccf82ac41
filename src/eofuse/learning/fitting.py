"""What turns prepared data into a trained model: `begin`, `supervised`, `rows_of_step`, and `refit`, which does it once more."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eofuse import ranks
from eofuse.data.loading import balancing_weights, cumulated, drawn_rows, shuffled_rows
from eofuse.learning.curves import Curves
from eofuse.learning.fabric import open_fabric
from eofuse.learning.fine_tuning import FineTuning
from eofuse.learning.fitted import check_fitted_heads, fit_heads, has_fitted_heads, refit_heads
from eofuse.learning.lineage import History
from eofuse.learning.loop import RowsOfStep, Selection, State, Training
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import Prepared, model_spec, with_training
from eofuse.learning.semi_supervised import FixMatch, with_unlabelled
from eofuse.learning.several import share_batch_norm
from eofuse.learning.transfer import history_of, start_once
from eofuse.learning.vectors import with_vectors
from eofuse.models.artifact import save_model
from eofuse.models.lora import merged
from eofuse.models.model import Model, build_model
from eofuse.progress import Progress
from eofuse.tasks.objective import Objective, Supervised
from eofuse.tasks.weighting import WEIGHTINGS


def begin(prepared: Prepared, options: RunOptions, folder: Path) -> tuple[Model, FineTuning | None]:
    """A run's model before its first step, and how its layers learn if it starts from trained weights."""
    model = build_model(model_spec(prepared, options), seed=options.seed)
    share_batch_norm(model, prepared, options)
    if options.start is None:
        model.history = with_training(History(), prepared, options).to_text()
        check_fitted_heads(model, options)
        return model, None
    start = options.start
    model, table = ranks.first_of_all(lambda: start_once(model, start, folder))
    share_batch_norm(model, prepared, options)
    model.history = with_training(history_of(options.start, folder), prepared, options).to_text()
    fine_tuning = FineTuning(model, options.start, table, options.seed)
    check_fitted_heads(model, options)
    return model, fine_tuning


def supervised(model: Model, prepared: Prepared, options: RunOptions) -> Supervised:
    """A model with the tasks of a run, as the loop takes it."""
    names = [task.name for task in prepared.tasks]
    by_hand = {task.name: task.options.weight for task in prepared.tasks} if len(names) > 1 else {}
    way = options.weighting if len(names) > 1 else "fixed"
    weighting = WEIGHTINGS[way](names, by_hand)
    augment = prepared.augmentation(options)
    if options.unlabelled is None or not len(prepared.unlabelled):
        return Supervised(model, prepared.tasks, weighting, augment=augment)
    modalities, labelled = prepared.loader(options).modalities, options.train.batch_size
    task = prepared.tasks[0]
    return FixMatch(model, task, weighting, options.unlabelled, modalities, labelled=labelled, augment=augment)


def rows_of_step(prepared: Prepared, options: RunOptions) -> RowsOfStep:
    """Rows of each training step, by the options' way of sampling, with unlabelled ones behind; a pure function of the step."""
    labelled = _labelled_rows(prepared, options)
    if options.unlabelled is None or not len(prepared.unlabelled):
        return labelled
    return with_unlabelled(labelled, prepared.unlabelled, options.unlabelled, options.train.batch_size, options.seed)


def learn(
    model: Model, prepared: Prepared, options: RunOptions, folder: Path, selection: Selection, **more: Any
) -> tuple[State, int]:
    """Trains a model, or fits its heads; gives the state at the end, and the budget of steps. `more` is what `make_training` takes."""
    if has_fitted_heads(options):
        device, curves = more["fabric"].device, more["curves"]
        state = fit_heads(model, prepared, options, selection, curves, device, more["progress"])
        return state, state.step
    training = make_training(supervised(model, prepared, options), prepared, options, folder, selection, **more)
    return training.run(), training.steps


def make_training(
    objective: Objective, prepared: Prepared, options: RunOptions, folder: Path, selection: Selection, **more: Any
) -> Training:
    """The training of an objective on the data of a run, with the budget of the recipe.

    `more` is what else `Training` takes, or takes instead; `fabric` is part of it.
    """
    given: dict[str, Any] = {
        "steps": options.train.budget(len(prepared.rows["train"])),
        "curves": Curves(folder, tensorboard=False),
        **more,
    }
    rows = rows_of_step(prepared, options)
    loader = prepared.loader(options)
    return Training(
        objective, loader, rows, options.train, seed=options.seed, folder=folder, selection=selection, **given
    )


def _labelled_rows(prepared: Prepared, options: RunOptions) -> RowsOfStep:
    train, batch_size = prepared.rows["train"], options.train.batch_size
    balanced = [task for task in prepared.tasks if task.options.balance == "sampling"]
    if balanced:
        shares = cumulated(balancing_weights(balanced[0].target, train))
        return lambda step: drawn_rows(train, shares, batch_size, options.seed, step)
    return lambda step: shuffled_rows(train, batch_size, options.seed, step)


def refit(
    prepared: Prepared,
    options: RunOptions,
    folder: Path,
    to: Path,
    *,
    steps: int,
    until: int,
    calibrated: Mapping[str, Mapping[str, Any]],
    progress: Progress | None = None,
) -> float:
    """Trains a run's model once more, from the same beginning, on training and validation patches together.

    Normalisation, class weights and all else that was measured on the training patches stays as it was.

    Args:
        prepared: the data of the run.
        options: its recipe.
        folder: of the run, which keeps what it started from.
        to: where the loop has its checkpoint and the model is saved; a checkpoint that is there is gone on with.
        steps: the budget of the run, which sets the learning rates.
        until: the step that was best on validation; after as many the model is done.
        calibrated: temperatures and margins of the heads, which validation patches that were learned from can't give.
        progress: called with (steps done, steps in all, a few words).

    Returns:
        The seconds that it took.
    """
    model, fine_tuning = begin(prepared, options, folder)
    fabric = open_fabric(options.train)
    everything = with_vectors(prepared, model, options, fabric.device).with_validation()

    def save() -> None:
        done = merged(model)
        done.calibrate(calibrated)  # not before: pseudo-labels are what the model says uncalibrated
        save_model(done, to)

    if has_fitted_heads(options):
        seconds = refit_heads(model, everything, options, until, fabric.device)
        save()
        return seconds
    objective = supervised(model, everything, options)
    more: dict[str, Any] = {
        "steps": steps,
        "until": until,
        "fine_tuning": fine_tuning,
        "progress": progress,
        "fabric": fabric,
    }
    return make_training(objective, everything, options, to, Selection(save), **more).run().seconds

"""A pretraining: encoders trained on patches without labels, in a folder that holds all of it.

::

    recipe.yaml        the options, complete
    data.json          store, fingerprint, patches and scenes of each part, what was left out
    patches.parquet    the training and validation patches; test patches are not read
    split.parquet      the part of every patch of the store, or why it was left out (see `split_table`)
    environment.json   versions and machine
    checkpoint.pt      where the loop stands
    model/             the last weights, without heads: any recipe can start from them
    losses.csv  evaluations.csv  tensorboard/
    logged.json        what loggers have of it (with `train.loggers`)
    result.json        what was seen before and after, steps, cost; its presence says that the pretraining is finished
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from eofuse import ranks
from eofuse.config import read_yaml
from eofuse.data.loading import distinct_rows
from eofuse.data.store import Store, shared_store
from eofuse.errors import DataError, UsageError
from eofuse.learning.curves import EVALUATIONS_FILE, Curves, read_curve, read_curves
from eofuse.learning.environment import describe_environment
from eofuse.learning.fabric import open_device, open_fabric
from eofuse.learning.facts import DATA_FILE, ENVIRONMENT_FILE, RESULT_FILE, read_facts, write_facts
from eofuse.learning.loop import Selection, State, Training
from eofuse.learning.pretraining import METHODS, PretrainingOptions
from eofuse.learning.pretraining.monitoring import COLLAPSED, Monitor
from eofuse.learning.pretraining.preparation import Unlabelled, model_without_heads, prepare_unlabelled
from eofuse.learning.run import (
    MODEL_FOLDER,
    RECIPE_FILE,
    check_same_data,
    read_recipe,
)
from eofuse.learning.several import check_several, describe_batch_norm, process_notes
from eofuse.learning.split_table import write_split
from eofuse.learning.transfer import PATCHES_FILE
from eofuse.models.artifact import load_model, save_model
from eofuse.models.model import Model, build_model, count_parameters
from eofuse.progress import Progress
from eofuse.records import write_table
from eofuse.tasks.objective import Objective

if TYPE_CHECKING:
    from eofuse.learning.logs import Logs


@dataclass(frozen=True)
class PretrainedRun:
    """A finished pretraining, read from its folder.

    Attributes:
        folder: where it is.
        options: its recipe.
        result: what was seen before and after, and cost.
    """

    folder: Path
    options: PretrainingOptions
    result: dict[str, Any]

    @property
    def evaluations(self) -> pd.DataFrame:
        """What was seen while it ran: step, loss, spread, effective_rank and, with a target, knn_accuracy."""
        return read_curve(self.folder / EVALUATIONS_FILE)

    def curves(self) -> pd.DataFrame:
        """The course of the pretraining: step, target (none), split, metric, value (see `read_curves`).

        Raises:
            DataError: if its files are missing or damaged.
        """
        return read_curves(self.folder)

    def notes(self) -> list[str]:
        """What a user of the weights must know."""
        data = read_facts(self.folder, DATA_FILE)
        simulated = ["Simulated data: these weights say nothing about the real world."] if data["simulated"] else []
        changed = process_notes(self.result.get("processes", []))
        return [*simulated, *data["warnings"], *changed, *self.result["warnings"]]

    def model(self) -> Model:
        """The model without heads, with the last weights, on the CPU."""
        return load_model(self.folder / MODEL_FOLDER)


def open_pretraining(folder: Path) -> PretrainedRun:
    """A finished pretraining.

    Raises:
        UsageError: if it is no folder of a pretraining.
        DataError: if it is not finished or its files are damaged.
    """
    options = read_recipe(folder, PretrainingOptions)
    if not (folder / RESULT_FILE).is_file():
        raise DataError("the pretraining is not finished", where=folder, fix=f"go on with `eofuse resume {folder}`")
    return PretrainedRun(folder, options, read_facts(folder, RESULT_FILE))


def is_pretraining(folder: Path) -> bool:
    """Whether a folder holds the recipe of a pretraining, finished or not."""
    return (folder / RECIPE_FILE).is_file() and "pretrain" in read_yaml(folder / RECIPE_FILE)


def rehearse_pretraining(store: Store, options: PretrainingOptions) -> None:
    """Raises an error if a pretraining can't be done, before anything is written."""
    threads = torch.get_num_threads()
    device = open_device(options.train)
    torch.set_num_threads(threads)
    data = prepare_unlabelled(store, options)
    batch_size, patches = options.train.batch_size, len(data.rows["train"])
    if batch_size > patches:
        found = f"a batch of {batch_size} can't be filled from {patches} training patches"
        raise UsageError(found, where="train.batch_size", fix=f"use {patches} or less")
    model = build_model(model_without_heads(data, options, neutral=True), seed=0)
    Monitor(data, options, model, make_objective(model, data, options), device)


def train_pretraining(
    folder: Path, progress: Progress | None = None, tensorboard: bool = True, logs: "Logs | None" = None
) -> PretrainedRun:
    """Trains the recipe of a folder; goes on where an interrupted pretraining stopped; a finished one is only read.

    Args:
        folder: with the recipe (see `eofuse.learning.run.start_run`).
        progress: called with (steps done, steps in all, a few words).
        tensorboard: whether TensorBoard events are written.
        logs: where its curves are passed on to.
    """
    options = read_recipe(folder, PretrainingOptions)
    store = shared_store(options.data.store)
    check_same_data(folder, store)
    if (folder / RESULT_FILE).is_file():
        return open_pretraining(folder)
    check_several(options, ranks.place().size)
    data = prepare_unlabelled(store, options)
    if is_first := ranks.is_first():
        write_split(data.split_table(), folder)
        write_facts(folder, DATA_FILE, data.summary())
        write_table(data.patches(), folder / PATCHES_FILE)

    fabric = open_fabric(options.train)
    train, batch_size = data.rows["train"], options.train.batch_size
    steps = options.train.budget(len(train))
    model = build_model(model_without_heads(data, options), seed=options.seed)
    model.history = data.history(options).to_text()
    objective = make_objective(model, data, options)
    objective.module.to(fabric.device)
    monitor = Monitor(data, options, model, objective, fabric.device)
    evaluate = partial(ranks.by_first, monitor.evaluate)
    before = evaluate()
    curves = Curves(folder, tensorboard and is_first, logs)
    if is_first:
        several = ranks.describe(fabric.device, describe_batch_norm(objective.module))
        write_facts(folder, ENVIRONMENT_FILE, {**describe_environment(options.train.device), **several})
    state = Training(
        objective=objective,
        loader=data.loader(options),
        rows_of_step=partial(distinct_rows, train, batch_size, options.seed),
        options=options.train,
        steps=steps,
        seed=options.seed,
        folder=folder,
        fabric=fabric,
        selection=Selection(lambda: None, evaluate, "loss", lower_is_better=True),
        curves=curves,
        progress=progress and partial(_tell, progress, monitor),
    ).run()
    curves.close()
    if is_first:
        _finish(folder, options, model, state, before, steps)
    ranks.wait()
    return open_pretraining(folder)


def _finish(
    folder: Path, options: PretrainingOptions, model: Model, state: State, before: dict[str, float], steps: int
) -> None:
    """Writes weights and result."""
    save_model(model, folder / MODEL_FOLDER)
    after = state.evaluations[-1]
    result = {
        "method": options.pretrain.method,
        "before": before,
        "after": {name: value for name, value in after.items() if name != "step"},
        "warnings": _warnings(state.evaluations),
        "steps": state.step,
        "budget": steps,
        "stopped_early": state.stopped,
        "seconds": state.seconds,
        "parameters": count_parameters(model),
        **({"processes": state.processes} if state.processes else {}),
    }
    write_facts(folder, RESULT_FILE, result)


def make_objective(model: Model, data: Unlabelled, options: PretrainingOptions) -> Objective:
    """The method of the recipe; what it adds to the model has initial weights that the seed fixes."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(options.seed)
        return METHODS[options.pretrain.method](model, data, options)


def _tell(progress: Progress, monitor: Monitor, done: int, steps: int, words: str) -> None:
    alarm = f"collapsing: spread {monitor.latest['spread']:.3f}"
    progress(done, steps, f"{words} {alarm}".strip() if monitor.is_collapsed else words)


def _warnings(evaluations: Sequence[Mapping[str, float]]) -> list[str]:
    """What was seen that speaks against the weights."""
    last = evaluations[-1]
    if last["spread"] >= COLLAPSED:
        return []
    since = next(
        row["step"]
        for row in evaluations
        if all(each["spread"] < COLLAPSED for each in evaluations if each["step"] >= row["step"])
    )
    return [
        f"The embedding collapsed: all patches have nearly the same vector (spread {last['spread']:.3f}, below {COLLAPSED}, since "
        f"step {since:.0f}). Lower train.learning_rate, enlarge train.batch_size or choose another method."
    ]

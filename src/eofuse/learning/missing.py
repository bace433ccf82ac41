"""What a trained run predicts for its test patches without some of their modalities.

::

    without/<modalities, with + between>/<target>.parquet   test predictions with these taken away, as `predictions/` has them

Patches that lack a modality go on lacking it. Of a patch to which nothing is left, nothing is evaluated: it gets the constant
prediction, so that with every modality taken away the constant predictor is left.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from eofuse.data.loading import Batch, Loader
from eofuse.data.scenes import units
from eofuse.data.store import shared_store
from eofuse.evaluation.evidence import to_columns
from eofuse.evaluation.metrics import sums_of
from eofuse.evaluation.predictions import Predictions
from eofuse.evaluation.shapley import Subset
from eofuse.files import file_name, shortened
from eofuse.learning.fabric import evaluate_as_trained, open_device
from eofuse.learning.options import RunOptions
from eofuse.learning.outputs import predictions_file, read_predictions
from eofuse.learning.preparation import Prepared, learned_rows
from eofuse.learning.run import MODEL_FOLDER, Run, check_same_data, test_run
from eofuse.learning.sharing import prepare_once
from eofuse.learning.split_table import places_of
from eofuse.models.artifact import load_model
from eofuse.models.heads.base import HeadSpec
from eofuse.records import write_table
from eofuse.tasks import Evidence, Task
from eofuse.tasks.base import Array
from eofuse.tasks.gathering import Predict, gather, predict_constant, predict_with

WITHOUT_FOLDER = "without"

NEVER_SAW_GAPS = "This model never saw gaps in training: what it says without a modality tells how it extrapolates."


@dataclass(frozen=True)
class Tested:
    """A tested run with its model, ready to be evaluated again on its test patches.

    `predict` is its model before calibration, `specs` are those of the calibrated heads.
    """

    run: Run
    prepared: Prepared
    predict: Predict
    specs: Mapping[str, HeadSpec]
    loader: Loader

    @property
    def tasks(self) -> list[Task]:
        """The tasks that have test scores."""
        return [task for task in self.prepared.tasks if task.name in self.run.targets]

    def gather(self, predict: Predict) -> dict[str, Evidence]:
        """Evidence of the test patches by target name."""
        return gather(predict, self.tasks, self.specs, self.loader, self.prepared.rows["test"])

    def places(self, task: Task) -> dict[str, Array]:
        """The test patches that have a target: patch_id, row, scene."""
        return places_of(self.prepared.store.index, task.known(self.prepared.rows["test"]))

    def predictions(self, task: Task, evidence: Evidence) -> Predictions:
        """Evidence of the test patches as the statistics take it."""
        places, options = self.places(task), self.run.options
        scenes, patches = units(pd.DataFrame(places)).astype(str), places["patch_id"].astype(str)
        return Predictions(evidence, scenes, patches, options.seed, options.split.fold, sums_of(task.kind))


def open_tested(folder: Path) -> Tested:
    """A run with its model; a run that was not tested yet is tested first.

    Raises:
        UsageError: if it is no run folder.
        DataError: if its training is not finished, or its store has changed.
    """
    run = test_run(folder)
    store = shared_store(run.options.data.store)
    check_same_data(folder, store)
    prepared = prepare_once(store, run.options)
    device = open_device(run.options.train)
    model = load_model(folder / MODEL_FOLDER, device)
    evaluate_as_trained(model, device, run.options.train)
    specs = model.spec.heads
    model.calibrate({})
    return Tested(run, prepared, predict_with(model, device), specs, prepared.loader(run.options))


def never_lacked(options: RunOptions, prepared: Prepared) -> list[str]:
    """Inputs that every patch had from which a run learned, as it saw them."""
    if options.drops_modalities:
        return []
    rows = learned_rows(prepared.rows, prepared.unlabelled, options)
    return [name for name in options.inputs if prepared.present[name][rows].all()]


def predict_from(predict: Predict, tasks: Iterable[Task], subset: Subset) -> Predict:
    """Predictions from a subset of the modalities; the constant prediction of patches that have none of it."""
    tasks = list(tasks)
    if not subset:
        return predict_constant(tasks)

    def from_subset(batch: Batch) -> Mapping[str, Array]:
        present = {name: mask if name in subset else torch.zeros_like(mask) for name, mask in batch.present.items()}
        predictions = predict(replace(batch, present=present))
        nothing = ~torch.stack(list(present.values())).any(0).cpu().numpy()
        if not nothing.any():
            return predictions
        mixed = {}
        for task in tasks:
            values = predictions[task.name]
            rows = nothing.reshape(-1, *(1 for _ in values.shape[1:]))
            mixed[task.name] = np.where(rows, task.constant, values).astype(values.dtype)
        return mixed

    return from_subset


def without_file(folder: Path, taken: Subset, target: str) -> Path:
    """Where the predictions of a target lie that were made without some modalities."""
    return folder / WITHOUT_FOLDER / shortened("+".join(map(file_name, sorted(taken)))) / f"{file_name(target)}.parquet"


def test_without(folder: Path, taken: Iterable[Subset]) -> None:
    """Writes the test predictions of a run without some modalities, for each of these sets; those that exist are kept."""
    run = test_run(folder)
    missing = [
        names for names in taken if not all(without_file(folder, names, target).is_file() for target in run.targets)
    ]
    if not missing:
        return
    tested = open_tested(folder)
    for names in missing:
        subset = frozenset(run.options.inputs) - names
        evidence = tested.gather(predict_from(tested.predict, tested.tasks, subset))
        for task in tested.tasks:
            table = pd.DataFrame({**tested.places(task), **to_columns(evidence[task.name])})
            write_table(table, without_file(folder, names, task.name))


def read_without(folder: Path, taken: Subset, target: str) -> pd.DataFrame:
    """The test predictions of a target without some modalities; with none taken away, those with all."""
    return read_predictions(without_file(folder, taken, target) if taken else predictions_file(folder, target))

"""Models of trees on the inputs as columns: what tabular data are worth without a network (scikit-learn).

A random forest (Breiman 2001) and gradient boosting on histograms (Ke et al. 2017) see what the network sees: numbers as they are,
categories as one-hot, series step by step, and NaN for every gap and every absent modality. They learn from the training patches
alone, and validation chooses among a few settings, as it chooses the network's weights; they are fitted once more, on both, where the
network is (`refit`).
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

from eofuse.data.loading import Loader, Rows, in_order
from eofuse.data.store.arrays import known_values
from eofuse.kinds import Values
from eofuse.learning.controls.finish import Control, best_on_patches, is_done
from eofuse.learning.controls.linear import to_shares
from eofuse.modalities import Kind, Modality
from eofuse.tasks import Task
from eofuse.tasks.base import Array

TREES = 200
"""Of a forest."""

FOREST = [{"max_features": share, "min_samples_leaf": leaf} for share, leaf in product((0.2, 0.5), (1, 5))]
"""Settings of a forest among which validation chooses."""

BOOSTING = [
    {"max_iter": rounds, "max_leaf_nodes": leaves, "max_features": share}
    for rounds, leaves, share in product((50, 150), (4, 16), (0.3, 1.0))
]
"""Settings of gradient boosting among which validation chooses."""

DAYS_PER_YEAR = 365.2425


def random_forest_control(folder: Path) -> None:
    """Fills a run folder with a random forest on the inputs."""
    _control(folder, _forests)


def gradient_boosting_control(folder: Path) -> None:
    """Fills a run folder with gradient boosting on the inputs."""
    _control(folder, _boostings)


Candidates = Callable[[bool, int, int], list[Callable[[], Any]]]
"""(whether classes are predicted, seed, threads) → what makes a model of each of the settings."""


def _control(folder: Path, candidates: Candidates) -> None:
    if is_done(folder):
        return
    control = Control(folder)
    prepared, options = control.prepared, control.options
    columns = {part: read_columns(prepared.loader(options), rows) for part, rows in prepared.rows.items()}
    evidence = {}
    for task in prepared.tasks:
        if not task.kind.needs_maps:
            filled = np.isfinite(columns["train"][task.target.valid[prepared.rows["train"]]]).any(axis=0)
            own = {part: [values[:, filled]] for part, values in columns.items()}
            makers = candidates(not task.kind.is_numbers, options.seed, options.train.thread_count)
            evidence[task.name] = best_on_patches(control, task, own, partial(Trees, task), makers)
    control.finish(evidence, 0)


def _forests(classes: bool, seed: int, threads: int) -> list[Callable[[], Any]]:
    kind = RandomForestClassifier if classes else RandomForestRegressor
    return [partial(kind, TREES, random_state=seed, n_jobs=threads, **setting) for setting in FOREST]


def _boostings(classes: bool, seed: int, threads: int) -> list[Callable[[], Any]]:
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    return [partial(kind, random_state=seed, early_stopping=False, **setting) for setting in BOOSTING]


class Trees:
    """A model of trees for each label or number of a task, or one for all classes.

    Args:
        task: what is predicted.
        columns: (n, width) of training samples, with gaps, alone in a list.
        truth: (n,) class numbers, (n, classes) indicators or (n, numbers).
        make: gives an untrained model of scikit-learn.
    """

    def __init__(self, task: Task, columns: Sequence[Array], truth: Array, make: Callable[[], Any]) -> None:
        self.task = task
        outputs = [truth] if task.kind.values is Values.CLASS else list(truth.T)
        self.models = [None if (one == one[0]).all() else make().fit(columns[0], one) for one in outputs]
        self.firsts = [one[0] for one in outputs]

    def predict(self, features: Sequence[Array]) -> Array:
        """Probabilities or numbers of samples, (n, classes)."""
        (columns,) = features
        predicted = np.zeros((len(columns), len(self.task.classes)))
        for number, (model, first) in enumerate(zip(self.models, self.firsts, strict=True)):
            if self.task.kind.values is Values.CLASS:
                if model is None:
                    predicted[:, int(first)] = 1
                else:
                    predicted[:, model.classes_.astype(int)] = model.predict_proba(columns)
            elif model is None:
                predicted[:, number] = first
            elif self.task.kind.has_several:
                predicted[:, number] = model.predict_proba(columns)[:, 1]
            else:
                predicted[:, number] = model.predict(columns)
        return to_shares(predicted) if self.task.target.composition else predicted


def read_columns(loader: Loader, rows: Rows) -> Array:
    """The inputs of some patches as columns, (rows, width) in float32; NaN for gaps and where a modality is absent.

    The inputs must be without pixels.
    """
    parts = []
    for part in in_order(rows, 1024):
        batch = loader.read(part)
        columns = [_columns(modality, batch.inputs[name].numpy()) for name, modality in loader.modalities.items()]
        for values, present in zip(columns, batch.present.values(), strict=True):
            values[~present.numpy()] = np.nan
        parts.append(np.concatenate(columns, axis=1))
    return np.concatenate(parts)


def _columns(modality: Modality, values: Array) -> Array:
    """A modality of some patches as columns; the time of a step is its day of the year and the days since the first."""
    if modality.is_categorical:
        codes = [category.code for category in modality.categories]
        return np.asarray(values[:, None] == codes, dtype=np.float32)
    parts = [values.astype(np.float32)]
    if modality.kind is Kind.SERIES:
        parts = [known_values(values)]
        if modality.dated:
            days = values[..., :1].astype(np.float64)
            parts += [(days % DAYS_PER_YEAR).astype(np.float32), (days - days[:, :1]).astype(np.float32)]
    if modality.nodata is not None:
        parts[0][parts[0] == modality.nodata] = np.nan
    parts[0][~np.isfinite(parts[0])] = np.nan
    return np.concatenate([part.reshape(len(values), -1) for part in parts], axis=1)

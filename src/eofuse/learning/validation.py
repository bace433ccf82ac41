"""The validation patches: the score that selects the best weights, and the calibration of what is predicted.

With one task, its ranking metric selects. With several, their mean skill does: each metric's way from the constant prediction (0)
to perfection (1), so that metrics of any unit weigh alike. Early stopping looks at the same number.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from eofuse.data.loading import Batch, Loader, Rows
from eofuse.data.scenes import units
from eofuse.data.targets import Target
from eofuse.errors import DataError
from eofuse.evaluation.metrics import skill
from eofuse.learning.fabric import evaluate_as_trained
from eofuse.learning.loop import DivergenceError, State
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import Prepared
from eofuse.models.artifact import load_model
from eofuse.models.heads.base import HeadSpec
from eofuse.tasks.base import Array, Task
from eofuse.tasks.drawing import Draw
from eofuse.tasks.gathering import Predict, gather, predict_constant, predict_with, walk

SKILL = "skill"

MOST_SAMPLES = 200_000
"""Patches or labelled pixels, drawn from all those of the validation set, on which a head is calibrated."""


class Validation:
    """Scores what a function predicts for the validation patches.

    Args:
        prepared: the data of the run.
        options: its recipe.
        predict: what predicts.
        specs: of the heads, by target name.
        whole: whether all patches are looked at, by this process alone; otherwise as many as the recipe says (see `spread`), by all
            processes that train together.

    Attributes:
        rows: the patches that are looked at.
    """

    def __init__(
        self,
        prepared: Prepared,
        options: RunOptions,
        predict: Predict,
        specs: Mapping[str, HeadSpec],
        *,
        whole: bool = False,
    ) -> None:
        self.prepared = prepared
        self.whole = whole
        self.tasks = prepared.tasks
        self.loader = prepared.loader(options)
        self.rows, most = prepared.rows["validation"], options.train.validation_patches
        if not whole:
            self.rows = spread(self.tasks, self.rows, units(prepared.store.index), most)
        self.options = options
        self.predict = predict
        self.specs = specs
        several = len(self.tasks) > 1
        self.metric = SKILL if several else self.tasks[0].metric
        self.lower_is_better = not several and self.tasks[0].lower_is_better

    @property
    def is_sample(self) -> bool:
        """Whether there are more patches than are looked at."""
        return len(self.rows) < len(self.prepared.rows["validation"])

    def judge(self, state: State, folder: Path, device: torch.device) -> tuple[dict[str, float], float, dict[str, int]]:
        """Scores of the weights that were best, and of these the one that selects, greater being better: of all validation patches.

        Args:
            state: of the loop at its end.
            folder: where the weights are.
            device: on which they are evaluated, if training looked at some of the patches only.

        Returns:
            With them how many patches training looked at, where these were not all.
        """
        if not self.is_sample:
            return next(row for row in state.evaluations if row["step"] == state.best_step), state.best_score, {}
        model = load_model(folder, device)
        evaluate_as_trained(model, device, self.options.train)
        whole = Validation(self.prepared, self.options, predict_with(model, device), model.spec.heads, whole=True)
        scores = whole.evaluate()
        score = -scores[self.metric] if self.lower_is_better else scores[self.metric]
        return scores, score, {"validated_while_training": len(self.rows)}

    def evaluate(self) -> dict[str, float]:
        """All metrics: by name, or with several tasks by `<target>.<metric>`, and their mean skill.

        Raises:
            DivergenceError: if what is predicted is no finite number.
            DataError: if a ranking metric is not defined on the validation patches.
        """
        found = self._score(self._finite)
        if len(self.tasks) == 1:
            return found[self.tasks[0].name]
        return with_skill(self.tasks, found, self._constant)

    def describe(self, scores: Mapping[str, float]) -> list[dict[str, Any]]:
        """JSON-ready facts about each target, with its scores out of those that `evaluate` gave."""
        alone = len(self.tasks) == 1
        return [
            {
                "target": task.name,
                "kind": task.kind.name,
                "classes": list(task.classes),
                "unit": task.target.unit,
                "metric": task.metric,
                "validation": {
                    metric: None if math.isnan(value) else value
                    for metric in task.metrics
                    for value in [scores.get(f"{'' if alone else f'{task.name}.'}{metric}", math.nan)]
                },
            }
            for task in self.tasks
        ]

    def _finite(self, batch: Batch) -> dict[str, Array]:
        predicted = dict(self.predict(batch))
        if not all(np.isfinite(values).all() for values in predicted.values()):
            where = self.prepared.store.path
            raise DivergenceError("the model predicts no finite numbers", where=where, fix="lower train.learning_rate")
        return predicted

    @cached_property
    def _constant(self) -> dict[str, dict[str, float]]:
        """Scores of the constant predictions."""
        return self._score(predict_constant(self.tasks))

    def _score(self, predict: Predict) -> dict[str, dict[str, float]]:
        evidence = gather(
            predict, self.tasks, self.specs, self.loader, self.rows, complete=False, shared=not self.whole
        )
        found = {}
        for task in self.tasks:
            scores = task.score(evidence[task.name])
            if math.isnan(scores[task.metric]):
                what = f"{task.metric} of '{task.name}' is not defined on the validation patches"
                fix = "choose another metric, target or split"
                raise DataError(what, where=self.prepared.store.path, fix=fix)
            found[task.name] = {metric: float(scores[metric]) for metric in task.metrics}
        return found


def spread(tasks: Sequence[Task], rows: Rows, scenes: Array, most: int) -> Rows:
    """At most so many of the rows, the same each time: evenly over classes, and within each over scenes; every class is among them.

    Args:
        tasks: whose targets the patches have; classes are those of the first one with classes a patch.
        rows: of the store.
        scenes: of all patches of the store, (patches,).
        most: how many; all rows, if there are no more.
    """
    if len(rows) <= most:
        return rows
    valid = np.stack([task.target.valid[rows] for task in tasks])
    labelled = [task.target for task in tasks if task.kind.has_labels]
    shows = _shown(labelled[0], rows) if labelled else np.zeros((len(rows), 0), dtype=bool)
    rarity = np.where(shows, shows.sum(axis=0), len(rows) + 1)
    rarest = rarity.argmin(axis=1) if rarity.shape[1] else np.zeros(len(rows), dtype=np.int64)
    scene = np.unique(scenes[rows].astype(str), return_inverse=True)[1]
    order = np.lexsort((rows, scene, rarest, *valid))
    chosen = order[((np.arange(most) + 0.5) * len(rows) / most).astype(np.int64)]
    missing = np.flatnonzero(shows.any(axis=0) & ~shows[chosen].any(axis=0))
    return np.sort(rows[np.unique(np.concatenate([chosen, shows[:, missing].argmax(axis=0)]))])


def _shown(target: Target, rows: Rows) -> npt.NDArray[np.bool_]:
    """Which patches show which classes, (rows, classes)."""
    values = target.values[rows]
    one = values > 0 if target.kind.has_several else values[:, None] == np.arange(len(target.classes))
    return np.asarray(one & target.valid[rows][:, None])


def with_skill(
    tasks: Sequence[Task], scores: Mapping[str, Mapping[str, float]], constant: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    """The mean skill of several tasks, and their scores by `<target>.<metric>`.

    Args:
        tasks: the tasks.
        scores: by target and metric.
        constant: those of the constant predictions.
    """
    skills = [skill(task.metric, scores[task.name][task.metric], constant[task.name][task.metric]) for task in tasks]
    named = {f"{name}.{metric}": value for name, own in scores.items() for metric, value in own.items()}
    return {SKILL: float(np.mean(skills)), **named}


def calibration(
    predict: Predict, tasks: Sequence[Task], loader: Loader, known: Mapping[str, Rows], scenes: Array, seed: int
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Temperatures and margins of a model's heads by target name, from its predictions for validation patches.

    With them, also by target name, the facts by which a temperature was chosen or not.
    """
    rows = np.unique(np.concatenate(list(known.values())))
    draws = {task.name: Draw(MOST_SAMPLES, seed) for task in tasks}
    samples: dict[str, list[tuple[Array, Array, Array]]] = {task.name: [] for task in tasks}
    done = dict.fromkeys(known, 0)
    for task, prediction, truth in walk(predict, tasks, loader, rows):
        predicted, true, patch = task.sample(prediction, truth, draws[task.name])
        own = known[task.name][done[task.name] :][: len(truth)]
        done[task.name] += len(truth)
        samples[task.name].append((predicted, true, scenes[own[patch]]))
    changes, facts = {}, {}
    for task in tasks:
        drawn = draws[task.name].kept()
        predicted, true, of = (np.concatenate(parts)[drawn] for parts in zip(*samples[task.name], strict=True))
        changes[task.name], facts[task.name] = task.calibrate(predicted, true, of)
    return changes, facts

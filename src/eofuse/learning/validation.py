"""The validation patches: the score that selects the best weights, and the calibration of what is predicted.

With one task, its ranking metric selects. With several, their mean skill does: each metric's way from the constant prediction (0)
to perfection (1), so that metrics of any unit weigh alike. Early stopping looks at the same number.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from eofuse.data.loading import Batch, Loader, Rows
from eofuse.errors import DataError
from eofuse.evaluation.metrics import skill
from eofuse.learning.loop import DivergenceError
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import Prepared
from eofuse.models.heads.base import HeadSpec
from eofuse.tasks.base import Array, Task
from eofuse.tasks.drawing import Draw
from eofuse.tasks.gathering import Predict, gather, predict_constant, walk

SKILL = "skill"

MOST_SAMPLES = 200_000
"""Patches or labelled pixels, drawn from all those of the validation set, on which a head is calibrated."""


class Validation:
    """Scores what a function predicts for the validation patches."""

    def __init__(
        self, prepared: Prepared, options: RunOptions, predict: Predict, specs: Mapping[str, HeadSpec]
    ) -> None:
        self.prepared = prepared
        self.tasks = prepared.tasks
        self.loader = prepared.loader(options)
        self.predict = predict
        self.specs = specs
        several = len(self.tasks) > 1
        self.metric = SKILL if several else self.tasks[0].metric
        self.lower_is_better = not several and self.tasks[0].lower_is_better

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
        rows = self.prepared.rows["validation"]
        evidence = gather(predict, self.tasks, self.specs, self.loader, rows, complete=False)
        found = {}
        for task in self.tasks:
            scores = task.score(evidence[task.name])
            if math.isnan(scores[task.metric]):
                what = f"{task.metric} of '{task.name}' is not defined on the validation patches"
                fix = "choose another metric, target or split"
                raise DataError(what, where=self.prepared.store.path, fix=fix)
            found[task.name] = {metric: float(scores[metric]) for metric in task.metrics}
        return found


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

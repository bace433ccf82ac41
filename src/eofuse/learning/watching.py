"""What a run records of its training beside the score that selects: the loss on validation, and scores on some training patches.

Both are there for people, who compare them with the loss on training patches and the scores on validation; nothing is chosen by them.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import torch

from eofuse import ranks
from eofuse.data.loading import Batch
from eofuse.learning.curves import ON_TRAINING
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import Prepared
from eofuse.learning.validation import with_skill
from eofuse.models.heads.base import HeadSpec
from eofuse.models.model import Model
from eofuse.tasks.base import Array, Task
from eofuse.tasks.gathering import Predict, gather, predict_constant, predict_with
from eofuse.tasks.objective import mean_loss

MOST_PATCHES = 256
"""Training patches that are scored at an evaluation, and never more than there are validation patches: it is to cost little."""


class LossKeeper:
    """A model as a function from batches to predictions, which remembers the loss of each target on what passed.

    Args:
        model: in any mode; it predicts in evaluation mode.
        tasks: whose losses are kept.
        device: where the model is.
    """

    def __init__(self, model: Model, tasks: Sequence[Task], device: torch.device) -> None:
        self.model = model
        self.tasks = tasks
        self.device = device
        self._losses: dict[str, list[tuple[torch.Tensor, int]]] = {task.name: [] for task in tasks}

    def __call__(self, batch: Batch) -> dict[str, Array]:
        """Predictions by target name, (batch, …)."""
        moved, model = batch.to(self.device), self.model
        size, counted = model.size(moved.inputs), model.fusion.counted(moved.present)
        with model.evaluating():
            features = model.features(moved.inputs, moved.present)
            outputs = {task.name: model.head(task.name)(features, size) for task in self.tasks}
            for task in self.tasks:
                truth, known = moved.targets[task.name], moved.valid[task.name]
                output = outputs[task.name]
                if (
                    task.kind.is_boxes
                ):  # boxes are no raw output: a detector computes its losses from features and truth
                    output = model.head(task.name)(features, size, truth)
                count = int(batch.valid[task.name].sum())
                if count:  # numbers are taken off the device at the end: each time, it would wait
                    self._losses[task.name].append((mean_loss(task, output, counted, truth, known), count))
        return {
            name: values.float().cpu().numpy() for name, values in model.predictions(outputs, moved.present).items()
        }

    def take(self) -> dict[str, float]:
        """Mean losses by target since the last time: of batches, weighed by the patches that have the target."""
        means = {}
        for name, own in self._losses.items():
            losses = ranks.joined_parts([(float(loss), count) for loss, count in own])
            total = sum(count for _, count in losses)
            means[name] = sum(loss * count for loss, count in losses) / total if total else float("nan")
            own.clear()
        return means


class Watch:
    """Says after each evaluation what else there is to see.

    Args:
        prepared: the data of the run.
        options: its recipe.
        predict: what predicted the validation patches since the last time.
        specs: of the heads, by target name.

    Attributes:
        rows: the training patches that are scored, drawn by the seed of the run, the same every time.
    """

    def __init__(
        self, prepared: Prepared, options: RunOptions, predict: LossKeeper, specs: Mapping[str, HeadSpec]
    ) -> None:
        self.tasks = prepared.tasks
        self.losses = predict
        self.predict = predict_with(predict.model, predict.device)
        self.specs = specs
        self.loader = prepared.loader(options)
        train, most = prepared.rows["train"], min(MOST_PATCHES, len(prepared.rows["validation"]))
        draw = np.random.default_rng([options.seed, 31])
        self.rows = train if len(train) <= most else np.sort(draw.choice(train, most, replace=False))

    def evaluate(self) -> dict[str, float]:
        """`loss` on validation, or with several targets `<target>.loss`; scores as `Validation` has them, with `train/` before."""
        losses, scores = self.losses.take(), self._score(self.predict)
        several = len(self.tasks) > 1
        named = with_skill(self.tasks, scores, self._constant) if several else scores[self.tasks[0].name]
        return {
            **{f"{name}.loss" if several else "loss": value for name, value in losses.items()},
            **{f"{ON_TRAINING}{name}": value for name, value in named.items()},
        }

    @cached_property
    def _constant(self) -> dict[str, dict[str, float]]:
        """Scores of the constant predictions."""
        return self._score(predict_constant(self.tasks))

    def _score(self, predict: Predict) -> dict[str, dict[str, float]]:
        """Scores by target and metric; NaN where none of the patches has the target."""
        found = gather(predict, self.tasks, self.specs, self.loader, self.rows, complete=False, shared=True)
        scores = {task.name: task.score(found[task.name]) if task.name in found else {} for task in self.tasks}
        return {
            task.name: {metric: float(scores[task.name].get(metric, np.nan)) for metric in task.metrics}
            for task in self.tasks
        }

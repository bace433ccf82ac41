"""Predictions of many patches, batch by batch, and the evidence that is kept of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch

from eofuse import ranks
from eofuse.data.loading import Batch, Loader, Rows, in_order
from eofuse.evaluation.sparse import concatenated
from eofuse.models.heads.base import HeadSpec
from eofuse.models.model import Model
from eofuse.tasks.base import Array, Evidence, Task

Predict = Callable[[Batch], Mapping[str, Array]]
"""Predictions for a batch by target name, (batch, …)."""

BATCH_SIZE = 64


def predict_with(model: Model, device: torch.device) -> Predict:
    """A model as a function from batches to predictions."""

    def predict(batch: Batch) -> dict[str, Array]:
        moved = batch.to(device)
        predictions = model.predict(moved.inputs, moved.present)
        return {name: values.float().cpu().numpy() for name, values in predictions.items()}

    return predict


def predict_constant(tasks: Sequence[Task]) -> Predict:
    """The constant prediction of each task as a function of batches."""
    return lambda batch: {
        task.name: np.broadcast_to(task.constant, (len(batch), *task.constant.shape)) for task in tasks
    }


def walk(
    predict: Predict,
    tasks: Sequence[Task],
    loader: Loader,
    rows: Rows,
    batch_size: int = BATCH_SIZE,
    *,
    shared: bool = False,
) -> Iterator[tuple[Task, Array, Array]]:
    """Task, predictions and truth of the patches that are known, batch by batch.

    Args:
        predict: what predicts.
        tasks: for which there are predictions.
        loader: reads inputs and targets.
        rows: the patches, in order.
        batch_size: patches at a time.
        shared: whether the processes that train together have a part of the batches each.
    """
    batches = in_order(rows, batch_size)
    for batch in loader.batches(ranks.own_part(batches) if shared else batches):
        predictions = predict(batch)
        for task in tasks:
            known, truth = batch.valid[task.name].numpy(), batch.targets[task.name].numpy()
            if not known.any():
                continue
            prediction = predictions[task.name]
            if task.kind.is_map and prediction.shape[-2:] != truth.shape[-2:]:
                prediction = np.broadcast_to(prediction, (*prediction.shape[:2], *truth.shape[-2:]))
            yield (task, prediction, truth) if known.all() else (task, prediction[known], truth[known])


def gather(
    predict: Predict,
    tasks: Sequence[Task],
    specs: Mapping[str, HeadSpec],
    loader: Loader,
    rows: Rows,
    *,
    complete: bool = True,
    keep: Callable[[Task, Array], None] | None = None,
    batch_size: int = BATCH_SIZE,
    shared: bool = False,
) -> dict[str, Evidence]:
    """Evidence by target name, a row a patch that is known, in the order of the rows.

    Args:
        predict: what predicts.
        tasks: for which there are predictions.
        specs: of the heads, by target name.
        loader: reads inputs and targets.
        rows: the patches.
        complete: whether metrics that are slow to compute are wanted too.
        keep: gets the predictions of each batch.
        batch_size: patches at a time.
        shared: whether the processes that train together predict a part of the batches each; every one gets all of the evidence.
    """
    parts: dict[str, list[Evidence]] = {task.name: [] for task in tasks}
    for task, prediction, truth in walk(predict, tasks, loader, rows, batch_size, shared=shared):
        parts[task.name].append(task.evidence(prediction, truth, specs[task.name], complete=complete))
        if keep:
            keep(task, prediction)
    if shared:
        parts = {name: ranks.joined_parts(found) for name, found in parts.items()}
    return {name: join(found) for name, found in parts.items() if found}


def join(parts: Sequence[Evidence]) -> Evidence:
    """Evidence of several batches as one."""
    return {name: concatenated([part[name] for part in parts]) for name in parts[0]}

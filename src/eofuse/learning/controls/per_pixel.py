"""Maps without a network: a linear model from the features of a pixel to its class or numbers."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eofuse.data.loading import Batch, Loader, in_order
from eofuse.data.targets import IGNORE
from eofuse.learning.controls.finish import Control, better, is_done
from eofuse.learning.controls.linear import STRENGTHS, LinearHeads
from eofuse.learning.preparation import Prepared, model_spec
from eofuse.modalities import Kind
from eofuse.models.normalisation import Normaliser, hide_absent
from eofuse.tasks import Evidence, Task
from eofuse.tasks.base import Array
from eofuse.tasks.gathering import gather

MOST_SAMPLES = 5_000
"""Training pixels, evenly spread over the patches."""

PATCHES = 2
"""Patches at a time: all maps of a pyramid, brought to the pixels, are hundreds of numbers a pixel."""

PixelFeatures = Callable[[Batch], Sequence[Array]]
"""Features of each pixel of a batch, (batch, width, height, width) for each head; NaN where it does not decide."""


def per_pixel_control(folder: Path) -> None:
    """Fills a run folder with a linear model on the channels of each pixel, for the targets that have pixels."""
    if is_done(folder):
        return
    control = Control(folder)
    prepared, options = control.prepared, control.options
    spec = model_spec(prepared, options)
    normaliser = Normaliser(spec.modalities, spec.statistics)
    rasters = [modality.name for modality in spec.modalities if modality.kind is Kind.RASTER]

    def channels(batch: Batch) -> list[Array]:
        with torch.inference_mode():
            normalised = hide_absent(normaliser(batch.inputs), batch.present)
        return [np.concatenate([_numbers(normalised[name]) for name in rasters], axis=1)]

    tasks = [task for task in prepared.tasks if is_map(task)]
    evidence = {task.name: linear_maps(control, task, channels) for task in tasks}
    width = sum(modality.width for modality in spec.modalities if modality.kind is Kind.RASTER)
    control.finish(evidence, sum(len(task.classes) * (width + 1) for task in tasks))


def is_map(task: Task) -> bool:
    """Whether a task has a class or numbers for each pixel."""
    return task.kind in ("segmentation", "pixel_regression")


def linear_maps(control: Control, task: Task, features: PixelFeatures) -> Evidence:
    """Evidence of the test patches of the linear model that is best on the validation patches; heads are averaged.

    With `refit`, the model is fitted once more in the same way on both.

    Args:
        control: data and recipe.
        task: that has pixels.
        features: of each pixel.
    """
    prepared, loader = control.prepared, control.prepared.loader(control.options)
    samples, truth = _sample(task, prepared, loader, features)
    spec = task.head()
    best: float | None = None
    chosen: LinearHeads | None = None
    for strength in STRENGTHS[1::2]:
        models = LinearHeads(task, samples, truth, strength)
        predict = _predictor(task, models, features)
        rows = prepared.rows["validation"]
        found = gather(predict, [task], {task.name: spec}, loader, rows, complete=False, batch_size=PATCHES)
        score = task.score(found[task.name])[task.metric]
        if better(task.metric, score, best) or chosen is None:
            best, chosen = score, models
    assert chosen is not None
    if control.options.refit:
        samples, truth = _sample(task, prepared.with_validation(), loader, features)
        chosen = LinearHeads(task, samples, truth, chosen.strength)
    predict = _predictor(task, chosen, features)
    return gather(predict, [task], {task.name: spec}, loader, prepared.rows["test"], batch_size=PATCHES)[task.name]


def _sample(task: Task, prepared: Prepared, loader: Loader, features: PixelFeatures) -> tuple[list[Array], Array]:
    """Features of evenly spread training pixels for each head, and their truth."""
    rows = task.known(prepared.rows["train"])
    a_patch = max(1, MOST_SAMPLES // len(rows))
    if len(rows) > MOST_SAMPLES:
        rows = rows[np.linspace(0, len(rows) - 1, MOST_SAMPLES).astype(np.int64)]
    generator = np.random.default_rng(0)
    gathered: list[list[Array]] = []
    truths = []
    for part in in_order(rows, PATCHES):
        batch = loader.read(part)
        truth = batch.targets[task.name].numpy()
        truth = truth[:, None] if truth.ndim == 3 else truth
        flat = truth.swapaxes(0, 1).reshape(truth.shape[1], len(part), -1)
        pixels = generator.integers(0, flat.shape[2], (len(part), a_patch))
        picked = np.take_along_axis(flat, pixels[None], axis=2).reshape(truth.shape[1], -1).T
        known = np.isfinite(picked).all(axis=1) if picked.dtype.kind == "f" else picked[:, 0] != IGNORE
        truths.append(picked[known])
        heads = []
        for values in features(batch):
            columns = values.reshape(*values.shape[:2], -1)
            chosen = np.take_along_axis(columns, pixels[:, None], axis=2)  # (batch, width, samples)
            heads.append(chosen.swapaxes(1, 2).reshape(-1, values.shape[1])[known])
        gathered.append(heads)
    samples = [np.concatenate(parts) for parts in zip(*gathered, strict=True)]
    truth = np.concatenate(truths)
    return samples, truth[:, 0].astype(np.int64) if task.kind == "segmentation" else truth


def _predictor(task: Task, models: LinearHeads, features: PixelFeatures) -> Callable[[Batch], dict[str, Array]]:
    def predict(batch: Batch) -> dict[str, Array]:
        heads = features(batch)
        patches, _, rows, columns = heads[0].shape
        samples = [np.moveaxis(values, 1, -1).reshape(-1, values.shape[1]) for values in heads]
        maps = models.predict(samples).reshape(patches, rows, columns, -1)
        return {task.name: np.moveaxis(maps, -1, 1).astype(np.float32)}

    return predict


def _numbers(values: Tensor) -> Array:
    found: Array = values.float().cpu().numpy()
    return found

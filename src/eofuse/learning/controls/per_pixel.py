"""Maps without a network: a linear model from the features of a pixel to its class or numbers."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from eofuse.data.loading import Batch, Loader, Rows, in_order
from eofuse.data.targets import IGNORE
from eofuse.learning.controls.finish import Control, is_done, ranking
from eofuse.learning.controls.linear import STRENGTHS, LinearHeads, fit_linear
from eofuse.learning.controls.pyramid import Pyramid, predict_maps
from eofuse.learning.preparation import Prepared, model_spec
from eofuse.modalities import Kind, Modality
from eofuse.models.fusion.early import enlarged
from eofuse.models.normalisation import Normaliser, hide_absent
from eofuse.tasks import Evidence, Task
from eofuse.tasks.base import Array
from eofuse.tasks.drawing import Draw, evenly_spaced
from eofuse.tasks.gathering import gather, join

MOST_SAMPLES = 5_000
"""Labelled training pixels that are learned from."""

MOST_PATCHES = 10_000
"""Training patches from which they are drawn; of more, as many evenly spaced ones."""

PATCHES = 16
"""Patches at a time."""

PixelFeatures = Callable[[Batch], Sequence[Pyramid]]
"""Features of each pixel of a batch, for each head."""


def per_pixel_control(folder: Path) -> None:
    """Fills a run folder with a linear model on the channels of each pixel, for the targets that have pixels."""
    if is_done(folder):
        return
    control = Control(folder)
    prepared, options = control.prepared, control.options
    spec = model_spec(prepared, options)
    normaliser = Normaliser(spec.modalities, spec.statistics)
    rasters = [modality for modality in spec.modalities if modality.has_pixels]

    def channels(batch: Batch) -> list[Pyramid]:
        with torch.inference_mode():
            normalised = hide_absent(normaliser(batch.inputs), batch.present)
        planes = torch.cat([_planes(each, normalised[each.name]) for each in rasters], 1).float().cpu().numpy()
        return [Pyramid([planes], [1], (planes.shape[2], planes.shape[3]), np.isfinite(planes).all(axis=(1, 2, 3)))]

    tasks = [task for task in prepared.tasks if task.kind.is_map]
    evidence = {task.name: linear_maps(control, task, channels) for task in tasks}
    width = sum(modality.width - (modality.kind is Kind.IMAGE_SERIES) for modality in rasters)
    control.finish(evidence, sum(len(task.classes) * (width + 1) for task in tasks))


def _planes(modality: Modality, normalised: torch.Tensor) -> torch.Tensor:
    """What is seen of each pixel, (batch, width, height, width); of an image series the mean over the dates that show it.

    The pixels of a cell have its values.
    """
    if modality.kind is not Kind.IMAGE_SERIES:
        return enlarged(normalised, modality.cell)
    known = normalised[:, :, -1:]
    return (normalised[:, :, :-1] * known).sum(1) / known.sum(1).clamp(min=1)


def linear_maps(control: Control, task: Task, features: PixelFeatures) -> Evidence:
    """Evidence of the test patches of the linear model that is best on the validation patches; heads are averaged.

    With `refit`, the model is fitted once more in the same way on both.
    """
    prepared, loader = control.prepared, control.prepared.loader(control.options)
    samples, truth = _sample(task, prepared, loader, features, control.options.seed)
    spec = task.head()
    judged = control.judged_on()
    tried = [fit_linear(control, task, samples, truth, strength) for strength in STRENGTHS[1::2]]
    worth = [ranking(task, found) for found in _on_validation(task, judged, loader, features, tried)]
    chosen = tried[int(np.argmax(worth))]
    if control.options.refit:
        samples, truth = _sample(task, prepared.with_validation(), loader, features, control.options.seed)
        chosen = fit_linear(control, task, samples, truth, chosen.strength)
    predict = _predictor(task, chosen, features)
    return gather(predict, [task], {task.name: spec}, loader, prepared.rows["test"], batch_size=PATCHES)[task.name]


def _sample(
    task: Task, prepared: Prepared, loader: Loader, features: PixelFeatures, seed: int
) -> tuple[list[Array], Array]:
    """Features for each head, (pixels, width), and truth of training pixels: those drawn from all that have a label."""
    patch, pixel, truth = _draw_pixels(task, prepared, loader, seed)
    gathered = []
    for part in in_order(np.unique(patch), PATCHES):
        first, last = np.searchsorted(patch, [part[0], part[-1] + 1])
        position = np.searchsorted(part, patch[first:last])
        heads = features(loader.read(part))
        gathered.append([pyramid.at(position, pixel[first:last]) for pyramid in heads])
    samples = [np.concatenate(parts) for parts in zip(*gathered, strict=True)]
    return samples, truth if task.kind.is_numbers else truth[:, 0].astype(np.int64)


def _draw_pixels(task: Task, prepared: Prepared, loader: Loader, seed: int) -> tuple[Array, Array, Array]:
    """Patch and position of each pixel that is drawn, ascending, and its truth, (pixels, numbers)."""
    rows = evenly_spaced(np.sort(task.known(prepared.rows["train"])), MOST_PATCHES)
    draw, found = Draw(MOST_SAMPLES, seed), []
    for part in in_order(rows, 64):
        truth = task.target.read(part, loader.window)
        truth = truth[:, None] if truth.ndim == 3 else truth
        flat = np.moveaxis(truth, 1, -1).reshape(-1, truth.shape[1])
        labelled = np.isfinite(flat).all(axis=1) if flat.dtype.kind == "f" else flat[:, 0] != IGNORE
        places = np.flatnonzero(labelled)
        places = places[draw.candidates(len(places))]
        patch, pixel = np.divmod(places, truth.shape[2] * truth.shape[3])
        found.append((part[patch], pixel, flat[places]))
    kept = draw.kept()
    patch, pixel, truth = (np.concatenate(parts)[kept] for parts in zip(*found, strict=True))
    return patch, pixel, truth


def _predictor(task: Task, models: LinearHeads, features: PixelFeatures) -> Callable[[Batch], dict[str, Array]]:
    return lambda batch: {task.name: predict_maps(models, features(batch))}


def _on_validation(
    task: Task, rows: Rows, loader: Loader, features: PixelFeatures, tried: Sequence[LinearHeads]
) -> list[Evidence]:
    """Evidence of validation patches for each of some models, which share the features."""
    parts: list[list[Evidence]] = [[] for _ in tried]

    spec = task.head()
    for batch in loader.batches(in_order(rows, PATCHES)):
        known = batch.valid[task.name].numpy()
        if known.any():
            pyramids, truth = features(batch), batch.targets[task.name].numpy()[known]
            for models, found in zip(tried, parts, strict=True):
                found.append(task.evidence(predict_maps(models, pyramids)[known], truth, spec, complete=False))
    return [join(found) for found in parts]

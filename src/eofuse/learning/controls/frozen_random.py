"""Heads on frozen random features: what the architecture is worth without learning features.

Classes and numbers of patches and of pixels come from a linear model, fitted exactly, on the feature vector of each patch or on the
features of each pixel (all maps of the pyramid, brought to the pixels); the regularisation is chosen on validation. A detector's head
is trained by the loop.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eofuse.data.loading import Batch, Loader, Rows, in_order
from eofuse.files import file_name
from eofuse.learning.controls.finish import Control, best_on_patches, is_done
from eofuse.learning.controls.linear import STRENGTHS, fit_linear
from eofuse.learning.controls.per_pixel import linear_maps
from eofuse.learning.controls.pyramid import Pyramid
from eofuse.learning.fabric import open_device, open_fabric
from eofuse.learning.fitting import make_training
from eofuse.learning.loop import Selection
from eofuse.learning.preparation import model_spec
from eofuse.learning.run import MODEL_FOLDER, REFIT_FOLDER
from eofuse.learning.validation import Validation
from eofuse.models.artifact import load_model, save_model
from eofuse.models.model import Model, build_model, count_parameters
from eofuse.tasks import Evidence, Task
from eofuse.tasks.base import Array
from eofuse.tasks.drawing import evenly_spaced
from eofuse.tasks.gathering import gather, predict_with
from eofuse.tasks.objective import Supervised
from eofuse.tasks.weighting import Fixed

MOST_PATCHES = 20_000
"""Training patches of which features are computed; of more, as many evenly spaced ones."""


def frozen_random_control(folder: Path) -> None:
    """Fills a run folder with heads on frozen random features."""
    if is_done(folder):
        return
    control = Control(folder)
    prepared, options = control.prepared, control.options
    device = open_device(options.train)
    model = build_model(model_spec(prepared, options), seed=options.seed).to(device).eval()
    loader = prepared.loader(options)
    vector_tasks = [task for task in prepared.tasks if not task.kind.needs_maps]
    rows = {
        **prepared.rows,
        "train": evenly_spaced(prepared.rows["train"], MOST_PATCHES),
        "validation": control.judged_on(),
    }
    features = {name: _vectors(model, loader, own, device) if vector_tasks else [] for name, own in rows.items()}
    if vector_tasks and len(rows["train"]) < len(prepared.rows["train"]):
        found = f"{len(rows['train']):,} of {len(prepared.rows['train']):,} training patches, evenly spaced"
        control.note(f"the heads on frozen random features have learned from {found}")
    evidence: dict[str, Evidence] = {}
    for task in prepared.tasks:
        if task.kind.is_map:
            evidence[task.name] = linear_maps(control, task, partial(_pixels, model, device))
        elif task.kind.is_boxes:
            evidence[task.name] = _trained_head(control, task)
        else:
            evidence[task.name] = best_on_patches(
                control, task, features, partial(fit_linear, control, task), STRENGTHS, rows
            )
    control.finish(evidence, count_parameters(model.heads))


@torch.inference_mode()
def _vectors(model: Model, loader: Loader, rows: Rows, device: torch.device) -> list[Array]:
    """Feature vectors of each head's input, (patches, width), NaN where it does not decide."""
    batches = []
    for part in in_order(rows, 64):
        batch = loader.read(part).to(device)
        vectors = [each.vector for each in model.features(batch.inputs, batch.present)]
        batches.append(_where_counted(model, batch, vectors))
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


@torch.inference_mode()
def _pixels(model: Model, device: torch.device, batch: Batch) -> list[Pyramid]:
    """Features of each pixel for each head: the values of all maps there; of features without maps, the vector everywhere."""
    batch = batch.to(device)
    size = model.size(batch.inputs)
    features = model.features(batch.inputs, batch.present)
    counted = model.fusion.counted(batch.present)
    heads = []
    for number, each in enumerate(features):
        maps = each.maps or [each.vector[:, :, None, None]]
        strides = each.strides if each.maps else [max(size)]
        levels = [level.float().cpu().numpy() for level in maps]
        decides = np.ones(len(batch), dtype=bool) if counted is None else counted[number].cpu().numpy()
        heads.append(Pyramid(levels, [int(stride) for stride in strides], (size[0], size[1]), decides))
    return heads


def _where_counted(model: Model, batch: Batch, heads: Sequence[Tensor]) -> list[Array]:
    """Features (B, …) of each head, with NaN for the patches on which it does not decide."""
    counted = model.fusion.counted(batch.present)
    found = [values.float().cpu().numpy().copy() for values in heads]
    if counted is not None:
        for values, decides in zip(found, counted.cpu().numpy(), strict=True):
            values[~decides] = np.nan
    return found


def _trained_head(control: Control, task: Task) -> Evidence:
    """Evidence of the test patches of a head that the loop trains while the encoders stay as they are."""
    options, folder = control.options, control.folder / file_name(task.name)
    prepared = control.prepared.only(task)
    folder.mkdir(exist_ok=True)
    fabric = open_fabric(options.train)
    model = build_model(model_spec(prepared, options), seed=options.seed)
    validation = Validation(prepared, options, predict_with(model, fabric.device), model.spec.heads)
    keep = partial(save_model, model, folder / MODEL_FOLDER)
    selection = Selection(keep, validation.evaluate, validation.metric, validation.lower_is_better)
    heads = partial(Supervised, tasks=prepared.tasks, weighting=Fixed([task.name]), frozen=True)
    training = make_training(heads(model), prepared, options, folder, selection, fabric=fabric)
    state = training.run()
    if options.refit:
        folder = folder / REFIT_FOLDER
        model = build_model(model_spec(prepared, options), seed=options.seed)
        selection = Selection(partial(save_model, model, folder / MODEL_FOLDER))
        more: dict[str, Any] = {"steps": training.steps, "until": state.best_step, "fabric": fabric}
        make_training(heads(model), prepared.with_validation(), options, folder, selection, **more).run()
    trained = load_model(folder / MODEL_FOLDER, fabric.device)
    loader, rows = prepared.loader(options), prepared.rows["test"]
    return gather(predict_with(trained, fabric.device), prepared.tasks, trained.spec.heads, loader, rows)[task.name]

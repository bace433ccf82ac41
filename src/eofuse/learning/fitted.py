"""Heads that are fitted in one go on features that stay as they are: `fit_heads` in place of the loop, `refit_heads` once more.

Each setting of a head counts as a step: its loss on the training patches and its scores on validation stand in the curves of the run,
and the best one is kept, as the best weights of a training are.
"""

import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from eofuse.data.loading import Rows, in_order
from eofuse.errors import UsageError
from eofuse.learning.curves import Curves
from eofuse.learning.loop import Selection, State
from eofuse.learning.options import RunOptions
from eofuse.models.features import Features
from eofuse.models.heads import FITTED_HEADS, NETWORK
from eofuse.models.model import Model
from eofuse.progress import Progress
from eofuse.tasks.base import Array, Task
from eofuse.tasks.objective import mean_loss

if TYPE_CHECKING:
    from eofuse.learning.preparation import Prepared

BATCH_SIZE = 64


def has_fitted_heads(options: RunOptions) -> bool:
    """Whether the heads of a run are fitted, and nothing learns step by step."""
    return any(task.head != NETWORK for task in options.targets)


def check_fitted_heads(model: Model, options: RunOptions) -> None:
    """Raises a `UsageError` if something beside fitted heads would have to learn.

    Args:
        model: as it starts, with those parameters frozen that never learn.
        options: of the run.
    """
    if not has_fitted_heads(options):
        return
    named = ", ".join(sorted({task.head for task in options.targets}))
    if any(task.head == NETWORK for task in options.targets):
        raise UsageError(f"some heads are fitted ({named})", where="tasks", fix="give every task a head that is fitted")
    learning = [
        name
        for name, parameter in model.fusion.named_parameters()
        if parameter.requires_grad and not name.startswith("tokens.")
    ]
    if learning:
        what = f"the head '{named}' is fitted on features that stay as they are, and 'fusion.{learning[0]}' would have to learn"
        fix = (
            "use start: {from: …, mode: linear_probe}, or encoders without weights "
            f"(fusion: {{encoders: {{{next(iter(options.inputs))}: identity}}}}), with strategy: single or decision"
        )
        raise UsageError(what, where="task.head", fix=fix)
    if options.unlabelled is not None:
        raise UsageError("pseudo-labels are learned step by step", where="unlabelled", fix="use head: network")


def settings_of(options: RunOptions) -> list[tuple[float, ...]]:
    """The settings that are tried: one of each task, together; those of a head with fewer are repeated at the end."""
    each = [FITTED_HEADS[task.head].settings for task in options.targets]
    count = max(map(len, each))
    return [tuple(own[min(number, len(own) - 1)] for own in each) for number in range(count)]


def fit_heads(
    model: Model,
    prepared: "Prepared",
    options: RunOptions,
    selection: Selection,
    curves: Curves,
    device: torch.device,
    progress: Progress | None = None,
) -> State:
    """Fits the heads of a model with every setting, and keeps the best by validation.

    Args:
        model: whose encoders stay as they are; its heads are changed.
        prepared: the data of the run.
        options: its recipe.
        selection: which setting counts.
        curves: gets losses and scores.
        device: of the model.
        progress: called with (settings tried, settings, a few words).
    """
    began, state = time.perf_counter(), State()
    fitting, settings = _Fitting(model, prepared, options, device), settings_of(options)
    for number, setting in enumerate(settings, 1):
        losses = fitting.fit(setting)
        state.step = number
        state.losses["loss"].append(sum(losses.values()))
        if len(losses) > 1:
            for name, value in losses.items():
                state.losses.setdefault(name, []).append(value)
        assert selection.evaluate is not None
        scores = selection.evaluate()
        watched = selection.watch() if selection.watch is not None else {}
        state.evaluations.append({"step": number, **scores, **{n: v for n, v in watched.items() if n not in scores}})
        score = -scores[selection.metric] if selection.lower_is_better else scores[selection.metric]
        if score > state.best_score or not state.best_step:
            state.best_score, state.best_step = score, number
            selection.keep()
        if progress:
            progress(number, len(settings), f"{selection.metric} {scores[selection.metric]:.3f}")
    state.seconds = time.perf_counter() - began
    curves.write(state.losses, state.evaluations)
    return state


def refit_heads(model: Model, prepared: "Prepared", options: RunOptions, number: int, device: torch.device) -> float:
    """Fits the heads once more with one of the settings, counted from 1, and gives the seconds that it took."""
    began = time.perf_counter()
    _Fitting(model, prepared, options, device).fit(settings_of(options)[number - 1])
    return time.perf_counter() - began


class _Fitting:
    """Features of the training patches, computed once, and the truth."""

    def __init__(self, model: Model, prepared: "Prepared", options: RunOptions, device: torch.device) -> None:
        self.model = model.to(device)
        self.tasks = prepared.tasks
        self.heads = {task.target: FITTED_HEADS[task.head] for task in options.targets}
        self.device = device
        rows = prepared.rows["train"]
        self.features, self.counted = self._features(prepared, options, rows)
        self.known = {task.name: task.target.valid[rows] for task in self.tasks}
        self.truth = {task.name: task.target.values[rows] for task in self.tasks}

    def fit(self, setting: tuple[float, ...]) -> dict[str, float]:
        """Fits every head, and gives its loss on the training patches by target."""
        losses = {}
        for task, own in zip(self.tasks, setting, strict=True):
            head, known = self.model.head(task.name), self.known[task.name]
            for number, vectors in enumerate(self.features):
                rows = known if self.counted is None else known & self.counted[number]
                if rows.any():
                    self.heads[task.name].fit(
                        head, number, vectors[rows].astype(np.float64), self.truth[task.name][rows], own
                    )
            losses[task.name] = self._loss(task)
        return losses

    @torch.no_grad()
    def _loss(self, task: Task) -> float:
        features = [Features(torch.from_numpy(each).to(self.device)) for each in self.features]
        output = self.model.head(task.name)(features, (1, 1))
        known = torch.from_numpy(self.known[task.name]).to(self.device)
        counted = None if self.counted is None else torch.from_numpy(self.counted).to(self.device)
        truth = torch.from_numpy(self.truth[task.name]).to(self.device)
        return float(mean_loss(task, output, counted, truth, known))

    def _features(self, prepared: "Prepared", options: RunOptions, rows: Rows) -> tuple[list[Array], Array | None]:
        """Vectors (patches, width) of each set, and which sets decide on which patches, (sets, patches)."""
        loader, found, counts = prepared.loader(options), [], []
        with self.model.evaluating():
            for part in in_order(rows, BATCH_SIZE):
                batch = loader.read(part).to(self.device)
                found.append(
                    [each.vector.float().cpu().numpy() for each in self.model.features(batch.inputs, batch.present)]
                )
                counted: Tensor | None = self.model.fusion.counted(batch.present)
                whole = np.ones((len(found[-1]), len(part)), dtype=bool)
                counts.append(whole if counted is None else counted.cpu().numpy())
        joined = np.concatenate(counts, axis=1)
        vectors = [np.concatenate(parts) for parts in zip(*found, strict=True)]
        return vectors, None if joined.all() else joined

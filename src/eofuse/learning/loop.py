"""The one training loop, flat: read it from top to bottom.

Everything that a step depends on is a function of (seed, step): the rows of its batch, its randomness, its learning rate. One
checkpoint holds the rest (weights, optimiser, losses so far, best score), is written to a temporary file and renamed. So a run that
was killed at any moment goes on to the same numbers as one that was not.

A batch is cut into parts of equal size: as many as there are processes, times `accumulate`. The randomness of a part is a function of
(seed, step, number of the part), so that two processes draw what one draws that accumulates two parts.
"""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from eofuse import ranks
from eofuse.data.loading import Batch, Loader, Rows, cut
from eofuse.errors import DataError
from eofuse.learning.averaging import WeightAverage
from eofuse.learning.checkpoints import CHECKPOINT_FILE as CHECKPOINT_FILE
from eofuse.learning.checkpoints import State as State
from eofuse.learning.checkpoints import restore, save
from eofuse.learning.curves import Curves
from eofuse.learning.fine_tuning import FineTuning
from eofuse.learning.train_options import WITHOUT_EFFECT as WITHOUT_EFFECT
from eofuse.learning.train_options import Schedule as Schedule
from eofuse.learning.train_options import TrainOptions as TrainOptions
from eofuse.progress import Progress
from eofuse.tasks.objective import Objective
from eofuse.words import counted

if TYPE_CHECKING:
    from lightning_fabric import Fabric

RowsOfStep = Callable[[int], Rows]
Evaluate = Callable[[], dict[str, float]]


class DivergenceError(DataError):
    """The training loss is no finite number any more."""


@dataclass
class Selection:
    """Which weights of a training count.

    Attributes:
        keep: called when the current weights have the best score so far, or are the last where nothing selects.
        evaluate: scores the current weights on the validation patches; None where nothing selects and the last weights count.
        metric: the score that selects.
        lower_is_better: whether that score is better when smaller.
        watch: called after each evaluation; what else is recorded of the current weights, and selects nothing.
    """

    keep: Callable[[], object]
    evaluate: Evaluate | None = None
    metric: str = ""
    lower_is_better: bool = False
    watch: Evaluate | None = None


@dataclass
class Training:
    """A training of some steps, which goes on where the checkpoint of its folder stands.

    Attributes:
        objective: what is minimised.
        loader: reads the batches.
        rows_of_step: rows of each step's batch; pure.
        options: how to train.
        steps: the budget, which sets the learning rate of each step.
        seed: fixes the randomness of the steps.
        folder: where the checkpoint lies.
        fabric: device and precision.
        selection: which weights count.
        curves: gets losses and scores at every checkpoint.
        until: the step after which training ends, that of the budget by default.
        fine_tuning: which layers learn, when and how fast; all of them alike by default.
        progress: called with (steps done, steps in all, a few words).
    """

    objective: Objective
    loader: Loader
    rows_of_step: RowsOfStep
    options: TrainOptions
    steps: int
    seed: int
    folder: Path
    fabric: "Fabric"
    selection: Selection
    curves: Curves
    until: int | None = None
    fine_tuning: FineTuning | None = None
    progress: Progress | None = None

    def run(self) -> State:
        """Trains, and leaves the module with its last weights, or their average; returns the final state.

        Raises:
            DivergenceError: if the training loss is no finite number any more.
        """
        module, options, curves = self.objective.module, self.options, self.curves
        optimizer = make_optimizer(module, options, self.fine_tuning)
        wrapped, optimizer = self.fabric.setup(module, optimizer)
        self.objective.module = wrapped
        average = None if options.average is None else WeightAverage(module, options.average)
        state = restore(self.folder / CHECKPOINT_FILE, module, optimizer, self.fabric.device, average)
        last = self.until or self.steps
        self._meet(module, state, last)
        if is_first := ranks.is_first():
            curves.write(state.losses, state.evaluations)
        evaluate_at = evaluation_steps(last, options.evaluations)
        steps = range(state.step, 0 if state.stopped else last)
        started = time.perf_counter() - state.seconds
        saved = time.perf_counter()
        logged: list[dict[str, Tensor]] = []
        module.train()
        for batch in self.loader.batches((self._own_rows(step) for step in steps), self.fabric.device):
            self._set_rates(optimizer, state.step)
            logged.append(self._set_gradients(batch, state.step))
            ranks.average(*_exchanged(module))
            if options.clip_norm is not None:
                self.fabric.clip_gradients(wrapped, optimizer, max_norm=options.clip_norm, error_if_nonfinite=False)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            state.step += 1
            self.objective.after_step(state.step)
            if average is not None:
                average.update(state.step)
            words = ""
            is_evaluated = state.step in evaluate_at
            if is_evaluated or time.perf_counter() - saved > 60 * options.checkpoint_minutes:
                _keep_losses(state, logged)
                if is_evaluated:
                    with nullcontext() if average is None else average.in_place():
                        words = self._evaluate(state, last)
                state.seconds = time.perf_counter() - started
                if is_first:
                    save(self.folder / CHECKPOINT_FILE, module, optimizer, state, average)
                saved = time.perf_counter()
            if is_evaluated and is_first:
                curves.write(state.losses, state.evaluations)
            if self.progress:
                self.progress(state.step, last, words)
            if state.stopped:
                break
        self.objective.module = module
        if average is not None:
            average.put()
        return state

    def _meet(self, module: nn.Module, state: State, last: int) -> None:
        """Lets several processes begin with the same weights, and notes how many they are."""
        place = ranks.place()
        if len(set(ranks.joined_parts([state.step]))) > 1:
            fix = "let all machines see the same folder, on a file system that they share"
            raise DataError("the processes find different checkpoints", where=self.folder, fix=fix)
        tensors = [each for each in module.state_dict().values() if each.device == self.fabric.device]
        ranks.copy_from_first(tensors)
        before = state.processes[-1][1] if state.processes else 1
        if place.size != before:
            state.processes.append([state.step, place.size])
            if state.step and self.progress:
                self.progress(
                    state.step, last, f"goes on with {counted(place.size, 'process', 'processes')}, not {before}"
                )

    def _own_rows(self, step: int) -> Rows:
        """The rows of a step that this process has."""
        rows, place = self.rows_of_step(step), ranks.place()
        count = self.options.accumulate
        return (
            rows
            if place.size * count == 1
            else np.concatenate(cut(rows, place.size * count)[place.rank * count :][:count])
        )

    def _set_gradients(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Gradients of the loss of the whole batch, of which this process has its parts; loss and logs."""
        parts = batch.parts(self.options.accumulate)
        first = ranks.place().rank * len(parts)
        logged: dict[str, Tensor] = {}
        with ranks.together():
            for loss, logs in self.objective.losses(parts, lambda part: reseed(self.seed, step, first + part)):
                self.fabric.backward(loss)
                own = {"loss": loss.detach(), **logs}
                logged = {name: logged[name] + value for name, value in own.items()} if logged else own
        return logged

    def _set_rates(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        if self.fine_tuning is not None:
            self.fine_tuning.set_step(step, self.steps)
        rate = self.options.learning_rate * learning_rate_factor(
            step, self.steps, self.options.warmup, self.options.schedule
        )
        for group in optimizer.param_groups:
            group["lr"] = group["scale"] * rate

    def _evaluate(self, state: State, last: int) -> str:
        """Scores the current weights, and keeps them if they count; the score in words."""
        loss, selection = state.losses["loss"][-1], self.selection
        if not math.isfinite(loss):
            what = f"the training loss is {loss} at step {state.step}"
            raise DivergenceError(what, where=self.folder, fix="lower train.learning_rate")
        if selection.evaluate is None:
            if state.step == last and ranks.is_first():
                selection.keep()
            return ""
        scores = selection.evaluate()
        watched = selection.watch() if selection.watch is not None else {}
        scores, watched = ranks.by_first(lambda: (scores, watched))
        others = {name: value for name, value in watched.items() if name not in scores}
        state.evaluations.append({"step": state.step, **scores, **others})
        state.waiting += 1
        score = -scores[selection.metric] if selection.lower_is_better else scores[selection.metric]
        if score > state.best_score or not state.best_step:
            state.best_score, state.best_step, state.waiting = score, state.step, 0
            if ranks.is_first():
                selection.keep()
        state.stopped = self.options.patience is not None and state.waiting >= self.options.patience
        return f"{selection.metric} {scores[selection.metric]:.3f}"


def reseed(seed: int, step: int, part: int) -> None:
    """Sets torch's random state to that of a part of a step's batch."""
    first = seed * 1_000_003 + step
    torch.manual_seed(
        first if part == 0 else int(np.random.SeedSequence([first, part]).generate_state(1, np.uint64)[0])
    )


def make_optimizer(
    module: nn.Module, options: TrainOptions, fine_tuning: FineTuning | None = None
) -> torch.optim.Optimizer:
    """The optimiser of the options over the parameters that are to be trained, in groups of one learning rate and decay."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    scales = [1.0 if fine_tuning is None else fine_tuning.scale(parameter) for parameter in trained]
    groups = []
    for scale in sorted(set(scales), reverse=True):
        alike = [parameter for parameter, own in zip(trained, scales, strict=True) if own == scale]
        matrices = [parameter for parameter in alike if parameter.ndim > 1]
        others = [parameter for parameter in alike if parameter.ndim <= 1]
        groups += [
            {"params": matrices, "weight_decay": options.weight_decay, "scale": scale},
            {"params": others, "weight_decay": 0.0, "scale": scale},
        ]
    if options.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=options.learning_rate, momentum=options.momentum)
    return torch.optim.AdamW(groups, lr=options.learning_rate, fused=True)  # one pass over memory, also on a CPU


def learning_rate_factor(step: int, steps: int, warmup: float, schedule: Schedule = "cosine") -> float:
    """Share of the peak learning rate at a step, a pure function: a linear rise, then the schedule.

    `cosine` (Loshchilov & Hutter 2017) and `linear` fall to zero at the last step's end; `step` falls to a tenth at half of what is
    left after the rise, and to a hundredth at three quarters (He et al. 2016); `constant` stays.

    Args:
        step: counted from 0.
        steps: the budget.
        warmup: share of the steps in which the rate rises.
        schedule: how it goes on.
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    done, left = step - rising, max(1, steps - rising)
    if schedule == "constant":
        return 1.0
    if schedule == "linear":
        return 1 - done / left
    if schedule == "step":
        return 0.1 ** ((2 * done >= left) + (4 * done >= 3 * left))
    return 0.5 * (1 + math.cos(math.pi * done / left))


def evaluation_steps(steps: int, evaluations: int) -> set[int]:
    """The steps after which the model is evaluated: evenly spaced, the last one included."""
    return {round(number * steps / evaluations) for number in range(1, evaluations + 1)} - {0}


def _exchanged(module: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """What learns of a module, and the running means of its batch norms: what processes that train together average."""
    if ranks.place().size == 1:
        return [], []
    norms = [each for each in module.modules() if isinstance(each, _BatchNorm) and each.training]
    means = [tensor for each in norms for tensor in (each.running_mean, each.running_var) if tensor is not None]
    return [each for each in module.parameters() if each.requires_grad], means


def _keep_losses(state: State, logged: list[dict[str, Tensor]]) -> None:
    """Moves what was logged since the last time into the state; waits for the device."""
    for name in logged[0]:
        values = torch.stack([values[name] for values in logged]).float().cpu().tolist()
        state.losses.setdefault(name, []).extend(values)
    logged.clear()

"""What the loop minimises: `Objective`, and `Supervised`, a model that learns one task or several at once."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from eofuse.data.loading import Batch
from eofuse.models.model import Model
from eofuse.tasks.base import Task
from eofuse.tasks.mixed import MixedBatch, Partner
from eofuse.tasks.weighting import Weighting


class Objective(ABC):
    """Anything that the loop can train.

    Attributes:
        module: what is trained, and checkpointed with everything that it remembers.
    """

    module: nn.Module

    @abstractmethod
    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, and values to be logged."""

    def after_step(self, step: int) -> None:  # noqa: B027
        """Called after each step of the optimiser, with the number of steps done; does nothing by default."""


class Supervised(Objective):
    """A model that learns its targets.

    Args:
        model: the model.
        tasks: what it learns, in the order of its heads.
        weighting: how the tasks' losses become one.
        frozen: whether the heads alone learn.
        augment: changes the batch before it is learned from.
    """

    def __init__(
        self,
        model: Model,
        tasks: Sequence[Task],
        weighting: Weighting,
        *,
        frozen: bool = False,
        augment: Callable[[Batch], Batch] | None = None,
    ) -> None:
        self.module: nn.Module = Learner(model, tasks, weighting, frozen=frozen)
        self.augment = augment

    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted loss; with several tasks, the loss and the weight of each."""
        if self.augment is not None:
            batch = self.augment(batch)
        partners = batch.partners if isinstance(batch, MixedBatch) else {}
        loss, logs = self.module(batch.inputs, batch.present, batch.targets, batch.valid, partners)
        return loss, logs


class Learner(nn.Module):
    """A model together with the weighting of its losses, which may learn too. See `Supervised`."""

    def __init__(self, model: Model, tasks: Sequence[Task], weighting: Weighting, *, frozen: bool) -> None:
        super().__init__()
        self.model = model
        self.tasks = list(tasks)
        self.weighting = weighting
        self.frozen = frozen
        if frozen:
            model.fusion.requires_grad_(False)

    def train(self, mode: bool = True) -> "Learner":
        """Training mode, but for the encoders if they are frozen."""
        super().train(mode)
        if self.frozen:
            self.model.fusion.eval()
        return self

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        targets: Mapping[str, Tensor],
        known: Mapping[str, Tensor],
        partners: Mapping[str, Partner],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted loss of a batch, which may be mixed, and by task its loss and weight."""
        features = self.model.features(inputs, present)
        counted = self.model.fusion.counted(present)
        losses = {}
        for task in self.tasks:
            truth = targets[task.name]
            output = self.model.head(task.name)(features, self.model.size(inputs), truth)
            losses[task.name] = mixed_loss(task, output, counted, truth, known[task.name], partners.get(task.name))
        loss = self.weighting(losses, list(self.model.fusion.parameters()) if self.weighting.needs_shared else ())
        if len(self.tasks) == 1:
            return loss, {}
        weights = zip(losses, self.weighting.weights(), strict=True)
        return loss, {
            **{name: value.detach() for name, value in losses.items()},
            **{f"{name}.weight": weight.detach() for name, weight in weights},
        }


def mixed_loss(
    task: Task, output: Any, counted: Tensor | None, truth: Tensor, known: Tensor, partner: Partner | None
) -> Tensor:
    """A task's loss; of patches that were mixed, the mean of those to both truths, weighed by their shares."""
    loss = mean_loss(task, output, counted, truth, known)
    if partner is None:
        return loss
    return loss.lerp(mean_loss(task, output, counted, partner.truth, partner.valid), partner.weight)


def mean_loss(task: Task, output: Any, counted: Tensor | None, truth: Tensor, known: Tensor) -> Tensor:
    """A task's loss; if heads (heads, B) don't count on every patch, the mean of theirs, weighed by known patches on which they do."""
    if counted is None:
        return task.loss(output, truth, known)
    losses = [task.loss(output[head : head + 1], truth, known & there) for head, there in enumerate(counted)]
    weights = (counted & known).sum(1).to(losses[0])
    return (torch.stack(losses) * weights).sum() / weights.sum().clamp(min=1)

"""What the loop minimises: `Objective`, and `Supervised`, a model that learns one task or several at once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from torch import Tensor, nn

from eofuse.data.loading import Batch
from eofuse.models.model import Model
from eofuse.tasks.base import Task
from eofuse.tasks.mixed import MixedBatch, Partner
from eofuse.tasks.weighting import Weighting


class Objective(Protocol):
    """Anything that the loop can train: it has a module and a loss for a batch."""

    module: nn.Module

    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, and values to be logged."""
        ...


class Supervised:
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
        loss, logs = self.module(batch.inputs, batch.targets, batch.known, partners)
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
        targets: Mapping[str, Tensor],
        known: Mapping[str, Tensor],
        partners: Mapping[str, Partner],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted loss of a batch, which may be mixed, and by task its loss and weight."""
        features = self.model.features(inputs)
        losses = {}
        for task in self.tasks:
            truth = targets[task.name]
            output = self.model.head(task.name)(features, self.model.size(inputs), truth)
            losses[task.name] = task.loss(output, truth, known[task.name])
            if task.name in partners:
                other = partners[task.name]
                losses[task.name] = losses[task.name].lerp(task.loss(output, other.truth, other.known), other.weight)
        loss = self.weighting(losses, list(self.model.fusion.parameters()))
        if len(self.tasks) == 1:
            return loss, {}
        weights = zip(losses, self.weighting.weights(), strict=True)
        return loss, {
            **{name: value.detach() for name, value in losses.items()},
            **{f"{name}.weight": weight.detach() for name, weight in weights},
        }

"""What the loop minimises: `Objective`, and `Supervised`, a model that learns one task or several at once."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from eofuse import ranks
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

    def losses(
        self, parts: Sequence[Batch], reseed: Callable[[int], None]
    ) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """The losses of a batch in parts, which add up, and values to be logged, which add up too.

        Each is computed when the one before it has passed backward.

        Args:
            parts: of the batch, in order: those that this process has.
            reseed: sets the random state to that of one of the parts.
        """
        (part,) = parts
        reseed(0)
        yield self.step(part)

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
        self.model = model
        self.tasks = list(tasks)
        self.augment = augment

    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted loss; with several tasks, the loss and the weight of each."""
        return self._loss(batch if self.augment is None else self.augment(batch))

    def losses(
        self, parts: Sequence[Batch], reseed: Callable[[int], None]
    ) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """The losses of the parts, each weighed by its share of the batch's valid targets."""
        if len(parts) == 1 and not ranks.are_together():
            yield from super().losses(parts, reseed)
            return
        changed, states = [], []
        for number, part in enumerate(parts):
            reseed(number)
            changed.append(part if self.augment is None else self.augment(part))
            states.append(torch.get_rng_state())
        counts = torch.stack([self._counts(part) for part in changed])
        shares = counts / ranks.summed(counts.sum(0)).clamp(min=1)
        names = {task.name for task in self.tasks}  # what else is logged, weights, is the same in every part
        for number, (part, state) in enumerate(zip(changed, states, strict=True)):
            reseed(number)  # of CUDA devices too
            torch.set_rng_state(state)
            loss, logs = self._loss(part, shares[number])
            yield loss, {name: value if name in names else value / len(parts) for name, value in logs.items()}

    def _loss(self, batch: Batch, shares: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and logs of a batch that is augmented already; as a part of a batch, with the share of each task."""
        own = () if shares is None else (shares,)
        loss, logs = self.module(batch.inputs, batch.present, batch.targets, batch.valid, partners_of(batch), *own)
        return loss, logs

    def _counts(self, batch: Batch) -> Tensor:
        """How many valid targets each task's loss is a mean of, (tasks,)."""
        counted = everywhere_counted(self.model, batch.present)
        partners, counts = partners_of(batch), []
        for task in self.tasks:
            count = valid_count(task, batch.targets[task.name], batch.valid[task.name], counted)
            if (partner := partners.get(task.name)) is not None:
                count = count.lerp(valid_count(task, partner.truth, partner.valid, counted), partner.weight)
            counts.append(count)
        return torch.stack(counts)


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
        shares: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted loss of a batch, which may be mixed, and by task its loss and weight.

        Of a part of a batch, (tasks,) `shares` of the batch's valid targets: then the losses are the part's shares of the batch's, or,
        with several processes, those of the parts that all of them have here.
        """
        features = self.model.features(inputs, present)
        counted = self.model.fusion.counted(present) if shares is None else everywhere_counted(self.model, present)
        losses = {}
        for task in self.tasks:
            truth = targets[task.name]
            output = self.model.head(task.name)(features, self.model.size(inputs), truth)
            losses[task.name] = mixed_loss(task, output, counted, truth, known[task.name], partners.get(task.name))
        if shares is not None:
            stacked = torch.stack([loss.float() for loss in losses.values()])
            losses = dict(zip(losses, ranks.summed(stacked * shares).unbind(), strict=True))
        loss = self.weighting(losses, list(self.model.fusion.parameters()) if self.weighting.needs_shared else ())
        if len(self.tasks) == 1:
            return loss, {}
        weights = zip(losses, self.weighting.weights(), strict=True)
        return loss, {
            **{name: value.detach() for name, value in losses.items()},
            **{f"{name}.weight": weight.detach() for name, weight in weights},
        }


def partners_of(batch: Batch) -> Mapping[str, Partner]:
    """The second truths of a batch, where patches were mixed."""
    return batch.partners if isinstance(batch, MixedBatch) else {}


def everywhere_counted(model: Model, present: Mapping[str, Tensor]) -> Tensor | None:
    """`Fusion.counted`, also where every head counts on every patch: parts of a batch are then weighed alike. None with one head."""
    counted = model.fusion.counted(present)
    sets = len(model.fusion.sizes)
    if counted is None and sets > 1:
        some = next(iter(present.values()))
        counted = torch.ones(sets, len(some), dtype=torch.bool, device=some.device)
    return counted


def valid_count(task: Task, truth: Tensor, known: Tensor, counted: Tensor | None) -> Tensor:
    """How many valid targets a task's loss is a mean of, over the heads that count on each patch."""
    if counted is None:
        return task.valid_count(truth, known).float()
    return torch.stack([task.valid_count(truth, known & there).float() for there in counted]).sum()


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

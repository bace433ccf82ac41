"""How the losses of several tasks become one: `WEIGHTINGS` names the ways, each a `Weighting`.

Every loss is at least 0, and is exactly 0 for a task of which no sample of the batch is known. A loss of 0 tells a weighting nothing:
it moves neither a variance nor a norm.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from eofuse import ranks
from eofuse.errors import UsageError, did_you_mean

INTERVAL = 10
"""Steps from one measurement of `GradientNorm` to the next."""

SMOOTHING = 0.5
"""Share of the old norm in its running mean."""


class Weighting(nn.Module, ABC):
    """Makes one loss of several. It belongs to the trained module: its state is part of the checkpoint.

    Args:
        names: of the tasks.
        weights: by hand, by task name; 1 for a task that is not in it.

    Raises:
        UsageError: if a weight is for no task, negative or not finite, or if all are 0.
    """

    hand: Tensor
    needs_shared: ClassVar[bool] = False
    """Whether it looks at the parameters that the tasks share; to list them takes long."""

    def __init__(self, names: Sequence[str], weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.names = tuple(names)
        by_hand = _checked(self.names, weights or {})
        self.register_buffer("hand", torch.tensor(by_hand, dtype=torch.float32), persistent=False)

    @abstractmethod
    def forward(self, losses: Mapping[str, Tensor], shared: Sequence[Tensor] = ()) -> Tensor:
        """The loss to be minimised.

        Args:
            losses: a scalar by task name, with a gradient.
            shared: parameters of the network that the tasks share, which `GradientNorm` needs.
        """

    @abstractmethod
    def weights(self) -> Tensor:
        """By what each loss is multiplied at present, (tasks,), without a gradient."""

    def stack(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The losses in the order of the names, (tasks,) float32."""
        return torch.stack([losses[name].float() for name in self.names])


class Fixed(Weighting):
    """The sum of the losses, times weights by hand."""

    def forward(self, losses: Mapping[str, Tensor], shared: Sequence[Tensor] = ()) -> Tensor:
        """Σ weight · loss."""
        return (self.hand * self.stack(losses)).sum()

    def weights(self) -> Tensor:
        """The weights by hand."""
        return self.hand


class Uncertainty(Weighting):
    """Learns a log variance s of each task's noise, and divides its loss by the variance: Σ weight · (exp(-s) · loss + s/2).

    The paper has ½exp(-s) for regression. That is the same with s + log 2 in place of s, so that the kinds of the tasks need not
    be told apart: training is the same. Each s starts in its optimum for the first loss of its task, log(2 · loss), where the paper
    starts anywhere: AdamW moves s by about a learning rate a step, so that losses of unlike magnitude would not come into balance
    within a short budget. Near the optimum a task's weight is its weight by hand / (2 · loss).

    Source: Kendall, Gal, Cipolla, Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and Semantics, CVPR 2018.

    Attributes:
        log_variances: (tasks,), learned; one-dimensional, so without weight decay.
        started: (tasks,) bool, of which a loss was seen.
    """

    started: Tensor

    def __init__(self, names: Sequence[str], weights: Mapping[str, float] | None = None) -> None:
        super().__init__(names, weights)
        self.log_variances = nn.Parameter(torch.zeros(len(self.names)))
        self.register_buffer("started", torch.zeros(len(self.names), dtype=torch.bool))

    def forward(self, losses: Mapping[str, Tensor], shared: Sequence[Tensor] = ()) -> Tensor:
        """Σ weight · (exp(-s) · loss + s/2) over the tasks whose loss is not 0; may be negative."""
        values = self.stack(losses)
        valid = values.detach() != 0
        if self.training and torch.is_grad_enabled():
            self._start(values.detach())
        terms = (-self.log_variances).exp() * values + valid * self.log_variances / 2
        return (self.hand * terms).sum()

    def weights(self) -> Tensor:
        """Weight by hand over variance."""
        return self.hand * (-self.log_variances.detach()).exp()

    @torch.no_grad()
    def _start(self, values: Tensor) -> None:
        fresh = (values > 0) & values.isfinite() & ~self.started
        self.log_variances.copy_(torch.where(fresh, (2 * values).log(), self.log_variances))
        self.started |= fresh


class GradientNorm(Weighting):
    """Weighs the losses so that the gradient of each on the shared network has the same norm, times its weight by hand.

    The norms are measured every `INTERVAL` steps, and when a task is first known, each by a backward pass from one loss alone, and
    smoothed by a running mean. The weights have a mean of 1 over the tasks that had a gradient so far, so that a task's weight does
    not depend on which others are known in a batch. Where the shared network is frozen, the weights are those by hand.

    GradNorm (Chen et al., ICML 2018) learns weights by a second loss that pulls the norms, on the last shared layer's weights, to a
    common one times (relative inverse training rate)^alpha, a restoring force that gives slow tasks more. This is its limit for
    alpha = 0, in closed form, without a second optimiser; a task that is solved is not held back. The norms are on all the shared
    weights because a pyramid has no last layer that all heads see. On the features they would be cheaper but do not compare: there,
    a loss of pixels has a gradient spread over fine maps, whose norm is 4 to 8 times too small beside that of a loss on the pooled
    vector.

    Attributes:
        norms: (tasks,), running mean of the norms, 0 before the first.
        steps: in training so far.
    """

    norms: Tensor
    needs_shared = True

    def __init__(self, names: Sequence[str], weights: Mapping[str, float] | None = None) -> None:
        super().__init__(names, weights)
        self.register_buffer("norms", torch.zeros(len(self.names)))
        self.steps = 0
        self._complete = False  # whether every norm was measured; kept here because asking a device makes it wait

    def forward(self, losses: Mapping[str, Tensor], shared: Sequence[Tensor] = ()) -> Tensor:
        """Σ weight · loss."""
        values = self.stack(losses)
        if self.training and torch.is_grad_enabled():
            if self.steps % INTERVAL == 0 or self._is_new(values.detach()):
                self._measure(losses, [tensor for tensor in shared if tensor.requires_grad])
            self.steps += 1
        return (self.weights() * values).sum()

    def weights(self) -> Tensor:
        """In inverse proportion to the norms, times the weights by hand, with a mean of 1."""
        seen = (self.norms > 0) & (self.hand > 0)
        smallest = torch.where(seen, self.norms, math.inf).amin()
        ratios = torch.where(seen, self.hand * smallest / self.norms, 0.0)
        return torch.where(seen, ratios * seen.sum() / ratios.sum(), self.hand)

    def get_extra_state(self) -> Tensor:
        """The number of steps, for checkpoints."""
        return torch.tensor(self.steps)

    def set_extra_state(self, state: Tensor) -> None:
        """Takes the number of steps from a checkpoint."""
        self.steps = int(state)
        self._complete = False

    def _is_new(self, values: Tensor) -> bool:
        """Whether a task has a loss whose norm was never measured."""
        if self._complete:
            return False
        unseen = self.norms == 0
        self._complete = not bool(unseen.any())
        return bool((unseen & (values != 0)).any())

    def _measure(self, losses: Mapping[str, Tensor], shared: Sequence[Tensor]) -> None:
        if not shared:
            return
        norms = torch.stack([_gradient_norm(losses[name], shared) for name in self.names])
        smoothed = torch.where(self.norms > 0, SMOOTHING * self.norms + (1 - SMOOTHING) * norms, norms)
        self.norms.copy_(torch.where((norms > 0) & norms.isfinite(), smoothed, self.norms))


WEIGHTINGS: dict[str, type[Weighting]] = {"fixed": Fixed, "uncertainty": Uncertainty, "gradient_norm": GradientNorm}


def _gradient_norm(loss: Tensor, shared: Sequence[Tensor]) -> Tensor:
    """Norm of a loss's gradient on some tensors together; 0 if it does not depend on them."""
    if not loss.requires_grad:
        return torch.zeros((), device=loss.device)
    gradients = ranks.mean(torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True), shared)
    norms = [torch.linalg.vector_norm(each, dtype=torch.float32) for each in gradients if each is not None]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros((), device=loss.device)


def _checked(names: Sequence[str], weights: Mapping[str, float]) -> list[float]:
    """The weights by hand in the order of the names."""
    for name, weight in weights.items():
        if name not in names:
            raise UsageError(f"there is no task '{name}' to be weighted", fix=did_you_mean(name, names))
        if not (math.isfinite(weight) and weight >= 0):
            raise UsageError(f"the weight {weight} of the task '{name}' is no number from 0 up", fix="give another")
    by_hand = [float(weights.get(name, 1.0)) for name in names]
    if not any(by_hand):
        raise UsageError("every task has the weight 0", fix="give one of them a weight above 0")
    return by_hand

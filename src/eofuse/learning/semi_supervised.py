"""Learning from unlabelled patches beside the labelled ones: `UnlabelledOptions`, and `FixMatch` (Sohn et al. 2020, NeurIPS).

Every step reads `ratio` unlabelled patches for each labelled one. What the model says of their weak views, where it is sure, is the
truth for their strong views. As in the paper, labelled patches and strong views pass the network together, so that batch normalisation
learns from both. Other than there, weak views are judged in evaluation mode, by the model as it will be scored, and patches of which
it is not sure do not pass again: where it is never sure, this is supervised training to the bit.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from eofuse.config import Options
from eofuse.data.loading import Batch, Rows, shuffled_rows
from eofuse.devices import on_cpu, send
from eofuse.errors import UsageError
from eofuse.learning.augment import Augmentation, AugmentOptions, make_augmentation
from eofuse.learning.augment.patches import Patches, movable
from eofuse.modalities import Kind, Modality, is_context
from eofuse.models.heads.base import mean_of_heads
from eofuse.models.model import Model
from eofuse.tasks.base import Task
from eofuse.tasks.mixed import MixedBatch, Partner
from eofuse.tasks.objective import Learner, Supervised, mixed_loss
from eofuse.tasks.weighting import Weighting


class UnlabelledOptions(Options):
    """How unlabelled training patches are learned from.

    Attributes:
        method: FixMatch.
        ratio: unlabelled patches a step for each labelled one.
        threshold: probability from which a prediction counts as the truth: of the class; of several, that each is there, or not.
        weight: of the loss on these, beside that on the labelled patches.
        weak: how patches are changed for the view that is judged.
        strong: how they are changed for the view that learns from it. Views are not mixed.
    """

    method: Literal["fixmatch"] = "fixmatch"
    ratio: int = Field(default=2, ge=1)
    threshold: float = Field(default=0.95, gt=0.5)
    weight: float = Field(default=1.0, gt=0)
    weak: AugmentOptions = AugmentOptions(turns=True)
    strong: AugmentOptions = AugmentOptions(preset="strong")


def refuse_other_tasks(tasks: list[Task]) -> None:
    """Raises a `UsageError` if there are several tasks, or one that is no classification of patches."""
    fix = "leave out unlabelled, or choose one target with one or several classes a patch"
    if len(tasks) > 1:
        raise UsageError(f"FixMatch learns one task, here are {len(tasks)}", where="unlabelled", fix=fix)
    if not tasks[0].kind.has_labels:
        what = f"FixMatch needs classes of patches, and '{tasks[0].name}' is {tasks[0].kind.title}"
        raise UsageError(what, where="unlabelled", fix=fix)


def make_views(options: UnlabelledOptions, modalities: Mapping[str, Modality]) -> tuple[Augmentation, Augmentation]:
    """The weak and the strong view of a batch.

    Raises:
        UsageError: if patches are to be mixed.
    """
    return make_augmentation(options.weak, modalities, {}), make_augmentation(options.strong, modalities, {})


def with_unlabelled(
    labelled: Callable[[int], Rows], unlabelled: Rows, options: UnlabelledOptions, batch_size: int, seed: int
) -> Callable[[int], Rows]:
    """Rows of each step: the labelled ones, and behind them `ratio × batch_size` unlabelled ones. Pure if `labelled` is."""
    count = options.ratio * batch_size
    return lambda step: np.concatenate([labelled(step), shuffled_rows(unlabelled, count, seed, step)])


class FixMatch(Supervised):
    """A model that learns its target from labelled patches, and from others what it is sure of.

    A batch has the labelled patches first and the unlabelled ones behind them (see `with_unlabelled`). What the store knows of the
    latter's target is not looked at.
    """

    def __init__(
        self,
        model: Model,
        task: Task,
        weighting: Weighting,
        options: UnlabelledOptions,
        modalities: Mapping[str, Modality],
        *,
        labelled: int,
        augment: Callable[[Batch], Batch] | None = None,
    ) -> None:
        super().__init__(model, [task], weighting, augment=augment)
        self.module = PseudoLearner(model, [task], weighting, frozen=False)
        self.model = model
        self.task = task
        self.options = options
        self.modalities = dict(modalities)
        self.labelled = labelled
        self.weak, self.strong = make_views(options, modalities)

    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss on the labelled patches, plus the weighted one on the others.

        Logged are the share of what the model is sure of (`sure`, of patches, or of patches and classes), and that other loss before
        it is weighted (`pseudo_loss`).
        """
        labelled = _select(batch, slice(0, self.labelled))
        others = _select(batch, slice(self.labelled, None))
        # draws of their own: those of the labelled patches are as without the others
        generator = torch.Generator().manual_seed(torch.initial_seed() ^ (1 << 60))
        seen = self.weak(others, generator)
        predicted = self.model.predict(seen.inputs, seen.present)[self.task.name]
        labels, sure = pseudo_labels(predicted, not self.task.kind.has_several, self.options.threshold)
        share = sure.float().mean()
        chosen = (sure if sure.ndim == 1 else sure.any(1)).nonzero()[:, 0]
        if not len(chosen):
            loss, _ = super().step(labelled)
            return loss, {"sure": share, "pseudo_loss": torch.zeros_like(share)}
        if self.augment is not None:
            labelled = self.augment(labelled)
        partners = labelled.partners if isinstance(labelled, MixedBatch) else {}
        strong = self.strong(_select(others, chosen), generator)
        both = {
            name: torch.cat([labelled.inputs[name], strong.inputs[name]])
            for name in labelled.inputs
            if is_context(name)
        }
        for name, modality in self.modalities.items():
            values = self._join(name, labelled, strong)
            both |= dict(zip(modality.keys, values, strict=True))
        present = {name: torch.cat([labelled.present[name], strong.present[name]]) for name in self.modalities}
        truth = (labelled.targets, labelled.known, partners)
        loss, pseudo = self.module(both, present, *truth, pseudo=(labels[chosen], sure[chosen]))
        pseudo = pseudo / len(others)
        return loss + self.options.weight * pseudo, {"sure": share, "pseudo_loss": pseudo.detach()}

    def _join(self, name: str, labelled: Batch, strong: Batch) -> list[Tensor]:
        """What both have under the keys of a modality, in a form that both can have."""
        parts = [labelled.inputs[name], strong.inputs[name]]
        if parts[0].dtype != parts[1].dtype:
            parts = [Patches(each, self.modalities, {}).numbers(name) for each in (labelled, strong)]
        dtype, moved = parts[0].dtype, [movable(values) for values in parts]
        if self.modalities[name].kind is not Kind.IMAGE_SERIES:
            return [torch.cat(moved).view(dtype)]
        key, dates = self.modalities[name].times_key, max(values.shape[1] for values in parts)
        times = [_with_dates(each.inputs[key], dates, math.nan) for each in (labelled, strong)]
        return [torch.cat([_with_dates(values, dates, 0) for values in moved]).view(dtype), torch.cat(times)]


def _with_dates(values: Tensor, dates: int, filler: float) -> Tensor:
    """Values (B, T, …) filled up to so many dates."""
    more = values.new_full((len(values), dates - values.shape[1], *values.shape[2:]), filler)
    return torch.cat([values, more], 1)


class PseudoLearner(Learner):
    """A learner that can take patches with pseudo-labels behind the labelled ones. See `FixMatch`."""

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        targets: Mapping[str, Tensor],
        known: Mapping[str, Tensor],
        partners: Mapping[str, Partner],
        shares: Tensor | None = None,
        pseudo: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Any]:
        """The loss on the labelled patches and, in place of logs, the sum of the losses on the others.

        `inputs` and `present` are of both; `pseudo` has the labels of the others, and of what the model is sure (`pseudo_labels`).
        """
        if pseudo is None:
            return super().forward(inputs, present, targets, known, partners, shares)
        task = self.tasks[0]
        truth, count = targets[task.name], len(targets[task.name])
        output = self.model.head(task.name)(self.model.features(inputs, present), self.model.size(inputs))
        counted = self.model.fusion.counted(present)
        first, rest = (None, None) if counted is None else (counted[:, :count], counted[:, count:])
        loss = mixed_loss(task, output[:, :count], first, truth, known[task.name], partners.get(task.name))
        loss = self.weighting({task.name: loss})  # of one task, whatever the way
        return loss, mean_of_heads(pseudo_losses(output[:, count:], *pseudo), rest).sum()


def pseudo_labels(probabilities: Tensor, one_class: bool, threshold: float) -> tuple[Tensor, Tensor]:
    """What a model is made to believe of patches, and where it is sure of it.

    Args:
        probabilities: (B, classes).
        one_class: whether a patch has one class, or any number.
        threshold: probability from which it is sure.

    Returns:
        Class numbers (B,), or 0 and 1 for each class (B, classes); and true where it is sure, of the same shape.
    """
    if one_class:
        highest, labels = probabilities.max(1)
        return labels, highest >= threshold
    labels = probabilities >= 0.5
    return labels.to(probabilities.dtype), torch.where(labels, probabilities, 1 - probabilities) >= threshold


def pseudo_losses(output: Tensor, labels: Tensor, sure: Tensor) -> Tensor:
    """Cross-entropy of logits (heads, B, classes) to pseudo-labels, (heads, B): 0 where unsure, the mean over several classes."""
    heads, patches, classes = output.shape
    if labels.ndim == 1:
        losses = F.cross_entropy(output.reshape(-1, classes), labels.repeat(heads), reduction="none")
        return losses.reshape(heads, patches) * sure
    losses = F.binary_cross_entropy_with_logits(output, labels.to(output).expand(output.shape), reduction="none")
    return (losses * sure).mean(2)


def _select(batch: Batch, chosen: slice | Tensor) -> Batch:
    """Some patches of a batch."""
    groups = [
        {name: _some(values, chosen) for name, values in group.items()}
        for group in (batch.inputs, batch.present, batch.targets, batch.valid)
    ]
    rows = batch.rows[chosen if isinstance(chosen, slice) else chosen.cpu().numpy()]
    return Batch(rows, *groups)


def _some(values: Tensor, chosen: slice | Tensor) -> Tensor:
    if isinstance(chosen, slice) and values.dtype == torch.bool:
        return send(on_cpu(values)[chosen], values.device)
    return movable(values)[chosen].view(values.dtype)

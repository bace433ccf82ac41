"""Several classes a patch: binary cross-entropy and metrics of each class's probability."""

import torch
from torch import Tensor
from torch.nn import functional

from eofuse.data.loading import Batch, Rows
from eofuse.evaluation.classification import multi_label_metrics
from eofuse.tasks.base import Array, Scores, Task


class MultiLabel(Task):
    """Classification into any number of the target's classes."""

    kind = "multi_label"

    def weigh_classes(self, rows: Rows) -> None:
        """Weight of the positives of each class: negatives over positives, at most 100."""
        if self.balance == "class_weights":
            positives = torch.from_numpy(self.target.counts(rows)).float()
            negatives = float(self.target.known[rows].sum()) - positives
            self.class_weights = (negatives / positives.clamp(min=1)).clamp(max=100.0)

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Binary cross-entropy, averaged over heads, classes and labelled patches."""
        known = batch.known[self.name].to(logits.dtype)
        truth = batch.targets[self.name].to(logits.dtype).expand(logits.shape)
        weights = None if self.class_weights is None else self.class_weights.to(logits.device)
        losses = functional.binary_cross_entropy_with_logits(logits, truth, pos_weight=weights, reduction="none")
        return (losses.mean(dim=(0, 2)) * known).sum() / known.sum().clamp(min=1)

    def score(self, truth: Array, probabilities: Array, weights: Array | None = None) -> Scores:
        """Mean average precision, macro and micro F1 at a probability of 0.5."""
        return multi_label_metrics(truth, probabilities, weights)

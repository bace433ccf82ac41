"""One class a patch: cross-entropy and metrics of the most probable class."""

import torch
from torch import Tensor
from torch.nn import functional

from eofuse.data.loading import Batch, Rows
from eofuse.evaluation.classification import single_label_metrics
from eofuse.tasks.base import Array, Scores, Task


class SingleLabel(Task):
    """Classification into exactly one of the target's classes."""

    kind = "single_label"

    def weigh_classes(self, rows: Rows) -> None:
        """Inverse class frequency, with a mean of 1 over the training patches."""
        if self.balance == "class_weights":
            counts = torch.from_numpy(self.target.counts(rows)).float()
            present = counts > 0
            self.class_weights = torch.where(present, counts.sum() / (present.sum() * counts.clamp(min=1)), 0.0)

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy, averaged over heads and labelled patches."""
        known = batch.known[self.name].to(logits.dtype)
        truth = batch.targets[self.name]
        weights = None if self.class_weights is None else self.class_weights.to(logits.device)
        heads, patches, classes = logits.shape
        losses = functional.cross_entropy(
            logits.reshape(heads * patches, classes), truth.repeat(heads), weight=weights, reduction="none"
        ).reshape(heads, patches)
        return (losses.mean(0) * known).sum() / known.sum().clamp(min=1)

    def score(self, truth: Array, probabilities: Array, weights: Array | None = None) -> Scores:
        """Accuracy, balanced accuracy, macro and micro F1, mAP."""
        return single_label_metrics(truth, probabilities, weights)

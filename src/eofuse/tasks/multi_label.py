"""Several classes a patch: binary cross-entropy and metrics of each class's probability."""

import torch
from torch import Tensor
from torch.nn import functional

from eofuse.data.loading import Rows
from eofuse.data.store import Window
from eofuse.kinds import MULTI_LABEL
from eofuse.tasks.base import TASKS
from eofuse.tasks.classification import Classification


@TASKS.register(MULTI_LABEL.name)
class MultiLabel(Classification):
    """Classification into any number of the target's classes."""

    kind = MULTI_LABEL

    def fit(self, rows: Rows, window: Window | None) -> None:
        """Class frequencies, and weights of the positives of each class: negatives over positives, at most 100."""
        counts, known = self.target.counts(rows), len(self.known(rows))
        self.constant = counts / max(known, 1)
        if self.options.balance == "class_weights":
            positives = torch.from_numpy(counts).float()
            self.class_weights = ((known - positives) / positives.clamp(min=1)).clamp(max=100.0)

    def loss(self, output: Tensor, truth: Tensor, known: Tensor) -> Tensor:
        """Binary cross-entropy, averaged over heads, classes and labelled patches."""
        labelled = known.to(output.dtype)
        wanted = truth.to(output.dtype).expand(output.shape)
        if self.options.smoothing:  # between the class and its absence
            wanted = wanted * (1 - self.options.smoothing) + self.options.smoothing / 2
        weights = self.weights_on(output.device)
        losses = functional.binary_cross_entropy_with_logits(output, wanted, pos_weight=weights, reduction="none")
        return (losses.mean(dim=(0, 2)) * labelled).sum() / labelled.sum().clamp(min=1)

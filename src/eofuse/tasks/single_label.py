"""One class a patch: cross-entropy and metrics of the most probable class."""

import torch
from torch import Tensor
from torch.nn import functional

from eofuse.data.loading import Rows
from eofuse.data.store import Window
from eofuse.kinds import SINGLE_LABEL
from eofuse.tasks.base import TASKS
from eofuse.tasks.classification import Classification


@TASKS.register(SINGLE_LABEL.name)
class SingleLabel(Classification):
    """Classification into exactly one of the target's classes."""

    kind = SINGLE_LABEL

    def fit(self, rows: Rows, window: Window | None) -> None:
        """Class frequencies, and class weights: inverse frequency, with a mean of 1 over the training patches."""
        counts = self.target.counts(rows)
        self.constant = counts / max(int(counts.sum()), 1)
        if self.options.balance == "class_weights":
            found = torch.from_numpy(counts).float()
            present = found > 0
            self.class_weights = torch.where(present, found.sum() / (present.sum() * found.clamp(min=1)), 0.0)

    def loss(self, output: Tensor, truth: Tensor, known: Tensor) -> Tensor:
        """Cross-entropy, averaged over heads and labelled patches."""
        labelled = known.to(output.dtype)
        weights = self.weights_on(output.device)
        heads, patches, classes = output.shape
        losses = functional.cross_entropy(
            output.reshape(heads * patches, classes),
            truth.repeat(heads),
            weight=weights,
            reduction="none",
            label_smoothing=self.options.smoothing,
        ).reshape(heads, patches)
        return (losses.mean(0) * labelled).sum() / labelled.sum().clamp(min=1)

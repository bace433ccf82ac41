"""Several classes a patch: binary cross-entropy and metrics of each class's probability."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from eofuse.data.loading import Rows
from eofuse.data.store import Window
from eofuse.kinds import MULTI_LABEL
from eofuse.models.heads.base import HeadSpec
from eofuse.tasks.base import TASKS, Array
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

    def head(self) -> HeadSpec:
        """Logits of the classes."""
        return HeadSpec(self.kind, self.classes)

    def loss(self, output: Tensor, truth: Tensor, known: Tensor) -> Tensor:
        """Binary cross-entropy, averaged over heads, classes and labelled patches."""
        labelled = known.to(output.dtype)
        wanted = truth.to(output.dtype).expand(output.shape)
        weights = None if self.class_weights is None else self.class_weights.to(output.device)
        losses = functional.binary_cross_entropy_with_logits(output, wanted, pos_weight=weights, reduction="none")
        return (losses.mean(dim=(0, 2)) * labelled).sum() / labelled.sum().clamp(min=1)

    @staticmethod
    def predicted_classes(classes: Array, probabilities: Array, threshold: float) -> Any:
        """The classes of each patch that are present, as lists."""
        found = np.full(len(probabilities), None, dtype=object)
        for position, values in enumerate(probabilities):
            found[position] = classes[values >= threshold].tolist()
        return found

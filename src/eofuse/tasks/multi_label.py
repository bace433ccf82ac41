"""Several classes a patch: binary cross-entropy and metrics of each class's probability."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from eofuse.data.loading import Rows
from eofuse.data.store import Window
from eofuse.evaluation.calibration import calibration_metrics, fit_temperature, label_reliability, scale
from eofuse.evaluation.classification import multi_label_metrics, per_class
from eofuse.models.heads.base import HeadSpec
from eofuse.tasks.base import Array, Evidence, Scores, Task


class MultiLabel(Task):
    """Classification into any number of the target's classes."""

    kind = "multi_label"
    losses = ("cross_entropy",)
    balances = ("none", "class_weights", "sampling")

    def fit(self, rows: Rows, window: Window | None) -> None:
        """Class frequencies, and weights of the positives of each class: negatives over positives, at most 100."""
        counts, known = self.target.counts(rows), len(self.known(rows))
        self.constant = counts / max(known, 1)
        if self.options.balance == "class_weights":
            positives = torch.from_numpy(counts).float()
            self.class_weights = ((known - positives) / positives.clamp(min=1)).clamp(max=100.0)

    def head(self) -> HeadSpec:
        """Logits of the classes."""
        return HeadSpec("multi_label", self.classes)

    def loss(self, output: Tensor, truth: Tensor, known: Tensor) -> Tensor:
        """Binary cross-entropy, averaged over heads, classes and labelled patches."""
        labelled = known.to(output.dtype)
        wanted = truth.to(output.dtype).expand(output.shape)
        weights = None if self.class_weights is None else self.class_weights.to(output.device)
        losses = functional.binary_cross_entropy_with_logits(output, wanted, pos_weight=weights, reduction="none")
        return (losses.mean(dim=(0, 2)) * labelled).sum() / labelled.sum().clamp(min=1)

    def evidence(self, prediction: Array, truth: Array, spec: HeadSpec, *, complete: bool = True) -> Evidence:
        """Truth and probabilities before calibration, with the temperature for them."""
        temperature = np.full(len(truth), spec.temperature)
        return {
            "truth": truth.astype(np.int64),
            "probabilities": prediction.astype(np.float32),
            "temperature": temperature,
        }

    def score(self, evidence: Mapping[str, Array], weights: Array | None = None) -> Scores:
        """Mean average precision, macro and micro F1 at a probability of 0.5; calibration error."""
        truth, probabilities = evidence["truth"], evidence["probabilities"]
        scores: Scores = {**multi_label_metrics(truth, probabilities, weights)}
        temperature = float(evidence["temperature"][0]) if len(truth) else 1.0
        calibrated = scale(probabilities.astype(np.float64), temperature, self.kind)
        return scores | calibration_metrics(label_reliability(calibrated, truth, temperature, self.kind), weights)

    def per_class(self, evidence: Mapping[str, Array]) -> dict[str, Array]:
        """F1, precision, recall, average precision."""
        return {**per_class(evidence["truth"], evidence["probabilities"])}

    def sample(self, prediction: Array, truth: Array, share: float) -> tuple[Array, Array]:
        """All of them."""
        return prediction, truth

    def calibrate(self, prediction: Array, truth: Array) -> dict[str, Any]:
        """The temperature."""
        return {"temperature": fit_temperature(prediction, truth, self.kind)}

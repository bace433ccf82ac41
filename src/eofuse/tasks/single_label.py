"""One class a patch: cross-entropy and metrics of the most probable class."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from eofuse.data.loading import Rows
from eofuse.data.store import Window
from eofuse.evaluation.calibration import calibration_metrics, fit_temperature, label_reliability, scale
from eofuse.evaluation.classification import per_class, single_label_metrics
from eofuse.models.heads.base import HeadSpec
from eofuse.tasks.base import Array, Evidence, Scores, Task


class SingleLabel(Task):
    """Classification into exactly one of the target's classes."""

    kind = "single_label"
    losses = ("cross_entropy",)
    balances = ("none", "class_weights", "sampling")

    def fit(self, rows: Rows, window: Window | None) -> None:
        """Class frequencies, and class weights: inverse frequency, with a mean of 1 over the training patches."""
        counts = self.target.counts(rows)
        self.constant = counts / max(int(counts.sum()), 1)
        if self.options.balance == "class_weights":
            found = torch.from_numpy(counts).float()
            present = found > 0
            self.class_weights = torch.where(present, found.sum() / (present.sum() * found.clamp(min=1)), 0.0)

    def head(self) -> HeadSpec:
        """Logits of the classes."""
        return HeadSpec("single_label", self.classes)

    def loss(self, output: Tensor, truth: Tensor, known: Tensor) -> Tensor:
        """Cross-entropy, averaged over heads and labelled patches."""
        labelled = known.to(output.dtype)
        weights = None if self.class_weights is None else self.class_weights.to(output.device)
        heads, patches, classes = output.shape
        losses = functional.cross_entropy(
            output.reshape(heads * patches, classes), truth.repeat(heads), weight=weights, reduction="none"
        ).reshape(heads, patches)
        return (losses.mean(0) * labelled).sum() / labelled.sum().clamp(min=1)

    def evidence(self, prediction: Array, truth: Array, spec: HeadSpec, *, complete: bool = True) -> Evidence:
        """Truth and probabilities before calibration, with the temperature for them."""
        temperature = np.full(len(truth), spec.temperature)
        return {"truth": truth, "probabilities": prediction.astype(np.float32), "temperature": temperature}

    def score(self, evidence: Mapping[str, Array], weights: Array | None = None) -> Scores:
        """Accuracy, balanced accuracy, macro and micro F1, mAP; calibration error."""
        truth, probabilities = evidence["truth"], evidence["probabilities"]
        scores: Scores = {**single_label_metrics(truth, probabilities, weights)}
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

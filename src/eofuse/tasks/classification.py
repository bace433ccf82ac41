"""What one class a patch and several classes a patch have in common: probabilities, their evidence and their calibration."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from eofuse.evaluation.calibration import calibration_metrics, label_reliability, scale
from eofuse.evaluation.classification import per_class
from eofuse.models.heads.base import HeadSpec
from eofuse.tasks.base import Array, Evidence, Scores, Task, temperature
from eofuse.tasks.drawing import Draw


class Classification(Task):
    """Classification of patches."""

    losses = ("cross_entropy",)
    balances = ("none", "class_weights", "sampling")

    @abstractmethod
    def metrics_of(self, truth: Array, probabilities: Array, weights: Array | None) -> Scores:
        """The metrics of the kind, from the probabilities before calibration."""

    def evidence(self, prediction: Array, truth: Array, spec: HeadSpec, *, complete: bool = True) -> Evidence:
        """Truth and probabilities before calibration, with the temperature for them."""
        temperatures = np.full(len(truth), spec.temperature)
        probabilities = prediction.astype(np.float32)
        return {"truth": truth.astype(np.int64), "probabilities": probabilities, "temperature": temperatures}

    def score(self, evidence: Mapping[str, Array], weights: Array | None = None) -> Scores:
        """The metrics of the kind, and the calibration error."""
        truth, probabilities = evidence["truth"], evidence["probabilities"]
        divisor = float(evidence["temperature"][0]) if len(truth) else 1.0
        calibrated = scale(probabilities.astype(np.float64), divisor, self.kind)
        reliability = label_reliability(calibrated, truth, divisor, self.kind)
        return self.metrics_of(truth, probabilities, weights) | calibration_metrics(reliability, weights)

    def per_class(self, evidence: Mapping[str, Array]) -> dict[str, Array]:
        """F1, precision, recall, average precision."""
        return {**per_class(evidence["truth"], evidence["probabilities"])}

    def sample(self, prediction: Array, truth: Array, draw: Draw) -> tuple[Array, Array, Array]:
        """Patches."""
        chosen = draw.candidates(len(truth))
        return prediction[chosen], truth[chosen], chosen

    def calibrate(self, prediction: Array, truth: Array, scenes: Array) -> tuple[dict[str, Any], dict[str, Any]]:
        """The temperature, if one helps."""
        return temperature(prediction, truth, scenes, self.kind)

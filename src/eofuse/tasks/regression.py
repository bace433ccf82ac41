"""Numbers a patch, in their unit; standardised by the training patches inside the model."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from eofuse.data.loading import Rows
from eofuse.data.store import Window
from eofuse.data.targets import Target
from eofuse.data.targets.base import MIXED
from eofuse.evaluation.metrics.regression import NumberTotals
from eofuse.kinds import REGRESSION
from eofuse.models.heads.base import HeadSpec
from eofuse.tasks.base import TASKS, Array, Evidence, Scores, TaskOptions
from eofuse.tasks.losses import composition_loss, regression_loss
from eofuse.tasks.numbers import Numbers, number_names


@TASKS.register(REGRESSION.name)
class Regression(Numbers):
    """Prediction of numbers; of shares that sum to 1 where the target is a composition."""

    kind = REGRESSION
    totals = NumberTotals

    def __init__(self, target: Target, options: TaskOptions) -> None:
        if target.composition:
            self.losses = (*self.losses, "cross_entropy")
        super().__init__(target, options)

    def fit(self, rows: Rows, window: Window | None) -> None:
        """Mean and deviation of the training patches; the mean is the constant prediction."""
        values = self.target.values[self.known(rows)].astype(np.float64)
        self.standardise_by(values.mean(axis=0), values.std(axis=0))
        self.constant = self.mean

    def loss(self, output: Tensor, truth: Tensor, known: Tensor) -> Tensor:
        """The named losses, summed, on standardised numbers or on shares."""
        if self.target.composition:
            return torch.stack([composition_loss(name, output, truth, known) for name in self.loss_names]).sum()
        standard = self.standardised(truth)
        everywhere = known[:, None].expand(standard.shape)
        return torch.stack([regression_loss(name, output, standard, everywhere) for name in self.loss_names]).sum()

    def valid_count(self, truth: Tensor, known: Tensor) -> Tensor:
        """Known numbers; of shares that sum to 1, patches."""
        if self.target.composition:
            return (known & ~truth.isnan().any(1)).sum()
        return (known[:, None] & ~truth.isnan()).sum()

    def evidence(self, prediction: Array, truth: Array, spec: HeadSpec, *, complete: bool = True) -> Evidence:
        """Truth and prediction, with the half width of the predictive interval (NaN if it is not known)."""
        margin = self.margins(spec, len(truth))
        return {"truth": truth.astype(np.float64), "prediction": prediction.astype(np.float64), "margin": margin}

    def score(self, evidence: Mapping[str, Array], weights: Array | None = None) -> Scores:
        """Every metric; of numbers in unlike units, after standardisation."""
        if self.target.unit == MIXED:
            evidence = {name: evidence[name] / self.std for name in ("truth", "prediction")}
        return super().score(evidence, weights)

    @classmethod
    def prediction_columns(cls, name: str, head: HeadSpec, decided: Array, threshold: float) -> dict[str, Array]:
        """The numbers, with `.low` and `.high` where the model has a predictive interval."""
        columns: dict[str, Array] = {}
        for position, label in enumerate(number_names(name, head)):
            values = decided[:, position].astype(np.float64)
            columns[label] = values
            if head.margin:
                low, high = values - head.margin[position], values + head.margin[position]
                columns[f"{label}.low"] = low.clip(0, 1) if head.composition else low
                columns[f"{label}.high"] = high.clip(0, 1) if head.composition else high
        return columns

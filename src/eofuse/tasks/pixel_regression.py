"""Numbers a pixel, in their unit: maps of heights, reflectances and the like."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eofuse.data.loading import Rows, in_order
from eofuse.data.store import Window
from eofuse.data.targets.base import MIXED
from eofuse.evaluation.metrics.regression import PixelNumberTotals, pixel_sums
from eofuse.kinds import PIXEL_REGRESSION
from eofuse.models.heads.base import HeadSpec
from eofuse.tasks.base import TASKS, Array, Evidence, Scores, hide_without_data
from eofuse.tasks.drawing import Draw, evenly_spaced
from eofuse.tasks.losses import regression_loss
from eofuse.tasks.numbers import Numbers, number_names
from eofuse.tasks.segmentation import MOST_PATCHES


@TASKS.register(PIXEL_REGRESSION.name)
class PixelRegression(Numbers):
    """Prediction of numbers for each pixel."""

    kind = PIXEL_REGRESSION
    totals = PixelNumberTotals
    networks = ("unet", "fpn", "deeplabv3plus")

    def fit(self, rows: Rows, window: Window | None) -> None:
        """Mean and deviation of the pixels of (at most 10,000) training patches; the mean is the constant prediction."""
        rows = evenly_spaced(self.known(rows), MOST_PATCHES)
        parts = []
        for part in in_order(rows, 16):
            values = self.target.read(part, window).astype(np.float64).swapaxes(0, 1).reshape(len(self.classes), -1)
            count = np.isfinite(values).sum(axis=1)
            mean = np.nansum(values, axis=1) / np.maximum(count, 1)
            parts.append(np.stack([count, mean, np.nansum((values - mean[:, None]) ** 2, axis=1)]))
        count, mean, squares = np.stack(parts, axis=1)
        total = np.maximum(count.sum(axis=0), 1)
        overall = (count * mean).sum(axis=0) / total
        self.standardise_by(overall, np.sqrt((squares + count * (mean - overall) ** 2).sum(axis=0) / total))
        self.constant = self.mean[:, None, None]

    def loss(self, output: Tensor, truth: Tensor, known: Tensor) -> Tensor:
        """The named losses, summed, on standardised numbers of known pixels."""
        standard = self.standardised(truth)
        pixels = standard.isfinite() & known[:, None, None, None]
        return torch.stack([regression_loss(name, output, standard, pixels) for name in self.loss_names]).sum()

    def valid_count(self, truth: Tensor, known: Tensor) -> Tensor:
        """Known numbers of pixels."""
        return (truth.isfinite() & known[:, None, None, None]).sum()

    def evidence(self, prediction: Array, truth: Array, spec: HeadSpec, *, complete: bool = True) -> Evidence:
        """Sums over the pixels of each patch."""
        margin = np.array(spec.margin) if spec.margin else None
        sums = pixel_sums(prediction, truth, margin, self.mean)
        return {"sums": sums, "margin": self.margins(spec, len(truth))}

    def score(self, evidence: Mapping[str, Array], weights: Array | None = None) -> Scores:
        """Every metric; of numbers in unlike units, after standardisation."""
        if self.target.unit == MIXED:
            units = np.stack([self.std**power for power in (0, 1, 1, 2, 1, 2, 0)], axis=-1)
            evidence = {"sums": evidence["sums"] / units}
        return super().score(evidence, weights)

    @classmethod
    def decide(cls, prediction: Tensor, with_data: npt.NDArray[np.bool_] | None) -> Array:
        """The numbers, (batch, numbers, height, width) float32, NaN where there are no data."""
        return hide_without_data(super().decide(prediction, None), with_data, np.float32(np.nan))

    @classmethod
    def prediction_columns(cls, name: str, head: HeadSpec, decided: Array, threshold: float) -> dict[str, Array]:
        """`<target>.<number>.mean`, over the pixels with data."""
        valid = np.isfinite(decided)
        pixels = valid.sum(axis=(2, 3))
        sums = np.where(valid, decided, 0).sum(axis=(2, 3), dtype=np.float64)
        means = np.divide(sums, pixels, out=np.full_like(sums, np.nan), where=pixels > 0)
        return {f"{label}.mean": means[:, number] for number, label in enumerate(number_names(name, head))}

    def sample(self, prediction: Array, truth: Array, draw: Draw) -> tuple[Array, Array, Array]:
        """Pixels that have every number."""
        predicted, true = (np.moveaxis(values, 1, -1).reshape(-1, values.shape[1]) for values in (prediction, truth))
        complete = np.flatnonzero(np.isfinite(true).all(axis=1))
        chosen = complete[draw.candidates(len(complete))]
        return predicted[chosen], true[chosen], chosen // (len(true) // max(len(truth), 1))

    def keep(self, prediction: Array) -> Array:
        """The numbers of each pixel, (patches, numbers, height, width) float32."""
        return prediction.astype(np.float32)

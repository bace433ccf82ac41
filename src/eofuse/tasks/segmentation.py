"""One class a pixel: maps of classes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eofuse.data.loading import Rows, in_order
from eofuse.data.store import Window
from eofuse.data.targets import IGNORE
from eofuse.evaluation.calibration import pixel_reliability, scale
from eofuse.evaluation.metrics import METRICS
from eofuse.evaluation.metrics.segmentation import PixelTotals, boundary_counts, confusion_counts
from eofuse.evaluation.sparse import SparseRows
from eofuse.kinds import BINS, SEGMENTATION
from eofuse.models.heads.base import HeadSpec
from eofuse.tasks.base import TASKS, Array, Evidence, Task, check_classes, hide_without_data
from eofuse.tasks.drawing import Draw, evenly_spaced
from eofuse.tasks.losses import segmentation_loss

MOST_PATCHES = 10_000


@TASKS.register(SEGMENTATION.name)
class Segmentation(Task):
    """Classification of each pixel into one of the target's classes."""

    kind = SEGMENTATION
    totals = PixelTotals
    losses = ("cross_entropy", "dice", "focal")
    smooths = True
    networks = ("unet", "fpn", "deeplabv3plus")
    balances = ("none", "class_weights")

    def fit(self, rows: Rows, window: Window | None) -> None:
        """Shares of the classes among the pixels of (at most 10,000) training patches, and class weights.

        The weights are the inverse square root of the share, with a mean of 1 over the pixels: the plain inverse would leave
        nothing for common classes.
        """
        rows = evenly_spaced(self.known(rows), MOST_PATCHES)
        counts = np.zeros(256, dtype=np.int64)
        for part in in_order(rows, 64):
            counts += np.bincount(self.target.read(part, window).ravel(), minlength=256)
        self.pixels = counts[: len(self.classes)]
        self.constant = (self.pixels / max(int(self.pixels.sum()), 1))[:, None, None]
        if self.options.balance == "class_weights":
            shares = torch.from_numpy(self.constant[:, 0, 0]).float()
            inverse = torch.where(shares > 0, shares.clamp(min=1e-9).rsqrt(), 0.0)
            self.class_weights = inverse / (inverse * shares).sum()

    def check(self, rows: Mapping[str, Rows], where: Path, *, refit: bool) -> list[str]:
        """Two classes must occur in the training patches; test maps are not read for a warning."""
        return check_classes(self, self.pixels, self.pixels, self.pixels, where)

    def loss(self, output: Tensor, truth: Tensor, known: Tensor) -> Tensor:
        """The named losses, summed, over labelled pixels."""
        weights = self.weights_on(output.device)
        return segmentation_loss(self.loss_names, output, truth, known, weights, self.options.smoothing)

    def valid_count(self, truth: Tensor, known: Tensor) -> Tensor:
        """Labelled pixels."""
        return (known[:, None, None] & (truth != IGNORE)).sum()

    def evidence(self, prediction: Array, truth: Array, spec: HeadSpec, *, complete: bool = True) -> Evidence:
        """Counts of pixels: confusion, and if complete, boundaries and reliability."""
        classes = len(self.classes)
        decided = prediction.argmax(axis=1)
        boundary = np.zeros((len(truth), classes, 4), dtype=np.int64)
        reliability = np.zeros((len(truth), 2, BINS, 3))
        if complete or METRICS[self.metric].is_slow:
            boundary = boundary_counts(decided, truth, classes)
        if complete:
            calibrated = scale(prediction, spec.temperature, self.kind)
            reliability = pixel_reliability(calibrated, truth, spec.temperature)
        confusion = confusion_counts(decided, truth, classes)
        return {
            "confusion": SparseRows.of(confusion.astype(np.int32)),
            "boundary": SparseRows.of(boundary.astype(np.int32)),
            "reliability": SparseRows.of(reliability),
        }

    @classmethod
    def decide(cls, prediction: Tensor, with_data: npt.NDArray[np.bool_] | None) -> Array:
        """Class numbers and confidence in per cent, (batch, 2, height, width) uint8, 255 where there are no data."""
        confidence, numbers = prediction.max(dim=1)
        per_cent = (100 * confidence).round()
        bands = torch.stack([numbers.to(torch.uint8), per_cent.to(torch.uint8)], dim=1).cpu().numpy()
        return hide_without_data(bands, with_data, np.uint8(IGNORE))

    @classmethod
    def prediction_columns(cls, name: str, head: HeadSpec, decided: Array, threshold: float) -> dict[str, Array]:
        """`<target>.share.<class>`, of the pixels with data."""
        counts = np.stack([np.bincount(numbers.ravel(), minlength=256) for numbers in decided[:, 0].astype(np.int64)])
        counts = counts[:, : len(head.classes)].astype(np.float64)
        pixels = counts.sum(axis=1, keepdims=True)
        shares = np.divide(counts, pixels, out=np.full_like(counts, np.nan), where=pixels > 0)
        return {f"{name}.share.{label}": shares[:, number] for number, label in enumerate(head.classes)}

    def sample(self, prediction: Array, truth: Array, draw: Draw) -> tuple[Array, Array, Array]:
        """Pixels that have a label."""
        numbers = truth.reshape(-1)
        labelled = np.flatnonzero(numbers != IGNORE)
        chosen = labelled[draw.candidates(len(labelled))]
        predicted = np.moveaxis(prediction, 1, -1).reshape(-1, prediction.shape[1])
        return predicted[chosen], numbers[chosen], chosen // (len(numbers) // max(len(truth), 1))

    def keep(self, prediction: Array) -> Array:
        """The most probable class of each pixel, (patches, height, width) uint8."""
        kept: Array = prediction.argmax(axis=1).astype(np.uint8)
        return kept

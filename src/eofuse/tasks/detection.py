"""Boxes with classes."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from eofuse.data.loading import Rows, in_order
from eofuse.data.store import Window
from eofuse.evaluation.detection import detection_metrics, detection_per_class, match_boxes
from eofuse.models.heads.base import HeadSpec
from eofuse.tasks.base import Array, Evidence, Scores, Task

PARTS = ("scores", "labels", "matched", "counts")


class Detection(Task):
    """Boxes around objects; the loss is the detector's own, computed by the head."""

    kind = "detection"
    losses = ("detector",)
    networks = ("fcos", "retinanet", "faster_rcnn")

    def fit(self, rows: Rows, window: Window | None) -> None:
        """The constant prediction is no box at all."""
        self.window = window
        self.constant = np.tile(np.array([0, 0, 0, 0, 0, -1], dtype=np.float32), (100, 1))

    def has_boxes(self, rows: Rows) -> bool:
        """Whether one of the patches that are known has a box."""
        return any((self.target.read(part, self.window)[..., 4] >= 0).any() for part in in_order(self.known(rows), 64))

    def head(self) -> HeadSpec:
        """Boxes of the classes."""
        return HeadSpec("detection", self.classes, network=self.network)

    def loss(self, output: Mapping[str, Tensor], truth: Tensor, known: Tensor) -> Tensor:
        """The sum of the detector's losses, for which the head left out the patches that are not known."""
        return torch.stack(list(output.values())).sum()

    def evidence(self, prediction: Array, truth: Array, spec: HeadSpec, *, complete: bool = True) -> Evidence:
        """Boxes, and which of them are true."""
        return match_boxes(prediction, truth, len(self.classes))

    def score(self, evidence: Mapping[str, Array], weights: Array | None = None) -> Scores:
        """Mean average precision over IoU .5 to .95, and at .5."""
        scores, labels, matched, counts = (evidence[name] for name in PARTS)
        return {**detection_metrics(scores, labels, matched, counts, weights)}

    def per_class(self, evidence: Mapping[str, Array]) -> dict[str, Array]:
        """Average precision, at IoU .5 too, and recall; support in boxes."""
        scores, labels, matched, counts = (evidence[name] for name in PARTS)
        return {**detection_per_class(scores, labels, matched, counts)}

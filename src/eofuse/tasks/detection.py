"""Boxes with classes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eofuse.data.loading import Rows, in_order
from eofuse.data.store import Window
from eofuse.errors import DataError
from eofuse.evaluation.metrics.detection import BoxTotals, match_boxes
from eofuse.kinds import DETECTION
from eofuse.models.heads.base import HeadSpec
from eofuse.tasks.base import TASKS, Array, Evidence, Task
from eofuse.tasks.drawing import Draw


@TASKS.register(DETECTION.name)
class Detection(Task):
    """Boxes around objects; the loss is the detector's own, computed by the head."""

    kind = DETECTION
    totals = BoxTotals
    losses = ("detector",)
    networks = ("fcos", "retinanet", "faster_rcnn")

    def fit(self, rows: Rows, window: Window | None) -> None:
        """The constant prediction is no box at all."""
        self.window = window
        self.constant = np.tile(np.array([0, 0, 0, 0, 0, -1], dtype=np.float32), (100, 1))

    def has_boxes(self, rows: Rows) -> bool:
        """Whether one of the patches that are known has a box."""
        return any((self.target.read(part, self.window)[..., 4] >= 0).any() for part in in_order(self.known(rows), 64))

    def check(self, rows: Mapping[str, Rows], where: Path, *, refit: bool) -> list[str]:
        """Training and validation must have a box."""
        for part, words in {"train": "training", "validation": "validation"}.items():
            if not self.has_boxes(rows[part]):
                fix = "choose other classes, a smaller size, another split or file"
                raise DataError(f"no {words} patch has a box of '{self.name}'", where=where, fix=fix)
        if self.has_boxes(rows["test"]):
            return [*self.target.notes]
        return [*self.target.notes, f"No test patch has a box of '{self.name}': it has no scores."]

    def loss(self, output: Mapping[str, Tensor], truth: Tensor, known: Tensor) -> Tensor:
        """The sum of the detector's losses, for which the head left out the patches that are not known."""
        return torch.stack(list(output.values())).sum()

    def evidence(self, prediction: Array, truth: Array, spec: HeadSpec, *, complete: bool = True) -> Evidence:
        """Boxes, and which of them are true."""
        return match_boxes(prediction, truth, len(self.classes))

    def sample(self, prediction: Array, truth: Array, draw: Draw) -> tuple[Array, Array, Array]:
        """None: boxes are not calibrated."""
        return np.zeros((0, len(self.classes))), np.zeros(0), np.zeros(0, dtype=np.int64)

    @classmethod
    def prediction_columns(cls, name: str, head: HeadSpec, decided: Array, threshold: float) -> dict[str, Array]:
        """`<target>.boxes`, how many count."""
        return {f"{name}.boxes": boxes_that_count(decided, threshold).sum(axis=1)}

    def extra_columns(self, rows: Rows, window: Window | None) -> dict[str, list[Array]]:
        """The true boxes of each patch, as one flat array of x0, y0, x1, y1, class."""
        found = []
        for row in rows:
            boxes = self.target.read(np.array([row]), window)[0]
            found.append(boxes[boxes[:, 4] >= 0].ravel())
        return {"truth_boxes": found}


def boxes_that_count(boxes: Array, threshold: float) -> npt.NDArray[np.bool_]:
    """Which rows (…, 100, 6) of boxes are boxes of at least this score, (…, 100)."""
    return np.asarray((boxes[..., 5] >= 0) & (boxes[..., 4] >= threshold))

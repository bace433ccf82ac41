"""What one class a patch and several classes a patch have in common: probabilities, their evidence and their calibration."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from eofuse.data.loading import Rows
from eofuse.errors import DataError
from eofuse.evaluation.metrics.classification import LabelTotals
from eofuse.models.heads.base import HeadSpec
from eofuse.tasks.base import Array, Evidence, Task, check_classes


class Classification(Task):
    """Classification of patches."""

    totals = LabelTotals
    losses = ("cross_entropy",)
    smooths = True
    balances = ("none", "class_weights", "sampling")

    def check(self, rows: Mapping[str, Rows], where: Path, *, refit: bool) -> list[str]:
        """Two classes must occur in the training patches, and one in those of validation."""
        train, valid, test = (self.target.counts(rows[part]) for part in ("train", "validation", "test"))
        if not valid.any():
            found = f"{self.metric} is not defined on the validation patches: none carries a class of '{self.name}'"
            raise DataError(found, where=where, fix="choose another target, threshold or split")
        learned = train + valid if refit and self.class_weights is None else train
        return check_classes(self, train, learned, test, where)

    def evidence(self, prediction: Array, truth: Array, spec: HeadSpec, *, complete: bool = True) -> Evidence:
        """Truth and probabilities before calibration, with the temperature for them."""
        temperatures = np.full(len(truth), spec.temperature)
        probabilities = prediction.astype(np.float32)
        return {"truth": truth.astype(np.int64), "probabilities": probabilities, "temperature": temperatures}

    @classmethod
    def prediction_columns(cls, name: str, head: HeadSpec, decided: Array, threshold: float) -> dict[str, Array]:
        """`<target>` (the class, or the list of those present), `<target>.confidence` and `<target>.p.<class>`."""
        classes, predicted = np.array(head.classes, dtype=object), np.full(len(decided), None, dtype=object)
        for position, values in enumerate(decided):
            chosen = classes[values >= threshold].tolist() if head.kind.has_several else classes[values.argmax()]
            predicted[position] = chosen
        columns: dict[str, Array] = {name: predicted, f"{name}.confidence": decided.max(axis=1)}
        return columns | {f"{name}.p.{label}": decided[:, number] for number, label in enumerate(head.classes)}

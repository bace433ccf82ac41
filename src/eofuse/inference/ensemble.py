"""Models of one recipe that predict together: `Ensemble`, `load_ensemble`.

Probabilities of classes (each model's calibrated by its own temperature) and numbers are averaged, a patch or pixel at a time, as in
deep ensembles (Lakshminarayanan et al. 2017, https://arxiv.org/abs/1612.01474). The half width of the predictive interval is the mean
of the models' half widths: the error of the mean prediction is at most the mean of the errors. Boxes are not averaged: those of the
first model count.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eofuse.errors import DataError, UsageError
from eofuse.models.artifact import load_model
from eofuse.models.fusion import Present
from eofuse.models.model import Model, ModelSpec

AnyPath = str | os.PathLike[str]


class Ensemble:
    """Models with the same inputs and targets, as one.

    Args:
        models: one or more, the one whose boxes count first.

    Attributes:
        spec: that of the first, with the mean half widths of the intervals.
        models: the models.

    Raises:
        UsageError: if there is none, or they differ in inputs or targets.
    """

    def __init__(self, models: Sequence[Model]) -> None:
        if not models:
            raise UsageError("no model is given", fix="name one or more")
        self.models = list(models)
        first = models[0].spec
        for model in models[1:]:
            if _interface(model.spec) != _interface(first):
                raise UsageError("the models differ in inputs or targets", fix="average models of one recipe")
        heads = {}
        for name, head in first.heads.items():
            margins = [model.spec.heads[name].margin for model in models]
            known = all(margins) and len(margins) > 1
            heads[name] = replace(head, margin=tuple(np.mean(margins, axis=0).tolist())) if known else head
            if not all(margins):
                heads[name] = replace(head, margin=())
        self.spec = replace(first, heads=heads)

    def predict(self, inputs: Mapping[str, Tensor], present: Present | None = None) -> dict[str, Tensor]:
        """Predictions by target name, as `Model.predict` gives them; those of a single model are its own bit for bit."""
        sums = self.models[0].predict(inputs, present)
        for model in self.models[1:]:
            for name, prediction in model.predict(inputs, present).items():
                if not self.spec.heads[name].kind.is_boxes:
                    sums[name] = sums[name] + prediction
        count = len(self.models)
        return {
            name: total if count == 1 or self.spec.heads[name].kind.is_boxes else total / count
            for name, total in sums.items()
        }


def load_ensemble(folders: AnyPath | Sequence[AnyPath], device: str | torch.device = "cpu") -> Ensemble:
    """Saved models as one.

    Raises:
        DataError: if a folder holds no model.
        UsageError: if they differ in inputs or targets.
    """
    folders = [folders] if isinstance(folders, str | os.PathLike) else folders
    models = [load_model(folder, device) for folder in folders]
    try:
        return Ensemble(models)
    except UsageError as error:
        raise DataError(error.what, where=Path(folders[0]).parent if folders else None, fix=error.fix) from None


def _interface(spec: ModelSpec) -> object:
    """What models must share to be averaged."""
    heads = {name: (head.kind, head.classes, head.unit) for name, head in spec.heads.items()}
    return spec.modalities, heads, spec.patch_size, spec.empty_bands, spec.fusion.missing

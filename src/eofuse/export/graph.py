"""A model as one graph, from stored values to predictions: `PredictStored`; `refuse` says why a model has none."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from eofuse.data.store.gaps import NEVER_ZERO, may_have_empty_bands
from eofuse.errors import UsageError
from eofuse.inference.ensemble import Ensemble
from eofuse.modalities import Kind, Modality
from eofuse.models.heads import HeadSpec
from eofuse.models.model import Model
from eofuse.models.normalisation import is_data

INSTEAD = "predict with `eofuse predict`, which takes it as it is"


def output_name(target: str, head: HeadSpec) -> str:
    """Name of the output of a target: `<target>.probabilities` of classes, `<target>.numbers` of numbers."""
    return f"{target}.{'numbers' if head.kind.is_numbers else 'probabilities'}"


class PredictStored(nn.Module):
    """Models of one recipe as one network without options: what a store holds comes in, what `predict` gives goes out.

    Normalisation, missing values, temperatures and the mean over several models are inside.

    Args:
        ensemble: the models, in evaluation mode, none of which `refuse` refuses.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.spec = ensemble.spec
        self.models = nn.ModuleList(ensemble.models)
        self.requires_grad_(False)
        self.eval()

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Probabilities or numbers by output name (see `output_name`), of a batch in native dtype.

        Args:
            inputs: by modality name, as `eofuse.models.model.Model.forward` takes them, of patches that have every input. Where an
                empty band means that a patch lacks its modality (`data.empty_bands: absent`), its predictions are NaN.
        """
        sums: dict[str, Tensor] = {}
        for model in self.models:
            assert isinstance(model, Model)
            for target, predicted in model.predictions(model(inputs)).items():
                sums[target] = sums[target] + predicted if target in sums else predicted
        usable = self._has_inputs(inputs)
        found = {}
        for target, total in sums.items():
            mean = total / len(self.models) if len(self.models) > 1 else total
            if usable is not None:
                mean = mean.where(usable.view(-1, *(1 for _ in mean.shape[1:])), torch.nan)
            found[output_name(target, self.spec.heads[target])] = mean
        return found

    def _has_inputs(self, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """Which patches (B,) have a value in every band; None where empty bands don't matter."""
        if self.spec.empty_bands == "keep":
            return None
        usable = [
            ~_empty_channels(modality, inputs[modality.name]).any(1)
            for modality in self.spec.modalities
            if may_have_empty_bands(modality)
        ]
        return torch.stack(usable).all(0) if usable else None


def _empty_channels(modality: Modality, stored: Tensor) -> Tensor:
    """Which channels (B, C) hold no value, as `eofuse.data.store.gaps.empty_channels` has it."""
    values = stored.float()
    if modality.kind is Kind.SERIES:
        values = values[..., 1:].where(values[..., :1].isfinite(), torch.nan).movedim(-1, 1)
    values = values.flatten(2)
    never_zero = values.new_tensor([channel.unit in NEVER_ZERO for channel in modality.channels], dtype=torch.bool)
    return (~is_data(modality, values) | ((values == 0) & never_zero[:, None])).all(2)


def refuse(ensemble: Ensemble) -> None:
    """Raises a `UsageError` that says why a model has no fixed graph, if it has none."""
    spec = ensemble.spec
    for modality in spec.modalities:
        if modality.kind is Kind.IMAGE_SERIES:
            what = "a series of images can't be exported: how many dates are encoded depends on the patches"
            raise UsageError(what, where=modality.name, fix=INSTEAD)
    for target, head in spec.heads.items():
        if head.kind.is_boxes:
            what = "boxes can't be exported: how many a detector looks at depends on the patch"
            raise UsageError(what, where=target, fix=INSTEAD)
    if spec.fusion.missing == "token":
        what = "a model with tokens can't be exported: it encodes patches in groups, by the inputs that they lack"
        raise UsageError(what, where="fusion.missing", fix=f"{INSTEAD}, or train with missing: exclude")
    for name, encoder in ensemble.models[0].fusion.encoders_inside().items():
        if encoder.takes_gaps:
            what = f"the encoder '{encoder.name}' can't be exported: what it looks at depends on what patches lack"
            raise UsageError(what, where=name, fix=INSTEAD)

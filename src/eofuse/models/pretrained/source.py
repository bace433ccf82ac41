"""`Source`: trained weights with the meaning of their inputs, from wherever they come; `run_source`: those of a run of eofuse."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from eofuse.errors import DataError, UsageError
from eofuse.models.artifact import DESCRIPTION, load_model
from eofuse.models.encoders.base import Encoder
from eofuse.models.model import Model
from eofuse.models.parts import Column, Part, channels_of

Statistics = dict[Column, tuple[float, float]]


@dataclass(frozen=True)
class Source:
    """Trained weights.

    Attributes:
        title: where they are from, for people.
        parts: what they consist of.
        tensors: by name, those of the parts and whatever else there is.
        statistics: mean and deviation of each channel, in physical units, by which the inputs were normalised; channels whose
            normalisation is unknown or has no physical unit are left out.
        notes: what else a reader of the table must know.
        licence: of the weights, "" where it is not known.
    """

    title: str
    parts: list[Part]
    tensors: dict[str, Tensor]
    statistics: Statistics = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    licence: str = ""


def run_source(folder: Path) -> Source:
    """The weights of a run folder, or of the folder of a saved model.

    Raises:
        DataError: if the model is missing or damaged.
    """
    return model_source(load_model(folder if (folder / DESCRIPTION).is_file() else folder / "model"), str(folder))


def model_source(model: Model, title: str) -> Source:
    """The weights of a model."""
    tensors = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("normaliser.")}
    return Source(title, model.parts(), tensors, _statistics(model))


def encoders_source(model: Model, weights: Mapping[str, Tensor], title: str) -> Source | None:
    """The weights of a file for the encoders of a model that take some of them; None if none does (see `Encoder.tensors_from`).

    Raises:
        UsageError: if an encoder names a tensor that it does not have.
    """
    tensors: dict[str, Tensor] = {}
    for path, encoder in model.named_modules():
        if isinstance(encoder, Encoder):
            try:
                found = encoder.tensors_from(weights)
            except DataError as error:
                raise DataError(error.what, where=title, fix=error.fix) from None
            for name in found.keys() - encoder.state_dict().keys():
                fix = "return names of its own state dictionary from tensors_from"
                raise UsageError(f"the encoder '{encoder.name}' has no tensor '{name}'", where=title, fix=fix)
            tensors |= {f"{path}.{name}": tensor for name, tensor in found.items()}
    parts = [
        replace(part, tensors={name: tensor for name, tensor in part.tensors.items() if tensor in tensors})
        for part in model.parts()
    ]
    return Source(title, [part for part in parts if part.tensors], tensors) if tensors else None


def _statistics(model: Model) -> Statistics:
    """Mean and deviation of each channel that is not categorical."""
    found: Statistics = {}
    for modality in model.spec.modalities:
        if not modality.is_categorical:
            mean, std = model.spec.statistics.mean[modality.name], model.spec.statistics.std[modality.name]
            found |= dict(zip(channels_of(modality), zip(mean, std, strict=True), strict=True))
    return found

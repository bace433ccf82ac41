"""`Source`: trained weights with the meaning of their inputs, from wherever they come; `run_source`: those of a run of eofuse."""

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from eofuse.models.artifact import DESCRIPTION, load_model
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
    """

    title: str
    parts: list[Part]
    tensors: dict[str, Tensor]
    statistics: Statistics = field(default_factory=dict)
    notes: tuple[str, ...] = ()


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


def _statistics(model: Model) -> Statistics:
    """Mean and deviation of each channel that is not categorical."""
    found: Statistics = {}
    for modality in model.spec.modalities:
        if not modality.is_categorical:
            mean, std = model.spec.statistics.mean[modality.name], model.spec.statistics.std[modality.name]
            found |= dict(zip(channels_of(modality), zip(mean, std, strict=True), strict=True))
    return found

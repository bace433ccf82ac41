"""Weights of a run of eofuse: the artifact in its `model/`, with every name that mapping needs."""

from pathlib import Path

from eofuse.models.artifact import DESCRIPTION, load_model
from eofuse.models.model import Model
from eofuse.models.parts import channels_of
from eofuse.models.pretrained.source import Source, Statistics


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

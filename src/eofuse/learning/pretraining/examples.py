"""`reconstructions`: what a pretraining that hides and reconstructs makes of some validation patches, to be looked at."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from eofuse.data.store import open_store
from eofuse.errors import DataError
from eofuse.learning.loop import CHECKPOINT_FILE
from eofuse.learning.pretraining.preparation import prepare_unlabelled
from eofuse.learning.pretraining.reconstruction import Reconstruction
from eofuse.learning.pretraining.run import make_objective, open_pretraining
from eofuse.modalities import Modality
from eofuse.models.torch_file import load_whole
from eofuse.tasks.drawing import evenly_spaced


@dataclass(frozen=True)
class Reconstructed:
    """A raster of some patches, and what was made of it.

    Attributes:
        modality: the raster, with the channels that the model sees.
        patch_ids: names of the patches.
        original: as the store has it, (patches, channels, height, width).
        hidden: which pixels the model did not see, (patches, height, width).
        reconstructed: in the unit of the original, of all pixels, (patches, channels, height, width).
    """

    modality: Modality
    patch_ids: tuple[str, ...]
    original: npt.NDArray[np.float64]
    hidden: npt.NDArray[np.bool_]
    reconstructed: npt.NDArray[np.float64]


def reconstructions(folder: Path, most: int = 16) -> list[Reconstructed]:
    """What a finished pretraining makes of some validation patches: an entry a raster of numbers, none if nothing is hidden.

    Args:
        folder: of the pretraining.
        most: patches at most.

    Raises:
        DataError: if the pretraining is not finished, its checkpoint or store is gone, or the store has changed.
    """
    run = open_pretraining(folder)
    store = open_store(run.options.data.store)
    data, model = prepare_unlabelled(store, run.options), run.model()
    module = make_objective(model, data, run.options).module
    if not isinstance(module, Reconstruction):
        return []
    try:
        content = load_whole(folder / CHECKPOINT_FILE)
        module.load_state_dict(content["module"])
    except Exception as error:  # what is damaged makes torch raise many kinds
        what = "has no decoder any more, which is in the checkpoint alone"
        raise DataError(what, where=folder / CHECKPOINT_FILE, fix="pretrain anew to see reconstructions") from error
    module.eval()
    rows = evenly_spaced(data.rows["validation"], most)
    batch = data.loader(run.options).read(rows)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.options.seed)
        valid = model.normaliser.valid(batch.inputs, batch.present)
        _, hidden, predicted = module.reconstruct(batch.inputs, valid)
    names = tuple(store.index["patch_id"].iloc[rows].astype(str))
    found = []
    for modality in module.rasters:
        name = modality.name
        if modality.is_categorical:
            continue
        mean, std = (
            np.array(values[name])[:, None, None] for values in (model.spec.statistics.mean, model.spec.statistics.std)
        )
        physical = torch.stack(predicted[name]).mean(0).numpy().astype(np.float64) * std + mean
        original = batch.inputs[name].numpy().astype(np.float64)
        shown = (physical - modality.offset) / modality.scale
        found.append(Reconstructed(modality, names, original, hidden[name][:, 0].numpy(), shown))
    return found

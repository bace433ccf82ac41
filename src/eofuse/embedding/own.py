"""Vectors of models of eofuse: of a run, or of a network of images with weights by a timm or torchgeo name."""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from eofuse.data.loading import Loader, Rows
from eofuse.data.store import Store
from eofuse.data.store.gaps import presence
from eofuse.embedding.base import BATCH, Embedder, EmbedOptions, Numbers, training_rows
from eofuse.errors import DataError, UsageError
from eofuse.files import sha256
from eofuse.inference.predict import loader_for, usable_patches
from eofuse.learning.input_statistics import training_statistics
from eofuse.learning.lineage import unknown
from eofuse.learning.pretraining.run import is_pretraining, open_pretraining
from eofuse.learning.run import MODEL_FOLDER, open_last
from eofuse.learning.transfer import StartOptions, history_of
from eofuse.modalities import MONTH, PLACE, Kind, Modality
from eofuse.models.artifact import DESCRIPTION, WEIGHTS, load_model
from eofuse.models.encoders import context_of
from eofuse.models.fusion import FusionOptions
from eofuse.models.model import Model, ModelSpec, build_model
from eofuse.models.parts import Column
from eofuse.models.pretrained import Source, WeightOptions, load_source, map_weights

MOST_CHARACTERS = 16_000_000
"""Length of a history that a store's description keeps, some 200,000 patches; of more it says that they are not known."""


class ModelEmbedder(Embedder):
    """Vectors of a model of eofuse: what its fusion gives to the heads."""

    def __init__(self, store: Store, model: Model, names: tuple[str, str], facts: Mapping[str, Any], seed: int) -> None:
        self.loader = loader_for(model, store)
        self.usable = usable_patches(model, self.loader)
        self.networks = (model, build_model(model.spec, seed).eval())
        self.name, title = names
        self.titles = (title, f"{title}, random weights")
        context = context_of(model.spec.modalities, model.spec.fusion)
        inputs, stored = {}, []
        for modality in model.spec.modalities:
            own = store.modalities.get(modality.name, modality)
            channels = own.channel_names if own.is_categorical else own.own_names(modality.channel_names)
            stored += [f"{own.name}.{channel}" for channel in own.channel_names]
            for place, channel in zip(channels, modality.channels, strict=True):
                inputs[f"{own.name}.{place}"] = {"as": channel.name, "unit": channel.unit}
        self.facts = {
            **facts,
            "inputs": inputs,
            "not_used": [place for place in stored if place not in inputs],
            "place": PLACE in context,
            "month": "of the index" if MONTH in context else None,
            "warnings": [],
        }

    def vectors(self, rows: Rows, twin: bool, device: torch.device) -> Numbers:
        """The vector of the fusion; with decision fusion those of the modalities one beside the other."""
        network = self.networks[twin].to(device)
        found = np.full((len(rows), sum(size.vector for size in network.fusion.sizes)), np.nan, dtype=np.float32)
        usable = np.flatnonzero(self.usable[rows])
        for first, last in pairwise([*range(0, len(usable), BATCH), len(usable)]):
            batch = self.loader.read(rows[usable[first:last]]).to(device)
            with network.evaluating():
                features = network.features(batch.inputs, batch.present)
            found[usable[first:last]] = torch.cat([each.vector for each in features], dim=1).float().cpu().numpy()
        return found

    def channels(self, known: npt.NDArray[np.bool_]) -> dict[str, int]:
        """All of its numbers."""
        if not self.usable.any():
            raise DataError("no sample has what the model takes", where=", ".join(self.loader.modalities))
        return {f"{number:03d}": number for number in range(len(known))}


def embedder_of_run(store: Store, folder: Path, seed: int) -> ModelEmbedder:
    """The network of a finished run or pretraining, or of a saved model."""
    if is_pretraining(folder):
        saved = open_pretraining(folder).folder / MODEL_FOLDER
    elif (folder / DESCRIPTION).is_file():
        saved = folder
    else:
        saved = open_last(folder).folder / MODEL_FOLDER
    model = load_model(saved)
    name = (folder.resolve().parent if folder.name == MODEL_FOLDER else folder.resolve()).name
    facts = {
        "model": name,
        "weights": {"file": WEIGHTS, "sha256": sha256(saved / WEIGHTS), "licence": "", "paper": ""},
    }
    names = ("".join(c if c.isalnum() else "_" for c in name), f"run {name}")
    made = ModelEmbedder(store, model, names, facts, seed)
    history = history_of(StartOptions.model_validate({"from": str(folder)})).to_text()
    made.history = {"history": history if len(history) <= MOST_CHARACTERS else unknown(name).to_text()}
    return made


def embedder_of_weights(store: Store, options: EmbedOptions) -> ModelEmbedder:
    """A network of timm with weights of timm or torchgeo, which looks at the raster that has their bands."""
    file = None if options.weights is None else str(options.weights)
    source = load_source(options.model, "", WeightOptions(file=file, non_commercial=options.non_commercial))
    modality = _with_bands(store, source, options.inputs)
    spec = {modality.name: list(modality.channel_names)}
    fusion = FusionOptions(strategy="single", encoder=source.parts[0].network)
    loader = Loader(store, spec, present=presence(store, spec, "keep"))
    rows = training_rows(store)
    statistics = training_statistics(loader, rows[store.present(modality.name)[rows]], fusion)
    model = build_model(ModelSpec((modality,), fusion, {}, statistics, store.patch_size), seed=options.seed).eval()
    mapped = map_weights(model, source)
    digest = hashlib.sha256()
    for name, tensor in sorted(source.tensors.items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    place, _, name = options.model.partition(":")
    facts = {
        "model": options.model,
        "weights": {
            "file": Path(file).name if file else name,
            "sha256": sha256(Path(file)) if file else digest.hexdigest(),
            "licence": source.licence or f"not stated here: see {place}",
            "paper": "",
        },
        "normalisation": [row.note for row in mapped if row.note],
    }
    return ModelEmbedder(store, model, (place, options.model), facts, options.seed)


def _with_bands(store: Store, source: Source, inputs: Sequence[str] | None) -> Modality:
    """The raster of a store that has the bands of the weights, in their order."""
    bands = [column.channel.name for column in source.parts[0].columns]
    found = []
    for name in inputs or store.modalities:
        modality = store.modality(name)
        if modality.kind is Kind.RASTER and not modality.is_categorical:
            fitting = [
                [own.name for own in modality.channels if Column(None, own).fits(column)]
                for column in source.parts[0].columns
            ]
            if all(fitting):
                found.append(modality.select([names[0] for names in fitting]))
    if not found:
        raise UsageError(f"no raster has the bands {', '.join(bands)}", where=source.title, fix="see eofuse describe")
    if len(found) > 1:
        names = ", ".join(each.name for each in found)
        raise UsageError(f"several rasters have the bands of {source.title}: {names}", where="--inputs", fix="name one")
    return found[0]

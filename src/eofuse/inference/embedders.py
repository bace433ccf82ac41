"""What computes vectors of samples: `open_embedder` finds a foundation model, a run of eofuse, or weights by a timm or torchgeo name.

Each comes with its twin, the same network with random weights.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eofuse.data.context import months_of, pixel_m_of, places_of
from eofuse.data.loading import Loader, Rows
from eofuse.data.store import Store
from eofuse.data.store.gaps import presence
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.files import sha256
from eofuse.inference.predict import loader_for, usable_patches
from eofuse.learning.input_statistics import training_statistics
from eofuse.learning.pretraining.run import is_pretraining, open_pretraining
from eofuse.learning.run import MODEL_FOLDER, open_last
from eofuse.learning.transfer import StartOptions, history_of
from eofuse.modalities import MONTH, PLACE, Channel, Kind, Modality
from eofuse.models.artifact import DESCRIPTION, WEIGHTS, load_model
from eofuse.models.encoders import context_of
from eofuse.models.foundation import FOUNDATIONS, PIXEL_M, Sample, build_foundation
from eofuse.models.foundation.matching import Taken, match_channels, odd_units
from eofuse.models.fusion import FusionOptions
from eofuse.models.model import Model, ModelSpec, build_model
from eofuse.models.pretrained import Source, WeightOptions, is_path, load_source, map_weights

BATCH = 16
"""Samples that go through a network together."""

COMPARED = 256
"""Samples whose spread is compared with the pretraining's."""

PATCH = 8
"""Side of a token in pixels, where nothing else is said."""

Pool = Literal["mean", "groups"]
Numbers = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EmbedOptions:
    """What a user may say of an embedding; see `eofuse.inference.embedding.embed`."""

    model: str
    weights: Path | None = None
    inputs: Sequence[str] | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    month: int | None = None
    place: bool = False
    patch: int | None = None
    pool: Pool = "mean"
    seed: int = 0


class Embedder(ABC):
    """Gives vectors of a store's samples.

    Attributes:
        name: of the modality that it makes, where no other is wanted.
        titles: for people: of its vectors, and of those of its twin.
        facts: how vectors are computed, for the store's provenance.
        history: what the network has learned from, as `history` (see `eofuse.learning.lineage`), where that is known.
    """

    name: str
    titles: tuple[str, str]
    facts: dict[str, Any]
    history: Mapping[str, str] = MappingProxyType({})

    @abstractmethod
    def vectors(self, rows: Rows, twin: bool, device: torch.device) -> Numbers:
        """(rows, numbers), NaN where a sample has nothing that the network takes."""

    @abstractmethod
    def channels(self, vectors: Numbers) -> dict[str, int]:
        """Names of the numbers that are kept, and their places, given the vectors of all samples.

        Raises:
            DataError: if there are none.
        """


def open_embedder(store: Store, options: EmbedOptions) -> Embedder:
    """What computes the vectors of a store's samples.

    Raises:
        UsageError: if there is no such model, or an option is not for it.
        DataError: if its weights are damaged, or the store does not fit.
    """
    named = options.model.partition(":")[0]
    if named in FOUNDATIONS:
        return FoundationEmbedder(store, options)
    if not is_path(options.model):
        _refuse(options, ("units", "month", "place", "patch", "pool"), f"is no option of {options.model}")
        return _of_named_weights(store, options)
    folder = Path(options.model)
    if not folder.exists():
        fix = f"{did_you_mean(named, FOUNDATIONS)} — or a run folder, timm:NAME, torchgeo:NAME"
        raise UsageError(f"no foundation model or run '{options.model}'", where="--with", fix=fix)
    _refuse(options, ("weights", "inputs", "units", "month", "place", "patch", "pool"), "is said by the run itself")
    return _of_run(store, folder, options.seed)


def _refuse(options: EmbedOptions, names: Sequence[str], why: str) -> None:
    for name in names:
        if getattr(options, name) != getattr(EmbedOptions(options.model), name):
            raise UsageError(why, where=f"--{name.removesuffix('s') if name == 'units' else name}", fix="leave it out")


class FoundationEmbedder(Embedder):
    """Vectors of a foundation model: means of its tokens."""

    def __init__(self, store: Store, options: EmbedOptions) -> None:
        if options.pool not in ("mean", "groups"):
            raise UsageError(f"there is no pool '{options.pool}'", where="pool", fix="choose mean or groups")
        self.patch = PATCH if options.patch is None else options.patch
        if self.patch < 1:
            raise UsageError(f"tokens of {self.patch} pixels", where="--patch", fix="choose 1 or more")
        model = build_foundation(options.model, options.seed)
        if options.weights is None:
            fix = f"--weights FILE|DIR ({' or '.join(model.files())}); see docs/foundation.md"
            raise UsageError(f"the weights of {model.name} are missing", where="embed", fix=fix)
        self.store = store
        self.pool = options.pool
        self.taken = match_channels(
            model, [store.modality(each) for each in options.inputs or store.modalities], options.units
        )
        self.months = _months(store, options.month)
        self.places = _places(store) if options.place else None
        self.pixel_m = pixel_m_of(store.index) or min(
            (side for each in self.taken if (side := each.resolution_m)), default=PIXEL_M
        )
        self.present = {each.modality.name: store.present(each.modality.name) for each in self.taken}
        file = model.load(options.weights)
        self.model = model
        self.networks = (model, build_foundation(options.model, options.seed))
        self.name = options.model.partition(":")[0]
        self.titles = (f"{model.title} ({model.name})", f"{model.title}, random weights")
        self.facts = {
            "model": model.name,
            "weights": {"file": file.name, "sha256": sha256(file), "licence": model.licence, "paper": model.paper},
            "inputs": {each.where: {"as": each.channel.name, "unit": each.unit} for each in self.taken},
            "not_used": _not_used(self.taken),
            "pool": self.pool,
            "patch": self.patch,
            "pixel_m": self.pixel_m,
            "place": options.place,
            "month": "of the index" if options.month is None else f"of the index, else {options.month}",
            "warnings": odd_units(self.taken, self._sample(self._compared()).values),
        }

    @torch.inference_mode()
    def vectors(self, rows: Rows, twin: bool, device: torch.device) -> Numbers:
        """Means of tokens: of all of them, or (rows, groups × width) of each group."""
        network = self.networks[twin].to(device)
        found = []
        for first, last in pairwise([*range(0, len(rows), BATCH), len(rows)]):
            means = network.embed(_on(self._sample(rows[first:last]), device), self.patch)
            if self.pool == "groups":
                values = torch.where(means.tokens[..., None] > 0, means.means, torch.nan).flatten(1)
            else:
                values = torch.where(means.tokens.sum(dim=1, keepdim=True) > 0, means.pooled, torch.nan)
            found.append(values.float().cpu().numpy())
        return np.concatenate(found)

    def channels(self, vectors: Numbers) -> dict[str, int]:
        """Numbers of the groups that some sample has; those of the mean of all have but a number."""
        width = self.model.width
        known = np.flatnonzero(~np.isnan(vectors.reshape(len(vectors), -1, width)[:, :, 0]).all(axis=0))
        if not len(known):
            fix = "look at the values: eofuse describe"
            raise DataError("no sample has a token without missing values", where=self.model.name, fix=fix)
        groups = {"": 0} if self.pool == "mean" else {f"{self.model.groups[each]}_": each for each in known.tolist()}
        return {
            f"{group}{number:03d}": place * width + number for group, place in groups.items() for number in range(width)
        }

    def _compared(self) -> Rows:
        """Samples whose spread is compared with the pretraining's."""
        rows = training_rows(self.store)
        chosen = np.linspace(0, len(rows) - 1, COMPARED).astype(np.int64)
        return np.asarray(rows[np.unique(chosen)], dtype=np.int64)

    def _sample(self, rows: Rows) -> Sample:
        """Some samples as the model takes them."""
        stored = {each.modality.name: self.store.read(each.modality.name, rows) for each in self.taken}
        values: dict[str, Tensor] = {}
        for each in self.taken:
            found = each.values(stored[each.modality.name])
            found[torch.from_numpy(~self.present[each.modality.name][rows])] = torch.nan
            values[each.channel.name] = found
        places = None if self.places is None else torch.from_numpy(self.places[rows])
        return Sample(values, torch.from_numpy(self.months[rows]), places, self.pixel_m)


class ModelEmbedder(Embedder):
    """Vectors of a model of eofuse: what its fusion gives to the heads."""

    def __init__(self, store: Store, model: Model, name: str, title: str, facts: Mapping[str, Any], seed: int) -> None:
        self.loader = loader_for(model, store)
        self.usable = usable_patches(model, self.loader)
        self.networks = (model, build_model(model.spec, seed).eval())
        self.name = name
        self.titles = (title, f"{title}, random weights")
        context = context_of(model.spec.modalities, model.spec.fusion)
        inputs = {
            f"{m.name}.{c.name}": {"as": c.name, "unit": c.unit} for m in model.spec.modalities for c in m.channels
        }
        names = {modality.name for modality in model.spec.modalities} & set(store.modalities)
        stored = (f"{name}.{channel}" for name in sorted(names) for channel in store.modality(name).channel_names)
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

    def channels(self, vectors: Numbers) -> dict[str, int]:
        """All of its numbers."""
        if not self.usable.any():
            raise DataError("no sample has what the model takes", where=", ".join(self.loader.modalities))
        return {f"{number:03d}": number for number in range(vectors.shape[1])}


def training_rows(store: Store) -> Rows:
    """Rows of the published training part; all where there is none."""
    rows = np.flatnonzero((store.index["split"] == "train").to_numpy())
    return rows if len(rows) > 1 else np.arange(len(store))


def _of_run(store: Store, folder: Path, seed: int) -> ModelEmbedder:
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
    made = ModelEmbedder(store, model, "".join(c if c.isalnum() else "_" for c in name), f"run {name}", facts, seed)
    made.history = {"history": history_of(StartOptions.model_validate({"from": str(folder)})).to_text()}
    return made


def _of_named_weights(store: Store, options: EmbedOptions) -> ModelEmbedder:
    """A network of timm with weights of timm or torchgeo, which looks at the raster that has their bands."""
    file = None if options.weights is None else str(options.weights)
    source = load_source(options.model, "", WeightOptions(file=file))
    modality = _with_bands(store, source, options.inputs)
    spec = {modality.name: list(modality.channel_names)}
    fusion = FusionOptions(strategy="single", encoder=source.parts[0].network)
    loader = Loader(store, spec, present=presence(store, spec, "keep"))
    statistics = training_statistics(loader, _present(store, modality), fusion)
    model = build_model(ModelSpec((modality,), fusion, {}, statistics, store.patch_size), seed=options.seed).eval()
    rows = map_weights(model, source)
    digest = hashlib.sha256()
    for name, tensor in sorted(source.tensors.items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    place, _, name = options.model.partition(":")
    facts = {
        "model": options.model,
        "weights": {
            "file": Path(file).name if file else name,
            "sha256": sha256(Path(file)) if file else digest.hexdigest(),
            "licence": f"not stated here: see {place}",
            "paper": "",
        },
        "normalisation": [row.note for row in rows if row.note],
    }
    return ModelEmbedder(store, model, place, options.model, facts, options.seed)


def _with_bands(store: Store, source: Source, inputs: Sequence[str] | None) -> Modality:
    """The raster of a store that has the bands of the weights, in their order."""
    bands = [column.channel.name for column in source.parts[0].columns]
    found = []
    for name in inputs or store.modalities:
        modality = store.modality(name)
        if modality.kind is Kind.RASTER and not modality.is_categorical:
            own = [_own_name(modality, column.channel) for column in source.parts[0].columns]
            if all(own):
                found.append(modality.select([each for each in own if each]))
    if not found:
        raise UsageError(f"no raster has the bands {', '.join(bands)}", where=source.title, fix="see eofuse describe")
    if len(found) > 1:
        names = ", ".join(each.name for each in found)
        raise UsageError(f"several rasters have the bands of {source.title}: {names}", where="--inputs", fix="name one")
    return found[0]


def _own_name(modality: Modality, channel: Channel) -> str | None:
    """The name that a modality has for a channel, None if it has none."""
    names = {channel.name, *channel.aliases}
    return next((own.name for own in modality.channels if not names.isdisjoint((own.name, *own.aliases))), None)


def _present(store: Store, modality: Modality) -> Rows:
    """Training rows that have a modality."""
    rows = training_rows(store)
    return rows[store.present(modality.name)[rows]]


def _not_used(taken: Sequence[Taken]) -> list[str]:
    """Channels of the modalities of the inputs that the model does not know."""
    used = {each.where for each in taken}
    names = {each.modality.name: each.modality for each in taken}
    return [f"{n}.{c}" for n, modality in names.items() for c in modality.channel_names if f"{n}.{c}" not in used]


def _months(store: Store, month: int | None) -> npt.NDArray[np.int64]:
    """(samples,) months from 0, of the first date that the index names for a sample."""
    if month is not None and not 1 <= month <= 12:
        raise UsageError(f"there is no month {month}", where="--month", fix="give 1 to 12")
    months = months_of(store.index)
    missing = int((months < 0).sum())
    if missing and month is None:
        what = f"{missing} of {len(store)} samples have no date, and the model asks for the month"
        raise UsageError(what, where=store.path, fix="give it: --month 7")
    return np.where(months < 0, (month or 1) - 1, months)


def _places(store: Store) -> Numbers:
    places = places_of(store.index)
    missing = int(np.isnan(places).any(axis=1).sum())
    if missing:
        what = f"{missing} of {len(store)} samples have no place"
        raise DataError(what, where=store.path, fix="leave --place out")
    return places


def _on(sample: Sample, device: torch.device) -> Sample:
    values = {name: each.to(device) for name, each in sample.values.items()}
    places = None if sample.places is None else sample.places.to(device)
    return Sample(values, sample.months.to(device), places, sample.pixel_m)

"""Vectors of a foundation model as modalities of a store: `embed`.

Vectors are computed in portions of fixed size, each in a file of `STORE.embedding`, and then packed with the rest of the store: who
goes on after a kill finds the portions that are done, and the store is the same, bit for bit.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from hashlib import sha256 as sha256_of
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from eofuse.data.context import months_of, pixel_m_of, places_of
from eofuse.data.sources.stores import Part, StoredPatches
from eofuse.data.specs.layers import LayerSpec, check_names
from eofuse.data.store import EMBEDDINGS, SAMPLE_KEYS, STORE_FILE, Store, open_store
from eofuse.data.store.pack import pack_source
from eofuse.errors import DataError, EofuseError, UsageError
from eofuse.files import read_json, replacing, sha256, write_text
from eofuse.inference.predict import torch_device
from eofuse.locks import reading, writes
from eofuse.modalities import Channel, Kind, Modality
from eofuse.models.foundation import PIXEL_M, FoundationModel, Sample, build_foundation
from eofuse.models.foundation.matching import Taken, match_channels, odd_units
from eofuse.progress import Progress

PORTION = 64
"""Samples of a portion, which are computed and kept together."""

BATCH = 16
"""Samples that go through the model together."""

COMPARED = 256
"""Samples whose spread is compared with the pretraining's."""

PLAN = "plan.json"
Pool = Literal["mean", "groups"]
Numbers = npt.NDArray[np.float32]


@writes("to")
def embed(
    store: str | os.PathLike[str],
    to: str | os.PathLike[str],
    *,
    model: str,
    weights: str | os.PathLike[str],
    name: str | None = None,
    inputs: Sequence[str] | None = None,
    units: Mapping[str, str] | None = None,
    month: int | None = None,
    place: bool = False,
    patch: int = 8,
    pool: Pool = "mean",
    twin: bool = True,
    seed: int = 0,
    device: str = "auto",
    threads: int = 1,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Store:
    """Makes a store with the vectors of a pretrained model as a further modality, and those of the same network with random weights.

    Args:
        store: folder of the store whose samples are embedded.
        to: folder of the store to be made: all that is in the other, and the vectors.
        model: name and size, such as `galileo:nano` or `presto`.
        weights: file of its weights, or the folder in which it lies.
        name: of the modality, by default the model's.
        inputs: modalities that the model takes, by default all that it knows.
        units: of a modality (`s2`) or one of its channels (`s2.B04`), where the store names none or the wrong one.
        month: 1 to 12, for samples without a date.
        place: whether the model sees longitude and latitude, by which it can recognise a site.
        patch: side of a token in pixels.
        pool: `mean` for the mean of all tokens, `groups` for one mean a group of channels.
        twin: whether the vectors of the network with random weights are written beside it, as `NAME_random`: the control.
        seed: of the random weights.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        threads: of the processor; their number can change last digits.
        overwrite: replace a store of other content.
        progress: called with (samples done, samples in all).

    Raises:
        UsageError: if there is no such model or modality, a unit or month is not known, or `to` exists and holds something else.
        DataError: if the weights are none of the model, a unit must be wrong, or no sample has anything that the model takes.
    """
    target, folder = Path(to).resolve(), Path(to).resolve().with_name(f"{Path(to).name}.embedding")
    origin = Path(store).resolve()
    if target == origin or origin in target.parents or target in origin.parents:
        raise UsageError("must lie apart from the store that is read", where=to, fix="choose another name")
    if pool not in ("mean", "groups"):
        raise UsageError(f"there is no pool '{pool}'", where="pool", fix="choose mean or groups")
    if patch < 1:
        raise UsageError(f"tokens of {patch} pixels", where="--patch", fix="choose 1 or more")
    with reading(Path(store)):
        source = open_store(store)
        pretrained = build_foundation(model, seed)
        names = _names(source, model.partition(":")[0] if name is None else name, twin)
        taken = match_channels(pretrained, [source.modality(each) for each in inputs or source.modalities], units or {})
        job = _Job(source, taken, _months(source, month), _places(source) if place else None, patch, pool)
        file = pretrained.load(Path(weights))
        networks = dict(zip(names, (pretrained, build_foundation(model, seed)), strict=False))
        facts = {
            "of": source.fingerprint,
            "model": pretrained.name,
            "weights": {
                "file": file.name,
                "sha256": sha256(file),
                "licence": pretrained.licence,
                "paper": pretrained.paper,
            },
            "inputs": {each.where: {"as": each.channel.name, "unit": each.unit} for each in taken},
            "not_used": job.not_used(pretrained),
            "pool": pool,
            "patch": patch,
            "pixel_m": job.pixel_m,
            "place": place,
            "month": "of the index" if month is None else f"of the index, else {month}",
            "warnings": odd_units(taken, job.sample(job.compared()).values),
        }
        entries = {
            each: {**facts, "random_weights_seed": seed if number else None} for number, each in enumerate(names)
        }
        if target.exists() and not overwrite:
            made = _made_before(target, entries)
            if (folder / PLAN).is_file():  # a kill came before it went
                shutil.rmtree(folder)
            return made
        _begin(folder, {"entries": entries, "portion": PORTION, "batch": BATCH, "threads": threads})
        torch.set_num_threads(threads)
        try:
            vectors = _vectors(folder, job, networks, torch.device(torch_device(device)), progress)
            groups = _groups(pretrained, pool, vectors[names[0]])
        except EofuseError:
            shutil.rmtree(folder)  # another try would end alike
            raise
        widths = {each: values.reshape(len(values), -1, pretrained.width) for each, values in vectors.items()}
        vectors = {each: values[:, list(groups.values())].reshape(len(values), -1) for each, values in widths.items()}
        titles = (f"{pretrained.title} ({pretrained.name})", f"{pretrained.title}, random weights")
        modalities = [
            _modality(each, title, pretrained, list(groups)) for each, title in zip(names, titles, strict=False)
        ]
        made = pack_source(
            EmbeddedPatches(source, modalities, vectors, entries), target, overwrite=overwrite, workers=1
        )
    shutil.rmtree(folder)
    return made


class _Job:
    """What a model is given of a store."""

    def __init__(
        self,
        store: Store,
        taken: Sequence[Taken],
        months: npt.NDArray[np.int64],
        places: Numbers | None,
        patch: int,
        pool: Pool,
    ) -> None:
        self.store = store
        self.taken = taken
        self.months = months
        self.places = places
        self.patch = patch
        self.pool = pool
        self.pixel_m = _pixel_m(store, taken)
        self.present = {each.modality.name: store.present(each.modality.name) for each in taken}

    def compared(self) -> npt.NDArray[np.int64]:
        """Samples whose spread is compared with the pretraining's: of the training part, where the index names one."""
        rows = np.flatnonzero((self.store.index["split"] == "train").to_numpy())
        rows = rows if len(rows) > 1 else np.arange(len(self.store))
        chosen = np.linspace(0, len(rows) - 1, COMPARED).astype(np.int64)
        return np.asarray(rows[np.unique(chosen)], dtype=np.int64)

    def not_used(self, model: FoundationModel) -> list[str]:
        """Channels of the modalities of the inputs that the model does not know."""
        used = {each.where for each in self.taken}
        names = {each.modality.name: each.modality for each in self.taken}
        return [f"{n}.{c}" for n, modality in names.items() for c in modality.channel_names if f"{n}.{c}" not in used]

    def sample(self, rows: npt.NDArray[np.int64]) -> Sample:
        """Some samples as the model takes them."""
        stored = {each.modality.name: self.store.read(each.modality.name, rows) for each in self.taken}
        values: dict[str, Tensor] = {}
        for each in self.taken:
            found = each.values(stored[each.modality.name])
            found[torch.from_numpy(~self.present[each.modality.name][rows])] = torch.nan
            values[each.channel.name] = found
        places = None if self.places is None else torch.from_numpy(self.places[rows])
        return Sample(values, torch.from_numpy(self.months[rows]), places, self.pixel_m)


class EmbeddedPatches(StoredPatches):
    """The patches of a store with vectors beside them.

    Args:
        store: whose patches they are.
        modalities: of the vectors.
        vectors: (patches, numbers) by the name of the modality; NaN where nothing is known.
        entries: how they were computed, by the name of the modality.
    """

    def __init__(
        self,
        store: Store,
        modalities: Sequence[Modality],
        vectors: Mapping[str, Numbers],
        entries: Mapping[str, Mapping[str, Any]],
    ) -> None:
        said = {**store.provenance, EMBEDDINGS: {**store.provenance.get(EMBEDDINGS, {}), **entries}}
        super().__init__([Part(store, np.arange(len(store)))], None, store.name, said)
        self.modalities = (*self.modalities, *modalities)
        columns = {
            f"{modality.name}.{channel}": vectors[modality.name][:, number]
            for modality in modalities
            for number, channel in enumerate(modality.channel_names)
        }
        there = {f"has_{name}": ~np.isnan(values).all(axis=1) for name, values in vectors.items()}
        self.index = pd.concat([self.index, pd.DataFrame({**columns, **there}, index=self.index.index)], axis=1)
        digest = sha256_of(self._digest().encode())
        for values in vectors.values():
            digest.update(np.ascontiguousarray(values).tobytes())
        self.fingerprint = digest.hexdigest()


def _vectors(
    folder: Path,
    job: _Job,
    networks: Mapping[str, FoundationModel],
    device: torch.device,
    progress: Progress | None,
) -> dict[str, Numbers]:
    """(samples, numbers) of each network; portions that are done are read."""
    count = len(job.store)
    starts = list(range(0, count, PORTION))
    for number, start in enumerate(starts):
        path = folder / f"{number:06d}.npz"
        if not path.exists():
            rows = np.arange(start, min(start + PORTION, count))
            found: dict[str, Any] = {name: _portion(network, job, rows, device) for name, network in networks.items()}
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.savez(file, **found)
        if progress:
            progress(min(start + PORTION, count), count)
    portions = []
    for number in range(len(starts)):
        with np.load(folder / f"{number:06d}.npz", allow_pickle=False) as portion:
            portions.append({name: portion[name] for name in networks})
    return {name: np.concatenate([portion[name] for portion in portions]) for name in networks}


@torch.inference_mode()
def _portion(network: FoundationModel, job: _Job, rows: npt.NDArray[np.int64], device: torch.device) -> Numbers:
    network.to(device)
    found = []
    for first, last in pairwise([*range(0, len(rows), BATCH), len(rows)]):
        sample = job.sample(rows[first:last])
        means = network.embed(_on(sample, device), job.patch)
        if job.pool == "groups":
            values = torch.where(means.tokens[..., None] > 0, means.means, torch.nan).flatten(1)
        else:
            values = torch.where(means.tokens.sum(dim=1, keepdim=True) > 0, means.pooled, torch.nan)
        found.append(values.float().cpu().numpy())
    return np.concatenate(found)


def _on(sample: Sample, device: torch.device) -> Sample:
    values = {name: each.to(device) for name, each in sample.values.items()}
    places = None if sample.places is None else sample.places.to(device)
    return Sample(values, sample.months.to(device), places, sample.pixel_m)


def _names(store: Store, name: str, twin: bool) -> list[str]:
    """Names of the modalities to be made.

    Raises:
        UsageError: if one is taken, or can't be a name.
    """
    names = [name, f"{name}_random"] if twin else [name]
    for each in names:
        try:
            check_names({each: LayerSpec()})
        except ValueError as error:
            raise UsageError(str(error), where="--name") from None
        if each in store.modalities or each in store.index or each in (*SAMPLE_KEYS, "id"):
            raise UsageError("the store has a modality or column of that name", where=each, fix="choose another --name")
    return names


def _made_before(target: Path, entries: Mapping[str, Mapping[str, Any]]) -> Store:
    """The store that these very vectors are in already.

    Raises:
        UsageError: if what is there is something else.
    """
    if not (target / STORE_FILE).is_file():
        raise UsageError("exists and is no store", where=target, fix="choose another name")
    made = open_store(target)
    known = made.provenance.get(EMBEDDINGS, {})
    if any(known.get(name) != entry for name, entry in entries.items()):
        raise UsageError("exists and holds other data", where=target, fix="choose another name or pass --overwrite")
    return made


def _groups(model: FoundationModel, pool: Pool, vectors: Numbers) -> dict[str, int]:
    """The groups that a sample has, and their place among those of the model; one without a name for the mean of all.

    Raises:
        DataError: if no sample has any.
    """
    known = np.flatnonzero(~np.isnan(vectors.reshape(len(vectors), -1, model.width)[:, :, 0]).all(axis=0))
    if not len(known):
        fix = "look at the values: eofuse describe"
        raise DataError("no sample has a token without missing values", where=model.name, fix=fix)
    return {"": 0} if pool == "mean" else {model.groups[number]: number for number in known.tolist()}


def _modality(name: str, title: str, model: FoundationModel, groups: Sequence[str]) -> Modality:
    names = [f"{group}_{number:03d}".lstrip("_") for group in groups for number in range(model.width)]
    return Modality(name, Kind.VECTOR, tuple(Channel(each) for each in names), title)


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


def _pixel_m(store: Store, taken: Sequence[Taken]) -> float:
    """Side of the rasters' pixels in metres: of their grid, else of the finest channel that is taken."""
    by_grid = pixel_m_of(store.index)
    return by_grid or min((side for each in taken if (side := each.resolution_m)), default=PIXEL_M)


def _begin(folder: Path, plan: Mapping[str, Any]) -> None:
    """Empties a folder that holds the portions of something else.

    Raises:
        UsageError: if the folder is not one of portions.
    """
    path = folder / PLAN
    words = json.dumps(plan, sort_keys=True, ensure_ascii=False)
    if folder.exists() and any(folder.iterdir()):
        if not path.is_file() or "portion" not in read_json(path):
            raise UsageError(
                "is in the way: portions are kept there", where=folder, fix="move it, or choose another output"
            )
        if json.dumps(read_json(path), sort_keys=True, ensure_ascii=False) != words:
            shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, words)

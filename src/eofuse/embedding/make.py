"""Vectors of a pretrained network as modalities of a store: `embed`.

Vectors are computed in portions of fixed size, each in a file of `STORE.embedding`, and then packed with the rest of the store: who
goes on after a kill finds the portions that are done, and the store is the same, bit for bit.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from eofuse.data.sources.stores import Part, StoredPatches
from eofuse.data.specs.layers import LayerSpec, check_names
from eofuse.data.store import EMBEDDINGS, SAMPLE_KEYS, STORE_FILE, Store, open_store
from eofuse.data.store.pack import pack_source
from eofuse.embedding.base import BATCH, Embedder, EmbedOptions, Numbers, Pool
from eofuse.embedding.foundation import FoundationEmbedder
from eofuse.embedding.own import embedder_of_run, embedder_of_weights
from eofuse.errors import EofuseError, UsageError, did_you_mean
from eofuse.files import is_empty, read_json, replacing, write_text
from eofuse.inference.predict import torch_device
from eofuse.locks import reading, writes
from eofuse.modalities import Channel, Kind, Modality
from eofuse.models.foundation import FOUNDATIONS
from eofuse.models.pretrained import is_path
from eofuse.progress import Progress

PORTION = 64
"""Samples of a portion, which are computed and kept together."""

PLAN = "plan.json"


@writes("to")
def embed(
    store: str | os.PathLike[str],
    to: str | os.PathLike[str],
    *,
    model: str,
    weights: str | os.PathLike[str] | None = None,
    name: str | None = None,
    inputs: Sequence[str] | None = None,
    units: Mapping[str, str] | None = None,
    month: int | None = None,
    place: bool = False,
    patch: int | None = None,
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
        model: name and size, such as `galileo:nano` or `presto`; the folder of a run, pretraining or saved model of eofuse; or
            weights by their name, such as `timm:resnet18.a1_in1k` or `torchgeo:ResNet18_Weights.SENTINEL2_ALL_MOCO`.
        weights: file of the weights of a foundation model, or the folder in which it lies; of a timm or torchgeo name, a file in
            place of the download; a run has its own.
        name: of the modality, by default the model's.
        inputs: modalities that the model takes, by default all that it knows; those of a run are in its recipe.
        units: of a modality (`s2`) or one of its channels (`s2.B04`), where the store names none or the wrong one; this, `month`,
            `place`, `patch` and `pool` are for foundation models.
        month: 1 to 12, for samples without a date.
        place: whether the model sees longitude and latitude, by which it can recognise a site.
        patch: side of a token in pixels, by default 8.
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
    wanted = EmbedOptions(
        os.fspath(model),
        None if weights is None else Path(weights),
        inputs,
        units or {},
        month,
        place,
        patch,
        pool,
        seed,
    )
    with reading(Path(store)):
        source = open_store(store)
        embedder = _open_embedder(source, wanted)
        names = _names(source, embedder.name if name is None else name, twin)
        facts = {"of": source.fingerprint, **embedder.facts}
        own, *others = names
        twins = {each: {**facts, "random_weights_seed": seed} for each in others}
        entries = {own: {**facts, **embedder.history, "random_weights_seed": None}, **twins}
        if target.exists() and not overwrite:
            made = _made_before(target, entries)
            if folder.is_dir() and ((folder / PLAN).is_file() or is_empty(folder)):  # a kill came before it went
                _remove(folder)
            return made
        _begin(folder, {"entries": entries, "portion": PORTION, "batch": BATCH, "threads": threads})
        torch.set_num_threads(threads)
        try:
            vectors = _vectors(folder, source, embedder, names, torch.device(torch_device(device)), progress)
            channels = embedder.channels(vectors[names[0]])
        except EofuseError:
            _remove(folder)  # another try would end alike
            raise
        vectors = {each: values[:, list(channels.values())] for each, values in vectors.items()}
        modalities = [_modality(each, title, channels) for each, title in zip(names, embedder.titles, strict=False)]
        made = pack_source(
            EmbeddedPatches(source, modalities, vectors, entries), target, overwrite=overwrite, workers=1
        )
    _remove(folder)
    return made


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
    store: Store,
    embedder: Embedder,
    names: Sequence[str],
    device: torch.device,
    progress: Progress | None,
) -> dict[str, Numbers]:
    """(samples, numbers) of the network and of its twin, by their names; portions that are done are read."""
    count = len(store)
    starts = list(range(0, count, PORTION))
    for number, start in enumerate(starts):
        path = folder / f"{number:06d}.npz"
        if not path.exists():
            rows = np.arange(start, min(start + PORTION, count))
            found: dict[str, Any] = {
                name: embedder.vectors(rows, twin=bool(place), device=device) for place, name in enumerate(names)
            }
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.savez(file, **found)
        if progress:
            progress(min(start + PORTION, count), count)
    portions = []
    for number in range(len(starts)):
        with np.load(folder / f"{number:06d}.npz", allow_pickle=False) as portion:
            portions.append({name: portion[name] for name in names})
    return {name: np.concatenate([portion[name] for portion in portions]) for name in names}


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


def _modality(name: str, title: str, channels: Iterable[str]) -> Modality:
    return Modality(name, Kind.VECTOR, tuple(Channel(each) for each in channels), title)


def _remove(folder: Path) -> None:
    """Removes a folder of portions; the plan last, by which another process knows it."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == PLAN):
        path.unlink()
    folder.rmdir()


def _begin(folder: Path, plan: Mapping[str, Any]) -> None:
    """Empties a folder that holds the portions of something else.

    Raises:
        UsageError: if the folder is not one of portions.
    """
    path = folder / PLAN
    words = json.dumps(plan, sort_keys=True, ensure_ascii=False)
    if folder.exists() and not is_empty(folder):
        if not path.is_file() or "portion" not in read_json(path):
            raise UsageError(
                "is in the way: portions are kept there", where=folder, fix="move it, or choose another output"
            )
        if json.dumps(read_json(path), sort_keys=True, ensure_ascii=False) != words:
            _remove(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, words)


def _open_embedder(store: Store, options: EmbedOptions) -> Embedder:
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
        return embedder_of_weights(store, options)
    folder = Path(options.model)
    if not folder.exists():
        fix = f"{did_you_mean(named, FOUNDATIONS)} — or a run folder, timm:NAME, torchgeo:NAME"
        raise UsageError(f"no foundation model or run '{options.model}'", where="--with", fix=fix)
    _refuse(options, ("weights", "inputs", "units", "month", "place", "patch", "pool"), "is said by the run itself")
    return embedder_of_run(store, folder, options.seed)


def _refuse(options: EmbedOptions, names: Sequence[str], why: str) -> None:
    for name in names:
        if getattr(options, name) != getattr(EmbedOptions(options.model), name):
            raise UsageError(why, where=f"--{name.removesuffix('s') if name == 'units' else name}", fix="leave it out")

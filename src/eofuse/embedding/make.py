"""Vectors of a pretrained network as modalities of a store: `embed`.

Vectors are computed in portions of fixed size, each in a file of `STORE.embedding`, and then packed with the rest of the store: who
goes on after a kill finds the portions that are done, and the store is the same, bit for bit.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from eofuse.data.sources.base import Arrays
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
    non_commercial: bool = False,
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
        pool: `mean` for the mean of all tokens, `groups` for one mean a group of channels; `tokens` for a raster with a vector for
            each `patch` × `patch` pixels, the mean of the tokens there.
        twin: whether the vectors of the network with random weights are written beside it, as `NAME_random`: the control.
        seed: of the random weights.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        threads: of the processor; their number can change last digits.
        overwrite: replace a store of other content.
        non_commercial: the use is not commercial, so that weights of a timm or torchgeo name whose licence wants it so can be taken.
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
        non_commercial,
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
            portions = Portions(folder, len(source))
            portions.compute(embedder, names, torch.device(torch_device(device)), progress)
            channels = embedder.channels(portions.known(names[0]))
        except EofuseError:
            _remove(folder)  # another try would end alike
            raise
        titles = zip(names, embedder.titles, strict=False)
        modalities = [_modality(each, title, channels, embedder.cell) for each, title in titles]
        patches = EmbeddedPatches(source, modalities, portions, list(channels.values()), entries)
        made = pack_source(patches, target, overwrite=overwrite, workers=1)
    _remove(folder)
    return made


class Portions:
    """Vectors of samples in files of `PORTION` samples each.

    Args:
        folder: where they lie.
        count: of the samples.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.starts = range(0, count, PORTION)
        self.count = count
        self._last: tuple[int, dict[str, Numbers]] = (-1, {})

    def __iter__(self) -> Iterator[dict[str, Numbers]]:
        """Vectors of each portion by the name of the modality, (samples, numbers, …)."""
        return map(self._read, range(len(self.starts)))

    def of_sample(self, row: int) -> dict[str, Numbers]:
        """Vectors of a sample by the name of the modality; fastest in the order of the samples."""
        return {name: values[row % PORTION] for name, values in self._read(row // PORTION).items()}

    def compute(
        self, embedder: Embedder, names: Sequence[str], device: torch.device, progress: Progress | None
    ) -> None:
        """Computes what is not there yet: the vectors of a network, and those of its twin, by their names."""
        for number, start in enumerate(self.starts):
            path = self._path(number)
            stop = min(start + PORTION, self.count)
            if not path.exists():
                rows = np.arange(start, stop)
                found: dict[str, Any] = {
                    name: embedder.vectors(rows, twin=bool(place), device=device) for place, name in enumerate(names)
                }
                with replacing(path) as temporary, temporary.open("wb") as file:
                    np.savez(file, **found)
            if progress:
                progress(stop, self.count)

    def known(self, name: str) -> npt.NDArray[np.bool_]:
        """Which of the numbers of a modality some sample has, (numbers,)."""
        portions = ((~np.isnan(each[name])).swapaxes(0, 1) for each in self)
        return np.asarray(np.any([known.reshape(len(known), -1).any(axis=1) for known in portions], axis=0))

    def _read(self, number: int) -> dict[str, Numbers]:
        if self._last[0] != number:
            with np.load(self._path(number), allow_pickle=False) as file:
                self._last = (number, {name: file[name] for name in file.files})
        return self._last[1]

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.npz"


class EmbeddedPatches(StoredPatches):
    """The patches of a store with vectors beside them.

    Args:
        store: whose patches they are.
        modalities: of the vectors, or of the rasters of them.
        portions: the vectors; NaN where nothing is known.
        places: of the numbers that are kept.
        entries: how they were computed, by the name of the modality.
    """

    def __init__(
        self,
        store: Store,
        modalities: Sequence[Modality],
        portions: Portions,
        places: Sequence[int],
        entries: Mapping[str, Mapping[str, Any]],
    ) -> None:
        said = {**store.provenance, EMBEDDINGS: {**store.provenance.get(EMBEDDINGS, {}), **entries}}
        super().__init__([Part(store, np.arange(len(store)))], None, store.name, said)
        self.modalities = (*self.modalities, *modalities)
        self._portions, self._places = portions, list(places)
        self._rasters = [modality.name for modality in modalities if modality.is_array]
        columns: dict[str, npt.NDArray[Any]] = {}
        digest = sha256_of(self._digest().encode())
        for modality in modalities:
            there, vectors = [], []
            for portion in portions:
                values = portion[modality.name][:, self._places]
                there.append(~np.isnan(values.reshape(len(values), -1)).all(axis=1))
                digest.update(np.ascontiguousarray(values).tobytes())
                if not modality.is_array:
                    vectors.append(values)
            self._present[modality.name] = columns[f"has_{modality.name}"] = np.concatenate(there)
            for number, channel in enumerate(modality.channel_names if vectors else ()):
                columns[f"{modality.name}.{channel}"] = np.concatenate([values[:, number] for values in vectors])
        self.index = pd.concat([self.index, pd.DataFrame(columns, index=self.index.index)], axis=1)
        self.fingerprint = digest.hexdigest()

    def read(self, row: int) -> Arrays:
        """The arrays of a patch, with the rasters of its vectors."""
        found = super().read(row)
        own = self._portions.of_sample(row) if self._rasters else {}
        return found | {name: own[name][self._places] for name in self._rasters if self._present[name][row]}


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


def _modality(name: str, title: str, channels: Iterable[str], cell: int) -> Modality:
    kind = Kind.RASTER if cell else Kind.VECTOR
    return Modality(name, kind, tuple(Channel(each) for each in channels), title, cell=cell or 1)


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

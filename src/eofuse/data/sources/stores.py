"""Patches of packed stores as samples, so that they can be checked and packed into another store."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.problems import Problem
from eofuse.data.sources.base import NO_PIXELS, SOURCES, Arrays, OpenOptions, Provenance, Samples, Source
from eofuse.data.store import STORE_FILE, Store, open_store, open_to_check
from eofuse.data.store.gaps import FIX_EMPTY, empty_bands
from eofuse.data.store.georeference import has_grid, misplaced, unplaced
from eofuse.data.store.integrity import require_undamaged
from eofuse.errors import DataError
from eofuse.modalities import Kind, Modality


@dataclass(frozen=True)
class Part:
    """Some patches of a store: their rows, in the order wanted."""

    store: Store
    rows: npt.NDArray[np.int64]


class StoredPatches(Samples):
    """Patches of one or several stores, a part after another.

    The values are those of the stores, bit for bit. A modality or column that a store lacks is absent or unknown for its patches;
    modalities that no patch has are left out.

    Args:
        parts: what to take. Modalities of one name must be defined alike.
        names: modalities wanted, all by default.
        name: name of the dataset.
        provenance: what the store to be made shall say of its origin.

    Raises:
        DataError: if a column holds one sort of values in one store and another sort in another.
    """

    def __init__(
        self, parts: Sequence[Part], names: Sequence[str] | None, name: str, provenance: Mapping[str, Any]
    ) -> None:
        self.name = name
        self.provenance = Provenance(facts=provenance)
        self.simulated = any(part.store.simulated for part in parts)
        found: dict[str, Modality] = {}
        for part in parts:
            for modality in part.store.modalities.values():
                wanted = names is None or modality.name in names
                if wanted and part.store.present(modality.name)[part.rows].any():
                    found.setdefault(modality.name, modality)
        self.modalities = tuple(found.values())
        sizes = [p.store.patch_size for p in parts if any(m.has_pixels for m in p.store.modalities.values())]
        has_rasters = any(modality.has_pixels for modality in self.modalities)
        self.patch_size = sizes[0] if has_rasters else NO_PIXELS
        indices = []
        for part in parts:
            owner = {name: belongs_to(name, part.store.modalities) for name in map(str, part.store.index.columns)}
            names_kept = [name for name, modality in owner.items() if modality is None or modality in found]
            indices.append(part.store.index[names_kept].iloc[part.rows].reset_index(drop=True))
        self.index = _join(indices, found)
        self._stores = [part.store for part in parts]
        self._store = np.repeat(np.arange(len(parts)), [len(part.rows) for part in parts])
        self._row = np.concatenate([part.rows for part in parts])
        self._present = {name: self.index[f"has_{name}"].to_numpy(dtype=bool) for name in found}
        self._arrays = [modality.name for modality in self.modalities if modality.is_array]
        self.fingerprint = self._digest()

    def _digest(self) -> str:
        digest = sha256_of(json.dumps([store.fingerprint for store in self._stores]).encode())
        for numbers in (self._store, self._row):
            digest.update(numbers.astype("<i8").tobytes())
        digest.update(
            json.dumps([self.provenance.to_dict(), [m.to_dict() for m in self.modalities]], sort_keys=True).encode()
        )
        return digest.hexdigest()

    def read(self, row: int) -> Arrays:
        """The rasters, series and image series of a patch, as they are stored."""
        store, at = self._stores[self._store[row]], [int(self._row[row])]
        values = {name: store.read(name, at)[0] for name in self._arrays if self._present[name][row]}
        require_undamaged(store, at[0], values)
        return values


@SOURCES.register("store")
class StoreFolder(Source):
    """The folder of a store."""

    title = "a store"
    form = "folder"
    command = "subset"

    def accepts(self, path: Path) -> bool:
        """Whether it holds the description of a store."""
        return (path / STORE_FILE).is_file()

    def open(self, path: Path, options: OpenOptions) -> StoredPatches:
        """All patches of the store."""
        store = open_store(path)
        return StoredPatches([Part(store, np.arange(len(store)))], options.modalities, store.name, store.provenance)

    def check(self, path: Path, options: OpenOptions) -> list[Problem]:
        """What is damaged; of a whole store, what looks odd."""
        store = open_to_check(path)
        return store.verify(options.progress) or [*_empty_bands(store), *_places(store)]

    def advice(self, path: Path) -> str:
        """What to do with a store."""
        return f"`eofuse describe {path}`; to train on it, `eofuse train RECIPE.yaml --store {path}`"


def belongs_to(column: str, modalities: Mapping[str, Any]) -> str | None:
    """The modality of which a column of the index tells presence, values or missing data, if it does."""
    for start in ("has_", "nodata.", "empty_bands.", "times."):
        if column.startswith(start) and column.removeprefix(start) in modalities:
            return column.removeprefix(start)
    first, dot, _ = column.partition(".")
    return first if dot and first in modalities else None


def _join(indices: Sequence[pd.DataFrame], modalities: Mapping[str, Modality]) -> pd.DataFrame:
    if len(indices) == 1:
        return indices[0]
    names = dict.fromkeys(str(name) for index in indices for name in index.columns)
    sizes = [len(index) for index in indices]
    columns = {name: _column(name, [index.get(name) for index in indices], sizes, modalities) for name in names}
    return pd.DataFrame(columns)


def _column(
    name: str, pieces: Sequence[pd.Series | None], sizes: Sequence[int], modalities: Mapping[str, Modality]
) -> pd.Series:
    """One column of several tables; what one of them lacks is unknown in its rows."""
    known = [piece for piece in pieces if piece is not None and piece.notna().any()]
    sorts = {_sort(piece) for piece in known}
    if len(sorts) > 1:
        found = f"the column '{name}' holds {' in one store and '.join(sorted(sorts))} in another"
        raise DataError(found, fix="rename or convert the column before packing")
    if not known:
        if all(piece is not None and piece.dtype.kind == "f" for piece in pieces):
            return pd.concat(pieces, ignore_index=True)
        return pd.concat([pd.Series([None] * size, dtype=object) for size in sizes], ignore_index=True)
    dtype = pd.concat(known).dtype
    unknown = _unknown(name, modalities)
    gaps = [piece is None or (_sort(piece) not in sorts and not piece.notna().any()) for piece in pieces]
    if any(gaps) and unknown is None and dtype.kind in "iub":
        dtype = pd.array([], dtype="boolean" if dtype.kind == "b" else "Int64").dtype
    filled = [
        pd.Series([unknown] * size, dtype=dtype) if gap or piece is None else piece.astype(dtype)
        for piece, gap, size in zip(pieces, gaps, sizes, strict=True)
    ]
    return pd.concat(filled, ignore_index=True)


def _unknown(name: str, modalities: Mapping[str, Modality]) -> int | bool | None:
    """What stands for an unknown value in a column of the index."""
    modality = belongs_to(name, modalities)
    if modality is None:
        return -1 if name in ("column", "row") else None
    if name == f"has_{modality}":
        return False
    return -1 if modalities[modality].kind is Kind.CATEGORY else None


def _sort(piece: pd.Series) -> str:
    """The sort of values that a column holds."""
    if pd.api.types.is_bool_dtype(piece):
        return "yes or no"
    if pd.api.types.is_numeric_dtype(piece):
        return "numbers"
    if pd.api.types.is_datetime64_any_dtype(piece):
        return "times"
    first = next((value for value in piece if np.ndim(value) or not pd.isna(value)), "")
    return "lists" if np.ndim(first) else "text" if isinstance(first, str) else type(first).__name__


def _empty_bands(store: Store) -> Iterator[Problem]:
    """One warning for each modality of a store with bands that hold no value in some patches."""
    for name, modality in store.modalities.items():
        counts = empty_bands(store, name).sum(axis=0).tolist()
        bands = [f"{band} in {count}" for band, count in zip(modality.channel_names, counts, strict=True) if count]
        if bands:
            what = f"bands without any value: {', '.join(bands)} of {int(store.present(name).sum())} patches"
            yield Problem("warning", what, name, fix=FIX_EMPTY)


def _places(store: Store) -> Iterator[Problem]:
    """Warnings of patches that lie nowhere, or elsewhere than they say."""
    yield from misplaced(store.index, store.name)
    count = int((~has_grid(store.index)).sum())
    if count and any(modality.has_pixels for modality in store.modalities.values()):
        fix = "georeference the rasters; a store of an older version did not keep the size of pixels: pack it again"
        yield Problem(
            "warning", f"{unplaced(count, len(store))}: maps of them have no georeference", store.name, fix=fix
        )

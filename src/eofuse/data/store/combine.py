"""Puts stores together: `merge` makes one of several, `append` adds the patches of others to one.

What is written is a new store in `STORE.partial` that takes its name when it is whole: whoever opens the store finds the old one
or the new one. An interrupted run goes on where it stopped.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.sources.stores import Part, StoredPatches
from eofuse.data.store import Store, open_to_check
from eofuse.data.store.pack import pack_source
from eofuse.data.store.placing import clear_up
from eofuse.errors import DataError, UsageError
from eofuse.locks import reading, writes
from eofuse.modalities import Modality
from eofuse.progress import Progress

FOR_PEOPLE = ("title", "valid_range")
"""Fields of a modality that may differ between stores: they change no value."""

PathLike = str | os.PathLike[str]


@writes("to")
def merge(
    stores: Sequence[PathLike],
    to: PathLike,
    *,
    name: str | None = None,
    skip_identical: bool = False,
    with_simulated: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Store:
    """Makes one store of several, in their order.

    Args:
        stores: folders of two or more stores. Modalities of one name must be defined alike; one that a store lacks is absent there.
        to: folder of the store to be made.
        name: name of the dataset, by default the stores' names with ` + ` between.
        skip_identical: take a patch once that several stores hold with the same values.
        with_simulated: allow simulated beside real patches; the store then counts as simulated.
        overwrite: replace a store of other content.
        progress: called with (patches done, patches in all).

    Raises:
        UsageError: if `to` is one of the stores, or exists and holds something else.
        DataError: if the stores do not fit together, two patches have one id, a store is damaged, or the disk is full.
    """
    if len(stores) < 2:
        raise UsageError("there is nothing to merge", fix="name two or more stores")
    target = Path(to).resolve()
    if target in [Path(path).resolve() for path in stores]:
        raise UsageError("is one of the stores that are merged", where=to, fix="choose another name, or use append")
    with ExitStack() as held:
        for path in stores:
            held.enter_context(reading(Path(path)))
        opened = [open_to_check(path) for path in stores]
        done = {"operation": "merge"}
        source = _together(opened, name, done, skip_identical=skip_identical, with_simulated=with_simulated)
        return pack_source(source, target, overwrite=overwrite, workers=1, progress=progress)


@writes("store")
def append(
    store: PathLike,
    sources: Sequence[PathLike],
    *,
    skip_identical: bool = False,
    with_simulated: bool = False,
    progress: Progress | None = None,
) -> Store:
    """Adds the patches of other stores to a store, behind its own.

    If these very stores were appended last, nothing is done: after an interruption, do the same again. Full arrays of the store
    stay where they are (as hard links, where the disk has them); only the last of each modality is copied.

    Args:
        store: folder of the store that grows.
        sources: folders of the stores whose patches are added; see `merge`.
        skip_identical: leave out patches that the store holds already with the same values.
        with_simulated: allow simulated beside real patches; the store then counts as simulated.
        progress: called with (patches done, patches in all).

    Raises:
        DataError: if the stores do not fit together, two patches have one id, a store is damaged, or the disk is full.
    """
    if not sources:
        raise UsageError("there is nothing to append", where=store, fix="name one or more stores")
    with ExitStack() as held:
        for path in sources:
            held.enter_context(reading(Path(path)))
        clear_up(Path(store).resolve())
        base = open_to_check(store)
        opened = [base, *(open_to_check(path) for path in sources)]
        appended = [source.fingerprint for source in opened[1:]]
        if base.provenance.get("appended") == appended:
            return base
        done = {"operation": "append", "appended": appended}
        whole = _together(opened, base.name, done, skip_identical=skip_identical, with_simulated=with_simulated)
        if len(whole.index) == len(base):  # they hold nothing new
            return base
        return pack_source(
            whole, Path(store).resolve(), overwrite=True, discard=False, base=base, workers=1, progress=progress
        )


def _together(
    stores: Sequence[Store], name: str | None, done: Mapping[str, Any], *, skip_identical: bool, with_simulated: bool
) -> StoredPatches:
    for store in stores:
        for problem in store.verify():
            raise DataError(problem.what, where=store.path / problem.where, fix="pack that store again")
    for first, other in combinations(stores, 2):
        _require_alike(first, other)
    _require_one_sort(stores, with_simulated)
    parts = [Part(store, rows) for store, rows in zip(stores, _distinct(stores, skip_identical), strict=True)]
    origins = [origin for part in parts if len(part.rows) for origin in _origins(part)]
    name = name or " + ".join(dict.fromkeys(store.name for store in stores))
    labels = {key: kind for store in stores for key, kind in store.provenance.get("labels", {}).items()}
    said = {**done, "parts": origins} | ({"labels": labels} if labels else {})
    return StoredPatches(parts, None, name, said)


def _origins(part: Part) -> list[dict[str, Any]]:
    """What a store says of its origin: of a merged one, that of its parts."""
    store = part.store
    if "parts" in store.provenance and len(part.rows) == len(store):
        return list(store.provenance["parts"])
    return [
        {
            "name": store.name,
            "patches": len(part.rows),
            "simulated": store.simulated,
            "fingerprint": store.fingerprint,
            "provenance": store.provenance,
        }
    ]


def _require_one_sort(stores: Sequence[Store], with_simulated: bool) -> None:
    simulated = [store for store in stores if store.simulated]
    if simulated and len(simulated) < len(stores) and not with_simulated:
        fix = "keep them apart, or pass --with-simulated: what is made of them counts as simulated"
        raise DataError("holds simulated patches, others hold real ones", where=simulated[0].path, fix=fix)


def _require_alike(first: Store, other: Store) -> None:
    """Raises a `DataError` that says what differs if two stores can't be one."""
    both = f"{first.path} and {other.path}"
    has_rasters = [any(m.has_pixels for m in store.modalities.values()) for store in (first, other)]
    if all(has_rasters) and first.patch_size != other.patch_size:
        sizes = " and ".join(f"{height} × {width}" for height, width in (first.patch_size, other.patch_size))
        raise DataError(f"their patches differ in size: {sizes} pixels", where=both, fix="cut or pack one of them anew")
    for name, modality in other.modalities.items():
        if name in first.modalities and (found := _difference(first.modalities[name], modality)):
            raise DataError(f"they define '{name}' differently: {found}", where=both, fix="pack one of them anew")
        ways = [[_without_origin(facts) for facts in store.embeddings(name)] for store in (first, other)]
        if name in first.modalities and (bool(ways[0]) != bool(ways[1]) or any(way not in ways[0] for way in ways[1])):
            fix = "embed one of them anew, under another --name or as the other was"
            raise DataError(f"the vectors of '{name}' were computed differently", where=both, fix=fix)


def _without_origin(embedding: Mapping[str, Any]) -> dict[str, Any]:
    """How vectors were computed, whatever the store."""
    return {
        key: value for key, value in embedding.items() if key not in ("of", "warnings", "month", "not_used", "pixel_m")
    }


def _difference(first: Modality, other: Modality) -> str:
    """The first thing in which two definitions of a modality differ, empty if there is none."""
    for field in fields(Modality):
        mine, theirs = getattr(first, field.name), getattr(other, field.name)
        if field.name == "channels":
            mine, theirs = ([f"{c.name} ({c.unit})" if c.unit else c.name for c in m.channels] for m in (first, other))
        elif field.name == "categories":
            mine, theirs = ([f"{c.code} {c.name}" for c in modality.categories] for modality in (first, other))
        if field.name not in FOR_PEOPLE and mine != theirs:
            told = [", ".join(value) if isinstance(value, list) else str(value) for value in (mine, theirs)]
            return f"{field.name} {told[0] or 'none'} against {told[1] or 'none'}"
    return ""


def _distinct(stores: Sequence[Store], skip_identical: bool) -> list[npt.NDArray[np.int64]]:
    """Rows of each store whose ids are new.

    Raises:
        DataError: naming id and stores, if two patches have one id and are not identical, or identical ones may not be skipped.
    """
    seen: dict[str, tuple[Store, int]] = {}
    kept = []
    for store in stores:
        rows = []
        for row, patch_id in enumerate(store.index["patch_id"]):
            if patch_id not in seen:
                seen[patch_id] = store, row
                rows.append(row)
                continue
            other, at = seen[patch_id]
            where = f"{other.path} and {store.path}"
            if other is store:
                raise DataError(f"holds two patches '{patch_id}'", where=store.path, fix="pack that store again")
            if not _are_identical(other, at, store, row):
                fix = "leave one of them out with `eofuse subset`, or give them other ids"
                raise DataError(f"both hold a patch '{patch_id}', with different content", where=where, fix=fix)
            if not skip_identical:
                fix = "pass --skip-identical to take it once"
                raise DataError(f"both hold the patch '{patch_id}', with the same content", where=where, fix=fix)
        kept.append(np.array(rows, dtype=np.int64))
    return kept


def _are_identical(first: Store, row: int, other: Store, at: int) -> bool:
    """Whether two patches agree in every value and in every column that both stores have."""
    for name in first.modalities.keys() | other.modalities.keys():
        present = [name in s.modalities and bool(s.present(name)[i]) for s, i in ((first, row), (other, at))]
        if present[0] != present[1]:
            return False
        if present[0] and first.read(name, [row]).tobytes() != other.read(name, [at]).tobytes():
            return False
    columns = [name for name in first.index.columns if name in other.index.columns]
    values = zip(first.index[columns].iloc[row], other.index[columns].iloc[at], strict=True)
    return all(_is_same(mine, theirs) for mine, theirs in values)


def _is_same(mine: Any, theirs: Any) -> bool:
    if np.ndim(mine) or np.ndim(theirs):
        return np.ndim(mine) == np.ndim(theirs) and list(mine) == list(theirs)
    if pd.isna(mine) or pd.isna(theirs):
        return bool(pd.isna(mine) and pd.isna(theirs))
    return bool(mine == theirs)

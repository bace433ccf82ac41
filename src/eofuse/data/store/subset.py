"""Makes a store of some patches or modalities of another (`subset`), chosen by id, by values of the index, or at random."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.sources.stores import Part, StoredPatches
from eofuse.data.store import Store, open_store
from eofuse.data.store.pack import pack_source
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.locks import reading, writes
from eofuse.progress import Progress

CONDITION = re.compile(r"(?P<column>[^=!<>]+?)\s*(?P<sign>!=|<=|>=|=|<|>)\s*(?P<value>.+)")

PathLike = str | os.PathLike[str]
Mask = npt.NDArray[np.bool_]


@writes("to")
def subset(
    store: PathLike,
    to: PathLike,
    *,
    ids: Sequence[str] | None = None,
    where: Sequence[str] = (),
    modalities: Sequence[str] | None = None,
    count: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Store:
    """Makes a store of the patches of another that meet every condition, in their order, with all their values.

    Args:
        store: folder of the store.
        to: folder of the store to be made.
        ids: the patches wanted, all by default.
        where: conditions on columns of the index, all of which must hold: `split=train`, `split=train,validation` (one of
            them), `split!=test`, `lat>=47.5`, `has_s1=true`, `labels_19=Pastures` (of a list: contains).
        modalities: those wanted, all by default.
        count: draw as many of the patches that are left at random.
        seed: of the draw.
        overwrite: replace a store of other content.
        progress: called with (patches done, patches in all).

    Raises:
        UsageError: if an id, column, modality or condition is not valid, or `to` exists and holds something else.
        DataError: if no patch is left, or fewer than `count`.
    """
    target = Path(to).resolve()
    if target == Path(store).resolve():
        raise UsageError("is the store that is read", where=to, fix="choose another name")
    with reading(Path(store)):
        source = open_store(store)
        for name in modalities or ():
            source.modality(name)
        chosen = np.ones(len(source), dtype=bool)
        if ids is not None:
            chosen &= np.isin(np.arange(len(source)), [source.row_of(patch_id) for patch_id in ids])
        for condition in where:
            chosen &= meets(source.index, condition)
        rows = np.flatnonzero(chosen)
        if not len(rows):
            raise DataError("no patch meets the conditions", where=store, fix="loosen them")
        if count is not None:
            rows = _draw(rows, count, seed, source)
        selection = {
            "ids": None if ids is None else len(ids),
            "where": list(where),
            "modalities": None if modalities is None else list(modalities),
            "count": count,
            "seed": seed if count is not None else None,
        }
        origin: dict[str, Any] = {
            "operation": "subset",
            "selection": {key: value for key, value in selection.items() if value},
            "of": {"fingerprint": source.fingerprint, "patches": len(source), "provenance": source.provenance},
        }
        if "labels" in source.provenance:
            origin["labels"] = source.provenance["labels"]
        patches = StoredPatches([Part(source, rows)], modalities, source.name, origin)
        return pack_source(patches, target, overwrite=overwrite, workers=1, progress=progress)


def read_ids(path: Path) -> list[str]:
    """The ids in a text file, one a line; empty lines do not count.

    Raises:
        UsageError: if the file can't be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"can't be read: {error}", where=path, fix="give a text file with an id a line") from None
    return [line.strip() for line in lines if line.strip()]


def meets(index: pd.DataFrame, condition: str) -> Mask:
    """Which rows of an index meet a condition (see `subset`); an unknown value meets none but `!=`.

    Raises:
        UsageError: if the condition can't be understood; nothing of it is ever executed.
    """
    parts = CONDITION.fullmatch(condition.strip())
    if parts is None:
        what = f"the condition '{condition}' can't be understood"
        raise UsageError(what, fix="write column=value, or !=, <, <=, >, >=")
    name, sign, value = parts["column"], parts["sign"], parts["value"]
    if name not in index.columns:
        raise UsageError(f"no column '{name}'", where=condition, fix=did_you_mean(name, map(str, index.columns)))
    column = index[name]
    if sign in ("=", "!="):
        found = _is_one_of(column, value, condition)
        return found if sign == "=" else ~found
    if not pd.api.types.is_numeric_dtype(column) and column.map(np.ndim).any():
        raise UsageError("lists have no order", where=condition, fix="use = or !=")
    limit = _limit(column, value, condition)
    compared = {"<": column.lt, "<=": column.le, ">": column.gt, ">=": column.ge}[sign](limit)
    return (compared & column.notna()).to_numpy(dtype=bool, na_value=False)


def _is_one_of(column: pd.Series, text: str, condition: str) -> Mask:
    """Which values are one of those with commas between; a text may also hold commas itself."""
    values = [word.strip() for word in text.split(",")]
    if pd.api.types.is_bool_dtype(column):
        known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if unknown := [value for value in values if value.lower() not in known]:
            raise UsageError(f"'{unknown[0]}' is neither true nor false", where=condition)
        return column.isin([known[value.lower()] for value in values]).to_numpy(dtype=bool)
    if pd.api.types.is_numeric_dtype(column):
        return column.isin([_number(value, condition) for value in values]).to_numpy(dtype=bool)
    wanted = {text, *values}
    lists = column.map(np.ndim) > 0
    found = column.astype(str).isin(wanted) & ~lists & column.notna()
    found[lists] = column[lists].map(lambda words: not wanted.isdisjoint(map(str, words)))
    return found.to_numpy(dtype=bool)


def _limit(column: pd.Series, text: str, condition: str) -> float | str | pd.Timestamp:
    """A value as one that can be compared with those of a column."""
    if pd.api.types.is_numeric_dtype(column):
        return _number(text, condition)
    if isinstance(column.dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_any_dtype(column):
        zone = getattr(column.dtype, "tz", None)
        time = pd.to_datetime(text, errors="coerce", format="ISO8601", utc=True)
        if pd.isna(time):
            what = f"'{text}' is no date, and the column holds dates"
            raise UsageError(what, where=condition, fix="write 2024-06-30")
        return time.tz_convert(zone)
    return text


def _number(text: str, condition: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"'{text}' is no number, and the column holds numbers", where=condition) from None


def _draw(rows: npt.NDArray[np.int64], count: int, seed: int, store: Store) -> npt.NDArray[np.int64]:
    if not 0 < count <= len(rows):
        found = f"{count} patches are wanted and {len(rows)} meet the conditions"
        raise DataError(found, where=store.path, fix="ask for fewer, or loosen the conditions")
    return np.sort(np.random.default_rng([seed, 11]).choice(rows, size=count, replace=False))

"""Columns of the explorer: a value a patch, of the index of a store, by which the page colours, filters and sorts."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.store import Store
from eofuse.data.targets import make_target
from eofuse.errors import EofuseError
from eofuse.modalities import Kind, Modality
from eofuse.reports.figures.maps import class_colours
from eofuse.reports.figures.style import PART_COLOURS
from eofuse.reports.wording import class_title

MISSING = -1
"""Code of a patch without a category."""

DOMINANT_LAND_COVER = "dominant land cover"
"""Column of the most common land cover, which the index does not have."""

HIDDEN = ("patch_id", "patch_id_s1", "column", "row", "lon", "lat", "ulx", "uly", "scene_kind")
HIDDEN_STARTS = ("grid_", "empty_bands.", "times.")
"""Columns of an index that say where a patch lies, or how it is kept: the map shows the one, nobody wants the other."""

MOST_NAMES = 20_000
"""Different texts of a column that can be shown; more are names of patches."""

Codes = npt.NDArray[np.int32]
Numbers = npt.NDArray[np.float64]


class Sort(StrEnum):
    """What the values of a column are."""

    CATEGORY = "category"
    NUMBER = "number"
    DATE = "date"
    LIST = "list"


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        name: its name, which no other column has.
        sort: what its values are.
        values: numbers, or days since 1970-01-01, NaN where missing, (patches,); codes, −1 where missing, (patches,); of lists the
            codes of all patches one after another.
        names: of categories, by code.
        colours: of categories, by code; empty for those of a palette.
        unit: of numbers.
        ends: of lists, the end of each patch's codes in `values`, (patches,).
        group: under which heading it stands.
    """

    name: str
    sort: Sort
    values: npt.NDArray[Any]
    names: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    unit: str = ""
    ends: npt.NDArray[np.int64] | None = None
    group: str = "Patches"


def index_columns(store: Store) -> Iterator[Column]:
    """The columns of a store by which patches can be told apart: labels, split and scene first, then what the index holds."""
    index = store.index
    first = [name for name in (*store.provenance.get("labels", {}), "split", "scene") if name in index]
    scalars = {f"{m.name}.{c}": m for m in store.modalities.values() if not m.is_array for c in m.channel_names}
    land_cover = _dominant(store)
    if land_cover is not None:
        yield land_cover
    for name in [*first, *(name for name in map(str, index.columns) if name not in first)]:
        if name in HIDDEN or name.startswith(HIDDEN_STARTS):
            continue
        found = _scalar(index[name], scalars[name]) if name in scalars else column_of(name, index[name])
        if found is not None and _varies(found):
            yield found


def column_of(name: str, values: pd.Series, group: str = "Patches", unit: str = "") -> Column | None:
    """A column of a table; None of one that can't be shown."""
    if pd.api.types.is_bool_dtype(values):
        return categories(name, ["yes" if value else "no" for value in values], group=group)
    if pd.api.types.is_numeric_dtype(values):
        return Column(name, Sort.NUMBER, values.to_numpy(dtype=np.float64, na_value=np.nan), unit=unit, group=group)
    if pd.api.types.is_datetime64_any_dtype(values):
        return Column(name, Sort.DATE, _days(values), group=group)
    known = values.dropna()
    if not len(known):
        return None
    if known.map(np.ndim).any():
        return _lists(name, values, group)
    texts = known.astype(str)
    if texts.str.match(r"\d{4}-\d{2}-\d{2}").all():
        dates = pd.to_datetime(values, errors="coerce", format="ISO8601", utc=True)
        if dates.notna().sum() == len(known):
            return Column(name, Sort.DATE, _days(dates), group=group)
    different = texts.nunique()
    if different > MOST_NAMES or (different == len(known) and different > 50):  # names of the patches themselves
        return None
    colours = PART_COLOURS if name == "split" else {}
    found = categories(
        name, [None if missing else str(value) for missing, value in zip(values.isna(), values, strict=True)], group
    )
    return found if not colours else _coloured(found, colours)


def categories(
    name: str,
    values: Sequence[str | None],
    group: str = "Patches",
    order: Sequence[str] = (),
    colours: Sequence[str] = (),
) -> Column:
    """A column of categories, in a given order of their names, or sorted."""
    names = list(order) or sorted({value for value in values if value is not None})
    codes = {value: code for code, value in enumerate(names)}
    found = np.fromiter((MISSING if value is None else codes[value] for value in values), np.int32, len(values))
    return Column(name, Sort.CATEGORY, found, tuple(names), tuple(colours), group=group)


def lists_of(
    name: str, chosen: npt.NDArray[np.bool_], names: Sequence[str], group: str, colours: Sequence[str] = ()
) -> Column:
    """A column of lists of classes, from indicators (patches, classes)."""
    _, codes = np.nonzero(chosen)
    ends = np.cumsum(chosen.sum(axis=1))
    return Column(name, Sort.LIST, codes.astype(np.int32), tuple(names), tuple(colours), ends=ends, group=group)


def _coloured(column: Column, colours: dict[str, str]) -> Column:
    if not set(column.names) <= set(colours):
        return column
    order = [name for name in colours if name in column.names]
    texts = [None if code == MISSING else column.names[code] for code in column.values.tolist()]
    return categories(column.name, texts, column.group, order, [colours[name] for name in order])


def _lists(name: str, values: pd.Series, group: str) -> Column | None:
    rows = [[str(word) for word in value] if np.ndim(value) else [] for value in values]
    names = sorted({word for row in rows for word in row})
    if not names or len(names) > MOST_NAMES:
        return None
    codes = {word: code for code, word in enumerate(names)}
    flat = np.fromiter((codes[word] for row in rows for word in row), np.int32)
    ends = np.cumsum([len(row) for row in rows])
    return Column(name, Sort.LIST, flat, tuple(names), ends=ends, group=group)


def _scalar(values: pd.Series, modality: Modality) -> Column | None:
    """A column of a modality without pixels: numbers with their unit, or the names of categories."""
    name = str(values.name)
    if modality.kind is Kind.VECTOR:
        if modality.embedding or len(modality.channels) > 30:
            return None
        unit = modality.channels[modality.channel_index(name.partition(".")[2])].unit
        return column_of(name, values, modality.title or modality.name, unit)
    places = {category.code: place for place, category in enumerate(modality.categories)}
    codes = np.fromiter((places.get(int(value), MISSING) for value in values), np.int32, len(values))
    names = [category.name for category in modality.categories]
    used, compact = np.unique(codes[codes >= 0], return_inverse=True)
    codes[codes >= 0] = compact
    kept = [names[at] for at in used]
    colours = class_colours(kept, modality)
    return Column(modality.name, Sort.CATEGORY, codes, tuple(map(class_title, kept)), tuple(colours))


def _dominant(store: Store) -> Column | None:
    """The most common land cover of each patch, where the store has a land-cover map."""
    try:
        target = make_target(store, "dominant_land_cover")
    except EofuseError:
        return None
    codes = np.where(target.valid, target.values, MISSING).astype(np.int32)
    colours = class_colours(target.classes, store.modalities.get(target.sources[0]) if target.sources else None)
    return Column(DOMINANT_LAND_COVER, Sort.CATEGORY, codes, tuple(map(class_title, target.classes)), tuple(colours))


def _days(values: pd.Series) -> Numbers:
    """Days since 1970-01-01."""
    times = pd.to_datetime(values, utc=True).dt.tz_localize(None).to_numpy(dtype="datetime64[s]")
    days = times.astype(np.int64) / 86_400
    return np.where(np.isnat(times), math.nan, days)


def _varies(column: Column) -> bool:
    """Whether it tells any two patches apart."""
    if column.sort is Sort.LIST:
        return len(column.names) > 0
    values = column.values
    if column.sort is Sort.CATEGORY:
        return bool(len(np.unique(values)) > 1)
    known = values[np.isfinite(values)]
    return bool(len(known)) and bool(known.min() < known.max())

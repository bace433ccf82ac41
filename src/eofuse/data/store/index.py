"""The index of a store, a row a sample: which columns it has, of which sort, and what stands where nothing is known.

`complete_index` checks what a source gives and adds what it leaves out, so that everything that reads an index finds every column.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.scenes import GIVEN, PLACE, SCENE_KIND
from eofuse.data.store.arrays import require_times
from eofuse.data.store.georeference import GRID_COLUMNS
from eofuse.errors import DataError
from eofuse.modalities import Kind, Modality

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Column:
    """A column of the index.

    Attributes:
        sort: of its values; text may be None, a number NaN.
        meaning: what it says of a sample.
        words: the only texts that it may hold.
    """

    sort: Literal["text", "number", "whole"]
    meaning: str
    words: tuple[str, ...] = ()

    @property
    def default(self) -> object:
        """What stands where nothing is known."""
        return {"text": None, "number": np.nan, "whole": -1}[self.sort]


COLUMNS = {
    "patch_id": Column("text", "id of the sample, unique"),
    "patch_id_s1": Column("text", "id of its Sentinel-1 patch, in BigEarthNet"),
    "scene": Column("text", "acquisition, site or group that samples share"),
    SCENE_KIND: Column("text", "whether the data name the scene, or a spatial block stands in for it", (GIVEN, PLACE)),
    "tile": Column("text", "tile of a grid in which it lies"),
    "column": Column("whole", "column in the tile or scene"),
    "row": Column("whole", "row in the tile or scene"),
    "lon": Column("number", "longitude in degrees"),
    "lat": Column("number", "latitude in degrees"),
    "crs": Column("text", "coordinate reference system of its pixels"),
    **{name: Column("number", "pixel grid: see `eofuse.data.store.georeference`") for name in GRID_COLUMNS},
    "time_s2": Column("text", "time of the Sentinel-2 acquisition"),
    "time_s1": Column("text", "time of the Sentinel-1 acquisition"),
    "split": Column("text", "part of the published split", PARTS),
}
"""Columns that every index has."""

OPTIONAL = {
    "time": Column("text", "date or time, ISO 8601"),
    "block": Column("text", "what splits by blocks keep together"),
}
"""Columns that an index may have."""

RESERVED_NAMES = frozenset({*COLUMNS, *OPTIONAL, "side_km", "nodata"})
"""Columns of the index, which would be mixed up with a modality of that name."""


def complete_index(index: pd.DataFrame, modalities: Sequence[Modality], where: object) -> pd.DataFrame:
    """An index with all of its columns.

    Args:
        index: at least `patch_id`, and the columns `<modality>.<channel>` of vectors and categories.
        modalities: of the samples; all samples have one without a column `has_<modality>`.
        where: the dataset, for messages.

    Raises:
        DataError: naming column and sample, if an id is missing or not unique, a column of values is missing, or a value is of
            another sort than its column.
    """
    _require(index, ["patch_id"], where)
    ids = index["patch_id"]
    for which, what in ((ids.isna() | (ids == ""), "has no id"), (ids.duplicated(), "has an id that another has")):
        if which.any():
            row = int(np.flatnonzero(which)[0])
            raise DataError(f"sample {row + 1} ({ids.iloc[row]!r}) {what}", where=where, fix="give each its own")
    for name, column in (COLUMNS | OPTIONAL).items():
        if name in index.columns:
            _check_sort(index, name, column, where)
    added: dict[str, object] = {name: each.default for name, each in COLUMNS.items() if name not in index.columns}
    if SCENE_KIND in added and "scene" in index.columns:
        added[SCENE_KIND] = pd.Series(GIVEN, index=index.index, dtype=object).where(index["scene"].notna(), None)
    for modality in modalities:
        if modality.kind is Kind.IMAGE_SERIES:
            _check_times(index, modality, where)
        if not modality.is_array:
            _require(index, [f"{modality.name}.{channel}" for channel in modality.channel_names], where)
        present = f"has_{modality.name}"
        if present not in index.columns:
            added[present] = True
        elif index[present].isna().any() or not pd.api.types.is_bool_dtype(index[present]):
            raise DataError(f"column '{present}' holds something else than true and false", where=where)
    return index.assign(**added) if added else index  # type: ignore[arg-type]  # columns and single values


def times_column(name: str) -> str:
    """Column of the index with the times of an image series: a list a sample, empty or None where it lacks the series."""
    return f"times.{name}"


def counts_of(index: pd.DataFrame, name: str) -> npt.NDArray[np.int64]:
    """Number of dates of an image series in each sample, (samples,)."""
    return np.fromiter(map(np.size, _lists(index[times_column(name)])), dtype=np.int64, count=len(index))


def require_as_many(index: pd.DataFrame, row: int, name: str, values: npt.NDArray[np.generic], where: str) -> None:
    """Raises a `DataError` unless an image series of a sample has as many dates as its row of the index has times."""
    times = np.size(index[times_column(name)].iloc[row])
    if times != len(values):
        found = f"has {len(values)} dates where the index has {times} times"
        raise DataError(found, where=f"{where}, {name}", fix="give each date its time")


def flat_times(index: pd.DataFrame, name: str) -> npt.NDArray[np.float64]:
    """Times of an image series, those of all samples one after another."""
    return np.concatenate(
        [np.empty(0), *(np.asarray(times, np.float64) for times in _lists(index[times_column(name)]))]
    )


def _lists(column: pd.Series) -> Iterator[Any]:
    """The lists of a column; an empty one where there is none."""
    return (() if cell is None or np.ndim(cell) == 0 else cell for cell in column)


def _check_times(index: pd.DataFrame, modality: Modality, where: object) -> None:
    """Raises a `DataError` unless each sample has the times of its dates, or none where it lacks the series."""
    _require(index, [times_column(modality.name)], where)
    present = index.get(f"has_{modality.name}", pd.Series(True, index.index))
    cells = zip(index["patch_id"], _lists(index[times_column(modality.name)]), present, strict=True)
    for patch_id, times, has in cells:
        if has:
            require_times(modality, times, f"{where}, sample {patch_id}")
        elif np.size(times):
            found = f"has {np.size(times)} times and lacks the modality"
            raise DataError(found, where=f"{where}, sample {patch_id}, {modality.name}", fix="give neither or both")


def _require(index: pd.DataFrame, names: Iterable[str], where: object) -> None:
    for name in names:
        if name not in index.columns:
            raise DataError(f"the index has no column '{name}'", where=where, fix="add it to the samples of the source")


def _check_sort(index: pd.DataFrame, name: str, column: Column, where: object) -> None:
    cells = index[name]
    if column.sort != "text":
        if pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells):
            wrong = cells.isna() | (cells % 1 != 0) if column.sort == "whole" else cells.isna() & False
        else:
            wrong = cells.notna() & ~cells.map(lambda cell: type(cell) in (int, float))
    else:
        known = cells.notna()
        wrong = known & ~cells.map(lambda cell: isinstance(cell, str))
        if column.words:
            wrong |= known & ~cells.isin(column.words)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        what = f"column '{name}' holds {cells.iloc[row]!r}, expected {' or '.join(column.words) or _SORTS[column.sort]}"
        raise DataError(what, where=f"{where}, sample {index['patch_id'].iloc[row]}", fix=f"it is: {column.meaning}")


_SORTS = {"text": "text", "number": "a number", "whole": "a whole number, −1 if it is not known"}


def category_code(modality: Modality, value: object) -> int:
    """The code of a category given by code or name.

    Raises:
        ValueError: if it is none.
    """
    assert modality.kind is Kind.CATEGORY
    codes: dict[object, int] = {category.name: category.code for category in modality.categories}
    codes |= {category.code: category.code for category in modality.categories}
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, str | int) or value not in codes:
        raise ValueError(f"{value!r} is no category; there are {', '.join(map(str, codes))}")
    return codes[value]

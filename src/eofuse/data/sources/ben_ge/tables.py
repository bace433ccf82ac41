"""Reads the tables of a ben-ge folder by column name, and collects what is wrong with them.

Every table is joined by patch id, never by the order of its rows.
"""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from eofuse.data.problems import Problems
from eofuse.data.reading.tables import TEXT_PART, UNREADABLE, check_parquet, numeric
from eofuse.errors import DataError, did_you_mean
from eofuse.limits import TABLE


def read_table(path: Path, required: Sequence[str], optional: Sequence[str], problems: Problems) -> pd.DataFrame:
    """Reads a CSV or Parquet table, a row a patch.

    Args:
        path: the table.
        required: columns that must be there; a missing one is an error.
        optional: columns that may be there; a missing one is an error only if another looks like a misspelling of it.
        problems: what is wrong is added here.

    Returns:
        Those of the columns `required` and `optional` that are there, indexed by patch id; a patch's first row counts.

    Raises:
        DataError: if the table can't be read or has no column `patch_id`.
    """
    table = _load(path)
    if "patch_id" not in table.columns:
        known = ", ".join(map(str, table.columns)) or "none"
        near = _misspelling("patch_id", table.columns)
        fix = f"rename the column '{near}'" if near else f"its columns are: {known}"
        raise DataError("no column 'patch_id'", where=path, fix=fix)
    unknown = [name for name in table.columns if name not in (*required, *optional, "patch_id")]
    for name in (*required, *optional):
        if name not in table.columns:
            near = _misspelling(name, unknown)
            if near is not None or name in required:
                rename = f"rename the column '{near}', if that is meant"
                fix = did_you_mean(name, map(str, table.columns)) if near is None else rename
                problems.error(f"no column '{name}'", path, fix=fix)
    table["patch_id"] = table["patch_id"].astype("string").str.strip()
    nameless = table["patch_id"].isna()
    if nameless.any():
        problems.error(f"{int(nameless.sum())} rows have no patch_id", path, fix="remove them")
    table = table[~nameless]
    doubled = table["patch_id"].duplicated()
    for patch_id in table.loc[doubled, "patch_id"].unique():
        problems.error("several rows for one patch", path, str(patch_id), "keep one row")
    wanted = [name for name in ("patch_id", *required, *optional) if name in table.columns]
    table = table.loc[~doubled, wanted].set_index("patch_id")
    table.index = pd.Index([str(patch_id) for patch_id in table.index], dtype=object)
    return table


def read_ids(path: Path) -> list[str]:
    """The patch ids of a list without a header: one a line, the first field if there are several.

    Raises:
        DataError: if the list can't be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("can't be read as text", where=path, fix="fetch the list again") from error
    fields = (line.split(",")[0].strip().strip('"') for line in lines)
    return [field for field in fields if field and field != "patch_id"]


def to_numbers(table: pd.DataFrame, path: Path, problems: Problems) -> pd.DataFrame:
    """All columns as float64; what is no number becomes NaN and an error, what is absent stays NaN."""
    numbers: pd.DataFrame = table.apply(numeric).astype(np.float64)
    wrong = (numbers.isna() | np.isinf(numbers)) & table.notna()
    for row, column in zip(*np.nonzero(wrong.to_numpy()), strict=True):
        what = f"column '{table.columns[column]}' holds {table.iat[row, column]!r}, which is no number"
        problems.error(what, path, str(table.index[row]), "correct the value")
    return numbers.mask(np.isinf(numbers))


def split_column(splits: dict[str, Path], patch_ids: Sequence[str], problems: Problems) -> pd.Series:
    """The published split of each patch: "train", "validation", "test" or None.

    Args:
        splits: path of each list, by split.
        patch_ids: the patches, in order.
        problems: empty lists, unknown patches and patches in two lists are added here.
    """
    known = set(patch_ids)
    found: dict[str, str] = {}
    doubled: set[str] = set()
    for split in sorted(splits, key=("train", "validation", "test").index):
        path = splits[split]
        ids = read_ids(path)
        if not ids:
            problems.error("the list is empty", path, fix="fetch it again, or remove it")
        for patch_id in dict.fromkeys(ids):
            if patch_id not in known:
                what = f"the list names an unknown patch '{patch_id}'"
                problems.error(what, path, fix="remove the line, or add the patch")
            elif patch_id in found:
                what = f"listed for {found[patch_id]} and for {split}"
                problems.error(what, path, patch_id, "keep it in one list")
                doubled.add(patch_id)
            else:
                found[patch_id] = split
    return pd.Series([None if i in doubled else found.get(i) for i in patch_ids], dtype=object)


def texts(values: Iterable[object]) -> pd.Series:
    """The values as str, or None where absent; dtype object."""
    return pd.Series(
        [None if value is None or value is pd.NA or value != value else str(value) for value in values], dtype=object
    )


def _load(path: Path) -> pd.DataFrame:
    table: pd.DataFrame
    try:
        if path.suffix == ".parquet":
            check_parquet(path)
            table = pd.read_parquet(path)
        else:
            TABLE.check(path.stat().st_size * TEXT_PART, f"counts {TEXT_PART} times and takes", path)
            with warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)
                names = {"patch_id": str, "patch_id_s1": str}
                table = pd.read_csv(path, dtype=names, encoding="utf-8-sig", index_col=False)
    except UNREADABLE as error:
        raise DataError("not a readable table", where=path, fix="fetch it again") from error
    table.columns = [str(name).strip() for name in table.columns]
    return table


def _misspelling(name: str, columns: Iterable[object]) -> str | None:
    """The column that differs from the name in case, separators or a few letters."""
    plain = {_plain(str(column)): str(column) for column in columns}
    if _plain(name) in plain:
        return plain[_plain(name)]
    advice = did_you_mean(_plain(name), plain)
    near = advice.removeprefix("did you mean '").removesuffix("'?")
    ends_alike = near[-1] == name[-1].lower()  # names that end in s1 and s2 are neighbours, no misspellings
    return plain.get(near) if advice.startswith("did you mean") and ends_alike else None


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())

"""Reads the tables of a ben-ge folder by column name, and collects what is wrong with them.

Every table is joined by patch id, never by the order of its rows. `read_meta` says which patches there are, and which Sentinel-1 patch
belongs to which Sentinel-2 patch: by the meta table, reBEN's metadata or the Sentinel-1 label files, never by the order of folders.
"""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from eofuse.data.problems import Problem, Problems
from eofuse.data.reading.tables import TEXT_PART, UNREADABLE, check_parquet, numeric
from eofuse.data.sources.ben_ge.layout import Layout
from eofuse.data.sources.ben_ge.patch_json import read_corresponding_s2_patch
from eofuse.errors import DataError, did_you_mean
from eofuse.limits import TABLE

META_COLUMNS = ("timestamp_s2", "timestamp_s1", "season_s2", "season_s1", "lon", "lat", "climatezone")
REBEN_COLUMNS = ("labels", "split", "s1_name", "s2v1_name", "contains_seasonal_snow", "contains_cloud_or_shadow")


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


def read_reben(layout: Layout, problems: Problems) -> pd.DataFrame | None:
    """The metadata of reBEN, with those of the patches that it sets apart for snow, cloud or shadow; None if absent."""
    found = (layout.tables[purpose] for purpose in ("reben", "reben_unclear") if purpose in layout.tables)
    parts = [read_table(path, (), REBEN_COLUMNS, problems) for path in found]
    if not parts:
        return None
    table = pd.concat(parts)
    return table[~table.index.duplicated()]


def read_meta(layout: Layout, reben: pd.DataFrame | None, problems: Problems) -> pd.DataFrame:
    """The meta table, or one made of the patch folders and what pairs them."""
    if "meta" in layout.tables:
        path = layout.tables["meta"]
        required = ("patch_id_s1",) if layout.s1 else ()
        meta = read_table(path, required, (*META_COLUMNS, *(() if required else ("patch_id_s1",))), problems)
        if not len(meta):
            problems.error("the table has no rows", path, fix="fetch it again")
        known = set(meta.index)
        for patch_id in sorted(patch_id for patch_id in layout.s2 if patch_id not in known):
            what, fix = "a folder that the meta table does not list", "add its row to the table, or remove the folder"
            problems.error(what, layout.s2[patch_id], patch_id, fix)
        return meta
    pairs = _pairs_without_meta(layout, reben, problems)
    patch_ids = _patches_without_meta(layout, reben, pairs, problems)
    return pd.DataFrame(
        {"patch_id_s1": texts(map(pairs.get, patch_ids)).to_numpy()}, index=pd.Index(patch_ids, dtype=object)
    )


def _patches_without_meta(
    layout: Layout, reben: pd.DataFrame | None, pairs: dict[str, str], problems: Problems
) -> list[str]:
    if reben is None:
        return sorted({*layout.s2, *pairs} or {*layout.elevation, *layout.worldcover})
    where = layout.tables.get("reben", layout.tables.get("reben_unclear"))
    listed = [patch_id for patch_id in reben.index if patch_id in layout.s2 or pairs.get(patch_id) in layout.s1]
    strangers = sorted(set(layout.s2) - set(listed))
    if len(listed) < len(reben):
        what = f"{len(reben) - len(listed)} of the {len(reben)} patches listed have no folder"
        problems.warn(what, where, fix="fetch them, if they should be there")
    for patch_id in strangers:
        problems.warn("a patch folder that the metadata do not list: its labels are not known", where, patch_id)
    return listed + strangers


def _pairs_without_meta(layout: Layout, reben: pd.DataFrame | None, problems: Problems) -> dict[str, str]:
    """The Sentinel-1 patch of each Sentinel-2 patch, by reBEN's metadata or by the Sentinel-1 label files."""
    pairs: dict[str, str] = {}
    if reben is not None and "s1_name" in reben.columns:
        named = zip(map(str, reben.index), texts(reben["s1_name"]), strict=True)
        return {patch_id: name for patch_id, name in named if name is not None}
    unpaired = 0
    for patch_id_s1, folder in sorted(layout.s1.items()):
        try:
            partner = read_corresponding_s2_patch(folder, patch_id_s1)
        except DataError as error:
            problems.append(Problem.from_error(error, patch_id_s1))
            continue
        if partner is None:
            unpaired += 1
        elif partner in pairs:
            what = f"two Sentinel-1 patches name it: {pairs[partner]} and {patch_id_s1}"
            problems.error(what, folder, partner, "keep one of them")
        else:
            pairs[partner] = patch_id_s1
    if unpaired:
        what = f"{unpaired} Sentinel-1 patches do not say which Sentinel-2 patch they belong to, and are left out"
        problems.warn(what, "corresponding_s2_patch", fix="add their _labels_metadata.json, or a meta table")
    return pairs


def check_pairs(index: pd.DataFrame, layout: Layout, where: object, problems: Problems) -> None:
    """Notes Sentinel-1 folders that are missing or belong to another patch; `where` is the table of the pairs."""
    for patch_id, patch_id_s1, has in zip(index["patch_id"], index["patch_id_s1"], index["has_s1"], strict=True):
        if has and "meta" in layout.tables:
            _check_pair(patch_id, patch_id_s1, layout, problems)
        elif patch_id_s1 is not None and not has:
            what = f"its Sentinel-1 folder {patch_id_s1} is missing"
            problems.error(what, where, patch_id, "fetch it, or clear patch_id_s1 if there is none")
    shared = index["patch_id_s1"].notna() & index["patch_id_s1"].duplicated()
    for patch_id, patch_id_s1 in zip(index.loc[shared, "patch_id"], index.loc[shared, "patch_id_s1"], strict=True):
        what = f"the Sentinel-1 patch {patch_id_s1} belongs to another patch already"
        problems.error(what, where, patch_id, "correct patch_id_s1")


def _check_pair(patch_id: str, patch_id_s1: str, layout: Layout, problems: Problems) -> None:
    """Compares a pair with the Sentinel-1 label file, and with the column and row at the end of both ids."""
    try:
        partner = read_corresponding_s2_patch(layout.s1[patch_id_s1], patch_id_s1)
    except DataError as error:
        problems.append(Problem.from_error(error, patch_id))
        return
    where = layout.tables["meta"]
    if partner is not None and partner != patch_id:
        what = f"paired with {patch_id_s1}, whose label file names {partner}"
        problems.error(what, where, patch_id, "correct patch_id_s1")
    elif partner is None and patch_id.split("_")[-2:] != patch_id_s1.split("_")[-2:]:
        what = f"paired with {patch_id_s1}, which has another column and row"
        problems.warn(what, where, patch_id, "correct patch_id_s1, if it is wrong")

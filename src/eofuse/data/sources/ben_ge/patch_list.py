"""Which patches a dataset has, and which Sentinel-1 patch belongs to which Sentinel-2 patch.

Pairs come from the meta table, reBEN's metadata or the Sentinel-1 label files, never from the order of folders.
"""

import pandas as pd

from eofuse.data.problems import Problem, Problems
from eofuse.data.sources.ben_ge.layout import Layout
from eofuse.data.sources.ben_ge.patch_json import read_corresponding_s2_patch
from eofuse.data.sources.ben_ge.tables import read_table, texts
from eofuse.errors import DataError

META_COLUMNS = ("timestamp_s2", "timestamp_s1", "season_s2", "season_s1", "lon", "lat", "climatezone")
REBEN_COLUMNS = ("labels", "split", "s1_name", "s2v1_name", "contains_seasonal_snow", "contains_cloud_or_shadow")


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

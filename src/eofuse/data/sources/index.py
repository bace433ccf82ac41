"""Builds the index of a ben-ge or BigEarthNet folder: a row a patch, and what is wrong with the tables.

Nothing here opens a raster; the columns are those of `eofuse.data.store`.
"""

from collections.abc import Sequence
from datetime import date, datetime

import numpy as np
import pandas as pd
from pyproj import Transformer

from eofuse.data.problems import Problem
from eofuse.data.sources.identifiers import PatchName, parse_patch_id, parse_patch_id_s1, season_of
from eofuse.data.sources.layout import Layout
from eofuse.data.sources.patch_json import PatchJson, check_labels_19, read_patch_json
from eofuse.data.sources.tables import read_ids, read_table, split_column, texts, to_numbers
from eofuse.errors import DataError
from eofuse.modalities import CLIMATE_ZONE, SEASON, WEATHER, WORLDCOVER

_META_COLUMNS = (
    "timestamp_s2",
    "timestamp_s1",
    "season_s2",
    "season_s1",
    "lon",
    "lat",
    "climatezone",
)
_REBEN_COLUMNS = ("labels", "split", "s1_name", "s2v1_name", "contains_seasonal_snow", "contains_cloud_or_shadow")
_SEASON_TOLERANCE = 1e-4
_LATE_DECEMBER_TOLERANCE = 0.16
"""From 22 December the formula dips below 0; whether the published values do is not known."""


def build_index(layout: Layout, problems: list[Problem]) -> pd.DataFrame:
    """Reads the tables and label files of a dataset.

    Args:
        layout: where they lie.
        problems: what is wrong is added here.

    Returns:
        A row a patch, in the order of the meta table; without one in that of reBEN's metadata, else by id.

    Raises:
        DataError: if a table can't be read or has no patch ids.
    """
    reben = _read_reben(layout, problems)
    meta = _read_meta(layout, reben, problems)
    patch_ids = [str(patch_id) for patch_id in meta.index]
    names = [parse_patch_id(patch_id) for patch_id in patch_ids]
    _note_unknown_names(patch_ids, names, layout, problems)
    described = [
        _described(layout.s2, patch_id, name, problems) for patch_id, name in zip(patch_ids, names, strict=True)
    ]
    index = pd.DataFrame({"patch_id": texts(patch_ids), "patch_id_s1": texts(_column(meta, "patch_id_s1"))})
    s1_names = [None if patch_id is None else parse_patch_id_s1(patch_id) for patch_id in index["patch_id_s1"]]
    _add_names(index, names, s1_names)
    _add_place(index, meta, described)
    _add_times(index, meta, names, s1_names, layout, problems)
    index["split"] = _splits(layout, reben, patch_ids, problems)
    _add_presence(index, layout, problems)
    _add_season(index, meta, layout, problems)
    _add_weather(index, layout, problems)
    _add_climate_zone(index, meta, layout, problems)
    _add_fractions(index, layout, problems)
    _add_labels(index, described, reben, layout, problems)
    _add_flags(index, layout, reben)
    return index


def _column(table: pd.DataFrame, name: str) -> pd.Series:
    return table[name] if name in table.columns else pd.Series([None] * len(table), index=table.index, dtype=object)


def _read_reben(layout: Layout, problems: list[Problem]) -> pd.DataFrame | None:
    """ReBEN's metadata, with those of the patches that it leaves out for snow, cloud or shadow, if they are there."""
    parts = [
        read_table(layout.tables[purpose], (), _REBEN_COLUMNS, problems)
        for purpose in ("reben", "reben_unclear")
        if purpose in layout.tables
    ]
    if not parts:
        return None
    table = pd.concat(parts)
    return table[~table.index.duplicated()]


def _read_meta(layout: Layout, reben: pd.DataFrame | None, problems: list[Problem]) -> pd.DataFrame:
    """The meta table, or one made of the patch folders and what pairs them."""
    if "meta" in layout.tables:
        path = layout.tables["meta"]
        required = ("patch_id_s1",) if layout.s1 else ()
        meta = read_table(path, required, (*_META_COLUMNS, *(() if required else ("patch_id_s1",))), problems)
        if meta.empty:
            problems.append(Problem("error", "the table has no rows", str(path), fix="fetch it again"))
        known = set(meta.index)
        strangers = [patch_id for patch_id in layout.s2 if patch_id not in known]
        for patch_id in sorted(strangers):
            problems.append(
                Problem("error", "a patch folder that the meta table does not list", layout.s2[patch_id], patch_id,
                        "add its row to the table, or remove the folder")
            )  # fmt: skip
        return meta
    pairs = _pairs_without_meta(layout, reben, problems)
    patch_ids = _patches_without_meta(layout, reben, pairs, problems)
    return pd.DataFrame(
        {"patch_id_s1": texts(map(pairs.get, patch_ids)).to_numpy()}, index=pd.Index(patch_ids, dtype=object)
    )


def _patches_without_meta(
    layout: Layout, reben: pd.DataFrame | None, pairs: dict[str, str], problems: list[Problem]
) -> list[str]:
    if reben is None:
        return sorted({*layout.s2, *pairs} or {*layout.elevation, *layout.worldcover})
    where = str(layout.tables.get("reben", layout.tables.get("reben_unclear")))
    listed = [patch_id for patch_id in reben.index if patch_id in layout.s2]
    strangers = sorted(set(layout.s2) - set(listed))
    if len(listed) < len(reben):
        what = f"{len(reben) - len(listed)} of the {len(reben)} patches listed have no folder"
        problems.append(Problem("warning", what, where, fix="fetch them, if they should be there"))
    for patch_id in strangers:
        what = "a patch folder that the metadata do not list: its labels are not known"
        problems.append(Problem("warning", what, where, patch_id))
    return listed + strangers


def _pairs_without_meta(layout: Layout, reben: pd.DataFrame | None, problems: list[Problem]) -> dict[str, str]:
    """The Sentinel-1 patch of each Sentinel-2 patch, by reBEN's metadata or by the Sentinel-1 label files."""
    pairs: dict[str, str] = {}
    if reben is not None and "s1_name" in reben.columns:
        pairs = {str(i): name for i, name in zip(reben.index, texts(reben["s1_name"]), strict=True) if name is not None}
        return pairs
    unpaired = 0
    for patch_id_s1, folder in sorted(layout.s1.items()):
        try:
            content = read_patch_json(folder, patch_id_s1)
        except DataError as error:
            problems.append(Problem.from_error(error, patch_id_s1))
            continue
        partner = None if content is None else content.corresponding_s2_patch
        if partner is None:
            unpaired += 1
        elif partner in pairs:
            what = f"two Sentinel-1 patches name it: {pairs[partner]} and {patch_id_s1}"
            problems.append(Problem("error", what, folder, partner, "keep one of them"))
        else:
            pairs[partner] = patch_id_s1
    if unpaired:
        what = f"{unpaired} Sentinel-1 patches do not say which Sentinel-2 patch they belong to, and are left out"
        fix = "add their _labels_metadata.json, or a meta table"
        problems.append(Problem("warning", what, "corresponding_s2_patch", fix=fix))
    return pairs


def _note_unknown_names(
    patch_ids: Sequence[str], names: Sequence[PatchName | None], layout: Layout, problems: list[Problem]
) -> None:
    unknown = [patch_id for patch_id, name in zip(patch_ids, names, strict=True) if name is None]
    if unknown:
        what = f"{len(unknown)} ids are not of BigEarthNet's form (such as '{unknown[0]}'): each is a scene of its own"
        problems.append(Problem("warning", what, str(layout.tables.get("meta", layout.root))))


def _described(
    folders: dict[str, str], patch_id: str, name: PatchName | None, problems: list[Problem]
) -> PatchJson | None:
    if patch_id not in folders:
        return None
    try:
        return read_patch_json(folders[patch_id], patch_id, is_v2=name is not None and name.tile is not None)
    except DataError as error:
        problems.append(Problem.from_error(error, patch_id))
        return None


def _add_names(index: pd.DataFrame, names: Sequence[PatchName | None], s1_names: Sequence[PatchName | None]) -> None:
    pairs = list(zip(index["patch_id"], names, s1_names, strict=True))
    index["scene"] = texts(patch_id if name is None else name.scene for patch_id, name, _ in pairs)
    tiles = (
        next((known.tile for known in (name, name_s1) if known and known.tile), None) for _, name, name_s1 in pairs
    )
    index["tile"] = texts(tiles)
    index["column"] = [-1 if name is None else name.column for name in names]
    index["row"] = [-1 if name is None else name.row for name in names]


def _add_place(index: pd.DataFrame, meta: pd.DataFrame, described: Sequence[PatchJson | None]) -> None:
    """Corner and coordinate system by the label files; longitude and latitude by the meta table, else by the corner."""
    boxes = np.array([[np.nan] * 4 if content is None else content.box for content in described]).reshape(-1, 4)
    lon_lat = np.array([pd.to_numeric(_column(meta, name), errors="coerce") for name in ("lon", "lat")], dtype=float)
    crs = texts(None if content is None else content.crs for content in described)
    for system in crs.dropna().unique():
        rows = np.flatnonzero((crs == system) & np.isnan(lon_lat).any(axis=0) & ~np.isnan(boxes).any(axis=1))
        if len(rows):
            left, top, right, bottom = boxes[rows].T
            transformer = Transformer.from_crs(system, "EPSG:4326", always_xy=True)
            lon_lat[:, rows] = transformer.transform((left + right) / 2, (top + bottom) / 2)
    index["lon"], index["lat"] = lon_lat
    index["crs"] = crs
    index["ulx"], index["uly"] = boxes[:, 0], boxes[:, 1]


def _add_times(
    index: pd.DataFrame,
    meta: pd.DataFrame,
    names: Sequence[PatchName | None],
    s1_names: Sequence[PatchName | None],
    layout: Layout,
    problems: list[Problem],
) -> None:
    """Sensing times by the meta table, else by the ids."""
    for sensor, by_id in (("s2", names), ("s1", s1_names)):
        times: list[str | None] = []
        for patch_id, given, name in zip(
            index["patch_id"], texts(_column(meta, f"timestamp_{sensor}")), by_id, strict=True
        ):
            stated, derived = _iso(given), None if name is None else name.time
            if given is not None and stated is None and derived is None:
                what = f"'{given}' in column 'timestamp_{sensor}' is no time"
                problems.append(
                    Problem("warning", what, str(layout.tables["meta"]), patch_id, "write YYYY-MM-DD HH:MM:SS")
                )
            if stated is not None and derived is not None and stated[:10] != derived[:10]:
                what = f"timestamp_{sensor} {stated[:10]} is not the date in the id, {derived[:10]}"
                problems.append(
                    Problem("warning", what, str(layout.tables["meta"]), patch_id, "correct the one that is wrong")
                )
            times.append(stated or derived)
        index[f"time_{sensor}"] = texts(times)


def _iso(text: str | None) -> str | None:
    try:
        return (
            None
            if text is None
            else datetime.fromisoformat(text.strip()).replace(tzinfo=None).isoformat(timespec="seconds")
        )
    except ValueError:
        return None


def _splits(layout: Layout, reben: pd.DataFrame | None, patch_ids: list[str], problems: list[Problem]) -> pd.Series:
    if layout.splits or reben is None or "split" not in reben.columns:
        return split_column(layout.splits, patch_ids, problems)
    by_id = dict(zip(reben.index, texts(reben["split"]), strict=True))
    names = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
    return texts(names.get(str(by_id.get(patch_id)).lower()) for patch_id in patch_ids)


def _add_presence(index: pd.DataFrame, layout: Layout, problems: list[Problem]) -> None:
    """Which rasters each patch has, and the patches that should have some and do not."""
    index["has_s2"] = index["patch_id"].isin(layout.s2.keys())
    index["has_s1"] = index["patch_id_s1"].isin(layout.s1.keys())
    index["has_elevation"] = index["patch_id"].isin(layout.elevation.keys())
    index["has_worldcover"] = index["patch_id"].isin(layout.worldcover.keys())
    where = str(layout.tables.get("meta", layout.root))
    bare = ~index[["has_s2", "has_s1", "has_elevation", "has_worldcover"]].any(axis=1)
    for patch_id in index.loc[bare, "patch_id"]:
        problems.append(
            Problem("error", "listed, but no raster of it is there", where, patch_id, "fetch it, or remove its row")
        )
    if layout.s2:
        for patch_id in index.loc[~bare & ~index["has_s2"], "patch_id"]:
            problems.append(
                Problem("error", "its Sentinel-2 folder is missing", where, patch_id, "fetch it, or remove its row")
            )
    if not layout.s1:
        return
    for patch_id, patch_id_s1, has in zip(index["patch_id"], index["patch_id_s1"], index["has_s1"], strict=True):
        if has and "meta" in layout.tables:
            _check_pair(patch_id, patch_id_s1, layout, problems)
        elif patch_id_s1 is not None and not has:
            what = f"its Sentinel-1 folder {patch_id_s1} is missing"
            problems.append(Problem("error", what, where, patch_id, "fetch it, or clear patch_id_s1 if there is none"))
    shared = index["patch_id_s1"].notna() & index["patch_id_s1"].duplicated()
    for patch_id, patch_id_s1 in zip(index.loc[shared, "patch_id"], index.loc[shared, "patch_id_s1"], strict=True):
        what = f"the Sentinel-1 patch {patch_id_s1} belongs to another patch already"
        problems.append(Problem("error", what, where, patch_id, "correct patch_id_s1"))


def _check_pair(patch_id: str, patch_id_s1: str, layout: Layout, problems: list[Problem]) -> None:
    try:
        content = read_patch_json(layout.s1[patch_id_s1], patch_id_s1, is_v2="_N" in patch_id)
    except DataError as error:
        problems.append(Problem.from_error(error, patch_id))
        return
    partner = None if content is None else content.corresponding_s2_patch
    if partner is not None and partner != patch_id:
        what = f"paired with {patch_id_s1}, whose label file names {partner}"
        problems.append(Problem("error", what, str(layout.tables["meta"]), patch_id, "correct patch_id_s1"))


def _add_season(index: pd.DataFrame, meta: pd.DataFrame, layout: Layout, problems: list[Problem]) -> None:
    """Seasons by the meta table, else by the dates."""
    for sensor in ("s2", "s1"):
        column = f"season_{sensor}"
        days = [None if time is None else date.fromisoformat(time[:10]) for time in index[f"time_{sensor}"]]
        expected = np.array([np.nan if day is None else round(season_of(day), 5) for day in days])
        given = np.full(len(index), np.nan)
        if column in meta.columns:
            given = to_numbers(meta[[column]], layout.tables["meta"], problems)[column].to_numpy()
            late = np.array([day is not None and day.month == 12 and day.day >= 22 for day in days])
            tolerance = np.where(late, _LATE_DECEMBER_TOLERANCE, _SEASON_TOLERANCE)
            for row in np.flatnonzero(np.abs(given - expected) > tolerance):
                what = f"{column} {given[row]:.5f} does not fit the date {days[row]}, which gives {expected[row]:.5f}"
                where = str(layout.tables["meta"])
                problems.append(
                    Problem(
                        "warning", what, where, str(index["patch_id"].iat[int(row)]), "correct the one that is wrong"
                    )
                )
        index[f"season.{column}"] = np.where(np.isnan(given), expected, given)
    index["has_season"] = index[[f"season.{name}" for name in SEASON.channel_names]].notna().all(axis=1)


def _add_weather(index: pd.DataFrame, layout: Layout, problems: list[Problem]) -> None:
    columns = WEATHER.channel_names
    values = _joined(index, layout, "weather", columns, problems)
    for column in columns:
        index[f"weather.{column}"] = values[column].to_numpy(dtype=float)
    index["has_weather"] = values[list(columns)].notna().all(axis=1).to_numpy()


def _add_climate_zone(index: pd.DataFrame, meta: pd.DataFrame, layout: Layout, problems: list[Problem]) -> None:
    """Climate codes by the meta table, else by the table of climate zones."""
    where = layout.tables.get("meta", layout.root)
    given = to_numbers(_column(meta, "climatezone").to_frame("climatezone"), where, problems)["climatezone"].to_numpy()
    if "climate_zone" in layout.tables:
        listed = _joined(index, layout, "climate_zone", ("climatezone",), problems)["climatezone"].to_numpy()
        where = layout.tables["climate_zone"] if np.isnan(given).all() else where
        given = np.where(np.isnan(given), listed, given)
    codes = [category.code for category in CLIMATE_ZONE.categories]
    known = np.isin(given, codes)
    for row in np.flatnonzero(~known & ~np.isnan(given)):
        what = f"climate code {given[row]:g} is none of {', '.join(map(str, codes))}"
        problems.append(Problem("error", what, str(where), str(index["patch_id"].iat[int(row)]), "correct the code"))
    index["climate_zone.climatezone"] = np.where(known, given, -1).astype(np.int16)
    index["has_climate_zone"] = known


def _add_fractions(index: pd.DataFrame, layout: Layout, problems: list[Problem]) -> None:
    if "worldcover" not in layout.tables:
        return
    columns = tuple(category.name for category in WORLDCOVER.categories)
    path = layout.tables["worldcover"]
    values = _joined(index, layout, "worldcover", columns, problems)
    outside = ((values < -1e-6) | (values > 1 + 1e-6)).any(axis=1).to_numpy()
    for patch_id in index.loc[outside, "patch_id"]:
        problems.append(
            Problem("error", "a fraction is not between 0 and 1", str(path), patch_id, "correct the fractions")
        )
    for column in columns:
        index[f"worldcover_fraction.{column}"] = values[column].to_numpy(dtype=float)


def _joined(
    index: pd.DataFrame, layout: Layout, purpose: str, columns: tuple[str, ...], problems: list[Problem]
) -> pd.DataFrame:
    """Numeric columns of a table in the order of the index, NaN where it has no row."""
    if purpose not in layout.tables:
        return pd.DataFrame(np.nan, index=range(len(index)), columns=list(columns))
    path = layout.tables[purpose]
    table = read_table(path, columns, (), problems)
    strangers = len(set(table.index) - set(index["patch_id"]))
    if strangers:
        what = f"{strangers} rows are of patches that are not in the dataset"
        problems.append(Problem("warning", what, str(path), fix="remove them, if they do not belong here"))
    return (
        to_numbers(table, path, problems).reindex(index=index["patch_id"], columns=list(columns)).reset_index(drop=True)
    )


def _add_labels(
    index: pd.DataFrame,
    described: Sequence[PatchJson | None],
    reben: pd.DataFrame | None,
    layout: Layout,
    problems: list[Problem],
) -> None:
    listed = (
        {} if reben is None or "labels" not in reben.columns else dict(zip(reben.index, reben["labels"], strict=True))
    )
    labels_43, labels_19 = [], []
    for patch_id, content in zip(index["patch_id"], described, strict=True):
        labels_43.append(None if content is None else content.labels_43)
        names = None if content is None else content.labels_19
        if names is None and listed.get(patch_id) is not None:
            where = layout.tables.get("reben", layout.tables.get("reben_unclear"))
            try:
                names = check_labels_19(list(listed[patch_id]), where)
            except DataError as error:
                problems.append(Problem.from_error(error, patch_id))
        labels_19.append(names)
    index["labels_43"] = pd.Series(labels_43, dtype=object)
    index["labels_19"] = pd.Series(labels_19, dtype=object)


def _add_flags(index: pd.DataFrame, layout: Layout, reben: pd.DataFrame | None) -> None:
    """Cloud or shadow, and seasonal snow, where a list or reBEN's metadata say."""
    v1_names: dict[str, str | None] = {}
    if reben is not None and "s2v1_name" in reben.columns:
        v1_names = {str(i): name for i, name in zip(reben.index, texts(reben["s2v1_name"]), strict=True)}
    for flag in ("cloud_or_shadow", "seasonal_snow"):
        column = f"contains_{flag}"
        if flag in layout.tables:
            listed = set(read_ids(layout.tables[flag]))
            index[flag] = [i in listed or v1_names.get(i) in listed for i in index["patch_id"]]
        elif reben is not None and column in reben.columns:
            flagged = {
                str(i) for i, value in zip(reben.index, reben[column], strict=True) if value is True or value == 1
            }
            index[flag] = [patch_id in flagged for patch_id in index["patch_id"]]

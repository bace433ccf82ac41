"""Builds the index of a ben-ge or BigEarthNet folder: a row a patch, and what is wrong with the tables.

Nothing here opens a raster; the columns are those of `eofuse.data.store`.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
from pyproj import Transformer

from eofuse.data.problems import Problem
from eofuse.data.scenes import GIVEN, SCENE_KIND
from eofuse.data.sources.ben_ge.identifiers import PatchName, parse_patch_id, parse_patch_id_s1, season_of
from eofuse.data.sources.ben_ge.layout import Layout
from eofuse.data.sources.ben_ge.patch_json import PatchJson, check_labels_19, read_patch_json
from eofuse.data.sources.ben_ge.patch_list import check_pairs, read_meta, read_reben
from eofuse.data.sources.ben_ge.tables import read_ids, read_table, split_column, texts, to_numbers
from eofuse.errors import DataError
from eofuse.modalities import CLIMATE_ZONE, SEASON, SENTINEL1, SENTINEL2, WEATHER, WORLDCOVER

_PLACE_TOLERANCE_DEGREES = 0.05
_SEASON_TOLERANCE = 1e-4
_LATE_DECEMBER_TOLERANCE = 0.16
"""From 22 December the formula dips below 0; whether the published values do is not known."""


def build_index(layout: Layout, wanted: Collection[str], problems: list[Problem]) -> pd.DataFrame:
    """Reads the tables and label files of a dataset.

    Args:
        layout: where they lie.
        wanted: names of the modalities that matter; what is missing of others is no problem.
        problems: what is wrong is added here.

    Returns:
        A row a patch, in the order of the meta table; without one in that of reBEN's metadata, else by id.

    Raises:
        DataError: if a table can't be read or has no patch ids.
    """
    reben = read_reben(layout, problems)
    meta = read_meta(layout, reben, problems)
    patch_ids = [str(patch_id) for patch_id in meta.index]
    names = [parse_patch_id(patch_id) for patch_id in patch_ids]
    _note_unknown_names(patch_ids, names, layout, problems)
    index = pd.DataFrame({"patch_id": texts(patch_ids), "patch_id_s1": texts(_column(meta, "patch_id_s1"))})
    pairs = list(zip(patch_ids, index["patch_id_s1"], names, strict=True))
    described = [_described(layout, *pair, problems) for pair in pairs]
    s1_names = [None if patch_id_s1 is None else parse_patch_id_s1(patch_id_s1) for _, patch_id_s1, _ in pairs]
    _add_names(index, names, s1_names)
    _add_place(index, meta, described, layout, problems)
    _add_times(index, meta, names, s1_names, layout, problems)
    index["split"] = _splits(layout, reben, patch_ids, problems)
    _add_presence(index, layout, wanted, problems)
    _add_season(index, meta, layout, problems)
    _add_weather(index, layout, wanted, problems)
    _add_climate_zone(index, meta, layout, problems)
    _add_fractions(index, layout, problems)
    _add_labels(index, described, reben, layout, problems)
    _add_flags(index, layout, reben)
    return index


def _column(table: pd.DataFrame, name: str) -> pd.Series:
    return table[name] if name in table.columns else pd.Series([None] * len(table), index=table.index, dtype=object)


def _note_unknown_names(
    patch_ids: Sequence[str], names: Sequence[PatchName | None], layout: Layout, problems: list[Problem]
) -> None:
    unknown = [patch_id for patch_id, name in zip(patch_ids, names, strict=True) if name is None]
    if unknown:
        what = f"{len(unknown)} ids are not of BigEarthNet's form (such as '{unknown[0]}'): their scenes are not known"
        problems.append(Problem("warning", what, str(layout.tables.get("meta", layout.root))))


def _described(
    layout: Layout, patch_id: str, patch_id_s1: str | None, name: PatchName | None, problems: list[Problem]
) -> PatchJson | None:
    """What the label file of the Sentinel-2 patch says, or that of the Sentinel-1 patch where only that is there."""
    owner, folder = patch_id, layout.s2.get(patch_id)
    if folder is None and patch_id_s1 is not None:
        owner, folder = patch_id_s1, layout.s1.get(patch_id_s1)
    if folder is None:
        return None
    try:
        return read_patch_json(folder, owner, is_v2=name is not None and name.tile is not None)
    except DataError as error:
        problems.append(Problem.from_error(error, patch_id))
        return None


def _add_names(index: pd.DataFrame, names: Sequence[PatchName | None], s1_names: Sequence[PatchName | None]) -> None:
    pairs = list(zip(index["patch_id"], names, s1_names, strict=True))
    index["scene"] = texts(None if name is None else name.scene for _, name, _ in pairs)
    index[SCENE_KIND] = texts(None if name is None else GIVEN for _, name, _ in pairs)
    tiles = (
        next((known.tile for known in (name, name_s1) if known and known.tile), None) for _, name, name_s1 in pairs
    )
    index["tile"] = texts(tiles)
    index["column"] = [-1 if name is None else name.column for name in names]
    index["row"] = [-1 if name is None else name.row for name in names]


def _add_place(
    index: pd.DataFrame,
    meta: pd.DataFrame,
    described: Sequence[PatchJson | None],
    layout: Layout,
    problems: list[Problem],
) -> None:
    """Corner and coordinate system by the label files; longitude and latitude by the meta table, else by the corner."""
    boxes = np.array([[np.nan] * 4 if content is None else content.box for content in described]).reshape(-1, 4)
    crs = texts(None if content is None else content.crs for content in described)
    centres = np.full((len(index), 2), np.nan)
    for system in crs.dropna().unique():
        rows = np.flatnonzero((crs == system) & ~np.isnan(boxes).any(axis=1))
        left, top, right, bottom = boxes[rows].T
        transformer = Transformer.from_crs(system, "EPSG:4326", always_xy=True)
        centres[rows] = np.stack(transformer.transform((left + right) / 2, (top + bottom) / 2), axis=-1)
    given = np.full((len(index), 2), np.nan)
    if {"lon", "lat"} <= set(meta.columns):
        given = to_numbers(meta[["lon", "lat"]], layout.tables["meta"], problems).to_numpy()
    for row in np.flatnonzero((np.abs(given - centres) > _PLACE_TOLERANCE_DEGREES).any(axis=1)):
        stated, found = (", ".join(f"{degrees:.3f}" for degrees in pair) for pair in (given[row], centres[row]))
        what = f"lon and lat {stated} are not those of its corner, {found}"
        where = str(layout.tables["meta"])
        problems.append(Problem("warning", what, where, str(index["patch_id"].iat[int(row)]), "correct lon and lat"))
    index["lon"], index["lat"] = np.where(np.isnan(given).any(axis=1, keepdims=True), centres, given).T
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
    """ISO 8601 to the second, in UTC if the text names a zone, None if it is no time."""
    try:
        time = datetime.fromisoformat((text or "").strip().removesuffix(" UTC"))
    except ValueError:
        return None
    in_utc = time if time.tzinfo is None else time.astimezone(UTC)
    return in_utc.replace(tzinfo=None).isoformat(timespec="seconds")


def _splits(layout: Layout, reben: pd.DataFrame | None, patch_ids: list[str], problems: list[Problem]) -> pd.Series:
    if layout.splits or reben is None or "split" not in reben.columns:
        return split_column(layout.splits, patch_ids, problems)
    by_id = dict(zip(reben.index, texts(reben["split"]), strict=True))
    names = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
    return texts(names.get(str(by_id.get(patch_id)).lower()) for patch_id in patch_ids)


def _add_presence(index: pd.DataFrame, layout: Layout, wanted: Collection[str], problems: list[Problem]) -> None:
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
    if layout.s2 and SENTINEL2.name in wanted:
        for patch_id in index.loc[~bare & ~index["has_s2"], "patch_id"]:
            problems.append(
                Problem("error", "its Sentinel-2 folder is missing", where, patch_id, "fetch it, or remove its row")
            )
    if layout.s1 and SENTINEL1.name in wanted:
        check_pairs(index, layout, where, problems)


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


def _add_weather(index: pd.DataFrame, layout: Layout, wanted: Collection[str], problems: list[Problem]) -> None:
    if WEATHER.name not in wanted:
        return
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

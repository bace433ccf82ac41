"""Builds the index of a ben-ge or BigEarthNet folder: a row a patch, and what is wrong with the tables.

Nothing here opens a raster; the columns are those of `eofuse.data.store`.
"""

from collections.abc import Collection
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
from pyproj import Transformer

from eofuse.data.problems import Problem, Problems
from eofuse.data.scenes import GIVEN, SCENE_KIND
from eofuse.data.sources.ben_ge.clc import CLC19
from eofuse.data.sources.ben_ge.identifiers import PatchName, parse_patch_id, parse_patch_id_s1, season_of
from eofuse.data.sources.ben_ge.layout import Layout
from eofuse.data.sources.ben_ge.patch_json import PatchJson, check_labels, read_patch_json
from eofuse.data.sources.ben_ge.tables import (
    check_pairs,
    read_ids,
    read_meta,
    read_reben,
    read_table,
    split_column,
    texts,
    to_numbers,
)
from eofuse.errors import DataError
from eofuse.modalities import CLIMATE_ZONE, SEASON, SENTINEL1, SENTINEL2, WEATHER, WORLDCOVER

_PLACE_TOLERANCE_DEGREES = 0.05
_SEASON_TOLERANCE = 1e-4
_LATE_DECEMBER_TOLERANCE = 0.16
"""From 22 December the formula dips below 0; whether the published values do is not known."""


def build_index(layout: Layout, wanted: Collection[str], problems: Problems) -> pd.DataFrame:
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
    return _Indexing(layout, wanted, problems).index


class _Indexing:
    """The index as it grows, with the tables that it comes from."""

    def __init__(self, layout: Layout, wanted: Collection[str], problems: Problems) -> None:
        self.layout, self.wanted, self.problems = layout, wanted, problems
        self.listing = layout.tables.get("meta", layout.root)
        self.reben = read_reben(layout, problems)
        self.meta = read_meta(layout, self.reben, problems)
        self.patch_ids = [str(patch_id) for patch_id in self.meta.index]
        self.names = [parse_patch_id(patch_id) for patch_id in self.patch_ids]
        self._note_unknown_names()
        s1_ids = texts(self._column("patch_id_s1"))
        self.index = pd.DataFrame({"patch_id": texts(self.patch_ids), "patch_id_s1": s1_ids})
        self.s1_names = [None if patch_id_s1 is None else parse_patch_id_s1(patch_id_s1) for patch_id_s1 in s1_ids]
        self.described = list(map(self._described, self.patch_ids, s1_ids, self.names))
        self._add_names()
        self._add_place()
        self._add_times()
        self.index["split"] = self._splits()
        self._add_presence()
        self._add_season()
        self._add_weather()
        self._add_climate_zone()
        self._add_fractions()
        self._add_labels()
        self._add_flags()

    def _column(self, name: str) -> pd.Series:
        """A column of the meta table, None where it has none."""
        none = pd.Series([None] * len(self.meta), index=self.meta.index, dtype=object)
        return self.meta[name] if name in self.meta.columns else none

    def _meta_numbers(self, names: list[str]) -> np.ndarray:
        """Columns of the meta table as numbers, NaN where it lacks them."""
        if not {*names} <= set(self.meta.columns):
            return np.full((len(self.meta), len(names)), np.nan)
        return to_numbers(self.meta[names], self.layout.tables["meta"], self.problems).to_numpy()

    def _warn_of_row(self, row: int, what: str, fix: str) -> None:
        self.problems.warn(what, self.listing, self.patch_ids[row], fix)

    def _note_unknown_names(self) -> None:
        unknown = [patch_id for patch_id, name in zip(self.patch_ids, self.names, strict=True) if name is None]
        if unknown:
            what = f"{len(unknown)} ids are not of BigEarthNet's form (such as '{unknown[0]}')"
            self.problems.warn(f"{what}: their scenes are not known", self.listing)

    def _described(self, patch_id: str, patch_id_s1: str | None, name: PatchName | None) -> PatchJson | None:
        """What the label file of the Sentinel-2 patch says, or that of the Sentinel-1 patch where only that is there."""
        owner, folder = patch_id, self.layout.s2.get(patch_id)
        if folder is None and patch_id_s1 is not None:
            owner, folder = patch_id_s1, self.layout.s1.get(patch_id_s1)
        if folder is None:
            return None
        try:
            return read_patch_json(folder, owner, is_v2=name is not None and name.tile is not None)
        except DataError as error:
            self.problems.append(Problem.from_error(error, patch_id))
            return None

    def _add_names(self) -> None:
        pairs = list(zip(self.names, self.s1_names, strict=True))
        self.index["scene"] = texts(None if name is None else name.scene for name in self.names)
        self.index[SCENE_KIND] = texts(None if name is None else GIVEN for name in self.names)
        self.index["tile"] = texts(next((each.tile for each in pair if each and each.tile), None) for pair in pairs)
        self.index["column"] = [-1 if name is None else name.column for name in self.names]
        self.index["row"] = [-1 if name is None else name.row for name in self.names]

    def _add_place(self) -> None:
        """Corner and coordinate system by the label files; longitude and latitude by the meta table, else by the corner."""
        boxes = np.array([[np.nan] * 4 if content is None else content.box for content in self.described])
        boxes = boxes.reshape(-1, 4)
        crs = texts(None if content is None else content.crs for content in self.described)
        centres = np.full((len(self.index), 2), np.nan)
        for system in crs.dropna().unique():
            rows = np.flatnonzero((crs == system) & ~np.isnan(boxes).any(axis=1))
            left, top, right, bottom = boxes[rows].T
            transformer = Transformer.from_crs(system, "EPSG:4326", always_xy=True)
            centres[rows] = np.stack(transformer.transform((left + right) / 2, (top + bottom) / 2), axis=-1)
        given = self._meta_numbers(["lon", "lat"])
        for row in np.flatnonzero((np.abs(given - centres) > _PLACE_TOLERANCE_DEGREES).any(axis=1)):
            stated, found = (", ".join(f"{degrees:.3f}" for degrees in pair) for pair in (given[row], centres[row]))
            what = f"lon and lat {stated} are not those of its corner, {found}"
            self._warn_of_row(int(row), what, "correct lon and lat")
        lonlat = np.where(np.isnan(given).any(axis=1, keepdims=True), centres, given)
        self.index["lon"], self.index["lat"] = lonlat.T
        self.index["crs"] = crs
        self.index["ulx"], self.index["uly"] = boxes[:, 0], boxes[:, 1]

    def _add_times(self) -> None:
        """Sensing times by the meta table, else by the ids."""
        for sensor, by_id in (("s2", self.names), ("s1", self.s1_names)):
            key = f"timestamp_{sensor}"
            times: list[str | None] = []
            for row, (given, name) in enumerate(zip(texts(self._column(key)), by_id, strict=True)):
                stated, derived = _iso(given), None if name is None else name.time
                if given is not None and stated is None and derived is None:
                    self._warn_of_row(row, f"'{given}' in column '{key}' is no time", "write YYYY-MM-DD HH:MM:SS")
                if stated is not None and derived is not None and stated[:10] != derived[:10]:
                    what = f"{key} {stated[:10]} is not the date in the id, {derived[:10]}"
                    self._warn_of_row(row, what, "correct the one that is wrong")
                times.append(stated or derived)
            self.index[f"time_{sensor}"] = texts(times)

    def _splits(self) -> pd.Series:
        if self.layout.splits or self.reben is None or "split" not in self.reben.columns:
            return split_column(self.layout.splits, self.patch_ids, self.problems)
        by_id = dict(zip(self.reben.index, texts(self.reben["split"]), strict=True))
        names = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
        return texts(names.get(str(by_id.get(patch_id)).lower()) for patch_id in self.patch_ids)

    def _add_presence(self) -> None:
        """Which rasters each patch has, and the patches that should have some and do not."""
        index, layout, fix = self.index, self.layout, "fetch it, or remove its row"
        index["has_s2"] = index["patch_id"].isin(layout.s2.keys())
        index["has_s1"] = index["patch_id_s1"].isin(layout.s1.keys())
        index["has_elevation"] = index["patch_id"].isin(layout.elevation.keys())
        index["has_worldcover"] = index["patch_id"].isin(layout.worldcover.keys())
        bare = ~index[["has_s2", "has_s1", "has_elevation", "has_worldcover"]].any(axis=1)
        for patch_id in index.loc[bare, "patch_id"]:
            self.problems.error("listed, but no raster of it is there", self.listing, patch_id, fix)
        if layout.s2 and SENTINEL2.name in self.wanted:
            for patch_id in index.loc[~bare & ~index["has_s2"], "patch_id"]:
                self.problems.error("its Sentinel-2 folder is missing", self.listing, patch_id, fix)
        if layout.s1 and SENTINEL1.name in self.wanted:
            check_pairs(index, layout, self.listing, self.problems)

    def _add_season(self) -> None:
        """Seasons by the meta table, else by the dates."""
        for sensor in ("s2", "s1"):
            column = f"season_{sensor}"
            days = [None if time is None else date.fromisoformat(time[:10]) for time in self.index[f"time_{sensor}"]]
            expected = np.array([np.nan if day is None else round(season_of(day), 5) for day in days])
            given = self._meta_numbers([column])[:, 0]
            late = np.array([day is not None and day.month == 12 and day.day >= 22 for day in days])
            tolerance = np.where(late, _LATE_DECEMBER_TOLERANCE, _SEASON_TOLERANCE)
            for row in np.flatnonzero(np.abs(given - expected) > tolerance):
                what = f"{column} {given[row]:.5f} does not fit the date {days[row]}, which gives {expected[row]:.5f}"
                self._warn_of_row(int(row), what, "correct the one that is wrong")
            self.index[f"season.{column}"] = np.where(np.isnan(given), expected, given)
        seasons = [f"season.{name}" for name in SEASON.channel_names]
        self.index["has_season"] = self.index[seasons].notna().all(axis=1)

    def _add_weather(self) -> None:
        if WEATHER.name in self.wanted:
            values = self._joined("weather", WEATHER.channel_names)
            for column in WEATHER.channel_names:
                self.index[f"weather.{column}"] = values[column].to_numpy(dtype=float)
            self.index["has_weather"] = values.notna().all(axis=1).to_numpy()

    def _add_climate_zone(self) -> None:
        """Climate codes by the meta table, else by the table of climate zones."""
        where, given = self.listing, self._meta_numbers(["climatezone"])[:, 0]
        if "climate_zone" in self.layout.tables:
            listed = self._joined("climate_zone", ("climatezone",))["climatezone"].to_numpy()
            where = self.layout.tables["climate_zone"] if np.isnan(given).all() else where
            given = np.where(np.isnan(given), listed, given)
        codes = [category.code for category in CLIMATE_ZONE.categories]
        known = np.isin(given, codes)
        for row in np.flatnonzero(~known & ~np.isnan(given)):
            what = f"climate code {given[row]:g} is none of {', '.join(map(str, codes))}"
            self.problems.error(what, where, self.patch_ids[int(row)], "correct the code")
        self.index["climate_zone.climatezone"] = np.where(known, given, -1).astype(np.int16)
        self.index["has_climate_zone"] = known

    def _add_fractions(self) -> None:
        if "worldcover" not in self.layout.tables:
            return
        columns = tuple(category.name for category in WORLDCOVER.categories)
        values = self._joined("worldcover", columns)
        outside = ((values < -1e-6) | (values > 1 + 1e-6)).any(axis=1).to_numpy()
        for patch_id in self.index.loc[outside, "patch_id"]:
            where = self.layout.tables["worldcover"]
            self.problems.error("a fraction is not between 0 and 1", where, patch_id, "correct the fractions")
        for column in columns:
            self.index[f"worldcover_fraction.{column}"] = values[column].to_numpy(dtype=float)

    def _joined(self, purpose: str, columns: tuple[str, ...]) -> pd.DataFrame:
        """Numeric columns of a table in the order of the index, NaN where it has no row."""
        if purpose not in self.layout.tables:
            return pd.DataFrame(np.nan, index=range(len(self.index)), columns=list(columns))
        path = self.layout.tables[purpose]
        table = read_table(path, columns, (), self.problems)
        strangers = len(set(table.index) - set(self.patch_ids))
        if strangers:
            what = f"{strangers} rows are of patches that are not in the dataset"
            self.problems.warn(what, path, fix="remove them, if they do not belong here")
        numbers = to_numbers(table, path, self.problems)
        return numbers.reindex(index=self.patch_ids, columns=list(columns)).reset_index(drop=True)

    def _add_labels(self) -> None:
        listed, labels_19 = {}, []
        if self.reben is not None and "labels" in self.reben.columns:
            listed = dict(zip(self.reben.index, self.reben["labels"], strict=True))
        for patch_id, content in zip(self.patch_ids, self.described, strict=True):
            names = None if content is None else content.labels_19
            if names is None and listed.get(patch_id) is not None:
                where = self.layout.tables.get("reben", self.layout.tables.get("reben_unclear"))
                try:
                    names = check_labels(list(listed[patch_id]), CLC19, where)
                except DataError as error:
                    self.problems.append(Problem.from_error(error, patch_id))
            labels_19.append(names)
        labels_43 = [None if content is None else content.labels_43 for content in self.described]
        self.index["labels_43"] = pd.Series(labels_43, dtype=object)
        self.index["labels_19"] = pd.Series(labels_19, dtype=object)

    def _add_flags(self) -> None:
        """Cloud or shadow, and seasonal snow, where a list or reBEN's metadata say."""
        reben, v1_names = self.reben, {}
        if reben is not None and "s2v1_name" in reben.columns:
            v1_names = dict(zip(map(str, reben.index), texts(reben["s2v1_name"]), strict=True))
        for flag in ("cloud_or_shadow", "seasonal_snow"):
            column = f"contains_{flag}"
            if flag in self.layout.tables:
                listed = set(read_ids(self.layout.tables[flag]))
                self.index[flag] = [i in listed or v1_names.get(i) in listed for i in self.patch_ids]
            elif reben is not None and column in reben.columns:
                flags = zip(map(str, reben.index), reben[column], strict=True)
                flagged = {patch_id for patch_id, value in flags if value is True or value == 1}
                self.index[flag] = [patch_id in flagged for patch_id in self.patch_ids]


def _iso(text: str | None) -> str | None:
    """ISO 8601 to the second, in UTC if the text names a zone, None if it is no time."""
    try:
        time = datetime.fromisoformat((text or "").strip().removesuffix(" UTC"))
    except ValueError:
        return None
    in_utc = time if time.tzinfo is None else time.astimezone(UTC)
    return in_utc.replace(tzinfo=None).isoformat(timespec="seconds")

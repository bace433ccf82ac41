"""What the columns of a table say about its samples: place, time, split, labels.

Each function gives columns of the index; what is wrong in a single row is added to the problems, naming it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from eofuse.data.problems import Problems
from eofuse.data.reading.tables import GEOMETRY_PLACE, require_columns, to_numbers
from eofuse.data.reading.tables import to_times as iso_times
from eofuse.data.scenes import GIVEN, PLACE, SCENE_KIND
from eofuse.data.sources.table.spec import SPLIT_WORDS, ParseSpec, SplitSpec, TableSpec
from eofuse.data.splits import BLOCK_KM, PARTS, spatial_blocks
from eofuse.errors import DataError, did_you_mean
from eofuse.words import counted, listed

GRID_KEYS = ("column", "row")
NO_VALUES = (-999, -9999, -99999, -32768)
"""Numbers that often stand for "no value"."""


@dataclass
class Rows:
    """The rows of a table, while they are indexed.

    Attributes:
        table: as it was read.
        path: of the table.
        ids: name of each row.
        problems: what is wrong with single rows, and warnings.
        suspects: number that may stand for "no value" → columns that hold it.
    """

    table: pd.DataFrame
    path: Path
    ids: list[str]
    problems: Problems = field(default_factory=Problems)
    suspects: dict[int, list[str]] = field(default_factory=dict)

    def where(self, row: int) -> str:
        """A row, for messages."""
        return f"{self.path.name}, row {row + 1}"

    def wrong(self, row: int, what: str, fix: str, file: str = "") -> None:
        """Notes an error in a row, or in a file of it."""
        self.problems.error(what, f"{self.where(row)}, {file}" if file else self.where(row), self.ids[row], fix)

    def bad_ids(self) -> set[str | None]:
        """Names of the rows in which something is wrong."""
        return {problem.patch_id for problem in self.problems if problem.severity == "error"}

    def first_error(self) -> DataError | None:
        """The first error in a row, if there is one."""
        found = next((problem for problem in self.problems if problem.severity == "error"), None)
        return None if found is None else DataError(found.what, where=found.where, fix=found.fix)

    def sound(self, which: npt.NDArray[np.bool_]) -> list[int]:
        """Those of some rows in which nothing is known to be wrong."""
        bad = self.bad_ids()
        return [row for row in np.flatnonzero(which).tolist() if self.ids[row] not in bad]

    def warn(self, what: str, fix: str) -> None:
        """Notes a warning about the table."""
        self.problems.warn(what, self.path.name, fix=fix)

    def require(self, names: Sequence[str], key: str) -> None:
        """Raises DataError unless the table has these columns."""
        require_columns(self.table, names, key, self.path)

    def words(self, name: str, values: Mapping[str, float], key: str) -> npt.NDArray[np.float64]:
        """A column of words as the numbers that they stand for, NaN where a cell is empty; another word is an error."""
        cells = self.table[name].reset_index(drop=True).astype("string").str.strip()
        numbers = np.asarray(cells.map(dict(values)).to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)
        for row in np.flatnonzero(np.isnan(numbers) & cells.notna().to_numpy(dtype=bool)).tolist():
            fix = f"{did_you_mean(str(cells.iloc[row]), values)} Else add it to {key}"
            self.wrong(row, f"column '{name}' holds {cells.iloc[row]!r}, which stands for no number", fix)
        return numbers

    def numbers(self, name: str, nodata: float | None = None) -> npt.NDArray[np.float64]:
        """A column as numbers, NaN where there is none; what is no number is an error."""
        values, wrong = to_numbers(self.table[name])
        for row in wrong.tolist():
            what = f"column '{name}' holds {self.table[name].iloc[row]!r}, which is no number"
            commas = re.fullmatch(r"\s*[+-]?[0-9]+,[0-9]+\s*", str(self.table[name].iloc[row]))
            self.wrong(row, what, "set `decimal: ','` in the spec" if commas else "correct the cell")
        if nodata is not None:
            values[values == nodata] = np.nan
        else:
            self.suspect(name, values)
        return values

    def times(self, name: str) -> pd.Series:
        """A column as times, NaT where there is none; what is no date is an error."""
        cells = self.table[name].reset_index(drop=True)
        times = to_times(cells)
        for row in np.flatnonzero(times.isna() & cells.notna()).tolist():
            self.wrong(row, f"column '{name}' holds {cells.iloc[row]!r}, which is no date", "write it as 2024-06-30")
        return times

    def suspect(self, name: str, values: npt.NDArray[np.float64]) -> None:
        """Notes a column with a number that often stands for "no value" and lies far below all others."""
        for number in NO_VALUES:
            same = values == number
            if same.any() and not (values[~same] < number / 2).any():
                self.suspects.setdefault(number, []).append(name)

    def warn_of_suspects(self) -> None:
        """Warns of numbers that may stand for "no value"."""
        for number, names in self.suspects.items():
            told = listed((f"'{name}'" for name in names), most=3)
            fix = f"if it means that there is no value, set `nodata: {number}` for the modality, or empty the cells"
            self.warn(f"{number} counts as a number in {told}", fix)


def parse_columns(table: pd.DataFrame, parse: Sequence[ParseSpec], path: Path) -> pd.DataFrame:
    """The table with the columns that are cut out of others.

    Raises:
        DataError: naming the row, if a cell is not like the pattern, or a column of that name is there already.
    """
    for number, each in enumerate(parse):
        require_columns(table, [each.column], f"parse.{number}.column", path)
        taken = next((group for group in each.groups if group in table.columns), None)
        if taken is not None:
            fix = "give the group another name"
            raise DataError(f"the table has a column '{taken}' already", where=f"parse.{number}.pattern", fix=fix)
        cells = table[each.column].astype("string")
        expression = re.compile(each.pattern)
        rows = [expression.fullmatch(cell) if isinstance(cell, str) else None for cell in cells]
        wrong = next((row for row, match in enumerate(rows) if match is None), None)
        if wrong is not None:
            what = f"column '{each.column}' holds {cells.iloc[wrong]!r}, which is not like {each.pattern}"
            raise DataError(what, where=f"{path}, row {wrong + 1}", fix=f"correct the cell, or parse.{number}.pattern")
        for group in each.groups:
            table[group] = [match[group] for match in rows if match is not None]
    return table


def row_ids(spec: TableSpec, table: pd.DataFrame, path: Path) -> list[str]:
    """Name of each row: its id, else its number.

    Raises:
        DataError: naming the rows, if two have the same or one has none.
    """
    if spec.id is None:
        return [f"row_{number}" for number in range(1, len(table) + 1)]
    require_columns(table, [spec.id], "id", path)
    ids = table[spec.id].astype("string").str.strip()
    missing = np.flatnonzero(ids.isna() | (ids == ""))
    if len(missing):
        raise DataError(f"no id in column '{spec.id}'", where=f"{path}, row {missing[0] + 1}", fix="give it one")
    doubled = np.flatnonzero(ids.duplicated())
    if len(doubled):
        second = int(doubled[0])
        first = int(np.flatnonzero(ids == ids.iloc[second])[0])
        found = f"the id '{ids.iloc[second]}' (column '{spec.id}') is also that of row {first + 1}"
        raise DataError(found, where=f"{path}, row {second + 1}", fix="keep one of the rows, or choose another id")
    return [str(name) for name in ids]


def facts(spec: TableSpec, rows: Rows) -> pd.DataFrame:
    """The columns of the index that say what a row is: id, scene, place, time, split."""
    for key in ("scene", "tile", "column", "row", "block", "time", "lon", "lat"):
        name = spec.column_of(key)
        rows.require([name] if name else [], key)
    longitudes, latitudes = _places(spec, rows)
    index = pd.DataFrame(
        {
            "patch_id": pd.Series(rows.ids, dtype=object),
            "patch_id_s1": None,
            "scene": texts(spec.column_of("scene"), rows),
            "tile": texts(spec.column_of("tile"), rows),
            **{key: _whole_numbers(spec.column_of(key), rows) for key in GRID_KEYS},
            "lon": longitudes,
            "lat": latitudes,
            "crs": None,
            "ulx": np.nan,
            "uly": np.nan,
            "time_s2": None,
            "time_s1": None,
            "split": _split(spec, rows),
        }
    )
    if (column := spec.column_of("time")) is not None:
        times = rows.times(column)
        index["time"] = times.dt.strftime("%Y-%m-%dT%H:%M:%S").astype(object).where(times.notna(), None)
    if spec.column_of("block") is not None:
        index["block"] = texts(spec.column_of("block"), rows)
    return index


def fill_scenes(spec: TableSpec, index: pd.DataFrame, rows: Rows) -> str:
    """Lets spatial blocks stand in for the scenes of rows that have none, and says in a few words where scenes come from.

    Rows without a place either keep an unknown scene. The column `scene_kind` of the index says which is which.
    """
    lacking = index["scene"].isna()
    column = spec.column_of("scene")
    index[SCENE_KIND] = pd.Series([GIVEN] * len(index), dtype=object).where(~lacking, None)
    if not lacking.any():
        return f"column '{column}'"
    blocks = spatial_blocks(index, BLOCK_KM)
    placed = lacking & blocks.notna()
    index["scene"] = index["scene"].where(~placed, blocks).astype(object).where(~lacking | placed, None)
    index[SCENE_KIND] = index[SCENE_KIND].where(~placed, PLACE)
    unknown = int((lacking & ~placed).sum())
    words = f"spatial blocks of {BLOCK_KM:g} km, which stand in for scenes" if placed.any() else "not known"
    if unknown and placed.any():
        words += f", and not known of {counted(unknown, 'row')} without a place"
    if column is not None and not lacking.all():
        words = f"column '{column}'; in {counted(int(lacking.sum()), 'row')} without one: {words}"
    fix = "name the column with what samples share (acquisition, site, field) as `scene`"
    rows.warn(f"scenes, which splits keep together, are {words}", fix)
    return words


def other_columns(spec: TableSpec, rows: Rows, used: set[str], taken: set[str]) -> pd.DataFrame:
    """The columns that are neither facts nor in a modality, with labels checked.

    Args:
        spec: the spec.
        rows: of the table.
        used: columns that the index holds under another name.
        taken: names of the index.
    """
    rows.require(list(spec.labels), "labels")
    kept = {}
    for name in map(str, rows.table.columns):
        if name in spec.labels:
            if name in taken:
                fix = "rename it in the table"
                raise DataError(f"the label '{name}' has the name of a column of the index", where=rows.path, fix=fix)
            kept[name] = _label(spec, name, rows)
        elif name in taken:
            if name not in used:
                rows.warn(
                    f"column '{name}' is left out: the index has a column of that name", "rename it if it is needed"
                )
        elif name not in used:
            kept[name] = rows.table[name].reset_index(drop=True)
    return pd.DataFrame(kept, index=range(len(rows.ids)))


def _label(spec: TableSpec, name: str, rows: Rows) -> pd.Series:
    label = spec.label(name)
    cells = rows.table[name].reset_index(drop=True)
    is_list = cells.map(lambda cell: np.ndim(cell) == 1)
    if label.kind == "number":
        key = f"labels.{name}.values"
        return pd.Series(rows.words(name, label.values, key) if label.values else rows.numbers(name))
    if label.kind == "class" and is_list.any():
        raise DataError(f"column '{name}' holds lists", where=rows.path, fix=f"set labels.{name}: list")
    if label.kind == "class" or is_list.any():
        if pd.api.types.is_numeric_dtype(cells):
            rows.suspect(name, to_numbers(cells)[0])
        if pd.api.types.is_float_dtype(cells) and (cells.dropna() % 1 == 0).all() and (cells.abs().max() < 2**53):
            return cells.astype("Int64")  # an empty cell makes 1 to 1.0, which would be the name of the class
        return cells.map(lambda cell: cell.strip() or None if isinstance(cell, str) else cell)
    if label.separator is None:
        fix = f"set labels.{name}: {{kind: list, separator: ';'}} with what stands between the classes"
        raise DataError(f"column '{name}' holds text, no lists", where=rows.path, fix=fix)
    separator = label.separator
    lists = [None if pd.isna(cell) else _words(str(cell), separator) for cell in cells]
    return pd.Series(lists, dtype=object)


def _words(text: str, separator: str) -> list[str]:
    """The classes of a cell, also of one written like a list in Python: "['a', 'b']"."""
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        return [word for part in text[1:-1].split(separator) if (word := part.strip().strip("'\""))]
    return [word for part in text.split(separator) if (word := part.strip())]


def _places(spec: TableSpec, rows: Rows) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Longitude and latitude in degrees, NaN where unknown."""
    x_name, y_name = spec.column_of("lon"), spec.column_of("lat")
    if x_name is None or y_name is None:
        if set(GEOMETRY_PLACE) <= set(rows.table.columns):
            longitudes, latitudes = (rows.table[name].to_numpy(dtype=float) for name in GEOMETRY_PLACE)
            return longitudes, latitudes
        return np.full(len(rows.ids), np.nan), np.full(len(rows.ids), np.nan)
    places = np.stack([rows.numbers(x_name), rows.numbers(y_name)])
    by_row = spec.crs in rows.table.columns
    names = rows.table[spec.crs].astype("string").fillna("") if by_row else pd.Series([spec.crs] * len(rows.ids))
    for name, members in names.groupby(names.to_numpy()).indices.items():
        places[:, members] = _to_degrees(
            places[:, members], str(name), rows.where(int(members[0])) if by_row else "crs"
        )
    outside = np.flatnonzero((np.abs(places[0]) > 180) | (np.abs(places[1]) > 90))
    if len(outside):
        row = int(outside[0])
        found = f"longitude {places[0, row]:g} and latitude {places[1, row]:g} are no place on Earth"
        fix = f"set `crs` to the reference system of '{x_name}' and '{y_name}'"
        raise DataError(found, where=rows.where(row), fix=fix)
    return places[0], places[1]


def _to_degrees(places: npt.NDArray[np.float64], name: str, where: str) -> npt.NDArray[np.float64]:
    try:
        crs = CRS.from_user_input(name)
    except CRSError:
        what = f"'{name}' is no coordinate reference system"
        raise DataError(what, where=where, fix="write EPSG:4326, say") from None
    if crs == CRS.from_epsg(4326):
        return places
    return np.stack(Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(*places))


def texts(name: str | None, rows: Rows) -> pd.Series:
    """A column as text, None where there is nothing, or no column."""
    if name is None:
        return pd.Series([None] * len(rows.ids), dtype=object)
    cells = rows.table[name].reset_index(drop=True)
    return cells.astype("string").astype(object).where(cells.notna(), None)


def _whole_numbers(name: str | None, rows: Rows) -> npt.NDArray[np.int64]:
    if name is None:
        return np.full(len(rows.ids), -1)
    numbers = np.nan_to_num(rows.numbers(name), nan=-1)
    for row in np.flatnonzero(numbers % 1).tolist():
        rows.wrong(row, f"column '{name}' holds {numbers[row]:g}, which is no whole number", "correct the cell")
    return numbers.astype(np.int64)


def to_times(cells: pd.Series) -> pd.Series:
    """Cells with dates as times, NaT where there is none: ISO, or day, month and year with dots (24.06.2024)."""
    is_read = pd.api.types.is_datetime64_any_dtype(cells)
    times = pd.to_datetime(cells, utc=True) if is_read else iso_times(_as_iso(cells.astype("string")))
    plain: pd.Series = times.dt.tz_localize(None)
    return plain


def _as_iso(texts: pd.Series) -> pd.Series:
    """Dates with dots as ISO; other texts as they are."""
    found = texts.str.extract(r"^\s*(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})\s*$")
    iso = found["year"] + "-" + found["month"].str.zfill(2) + "-" + found["day"].str.zfill(2)
    return iso.fillna(texts)


def _split(spec: TableSpec, rows: Rows) -> pd.Series:
    column = spec.column_of("split")
    if column is None:
        return pd.Series([None] * len(rows.ids), dtype=object)
    rows.require([column], "split")
    own = spec.split.values if isinstance(spec.split, SplitSpec) else {}
    part_of_word: dict[str, str | None] = {word: part for part, words in SPLIT_WORDS.items() for word in words}
    part_of_word |= {word.strip().lower(): part for word, part in own.items()}
    words = rows.table[column].reset_index(drop=True).astype("string").str.strip().str.lower()
    unknown = words.notna() & ~words.isin(list(part_of_word))
    if unknown.any():
        row = int(np.flatnonzero(unknown)[0])
        fix = f"say what it means: split: {{column: {column}, values: {{{words.iloc[row]}: train}}}} ({', '.join(PARTS)} or null)"
        near = did_you_mean(str(words.iloc[row]), part_of_word)
        fix = f"{near} Else {fix}" if near.startswith("did you mean") else fix
        what = f"column '{column}' holds '{words.iloc[row]}', which is no part"
        raise DataError(what, where=rows.where(row), fix=fix)
    parts = words.map(part_of_word)
    return parts.astype(object).where(parts.notna(), None)

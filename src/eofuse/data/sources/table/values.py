"""Modalities whose values stand in the columns of a table: vectors, categories and series."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.reading.tables import matching_columns, numeric, to_numbers
from eofuse.data.sources.table.columns import Rows, to_times
from eofuse.data.sources.table.spec import MOST_WORDS, ModalitySpec
from eofuse.data.specs.layers import list_categories
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.modalities import (
    KNOWN_MODALITIES,
    Category,
    Channel,
    Kind,
    Modality,
    class_colour,
    code_places,
    find_modality,
)


@dataclass(frozen=True)
class Values:
    """A modality from columns.

    Attributes:
        modality: as the store holds it.
        present: which rows have it.
        columns: of the table that it uses up.
        index: columns of the index that hold it; none for a series.
        series: (rows, steps, 1 + channels) float32 of a series (see `eofuse.modalities`), else None.
    """

    modality: Modality
    present: npt.NDArray[np.bool_]
    columns: tuple[str, ...]
    index: pd.DataFrame
    series: npt.NDArray[np.float32] | None = None


def read_values(name: str, spec: ModalitySpec, rows: Rows) -> Values:
    """The values of a vector, category or series in every row.

    Raises:
        DataError: if a column is missing; what is wrong in single rows is added to the problems.
        UsageError: if the spec contradicts itself.
    """
    if spec.kind == "vector":
        return _vector(name, spec, rows)
    if spec.kind == "category":
        return _category(name, spec, rows)
    return _series(name, spec, rows)


def describe_numbers(
    name: str,
    spec: ModalitySpec,
    channels: Sequence[str],
    dtype: str = "float32",
    steps: int | None = None,
    dated: bool = False,
) -> Modality:
    """A modality with numbers, from what the spec says and, where it says nothing, from the modality that it is like.

    Args:
        name: its name.
        spec: what the spec says.
        channels: names of its channels.
        dtype: of a raster that is like none.
        steps: of a series, or dates of an image series.
        dated: whether they have dates.

    Raises:
        UsageError: if a unit is given to a channel that is not there, or there is no modality to be like.
    """
    where = f"modalities.{name}"
    like = None if spec.like is None else find_modality(spec.like, KNOWN_MODALITIES)
    if like is not None and like.is_categorical and not spec.has_pixels:
        raise UsageError(f"'{spec.like}' has categories, no numbers", where=f"{where}.like", fix="leave it out")
    unit_of = spec.unit if isinstance(spec.unit, dict) else dict.fromkeys(channels, spec.unit)
    for channel in unit_of:
        if channel not in channels:
            fix = did_you_mean(channel, channels)
            raise UsageError(f"there is no channel '{channel}'", where=f"{where}.unit", fix=fix)
    known = {each: channel for channel in (like.channels if like else ()) for each in (channel.name, *channel.aliases)}
    units = {channel.unit for channel in known.values()}
    common = units.pop() if len(units) == 1 else ""
    found = []
    for channel in channels:
        about = known.get(channel, Channel(channel, unit=common))
        found.append(replace(about, name=channel, unit=unit_of.get(channel) or about.unit))
    kind = Kind(str(spec.kind))
    base = like or Modality(name, Kind.RASTER, (), dtype=dtype)
    return Modality(
        name,
        kind,
        tuple(found),
        title=spec.title or name,  # a product like another one need not be of its level
        dtype=spec.dtype or base.dtype if spec.has_pixels else "float32",
        scale=base.scale if spec.scale is None else spec.scale,
        offset=base.offset if spec.offset is None else spec.offset,
        valid_range=base.valid_range,
        nodata=(base.nodata if spec.nodata is None else spec.nodata) if spec.has_pixels else None,
        steps=steps,
        dated=dated,
        embedding=spec.embedding or base.embedding,
        attribution=spec.attribution or base.attribution,
    )


def _vector(name: str, spec: ModalitySpec, rows: Rows) -> Values:
    key = f"modalities.{name}.columns"
    if isinstance(spec.columns, str) and any(mark in spec.columns for mark in ("*", "{")):
        found = matching_columns(rows.table, spec.columns, key, rows.path)
        columns, channels = list(found), [parts.get("channel", column) for column, parts in found.items()]
    else:
        columns = [spec.columns] if isinstance(spec.columns, str) else list(spec.columns or ())
        channels = columns
    if isinstance(spec.columns, dict):
        raise UsageError("columns of a vector are names or a pattern", where=key)
    rows.require(columns, key)
    for position, channel in enumerate(channels):
        if channel in channels[:position]:
            other, column = columns[channels.index(channel)], columns[position]
            what = f"columns '{other}' and '{column}' are both channel '{channel}' ({key})"
            raise DataError(what, where=rows.path, fix="rename one of them, or list the columns")
    lists = _lists(rows, columns[0]) if len(columns) == 1 else None
    if lists is None:
        values = np.stack([_numbers(name, spec, column, rows) for column in columns], axis=1)
        of_channel = columns
    else:
        values = lists
        if spec.nodata is not None:
            values[values == spec.nodata] = np.nan
        channels = [f"{columns[0]}_{number:03d}" for number in range(values.shape[1])]
        of_channel = columns * len(channels)
    missing = np.asarray(np.isnan(values))
    if not spec.optional:
        for row in rows.sound(np.asarray(missing.any(axis=1))):
            lacking = "is empty" if lists is None or missing[row].all() else "lacks a number"
            _absent(rows, row, name, f"column '{of_channel[int(missing[row].argmax())]}' {lacking}")
    present = np.asarray(~missing.any(axis=1))
    index = pd.DataFrame(dict(zip((f"{name}.{channel}" for channel in channels), values.T, strict=True)))
    return Values(describe_numbers(name, spec, channels), present, tuple(columns), index)


def _lists(rows: Rows, column: str) -> npt.NDArray[np.float64] | None:
    """A column whose cells are lists of numbers, as tables of embeddings have them: (rows, numbers), NaN where there is none.

    None if no cell is a list.
    """
    sequences = (list, tuple, np.ndarray)
    cells = [
        np.asarray(cell, dtype=object).tolist() if isinstance(cell, sequences) else cell for cell in rows.table[column]
    ]
    widths = Counter(len(cell) for cell in cells if isinstance(cell, list) and cell)
    if not widths:
        return None
    width = widths.most_common(1)[0][0]
    values = np.full((len(cells), width), np.nan)
    for row, cell in enumerate(cells):
        if not isinstance(cell, list):
            if pd.notna(cell):
                rows.wrong(row, f"column '{column}' holds {cell!r}, which is no list of numbers", "correct the cell")
        elif cell and len(cell) != width:
            what = f"column '{column}' holds a list of {len(cell)}, most have {width} numbers"
            rows.wrong(row, what, "correct the cell")
        elif cell:
            numbers, wrong = to_numbers(pd.Series(cell, dtype=object))
            if len(wrong):
                what = f"column '{column}' holds {cell[wrong[0]]!r} in its list, which is no number"
                rows.wrong(row, what, "correct the cell")
            values[row] = numbers
    return values


def _absent(rows: Rows, row: int, name: str, what: str) -> None:
    fix = f"fill the cell, or set modalities.{name}.optional: true, so that the row lacks the modality"
    rows.wrong(row, what, fix)


def _category(name: str, spec: ModalitySpec, rows: Rows) -> Values:
    column = str(spec.column)
    rows.require([column], f"modalities.{name}.column")
    cells = rows.table[column].reset_index(drop=True)
    if spec.nodata is not None:
        cells = cells.where(numeric(cells) != spec.nodata)
    words = cells.astype("string").str.strip()
    categories = list_categories(name, spec) or _categories_of(name, words)
    code_of = {category.name: category.code for category in categories}
    if isinstance(spec.categories, dict):
        code_of.update({text: c.code for c in categories for text in (str(c.code), f"{c.code}.0")})
    codes = words.map(code_of)
    for row in np.flatnonzero(codes.isna() & words.notna()).tolist():
        what = f"column '{column}' holds '{words.iloc[row]}', which is not in the list of categories"
        rows.wrong(row, what, f"{did_you_mean(words.iloc[row], code_of)} Else add it to modalities.{name}.categories")
    if not spec.optional:
        for row in np.flatnonzero(words.isna()).tolist():
            _absent(rows, row, name, f"column '{column}' is empty")
    modality = Modality(
        name,
        Kind.CATEGORY,
        (Channel(column, unit="class"),),
        title=spec.title or name,
        dtype="uint8" if code_places(categories) == 256 else "uint16",
        categories=categories,
        attribution=spec.attribution,
    )
    filled = codes.fillna(-1).to_numpy(dtype=np.int16)
    return Values(modality, filled >= 0, (column,), pd.DataFrame({f"{name}.{column}": filled}))


def _categories_of(name: str, words: pd.Series) -> tuple[Category, ...]:
    """A category for each word of a column."""
    found = sorted(words.dropna().unique())
    if len(found) > MOST_WORDS:
        what = f"has {len(found)} different values; without a list, a category has at most {MOST_WORDS}"
        raise UsageError(what, where=f"modalities.{name}.column", fix="make it a vector, or list the categories")
    return tuple(Category(code, str(word), class_colour(code)) for code, word in enumerate(found))


def _series(name: str, spec: ModalitySpec, rows: Rows) -> Values:
    key = f"modalities.{name}.columns"
    columns, steps = _series_columns(name, spec, rows)
    for channel, by_step in columns.items():
        rows.require(by_step, f"{key}.{channel}" if isinstance(spec.columns, dict) else key)
    if spec.categories is not None:
        values, channels = _shares(name, spec, columns, len(steps), rows)
    else:
        values, channels = np.full((len(rows.ids), len(steps), 1 + len(columns)), np.nan), list(columns)
    for position, by_step in enumerate(columns.values() if spec.categories is None else (), start=1):
        for step, column in enumerate(by_step):
            values[:, step, position] = _numbers(name, spec, column, rows)
    used = [column for by_step in columns.values() for column in by_step]
    dated = spec.dates is not None or spec.date_columns is not None
    if spec.date_columns is not None:
        date_columns = _date_columns(name, spec.date_columns, steps, rows)
        used += date_columns
        values[:, :, 0] = np.stack([_days(rows.times(column)) for column in date_columns], axis=1)
    elif spec.dates is not None:
        values[:, :, 0] = listed_dates(name, spec.dates, len(steps))
    else:
        values[:, :, 0] = np.arange(len(steps))
        if len(set(np.diff(steps))) > 1:
            told = ", ".join(map(str, steps))
            what = f"the steps {told} of '{name}' count as 0 to {len(steps) - 1}: that they lie unevenly is lost"
            rows.warn(what, f"give modalities.{name}.dates")
    values = check_steps(name, values, rows)
    present = np.asarray(~np.isnan(values[:, :, 1:]).all(axis=(1, 2)))
    if not spec.optional:
        for row in rows.sound(~present):
            _absent(rows, row, name, f"no step of '{name}' has a value")
    values[~present] = np.nan
    modality = describe_numbers(name, spec, channels, steps=len(steps), dated=dated)
    return Values(modality, present, tuple(used), pd.DataFrame(index=range(len(rows.ids))), values.astype(np.float32))


def _numbers(name: str, spec: ModalitySpec, column: str, rows: Rows) -> npt.NDArray[np.float64]:
    """Numbers of a column, or those that its words stand for."""
    if spec.values is None:
        return rows.numbers(column, spec.nodata)
    return rows.words(column, spec.values, f"modalities.{name}.values")


def _shares(
    name: str, spec: ModalitySpec, columns: Mapping[str, Sequence[str]], steps: int, rows: Rows
) -> tuple[npt.NDArray[np.float64], list[str]]:
    """Categories by step as a channel a category, 1 in that of the step's and 0 in the others, NaN where a cell is empty."""
    if len(columns) != 1:
        what = f"a series of categories has one column a step, not {len(columns)}"
        raise UsageError(what, where=f"modalities.{name}.columns", fix="make a series of each")
    categories = list_categories(name, spec)
    place = {category.name: number for number, category in enumerate(categories)}
    if isinstance(spec.categories, dict):
        place |= {text: place[each.name] for each in categories for text in (str(each.code), f"{each.code}.0")}
    values = np.full((len(rows.ids), steps, 1 + len(categories)), np.nan)
    for step, column in enumerate(next(iter(columns.values()))):
        found = rows.words(column, place, f"modalities.{name}.categories")
        known = ~np.isnan(found)
        values[known, step, 1:] = np.eye(len(categories))[found[known].astype(np.int64)]
    return values, [category.name for category in categories]


def _series_columns(name: str, spec: ModalitySpec, rows: Rows) -> tuple[dict[str, list[str]], list[int]]:
    """The columns of each channel by step, and the numbers of the steps."""
    if isinstance(spec.columns, dict):
        listed = {channel: list(columns) for channel, columns in spec.columns.items()}
        return listed, list(range(len(next(iter(listed.values())))))
    key = f"modalities.{name}.columns"
    found = matching_columns(rows.table, str(spec.columns), key, rows.path)
    column_at: dict[tuple[str, int], str] = {}
    for column, parts in found.items():
        place = parts.get("channel", name), int(parts["step"])
        if place in column_at:
            what = f"columns '{column_at[place]}' and '{column}' are the same step of channel '{place[0]}'"
            raise DataError(what, where=rows.path, fix="rename one of them, or list the columns")
        column_at[place] = column
    channels, steps = list(dict.fromkeys(c for c, _ in column_at)), sorted({step for _, step in column_at})
    for channel in channels:
        for step in steps:
            if (channel, step) not in column_at:
                fix = "list the channels and columns, or make two series of them"
                raise DataError(f"channel '{channel}' has no step {step} ({key})", where=rows.path, fix=fix)
    return {channel: [column_at[channel, step] for step in steps] for channel in channels}, steps


def _date_columns(name: str, given: str | tuple[str, ...], steps: Sequence[int], rows: Rows) -> list[str]:
    key = f"modalities.{name}.date_columns"
    columns = [given.replace("{step}", str(step)) for step in steps] if isinstance(given, str) else list(given)
    if len(columns) != len(steps):
        raise UsageError(f"{len(columns)} date columns for {len(steps)} steps", where=key, fix="give one a step")
    rows.require(columns, key)
    return columns


def _days(times: Any) -> npt.NDArray[np.float64]:
    """Days since 1970, NaN where there is no date."""
    days = (times - pd.Timestamp(1970, 1, 1)) / pd.Timedelta(days=1)
    return np.asarray(days.to_numpy(dtype=np.float64, na_value=np.nan))


def listed_dates(name: str, dates: Sequence[str], steps: int) -> npt.NDArray[np.float64]:
    """Days of the dates that a spec lists.

    Raises:
        UsageError: if one is no date, they don't rise, or there are more or fewer than steps.
    """
    where = f"modalities.{name}.dates"
    times = to_times(pd.Series(list(dates)))
    if times.isna().any():
        wrong = dates[int(np.flatnonzero(times.isna())[0])]
        raise UsageError(f"'{wrong}' is no date", where=where, fix="write it as 2024-06-30")
    if len(dates) != steps:
        raise UsageError(f"{len(dates)} dates for {steps} steps", where=where, fix="give one a step")
    days = _days(times)
    if (np.diff(days) <= 0).any():
        raise UsageError("the dates do not rise", where=where, fix="order them, and the columns with them")
    return days


def check_steps(name: str, values: npt.NDArray[np.float64], rows: Rows) -> npt.NDArray[np.float64]:
    """Series with steps without a time at the end; times that do not rise are errors, as are values without a time."""
    timeless = np.isnan(values[:, :, 0])
    valued = ~np.isnan(values[:, :, 1:]).all(axis=2)
    for row, step in zip(*np.nonzero(timeless & valued), strict=True):
        rows.wrong(int(row), f"step {step + 1} of '{name}' has values and no date", "give it one, or empty its cells")
    if timeless.any():
        order = np.argsort(timeless, axis=1, kind="stable")
        values = np.take_along_axis(values, order[:, :, None], axis=1)
        values[np.isnan(values[:, :, 0])] = np.nan
    for row in np.flatnonzero((np.diff(values[:, :, 0], axis=1) <= 0).any(axis=1)).tolist():
        step = int(np.flatnonzero(np.diff(values[row, :, 0]) <= 0)[0])
        earlier, later = values[row, [step, step + 1], 0].astype("datetime64[D]")
        what = f"the dates of '{name}' do not rise: {later} comes after {earlier}"
        rows.wrong(row, what, "order the steps of the row by date")
    return values

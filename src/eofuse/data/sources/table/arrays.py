"""Modalities without pixels whose values stand in files of arrays: vectors, and series with the dates that the file tells."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.reading.array_files import Variable, choose_variables
from eofuse.data.reading.arrays import open_arrays
from eofuse.data.reading.axes import CHANNEL, ROW, TIME, number_axes
from eofuse.data.reading.matching import check_scaling
from eofuse.data.reading.rasters import BandHeader, Part
from eofuse.data.sources.table.columns import Rows
from eofuse.data.sources.table.rasters import find_paths, parts_of
from eofuse.data.sources.table.spec import ModalitySpec, TableSpec
from eofuse.data.sources.table.values import Values, check_steps, describe_numbers, listed_dates
from eofuse.errors import DataError, UsageError
from eofuse.limits import TABLE

FLOAT = np.float64


@dataclass(frozen=True)
class _Numbers:
    """What a file holds: (samples, steps, channels) and the days of the steps, NaN where there is nothing; one sample without rows."""

    values: npt.NDArray[np.float64]
    days: npt.NDArray[np.float64] | None
    names: tuple[str, ...]
    headers: tuple[BandHeader, ...]


def read_array_values(name: str, spec: TableSpec, rows: Rows, root: Path) -> Values:
    """The values of a vector or series in every row, from files of arrays.

    Raises:
        DataError: if a file can't be read or its arrays are not of such a modality; files that are missing are among the problems.
        UsageError: if the spec contradicts itself.
    """
    modality = spec.modalities[name]
    where = f"modalities.{name}.files"
    parts = parts_of(name, spec, rows)
    found: dict[str, _Numbers] = {}
    by_row: list[npt.NDArray[np.float64] | None] = []
    days: list[npt.NDArray[np.float64] | None] = []
    located, bad = find_paths(name, spec, root, rows, parts), rows.bad_ids()
    for row, (paths, part) in enumerate(zip(located, parts, strict=True)):
        if paths is None or rows.ids[row] in bad:
            by_row.append(None)
            days.append(None)
            continue
        path = paths[0][1][0]
        place = f"{rows.where(row)} ({rows.ids[row]}), {name}, {path}"
        if path not in found:
            if part.row is None:
                found.clear()
            found[path] = _read(path, modality, part, place)
            first = found[path]
        numbers = found[path]
        if modality.rows is True and len(numbers.values) != len(rows.ids):
            what = f"has {len(numbers.values)} samples, and {rows.path.name} {len(rows.ids)} rows"
            raise DataError(what, where=f"{name}, {path}", fix="give `rows` the column with the position of each row")
        at = part.row or 0
        if at >= len(numbers.values):
            what = f"has {len(numbers.values)} samples, so none with the number {at} (from 0)"
            raise DataError(what, where=place, fix="correct `rows`, or the table")
        by_row.append(numbers.values[at])
        days.append(numbers.days)
    if all(each is None for each in by_row):
        raise rows.first_error() or DataError("no row has a file", where=where, fix="correct the path, or `root`")
    channels = _channels(name, modality, first, by_row, rows)
    values, dated = _joined(name, modality, by_row, days, len(channels))
    missing = np.isnan(values[:, :, 1:])
    if modality.kind == "series":
        values = check_steps(name, values, rows)
        present = np.asarray(~missing.all(axis=(1, 2)))
        values[~present] = np.nan
        described = describe_numbers(name, modality, channels, steps=values.shape[1], dated=dated)
        return Values(described, present, (), pd.DataFrame(index=range(len(rows.ids))), values.astype(np.float32))
    present = np.asarray(~missing[:, 0].any(axis=1))
    if not modality.optional:
        for row in rows.sound(~present):
            rows.wrong(row, f"'{name}' lacks a number", f"correct the file, or set modalities.{name}.optional: true")
    index = pd.DataFrame(dict(zip((f"{name}.{channel}" for channel in channels), values[:, 0, 1:].T, strict=True)))
    return Values(describe_numbers(name, modality, channels), present, (), index)


def _read(path: str, spec: ModalitySpec, part: Part, where: str) -> _Numbers:
    file = open_arrays(path, where)
    stepped, by_row = spec.kind == "series", part.row is not None
    pieces: list[npt.NDArray[np.float64]] = []
    names: list[str] = []
    headers: list[BandHeader] = []
    days: npt.NDArray[np.float64] | None = None
    for variable in choose_variables(file, part.variables, 1, where):
        place = f"{where}, {variable.name}" if variable.name else where
        axes = number_axes(variable.shape, variable.axes, by_row=by_row, stepped=stepped, given=part.axes, where=place)
        TABLE.check(int(np.prod(variable.shape)) * FLOAT().itemsize, "unpacks to", place)
        values = file.read(variable.name, (slice(None),) * len(axes)).astype(FLOAT)
        nodata = variable.nodata if spec.nodata is None else spec.nodata
        values[~np.isfinite(values) | (values == (np.nan if nodata is None else nodata))] = np.nan
        kept = tuple(axis for axis in axes if axis in (ROW, TIME, CHANNEL))
        values = values.reshape([size for size, axis in zip(values.shape, axes, strict=True) if axis in kept])
        for axis in (CHANNEL, TIME, ROW):
            if axis not in kept:
                values, kept = values[None], (axis, *kept)
        values = values.transpose([kept.index(axis) for axis in (ROW, TIME, CHANNEL)])
        if stepped and days is None:
            times = file.coordinates(variable, axes.index(TIME))
            if times is not None and times.dtype.kind == "M":
                days = times.astype("datetime64[s]").astype(FLOAT) / 86_400
        if pieces and values.shape[:2] != pieces[0].shape[:2]:
            what = f"its arrays differ in size: {values.shape[:2]} and {pieces[0].shape[:2]}"
            raise DataError(what, where=place, fix="make a modality of each")
        pieces.append(values)
        names += _names(variable, values.shape[2], len(part.variables))
        headers += [BandHeader(1, variable.name, nodata, variable.scale, variable.offset)]
    return _Numbers(np.concatenate(pieces, axis=2), days, tuple(names), tuple(headers))


def _names(variable: Variable, count: int, variables: int) -> list[str]:
    if count == 1:
        return [variable.name]
    return [f"{variable.name}_{number:03d}" if variables > 1 else "" for number in range(count)]


def _channels(
    name: str, spec: ModalitySpec, first: _Numbers, by_row: Sequence[npt.NDArray[np.float64] | None], rows: Rows
) -> list[str]:
    """Names of the channels: of the spec, of the arrays, or numbers; each row must have as many."""
    count = first.values.shape[2]
    channels = list(spec.bands or first.names)
    if spec.bands is None and (not all(channels) or len(set(channels)) < len(channels)):
        channels = [f"{name}_{number:03d}" for number in range(count)]
    if len(channels) != count:
        what = f"{len(channels)} names for {count} channels"
        raise UsageError(what, where=f"modalities.{name}.bands", fix="give one a channel")
    for row, values in enumerate(by_row):
        if values is not None and values.shape[1] != count:
            fix = "correct the file, or take the row out"
            what = f"'{name}' has {values.shape[1]} channels where that of other rows has {count}"
            raise DataError(what, where=f"{rows.where(row)} ({rows.ids[row]})", fix=fix)
    modality = describe_numbers(name, spec, channels, steps=1)
    for header in first.headers:
        check_scaling(header, modality, None, f"modalities.{name}")
    return channels


def _joined(
    name: str,
    spec: ModalitySpec,
    by_row: Sequence[npt.NDArray[np.float64] | None],
    days: Sequence[npt.NDArray[np.float64] | None],
    channels: int,
) -> tuple[npt.NDArray[np.float64], bool]:
    """(rows, steps, 1 + channels) with the time of each step, and whether that is a day."""
    steps = max(len(values) for values in by_row if values is not None)
    joined = np.full((len(by_row), steps, 1 + channels), np.nan)
    told = listed_dates(name, spec.dates, steps) if spec.dates is not None else None
    dated = told is not None or any(each is not None for each in days)
    for row, values in enumerate(by_row):
        if values is None:
            continue
        times = told if told is not None else days[row] if days[row] is not None else np.arange(len(values))
        assert times is not None
        joined[row, : len(values), 0] = times[: len(values)]
        joined[row, : len(values), 1:] = values
    return joined, dated

"""Raster files of the rows of a table: which they are, what their modality is, and their pixels on the grid of the reference.

`RowRasters` finds the files of every row, `RowRasters.resolve` looks at those of one and `RowRasters.read` gives their pixels.
Files on another grid are resampled (`eofuse.data.reading.resampling`). Files without a reference system are taken as they lie if they
have as many pixels as the reference.
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from affine import Affine

from eofuse.data.reading.addresses import virtual_path
from eofuse.data.reading.arrays import days_in, samples_in
from eofuse.data.reading.formats import inspect_file, is_there
from eofuse.data.reading.grid import Grid
from eofuse.data.reading.matching import band_names, finest, place_files
from eofuse.data.reading.pixels import read_on
from eofuse.data.reading.rasters import Part, PlacedRaster, RasterFile
from eofuse.data.reading.resampling import Method, Values
from eofuse.data.reading.stacks import bands_of_date, days_of, read_dates
from eofuse.data.sources.table.columns import Rows, texts
from eofuse.data.sources.table.spec import ModalitySpec, TableSpec, pattern_fields
from eofuse.data.sources.table.values import describe_numbers
from eofuse.data.specs.dates import MARK, dates_of, days_since_1970
from eofuse.data.specs.layers import STORED_TYPE, LayerSpec, describe_layer
from eofuse.errors import DataError, UsageError
from eofuse.limits import RASTER
from eofuse.modalities import KNOWN_MODALITIES, Kind, Modality, find_modality

Raster = npt.NDArray[np.generic]
Paths = tuple[str, ...]
File = TypeVar("File", RasterFile, PlacedRaster)


@dataclass(frozen=True)
class Resolved:
    """The rasters of a row: their grid, and the files of each modality that it has."""

    grid: Grid
    files: dict[str, tuple[PlacedRaster, ...]]

    def resampled(self) -> dict[str, Method]:
        """Modalities that are brought to another grid, and how."""
        return {
            name: raster.method for name, files in self.files.items() for raster in files if raster.method is not None
        }

    def has_pixels_unlike(self, reference: Grid) -> bool:
        """Whether the pixels of the row are of another size than those of a grid with the same unit, by more than a hundredth."""
        if not self.grid.crs or not reference.crs or self.grid.crs.is_geographic != reference.crs.is_geographic:
            return False
        return not math.isclose(self.grid.pixel_size[0], reference.pixel_size[0], rel_tol=0.01)


class RowRasters:
    """The raster files of a table.

    Attributes:
        modalities: by name, as stored.
        paths: by modality, the files of each row, of an image series those of one date after another; None where the row lacks it.
        parts: by modality, what is wanted of the files of each row.
        times: by image series, days of the dates of each row.
        size: (height, width) of every patch.
        reference: the grid of the first patch.
    """

    def __init__(self, spec: TableSpec, root: Path, rows: Rows) -> None:
        self._spec = spec
        self._scenes = texts(spec.column_of("scene"), rows).tolist()
        for name in spec.raster_names:
            spec.modalities[name].require_scenes(name, {scene for scene in self._scenes if scene is not None})
        self._where = [f"{rows.where(row)} ({name})" for row, name in enumerate(rows.ids)]
        self.times: dict[str, list[list[float]]] = {}
        self.parts = {name: parts_of(name, spec, rows) for name in spec.raster_names}
        self.paths = {name: self._find(name, root, rows) for name in spec.raster_names}
        self.modalities: dict[str, Modality] = {}
        first: dict[str, RasterFile] = {}
        for name in spec.raster_names:
            found = self._first_files(name)
            dates = max(map(len, self.times[name])) if name in self.times else None
            self.modalities[name] = describe_raster(name, spec.modalities[name], found, dates)
            first[name] = finest(found)
        self.reference = first[str(spec.reference_name)].grid
        side = spec.size
        self.size = (side, side) if side else (self.reference.height, self.reference.width)
        most = max(len(modality.channels) for modality in self.modalities.values())
        RASTER.check(self.size[0] * self.size[1] * most * 8, "has patches that take", rows.path)

    def _find(self, name: str, root: Path, rows: Rows) -> list[Paths | None]:
        found = find_paths(name, self._spec, root, rows, self.parts[name])
        if self._spec.modalities[name].kind == "image_series":
            self.times[name] = [[] if each is None else [day for day, _ in each] for each in found]
        paths = [None if each is None else tuple(path for _, paths in each for path in paths) for each in found]
        if self._spec.modalities[name].rows is True:
            require_samples(name, next(filter(None, paths), ()), self.parts[name][0], rows)
        return paths

    def _first_files(self, name: str) -> list[RasterFile]:
        """What the files of the first row that has a modality say of themselves, of an image series those of its first date."""
        first_error: DataError | None = None
        for row, found in enumerate(self.paths[name]):
            if found is None:
                continue
            try:
                return list(self._dates(name, row, self._inspect(name, row, found))[0])
            except DataError as error:
                first_error = first_error or error
        fix = "correct the path, or take the modality out of the spec"
        raise first_error or DataError("no row has a file", where=f"modalities.{name}.files", fix=fix)

    def _inspect(self, name: str, row: int, paths: Paths) -> list[RasterFile]:
        """What the files of a row say of themselves; a stack once for each of its dates, with the bands of that date."""
        where = f"{self._where[row]}, {name}"
        part = self.parts[name][row]
        files = {path: inspect_file(path, f"{where}, {path}", part) for path in dict.fromkeys(paths)}
        if not self._spec.modalities[name].is_stack:
            return [files[path] for path in paths]
        count = len(paths)
        return [bands_of_date(files[path], date, count, f"{where}, {path}") for date, path in enumerate(paths)]

    def _dates(self, name: str, row: int, files: Sequence[File]) -> list[Sequence[File]]:
        """The files of each date of a row; of a raster all of them."""
        count = len(self.times[name][row]) if name in self.times else 1
        each = len(files) // count
        return [files[date * each : (date + 1) * each] for date in range(count)]

    def describe(self) -> str:
        """Everything that decides, besides the files, how they are placed."""
        rasters = {name: self._spec.modalities[name].model_dump(mode="json") for name in self.paths}
        modalities = [modality.to_dict() for modality in self.modalities.values()]
        return json.dumps([rasters, modalities, self._spec.reference_name, self.size], sort_keys=True)

    def resolve(self, row: int) -> Resolved:
        """Looks at the files of a row and places them on its grid; call it within `reading_environment()`.

        Raises:
            DataError: naming row and file, if one is missing or not what it should be.
        """
        files: dict[str, list[RasterFile]] = {}
        for name, paths in self.paths.items():
            row_paths = paths[row]
            if row_paths is not None:
                files[name] = self._inspect(name, row, row_paths)
        if not files:
            return Resolved(self.reference, {})
        base = self._base(row, files)
        height, width = self.size
        left, top = _offset((base.grid.width, base.grid.height), (width, height))
        grid = base.grid.window(-left, -top, width, height)
        placed = {
            name: tuple(
                raster for date in self._dates(name, row, found) for raster in self._place(row, name, date, base, grid)
            )
            for name, found in files.items()
        }
        return Resolved(grid, placed)

    def read(self, row: int) -> dict[str, Raster]:
        """Pixels of a row, (channels, height, width) as stored, by modality; of an image series (dates, channels, height, width).

        Raises:
            DataError: naming row and file, if one is missing, damaged or not what it should be.
        """
        resolved = self.resolve(row)
        rasters = {}
        for name, files in resolved.files.items():
            dates = [self._stored(date, resolved.grid, name, row) for date in self._dates(name, row, files)]
            rasters[name] = np.stack(dates) if name in self.times else dates[0]
        return rasters

    def _stored(self, files: Sequence[PlacedRaster], grid: Grid, name: str, row: int) -> Raster:
        """Pixels of the files of a raster, or of a date, (channels, height, width) as stored."""
        where = f"{self._where[row]}, {name}, {files[0].file.path}"
        values = np.concatenate([self._read(file, grid, name, row) for file in files])
        warped = any(file.place is None for file in files)
        return self._spec.modalities[name].stored(values, self.modalities[name], self._scenes[row], warped, where)

    def _base(self, row: int, files: dict[str, list[RasterFile]]) -> RasterFile:
        """The file whose grid the row has: of the reference, else of another modality, with pixels like the reference's."""
        reference = str(self._spec.reference_name)
        if reference in files:
            return finest(files[reference])
        file = finest(next(iter(files.values())))
        grid, pixel = file.grid, self.reference.pixel_size[0]
        width, height = grid.pixel_size
        if not grid.crs or width == pixel:
            return file
        if grid.crs.is_geographic != self.reference.crs.is_geographic:
            what = f"lacks the reference '{reference}', and the pixels of others can't be compared with its pixels"
            raise DataError(what, where=self._where[row], fix="name another reference")
        a, b, left, d, e, top = grid.transform[:6]
        turned = Affine(a / width * pixel, b / height * pixel, left, d / width * pixel, e / height * pixel, top)
        size = round(grid.width * width / pixel), round(grid.height * height / pixel)
        return replace(file, grid=Grid(grid.crs, turned, *size))

    def _place(
        self, row: int, name: str, files: Sequence[RasterFile], base: RasterFile, grid: Grid
    ) -> tuple[PlacedRaster, ...]:
        where, spec = f"{self._where[row]}, {name}", self._spec.modalities[name]
        return place_files(
            files,
            self.modalities[name],
            grid,
            nodata=spec.nodata,
            added=spec.added(self._scenes[row]) or None,
            resampling=spec.resampling,
            where=where,
            place_of=lambda file: _place_on(file, base, grid, f"{where}, {file.path}"),
        )

    def _read(self, raster: PlacedRaster, grid: Grid, name: str, row: int) -> Values:
        """(bands, height, width) of the grid in float64, NaN where there is nothing."""
        where = f"{self._where[row]}, {name}, {raster.file.path}"
        values = read_on(raster, grid, where)
        if values is None:
            fix = "name the file that covers the patch, or correct its georeference"
            raise DataError("lies beside the patch", where=where, fix=fix)
        return values


def _place_on(file: RasterFile, base: RasterFile, grid: Grid, where: str) -> tuple[int, int] | None:
    """Column and row of the patch at which a file begins, None if it has to be warped."""
    if file.grid.crs and base.grid.crs:
        return file.grid.place_on(grid)
    size, expected = (file.grid.width, file.grid.height), (base.grid.width, base.grid.height)
    if size != expected:
        without = file if not file.grid.crs else base
        what = (
            f"has no coordinate reference system, and {size[0]} × {size[1]} pixels can't be brought to "
            f"{expected[0]} × {expected[1]} without one"
        )
        other = where if without is file else f"{where}; {without.path}"
        raise DataError(what, where=other, fix="georeference the file, or cut it to the size of the others")
    return _offset(size, (grid.width, grid.height))


def _offset(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int]:
    """Column and row, within the middle of another size, at which a size begins."""
    return -((size[0] - wanted[0]) // 2), -((size[1] - wanted[1]) // 2)


def describe_raster(name: str, spec: ModalitySpec, files: Sequence[RasterFile], dates: int | None = None) -> Modality:
    """The modality as stored, from the spec and its first files; `dates` is the most that a row has of an image series.

    Raises:
        UsageError: if the spec contradicts itself or the files.
    """
    where = f"modalities.{name}"
    rasters = (modality for modality in KNOWN_MODALITIES if modality.kind is Kind.RASTER)
    named = next((modality for modality in rasters if modality.name in (spec.like, name)), None)
    if spec.like is not None:
        named = find_modality(spec.like, KNOWN_MODALITIES)
        if named.kind is not Kind.RASTER:
            raise UsageError(f"'{spec.like}' has no pixels", where=f"{where}.like", fix="name a raster, such as s2")
    if named and named.is_categorical and dates is not None:
        fix = "give the modality another name, or leave `like` out"
        raise UsageError(f"'{named.name}' has classes, and a series of images numbers", where=where, fix=fix)
    if spec.categories or (named and named.is_categorical):
        of_classes = {key: getattr(spec, key) for key in ("title", "attribution", "nodata", "resampling", "categories")}
        layer = LayerSpec(files="classes", kind="category", **of_classes)
        known_name = named.name if named and named.is_categorical else f"_{name}"
        return replace(
            describe_layer(known_name, layer, spec.bands or ("map",), files[0].dtype, files[0].nodata), name=name
        )
    if spec.dtype is None and spec.like is None and files[0].dtype not in STORED_TYPE:
        fix = f"choose a dtype: {', '.join(sorted(set(STORED_TYPE.values())))}"
        raise UsageError(f"the files hold {files[0].dtype}, which can't be stored", where=where, fix=fix)
    channels = spec.bands
    if channels is None:
        fits = named and len(files[0].names) == len(named.channels) and not all(files[0].names)
        channels = named.channel_names if named and fits else band_names(files[0])
    dtype = STORED_TYPE.get(files[0].dtype, "float32")
    modality = describe_numbers(name, spec, channels, dtype, dates, dated=dates is not None)
    if modality.nodata is None and files[0].nodata is not None and np.isfinite(files[0].nodata):
        modality = replace(modality, nodata=files[0].nodata)
    return modality


def parts_of(name: str, spec: TableSpec, rows: Rows) -> list[Part]:
    """What is wanted of the files of each row."""
    modality = spec.modalities[name]
    if not modality.rows:
        return [modality.part()] * len(rows.ids)
    if modality.rows is True:
        return [modality.part(row) for row in range(len(rows.ids))]
    rows.require([str(modality.rows)], f"modalities.{name}.rows")
    numbers = rows.numbers(str(modality.rows))
    for row in np.flatnonzero(np.isnan(numbers) | (numbers < 0) | (numbers % 1 != 0)).tolist():
        rows.wrong(row, f"column '{modality.rows}' holds no position from 0 on", "correct the cell")
    return [modality.part(int(number)) for number in np.nan_to_num(numbers).tolist()]


def require_samples(name: str, paths: Paths, part: Part, rows: Rows) -> None:
    """Raises a `DataError` if arrays that go with the rows of a table have not as many samples."""
    for path in dict.fromkeys(paths):
        count = samples_in(path, part, f"{name}, {path}")
        if count != len(rows.ids):
            what = f"has {count} samples, and {rows.path.name} {len(rows.ids)} rows"
            fix = f"give modalities.{name}.rows the column with the position of each row in the array, from 0"
            raise DataError(what, where=f"{name}, {path}", fix=fix)


def find_paths(
    name: str, spec: TableSpec, root: Path, rows: Rows, parts: Sequence[Part]
) -> list[list[tuple[float, Paths]] | None]:
    """Days and files of each row, of a raster one day without meaning; rows whose file is missing lack an optional modality."""
    modality = spec.modalities[name]
    key = f"modalities.{name}.files"
    fields = pattern_fields(modality.files or "")
    rows.require(list(modality.placeholders), key)
    bands = modality.bands or (find_modality(modality.like, KNOWN_MODALITIES).channel_names if modality.like else None)
    if "band" in fields and bands is None:
        raise UsageError("the pattern has {band}", where=key, fix="list the bands")
    each_band = bands if bands and "band" in fields else ("",)
    templates = [str(modality.files).replace("{band}", band) for band in each_band]
    cells = [_filled(rows.table[field]) for field in modality.placeholders]
    base = os.path.abspath(root)  # noqa: PTH100 (does not follow links)
    found: list[list[tuple[float, Paths]] | None] = []
    first_missing = ""
    for row in range(len(rows.ids)):
        values = {field: column[row] for field, column in zip(modality.placeholders, cells, strict=True)}
        empty = next((field for field, value in values.items() if value is None), None)
        if empty is not None:
            if not modality.optional:
                fix = f"fill the cell, or set modalities.{name}.optional: true"
                rows.wrong(row, f"column '{empty}' is empty, so '{name}' has no path", fix)
            found.append(None)
            continue
        paths = tuple(_path(base, template, values, spec, rows.where(row)) for template in templates)
        dated, missing = [(0.0, paths)], None
        if modality.kind == "image_series" and not modality.is_stack:
            dated = _dated(base, paths)
            missing = None if dated else paths[0]
        else:
            missing = next((path for path in paths if not is_there(path)), None)
        if modality.is_stack and missing is None:
            listed = modality.date_files and _path(base, modality.date_files, values, spec, rows.where(row))
            days = _days(modality, listed, paths[0], parts[row], f"{rows.where(row)}, {name}")
            dated = [(day, paths) for day in days]
        if missing is not None and not modality.optional:
            fix = f"add the file, correct {key}, or set modalities.{name}.optional: true"
            rows.wrong(row, "file missing", fix, f"{name}, {missing}")
        first_missing = first_missing or missing or ""
        found.append(None if missing is not None else dated)
    if first_missing and not any(found):
        raise DataError(f"no row has a file; there is no {first_missing}", where=key, fix="correct the path, or `root`")
    return found


def _days(modality: ModalitySpec, path: str | None, file: str, part: Part, where: str) -> list[float]:
    """The days of a file with all dates: of its own file of dates, as the spec lists them, or as the file says."""
    if path is None and not modality.dates:
        return days_in(file, part, f"{where}, {file}")
    if path is None:
        return days_of(list(modality.dates or ()), where)
    return days_of(read_dates(Path(path), f"{where}, {path}"), f"{where}, {path}")


def _dated(base: str, patterns: Paths) -> list[tuple[float, Paths]]:
    """Days and files of every date for which all files are there."""
    relative = [os.path.relpath(path, base) for path in patterns]
    dates = dates_of(Path(base), relative)
    return [(days_since_1970(day), tuple(path.replace(MARK, text) for path in patterns)) for day, text in dates.items()]


def _filled(cells: pd.Series) -> npt.NDArray[np.object_]:
    """Cells as text without blanks around it, None where there is nothing."""
    words = cells.astype("string").str.strip().fillna("")
    return words.astype(object).where(words != "", None).to_numpy()


def _path(base: str, template: str, values: dict[str, str], spec: TableSpec, where: str) -> str:
    path = template
    for field, value in values.items():
        path = path.replace(f"{{{field}}}", value)
    address = virtual_path(path)
    if address is not None and not spec.remote:
        fix = "fetch the files, or set remote: true if the spec and the table can be trusted: this machine opens what they name"
        raise DataError(f"the path '{path}' is an address", where=where, fix=fix)
    if address is not None:
        return address
    joined = os.path.normpath(os.path.join(base, path))  # noqa: PTH118 (an absolute path replaces the base)
    if not spec.outside and not joined.startswith(f"{base}{os.sep}"):
        fix = "keep the files in root, or set outside: true if the table can be trusted"
        raise DataError(f"the path '{path}' leads out of {base}", where=where, fix=fix)
    return joined

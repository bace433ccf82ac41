"""Writes samples of any origin into a store: `write_store` takes them one by one, as dictionaries of arrays."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from eofuse.data.reading.grid import Grid, is_mirrored
from eofuse.data.reading.matching import fit_values
from eofuse.data.sources.base import NO_PIXELS, Arrays, Provenance, Samples
from eofuse.data.store import SCHEMA_VERSION, STORE_FILE, Store, open_store
from eofuse.data.store.arrays import Chunk, require_array, require_times
from eofuse.data.store.georeference import centres, set_grids
from eofuse.data.store.index import COLUMNS, OPTIONAL, category_code, complete_index, times_column
from eofuse.data.store.partial import PartialStore
from eofuse.data.store.placing import move_into_place, remove_partial, remove_partial_of
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.limits import RASTER
from eofuse.locks import writes
from eofuse.modalities import KNOWN_MODALITIES, Kind, Modality, find_modality
from eofuse.progress import Progress

AT_ONCE = 16
"""Samples that are written at a time."""

FACTS = ("scene", "tile", "column", "row", "block", "lon", "lat", "time", "split")
"""Keys of a sample that are columns of the index under their own name."""


@writes("to")
def write_store(
    samples: Iterable[Mapping[str, Any]],
    modalities: Sequence[Modality | str],
    to: str | os.PathLike[str],
    *,
    name: str,
    simulated: bool = False,
    labels: Mapping[str, str] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Store:
    """Writes samples into a store.

    A sample is a dictionary with

    - `id`: its name, unique;
    - a value for each modality that it has, by the modality's name: of a raster an array (channels, height, width), of one size in all
      samples, but for what a modality's `cell` makes coarser; of a vector (channels,); of a series (steps, 1 + channels) with the
      time first and no more steps than the modality has; of a category its code or name; of an image series
      (dates, channels, height, width), with the times of the dates under `<modality>.times`: dates (or ISO 8601 text, or days since
      1970) of a `dated` one, else rising numbers, 0, 1, … by default. Numbers are those of the modality's dtype; NaN, and the
      modality's nodata, are missing;
    - optional: `transform` (affine, from the column and row of a pixel to coordinates) with `crs`; `lon` and `lat` in degrees, by
      default those of the middle of the pixels; `scene`, `tile`, `column`, `row`, `block`, `time` (date, or ISO 8601), `split`
      (`train`, `validation` or `test`);
    - anything else: a column of the index, such as a label.

    Samples are taken one after another and written in small portions. The store appears when it is whole; what is raised while samples
    are made leaves nothing behind.

    Args:
        samples: of these dictionaries, such as a generator.
        modalities: of the samples; a name stands for a modality that eofuse knows, such as `s2`.
        to: folder of the store.
        name: name of the dataset.
        simulated: whether its values are simulated.
        labels: columns to be predicted → `class`, `list` or `number`.
        overwrite: replace another store.
        progress: receives how many samples are written; the total is the same number, since it is not known.

    Raises:
        UsageError: if `to` exists, or a modality or label is none; if a map of classes is not of an integer dtype.
        DataError: naming sample and modality, if a value does not fit; or if there is no sample.
    """
    store = Path(to).resolve()
    if store.exists() and not (store / STORE_FILE).is_file():
        raise UsageError("exists and is no store", where=store, fix="choose another name")
    if store.exists() and not overwrite:
        raise UsageError("exists and holds other data", where=store, fix="choose another name or pass overwrite=True")
    for column, kind in (labels or {}).items():
        if kind not in ("class", "list", "number"):
            raise UsageError(f"'{kind}' is no kind of label", where=column, fix="choose class, list or number")
    given = _Given(
        name, [each if isinstance(each, Modality) else find_modality(each, KNOWN_MODALITIES) for each in modalities]
    )
    given.simulated, given.provenance = simulated, Provenance(labels=labels or {})
    folder = store.with_name(f"{store.name}.partial")
    remove_partial_of(folder, given.fingerprint)
    chunks: list[list[int]] = []
    writer = PartialStore.open(folder, given, chunks, given.fingerprint, skip_bad=False, discard=overwrite)
    try:
        iterator = iter(samples)
        while portion := list(islice(iterator, AT_ONCE)):
            chunk = given.add(portion)
            if chunk.rows:
                chunks.append(chunk.rows)
                writer.append(chunk)
            if progress:
                progress(len(given.rows), len(given.rows))
        given.finish(set(labels or {}))
        writer.finish(skip_bad=False)
        move_into_place(folder, store)
    except BaseException:
        remove_partial(folder)
        raise
    return open_store(store, verified=False)


class _Given(Samples):
    """Samples that somebody gives, one after another."""

    def __init__(self, name: str, modalities: Sequence[Modality]) -> None:
        self.name = name
        self.modalities = tuple(modalities)
        known = [SCHEMA_VERSION, "given", name, [modality.to_dict() for modality in modalities]]
        self.fingerprint = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
        self.rows: list[dict[str, Any]] = []
        self._grids: list[Grid | None] = []
        self._waiting: list[Arrays] = []
        names = [modality.name for modality in modalities]
        for each in names:
            if names.count(each) > 1 or each in ("id", "transform", "crs", *COLUMNS, *OPTIONAL):
                fix = "give each modality a name of its own"
                raise UsageError("can't be the name of a modality", where=each, fix=fix)
        for modality in modalities:
            if modality.kind is Kind.RASTER and modality.categories and np.dtype(modality.dtype).kind not in "iu":
                fix = "give it an integer dtype, such as uint8"
                raise UsageError(f"a map of classes can't hold {modality.dtype}", where=modality.name, fix=fix)

    def read(self, row: int) -> Arrays:
        """Nothing: they were written when they came."""
        return {}

    def add(self, samples: Sequence[Mapping[str, Any]]) -> Chunk:
        """The arrays of some samples, none before the size of rasters is known; what else they hold becomes rows of the index."""
        self._waiting += [self._take(sample) for sample in samples]
        if self.patch_size == NO_PIXELS and any(modality.has_pixels for modality in self.modalities):
            return Chunk()
        chunk = Chunk.empty(self.modalities, self.patch_size, len(self._waiting))
        for row, arrays in enumerate(self._waiting, start=len(self.rows) - len(self._waiting)):
            chunk.add(row, arrays)
        self._waiting = []
        return chunk.finish()

    def _take(self, sample: Mapping[str, Any]) -> Arrays:
        number = len(self.rows) + 1
        if not isinstance(sample, Mapping) or not isinstance(sample.get("id"), str) or not sample["id"]:
            fix = "yield dictionaries with the key `id`, a text"
            raise DataError("is no dictionary with an id", where=f"sample {number}", fix=fix)
        where = f"sample {sample['id']}"
        row: dict[str, Any] = {"patch_id": sample["id"]}
        arrays: Arrays = {}
        for modality in self.modalities:
            value = sample.get(modality.name)
            row[f"has_{modality.name}"] = value is not None
            if modality.is_array and value is not None:
                arrays[modality.name] = self._array(modality, value, where)
            if modality.kind is Kind.IMAGE_SERIES:
                times = [] if value is None else _times(modality, sample, len(arrays[modality.name]), where)
                row[times_column(modality.name)] = times
            if modality.is_array:
                continue
            row |= _scalars(modality, value, where)
        self._grids.append(_grid(sample, where))
        known = {"id", "transform", "crs", *(key for modality in self.modalities for key in modality.keys)}
        for key, value in sample.items():
            if key in known:
                continue
            if (key in COLUMNS and key not in FACTS) or key in row:
                fix = f"choose another key; of these the index makes columns: {', '.join(FACTS)}"
                raise DataError(f"has the key '{key}', which is a column of the index", where=where, fix=fix)
            row[key] = _time(value, where) if key == "time" else value
        for key, most in (("lon", 180), ("lat", 90)):
            if isinstance(degrees := row.get(key), Real) and abs(float(degrees)) > most:
                fix = f"give degrees from -{most} to {most}"
                raise DataError(f"{key} {degrees:g} is no place", where=where, fix=fix)
        self.rows.append(row)
        return arrays

    def _array(self, modality: Modality, value: Any, where: str) -> np.ndarray:
        """A raster, series or image series as it is stored."""
        values = np.asarray(value)
        if values.dtype.kind not in "fiub":
            raise DataError(f"holds {values.dtype}, no numbers", where=f"{where}, {modality.name}")
        if modality.kind is Kind.SERIES:
            stored = np.full(modality.shape(NO_PIXELS), np.nan, dtype=np.float32)
            if values.ndim == 2 and len(values) <= len(stored) and values.shape[1] == stored.shape[1]:
                stored[: len(values)] = values
                values = stored
            require_array(modality, values, NO_PIXELS, where)
            return values
        images = modality.kind is Kind.IMAGE_SERIES
        if self.patch_size == NO_PIXELS and values.ndim == (4 if images else 3):
            self.patch_size = (values.shape[-2] * modality.cell, values.shape[-1] * modality.cell)
            RASTER.check(values.size * 8, "has patches that take", where)
        expected = modality.shape(self.patch_size)
        fits = values.shape == expected if not images else values.ndim == 4 and values.shape[1:] == expected[1:]
        if not fits or not values.size or len(values) > expected[0]:
            what = f"has the shape {values.shape} where {expected} is expected"
            fix = "rasters are (channels, height, width), of one size"
            if images:
                fix = f"give 1 to {expected[0]} dates, each (channels, height, width), of one size"
            raise DataError(what, where=f"{where}, {modality.name}", fix=fix)
        numbers = values.astype(np.float64)
        if modality.nodata is not None:
            numbers[values == modality.nodata] = np.nan
        try:
            return fit_values(numbers, modality, warped=False, where=f"{where}, {modality.name}")
        except DataError as error:  # whose advice is for specs
            fix = "give the modality a dtype, nodata and categories that its values fit"
            raise DataError(error.what, where=error.where, fix=fix) from None

    def finish(self, labels: set[str]) -> None:
        """Makes the index of all rows."""
        if not self.rows:
            raise DataError("there is no sample", where=self.name, fix="yield one dictionary a sample")
        index = pd.DataFrame(self.rows)
        for key, default in (("lon", np.nan), ("lat", np.nan), ("column", -1), ("row", -1)):
            if key in index.columns:
                index[key] = index[key].fillna(default)
        for label in labels - set(index.columns):
            fix = did_you_mean(label, map(str, index.columns))
            raise UsageError("no sample has this label", where=label, fix=fix)
        texts = [key for key, column in (COLUMNS | OPTIONAL).items() if column.sort == "text" and key in index.columns]
        index[texts] = index[texts].astype(object).where(index[texts].notna(), None)
        for modality in self.modalities:
            if not index[f"has_{modality.name}"].any():
                fix = "leave it out of the modalities"
                raise DataError("no sample has this modality", where=modality.name, fix=fix)
        self.index = complete_index(index, self.modalities, self.name)
        height, width = self.patch_size
        grids = (replace(grid, width=width, height=height) if grid and height else None for grid in self._grids)
        set_grids(self.index, list(grids))
        for key, column in zip(("lon", "lat"), centres(self.index).T, strict=True):
            self.index[key] = self.index[key].astype(float).fillna(pd.Series(column))


def _grid(sample: Mapping[str, Any], where: str) -> Grid | None:
    """Where the pixels of a sample lie; their number is not known yet."""
    transform, crs = sample.get("transform"), sample.get("crs")
    if transform is None and crs is None:
        return None
    try:
        if transform is None or crs is None:
            raise ValueError("one is given without the other")
        grid = Grid(CRS.from_user_input(crs), Affine(*map(float, tuple(transform)[:6])), 0, 0)
        if not np.isfinite(grid.transform[:6]).all() or not grid.pixel_area:
            raise ValueError("they are no place")
        if is_mirrored(grid.transform):
            raise ValueError("the rows do not go down the map")
    except (CRSError, ValueError, TypeError) as error:
        fix = "give an affine transform (a, b, c, d, e, f) and a reference system such as EPSG:32633"
        raise DataError(f"transform and crs can't be used: {error}", where=where, fix=fix) from None
    return grid


def _scalars(modality: Modality, value: Any, where: str) -> dict[str, Any]:
    """Columns of the index with the numbers of a vector, or the code of a category."""
    columns = [f"{modality.name}.{channel}" for channel in modality.channel_names]
    where = f"{where}, {modality.name}"
    if modality.kind is Kind.CATEGORY:
        try:
            return {columns[0]: np.int16(-1 if value is None else category_code(modality, value))}
        except ValueError as error:
            raise DataError(str(error), where=where, fix="correct it, or add it to the categories") from None
    numbers = np.full(len(columns), np.nan) if value is None else np.asarray(value)
    if numbers.shape != (len(columns),) or numbers.dtype.kind not in "fiub":
        what = f"has the shape {numbers.shape} of {numbers.dtype} where {len(columns)} numbers are expected"
        raise DataError(what, where=where, fix=f"give a number a channel: {', '.join(modality.channel_names)}")
    return dict(zip(columns, numbers.astype(np.float64).tolist(), strict=True))


def _times(modality: Modality, sample: Mapping[str, Any], count: int, where: str) -> list[float]:
    """Times of the dates of an image series: days since 1970, or numbers."""
    place = f"{where}, {modality.times_key}"
    given = sample.get(modality.times_key)
    if given is None and not modality.dated:
        given = range(count)
    if given is None or np.ndim(given) != 1 or len(given) != count:
        found = "is missing" if given is None else f"has the shape {np.shape(given)}"
        raise DataError(f"{found} where {count} times are expected", where=place, fix="give a time a date")
    numbers = np.asarray(given)
    if numbers.dtype.kind not in "fiu":
        if not modality.dated:
            raise DataError("holds dates, and the modality is not dated", where=place, fix="give numbers")
        texts = [_time(each.item() if isinstance(each, np.datetime64) else each, place) for each in given]
        if None in texts:
            raise DataError("holds no date", where=place, fix="leave dates that do not exist out")
        numbers = np.array(texts, dtype="datetime64[s]").astype(np.float64) / 86_400
    found_times: list[float] = numbers.astype(np.float64).tolist()
    require_times(modality, found_times, where)
    return found_times


def _time(value: Any, where: str) -> str | None:
    """A date or time as ISO text."""
    if value is None or value is pd.NaT:
        return None
    iso = "ISO8601" if isinstance(value, str) else None  # 05.07.2023 is May to some and July to others
    time = pd.NaT if isinstance(value, int | float) else pd.to_datetime(value, errors="coerce", utc=True, format=iso)
    if pd.isna(time):
        raise DataError(f"{value!r} is no date", where=f"{where}, time", fix="write it as 2024-06-30")
    return str(time.strftime("%Y-%m-%dT%H:%M:%S"))

"""Arrays of samples, as a store holds them.

`in_order` makes batches of rows, `require_array` checks an array, `Chunk` holds those of some samples side by side, and `known_values`
reads series, which are (steps, 1 + channels) with the time first. Image series are (dates, channels, height, width), as many dates as
a sample has; `require_times` checks the times beside them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from eofuse.data.store.integrity import DIGEST_BYTES, Digests, patch_digest
from eofuse.errors import DataError
from eofuse.modalities import Kind, Modality

Array = npt.NDArray[np.generic]
Values = npt.NDArray[np.floating]
Size = tuple[int, int]
Rows = TypeVar("Rows", npt.NDArray[np.int64], list[int], range)


def in_order(rows: Rows, batch_size: int) -> list[Rows]:
    """Rows in batches, in their order; the last may be smaller."""
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]


def require_array(modality: Modality, values: Array, patch_size: Size, where: str) -> None:
    """Raises a `DataError` unless values are those of a raster, series or image series.

    Args:
        modality: what they should be.
        values: of one sample.
        patch_size: (height, width) of rasters.
        where: which sample it is, for messages.
    """
    place = f"{where}, {modality.name}" if where else modality.name
    expected = modality.shape(patch_size)
    if modality.kind is Kind.SERIES and values.dtype.kind == "f":
        require_series(modality, values, where)  # type: ignore[arg-type]  # of floating point, as the line above sees
    elif modality.kind is Kind.IMAGE_SERIES:
        if values.shape[1:] != expected[1:] or not 0 < len(values) <= expected[0]:
            found = f"has the shape {values.shape} where {expected} is expected"
            raise DataError(found, where=place, fix=f"give 1 to {expected[0]} dates, each (channels, height, width)")
    elif values.shape != expected:
        raise DataError(f"has the shape {values.shape} where {expected} is expected", where=place)
    if values.dtype != modality.dtype:
        with np.errstate(invalid="ignore", over="ignore"):
            stored = values.astype(modality.dtype)
        if not np.array_equal(stored, values, equal_nan=values.dtype.kind == "f"):
            found = f"holds {values.dtype} values that the stored {modality.dtype} can't hold"
            raise DataError(found, where=place, fix="round them, or store another dtype")


def require_series(modality: Modality, values: Values, where: str) -> None:
    """Raises a `DataError` unless a series is one.

    Args:
        modality: what it should be.
        values: (steps, 1 + channels): steps with rising times, then those that don't exist.
        where: which patch it is of, "" where that is said elsewhere.
    """
    where = f"{where}, {modality.name}" if where else modality.name
    expected = modality.shape((0, 0))
    if values.shape != expected:
        found = f"has the shape {values.shape} where {expected} is expected"
        raise DataError(found, where=where, fix="give each step its time, then a number a channel")
    exists = np.isfinite(values[:, 0])
    count = int(exists.sum())
    if not exists[:count].all():
        step = int(np.flatnonzero(~exists)[0]) + 1
        raise DataError(f"step {step} of {count + 1} has no time", where=where, fix="put steps without a time last")
    rise = np.diff(values[:count, 0])
    if (rise <= 0).any():
        step = int(np.flatnonzero(rise <= 0)[0]) + 2
        what = f"the time of step {step} is not after that of step {step - 1}"
        raise DataError(what, where=where, fix="sort by time")


def require_times(modality: Modality, times: Sequence[float], where: str) -> None:
    """Raises a `DataError` unless these are the times of an image series of one patch.

    Args:
        modality: whose they are.
        times: of its dates.
        where: which patch it is of, "" where that is said elsewhere.
    """
    where = f"{where}, {modality.name}" if where else modality.name
    numbers = np.asarray(times, dtype=np.float64)
    most = modality.steps or 0
    if numbers.ndim != 1 or not 0 < len(numbers) <= most:
        found = f"has times of the shape {numbers.shape} where 1 to {most} are expected"
        raise DataError(found, where=where, fix="give a time for each date that the patch has, and no others")
    if not np.isfinite(numbers).all():
        number = int(np.flatnonzero(~np.isfinite(numbers))[0]) + 1
        raise DataError(f"date {number} of {len(numbers)} has no time", where=where, fix="leave the date out")
    if (rise := np.diff(numbers) <= 0).any():
        number = int(np.flatnonzero(rise)[0]) + 2
        what = f"the time of date {number} is not after that of date {number - 1}"
        raise DataError(what, where=where, fix="sort by time, and give each time once")


def known_values(values: Values) -> Values:
    """The channels of series, NaN in steps that don't exist: (patches, steps, channels) of (patches, steps, 1 + channels)."""
    found: Values = np.where(np.isfinite(values[..., :1]), values[..., 1:], np.nan).astype(np.float32)
    return found


def by_channel(modality: Modality, values: np.ndarray) -> np.ndarray:
    """Numbers of patches as (patches, channels, n), n being pixels, steps or 1; NaN in steps that don't exist.

    Of an image series, n counts the pixels of all dates; every date that comes must exist.
    """
    if modality.kind is Kind.SERIES:
        values = known_values(values).swapaxes(1, 2)
    elif modality.kind is Kind.IMAGE_SERIES:
        values = values.swapaxes(1, 2)
    return values.reshape(len(values), len(modality.channels), int(np.prod(values.shape[2:])))


def is_value(modality: Modality, values: Array) -> npt.NDArray[np.bool_]:
    """Which numbers are values: neither nodata nor NaN nor infinite."""
    valid: npt.NDArray[np.bool_] = np.isfinite(values)
    return valid if modality.nodata is None else valid & np.asarray(values != modality.nodata)


@dataclass
class Chunk:
    """The arrays of some samples: zeros, or NaN in series, where one is absent; of an absent image series no date.

    Attributes:
        rows: of the samples that it holds.
        arrays: by modality, (rows, …); of image series the dates of all samples, one after another, once it is finished.
        dates: by image series, the arrays of each sample, until it is finished.
        counts: by image series, the dates of each sample.
        digests: of each sample in each array, (rows, arrays, `DIGEST_BYTES`).
        bad: ids of samples that could not be read, with the reasons.
    """

    rows: list[int] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    dates: dict[str, list[np.ndarray]] = field(default_factory=dict)
    counts: dict[str, list[int]] = field(default_factory=dict)
    digests: Digests = field(default_factory=lambda: np.empty((0, 0, DIGEST_BYTES), dtype=np.uint8))
    bad: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def empty(cls, modalities: Sequence[Modality], patch_size: Size, length: int) -> "Chunk":
        """Room for samples.

        Args:
            modalities: rasters, series and image series; others are left out.
            patch_size: (height, width) of rasters.
            length: most samples that it takes.
        """
        arrays: dict[str, np.ndarray] = {}
        dates: dict[str, list[np.ndarray]] = {}
        for modality in modalities:
            shape = (length, *modality.shape(patch_size))
            if modality.kind is Kind.IMAGE_SERIES:
                dates[modality.name] = []
                arrays[modality.name] = np.empty((0, *shape[2:]), dtype=modality.dtype)
            elif modality.is_array:
                nothing = np.nan if modality.kind is Kind.SERIES else 0
                arrays[modality.name] = np.full(shape, nothing, dtype=modality.dtype)
        return cls(arrays=arrays, dates=dates)

    def add(self, row: int, arrays: Mapping[str, Any]) -> None:
        """Adds a sample; the modalities that it lacks are absent."""
        for name, values in arrays.items():
            if name not in self.dates:
                self.arrays[name][len(self.rows)] = values
        for name, found in self.dates.items():
            found.append(np.asarray(arrays.get(name, self.arrays[name]), dtype=self.arrays[name].dtype))
        self.rows.append(row)

    def finish(self) -> "Chunk":
        """Cuts off the room that is left, and computes the digests."""
        arrays = {name: self.dates.get(name, buffer[: len(self.rows)]) for name, buffer in self.arrays.items()}
        if arrays and self.rows:
            samples = zip(*arrays.values(), strict=True)
            self.digests = np.array([[patch_digest(values) for values in sample] for sample in samples])
        self.counts = {name: list(map(len, found)) for name, found in self.dates.items()}
        empty = {name: self.arrays[name] for name in self.dates}
        self.arrays = {
            name: np.concatenate([empty[name], *values]) if name in empty else np.asarray(values)
            for name, values in arrays.items()
        }
        self.dates = {}
        return self

"""Checks data: their tables, then every array of every sample, without stopping at the first problem."""

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from eofuse.data.doors import find_source
from eofuse.data.problems import Problem, errors_first
from eofuse.data.sources.base import OpenOptions, Samples
from eofuse.data.store.arrays import in_order, require_array
from eofuse.data.store.gaps import FIX_EMPTY, empty_channels, may_have_empty_bands
from eofuse.data.store.index import complete_index, require_as_many
from eofuse.errors import DataError
from eofuse.modalities import ELEVATION, SENTINEL1, SENTINEL2, Kind, Modality
from eofuse.processes import in_processes, usable_cores
from eofuse.progress import Progress

PLAUSIBLE_DECIBEL = (-60.0, 20.0)
_ROWS_AT_ONCE = 16

Array = npt.NDArray[np.generic]


def check_path(path: Path, workers: int | None = None, progress: Progress | None = None) -> list[Problem]:
    """Everything that is wrong with what a source reads (a folder, a spec, a packed store), or looks odd.

    Args:
        path: of the folder, YAML file or store.
        workers: processes that read, one a core by default.
        progress: receives how many patches or files are checked.

    Raises:
        DataError: if no source reads it.
    """
    source = find_source(
        path, "check", "a folder, a store or the spec of a table", "see docs/data.md for what can be checked"
    )
    return source.check(path, OpenOptions(workers=workers or usable_cores(), progress=progress))


def check_samples(samples: Samples, progress: Progress | None = None, workers: int = 1) -> list[Problem]:
    """Everything that is wrong with samples, or looks odd.

    Args:
        samples: what a source has opened.
        progress: receives how many samples are checked.
        workers: processes that read; the result does not depend on it.

    Returns:
        Errors before warnings; within each, the index's problems, then those of the samples in their order.
    """
    samples.index = complete_index(samples.index, samples.modalities, samples.name)
    problems = [*samples.problems, *_lacking(samples)]
    total = len(samples.index)
    chunks = in_order(range(total), _ROWS_AT_ONCE)
    each = in_processes(_check_chunk, samples, chunks, workers, where=samples.name)
    for chunk, found in zip(chunks, each, strict=True):
        problems += found
        if progress:
            progress(chunk.stop, total)
    return errors_first(list(dict.fromkeys(problems)))  # what the index tells of a file, its sample tells again


def check_sample(samples: Samples, row: int) -> list[Problem]:
    """Everything that is wrong with the rasters and series of one sample, or looks odd."""
    sample_id = str(samples.index["patch_id"].iloc[row])
    try:
        arrays = samples.read(row)
        for modality in samples.modalities:
            if modality.name in arrays:
                require_array(modality, arrays[modality.name], samples.patch_size, "")
            if modality.name in arrays and modality.kind is Kind.IMAGE_SERIES:
                require_as_many(samples.index, row, modality.name, arrays[modality.name], "")
    except DataError as error:
        return [Problem.from_error(error, sample_id)]
    return odd_values(samples, sample_id, arrays)


def odd_values(samples: Samples, sample_id: str, arrays: Mapping[str, Array]) -> list[Problem]:
    """Warnings of bands without any value and odd pixels of a sample."""
    warn = functools.partial(warning, sample_id)
    modalities = {modality.name: modality for modality in samples.modalities}
    return [problem for name, values in arrays.items() for problem in _value_warnings(modalities[name], values, warn)]


def warning(patch_id: str, what: str, where: str, fix: str = "look at the patch; leave it out if it is bad") -> Problem:
    """A warning about a patch."""
    return Problem("warning", what, where, patch_id, fix)


def _lacking(samples: Samples) -> Iterator[Problem]:
    """One warning for each modality that some patches without an error lack and others have."""
    wrong = {problem.patch_id for problem in samples.problems if problem.severity == "error"}
    fine = ~samples.index["patch_id"].isin(wrong)
    for modality in samples.modalities:
        lacking = int((fine & ~samples.index[f"has_{modality.name}"].astype(bool)).sum())
        if lacking:
            what = f"{lacking} of {len(samples.index)} patches lack this modality"
            fix = "nothing, if that is meant: runs leave out patches that lack an input"
            yield Problem("warning", what, modality.name, fix=fix)


def _value_warnings(modality: Modality, values: Array, warn: Callable[..., Problem]) -> list[Problem]:
    """Bands without any value, and odd pixels; a constant height or land cover is not odd (sea, lakes)."""
    found = []
    empty = np.zeros(len(modality.channels), dtype=bool)
    if may_have_empty_bands(modality):
        empty = empty_channels(modality, values[None])[0]
    bands = [channel.name for channel, nothing in zip(modality.channels, empty, strict=True) if nothing]
    if bands:
        found.append(warn("holds no value", f"{modality.name}, band {', '.join(bands)}", FIX_EMPTY))
    if modality.kind is Kind.SERIES:
        return found
    if modality.kind is Kind.IMAGE_SERIES:
        values = values.swapaxes(0, 1)
    for channel, pixels, nothing in zip(modality.channels, values, empty, strict=True):
        if nothing:
            continue
        where = f"{modality.name}, band {channel.name}"
        low, high = pixels.min(), pixels.max()
        if modality.name in (SENTINEL1.name, SENTINEL2.name) and low == high:
            found.append(warn(f"every pixel is {low}", where))
        limits = {SENTINEL1.name: PLAUSIBLE_DECIBEL, ELEVATION.name: ELEVATION.valid_range}.get(modality.name)
        if limits is not None and (low < limits[0] or high > limits[1]):
            unit = channel.unit
            found.append(warn(f"{low:g} to {high:g} {unit}, expected {limits[0]:g} to {limits[1]:g} {unit}", where))
    return found


def _check_chunk(samples: Samples, rows: range) -> list[Problem]:
    return [problem for row in rows for problem in samples.check(row)]

"""Checks a source: its tables, then every raster of every patch, without stopping at the first problem."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from eofuse.data.doors import SPEC_SUFFIXES, wrong_door
from eofuse.data.problems import Problem, errors_first
from eofuse.data.sources import Source
from eofuse.data.sources.ben_ge.source import CORNER_TOLERANCE_PIXELS, BenGeSource, open_ben_ge
from eofuse.data.sources.table.source import open_table_spec
from eofuse.data.store import STORE_FILE, Store, open_to_check
from eofuse.data.store.gaps import empty_bands, empty_channels, may_have_empty_bands
from eofuse.data.store.georeference import has_grid, misplaced, unplaced
from eofuse.data.store.series import require_series
from eofuse.errors import DataError
from eofuse.modalities import ELEVATION, SENTINEL1, SENTINEL2, WORLDCOVER, Kind, Modality
from eofuse.processes import in_processes, usable_cores

PLAUSIBLE_DECIBEL = (-60.0, 20.0)
FRACTION_TOLERANCE = 0.01
FIX_EMPTY = "leave the bands out of the inputs, or let them count as gaps (data.empty_bands: absent)"
_ROWS_AT_ONCE = 16

Progress = Callable[[int, int], None]
Raster = npt.NDArray[np.generic]


def check_path(path: Path, workers: int | None = None, progress: Progress | None = None) -> list[Problem]:
    """Everything that is wrong with a dataset's folder, the table of a spec or a packed store, or looks odd.

    Args:
        path: of the folder, YAML file or store.
        workers: processes that read, one a core by default.
        progress: called with (patches or files done, all).

    Raises:
        DataError: if nothing known is there.
    """
    if (path / STORE_FILE).is_file():
        store = open_to_check(path)
        return store.verify(progress) or [*_empty_bands(store), *_places(store)]
    if path.is_file() and path.suffix not in SPEC_SUFFIXES:
        raise wrong_door(path, "a folder, a store or the spec of a table", "see docs/data.md for what can be checked")
    source: Source = open_table_spec(path) if path.suffix in SPEC_SUFFIXES else open_ben_ge(path)
    return check_source(source, progress, workers or usable_cores())


def check_source(source: Source, progress: Progress | None = None, workers: int = 1) -> list[Problem]:
    """Everything that is wrong with a source, or looks odd.

    Args:
        source: an indexed dataset.
        progress: called with (patches done, patches in all).
        workers: processes that read; the result does not depend on it.

    Returns:
        Errors before warnings; within each, the index's problems, then those of the patches in their order.
    """
    problems = [*source.problems, *_lacking(source)]
    total = len(source.index)
    chunks = [range(start, min(start + _ROWS_AT_ONCE, total)) for start in range(0, total, _ROWS_AT_ONCE)]
    each = in_processes(_check_chunk, source, chunks, workers, where=source.name)
    for chunk, found in zip(chunks, each, strict=True):
        problems += found
        if progress:
            progress(chunk.stop, total)
    return errors_first(problems)


def check_patch(source: Source, row: int) -> list[Problem]:
    """Everything that is wrong with the rasters and series of one patch, or looks odd."""
    patch_id = str(source.index["patch_id"].iloc[row])
    warn = functools.partial(_warning, patch_id)
    try:
        if isinstance(source, BenGeSource):
            with_grids = source.read_with_grids(row)
            rasters = {name: values for name, (values, _) in with_grids.items()}
            corners = {name: (band.transform.c, band.transform.f) for name, (_, band) in with_grids.items()}
            pixel_m = max((abs(band.transform.a) for _, band in with_grids.values()), default=1.0)
            found = _corner_warnings(corners, CORNER_TOLERANCE_PIXELS * pixel_m, warn)
        else:
            rasters, found = source.read(row), []
        modalities = {modality.name: modality for modality in source.modalities}
        for name, values in rasters.items():
            if modalities[name].kind is Kind.SERIES:
                require_series(modalities[name], values.astype(np.float64), "")
    except DataError as error:
        errors = source.errors(row) if isinstance(source, BenGeSource) else [error]
        return [Problem.from_error(each, patch_id) for each in errors]
    for name, values in rasters.items():
        found += _value_warnings(modalities[name], values, warn)
    if WORLDCOVER.name in rasters:
        found += _fraction_warnings(source, row, rasters[WORLDCOVER.name], warn)
    return found


def _warning(
    patch_id: str, what: str, where: str, fix: str = "look at the patch; leave it out if it is bad"
) -> Problem:
    return Problem("warning", what, where, patch_id, fix)


def _lacking(source: Source) -> Iterator[Problem]:
    """One warning for each modality that some patches without an error lack and others have."""
    wrong = {problem.patch_id for problem in source.problems if problem.severity == "error"}
    fine = ~source.index["patch_id"].isin(wrong)
    for modality in source.modalities:
        lacking = int((fine & ~source.index[f"has_{modality.name}"].astype(bool)).sum())
        if lacking:
            what = f"{lacking} of {len(source.index)} patches lack this modality"
            yield Problem(
                "warning",
                what,
                modality.name,
                fix="nothing, if that is meant: runs leave out patches that lack an input",
            )


def _empty_bands(store: Store) -> Iterator[Problem]:
    """One warning for each modality of a store with bands that hold no value in some patches."""
    for name, modality in store.modalities.items():
        counts = empty_bands(store, name).sum(axis=0).tolist()
        bands = [f"{band} in {count}" for band, count in zip(modality.channel_names, counts, strict=True) if count]
        if bands:
            what = f"bands without any value: {', '.join(bands)} of {int(store.present(name).sum())} patches"
            yield Problem("warning", what, name, fix=FIX_EMPTY)


def _places(store: Store) -> Iterator[Problem]:
    """Warnings of patches that lie nowhere, or elsewhere than they say."""
    yield from misplaced(store.index, store.name)
    count = int((~has_grid(store.index)).sum())
    if count and any(modality.kind is Kind.RASTER for modality in store.modalities.values()):
        fix = "georeference the rasters; a store of an older version did not keep the size of pixels: pack it again"
        yield Problem(
            "warning", f"{unplaced(count, len(store))}: maps of them have no georeference", store.name, fix=fix
        )


def _corner_warnings(
    corners: dict[str, tuple[float, float]], tolerance: float, warn: Callable[..., Problem]
) -> list[Problem]:
    """Rasters whose upper-left corner is not that of the patch's first raster."""
    if not corners:
        return []
    first, (left, top) = next(iter(corners.items()))
    return [
        warn(f"its corner lies {x - left:g} m east and {top - y:g} m south of that of {first}", name)
        for name, (x, y) in corners.items()
        if max(abs(x - left), abs(y - top)) > tolerance
    ]


def _value_warnings(modality: Modality, values: Raster, warn: Callable[..., Problem]) -> list[Problem]:
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


def _fraction_warnings(source: Source, row: int, codes: Raster, warn: Callable[..., Problem]) -> list[Problem]:
    """Land cover fractions of the table that are not those of the map."""
    for category in WORLDCOVER.categories:
        column = f"worldcover_fraction.{category.name}"
        if column not in source.index.columns:
            return []
        listed, counted = source.index[column].to_numpy(dtype=float)[row], float((codes == category.code).mean())
        if abs(listed - counted) > FRACTION_TOLERANCE:
            what = f"the table says {listed:.3f} {category.name}, the map {counted:.3f}"
            return [warn(what, column, "correct the table, or fetch the map again")]
    return []


def _check_chunk(source: Source, rows: range) -> list[Problem]:
    return [problem for row in rows for problem in check_patch(source, row)]

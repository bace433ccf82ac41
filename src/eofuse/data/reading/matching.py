"""Which bands of which files are the channels of a modality, how they come to a grid, and their values as they are stored.

`place_files` places the files of a modality on a grid, for scenes and tables alike; `fit_values` gives the values to be stored.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from eofuse.data.problems import Problem
from eofuse.data.reading.decoding import DECODERS
from eofuse.data.reading.grid import Grid
from eofuse.data.reading.rasters import BandHeader, PlacedRaster, RasterFile
from eofuse.data.reading.resampling import Method, Values, choose_method
from eofuse.errors import DataError
from eofuse.modalities import Modality
from eofuse.words import listed

COLOURS = ("red", "green", "blue")


def band_names(file: RasterFile) -> tuple[str, ...]:
    """Names for the channels of an unknown modality: those that the file gives its bands if they differ, else colours or numbers."""
    if all(file.names) and len(set(file.names)) == len(file.names):
        return file.names
    if file.has_palette or (file.is_picture and len(file.names) == len(COLOURS)):
        return COLOURS
    return tuple(f"band_{number}" for number in range(1, len(file.names) + 1))


def choose_bands(file: RasterFile, modality: Modality, where: str) -> tuple[int, ...]:
    """Numbers of the bands of a file that are the channels of a modality: by the bands' names if it has them, else in order.

    An alpha band is a channel only if it is named, or if as many channels are wanted as the file has bands with it. Of a picture,
    three channels are red, green and blue, and grey gives all three.

    Raises:
        DataError: if the number of bands differs, or a named file lacks a channel.
    """
    wanted = modality.channels
    every = file.bands if file.alpha is None else tuple(sorted((*file.bands, file.alpha), key=lambda band: band.number))
    by_name = {band.name: band.number for band in every if band.name}
    found = [next((by_name[n] for n in (channel.name, *channel.aliases) if n in by_name), None) for channel in wanted]
    numbers = [number for number in found if number is not None]
    if len(numbers) == len(wanted):
        return tuple(numbers)
    if numbers:
        missing = listed(channel.name for channel, number in zip(wanted, found, strict=True) if number is None)
        fix = "name the bands that the file has in the spec"
        raise DataError(f"has no band named {missing} (its bands: {listed(by_name)})", where=where, fix=fix)
    if file.is_picture and len(file.bands) == 1 and len(wanted) == len(COLOURS):
        return (1, 2, 3) if file.has_palette else (1, 1, 1)
    for bands in (file.bands, every):
        if len(bands) == len(wanted):
            return tuple(band.number for band in bands)
    names = listed(modality.channel_names)
    besides = "" if file.alpha is None else " and an alpha band"
    found_bands = f"has {len(file.bands)} bands{besides}, expected {len(wanted)}: {names}"
    raise DataError(found_bands, where=where, fix="name the file's bands in the spec")


def place_files(
    files: Sequence[RasterFile],
    modality: Modality,
    grid: Grid,
    *,
    nodata: float | None,
    added: float | None,
    resampling: Method | None,
    where: str,
    place_of: Callable[[RasterFile], tuple[int, int] | None] | None = None,
) -> tuple[PlacedRaster, ...]:
    """Each file of a modality, with the bands that are its channels, and how they come to a grid.

    Args:
        files: one file with all channels, or a file a channel.
        modality: what they hold.
        grid: to which they come.
        nodata: the value that the spec gives; without it that of the file counts. A category's code is never nodata.
        added: summand that the spec gives in stored units, None if it can't.
        resampling: the method that the spec gives, in place of what suits.
        where: for messages, the path follows.
        place_of: column and row of the grid at which a file begins, None if it has other pixels and is resampled; by its place on the
            map by default.

    Raises:
        DataError: if bands and channels don't match, or a file declares other physical values than the spec.
    """
    codes = {category.code for category in modality.categories}
    decoder = DECODERS.get(modality.embedding)
    found = []
    for number, file in enumerate(files):
        place = f"{where}, {file.path}"
        if len(files) == 1:
            bands = choose_bands(file, modality, place)
        elif len(file.names) == 1:
            bands = (file.bands[0].number,)
        else:
            what = f"has {len(file.names)} bands, expected one: {modality.channel_names[number]}"
            raise DataError(what, where=place, fix="write one band a file, or all bands into one file")
        headers = [file.bands[0] if file.has_palette else file.band(number) for number in bands]
        for header in headers:
            check_scaling(header, modality, added, place)
        missing = tuple(
            next(
                (value for value in (nodata, each.nodata, modality.nodata) if value is not None and value not in codes),
                None,
            )
            for each in headers
        )
        method, begins = None, place_of(file) if place_of else file.grid.place_on(grid)
        if begins is None:
            method = choose_method(file.grid, grid, categorical=modality.is_categorical, wanted=resampling)
        name = modality.embedding if decoder is not None and decoder.dtype == file.dtype else ""
        if decoder is not None and not name and np.dtype(file.dtype).kind in "iu":
            what = f"holds {file.dtype}: codes of {modality.embedding} are {decoder.dtype}, its values are fractions"
            raise DataError(what, where=place, fix="give the files as they were published")
        found.append(PlacedRaster(file, bands, missing, begins, method, name))
    return tuple(found)


def describe_values(raster: PlacedRaster) -> str:
    """What a file says of its values, in words that are the same for files alike."""
    band = raster.file.band(1 if raster.file.has_palette else raster.bands[0])
    numbers = "fractions" if np.dtype(raster.file.dtype).kind == "f" else "whole numbers"
    scaling = (
        f"scale {band.scale:g} and offset {band.offset:g}" if (band.scale, band.offset) != (1.0, 0.0) else "no scale"
    )
    return f"{numbers}, {scaling}"


def mixed_values(name: str, found: Counter[str]) -> Problem | None:
    """A warning if the files of a modality of numbers say different things of their values."""
    if len(found) < 2:
        return None
    listed = "; ".join(f"{count} with {words}" for words, count in found.most_common())
    fix = "see whether all hold the same quantity in the same unit: scale and offset of the spec count for every file"
    return Problem("warning", f"its files differ: {listed}", name, fix=fix)


def check_scaling(band: BandHeader, modality: Modality, added: float | None, where: str) -> None:
    """Raises DataError if a band declares other physical values than the spec does, which may say what is added (else None)."""
    if modality.is_categorical or (band.scale, band.offset) == (1.0, 0.0):
        return
    expected = modality.offset + (added or 0.0) * modality.scale
    if np.isclose(band.scale, modality.scale) and np.isclose(band.offset, expected, atol=1e-9):
        return
    needed = (band.offset - modality.offset) / modality.scale
    can_add = added is not None and np.isclose(band.scale, modality.scale)
    advice = f"set add: {needed:g}" if can_add else f"set scale: {band.scale:g} and offset: {band.offset:g}"
    found = (
        f"declares scale {band.scale:g} and offset {band.offset:g}, the spec means {modality.scale:g} and {expected:g}"
    )
    raise DataError(found, where=where, fix=f"{advice} in modalities.{modality.name}")


def fit_values(values: Values, modality: Modality, warped: bool, where: str) -> npt.NDArray[np.generic]:
    """Float values with NaN for nodata, as they are stored.

    Args:
        values: (channels, height, width).
        modality: how they are stored.
        warped: whether they were interpolated, so that fractions are rounded.
        where: for messages.

    Raises:
        DataError: if a value does not fit the dtype, a code is not in the list, or there is no value for nodata.
    """
    dtype = np.dtype(modality.dtype)
    missing = np.isnan(values)
    some_missing = bool(missing.any())
    present = values[~missing] if some_missing else values
    key = f"modalities.{modality.name}"
    if some_missing and modality.nodata is None and dtype.kind != "f":
        found = f"{int(missing.sum())} values have no data and no value stands for that"
        fix = f"set {key}.nodata to a value that the files do not hold, with a {key}.dtype that holds it"
        fix += ", or `size` to the smallest file's side if files are smaller than the patches"
        raise DataError(found, where=where, fix=fix)
    if modality.is_categorical:
        _check_codes(present, modality, where)
    elif dtype.kind != "f":
        if warped:  # cubic interpolation overshoots
            values = np.clip(np.rint(values), np.iinfo(dtype).min, np.iinfo(dtype).max)
            present = values[~missing] if some_missing else values
        elif present.size and (present != np.rint(present)).any():
            found = f"holds fractions such as {present[present != np.rint(present)][0]:g}, which {dtype} can't hold"
            raise DataError(found, where=where, fix=f"set {key}.dtype: float32")
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    if present.size and (present.min() < limits.min or present.max() > limits.max):
        found = f"values from {present.min():g} to {present.max():g} do not fit {dtype}"
        raise DataError(found, where=where, fix=f"set {key}.dtype to another one (scenes that are cut may be clipped)")
    nothing = (np.nan if dtype.kind == "f" else 0) if modality.nodata is None else modality.nodata
    if some_missing and not limits.min <= nothing <= limits.max:
        if dtype.kind != "f":
            found = f"{int(missing.sum())} values have no data, and {nothing:g}, which stands for that, does not fit {dtype}"
            raise DataError(found, where=where, fix=f"set {key}.dtype to one that holds it")
        nothing = np.nan
    filled = np.where(missing, nothing, values) if some_missing else values
    stored: npt.NDArray[np.generic] = filled.astype(dtype)
    return stored


def _check_codes(present: Values, modality: Modality, where: str) -> None:
    codes = [category.code for category in modality.categories]
    strange = present[~np.isin(present, codes)]
    if strange.size:
        names = ", ".join(f"{code:g}" for code in np.unique(strange)[:10])
        found = f"{strange.size} pixels hold codes that are not in the list: {names}"
        fix = f"add them to modalities.{modality.name}.categories, or name one as nodata"
        raise DataError(found, where=where, fix=fix)


def without_data(values: npt.NDArray[np.generic], modality: Modality) -> npt.NDArray[np.bool_]:
    """Which stored values are missing: NaN, or the nodata value of the modality."""
    missing: npt.NDArray[np.bool_] = (
        np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, dtype=bool)
    )
    return missing if modality.nodata is None else missing | np.asarray(values == modality.nodata)


def finest(files: Sequence[RasterFile]) -> RasterFile:
    """The file with the smallest pixels."""
    return min(files, key=lambda file: file.grid.pixel_area)

"""From pixels of assets to a patch: offsets, masks of clouds, items put together, medians, and values as they are stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from eofuse.data.collect.layers import MaskRule, Recipe
from eofuse.data.collect.plan import Plan, Source
from eofuse.data.collect.reading import Wanted, without_scale
from eofuse.data.collect.spec import CollectLayer
from eofuse.data.reading.grid import Grid
from eofuse.data.reading.matching import fit_values, place_files
from eofuse.data.reading.rasters import PlacedRaster, RasterFile
from eofuse.data.reading.resampling import Values
from eofuse.errors import DataError
from eofuse.modalities import Channel, Kind, Modality

SMALLEST = 1.0
"""What values below it become when an offset is taken off: 0 stands for no data (as of products of Sentinel-2)."""

Raster = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Part:
    """What one item gives a patch.

    Attributes:
        values: (channels, height, width) in stored units, NaN where there are no data.
        masked: pixels (height, width) that the mask takes away.
        seen: pixels (height, width) of which the mask knows anything.
        warped: whether the item was brought to another grid.
    """

    values: Values
    masked: npt.NDArray[np.bool_]
    seen: npt.NDArray[np.bool_]
    warped: bool


@dataclass(frozen=True)
class Composed:
    """A modality of a patch.

    Attributes:
        values: as they are stored; of a series of images those of each date; None if there is nothing.
        days: of a series, the times of its dates, in days since 1970.
        cloud: share of the pixels that the mask takes away, NaN without a mask.
        nodata: share of the values that are missing.
        warped: whether any item was brought to another grid.
    """

    values: Raster | None
    days: tuple[float, ...] = ()
    cloud: float = float("nan")
    nodata: float = 1.0
    warped: bool = False


def wanted_of(layer: CollectLayer, recipe: Recipe, key: str, grid: Grid, source: Source, where: str) -> Wanted:
    """How the pixels of an asset come to a patch.

    Args:
        layer: what the spec says.
        recipe: of the modality.
        key: of the asset.
        grid: of the patch.
        source: its item.
        where: for messages.
    """
    if recipe.mask is not None and key == recipe.mask.asset and key not in recipe.bands:
        return Wanted(grid, lambda file, grid: _place_mask(file, grid, recipe.mask))
    modality = _modality_of(recipe, key)

    def place(file: RasterFile, grid: Grid) -> PlacedRaster:
        if not file.grid.crs:
            raise DataError(
                "has no coordinate reference system", where=f"{where}, {file.path}", fix="georeference the file"
            )
        if (np.dtype(file.dtype).kind == "f") != (np.dtype(recipe.dtype).kind == "f"):
            what = f"holds {file.dtype} where others hold {recipe.dtype}: their units seem to differ"
            fix = f"choose those that mean the same with modalities.{recipe.modality.name}.where"
            raise UnitError(what, where=f"{where}, {file.path}", fix=fix)
        declares = recipe.added is None or recipe.decibels or modality.kind is Kind.VECTOR
        header = without_scale(file) if declares else file
        method = layer.resampling or ("nearest" if layer.at == "point" else None)
        described = replace(modality, kind=Kind.RASTER) if modality.kind is not Kind.RASTER else modality
        (placed,) = place_files(
            [header], described, grid, nodata=layer.nodata, added=source.added, resampling=method, where=where
        )
        return placed

    return Wanted(grid, place)


class UnitError(DataError):
    """Items of one modality mean different things; no store is made of them."""


def _modality_of(recipe: Recipe, key: str) -> Modality:
    """The channels of a modality that an asset holds; all numbers of its nodata are those of the files."""
    modality = recipe.modality
    names = recipe.bands[key]
    if names and not modality.is_categorical and set(names) != set(modality.channel_names):
        by_name = {word: channel for channel in modality.channels for word in (channel.name, *channel.aliases)}
        return replace(modality, channels=tuple(by_name.get(name, Channel(name)) for name in names))
    return modality


def _place_mask(file: RasterFile, grid: Grid, rule: MaskRule | None) -> PlacedRaster:
    begins = file.grid.place_on(grid)
    return PlacedRaster(file, (file.bands[0].number,), (None,), begins, None if begins is not None else "nearest")


def part_of(
    layer: CollectLayer, recipe: Recipe, source: Source, grid: Grid, found: Mapping[str, Values | None], warped: bool
) -> Part:
    """What an item gives a patch.

    Args:
        layer: what the spec says.
        recipe: of the modality.
        source: the item.
        grid: of the patch.
        found: key of an asset → its pixels, None where it has none or could not be read.
        warped: whether an asset was brought to another grid.
    """
    size = grid.height, grid.width
    bands = []
    for key in recipe.bands:
        pixels = found.get(key)
        count = len(_modality_of(recipe, key).channels)
        bands.append(np.full((count, *size), np.nan, dtype=np.float32) if pixels is None else pixels)
    values = np.concatenate(bands)
    if recipe.decibels:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(values > 0, 10 * np.log10(values), np.nan)
    if source.added:
        values = values + values.dtype.type(source.added)
        if recipe.modality.nodata == 0:
            values = np.maximum(values, SMALLEST)  # NaN stays
    if layer.clip is not None:
        values = np.clip(values, *layer.clip)
    masked, seen = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
    if recipe.mask is not None:
        codes = found.get(recipe.mask.asset)
        if codes is None:  # what is not known to be clear is missing
            masked[:] = True
        else:
            known = np.isfinite(codes[0])
            numbers = np.where(known, codes[0], 0).astype(np.int64)
            flags = sum(1 << bit for bit in recipe.mask.bits)
            masked = ~known | np.isin(numbers, recipe.mask.classes) | (numbers & flags != 0)
            seen = known & ~((numbers == 0) & (0 in recipe.mask.classes))
        values[:, masked] = np.nan
    return Part(values, masked, seen, warped)


def compose(layer: CollectLayer, recipe: Recipe, dates: Sequence[tuple[float, Sequence[Part]]], where: str) -> Composed:
    """A modality of a patch.

    Args:
        layer: what the spec says.
        recipe: of the modality.
        dates: day and parts of each acquisition, the first part in front.
        where: for messages.
    """
    modality = recipe.modality
    joined = [(day, *_put_together(parts)) for day, parts in dates if parts]
    if not joined:
        return Composed(None)
    warped = any(part.warped for _, parts in dates for part in parts)
    clouds = [cloud for *_, cloud in joined if np.isfinite(cloud)]
    cloud = float(np.mean(clouds)) if clouds else float("nan")
    if layer.is_series:
        kept = [(day, values) for day, values, _ in joined if np.isfinite(values).any()]
        if not kept:
            return Composed(None, cloud=cloud, warped=warped)
        stored = np.stack([fit_values(values, modality, warped, where) for _, values in kept])
        missing = float(np.mean([np.isnan(values).mean() for _, values in kept]))
        return Composed(stored, tuple(_rising([day for day, _ in kept])), cloud, missing, warped)
    values = joined[0][1] if len(joined) == 1 else _median([values for _, values, _ in joined])
    missing = float(np.isnan(values).mean())
    if missing == 1:
        return Composed(None, cloud=cloud, warped=warped)
    if modality.kind is Kind.VECTOR:
        numbers = values[:, 0, 0].astype(np.float64)
        return Composed(numbers, cloud=cloud, nodata=missing, warped=warped)
    return Composed(fit_values(values, modality, warped or len(joined) > 1, where), (), cloud, missing, warped)


def _rising(days: Sequence[float]) -> list[float]:
    """Times that rise: two acquisitions at the same moment are a second apart."""
    found: list[float] = []
    for day in days:
        found.append(day if not found or day > found[-1] else found[-1] + 1 / 86_400)
    return found


def _put_together(parts: Sequence[Part]) -> tuple[Values, float]:
    """Values of several items, the first one with data in front, and the share of pixels that masks took away."""
    values = parts[0].values
    masked, seen = parts[0].masked & parts[0].seen, parts[0].seen
    for part in parts[1:]:
        lacking = np.isnan(values) & ~masked  # a cloud of the first item is one of the place
        values = np.where(lacking, part.values, values)
        masked = masked | (part.masked & part.seen & ~seen)
        seen = seen | part.seen
    return values, float(masked.sum() / seen.sum()) if seen.any() else float("nan")


def _median(dates: Sequence[Values]) -> Values:
    stack = np.stack(dates)
    empty = np.isnan(stack).all(axis=0)
    found = np.nanmedian(np.where(empty, 0, stack), axis=0)
    return np.where(empty, np.nan, found)


def assets_read(plan: Plan, name: str) -> tuple[str, ...]:
    """Keys of the assets that a modality reads, its mask last."""
    recipe = plan.recipes[name]
    mask = () if recipe.mask is None or recipe.mask.asset in recipe.bands else (recipe.mask.asset,)
    return (*recipe.bands, *mask)

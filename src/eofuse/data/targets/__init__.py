"""What is to be predicted, with what is known of each patch; a file a sort of target.

- One class: `dominant_land_cover`; any category modality, and any column of the index, by its name.
- Several classes: `land_cover_above` (WorldCover classes above a fraction of the patch), `clc19` and `clc43` (BigEarthNet's
  nomenclatures); any column of the index with lists, by its name.
- Numbers: `land_cover_fractions`, `mean_elevation`; any vector modality, and any column of numbers, by its name.
- A class or numbers for each pixel: any raster modality by its name, or one channel of it (`s2.B08`).
- Boxes: `regions` (connected regions of chosen classes of the land-cover map; `regions.<modality>` of another one) and `boxes`
  (from a COCO JSON or GeoJSON file).

A target names the modalities it derives from: they can't be its inputs.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches

from eofuse.data.store import Store
from eofuse.data.targets.base import IGNORE, Target, TargetOptions
from eofuse.data.targets.boxes import file_boxes, region_boxes
from eofuse.data.targets.labels import (
    category,
    clc,
    column_classes,
    column_lists,
    dominant_land_cover,
    holds_lists,
    land_cover_above,
)
from eofuse.data.targets.maps import raster_target
from eofuse.data.targets.numbers import column_numbers, is_numbers, land_cover_fractions, mean_elevation, vector_numbers
from eofuse.errors import MOST_NAMES, DataError, UsageError, did_you_mean
from eofuse.modalities import Kind

__all__ = ["IGNORE", "Target", "TargetOptions", "canonical_name", "make_target"]

BUILT_IN: Mapping[str, Callable[[Store, TargetOptions], Target]] = {
    "dominant_land_cover": lambda store, options: dominant_land_cover(store),
    "land_cover_above": lambda store, options: land_cover_above(store, options.threshold),
    "clc19": lambda store, options: clc(store, "clc19"),
    "clc43": lambda store, options: clc(store, "clc43"),
    "land_cover_fractions": lambda store, options: land_cover_fractions(store),
    "mean_elevation": lambda store, options: mean_elevation(store),
    "regions": region_boxes,
    "boxes": file_boxes,
}


def make_target(store: Store, options: TargetOptions | str) -> Target:
    """The target of a recipe for every patch of a store.

    Args:
        store: the store.
        options: what is wanted, or just its name.

    Raises:
        UsageError: if there is no such target; the nearest is named.
        DataError: if no patch of the store has it.
    """
    if isinstance(options, str):
        options = TargetOptions(target=options)
    target = _find(store, options)
    if not target.valid.any():
        raise DataError(f"no patch has the target '{target.name}'", where=store.path, fix="choose another target")
    return target


def canonical_name(store: Store, name: str) -> str:
    """The name of a target, with the own name of a raster's channel whichever of its aliases is given.

    Raises:
        UsageError: if a raster has no such channel.
    """
    first, _, channel = name.partition(".")
    modality = store.modalities.get(first)
    if channel and modality is not None and modality.kind is Kind.RASTER:
        return f"{first}.{modality.own_names([channel])[0]}"
    return name


def _find(store: Store, options: TargetOptions) -> Target:
    name = options.target
    first, _, channel = name.partition(".")
    modality = store.modalities.get(first) if channel or "." not in name else None
    built_in = BUILT_IN.get("regions" if first == "regions" else name)
    if built_in is not None:
        return built_in(store, options)
    if modality is not None and modality.kind is Kind.RASTER:
        return raster_target(store, modality, channel)
    if modality is not None and modality.kind in (Kind.SERIES, Kind.IMAGE_SERIES):
        fix = "name a column of the index, a vector, a category or a raster"
        raise UsageError(f"the series '{first}' can't be predicted", where="task.target", fix=fix)
    if modality is not None and not channel:
        return category(store, modality) if modality.kind is Kind.CATEGORY else vector_numbers(store, modality)
    if name in store.index.columns:
        if holds_lists(store, name) and options.kind is not None:
            fix = "leave it out: several classes are predicted"
            raise UsageError(f"the column '{name}' holds lists", where="task.kind", fix=fix)
        if holds_lists(store, name):
            return column_lists(store, name)
        return column_numbers(store, name) if is_numbers(store, options) else column_classes(store, name)
    if name == "climate_zone":
        raise DataError("no patch has a climate zone", where=store.path, fix="choose another target")
    columns = [column for column in map(str, store.index.columns) if not column.startswith("has_")]
    own = [str(label) for label in store.provenance.get("labels", {})]
    valid = dict.fromkeys([*own, "climate_zone", *BUILT_IN, *store.modalities, *get_close_matches(name, columns)])
    fix = did_you_mean(name, valid)
    if own and fix.startswith("valid: "):
        fix = f"the store's labels are: {', '.join(own[:MOST_NAMES])}"
    raise UsageError(f"unknown target '{name}'", where="task.target", fix=fix)

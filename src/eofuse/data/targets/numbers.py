"""Targets with numbers: one or several a patch, in their unit."""

import numpy as np
import pandas as pd

from eofuse.data.store import Store
from eofuse.data.store.arrays import in_order, is_value
from eofuse.data.targets.base import MIXED, Target, TargetOptions
from eofuse.data.targets.labels import column_sources, hide_unknown, land_cover_shares
from eofuse.errors import DataError, UsageError
from eofuse.kinds import KINDS, REGRESSION
from eofuse.modalities import ELEVATION, WORLDCOVER, Modality


def vector_numbers(store: Store, modality: Modality) -> Target:
    """All numbers of a vector modality; known where each of them is."""
    values = store.read(modality.name, np.arange(len(store)))
    known = store.present(modality.name) & np.isfinite(values).all(axis=1)
    units = {channel.unit for channel in modality.channels}
    return Target(
        modality.name,
        REGRESSION,
        modality.channel_names,
        known,
        (modality.name,),
        np.where(known[:, None], values, 0).astype(np.float32),
        units.pop() if len(units) == 1 else MIXED,
    )


def is_numbers(store: Store, options: TargetOptions) -> bool:
    """Whether a column of the index is predicted as a number: as recipe or table spec say, else if it holds fractions."""
    column = store.index[options.target]
    wanted = None if options.kind is None else KINDS[options.kind]
    if wanted is not None and wanted.is_numbers and not pd.api.types.is_numeric_dtype(column):
        found = f"the column '{options.target}' holds no numbers"
        raise UsageError(found, where="task.kind", fix="use kind: single_label")
    if wanted is not None:
        return wanted.is_numbers
    declared = store.provenance.get("labels", {}).get(options.target)
    if declared in ("class", "number"):
        return bool(declared == "number" and pd.api.types.is_numeric_dtype(column))
    return bool(pd.api.types.is_float_dtype(column) and (column.dropna() % 1 != 0).any())


def column_numbers(store: Store, name: str) -> Target:
    """A column of the index as a number."""
    values = hide_unknown(store, name).to_numpy(dtype=np.float64, na_value=np.nan)
    known = np.isfinite(values)
    modality = store.modalities.get(name.partition(".")[0])
    unit = ""
    if modality is not None:
        unit = next((channel.unit for channel in modality.channels if name.endswith(f".{channel.name}")), "")
    return Target(
        name,
        REGRESSION,
        (name,),
        known,
        column_sources(store, name),
        np.where(known, values, 0).astype(np.float32)[:, None],
        unit,
    )


def land_cover_fractions(store: Store) -> Target:
    """Share of each WorldCover class of each patch; the shares sum to 1."""
    shares = land_cover_shares(store)
    known = ~np.isnan(shares).any(axis=1) & (np.nan_to_num(shares).sum(axis=1) > 0)
    values = np.where(known[:, None], np.nan_to_num(shares), 0)
    values /= np.maximum(values.sum(axis=1, keepdims=True), 1e-9)
    return Target(
        "land_cover_fractions",
        REGRESSION,
        tuple(category.name for category in WORLDCOVER.categories),
        np.asarray(known),
        (WORLDCOVER.name,),
        values.astype(np.float32),
        composition=True,
    )


def mean_elevation(store: Store) -> Target:
    """Mean of the elevation map of each patch, without its nodata pixels, in metres.

    Raises:
        DataError: if the store has no elevation.
    """
    if ELEVATION.name not in store.modalities:
        raise DataError("no patch has an elevation map", where=store.path, fix="choose another target")
    modality = store.modalities[ELEVATION.name]
    known = store.present(ELEVATION.name).copy()
    values = np.zeros((len(store), 1), dtype=np.float32)
    for rows in in_order(np.flatnonzero(known), 256):
        pixels = store.read(ELEVATION.name, rows).reshape(len(rows), -1)
        valid = is_value(modality, pixels)
        count = valid.sum(axis=1)
        known[rows] = count > 0
        mean = np.where(valid, pixels, 0).sum(axis=1, dtype=np.float64) / np.maximum(count, 1)
        values[rows, 0] = np.where(count > 0, mean * modality.scale + modality.offset, 0)
    return Target("mean_elevation", REGRESSION, ("mean_elevation",), known, (ELEVATION.name,), values, "m")

"""Targets with classes: one a patch, or several."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.sources.ben_ge.clc import CLC19, CLC43
from eofuse.data.store import Store
from eofuse.data.store.arrays import in_order
from eofuse.data.targets.base import Target
from eofuse.errors import UsageError
from eofuse.kinds import MULTI_LABEL, SINGLE_LABEL
from eofuse.modalities import WORLDCOVER, Modality, code_places

FRACTION = "worldcover_fraction."


def category(store: Store, modality: Modality) -> Target:
    """The category of each patch."""
    table = np.full(code_places(modality.categories), -1)
    for number, category in enumerate(modality.categories):
        table[category.code] = number
    numbers = table[np.minimum(store.read(modality.name, np.arange(len(store))), len(table) - 1)]
    classes = tuple(category.name for category in modality.categories)
    values, legend = np.maximum(numbers, 0), modality.categories
    return Target(modality.name, SINGLE_LABEL, classes, numbers >= 0, (modality.name,), values, legend=legend)


def column_sources(store: Store, name: str) -> tuple[str, ...]:
    """The modality from which a column of the index derives, if it does."""
    for start in ("has_", "nodata.", "empty_bands."):
        name = name.removeprefix(start)
    modality = WORLDCOVER.name if name.startswith(FRACTION) else name.partition(".")[0]
    return (modality,) if modality in store.modalities else ()


def hide_unknown(store: Store, name: str) -> pd.Series:
    """A column of the index, missing where it holds −1 for unknown."""
    column, modality = store.index[name], name.partition(".")[0]
    if name in ("column", "row") or (modality in store.modalities and store.modalities[modality].is_categorical):
        return column.where(column >= 0)
    return column


def holds_lists(store: Store, name: str) -> bool:
    """Whether the cells of a column of the index are lists."""
    column = store.index[name]
    return bool(column.dtype == object and column.map(np.ndim).any())


def column_lists(store: Store, name: str) -> Target:
    """The values that a column of the index lists as classes: unknown where there is no list, none where it is empty.

    Raises:
        UsageError: if they are too many different ones.
    """
    lists = [None if np.ndim(cell) == 0 else list(cell) for cell in store.index[name]]
    known = np.array([cell is not None for cell in lists])
    classes = sorted({str(label) for cell in lists if cell is not None for label in cell})
    if len(classes) > max(2, known.sum() / 2):
        found = f"the column '{name}' lists {len(classes)} different values"
        raise UsageError(found, where="task.target", fix="choose classes")
    number = {label: position for position, label in enumerate(classes)}
    values = np.zeros((len(store), len(classes)), dtype=np.float32)
    for row, cell in enumerate(lists):
        values[row, [number[str(label)] for label in cell or ()]] = 1
    return Target(name, MULTI_LABEL, tuple(classes), known, column_sources(store, name), values)


def column_classes(store: Store, name: str) -> Target:
    """The value of a column of the index as a class.

    Raises:
        UsageError: if it holds too many different values.
    """
    column = hide_unknown(store, name)
    numbers, classes = pd.factorize(column, sort=True)
    if len(classes) > max(2, (numbers >= 0).sum() / 2):
        found = f"the column '{name}' has {len(classes)} different values"
        raise UsageError(found, where="task.target", fix="choose classes, or kind: regression")
    sources = column_sources(store, name)
    return Target(name, SINGLE_LABEL, tuple(map(str, classes)), numbers >= 0, sources, np.maximum(numbers, 0))


def land_cover_shares(store: Store) -> npt.NDArray[np.float64]:
    """Share of each WorldCover class in each patch, (patches, 11): from the table, else from the map; NaN where neither is."""
    names = [category.name for category in WORLDCOVER.categories]
    columns = [FRACTION + name for name in names]
    fractions = np.full((len(store), len(names)), np.nan)
    if set(columns) <= set(store.index.columns):
        fractions = store.index[columns].to_numpy(dtype=float, copy=True)
    if WORLDCOVER.name in store.modalities:
        codes = [category.code for category in WORLDCOVER.categories]
        missing = np.flatnonzero(np.isnan(fractions).any(axis=1) & store.present(WORLDCOVER.name))
        for rows in in_order(missing, 256):
            for row, patch in zip(rows.tolist(), store.read(WORLDCOVER.name, rows), strict=True):
                by_class = np.bincount(patch.ravel(), minlength=256)[codes]
                if by_class.sum():
                    fractions[row] = by_class / by_class.sum()
    return fractions


def dominant_land_cover(store: Store) -> Target:
    """The WorldCover class with the largest share of each patch."""
    fractions = land_cover_shares(store)
    known = ~np.isnan(fractions).any(axis=1) & (np.nan_to_num(fractions).sum(axis=1) > 0)
    classes = tuple(category.name for category in WORLDCOVER.categories)
    values = np.where(known, np.nan_to_num(fractions).argmax(axis=1), 0)
    return Target("dominant_land_cover", SINGLE_LABEL, classes, known, (WORLDCOVER.name,), values)


def land_cover_above(store: Store, threshold: float) -> Target:
    """The WorldCover classes with more than a share of each patch."""
    fractions = land_cover_shares(store)
    known = np.asarray(~np.isnan(fractions).any(axis=1))
    classes = tuple(category.name for category in WORLDCOVER.categories)
    values = (np.nan_to_num(fractions) > threshold).astype(np.float32)
    return Target("land_cover_above", MULTI_LABEL, classes, known, (WORLDCOVER.name,), values)


def clc(store: Store, name: str) -> Target:
    """The labels of BigEarthNet (`clc19` or `clc43`).

    Unknown where a patch has no labels at all; for 19 classes, also where none of its labels is in that nomenclature.
    """
    classes = CLC19 if name == "clc19" else CLC43
    number = {label: position for position, label in enumerate(classes)}
    column = "labels_19" if name == "clc19" else "labels_43"
    values = np.zeros((len(store), len(classes)), dtype=np.float32)
    for row, labels in enumerate(store.index.get(column, ())):
        if np.ndim(labels):
            values[row, [number[label] for label in labels if label in number]] = 1
    return Target(name, MULTI_LABEL, classes, np.asarray(values.any(axis=1)), values=values)

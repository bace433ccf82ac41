"""What is to be predicted: class labels from the index (or, for land cover, from the maps), with what is known of each patch.

Named targets: `climate_zone`, `dominant_land_cover` (single label), `land_cover_above` (multi-label: WorldCover classes above a
fraction of the patch), `clc19` and `clc43` (multi-label: BigEarthNet's nomenclatures). Any category modality, and any column of the
index, is a single-label target by its own name. A target names the modalities it derives from: they can't be its inputs.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.sources.clc import CLC19, CLC43
from eofuse.data.store import Store
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.modalities import WORLDCOVER, Kind, Modality

TargetKind = Literal["single_label", "multi_label"]
FRACTION = "worldcover_fraction."


@dataclass(frozen=True)
class Target:
    """A label for each patch of a store.

    Attributes:
        name: name of the target.
        kind: one class a patch, or several.
        classes: names of the classes, in the order of the values.
        values: class numbers (patches,) int64, or indicators (patches, classes) float32; 0 where unknown.
        known: which patches have the label, (patches,).
        sources: modalities from which it derives, which can't be its inputs.
    """

    name: str
    kind: TargetKind
    classes: tuple[str, ...]
    values: npt.NDArray[Any]
    known: npt.NDArray[np.bool_]
    sources: tuple[str, ...] = ()

    def counts(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Number of labelled patches among `rows` that carry each class."""
        values = self.values[rows[self.known[rows]]]
        if self.kind == "single_label":
            return np.bincount(values, minlength=len(self.classes)).astype(np.int64)
        counts: npt.NDArray[np.int64] = values.sum(axis=0).astype(np.int64)
        return counts


def make_target(store: Store, name: str, threshold: float = 0.05) -> Target:
    """The target of that name for every patch of a store.

    Args:
        store: the store.
        name: a named target, a category modality or a column of the index.
        threshold: smallest fraction of the patch for `land_cover_above`.

    Raises:
        UsageError: if there is no such target; the nearest is named.
        DataError: if no patch of the store has it.
    """
    if name == "dominant_land_cover":
        target = _dominant_land_cover(store)
    elif name == "land_cover_above":
        target = _land_cover_above(store, threshold)
    elif name in ("clc19", "clc43"):
        target = _clc(store, name)
    elif name in store.modalities and store.modalities[name].kind is Kind.CATEGORY:
        target = _category(store, store.modalities[name])
    elif name in store.index.columns:
        target = _column(store, name)
    else:
        columns = [column for column in map(str, store.index.columns) if not column.startswith("has_")]
        valid = ["climate_zone", "dominant_land_cover", "land_cover_above", "clc19", "clc43", *columns]
        if name == "climate_zone":
            raise DataError("no patch has a climate zone", where=store.path, fix="choose another target")
        raise UsageError(f"unknown target '{name}'", where="task.target", fix=did_you_mean(name, valid))
    if not target.known.any():
        raise DataError(f"no patch has the target '{name}'", where=store.path, fix="choose another target")
    return target


def _category(store: Store, modality: Modality) -> Target:
    table = np.full(256, -1)
    for number, category in enumerate(modality.categories):
        table[category.code] = number
    numbers = table[store.read(modality.name, np.arange(len(store)))]
    classes = tuple(category.name for category in modality.categories)
    return Target(modality.name, "single_label", classes, np.maximum(numbers, 0), numbers >= 0, (modality.name,))


def _column(store: Store, name: str) -> Target:
    column = store.index[name]
    if column.map(np.ndim).any():
        raise UsageError(
            f"the column '{name}' holds lists", where="task.target", fix="choose a column with one value a row"
        )
    modality = name.partition(".")[0]
    if name in ("column", "row") or (modality in store.modalities and store.modalities[modality].is_categorical):
        column = column.where(column >= 0)  # -1 stands for unknown
    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 != 0).any():
        raise UsageError(f"the column '{name}' holds numbers, not classes", where="task.target", fix="choose classes")
    numbers, classes = pd.factorize(column, sort=True)
    if len(classes) > max(2, (numbers >= 0).sum() / 2):
        raise UsageError(
            f"the column '{name}' has {len(classes)} different values", where="task.target", fix="choose classes"
        )
    sources = (modality,) if modality in store.modalities else ()
    return Target(name, "single_label", tuple(map(str, classes)), np.maximum(numbers, 0), numbers >= 0, sources)


def land_cover_fractions(store: Store) -> npt.NDArray[np.float64]:
    """Share of each WorldCover class in each patch, (patches, 11): from the table, else from the map; NaN where neither is."""
    names = [category.name for category in WORLDCOVER.categories]
    columns = [FRACTION + name for name in names]
    fractions = np.full((len(store), len(names)), np.nan)
    if set(columns) <= set(store.index.columns):
        fractions = store.index[columns].to_numpy(dtype=float, copy=True)
    if WORLDCOVER.name in store.modalities:
        for row in np.flatnonzero(np.isnan(fractions).any(axis=1) & store.present(WORLDCOVER.name)).tolist():
            counts = np.bincount(store.read(WORLDCOVER.name, [row]).ravel(), minlength=256)
            by_class = counts[[category.code for category in WORLDCOVER.categories]]
            if by_class.sum():
                fractions[row] = by_class / by_class.sum()
    return fractions


def _dominant_land_cover(store: Store) -> Target:
    fractions = land_cover_fractions(store)
    known = ~np.isnan(fractions).any(axis=1) & (np.nan_to_num(fractions).sum(axis=1) > 0)
    classes = tuple(category.name for category in WORLDCOVER.categories)
    values = np.where(known, np.nan_to_num(fractions).argmax(axis=1), 0)
    return Target("dominant_land_cover", "single_label", classes, values, known, (WORLDCOVER.name,))


def _land_cover_above(store: Store, threshold: float) -> Target:
    fractions = land_cover_fractions(store)
    known = np.asarray(~np.isnan(fractions).any(axis=1))
    classes = tuple(category.name for category in WORLDCOVER.categories)
    values = (np.nan_to_num(fractions) > threshold).astype(np.float32)
    return Target("land_cover_above", "multi_label", classes, values, known, (WORLDCOVER.name,))


def _clc(store: Store, name: str) -> Target:
    """Unknown where a patch has no labels at all; for 19 classes, also where none of its labels is in that nomenclature."""
    classes = CLC19 if name == "clc19" else CLC43
    number = {label: position for position, label in enumerate(classes)}
    column = "labels_19" if name == "clc19" else "labels_43"
    values = np.zeros((len(store), len(classes)), dtype=np.float32)
    if column in store.index.columns:
        for row, labels in enumerate(store.index[column]):
            if labels is None or np.ndim(labels) == 0:
                continue
            for label in labels:
                if label in number:
                    values[row, number[label]] = 1
    return Target(name, "multi_label", classes, values, np.asarray(values.any(axis=1)))

"""How a target is spread over the parts of a split: classes counted, numbers sampled."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.loading import in_order
from eofuse.data.store import Store
from eofuse.data.targets import IGNORE, Target, make_target
from eofuse.errors import EofuseError, UsageError
from eofuse.modalities import Kind

MOST_PATCHES = 10_000
MOST_VALUES = 20_000

Rows = npt.NDArray[np.int64]
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Balance:
    """A target by part of a split.

    Attributes:
        target: its name.
        counted: what is counted, "patches" or "pixels".
        labelled: part → patches that have the target.
        classes: of targets with classes: a row a class that occurs, a column a part, counts.
        numbers: of targets with numbers: name → part → values, at most 20,000.
        unit: of the numbers.
        several: whether a patch may have several classes.
        looked_at: part → patches whose pixels were counted, where they are fewer than `labelled`.
    """

    target: str
    counted: str
    labelled: dict[str, int]
    classes: pd.DataFrame = field(default_factory=pd.DataFrame)
    numbers: dict[str, dict[str, npt.NDArray[np.float64]]] = field(default_factory=dict)
    unit: str = ""
    several: bool = False
    looked_at: dict[str, int] = field(default_factory=dict)


def natural_target(store: Store) -> Target | None:
    """What is most likely to be predicted: declared labels, CORINE's classes, land cover, any class map or category; None without."""
    declared = list(store.provenance.get("labels", {}))
    own = [
        m.name
        for kind in (Kind.RASTER, Kind.CATEGORY)
        for m in store.modalities.values()
        if m.kind is kind and m.is_categorical
    ]
    for name in [*declared, "clc19", "clc43", "dominant_land_cover", *own]:
        try:
            return make_target(store, name)
        except EofuseError:  # this store does not know the target
            continue
    return None


def balance(target: Target, parts: Mapping[str, Rows], seed: int = 0) -> Balance:
    """Counts the classes of a target, or samples its numbers, part by part.

    Args:
        target: the target.
        parts: rows of each part of a split.
        seed: of the patches (of maps) and values that are taken where there are too many.

    Raises:
        UsageError: if the target is boxes.
    """
    if target.kind.is_boxes:
        what = f"the balance of '{target.name}' can't be shown: it has boxes"
        raise UsageError(what, fix="choose a target with classes")
    labelled = {name: rows[target.valid[rows]] for name, rows in parts.items()}
    counts = {name: len(rows) for name, rows in labelled.items()}
    if target.kind.has_labels:
        by_part = {name: target.counts(rows) for name, rows in labelled.items()}
        return Balance(target.name, "patches", counts, _table(target, by_part), several=target.kind.has_several)
    generator = np.random.default_rng([seed, 17])
    if not target.kind.is_map:
        values = {name: target.values[rows] for name, rows in labelled.items()}
        return Balance(target.name, "patches", counts, numbers=_numbers(target, values, generator), unit=target.unit)
    chosen = {name: _at_most(rows, MOST_PATCHES // len(parts), generator) for name, rows in labelled.items()}
    looked_at = {name: len(rows) for name, rows in chosen.items()}
    if not target.kind.is_numbers:
        by_part = {name: _count_pixels(target, rows) for name, rows in chosen.items()}
        return Balance(target.name, "pixels", counts, _table(target, by_part), looked_at=looked_at)
    values = {name: _sample_pixels(target, rows, generator) for name, rows in chosen.items()}
    numbers = _numbers(target, values, generator)
    return Balance(target.name, "pixels", counts, numbers=numbers, unit=target.unit, looked_at=looked_at)


def _table(target: Target, by_part: Mapping[str, npt.NDArray[np.int64]]) -> pd.DataFrame:
    table = pd.DataFrame(by_part, index=pd.Index(target.classes, name="class"))
    table = table[table.sum(axis=1) > 0]
    return table.loc[table.sum(axis=1).sort_values(ascending=False, kind="stable").index]


def _numbers(
    target: Target, values: Mapping[str, npt.NDArray[np.generic]], generator: np.random.Generator
) -> dict[str, dict[str, npt.NDArray[np.float64]]]:
    found: dict[str, dict[str, npt.NDArray[np.float64]]] = {}
    for position, number in enumerate(target.classes):
        for part, table in values.items():
            column = table[:, position].astype(np.float64)
            found.setdefault(number, {})[part] = _at_most(column[np.isfinite(column)], MOST_VALUES, generator)
    return found


def _at_most(values: npt.NDArray[Scalar], count: int, generator: np.random.Generator) -> npt.NDArray[Scalar]:
    if len(values) <= count:
        return values
    return values[np.sort(generator.choice(len(values), size=count, replace=False))]


def _count_pixels(target: Target, rows: Rows) -> npt.NDArray[np.int64]:
    counts = np.zeros(256, dtype=np.int64)
    for batch in in_order(rows, 64):
        counts += np.bincount(target.read(batch).ravel(), minlength=256)
    counts[IGNORE] = 0
    return counts[: len(target.classes)]


def _sample_pixels(target: Target, rows: Rows, generator: np.random.Generator) -> npt.NDArray[np.generic]:
    """Some values of each patch, (values, numbers)."""
    taken = [np.zeros((0, len(target.classes)))]
    for batch in in_order(rows, 64):
        values = target.read(batch)
        flat = np.moveaxis(values, 1, -1).reshape(-1, values.shape[1])
        taken.append(_at_most(flat, 64 * len(batch), generator))
    return np.concatenate(taken)

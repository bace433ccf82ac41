"""What is to be predicted (`Target`), and how a recipe names it (`TargetOptions`)."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, Field

from eofuse.config import Options
from eofuse.data.store import Window
from eofuse.kinds import IGNORE as IGNORE
from eofuse.kinds import KINDS, TaskKind, Values
from eofuse.modalities import Category

MIXED = "mixed units"
"""Unit of numbers that have not all the same one."""

WHOLE_PATCH = (
    "dominant_land_cover", "land_cover_above", "land_cover_fractions", "mean_elevation",
    "worldcover_fraction", "clc19", "clc43",
)  # fmt: skip
"""Targets that describe all pixels of a patch, also those that a crop leaves out."""

Array = npt.NDArray[Any]


class TargetOptions(Options):
    """What is to be predicted.

    Attributes:
        target: name of the target (see `eofuse.data.targets`).
        kind: name of the kind of task, where a target could be several, as a column of the index; found out by default.
        threshold: fraction of the patch from which a land-cover class counts, for `land_cover_above`.
        classes: classes whose connected regions become boxes, for `regions`.
        smallest: pixels from which a region counts, for `regions`.
        file: COCO JSON or GeoJSON with boxes, for `boxes`.
        property: property of the features that holds the class, for `boxes` in GeoJSON.
        others: what patches are that the file does not mention, for `boxes`: `unknown`, or known to be `empty`.
    """

    target: str
    kind: Annotated[str, AfterValidator(KINDS.check)] | None = None
    threshold: float = Field(default=0.05, ge=0, lt=1)
    classes: tuple[str, ...] = ()
    smallest: int = Field(default=20, ge=1)
    file: str | None = None
    property: str = "class"
    others: Literal["unknown", "empty"] = "unknown"

    def has_boxes(self) -> bool:
        """Whether boxes are predicted."""
        return self.target.partition(".")[0] in ("regions", "boxes")


@dataclass(frozen=True)
class Target:
    """Something that is known, or not, of each patch of a store.

    Attributes:
        name: name of the target.
        kind: what it is.
        classes: names of the classes or of the numbers, in the order of the values.
        valid: which patches have it, (patches,).
        sources: modalities from which it derives, which can't be its inputs.
        values: of kinds with a value a patch: class numbers (patches,) int64, indicators (patches, classes) float32 or numbers
            (patches, numbers) float32; 0 where unknown.
        unit: of numbers.
        composition: whether the numbers are shares that sum to 1.
        source_channels: channels of the source from which it derives, by their own names, empty for all.
        notes: what a reader of results must know.
        legend: codes, names and colours of the classes, in their order, where they come from a class map or a category.
    """

    name: str
    kind: TaskKind
    classes: tuple[str, ...]
    valid: npt.NDArray[np.bool_]
    sources: tuple[str, ...] = ()
    values: Array = field(default_factory=lambda: np.zeros(0))
    unit: str = ""
    composition: bool = False
    source_channels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    legend: tuple[Category, ...] = ()

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """The old name of `valid`."""
        return self.valid

    def read(self, rows: npt.NDArray[np.int64], window: Window | None = None) -> Array:
        """The truth of some patches: see `eofuse.data.loading.Batch.targets`.

        Args:
            rows: rows of the store.
            window: pixels wanted, for kinds with pixels.
        """
        values: Array = self.values[rows]
        return values

    def counts(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Number of labelled patches among `rows` that carry each class, of kinds with classes a patch."""
        values = self.values[rows[self.valid[rows]]]
        if self.kind.values is Values.CLASS:
            return np.bincount(values, minlength=len(self.classes)).astype(np.int64)
        counts: npt.NDArray[np.int64] = values.sum(axis=0).astype(np.int64)
        return counts

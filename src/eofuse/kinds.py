"""Kinds of tasks: what can be predicted of a patch. `TaskKind` is one, `KINDS` has them all.

What depends on a kind looks at its properties, above all `place` and `values`, never at its name. So a kind that another package adds
(entry points `eofuse.tasks`) works everywhere. A kind's loss, evidence and predictions are in its `eofuse.tasks.Task`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from eofuse.registry import Registry

IGNORE = 255
"""Class number of pixels without a label."""

BINS = 15
"""Bins of confidence."""

MOST_BOXES = 100
"""Predicted boxes of a patch, padded."""

OVERLAPS = 10
"""Overlaps from which a predicted box counts as found: 0.5, 0.55, …, 0.95."""

EACH = -1
"""In a shape: the number of classes, or of predicted numbers."""


class Place(Enum):
    """Of what something is predicted."""

    PATCH = "patch"
    PIXEL = "pixel"
    BOX = "box"


class Values(Enum):
    """What is predicted of it."""

    CLASS = "one class"
    CLASSES = "any number of classes"
    NUMBERS = "numbers"


@dataclass(frozen=True)
class TaskKind:
    """A kind of task.

    Attributes:
        name: in recipes, saved models and tables.
        words: what is predicted, for people.
        place: of what it is predicted.
        values: what they are.
        ranking: name of the metric that ranks by default.
        head: name of the model's head (see `eofuse.models.heads.HEADS`).
        evidence: arrays from which metrics follow, a row a test patch: shape of a row by name, with `EACH` for the number of classes.
        support: what the support of a class counts.
        columns: of the table of test predictions, besides the evidence.
        sums: arrays of the evidence, whole numbers for the most part, of which metrics need only the sums over patches, and nothing
            else; what else the evidence holds is alike for all patches of a run.
    """

    name: str
    words: str
    place: Place
    values: Values
    ranking: str
    head: str
    evidence: Mapping[str, tuple[int, ...]] = field(compare=False)
    support: str = "test patches"
    columns: tuple[str, ...] = ()
    sums: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The name, for messages."""
        return self.name.replace("_", " ")

    @property
    def needs_maps(self) -> bool:
        """Whether a head looks at maps, not only at vectors."""
        return self.place is not Place.PATCH

    @property
    def is_map(self) -> bool:
        """Whether truth and predictions are maps."""
        return self.place is Place.PIXEL

    @property
    def is_boxes(self) -> bool:
        """Whether truth and predictions are boxes."""
        return self.place is Place.BOX

    @property
    def is_numbers(self) -> bool:
        """Whether numbers are predicted."""
        return self.values is Values.NUMBERS

    @property
    def has_several(self) -> bool:
        """Whether classes do not exclude each other."""
        return self.values is Values.CLASSES

    @property
    def has_labels(self) -> bool:
        """Whether a patch has one or several classes as a whole."""
        return self.place is Place.PATCH and not self.is_numbers

    @property
    def has_probabilities(self) -> bool:
        """Whether probabilities of classes are predicted, which a temperature can calibrate."""
        return not (self.is_numbers or self.is_boxes)

    @property
    def unlabelled(self) -> float:
        """Value of a map's pixels without truth."""
        return float("nan") if self.is_numbers else float(IGNORE)

    def evidence_shapes(self, classes: int) -> dict[str, tuple[int, ...]]:
        """Shapes of a row of the evidence by name, for so many classes or numbers."""
        return {name: tuple(classes if size == EACH else size for size in row) for name, row in self.evidence.items()}


KINDS: Registry[TaskKind] = Registry("kind of task", "eofuse.tasks", "eofuse.kinds")

LABELS = {"truth": (), "probabilities": (EACH,), "temperature": ()}
"""Evidence of one class a patch."""

NUMBERS = {"truth": (EACH,), "prediction": (EACH,), "margin": (EACH,)}
"""Evidence of numbers a patch."""

SINGLE_LABEL = KINDS.add(
    TaskKind("single_label", "one class a patch", Place.PATCH, Values.CLASS, "macro_f1", "classification", LABELS)
)

MULTI_LABEL = KINDS.add(
    TaskKind(
        "multi_label",
        "any number of classes a patch",
        Place.PATCH,
        Values.CLASSES,
        "mAP",
        "classification",
        LABELS | {"truth": (EACH,)},
    )
)

REGRESSION = KINDS.add(
    TaskKind("regression", "numbers a patch", Place.PATCH, Values.NUMBERS, "rmse", "regression", NUMBERS),
)

SEGMENTATION = KINDS.add(
    TaskKind(
        "segmentation",
        "a class a pixel",
        Place.PIXEL,
        Values.CLASS,
        "miou",
        "dense",
        {"confusion": (EACH, EACH), "boundary": (EACH, 4), "reliability": (2, BINS, 3)},
        support="test pixels",
        sums=("confusion", "boundary", "reliability"),
    )
)

PIXEL_REGRESSION = KINDS.add(
    TaskKind(
        "pixel_regression",
        "numbers a pixel",
        Place.PIXEL,
        Values.NUMBERS,
        "rmse",
        "dense",
        {"sums": (EACH, 7), "margin": (EACH,)},
        support="test pixels",
    )
)

DETECTION = KINDS.add(
    TaskKind(
        "detection",
        "boxes",
        Place.BOX,
        Values.CLASS,
        "box_map",
        "detection",
        {
            "boxes": (MOST_BOXES, 4),
            "scores": (MOST_BOXES,),
            "labels": (MOST_BOXES,),
            "matched": (MOST_BOXES, OVERLAPS),
            "counts": (EACH,),
        },
        support="true boxes",
        columns=("truth_boxes",),
    )
)

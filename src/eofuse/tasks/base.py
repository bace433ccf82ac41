"""What every task has: a target, options, a loss on logits and metrics on probabilities."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from torch import Tensor

from eofuse.config import Options
from eofuse.data.loading import Batch, Rows
from eofuse.data.targets import Target, TargetKind
from eofuse.errors import UsageError, did_you_mean
from eofuse.evaluation.metrics import METRICS, RANKING_METRIC
from eofuse.models.model import HeadSpec

Array = npt.NDArray[Any]
Scores = dict[str, Any]


class TaskOptions(Options):
    """What is to be learned.

    Attributes:
        target: name of the target (see `eofuse.data.targets`).
        threshold: fraction of the patch from which a land-cover class counts, for `land_cover_above`.
        balance: for rare classes, weight the loss by class or sample classes equally often.
        metric: the one metric that ranks, selects checkpoints and stops; the kind's default if not given.
    """

    target: str
    threshold: float = Field(default=0.05, ge=0, lt=1)
    balance: Literal["none", "class_weights", "sampling"] = "none"
    metric: str | None = None


class Task(ABC):
    """A target with its loss and its metrics.

    Args:
        target: the labels.
        options: how they are learned.
    """

    kind: ClassVar[TargetKind]

    def __init__(self, target: Target, options: TaskOptions) -> None:
        self.target = target
        self.balance = options.balance
        self.metrics = METRICS[self.kind]
        self.metric = options.metric or RANKING_METRIC[self.kind]
        if self.metric not in self.metrics:
            raise UsageError(
                f"unknown metric '{self.metric}'", where="task.metric", fix=did_you_mean(self.metric, self.metrics)
            )
        self.class_weights: Tensor | None = None

    @property
    def name(self) -> str:
        """Name of the target."""
        return self.target.name

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.target.classes

    def head(self) -> HeadSpec:
        """What a model must know of the task to build its head."""
        return HeadSpec(self.kind, self.classes)

    @abstractmethod
    def weigh_classes(self, rows: Rows) -> None:
        """Sets the class weights of the loss from the training patches, if the options ask for them."""

    @abstractmethod
    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Mean loss over the labelled patches of a batch; logits are (heads, batch, classes)."""

    @abstractmethod
    def score(self, truth: Array, probabilities: Array, weights: Array | None = None) -> Scores:
        """Every metric over a set of patches.

        Args:
            truth: (patches,) class numbers or (patches, classes) indicators.
            probabilities: (patches, classes).
            weights: none, (patches,), or (replicates, patches) for as many values of each metric.
        """

    def constant_prediction(self, rows: Rows) -> Array:
        """The best prediction that ignores the inputs: the class frequencies of the training patches, (classes,)."""
        counts = self.target.counts(rows).astype(np.float64)
        return counts / max(int(self.target.known[rows].sum()), 1)

"""What every task has: a target, options, a loss on raw outputs, and metrics on evidence.

Evidence is a dictionary of arrays with a row a patch, from which every metric under any weighting of the patches follows: the
bootstrap over scenes needs nothing else.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer
from torch import Tensor

from eofuse.data.loading import Rows
from eofuse.data.store import Window
from eofuse.data.targets import Target, TargetOptions
from eofuse.data.targets.base import MIXED
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.evaluation.calibration import choose_temperature
from eofuse.evaluation.coverage import conformal_margin
from eofuse.evaluation.metrics import Metric, class_metrics_of, class_scores, lower_is_better, metrics_of, scores
from eofuse.evaluation.weighting import Totals
from eofuse.kinds import TaskKind
from eofuse.models.heads import FITTED_HEADS, NETWORK, HeadSpec
from eofuse.registry import Registry
from eofuse.tasks.drawing import Draw

Array = npt.NDArray[Any]
Evidence = dict[str, Any]
"""Arrays by name, or `eofuse.evaluation.sparse.SparseRows`, with a row a patch."""

Scores = dict[str, Any]

COVERAGE = 0.9
"""Share of the truth that a predictive interval is to cover."""


class TaskOptions(TargetOptions):
    """What is to be learned.

    Attributes:
        balance: for rare classes, weight the loss by class or sample classes equally often.
        loss: what is minimised, one name or several to be summed (`cross_entropy+dice`); the kind's default if not given.
        network: decoder (`unet`, `fpn`, `deeplabv3plus`) or detector (`fcos`, `retinanet`, `faster_rcnn`) of kinds with pixels.
        smoothing: share of the truth that cross-entropy spreads over all classes (Szegedy et al. 2016, arXiv:1512.00567).
        weight: of this task's loss among several.
        metric: the one metric that ranks, selects checkpoints and stops; the kind's default if not given.
        head: `network` learns step by step; others are fitted in one go on encoders that stay as they are, of classes and numbers of
            patches: `linear` (logistic or ridge regression), `nearest_mean` (of the classes), `neighbours`. Validation chooses how
            strong.
    """

    balance: Literal["none", "class_weights", "sampling"] = "none"
    loss: tuple[str, ...] = ()
    network: str | None = None
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    weight: float = Field(default=1.0, gt=0)
    metric: str | None = None
    head: str = NETWORK

    @model_serializer(mode="wrap")
    def _without_what_is_not_chosen(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Recipes without `head` and `smoothing` have the identity that they had before there were these options."""
        values: dict[str, Any] = handler(self)
        return {
            name: value
            for name, value in values.items()
            if (name, value) not in (("head", NETWORK), ("smoothing", 0.0))
        }

    @field_validator("loss", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return tuple(name.strip() for name in value.split("+")) if isinstance(value, str) else value


class Task(ABC):
    """A target with its loss and its metrics; a subclass a kind.

    `kind` and `totals`, of which the metrics are functions, are those of the class; `losses`, `networks` and `balances` are what
    options choose from, `smooths` says whether cross-entropy takes smoothed classes.

    Args:
        target: the truth.
        options: how it is learned.

    Attributes:
        scored: metrics of a set of patches.
        metrics: names of those that training follows, the kind's own choice first.
        metric: name of the one that ranks.
        constant: the best prediction that ignores the inputs, for one patch; it broadcasts to what a model predicts. Set by `fit`.
        class_weights: (classes,) weights in the loss, None for none. Set by `fit`.
    """

    kind: ClassVar[TaskKind]
    totals: ClassVar[type[Totals]]
    losses: tuple[str, ...]
    networks: ClassVar[tuple[str, ...]] = ()
    balances: ClassVar[tuple[str, ...]] = ("none",)
    smooths: ClassVar[bool] = False

    def __init__(self, target: Target, options: TaskOptions) -> None:
        self.target = target
        self.options = options
        self.scored: list[Metric] = metrics_of(self.kind)
        if target.unit == MIXED:  # errors in unlike units have no mean
            self.scored = [metric for metric in self.scored if metric.is_main and not metric.in_unit]
        main = [metric for metric in self.scored if metric.is_main]
        if target.composition:  # shares that sum to 1 have no bias over all of them
            main = [metric for metric in main if metric.best != "zero"]
        self.metrics = tuple(metric.name for metric in main)
        self.metric = options.metric or self.metrics[0]
        self.loss_names = options.loss or self.losses[:1]
        self.network = options.network or (self.networks[0] if self.networks else "")
        self.constant: Array = np.zeros(0)
        self.class_weights: Tensor | None = None
        self._sent: tuple[Tensor, Tensor] | None = None  # class weights, and their copy on a device
        self._looked_at: tuple[Mapping[str, Any], Totals] | None = None  # evidence, and what its metrics share
        self._check("metric", self.metric, tuple(metric.name for metric in main if metric.best != "zero"))
        self._check("balance", options.balance, self.balances)
        for name in self.loss_names:
            self._check("loss", name, self.losses)
        if options.smoothing and (
            not self.smooths or "cross_entropy" not in self.loss_names or options.head != NETWORK
        ):
            what = "smoothing is for cross-entropy between classes, of a head that learns step by step"
            raise UsageError(what, where=f"task.smoothing, {target.name}", fix="leave it out")
        if self.network:
            self._check("network", self.network, self.networks)
        self._check("head", options.head, (NETWORK, *(n for n, each in FITTED_HEADS.items() if each.is_for(self.kind))))

    def _check(self, option: str, value: str, valid: tuple[str, ...]) -> None:
        if value not in valid:
            found = f"unknown {option} '{value}' for {self.kind.title} ('{self.name}')"
            fix = did_you_mean(value, valid) if valid else "leave it out"
            raise UsageError(found, where=f"task.{option}", fix=fix)

    @property
    def name(self) -> str:
        """Name of the target."""
        return self.target.name

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, or of the predicted numbers."""
        return self.target.classes

    @property
    def lower_is_better(self) -> bool:
        """Whether the ranking metric is better when smaller."""
        return lower_is_better(self.metric)

    @property
    def fitted(self) -> str:
        """How its head is fitted in one go, empty where it learns step by step."""
        return "" if self.options.head == NETWORK else self.options.head

    def known(self, rows: Rows) -> Rows:
        """Those of the rows that have the target."""
        return rows[self.target.valid[rows]]

    def weights_on(self, device: torch.device) -> Tensor | None:
        """The class weights on a device, sent there once."""
        if self.class_weights is None or self.class_weights.device == device:
            return self.class_weights
        if self._sent is None or self._sent[0] is not self.class_weights or self._sent[1].device != device:
            self._sent = self.class_weights, self.class_weights.to(device)
        return self._sent[1]

    @abstractmethod
    def fit(self, rows: Rows, window: Window | None) -> None:
        """Learns from the training patches what loss, head and constant prediction need.

        Args:
            rows: training patches.
            window: pixels that are used.
        """

    @abstractmethod
    def check(self, rows: Mapping[str, Rows], where: Path, *, refit: bool) -> list[str]:
        """What limits the worth of results, in sentences; after `fit`.

        Args:
            rows: of each part of the split.
            where: of the store.
            refit: whether the model learns from the validation patches too, in the end.

        Raises:
            DataError: if nothing can be learned from the training patches, or validation can't judge it.
        """

    def head(self) -> HeadSpec:
        """What a model must know of the task to build its head."""
        legend = self.target.legend
        return HeadSpec(
            self.kind,
            self.classes,
            network=self.network,
            codes=tuple(category.code for category in legend),
            colours=tuple(category.colour for category in legend),
            fitted=self.fitted,
        )

    @abstractmethod
    def loss(self, output: Any, truth: Tensor, known: Tensor) -> Tensor:
        """Mean loss over what is known of a batch, 0 where nothing is known.

        Args:
            output: a head's raw one.
            truth: as `Batch.targets` has it.
            known: (batch,), which patches have the target.
        """

    def valid_count(self, truth: Tensor, known: Tensor) -> Tensor:
        """How many valid targets `loss` is the mean of, a scalar: by it, parts of a batch are weighed. Patches by default.

        Args:
            truth: as `Batch.targets` has it.
            known: (batch,), which patches have the target.
        """
        return known.sum()

    @abstractmethod
    def evidence(self, prediction: Array, truth: Array, spec: HeadSpec, *, complete: bool = True) -> Evidence:
        """What is kept of some patches.

        Args:
            prediction: what the head predicts for them, before calibration.
            truth: as `Target.read` gives it.
            spec: of the head, with the temperature or margin of the calibration.
            complete: whether metrics that are slow to compute, and rank nothing here, are wanted too.
        """

    def score(self, evidence: Mapping[str, Array], weights: Array | None = None) -> Scores:
        """Every metric over a set of patches.

        Args:
            evidence: of these patches.
            weights: none, (patches,), or (replicates, patches) for as many values of each metric.
        """
        if weights is None:
            return scores(self.scored, self.totals(self.kind, evidence))
        if self._looked_at is None or self._looked_at[0] is not evidence:  # resampling asks of the same many times
            self._looked_at = evidence, self.totals(self.kind, evidence)
            self._looked_at[1].look_at_patches()
        return scores(self.scored, self._looked_at[1].under(weights))

    def per_class(self, evidence: Mapping[str, Array]) -> dict[str, Array]:
        """Metrics of each class or number, (classes,) each, with `support`."""
        return {**class_scores(class_metrics_of(self.kind), self.totals(self.kind, evidence))}

    def sample(self, prediction: Array, truth: Array, draw: Draw) -> tuple[Array, Array, Array]:
        """Predictions, truth and number of the patch of those patches or labelled pixels that a draw takes."""
        chosen = draw.candidates(len(truth))
        return prediction[chosen], truth[chosen], chosen

    def calibrate(self, prediction: Array, truth: Array, scenes: Array) -> tuple[dict[str, Any], dict[str, Any]]:
        """Temperature or margin of the head, and JSON-ready facts about how it was chosen.

        A temperature divides logits if it helps in held-out validation scenes; the margin is that of split conformal prediction.

        Args:
            prediction: samples of validation patches (see `sample`).
            truth: of the samples.
            scenes: (n,) scene of each.
        """
        if self.kind.is_numbers:
            margin = conformal_margin(prediction - truth, COVERAGE)
            return ({"margin": tuple(margin.tolist())} if np.isfinite(margin).all() else {}), {}
        if not self.kind.has_probabilities or not len(truth):
            return {}, {}
        choice = choose_temperature(prediction, truth, scenes, self.kind)
        facts = {name: None if np.isnan(value) else value for name, value in asdict(choice).items()}
        return {"temperature": choice.temperature}, facts

    @classmethod
    def decide(cls, prediction: Tensor, with_data: npt.NDArray[np.bool_] | None) -> Array:
        """What is kept of a model's prediction for a batch of patches, on the CPU.

        Args:
            prediction: of `Model.predict`.
            with_data: pixels at which the inputs have a value, (batch, height, width); None where there is no raster.

        Returns:
            The prediction; where it is a map, as its GeoTIFF holds it, with the nodata value where there are no data.
        """
        return prediction.float().cpu().numpy()

    @classmethod
    @abstractmethod
    def prediction_columns(cls, name: str, head: HeadSpec, decided: Array, threshold: float) -> dict[str, Array]:
        """Columns of the table of predictions, with a value for each patch of a batch.

        Args:
            name: of the target.
            head: what the model predicts.
            decided: of `decide`.
            threshold: probability from which a class of several counts as present, and score from which a box counts.
        """

    def extra_columns(self, rows: Rows, window: Window | None) -> dict[str, list[Array]]:
        """Columns of the table of test predictions besides the evidence, as the kind names them; none by default."""
        return {}

    def keep(self, prediction: Array) -> Array | None:
        """The map of each patch that is kept for pictures; none by default."""
        return None


TASKS: Registry[type[Task]] = Registry("task", "eofuse.tasks", "eofuse.tasks")
"""By name of their kind."""


def hide_without_data(bands: Array, with_data: npt.NDArray[np.bool_] | None, nodata: Any) -> Array:
    """Maps (batch, bands, height, width) with the nodata value where there are no data, (batch, height, width)."""
    return bands if with_data is None else np.where(with_data[:, None], bands, nodata)


def check_classes(task: Task, train: Array, learned: Array, test: Array, where: Path) -> list[str]:
    """What to say of classes that no model can learn; a `DataError` if the training patches show fewer than two.

    `learned` counts the classes in all patches from which the model learns, `train` in the training patches alone.
    """
    if (train > 0).sum() < 2:
        present = ", ".join(name for name, count in zip(task.classes, train, strict=True) if count) or "none"
        found = f"training patches show fewer than two classes of '{task.name}' ({present})"
        raise DataError(found, where=where, fix="choose another target or split, or more labels")
    unseen = [
        f"{name} ({after})"
        for name, before, after in zip(task.classes, learned, test, strict=True)
        if after and not before
    ]
    if not unseen:
        return []
    return [f"Classes in the test set that no training patch shows, and no model can learn: {', '.join(unseen)}."]

"""Metrics: `Metric` is one, with all that eofuse knows of it; `METRICS` has them all; `scores` computes those of some evidence.

A metric is a function of `Totals`: the evidence of a set of patches under one weighting or many at once, with the sums that metrics
share. A metric that is registered, here or by another package (entry points `eofuse.metrics`), is in the scores of its kinds of tasks,
and from there in tables, studies and reports, with intervals.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from eofuse.errors import UsageError
from eofuse.evaluation.weighting import FloatArray, Totals
from eofuse.kinds import TaskKind
from eofuse.registry import Registry

ANY = (-math.inf, math.inf)

LOSS = "loss"
"""Name of the training objective in curves, beside the metrics."""


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        name: in recipes and tables.
        title: for people.
        meaning: what it is, as half a sentence.
        is_for: whether tasks of a kind have it.
        function: its values (R,) under each weighting of a set of patches; None if it is of single classes only.
        per_class: its values (R, K) for each class or number; None if there are none.
        best: whether a better value is higher, lower, or nearer to 0, which can't rank.
        perfect: value of perfect predictions.
        bounds: least and greatest value that is possible.
        unit: of its values, where `{}` stands for the unit of the predicted numbers; empty without one.
        is_main: whether it is computed at every evaluation in training, and may rank.
        is_slow: whether its evidence is kept only where it ranks, or in the end.
        rewards_guessing: whether a model gains by guessing classes rather than always naming the commonest.
        by_class: name of the metric of single classes that is shown beside it; the first of the kind by default.
        order: its place among the metrics of a kind.
        pixel_meaning: what it is where something is predicted for every pixel, if that differs.
        from_sums: whether it needs of pixels only the sums of their evidence over patches, so that sums over scenes do for intervals.
    """

    name: str
    title: str
    meaning: str
    is_for: Callable[[TaskKind], bool]
    function: Callable[[Any], FloatArray] | None = None
    per_class: Callable[[Any], FloatArray] | None = None
    best: Literal["higher", "lower", "zero"] = "higher"
    perfect: float = 1.0
    bounds: tuple[float, float] = (0.0, 1.0)
    unit: str = ""
    is_main: bool = True
    is_slow: bool = False
    rewards_guessing: bool = False
    by_class: str = ""
    order: int = 1000
    pixel_meaning: str = ""
    from_sums: bool = False

    @property
    def in_unit(self) -> bool:
        """Whether its unit derives from that of the predicted numbers."""
        return "{}" in self.unit

    def unit_of(self, numbers: str) -> str:
        """Its unit, where the predicted numbers have this one."""
        return self.unit.format(numbers) if numbers or not self.in_unit else ""


METRICS: Registry[Metric] = Registry("metric", "eofuse.metrics", "eofuse.evaluation.metrics")


def metrics_of(kind: TaskKind) -> list[Metric]:
    """The metrics of a set of patches that tasks of a kind have, in their order: the one that ranks by default first."""
    found = _ordered(metric for metric in METRICS.values() if metric.function is not None and metric.is_for(kind))
    return sorted(found, key=lambda metric: metric.name != kind.ranking)


def class_metrics_of(kind: TaskKind) -> list[Metric]:
    """The metrics of single classes or numbers that tasks of a kind have, in their order."""
    return _ordered(metric for metric in METRICS.values() if metric.per_class is not None and metric.is_for(kind))


def sums_of(kind: TaskKind) -> tuple[str, ...]:
    """Arrays of the evidence that may be summed over scenes before tasks of a kind are scored; none if a metric needs patches."""
    return kind.sums if all(metric.from_sums for metric in [*metrics_of(kind), *class_metrics_of(kind)]) else ()


def _ordered(metrics: Iterable[Metric]) -> list[Metric]:
    return sorted(metrics, key=lambda metric: (metric.order, metric.name))


def scores(metrics: Iterable[Metric], totals: Totals) -> dict[str, Any]:
    """Values of metrics by name: floats, or (R,) for (R, N) weights. What is undefined is NaN.

    Raises:
        UsageError: if a metric returns another shape.
    """
    values = {metric.name: _value(metric, totals) for metric in metrics if metric.function is not None}
    return {name: value if totals.many else float(value[0]) for name, value in values.items()}


def _value(metric: Metric, totals: Totals) -> FloatArray:
    assert metric.function is not None
    value, expected = metric.function(totals), (len(totals.weights),)
    if np.shape(value) != expected:
        what = (
            f"the metric '{metric.name}' returned the shape {np.shape(value)}, expected {expected}: a value a weighting"
        )
        raise UsageError(what, where=metric.function.__module__, fix="reduce the last axis only")
    return value


def class_scores(metrics: Iterable[Metric], totals: Totals) -> dict[str, FloatArray]:
    """Values of metrics for each class or number by name, (K,) each, with `support`.

    Raises:
        UsageError: if the totals have several weightings.
    """
    if totals.many:
        raise UsageError("only one weighting is possible here", where="weights", fix="give (N,)")
    values = {metric.name: metric.per_class(totals)[0] for metric in metrics if metric.per_class is not None}
    return values | {"support": totals.support[0]}


def lower_is_better(metric: str) -> bool:
    """Whether less of a metric, or of the loss, is better; not of names that are no metric's, as the mean skill."""
    return metric == LOSS or (metric in METRICS and METRICS[metric].best == "lower")


def rewards_guessing(metric: str) -> bool:
    """Whether a model gains in a metric by guessing classes rather than always naming the commonest."""
    return metric in METRICS and METRICS[metric].rewards_guessing


def bounds(metric: str) -> tuple[float, float]:
    """Least and greatest value that a metric can have."""
    return METRICS[metric].bounds if metric in METRICS else ANY


def skill(metric: str, value: float, constant: float) -> float:
    """How much of the way from the constant prediction to perfection a value of a metric has come: 0 to 1, down to -1 if worse.

    What cannot be improved on the constant prediction, which is perfect already, has a skill of 0. Murphy 1988, Skill scores
    based on the mean square error and their relationships to the correlation coefficient, Monthly Weather Review 116(12).
    """
    perfect = METRICS[metric].perfect
    if perfect == constant:
        return 0.0
    return max(-1.0, (value - constant) / (perfect - constant))

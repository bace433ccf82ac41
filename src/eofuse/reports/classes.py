"""What a target's classes or numbers get one by one: scores, confusion matrices, predicted against true."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from eofuse.evaluation.metrics import METRICS, class_metrics_of
from eofuse.kinds import Values
from eofuse.reports.figures.confusion import confusion_figure
from eofuse.reports.figures.per_class import class_support, per_class_figure
from eofuse.reports.figures.scatter import scatter_figure
from eofuse.reports.figures.style import VARIANT_COLOURS
from eofuse.reports.pictures import NARROW, Picture, picture, wide_and_narrow
from eofuse.reports.runs import class_totals, seed_means
from eofuse.reports.tables import largest_value
from eofuse.reports.wording import MetricWords, class_title, metric_words, share
from eofuse.studies.results import StudyResults

MOST_VARIANT_PICTURES = 12
MOST_SCATTERS = 6


@dataclass(frozen=True)
class ClassLine:
    """Scores of one class or number under the first-ranked variant, means over seeds, in the order of the metrics."""

    name: str
    support: float
    share: str
    scores: tuple[float, ...]


@dataclass(frozen=True)
class ByClass:
    """What the page says of single classes or numbers.

    Attributes:
        title: heading.
        counted: what the support counts.
        metrics: columns of the table.
        lines: of the table, the most frequent class first; numbers in their order.
        overview: one picture of all classes under all variants; None where there is one number only.
        confusions: a matrix a variant, for one class a patch or pixel.
        shares_only: whether the matrices hold per cent alone.
        scatters: predicted against true, for numbers a patch.
        column: what a line is: a class or a number.
    """

    title: str
    counted: str
    metrics: tuple[MetricWords, ...]
    lines: tuple[ClassLine, ...]
    overview: Picture | None
    confusions: tuple[Picture, ...]
    shares_only: bool
    scatters: tuple[Picture, ...]
    column: str


def by_class(results: StudyResults, ranked: Sequence[str], palette: Sequence[str]) -> ByClass:
    """Scores, matrices and scatters of a target.

    Args:
        results: the study.
        ranked: names of the variants, the best first.
        palette: names of the variants in the order that fixes their colours.
    """
    kind = results.kind
    numbers = kind.is_numbers
    metrics = _metrics(results)
    matrices = _matrices(results, ranked)
    shares_only = kind.is_map
    return ByClass(
        title="Number by number"
        if numbers and len(results.summary["classes"]) > 1
        else "Errors"
        if numbers
        else "By class",
        counted=kind.support,
        metrics=metrics,
        lines=_lines(results, ranked[0], metrics) if ranked else (),
        overview=_overview(results, ranked, palette, metrics),
        confusions=tuple(
            _confusion_picture(results, name, counts, shares_only=shares_only) for name, counts in matrices.items()
        ),
        shares_only=shares_only,
        scatters=_scatters(results, ranked[0]) if ranked else (),
        column="Number" if numbers else "Class",
    )


def _metrics(results: StudyResults) -> tuple[MetricWords, ...]:
    kind, table, unit = results.kind, results.per_class, results.summary["unit"]
    names = [metric.name for metric in class_metrics_of(kind)]
    return tuple(metric_words(name, kind, unit, largest_value(table, name, "value")) for name in names)


def _lines(results: StudyResults, variant: str, metrics: Sequence[MetricWords]) -> tuple[ClassLine, ...]:
    chosen = results.per_class[results.per_class["variant"] == variant]
    if chosen.empty:
        return ()
    classes = results.summary["classes"]
    scores = chosen.pivot_table(index="class", columns="metric", values="value", aggfunc="mean", dropna=False)
    scores = scores.reindex(index=classes, columns=[metric.name for metric in metrics])
    support = class_support(chosen).reindex(classes).fillna(0)
    whole = results.summary["patches"]["test"] if results.kind.has_labels else float(support.sum())
    if not results.kind.is_numbers:
        support = support.sort_values(ascending=False, kind="stable")
    values = {str(name): tuple(row) for name, row in zip(classes, scores.to_numpy(dtype=float).tolist(), strict=True)}
    return tuple(
        ClassLine(str(name), float(count), share(float(count), whole), values[str(name)])
        for name, count in support.items()
    )


def _overview(
    results: StudyResults, ranked: Sequence[str], palette: Sequence[str], metrics: Sequence[MetricWords]
) -> Picture | None:
    is_alone = results.kind.is_numbers and len(results.summary["classes"]) < 2
    if not ranked or not metrics or is_alone or not (results.per_class["support"] > 0).any():
        return None
    ranking = METRICS.get(results.summary["metric"])
    wanted = ranking.by_class if ranking is not None else ""
    metric = next((each for each in metrics if each.name == wanted), metrics[0])
    counted = results.kind.support
    draw = partial(
        per_class_figure,
        results.per_class,
        results.summary["classes"],
        metric,
        ranked[: len(VARIANT_COLOURS)],
        counted=counted,
        palette=palette,
    )
    return wide_and_narrow(
        lambda width: draw(width=width), f"{metric.title} one by one under each variant, and the number of {counted}."
    )


def _matrices(results: StudyResults, ranked: Sequence[str]) -> dict[str, np.ndarray]:
    """Confusion matrices, (K, K) counts of all runs together, by variant; none for other kinds of task."""
    if results.kind.is_boxes or results.kind.values is not Values.CLASS:
        return {}
    matrices = {}
    for name in ranked[:MOST_VARIANT_PICTURES]:
        chosen = results.predictions[results.predictions["variant"] == name]
        if len(chosen):
            matrices[name] = class_totals(results, chosen).confusion[0]
    return matrices


def _confusion_picture(results: StudyResults, variant: str, counts: np.ndarray, *, shares_only: bool) -> Picture:
    hits = share(float(np.trace(counts)), float(counts.sum()))
    figure = confusion_figure(counts, results.summary["classes"], variant, shares_only=shares_only)
    return picture(figure, f"Confusion matrix of {variant}: {hits} of predictions on the diagonal.")


def _scatters(results: StudyResults, variant: str) -> tuple[Picture, ...]:
    if results.kind.needs_maps or not results.kind.is_numbers:
        return ()
    if not (results.predictions["variant"] == variant).any():
        return ()
    _, evidence = seed_means(results, variant, "prediction")
    unit, names = results.summary["unit"], results.summary["classes"][:MOST_SCATTERS]
    pictures = []
    for at, name in enumerate(names):
        draw = partial(
            scatter_figure, evidence["truth"][:, at], evidence["prediction"][:, at], name, unit, VARIANT_COLOURS[0]
        )
        alt = f"Predicted against true {class_title(name)} of the test patches under {variant}, and the residuals."
        pictures.append(wide_and_narrow(draw, alt) if len(names) == 1 else picture(draw(NARROW), alt))
    return tuple(pictures)

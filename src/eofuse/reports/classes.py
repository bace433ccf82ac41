"""What a target's classes or numbers get one by one: scores, confusion matrices, predicted against true."""

from collections.abc import Sequence
from functools import partial
from typing import Any

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


def by_class(results: StudyResults, ranked: Sequence[str], palette: Sequence[str]) -> dict[str, Any]:
    """What `chapter.html` shows of single classes or numbers: scores, confusion matrices, predicted against true."""
    kind = results.kind
    metrics = _metrics(results)
    title = "By class"
    if kind.is_numbers:
        title = "Number by number" if len(results.summary["classes"]) > 1 else "Errors"
    return {
        "title": title,
        "column": "Number" if kind.is_numbers else "Class",
        "counted": kind.support,
        "metrics": metrics,
        "lines": _lines(results, ranked[0], metrics) if ranked else [],
        "overview": _overview(results, ranked, palette, metrics),
        "confusions": _confusion_pictures(results, ranked),
        "shares_only": kind.is_map,
        "scatters": _scatters(results, ranked[0]) if ranked else [],
    }


def _metrics(results: StudyResults) -> list[MetricWords]:
    kind, table, unit = results.kind, results.per_class, results.summary["unit"]
    names = [metric.name for metric in class_metrics_of(kind)]
    return [metric_words(name, kind, unit, largest_value(table, name, "value")) for name in names]


def _lines(results: StudyResults, variant: str, metrics: Sequence[MetricWords]) -> list[dict[str, Any]]:
    """Scores of each class or number under a variant, means over seeds; the most frequent class first, numbers in their order."""
    chosen = results.per_class[results.per_class["variant"] == variant]
    if chosen.empty:
        return []
    classes = results.summary["classes"]
    scores = chosen.pivot_table(index="class", columns="metric", values="value", aggfunc="mean", dropna=False)
    scores = scores.reindex(index=classes, columns=[metric.name for metric in metrics])
    support = class_support(chosen).reindex(classes).fillna(0)
    whole = results.summary["patches"]["test"] if results.kind.has_labels else float(support.sum())
    if not results.kind.is_numbers:
        support = support.sort_values(ascending=False, kind="stable")
    values = dict(zip(map(str, classes), scores.to_numpy(dtype=float).tolist(), strict=True))
    return [
        {
            "name": str(name),
            "support": float(count),
            "share": share(float(count), whole),
            "scores": values[str(name)],
        }
        for name, count in support.items()
    ]


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
    shown = ranked[: len(VARIANT_COLOURS)]
    draw = partial(per_class_figure, results.per_class, results.summary["classes"], metric, shown, counted, palette)
    return wide_and_narrow(draw, f"{metric.title} one by one under each variant, and the number of {counted}.")


def _confusion_pictures(results: StudyResults, ranked: Sequence[str]) -> list[Picture]:
    """A confusion matrix a variant, of all its runs together; none for other kinds than one class a patch or pixel."""
    if results.kind.is_boxes or results.kind.values is not Values.CLASS:
        return []
    pictures = []
    for name in ranked[:MOST_VARIANT_PICTURES]:
        chosen = results.predictions[results.predictions["variant"] == name]
        if len(chosen):
            counts = class_totals(results, chosen).confusion[0]
            hits = share(float(np.trace(counts)), float(counts.sum()))
            figure = confusion_figure(counts, results.summary["classes"], name, shares_only=results.kind.is_map)
            pictures.append(picture(figure, f"Confusion matrix of {name}: {hits} of predictions on the diagonal."))
    return pictures


def _scatters(results: StudyResults, variant: str) -> list[Picture]:
    kind, has_rows = results.kind, (results.predictions["variant"] == variant).any()
    if kind.needs_maps or not kind.is_numbers or not has_rows:
        return []
    _, evidence = seed_means(results, variant, "prediction")
    unit, names = results.summary["unit"], results.summary["classes"][:MOST_SCATTERS]
    pictures = []
    for at, name in enumerate(names):
        draw = partial(
            scatter_figure, evidence["truth"][:, at], evidence["prediction"][:, at], name, unit, VARIANT_COLOURS[0]
        )
        alt = f"Predicted against true {class_title(name)} of the test patches under {variant}, and the residuals."
        pictures.append(wide_and_narrow(draw, alt) if len(names) == 1 else picture(draw(NARROW), alt))
    return pictures

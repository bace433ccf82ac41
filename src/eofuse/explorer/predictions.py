"""Predictions of test patches as columns: what is true, what is predicted, how wrong and how sure that is.

A set of columns belongs to a target, a variant and a seed, or to the mean over its seeds: of probabilities and numbers; of maps and
boxes, which are not averaged, the mean of the errors. Which columns there are depends on what is predicted (`SUMMARIES`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.evaluation.metrics.segmentation import patch_counts
from eofuse.evaluation.weighting import divide, mean_where
from eofuse.explorer.columns import Column, Sort, lists_of
from eofuse.kinds import Place, Values
from eofuse.registry import Registry
from eofuse.reports.examples import THRESHOLD, score_threshold, standard
from eofuse.reports.runs import seed_means
from eofuse.reports.wording import class_title
from eofuse.studies.results import StudyResults

GROUP = "Predictions"
MOST_NUMBERS = 4
"""Predicted numbers of a patch whose truth and prediction are columns each."""

VERDICT = ("right", "wrong")
VERDICT_COLOURS = ("#0072b2", "#d55e00")

ERROR = "error"
"""Column that every kind has, by which errors come first: the larger, the worse."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """Test patches with what is shown of their predictions.

    Attributes:
        patches: `row` of each in the store.
        columns: with a value for each.
        error: what `error` is, in words.
    """

    patches: pd.DataFrame
    columns: tuple[Column, ...]
    error: str


@dataclass(frozen=True)
class PredictionSet:
    """The summary of a variant: of the run with a seed, or None for all of its seeds together."""

    target: str
    variant: str
    seed: int | None
    summary: Summary

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """Rows of the patches in the store, (n,)."""
        return self.summary.patches["row"].to_numpy(dtype=np.int64)

    @property
    def errors(self) -> FloatArray:
        """How wrong each is, (n,); NaN where that is not known."""
        return next(column.values for column in self.summary.columns if column.name == ERROR)


SUMMARIES: Registry[Callable[[StudyResults, str, Sequence[str]], Summary]] = Registry(
    "summary of test patches", "eofuse.tasks", "eofuse.explorer.predictions"
)
"""By the name of a kind of task; those that eofuse has, by what is predicted (see `eofuse.reports.examples.standard`)."""


def prediction_sets(results: StudyResults, variants: Sequence[str], colours: Sequence[str]) -> Iterator[PredictionSet]:
    """Summaries for all seeds together and for each seed of some variants; those that don't predict the target are left out.

    Args:
        results: of one target.
        variants: in the order in which they are wanted.
        colours: of the classes.
    """
    kind = results.kind
    summarise = SUMMARIES.get(kind.name) or SUMMARIES.get(standard(kind.place, kind.values))
    if summarise is None:  # a kind of another package, which predicts something else
        return
    for variant in variants:
        own = results.predictions[results.predictions["variant"] == variant]
        seeds = sorted(int(seed) for seed in own["seed"].unique())
        for seed in [*([None] if len(seeds) > 1 else []), *seeds]:
            table = own if seed is None else own[own["seed"] == seed]
            view = replace(results, predictions=table.reset_index(drop=True))
            yield PredictionSet(results.summary["target"], variant, seed, summarise(view, variant, colours))


def _number(name: str, values: FloatArray, unit: str = "") -> Column:
    return Column(name, Sort.NUMBER, np.asarray(values, dtype=np.float64), unit=unit, group=GROUP)


def _classes(name: str, codes: npt.NDArray[Any], names: Sequence[str], colours: Sequence[str]) -> Column:
    return Column(name, Sort.CATEGORY, codes.astype(np.int32), _titles(names), tuple(colours), group=GROUP)


def _titles(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(class_title(name) for name in names)


def _verdict(wrong: npt.NDArray[np.bool_]) -> Column:
    return _classes("right or wrong", wrong.astype(int), VERDICT, VERDICT_COLOURS)


@SUMMARIES.register(standard(Place.PATCH, Values.CLASS))
def _single_label(results: StudyResults, variant: str, colours: Sequence[str]) -> Summary:
    patches, evidence = seed_means(results, variant, "probabilities")
    probabilities, truth = evidence["probabilities"], evidence["truth"].astype(int)
    predicted, classes = probabilities.argmax(axis=1), results.summary["classes"]
    columns = (
        _verdict(predicted != truth),
        _number(ERROR, 1 - np.take_along_axis(probabilities, truth[:, None], axis=1)[:, 0]),
        _number("confidence", probabilities.max(axis=1)),
        _classes("predicted", predicted, classes, colours),
        _classes("true", truth, classes, colours),
    )
    return Summary(patches, columns, "1 − probability of the true class")


@SUMMARIES.register(standard(Place.PATCH, Values.CLASSES))
def _multi_label(results: StudyResults, variant: str, colours: Sequence[str]) -> Summary:
    patches, evidence = seed_means(results, variant, "probabilities")
    probabilities, truth = evidence["probabilities"], evidence["truth"].astype(bool)
    predicted, classes = probabilities >= THRESHOLD, results.summary["classes"]
    given = np.clip(np.where(truth, probabilities, 1 - probabilities), 1e-9, 1)
    columns = (
        _verdict((predicted != truth).any(axis=1)),
        _number(ERROR, -np.log(given).mean(axis=1)),
        _number("wrong labels", (predicted != truth).sum(axis=1).astype(float)),
        _number("confidence", np.maximum(probabilities, 1 - probabilities).min(axis=1)),
        lists_of("predicted", predicted, _titles(classes), GROUP, colours),
        lists_of("true", truth, _titles(classes), GROUP, colours),
    )
    return Summary(patches, columns, "cross-entropy of the labels; confidence: that of the least sure label")


@SUMMARIES.register(standard(Place.PATCH, Values.NUMBERS))
def _regression(results: StudyResults, variant: str, colours: Sequence[str]) -> Summary:
    patches, evidence = seed_means(results, variant, "prediction")
    truth, predicted = evidence["truth"].astype(float), evidence["prediction"].astype(float)
    names, unit = results.summary["classes"], results.summary["unit"]
    absolute = np.abs(predicted - truth)
    if len(names) == 1:
        error, words, error_unit = absolute[:, 0], "absolute error", unit
    else:
        typical = np.sqrt(np.nanmean(absolute**2, axis=0))
        relative = divide(absolute, np.broadcast_to(typical, absolute.shape))
        error = mean_where(relative, np.isfinite(relative))
        words, error_unit = "absolute error, in units of the RMSE of each number, averaged over the numbers", ""
    columns = [_number(ERROR, error, error_unit)]
    for at, name in enumerate(names[:MOST_NUMBERS]):
        title = f" {class_title(name)}" if len(names) > 1 else ""
        columns += [_number(f"predicted{title}", predicted[:, at], unit), _number(f"true{title}", truth[:, at], unit)]
    return Summary(patches, tuple(columns), words)


@SUMMARIES.register(standard(Place.PIXEL, Values.CLASS))
def _segmentation(results: StudyResults, variant: str, colours: Sequence[str]) -> Summary:
    table = _of(results, variant)
    evidence, classes = results.evidence(table), results.summary["classes"]
    hits, support, found = patch_counts(evidence["confusion"])
    wrong = 1 - divide(hits.sum(axis=1), support.sum(axis=1))
    overlap = mean_where(divide(hits, support + found - hits), support > 0)
    patches, (error, iou) = _means(table, wrong, overlap)
    first = ~table["patch_id"].duplicated().to_numpy()
    columns = (
        _number(ERROR, error),
        _number("mean IoU of its classes", iou),
        _classes("most common true class", support[first].argmax(axis=1), classes, colours),
        _classes("most common predicted class", found[first].argmax(axis=1), classes, colours),
    )
    return Summary(patches, columns, "share of wrong pixels")


@SUMMARIES.register(standard(Place.PIXEL, Values.NUMBERS))
def _pixel_regression(results: StudyResults, variant: str, colours: Sequence[str]) -> Summary:
    table = _of(results, variant)
    sums = np.asarray(results.evidence(table)["sums"], dtype=np.float64)
    unit, several = results.summary["unit"], len(results.summary["classes"]) > 1
    squared = divide(sums[..., 3], sums[..., 0])
    typical = divide(sums[..., 3].sum(axis=0), sums[..., 0].sum(axis=0)) if several else np.ones(1)
    relative = divide(squared, np.broadcast_to(typical, squared.shape)) if several else squared
    error = np.sqrt(mean_where(relative, np.isfinite(relative)))
    bias = divide(sums[..., 1], sums[..., 0])[:, 0]
    patches, (errors, biases) = _means(table, error, bias)
    words = "RMSE over the pixels" + (", in units of the RMSE of each number" if several else "")
    columns = [_number(ERROR, errors, "" if several else unit)]
    if not several:
        columns.append(_number("bias", biases, unit))
    return Summary(patches, tuple(columns), words)


@SUMMARIES.register(standard(Place.BOX, Values.CLASS))
def _detection(results: StudyResults, variant: str, colours: Sequence[str]) -> Summary:
    table = _of(results, variant)
    evidence = results.evidence(table)
    shown = (evidence["scores"] >= score_threshold(evidence)) & (evidence["labels"] >= 0)
    found = (shown & (evidence["matched"][..., 0] > 0)).sum(axis=1).astype(float)
    predicted, true = shown.sum(axis=1).astype(float), evidence["counts"].sum(axis=1).astype(float)
    wrong = 1 - np.where(predicted + true > 0, divide(2 * found, predicted + true), 1.0)
    patches, (error, hits, boxes, truth) = _means(table, wrong, found, predicted, true)
    columns = (
        _number(ERROR, error),
        _number("true boxes", truth),
        _number("found boxes", hits),
        _number("false alarms", boxes - hits),
    )
    return Summary(patches, columns, "1 − F1 of the boxes, found from an IoU of 0.5")


def _of(results: StudyResults, variant: str) -> pd.DataFrame:
    return results.predictions[results.predictions["variant"] == variant].reset_index(drop=True)


def _means(table: pd.DataFrame, *values: FloatArray) -> tuple[pd.DataFrame, list[FloatArray]]:
    """The first row of each patch, and means of values over its rows."""
    numbers, _ = pd.factorize(table["patch_id"])
    first = ~table["patch_id"].duplicated().to_numpy()
    counts = np.bincount(numbers)
    return table[first].reset_index(drop=True), [np.bincount(numbers, each) / counts for each in values]

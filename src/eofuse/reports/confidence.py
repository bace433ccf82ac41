"""Whether stated confidence can be taken at its word: reliability of probabilities, coverage of predictive intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eofuse.evaluation.calibration import expected_calibration_error
from eofuse.evaluation.metrics.calibration import ECE, ECE_RAW
from eofuse.evaluation.metrics.regression import COVERAGE, INTERVAL_WIDTH
from eofuse.reports.figures.reliability import reliability_figure
from eofuse.reports.figures.style import variant_colours
from eofuse.reports.pictures import Picture, picture
from eofuse.reports.runs import class_totals
from eofuse.reports.tables import words
from eofuse.reports.wording import MISSING, between, number
from eofuse.studies.results import StudyResults

MOST_PICTURES = 3


@dataclass(frozen=True)
class CalibrationRow:
    """Calibration of one variant: errors are means over runs, with an interval where the study gives one."""

    variant: str
    raw: str
    raw_interval: str
    calibrated: str
    calibrated_interval: str
    temperatures: str


@dataclass(frozen=True)
class Reliability:
    """Reliability of the probabilities of a target.

    Attributes:
        pictures: of the first-ranked variants.
        rows: one a variant.
        calibrated: whether the probabilities were calibrated by a temperature.
        counted: what is one prediction.
        multi_label: whether each class of each patch is a prediction of its own.
    """

    pictures: tuple[Picture, ...]
    rows: tuple[CalibrationRow, ...]
    calibrated: bool
    counted: str
    multi_label: bool


@dataclass(frozen=True)
class IntervalRow:
    """Predictive intervals of one variant: how often they hold, how wide they are."""

    variant: str
    coverage: str
    coverage_interval: str
    width: str


def reliability(results: StudyResults, ranked: Sequence[str], palette: Sequence[str]) -> Reliability | None:
    """Reliability of each variant; None for kinds of task without probabilities."""
    kind = results.kind
    if not kind.has_probabilities or not ranked:
        return None
    counted = "decisions" if kind.has_several else "pixels" if kind.is_map else "patches"
    colours = variant_colours(palette)
    axes_titles = ("probability of the predicted class", "share that is right")
    if kind.has_several:
        axes_titles = ("predicted probability", "share that has the class")
    pictures: list[Picture] = []
    rows: list[CalibrationRow] = []
    is_calibrated = False
    for name in ranked:
        tables, temperatures = _runs(results, name)
        if not len(tables):
            continue
        raw, calibrated = (number(float(error)) for error in np.nanmean(expected_calibration_error(tables), axis=0))
        own = any(temperature != 1 for temperature in temperatures) or not np.allclose(tables[:, 0], tables[:, 1])
        is_calibrated |= own
        before, after = (_interval(results, name, metric.name) for metric in (ECE_RAW, ECE))
        rows.append(CalibrationRow(name, raw, before, calibrated, after, _range(temperatures)))
        if len(pictures) < MOST_PICTURES:
            labels = ("raw", "calibrated") if own else ("as predicted",)
            figure = reliability_figure(tables.sum(axis=0), name, colours[name], axes_titles, counted, labels)
            alt = f"Reliability of {name}: calibration error {calibrated}"
            pictures.append(picture(figure, f"{alt}, {raw} before calibration." if own else f"{alt}."))
    return Reliability(tuple(pictures), tuple(rows), is_calibrated, counted, kind.has_several)


def intervals(results: StudyResults, ranked: Sequence[str]) -> tuple[IntervalRow, ...]:
    """Coverage and width of the predictive intervals of each variant, of tasks with numbers that have them."""
    if not results.kind.is_numbers:
        return ()
    width = words(results, INTERVAL_WIDTH.name)
    board = results.leaderboard
    rows = []
    for name in ranked:
        own = board[board["variant"] == name]
        lines = {str(line["metric"]): line for line in own.to_dict("records")}
        if not {COVERAGE.name, INTERVAL_WIDTH.name} <= lines.keys() or math.isnan(lines[COVERAGE.name]["mean"]):
            continue
        mean, low, high = (100 * lines[COVERAGE.name][key] for key in ("mean", "low", "high"))
        widths = width.quantity(lines[INTERVAL_WIDTH.name]["mean"])
        rows.append(IntervalRow(name, f"{number(mean, 1)} %", between(low, high, 1), widths))
    return tuple(rows)


def _runs(results: StudyResults, variant: str) -> tuple[np.ndarray, list[float]]:
    """Predictions of each run by confidence, (runs, 2, bins, 3), and the temperatures of the runs that have one."""
    chosen = results.predictions[results.predictions["variant"] == variant]
    known = {
        (entry["seed"], entry["fold"]): float(entry["temperature"])
        for entry in results.summary.get("calibration", ())
        if entry["variant"] == variant and entry.get("temperature") is not None
    }
    tables, temperatures = [], []
    for run, rows in chosen.groupby(["seed", "fold"]):
        totals = class_totals(results, rows)
        own = totals.evidence.get("temperature")
        temperatures += [float(own[0])] if own is not None else [known[run]] if run in known else []
        tables.append(totals.reliability_sums[0])
    return np.array(tables), temperatures


def _interval(results: StudyResults, variant: str, metric: str) -> str:
    board = results.leaderboard
    line = board[(board["variant"] == variant) & (board["metric"] == metric)]
    if line.empty:
        return ""
    text = between(float(line["low"].iloc[0]), float(line["high"].iloc[0]))
    return "" if text == MISSING else text


def _range(values: Sequence[float]) -> str:
    if not values:
        return MISSING
    low, high = number(min(values), 2), number(max(values), 2)
    return low if low == high else f"{low} to {high}"

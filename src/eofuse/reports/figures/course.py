"""The course of one training: loss and metrics of training and validation by optimiser step, side by side."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eofuse.reports.figures.style import INK, PART_COLOURS, QUIET, name_parts, new_figure, styled

STRETCHES = 20
"""A loss of many steps is drawn faintly, and boldly its means over so many stretches."""

COLUMNS = 2
WIDTH, HEIGHT = 4.4, 2.7
"""Inches of a panel."""


@dataclass(frozen=True)
class Course:
    """What one panel shows.

    Attributes:
        title: what it is, with the unit.
        values: split (`train` or `validation`), step and value.
        highest: the largest value that there can be.
    """

    title: str
    values: pd.DataFrame
    highest: float = math.inf


@styled
def course_figure(courses: Sequence[Course], best_step: int | None = None, best_words: str = "") -> Figure:
    """A panel a course, two beside each other.

    Args:
        courses: what to show.
        best_step: the step whose weights count, which a line marks, and a ring on each validation curve.
        best_words: what the line means.
    """
    lines = -(-len(courses) // COLUMNS)
    figure = new_figure(WIDTH * min(len(courses), COLUMNS), HEIGHT * lines + 0.5)
    panels = figure.subplots(lines, min(len(courses), COLUMNS), squeeze=False, sharex=True).ravel()
    for axes, course in zip(panels, courses, strict=False):
        _draw(axes, course, best_step)
    for axes in panels[len(courses) :]:
        axes.set_visible(False)
    for axes in panels[max(0, len(courses) - COLUMNS) : len(courses)]:
        axes.set_xlabel("optimiser step")
        axes.tick_params(labelbottom=True)
    for part, words in (("train", "training"), ("validation", "validation")):
        panels[0].plot([], [], color=PART_COLOURS[part], linewidth=2, label=words)
    if best_step is not None:
        style: dict[str, Any] = {
            "color": QUIET,
            "marker": "o",
            "markersize": 6,
            "mfc": "white",
            "mec": INK,
            "linestyle": (0, (2, 2)),
        }
        panels[0].plot([], [], label=best_words, linewidth=1, **style)
    name_parts(figure, panels[0])
    return figure


def _draw(axes: Axes, course: Course, best_step: int | None) -> None:
    axes.set_title(course.title)
    axes.grid(axis="y")
    axes.locator_params(axis="x", integer=True, nbins=6)
    if best_step is not None:
        axes.axvline(best_step, color=QUIET, linewidth=1, linestyle=(0, (2, 2)), zorder=1)
    for part, rows in course.values.groupby("split", sort=False):
        colour, rows = PART_COLOURS[str(part)], rows.sort_values("step")
        if len(rows) > STRETCHES:
            axes.plot(rows["step"], rows["value"], color=colour, linewidth=0.6, alpha=0.3)
            rows = _means(rows)
        marker = "" if part == "train" and len(rows) == STRETCHES else "."
        width = 2.6 if part == "train" else 1.6  # both are seen where they lie on each other
        axes.plot(rows["step"], rows["value"], color=colour, linewidth=width, marker=marker, markersize=5)
        if part == "validation" and best_step is not None:
            at_best = rows[rows["step"] == best_step]
            ring: dict[str, Any] = {"markersize": 7, "mfc": "white", "mec": colour, "mew": 1.6, "zorder": 4}
            axes.plot(at_best["step"], at_best["value"], "o", **ring)
    low, high = axes.get_ylim()
    axes.set_ylim(low, min(high, course.highest + 0.04 * (high - low)))
    if course.values.empty:
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", va="center", color=QUIET)


def _means(rows: pd.DataFrame) -> pd.DataFrame:
    """Means of step and value over stretches of equal length."""
    stretch = np.arange(len(rows)) * STRETCHES // len(rows)
    return rows[["step", "value"]].groupby(stretch).mean()

"""The leaderboard as dots with intervals, and the paired differences to the baseline."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eofuse.reports.figures.style import (
    CONTROL,
    INK,
    QUIET,
    RULE,
    new_figure,
    quiet_rows,
    right_of_plot,
    styled,
    variant_colours,
)
from eofuse.reports.tables import LeaderboardRow
from eofuse.reports.wording import MetricWords, between, shorten

NARROW = 5.0
"""Below this width in inches the names stand above their rows."""


@styled
def leaderboard_figure(
    rows: Sequence[LeaderboardRow], runs: pd.DataFrame, metric: MetricWords, variants: Sequence[str], width: float = 7.6
) -> Figure:
    """A row a variant: the mean over seeds as a dot, its 95 % interval as a line, the single runs as small rings.

    Below a width of `NARROW`, the names stand above their rows. The order of `variants` fixes their colours.
    """
    narrow = width < NARROW
    figure = new_figure(width, len(rows) * (0.52 if narrow else 0.38) + 0.75)
    axes = figure.add_subplot()
    colours = variant_colours(variants)
    for position, row in enumerate(rows):
        colour = colours.get(row.variant, CONTROL) if row.role == "variant" else CONTROL
        seeds = runs[(runs["variant"] == row.variant) & (runs["metric"] == metric.name)]["value"]
        axes.plot([row.low, row.high], [position, position], color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot(seeds, [position] * len(seeds), "o", markersize=4.5, mfc="white", mec=colour, mew=0.9, zorder=3)
        marker = "o" if row.role == "variant" else "D"
        axes.plot([row.mean], [position], marker, markersize=7.5, color=colour, mec="white", mew=0.8, zorder=4)
    controls = [position for position, row in enumerate(rows) if row.role != "variant"]
    if controls and controls[0] > 0:
        axes.axhline(controls[0] - (0.62 if narrow else 0.5), color=RULE, linewidth=1.2)
    _name_rows(axes, rows, narrow=narrow)
    values = [f"{metric.write(row.mean)}  ({between(row.low, row.high, metric.digits)})" for row in rows]
    _write_values(axes, values, narrow=narrow)
    axes.set_xlabel(f"{metric.with_unit} on the test patches")
    return figure


@styled
def differences_figure(
    rows: Sequence[LeaderboardRow], metric: MetricWords, baseline: str, variants: Sequence[str], width: float = 7.6
) -> Figure:
    """A row a variant: the paired difference to the baseline with its 95 % interval; open dots can't be told from zero.

    Below a width of `NARROW`, the names stand above their rows. The order of `variants` fixes their colours.
    """
    narrow = width < NARROW
    figure = new_figure(width, len(rows) * (0.52 if narrow else 0.38) + 0.75)
    axes = figure.add_subplot()
    axes.axvline(0, color=INK, linewidth=1)
    colours = variant_colours(variants)
    for position, row in enumerate(rows):
        if row.difference is None:
            continue
        colour = colours.get(row.variant, CONTROL) if row.role == "variant" else CONTROL
        difference, ends = row.difference, [row.difference.low, row.difference.high]
        axes.plot(ends, [position, position], color=colour, linewidth=2.2, solid_capstyle="butt")
        fill = colour if difference.distinguishable else "white"
        axes.plot([difference.value], [position], "o", markersize=7.5, color=colour, mfc=fill, mew=1.6, zorder=4)
    _name_rows(axes, rows, narrow=narrow)
    _write_values(axes, [metric.signed(row.difference.value) if row.difference else "" for row in rows], narrow=narrow)
    axes.set_xlabel(f"difference in {metric.with_unit} to {shorten(baseline, 30)}")
    return figure


def _name_rows(axes: Axes, rows: Sequence[LeaderboardRow], *, narrow: bool) -> None:
    """Writes the names beside their rows, or above where it is narrow: the baseline bold, controls quiet."""
    axes.set_ylim(len(rows) - 0.45, -0.75 if narrow else -0.55)
    labels = [shorten(row.variant, 26 if narrow else 44) + (" (baseline)" if row.is_baseline else "") for row in rows]
    axes.set_yticks(range(len(rows)), [""] * len(rows) if narrow else labels)
    quiet_rows(axes)
    axes.margins(x=0.06)
    texts = axes.get_yticklabels()
    if narrow:
        across = axes.get_yaxis_transform()
        texts = [axes.text(0, row - 0.2, label, transform=across, va="bottom") for row, label in enumerate(labels)]
    for row, text in zip(rows, texts, strict=True):
        text.set_fontweight("bold" if row.is_baseline else "normal")
        text.set_color(INK if row.role == "variant" else QUIET)


def _write_values(axes: Axes, values: Sequence[str], *, narrow: bool) -> None:
    """Writes each row's value right of the plot, or above the row's right end where the names stand above as well."""
    for position, value in enumerate(values):
        if narrow:
            right_of_plot(axes, value, position - 0.2, 0, ha="right", va="bottom")
        else:
            right_of_plot(axes, value, position)

"""Curves over the number of labels."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from eofuse.reports.figures.style import (
    CONTROL,
    INK,
    QUIET,
    new_figure,
    styled,
    variant_colours,
    variant_markers,
)
from eofuse.reports.wording import MetricWords, shorten

NARROW = 5.0
"""Below this width in inches the names stand closer."""

APART = 0.02
"""Share of the width by which the points of neighbouring curves stand apart."""


@dataclass(frozen=True)
class Point:
    """One score of a curve: mean over seeds with its 95 % interval."""

    labels: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """One method with every amount of labels, ascending."""

    variant: str
    role: str
    points: tuple[Point, ...]


@styled
def efficiency_figure(
    curves: Sequence[Curve], metric: MetricWords, baseline: str, variants: Sequence[str], width: float = 7.6
) -> Figure:
    """A line a method over the number of labels, on a logarithmic scale; bars are 95 % intervals.

    A thin line is the goal, the score of the baseline with the most labels. The order of `variants` fixes their colours.
    """
    narrow = width < NARROW
    figure = new_figure(width, (3.3 if narrow else 4.2) + 0.2 * len(curves) / (1 if narrow else 2))
    axes = figure.add_subplot()
    axes.set_xscale("log")
    colours, markers = variant_colours(variants), variant_markers(variants)
    amounts = sorted({point.labels for curve in curves for point in curve.points})
    step = (amounts[-1] / amounts[0]) ** (APART if len(amounts) > 1 else 0)
    drawn = [curve for curve in curves if curve.role != "constant"]
    for position, curve in enumerate(drawn):
        is_variant = curve.role == "variant"
        colour = colours.get(curve.variant, CONTROL) if is_variant else CONTROL
        places = [point.labels * step ** (position - (len(drawn) - 1) / 2) for point in curve.points]
        means = [point.mean for point in curve.points]
        for place, point in zip(places, curve.points, strict=True):
            axes.plot([place, place], [point.low, point.high], color=colour, linewidth=1.5, alpha=0.55)
        axes.plot(
            places,
            means,
            marker=markers.get(curve.variant, "D") if is_variant else "D",
            linestyle="-" if is_variant else (0, (4, 2)),
            color=colour,
            linewidth=2 if is_variant else 1.3,
            markersize=6 if is_variant else 4.5,
            mec="white",
            mew=0.7,
            zorder=4 if is_variant else 3,
            label=shorten(curve.variant, 34 if narrow else 44) + (" (baseline)" if curve.variant == baseline else ""),
        )
    for curve in curves:
        if curve.role == "constant":
            labels, means = [point.labels for point in curve.points], [point.mean for point in curve.points]
            axes.plot(labels, means, color=QUIET, linewidth=1.2, linestyle=":", label=curve.variant)
        if curve.variant == baseline and curve.role == "variant":
            axes.axhline(curve.points[-1].mean, color=INK, linewidth=0.9, zorder=1)
    axes.xaxis.set_major_locator(FixedLocator(amounts))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{amount:,}" for amount in amounts])
    axes.set_xlabel("labelled training patches")
    axes.set_ylabel(metric.with_unit)
    axes.grid(axis="y")
    figure.legend(loc="outside lower center", ncols=1 if narrow else 2, fontsize=9)
    return figure

"""What modalities, scalars and bands are worth, as bars; what remains when a modality is away, as dots."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from eofuse.reports.figures.style import CONTROL, INK, new_figure, quiet_rows, right_of_plot, styled, variant_colours
from eofuse.reports.wording import MetricWords, shorten

NARROW = 5.0
"""Below this width in inches names are shortened more, and values are left out."""

COLOURS = {"shapley": "#0072B2", "drop_one": "#9ccbe6", "permutation": "#D55E00", "band": "#009E73"}
"""Of bars, by question."""

QUESTIONS = {"shapley": "Shapley value", "drop_one": "lost when it alone is taken away"}
"""Bars that stand side by side, in words."""


@dataclass(frozen=True)
class Bar:
    """A number with its 95 % interval.

    Attributes:
        kind: the question, one of `COLOURS`.
        value: positive where it helps.
        low: lower end of its interval, NaN where there is none.
        high: upper end.
    """

    kind: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Panel:
    """Bars by name, under a title."""

    title: str
    rows: tuple[tuple[str, tuple[Bar, ...]], ...]


@dataclass(frozen=True)
class Remaining:
    """What remains of a variant when a modality is away: the metric with its 95 % interval, and the metric with all."""

    variant: str
    without: str
    mean: float
    low: float
    high: float
    whole: float


@styled
def attribution_figure(panels: Sequence[Panel], metric: MetricWords, width: float = 7.6) -> Figure:
    """A row a modality, scalar or band, on one scale for all panels."""
    narrow = width < NARROW
    heights = [sum(0.16 + 0.17 * len(bars) for _, bars in panel.rows) + 0.35 for panel in panels]
    figure = new_figure(width, sum(heights) + 0.9)
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axes, panel in zip(grid[:, 0], panels, strict=True):
        _draw_bars(axes, panel, metric, narrow=narrow)
    reduced = ", as a reduction" if metric.lower_is_better else ""
    grid[-1, 0].set_xlabel(f"worth in {metric.with_unit}{reduced} (positive: helps)")
    kinds = {bar.kind for panel in panels for _, bars in panel.rows for bar in bars}
    handles = [Patch(color=COLOURS[kind], label=words) for kind, words in QUESTIONS.items() if kind in kinds]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=1 if narrow else 2, fontsize=9)
    return figure


def _draw_bars(axes: Axes, panel: Panel, metric: MetricWords, *, narrow: bool) -> None:
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_title(shorten(panel.title, 42 if narrow else 100), fontsize=9.5)
    places, top = [], 0.0
    for _, bars in panel.rows:
        places.append(top + len(bars) / 2)
        for position, bar in enumerate(bars):
            place = top + position + 0.5
            axes.barh(place, bar.value, height=0.86, color=COLOURS[bar.kind])
            axes.plot([bar.low, bar.high], [place, place], color=INK, linewidth=1.3, solid_capstyle="butt")
            if not narrow:
                right_of_plot(axes, metric.signed(bar.value), place, fontsize=8.5)
        top += len(bars) + 0.9
    axes.set_yticks(places, [shorten(name, 16 if narrow else 30) for name, _ in panel.rows])
    axes.set_ylim(top - 0.7, -0.2)
    quiet_rows(axes)


@styled
def without_figure(
    rows: Sequence[Remaining],
    metric: MetricWords,
    variants: Sequence[str],
    constant: float | None = None,
    width: float = 7.6,
) -> Figure:
    """A panel a modality that is away, in it a row a variant: a ring for the metric with all, a dot for what remains."""
    narrow = width < NARROW
    colours = variant_colours(variants)
    panels = {name: [row for row in rows if row.without == name] for name in dict.fromkeys(row.without for row in rows)}
    heights = [0.27 * len(found) + 0.45 for found in panels.values()]
    figure = new_figure(width, sum(heights) + 0.9)
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axes, (name, found) in zip(grid[:, 0], panels.items(), strict=True):
        axes.set_title(f"without {name}", fontsize=9.5)
        if constant is not None:
            axes.axvline(constant, color=CONTROL, linewidth=1.1, linestyle=":")
        for place, row in enumerate(found):
            colour = colours.get(row.variant, CONTROL)
            axes.plot([row.mean, row.whole], [place, place], color=colour, linewidth=0.8, alpha=0.5)
            axes.plot([row.low, row.high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
            axes.plot([row.mean], [place], "o", markersize=7, color=colour, mec="white", mew=0.8, zorder=4)
            axes.plot([row.whole], [place], "o", markersize=6, mfc="white", mec=colour, mew=1.3, zorder=3)
            if not narrow:
                right_of_plot(axes, metric.write(row.mean), place, fontsize=8.5)
        axes.set_yticks(range(len(found)), [shorten(row.variant, 18 if narrow else 36) for row in found])
        axes.set_ylim(len(found) - 0.45, -0.6)
        quiet_rows(axes)
    grid[-1, 0].set_xlabel(f"{metric.with_unit} on the test patches")
    handles = [
        Line2D([], [], marker="o", linestyle="", color=INK, label="without it"),
        Line2D([], [], marker="o", linestyle="", color=INK, mfc="white", label="with all inputs"),
    ]
    if constant is not None:
        handles.append(Line2D([], [], color=CONTROL, linestyle=":", label="constant predictor"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2 if narrow else 3, fontsize=9)
    return figure

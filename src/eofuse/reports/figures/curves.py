"""Learning curves: training loss and validation metric of one variant by optimiser step."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eofuse.reports.figures.style import QUIET, new_figure, styled
from eofuse.reports.wording import MetricWords, shorten

Limits = tuple[float, float]

MOST_POINTS = 100
"""Points of a curve; of longer runs, neighbouring steps are averaged."""


def validation_metric(curves: pd.DataFrame, ranking_metric: str) -> str | None:
    """The metric that was followed on the validation patches: the ranking one, else the first that is no loss."""
    names = [str(name) for name in curves[curves["split"] == "validation"]["metric"].unique()]
    if ranking_metric in names:
        return ranking_metric
    return next((name for name in names if name != "loss"), names[0] if names else None)


@styled
def curves_figure(
    curves: pd.DataFrame,
    cells: pd.DataFrame,
    title: str,
    colour: str,
    metric: MetricWords | None,
    limits: tuple[Limits, Limits] | None = None,
) -> Figure:
    """Training loss above, validation metric below: each seed as a thin line, their mean as a bold one.

    `cells` are the final runs, whose best steps are marked; `limits` are those of both panels, to make variants comparable.
    """
    figure = new_figure(3.7, 3.5)
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.set_title(shorten(title, 38))
    _draw(upper, curves[(curves["split"] == "train") & (curves["metric"] == "loss")], colour)
    upper.set_ylabel("training loss")
    if metric is not None:
        shown = curves[(curves["split"] == "validation") & (curves["metric"] == metric.name)]
        _draw(lower, shown, colour)
        _mark_best(lower, shown, cells, colour)
        lower.set_ylabel(f"validation\n{metric.with_unit}")
    lower.set_xlabel("optimiser step")
    if limits:
        upper.set_ylim(limits[0])
        lower.set_ylim(limits[1])
    for axes in (upper, lower):
        axes.grid(axis="y")
    figure.align_ylabels()
    return figure


def common_limits(curves: pd.DataFrame, variants: Sequence[str], metric: str | None) -> tuple[Limits, Limits]:
    """Vertical limits that hold the losses and the metric of all variants."""
    chosen = curves[curves["variant"].isin(list(variants))]
    loss = chosen[(chosen["split"] == "train") & (chosen["metric"] == "loss")]["value"]
    score = chosen[(chosen["split"] == "validation") & (chosen["metric"] == metric)]["value"]
    return _limits(loss), _limits(score)


def _limits(values: pd.Series) -> Limits:
    values = values.dropna()
    if values.empty:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.quantile(0.995))
    margin = 0.06 * (high - low) or 0.05
    return low - margin, high + margin


def _draw(axes: Axes, rows: pd.DataFrame, colour: str) -> None:
    if rows.empty:
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", va="center", color=QUIET)
        return
    rows = _thinned(rows)
    runs = [run.sort_values("step") for _, run in rows.groupby(["seed", "fold"], dropna=False)]
    for run in runs:
        axes.plot(run["step"], run["value"], color=colour, linewidth=0.8, alpha=0.45)
    by_step = rows.groupby("step")["value"].agg(["mean", "count"])
    complete = by_step[by_step["count"] == len(runs)]
    axes.plot(complete.index, complete["mean"], color=colour, linewidth=2.1)


def _thinned(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean of every few steps, so that a long run gives at most `MOST_POINTS` points."""
    steps = rows["step"].nunique()
    if steps <= MOST_POINTS:
        return rows
    width = (rows["step"].max() - rows["step"].min() + 1) / MOST_POINTS
    bins = (rows["step"] - rows["step"].min()) // width
    middle = (rows["step"].min() + (bins + 0.5) * width).rename("step")
    return rows.groupby(["seed", "fold", middle], dropna=False)["value"].mean().reset_index()


def _mark_best(axes: Axes, rows: pd.DataFrame, cells: pd.DataFrame, colour: str) -> None:
    best_steps = cells.set_index(["seed", "fold"])["best_step"].to_dict()
    for key, run in rows.groupby(["seed", "fold"], dropna=False):
        at_best = run[run["step"] == best_steps.get(key)]
        axes.plot(at_best["step"], at_best["value"], "o", markersize=5.5, mfc="white", mec=colour, mew=1.3, zorder=4)

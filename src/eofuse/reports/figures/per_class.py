"""Scores of each class: one dot a variant, beside the number of test patches that have the class."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eofuse.reports.figures.style import (
    QUIET,
    RULE,
    beside,
    new_figure,
    quiet_rows,
    styled,
    variant_colours,
    variant_markers,
)
from eofuse.reports.wording import MetricWords, class_title, compact, shorten


def class_scores(per_class: pd.DataFrame, metric: str, variants: Sequence[str]) -> pd.DataFrame:
    """Mean over seeds of a metric: a row a class, a column a variant."""
    chosen = per_class[(per_class["metric"] == metric) & per_class["variant"].isin(list(variants))]
    table = chosen.pivot_table(index="class", columns="variant", values="value", aggfunc="mean", dropna=False)
    return table.reindex(columns=list(variants))


def class_support(per_class: pd.DataFrame) -> pd.Series:
    """Number of test patches of each class."""
    return per_class.groupby("class")["support"].max()


@styled
def per_class_figure(
    per_class: pd.DataFrame,
    classes: Sequence[str],
    metric: MetricWords,
    variants: Sequence[str],
    counted: str = "test patches",
    palette: Sequence[str] = (),
    width: float = 7.6,
) -> Figure:
    """A row a class or number that occurs, most frequent first: its score under each variant, its support as a bar.

    `counted` is what the support counts. The order of `palette`, by default that of `variants`, fixes the colours.
    """
    support = class_support(per_class).reindex(list(classes)).fillna(0)
    support = support[support > 0].sort_values(ascending=False, kind="stable")
    scores = class_scores(per_class, metric.name, variants).reindex(support.index)
    narrow = width < 5
    legend_rows = -(-len(variants) // (2 if narrow else 3))
    figure = new_figure(width, len(support) * 0.36 + 0.85 + 0.22 * legend_rows)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 1])
    colours, markers = variant_colours(palette or variants), variant_markers(palette or variants)
    rows = np.arange(len(support))
    offsets = np.linspace(-0.24, 0.24, len(variants)) if len(variants) > 1 else np.zeros(1)
    for line in rows[:-1]:
        left.axhline(line + 0.5, color=RULE, linewidth=0.6)
    for name, offset in zip(variants, offsets, strict=True):
        left.plot(
            scores[name], rows + offset, markers[name], color=colours[name], markersize=5.2, mec="white", mew=0.5,
            label=shorten(name, 24 if narrow else 34), clip_on=False,
        )  # fmt: skip
    left.set_xlim(0, None if metric.unit or metric.lower_is_better else 1)
    left.set_ylim(len(support) - 0.5, -0.5)
    left.set_yticks(rows, [shorten(class_title(str(name)), 18 if narrow else 38) for name in support.index])
    left.set_xlabel(metric.with_unit)
    right.barh(rows, support.to_numpy(), color="#c3ccd4", height=0.6)
    for row, value in enumerate(support):
        beside(right, compact(value), (value, row), 3, color=QUIET)
    right.set_xlim(0, max(float(support.max()), 1) * 1.45)
    right.set_title(counted, fontsize=9, fontweight="normal", color=QUIET)
    right.tick_params(axis="x", labelbottom=False, length=0)
    right.spines["bottom"].set_visible(False)
    for axes in (left, right):
        quiet_rows(axes)
    right.grid(visible=False)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=2 if narrow else 3, fontsize=9)
    return figure

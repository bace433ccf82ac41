"""Shares by part of a split: a row a class or modality, a bar a part."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from eofuse.reports.figures.style import PART_COLOURS, beside, name_parts, new_figure, quiet_rows, styled
from eofuse.reports.wording import class_title, compact, shorten


@styled
def by_part_figure(counts: pd.DataFrame, wholes: Mapping[str, int], of_what: str, width: float = 7.6) -> Figure:
    """Bars of per cent with their counts.

    `wholes` is what the counts of a part are a share of, and `of_what` the words for that.
    """
    narrow = width < 5
    figure = new_figure(width, len(counts) * 0.5 + 1.0)
    axes = figure.add_subplot()
    largest = 0.0
    for position, (_, line) in enumerate(counts.iterrows()):
        for shift, part in zip((-0.27, 0.0, 0.27), counts.columns, strict=True):
            percent = 100 * line[part] / wholes[part] if wholes[part] else 0.0
            largest = max(largest, percent)
            axes.barh(position + shift, percent, height=0.25, color=PART_COLOURS[part])
            beside(axes, compact(float(line[part])), (percent, position + shift), fontsize=7.5)
    names = [shorten(class_title(str(name)), 20 if narrow else 38) for name in counts.index]
    axes.set_yticks(range(len(counts)), names)
    axes.set_ylim(len(counts) - 0.5, -0.5)
    axes.set_xlim(0, max(largest, 1) * (1.2 if narrow else 1.1))
    axes.set_xlabel(f"per cent of {of_what}")
    quiet_rows(axes)
    for part in counts.columns:
        axes.bar(0, 0, color=PART_COLOURS[part], label=part)
    name_parts(figure, axes)
    return figure

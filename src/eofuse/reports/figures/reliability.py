"""Reliability: how often predictions of a stated confidence are right."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from eofuse.evaluation.weighting import divide
from eofuse.reports.figures.style import CONTROL, QUIET, new_figure, styled
from eofuse.reports.wording import compact, shorten

FloatArray = npt.NDArray[np.float64]


@styled
def reliability_figure(
    bins: FloatArray, title: str, colour: str, axes_titles: tuple[str, str], counted: str, labels: Sequence[str]
) -> Figure:
    """Share of right predictions by stated confidence, above the number of predictions of each bin.

    `bins` are (2, bins, 3): raw and calibrated × bins of equal width × predictions, sum of confidence, right ones.
    """
    figure = new_figure(3.7, 4.3)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    upper.plot([0, 1], [0, 1], color=QUIET, linewidth=0.9, linestyle=":")
    edges = np.linspace(0, 1, bins.shape[1] + 1)
    styles = ((CONTROL, "s--", 1.2), (colour, "o-", 1.9))
    shown = [(0, styles[0]), (1, styles[1])] if len(labels) > 1 else [(1, styles[1])]
    for which, (line_colour, line, width) in shown:
        count, confidence, right = bins[which].T
        known = count > 0
        stated, observed = divide(confidence, count)[known], divide(right, count)[known]
        sizes = 10 + 50 * np.sqrt(count[known] / max(float(count.max()), 1))
        label = labels[which if len(labels) > 1 else 0]
        upper.plot(stated, observed, line[1:], color=line_colour, linewidth=width, label=label)
        dots: dict[str, Any] = {"marker": line[0], "color": line_colour, "edgecolors": "white", "linewidths": 0.5}
        upper.scatter(stated, observed, s=sizes, zorder=3, **dots)
    for which, (line_colour, _, _) in shown:
        style: dict[str, Any] = {"fill": True, "alpha": 0.75} if which else {"fill": False, "linewidth": 1.2}
        lower.stairs(bins[which, :, 0], edges, color=line_colour, **style)
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1.02)
    upper.set_ylabel(axes_titles[1])
    upper.set_title(shorten(title, 38))
    upper.grid()
    upper.legend(loc="upper left", fontsize=8.5)
    lower.set_xlabel(axes_titles[0])
    lower.set_ylabel(counted)
    lower.yaxis.set_major_formatter(lambda value, _: compact(value))
    lower.locator_params(axis="y", nbins=3)
    figure.align_ylabels()
    return figure

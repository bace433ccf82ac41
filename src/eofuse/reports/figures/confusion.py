"""Confusion matrices: the share of each true class by predicted class, with counts."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from eofuse.reports.figures.style import INK, QUIET, RULE, new_figure, styled
from eofuse.reports.wording import class_title, shorten

SHARES = LinearSegmentedColormap.from_list("shares", ["#ffffff", "#cfe3f1", "#7fb6d9", "#2f86bd", "#064f80"])
"""White to dark blue, even in lightness: readable in grey and with any colour vision."""

CROWDED = 11
"""From this number of classes on, the cells hold counts alone."""


@styled
def confusion_figure(counts: np.ndarray, classes: Sequence[str], title: str, *, shares_only: bool = False) -> Figure:
    """A row a true class: shade and per cent say where it went, the number below how many.

    `counts` are (K, K); with `shares_only`, for counts too large for the cells, these hold per cent alone.
    """
    size = len(classes)
    cell = 0.47 if size < CROWDED else 0.34
    side = max(size * cell, 1.9)
    figure = new_figure(side + 1.75, side + 1.55)
    axes = figure.add_subplot()
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    axes.imshow(shares, cmap=SHARES, vmin=0, vmax=1, aspect="equal")
    for row, column in zip(*np.nonzero(shares >= 0.005 if shares_only else counts), strict=True):
        share = shares[row, column]
        colour = "white" if share > 0.55 else INK
        number = f"{counts[row, column]:g}"
        if shares_only:
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=colour, fontsize=8.5)
        elif size < CROWDED:
            axes.text(column, row - 0.03, f"{100 * share:.0f}%", ha="center", va="bottom", color=colour, fontsize=8.5)
            axes.text(column, row + 0.07, number, ha="center", va="top", color=colour, fontsize=7)
        else:
            axes.text(column, row, number, ha="center", va="center", color=colour, fontsize=7)
    names = [shorten(class_title(name), 24) for name in classes]
    axes.set_xticks(range(size), names, rotation=50, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), names)
    for position in np.flatnonzero(totals[:, 0] == 0):
        axes.get_yticklabels()[position].set_color(QUIET)
    axes.set_xticks(np.arange(size - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(size - 1) + 0.5, minor=True)
    axes.grid(which="minor", color=RULE, linewidth=0.6)
    axes.tick_params(which="both", length=0)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(RULE)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(shorten(title, 40), loc="left")
    return figure

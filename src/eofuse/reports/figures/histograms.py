"""Histograms of channels or numbers, one panel each, outlined by part of a split."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eofuse.reports.figures.style import PART_COLOURS, QUIET, new_figure, styled
from eofuse.reports.wording import shorten

MOST_BINS = 40
FEWEST_BINS = 8
TAILS = (0.5, 99.5)
MOST_PANELS = 24

Values = npt.NDArray[np.floating]


@styled
def histograms_figure(
    values: Mapping[str, Mapping[str, Values]], units: Mapping[str, str], width: float = 7.6
) -> Figure:
    """Small panels; outlines have one area, so that parts of different size compare. Half a per cent at each end is cut off.

    Args:
        values: channel → part → its finite values; of more than 24 channels the first are drawn.
        units: unit of each channel, "" where it has none.
        width: in inches.
    """
    names = list(values)[:MOST_PANELS]
    columns = min(len(names), 4 if width > 5 else 2)
    lines = -(-len(names) // columns)
    figure = new_figure(width, 1.35 * lines + 0.45)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        _draw(axes, values[name])
        unit = f" ({units[name]})" if units[name] else ""
        axes.set_title(shorten(name, 26 if width > 5 else 20) + unit, fontsize=8.5, fontweight="normal")
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="x", labelsize=7.5)
        axes.locator_params(axis="x", nbins=4)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    parts = list(dict.fromkeys(part for name in names for part in values[name]))
    handles = [panels[0].plot([], [], color=PART_COLOURS[part], label=part)[0] for part in parts]
    figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return figure


def _draw(axes: Axes, by_part: Mapping[str, Values]) -> None:
    together = np.concatenate([np.asarray(values, dtype=np.float64) for values in by_part.values()])
    if not len(together):
        axes.annotate("no data", (0.5, 0.5), xycoords="axes fraction", ha="center", va="center", color=QUIET)
        axes.set_xticks([])
        return
    low, high = np.percentile(together, TAILS)
    if high <= low:
        low, high = together.min(), together.max()
    if high <= low:
        axes.annotate(f"always {low:g}", (0.5, 0.5), xycoords="axes fraction", ha="center", va="center", color=QUIET)
        axes.set_xticks([])
        return
    bins = int(np.clip(2 * len(together) ** (1 / 3), FEWEST_BINS, MOST_BINS))  # Rice's rule
    edges = np.linspace(low, high, bins + 1)
    for part, values in by_part.items():
        inside = values[(values >= low) & (values <= high)]
        if len(inside):
            heights, _ = np.histogram(inside, edges, density=True)
            axes.stairs(heights, edges, color=PART_COLOURS[part], linewidth=1.1)
    axes.set_xlim(low, high)
    axes.set_ylim(bottom=0)

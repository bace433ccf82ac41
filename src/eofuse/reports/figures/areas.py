"""Areas of the classes of a map with their intervals, and the map with the points of a sample."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from eofuse.reports.figures.style import INK, QUIET, new_figure, quiet_rows, styled
from eofuse.reports.wording import class_title, shorten


@styled
def areas_figure(table: pd.DataFrame, colours: Mapping[int, str], width: float = 7.6) -> Figure:
    """A bar a class with its interval, that of the assisted estimate below it, and a mark where the map's own area is.

    Args:
        table: a row a class, as `eofuse.areas.estimate.AreaEstimates.classes`.
        colours: code → colour.
        width: in inches.
    """
    narrow = width < 5
    figure = new_figure(width, len(table) * 0.42 + 1.1)
    axes = figure.add_subplot()
    has_help = "assisted_ha" in table
    for position, row in enumerate(table.to_dict("records")):
        colour = colours[int(row["code"])]
        axes.barh(position, row["area_ha"], height=0.62, color=colour, alpha=0.55, edgecolor=QUIET, linewidth=0.6)
        shift = 0.12 if has_help else 0.0
        axes.plot([row["area_low_ha"], row["area_high_ha"]], [position - shift] * 2, color=INK, linewidth=1.6)
        if has_help:
            ends = [row["assisted_low_ha"], row["assisted_high_ha"]]
            axes.plot(ends, [position + 0.18] * 2, color="#0072B2", linewidth=1.6)
        axes.plot(
            row["mapped_ha"], position, marker="D", color="white", markeredgecolor=INK, markersize=5, linestyle=""
        )
    axes.set_yticks(
        range(len(table)), [shorten(class_title(str(name)), 18 if narrow else 34) for name in table["class"]]
    )
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("hectares")
    axes.ticklabel_format(axis="x", style="plain")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.locator_params(axis="x", nbins=4 if narrow else 7)
    quiet_rows(axes)
    axes.plot([], [], color=INK, linewidth=1.6, label="95 % interval from labels")
    if has_help:
        axes.plot([], [], color="#0072B2", linewidth=1.6, label="with the help of the map")
    axes.plot(
        [], [], marker="D", color="white", markeredgecolor=INK, markersize=5, linestyle="", label="pixels of the map"
    )
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=1 if narrow else 3)
    return figure


@styled
def map_figure(
    pixels: npt.NDArray[np.uint8],
    across: npt.NDArray[np.float64],
    down: npt.NDArray[np.float64],
    labelled: npt.NDArray[np.bool_],
) -> Figure:
    """A map with points on it.

    Args:
        pixels: (height, width, 3) of the map.
        across: (points,) places in pixels of the picture from its left edge.
        down: (points,) places from its upper edge.
        labelled: (points,) whether a point has a label; those without are crosses.
    """
    height, width = pixels.shape[:2]
    size = 5.0 / max(height, width)
    figure = new_figure(max(width * size, 1.5), max(height * size, 1.5))
    axes = figure.add_subplot()
    axes.imshow(pixels, interpolation="nearest", extent=(0, width, height, 0))
    axes.scatter(across[labelled], down[labelled], c="white", s=9, linewidths=0.6, edgecolors=INK)
    axes.scatter(across[~labelled], down[~labelled], c=INK, s=12, linewidths=0.8, marker="x")
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    return figure

"""Where the patches of each part of a split lie."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from eofuse.data.splits import PARTS
from eofuse.reports.figures.style import PART_COLOURS, new_figure, styled

MOST_DOTS_AS_SHAPES = 3000


@styled
def split_map_figure(index: pd.DataFrame, part: npt.NDArray[np.int64], width: float = 6.4) -> Figure | None:
    """Longitude and latitude of the patches, coloured by part; None where no place is known.

    Args:
        index: the store's index.
        part: number of the part of each patch, −1 for none.
        width: in inches.
    """
    places = index[["lon", "lat"]].to_numpy(dtype=float)
    known = np.isfinite(places).all(axis=1) & (part >= 0)
    if not known.any():
        return None
    spread = np.maximum(np.ptp(places[known], axis=0), 0.2)
    stretch = 1 / max(float(np.cos(np.deg2rad(places[known][:, 1].mean()))), 0.1)
    height = float(np.clip(width * stretch * spread[1] / spread[0], 0.45 * width, 0.85 * width)) + 0.5
    figure = new_figure(width, height)
    figure.set_dpi(200)
    axes = figure.add_subplot()
    crowded = int(known.sum()) > MOST_DOTS_AS_SHAPES
    size = 4 if crowded else 18
    order = np.random.default_rng(0).permutation(np.flatnonzero(known))  # so that no part hides the others
    axes.scatter(
        places[order, 0], places[order, 1], s=size, color=[PART_COLOURS[PARTS[number]] for number in part[order]],
        linewidths=0 if crowded else 0.3, edgecolors="white", alpha=0.8, rasterized=crowded,
    )  # fmt: skip
    for number, name in enumerate(PARTS):
        axes.scatter([], [], s=18, color=PART_COLOURS[name], label=f"{name} ({int((part == number).sum()):,})")
    axes.set_aspect(stretch, adjustable="datalim")
    axes.grid()
    axes.locator_params(nbins=6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}° {'E' if value >= 0 else 'W'}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}° {'N' if value >= 0 else 'S'}")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=3)
    return figure

"""Where the patches lie."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eofuse.reports.figures.style import new_figure, styled

TEST = "#D55E00"
OTHERS = "#b4bec7"


@styled
def places_figure(index: pd.DataFrame, test_rows: Sequence[int], width: float = 5.2) -> Figure | None:
    """Longitude and latitude of the store's patches, those of the test set in colour; None where no place is known.

    Args:
        index: the store's index.
        test_rows: rows of the test patches.
        width: in inches.
    """
    places = index[["lon", "lat"]].to_numpy(dtype=float)
    known = np.isfinite(places).all(axis=1)
    if not known.any():
        return None
    is_test = np.zeros(len(index), dtype=bool)
    is_test[list(test_rows)] = True
    spread = np.maximum(np.ptp(places[known], axis=0), 0.2)
    stretch = 1 / max(float(np.cos(np.deg2rad(places[known][:, 1].mean()))), 0.1)
    height = float(np.clip(width * stretch * spread[1] / spread[0], 0.45 * width, 0.85 * width)) + 0.5
    figure = new_figure(width, height)
    axes = figure.add_subplot()
    for chosen, colour, size, label in (
        (known & ~is_test, OTHERS, 10, "other patches of the store"),
        (known & is_test, TEST, 16, "test patches"),
    ):
        axes.scatter(
            places[chosen, 0], places[chosen, 1], s=size, color=colour, linewidths=0.3, edgecolors="white", label=label
        )
    axes.set_aspect(stretch, adjustable="datalim")
    axes.grid()
    axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}° {'E' if value >= 0 else 'W'}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}° {'N' if value >= 0 else 'S'}")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return figure

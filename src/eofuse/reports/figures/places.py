"""Where patches lie: those of the test set (`places_figure`), or those of each part of a split (`split_map_figure`)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eofuse.data.splits import PARTS
from eofuse.reports.figures.style import PART_COLOURS, name_parts, new_figure, styled

TEST = "#D55E00"
OTHERS = "#b4bec7"

MOST_DOTS_AS_SHAPES = 3000

Places = npt.NDArray[np.float64]


@styled
def places_figure(index: pd.DataFrame, test_rows: Sequence[int], width: float = 5.2) -> Figure | None:
    """Longitude and latitude of the store's patches, those of the test set in colour; None where no place is known."""
    places = index[["lon", "lat"]].to_numpy(dtype=float)
    known = np.isfinite(places).all(axis=1)
    if not known.any():
        return None
    figure, axes = _map(places[known], width)
    is_test = np.zeros(len(index), dtype=bool)
    is_test[list(test_rows)] = True
    for chosen, colour, size, label in (
        (places[known & ~is_test], OTHERS, 10, "other patches of the store"),
        (places[known & is_test], TEST, 16, "test patches"),
    ):
        across, up = chosen.T
        axes.scatter(across, up, s=size, color=colour, linewidths=0.3, edgecolors="white", label=label)
    name_parts(figure, axes, 2)
    return figure


@styled
def split_map_figure(index: pd.DataFrame, part: npt.NDArray[np.int64], width: float = 6.4) -> Figure | None:
    """Longitude and latitude of the patches, coloured by part; None where no place is known.

    `part` is −1 for patches in none.
    """
    places = index[["lon", "lat"]].to_numpy(dtype=float)
    known = np.isfinite(places).all(axis=1) & (part >= 0)
    if not known.any():
        return None
    figure, axes = _map(places[known], width)
    figure.set_dpi(200)
    axes.locator_params(nbins=6)
    crowded = int(known.sum()) > MOST_DOTS_AS_SHAPES
    order = np.random.default_rng(0).permutation(np.flatnonzero(known))  # so that no part hides the others
    colours = [PART_COLOURS[PARTS[number]] for number in part[order]]
    size, edge = (4, 0.0) if crowded else (18, 0.3)
    across, up = places[order].T
    style: dict[str, Any] = {"linewidths": edge, "edgecolors": "white", "alpha": 0.8, "rasterized": crowded}
    axes.scatter(across, up, s=size, color=colours, **style)
    for number, name in enumerate(PARTS):
        axes.scatter([], [], s=18, color=PART_COLOURS[name], label=f"{name} ({int((part == number).sum()):,})")
    name_parts(figure, axes)
    return figure


def _map(places: Places, width: float) -> tuple[Figure, Axes]:
    """An empty map that has the shape of where the places (N, 2) lie."""
    spread = np.maximum(np.ptp(places, axis=0), 0.2)
    stretch = 1 / max(float(np.cos(np.deg2rad(places[:, 1].mean()))), 0.1)
    height = float(np.clip(width * stretch * spread[1] / spread[0], 0.45 * width, 0.85 * width)) + 0.5
    figure = new_figure(width, height)
    axes = figure.add_subplot()
    axes.set_aspect(stretch, adjustable="datalim")
    axes.grid()
    axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}° {'E' if value >= 0 else 'W'}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}° {'N' if value >= 0 else 'S'}")
    return figure, axes

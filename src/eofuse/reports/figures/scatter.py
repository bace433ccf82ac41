"""Predicted against true numbers, and what is left between them."""

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eofuse.reports.figures.confusion import SHARES
from eofuse.reports.figures.style import INK, QUIET, new_figure, styled
from eofuse.reports.wording import class_title, shorten

FloatArray = npt.NDArray[np.float64]

MOST_POINTS = 1500
"""From this number of patches on, hexagons show how many lie where."""

NARROW = 5.0
"""Below this width in inches the residuals stand below."""


@styled
def scatter_figure(
    truth: FloatArray, prediction: FloatArray, name: str, unit: str, colour: str, width: float = 9.2
) -> Figure:
    """Predicted against true, and beside or below it the residuals (predicted minus true) with their distribution.

    Below a width of `NARROW`, the residuals stand below.
    """
    figure = new_figure(width, (1.75 if width < NARROW else 0.42) * width)
    left, middle, right = _axes(figure, width)
    ends = _limits(np.concatenate([truth, prediction]))
    _cloud(left, truth, prediction, colour, (*ends, *ends))
    left.plot(ends, ends, color=INK, linewidth=1, zorder=3)
    left.set_xlim(ends)
    left.set_ylim(ends)
    left.set_aspect("equal", adjustable="box")
    in_unit = f" ({unit})" if unit else ""
    left.set_xlabel(f"true{in_unit}")
    left.set_ylabel(f"predicted{in_unit}")
    left.set_title(shorten(class_title(name), 44))
    residuals = prediction - truth
    reach = float(np.abs(residuals).max(initial=0.0)) * 1.05 or 1.0
    true_ends = _limits(truth)
    _cloud(middle, truth, residuals, colour, (*true_ends, -reach, reach))
    middle.axhline(0, color=INK, linewidth=1, zorder=3)
    middle.set_xlim(true_ends)
    middle.set_ylim(-reach, reach)
    middle.set_xlabel(f"true{in_unit}")
    middle.set_ylabel(f"predicted − true{in_unit}")
    right.hist(
        residuals, bins=np.linspace(-reach, reach, 25).tolist(), orientation="horizontal", color=colour, alpha=0.75
    )
    right.axhline(0, color=INK, linewidth=1)
    mean = float(residuals.mean()) if len(residuals) else 0.0
    right.axhline(mean, color=QUIET, linewidth=1, linestyle="--")
    right.set_ylim(-reach, reach)
    right.tick_params(labelleft=False)
    right.set_xlabel("patches")
    for axes in (left, middle):
        axes.grid()
        axes.locator_params(nbins=5)
    right.locator_params(axis="x", nbins=2)
    return figure


def _axes(figure: Figure, width: float) -> tuple[Axes, Axes, Axes]:
    """Axes for the scatter, the residuals and their distribution."""
    if width < NARROW:
        grid = figure.add_gridspec(2, 2, width_ratios=[4, 1], height_ratios=[5, 3])
        return figure.add_subplot(grid[0, :]), figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[1, 1])
    left, middle, right = figure.subplots(1, 3, width_ratios=[4, 4, 1])
    return left, middle, right


def _cloud(
    axes: Axes, across: FloatArray, up: FloatArray, colour: str, extent: tuple[float, float, float, float]
) -> None:
    if len(across) > MOST_POINTS:
        axes.hexbin(across, up, gridsize=32, cmap=SHARES, bins="log", mincnt=1, extent=extent, linewidths=0.1)
        return
    size = 22 if len(across) < 200 else 9
    axes.scatter(across, up, s=size, color=colour, alpha=0.6, linewidths=0.3, edgecolors="white", clip_on=False)


def _limits(values: FloatArray) -> tuple[float, float]:
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin

"""Boxes on a picture of a patch: true ones solid, predicted ones dashed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from eofuse.reports.figures.rendering import Pixels
from eofuse.reports.figures.style import Picture, styled

BOX_COLOURS = ("#F0E442", "#56B4E9", "#FF7F2A", "#33E0A1", "#F28AC9", "#FFFFFF", "#B39DFF")
"""Bright colours that stand out from land and water alike; each line is drawn on a dark one."""

MOST_SCORES = 12
"""Up to this number of predicted boxes, each has its score."""

EDGE = 0.008
"""White edge as a share of the longer side, so that boxes along the patch's edge are seen whole."""

SIDE = 4.0
"""Inches of the longer side of the picture."""


def box_colour(number: int) -> str:
    """The colour of a class."""
    return BOX_COLOURS[number % len(BOX_COLOURS)]


@styled
def boxes_figure(
    pixels: Pixels,
    truth: npt.NDArray[np.float64],
    boxes: npt.NDArray[np.float64],
    labels: Sequence[int],
    scores: Sequence[float],
) -> Figure:
    """The picture with its boxes.

    Args:
        pixels: (H, W, 3) bytes.
        truth: (M, 5): x0, y0, x1, y1 in pixels, x to the right and y down, and the class number.
        boxes: (P, 4) predicted boxes.
        labels: P class numbers.
        scores: P scores.
    """
    height, width = pixels.shape[:2]
    scale = SIDE / max(height, width)
    figure = Picture(figsize=(width * scale, height * scale))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(pixels, interpolation="nearest", extent=(0, width, height, 0))
    axes.set_axis_off()
    draw_boxes(axes, (height, width), truth, boxes, labels, scores)
    return figure


def draw_boxes(
    axes: Axes,
    size: tuple[int, int],
    truth: npt.NDArray[np.float64],
    boxes: npt.NDArray[np.float64],
    labels: Sequence[int],
    scores: Sequence[float],
    line_width: float = 1.8,
) -> None:
    """Boxes on the picture of axes; arguments as of `boxes_figure`, and height and width of the picture in pixels."""
    height, width = size
    edge = EDGE * max(height, width)
    axes.set_xlim(-edge, width + edge)
    axes.set_ylim(height + edge, -edge)
    casing = [patheffects.Stroke(linewidth=2 * line_width, foreground="#10161c", alpha=0.8), patheffects.Normal()]
    outlines: list[tuple[Any, Any, Any]] = [(box[:4], box[4], "solid") for box in truth.tolist()]
    outlines += [(box, number, (0, (3, 2))) for box, number in zip(boxes.tolist(), labels, strict=True)]
    for (x0, y0, x1, y1), number, line in outlines:
        style: dict[str, Any] = {"edgecolor": box_colour(int(number)), "linewidth": line_width, "linestyle": line}
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, path_effects=casing, **style))
    if len(scores) <= MOST_SCORES:
        for (x0, y0, _, _), number, score in zip(boxes.tolist(), labels, scores, strict=True):
            place = min(max(x0, 0), width * 0.9), max(y0, height * 0.045)
            style = {
                "color": box_colour(int(number)),
                "fontsize": 8 if line_width > 1.5 else 6,
                "fontweight": "bold",
                "va": "bottom",
                "ha": "left",
            }
            text = axes.text(*place, f"{score:.2f}", **style)
            text.set_path_effects([patheffects.withStroke(linewidth=2.4, foreground="#10161c")])

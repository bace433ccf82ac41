"""Pictures as the page holds them: figures and panels turned into `data:` addresses with their words."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from eofuse.reports.figures.rendering import Panel, ramp_colours
from eofuse.reports.figures.style import png_data_uri, svg_data_uri
from eofuse.reports.wording import number

WIDE, NARROW = 9.2, 3.9
LARGEST_PATCH_PICTURE = 160


@dataclass(frozen=True)
class Picture:
    """A picture in the page: a wide form, a narrow one for phones where that differs, and its words."""

    source: str
    alt: str
    narrow: str | None = None


@dataclass(frozen=True)
class PanelPicture:
    """One panel of a patch in the page.

    The source is None where the patch lacks the modality; `gradient` is a colour scale in CSS, with the values at its ends;
    a `large` panel needs the room of four.
    """

    title: str
    source: str | None
    caption: str = ""
    legend: tuple[tuple[str, str], ...] = ()
    gradient: str = ""
    low: str = ""
    high: str = ""
    large: bool = False


def picture(figure: Figure, alt: str) -> Picture:
    """A figure that fits any screen."""
    return Picture(svg_data_uri(figure), alt)


def wide_and_narrow(draw: Callable[[float], Figure], alt: str) -> Picture:
    """A figure that is drawn for each of two widths."""
    return Picture(svg_data_uri(draw(WIDE)), alt, svg_data_uri(draw(NARROW)))


def panel_picture(panel: Panel) -> PanelPicture:
    """A panel of a patch with its legend or colour scale."""
    gradient, low, high = "", "", ""
    if panel.ramp:
        gradient = f"linear-gradient(to right, {', '.join(to_hex(colour) for colour in ramp_colours(panel.ramp))})"
        digits = min(max(1 - math.floor(math.log10(panel.ramp.high - panel.ramp.low)), 0), 6)
        low, high = (
            f"{number(value, digits)} {panel.ramp.unit}".rstrip() for value in (panel.ramp.low, panel.ramp.high)
        )
    source = None if panel.pixels is None else png_data_uri(_reduce(panel.pixels, keep_colours=bool(panel.legend)))
    return PanelPicture(panel.title, source, panel.caption, panel.legend, gradient, low, high)


def _reduce(pixels: np.ndarray, *, keep_colours: bool) -> np.ndarray:
    """Fewer pixels for the page: block means, or every n-th pixel where colours are a legend's."""
    height, width = pixels.shape[:2]
    factor = -(-max(height, width) // LARGEST_PATCH_PICTURE)
    if factor == 1:
        return pixels
    if keep_colours:
        return pixels[::factor, ::factor]
    blocks = pixels[: height // factor * factor, : width // factor * factor]
    blocks = blocks.reshape(height // factor, factor, width // factor, factor, 3)
    return np.asarray(np.round(blocks.mean(axis=(1, 3))).astype(np.uint8))

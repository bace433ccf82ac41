"""The dates of an image series as one picture: `film_panels` lays them side by side and below one another, all in the same colours."""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from eofuse.modalities import Kind, Modality
from eofuse.reports.figures.rendering import Panel, Pixels, raster_panels

MOST_DATES = 16
"""Dates of a picture; of more, as many evenly spaced ones are shown."""

PAPER = 255


def film_panels(modality: Modality, values: np.ndarray | None, times: npt.NDArray[np.floating]) -> list[Panel]:
    """Pictures of one image series of one patch, read like a page: the first date at the upper left.

    Args:
        modality: an image series.
        values: its dates (T, C, H, W) in the stored dtype; None where the patch lacks it.
        times: of the dates, (T,).
    """
    raster = replace(modality, kind=Kind.RASTER, steps=None, dated=False)
    if values is None:
        return raster_panels(raster, None)
    chosen = np.unique(np.linspace(0, len(values) - 1, min(len(values), MOST_DATES)).round().astype(int))
    joined = np.concatenate(list(values[chosen]), axis=-1)  # one picture, so that all dates have one stretch
    return [
        replace(
            panel,
            pixels=None if panel.pixels is None else _page(panel.pixels, len(chosen)),
            caption="; ".join(filter(None, [_words(modality, times, len(chosen)), panel.caption])),
            frames=len(chosen),
        )
        for panel in raster_panels(raster, joined)
    ]


def _page(strip: Pixels, count: int) -> Pixels:
    """Frames that stand side by side, (H, count · W, 3), in lines on white paper."""
    frames = np.split(strip, count, axis=1)
    height, width, _ = frames[0].shape
    across = math.ceil(math.sqrt(count))
    gap = max(1, width // 16)
    down = math.ceil(count / across)
    page = np.full((down * (height + gap) - gap, across * (width + gap) - gap, 3), PAPER, dtype=np.uint8)
    for number, frame in enumerate(frames):
        top, left = (number // across) * (height + gap), (number % across) * (width + gap)
        page[top : top + height, left : left + width] = frame
    return page


def _words(modality: Modality, times: npt.NDArray[np.floating], shown: int) -> str:
    """Which dates are shown."""
    count = f"{shown} of {len(times)} dates" if shown < len(times) else f"{shown} date{'s' * (shown > 1)}"
    if not modality.dated:
        return count
    days = np.datetime64("1970-01-01") + times[[0, -1]].astype("timedelta64[D]")
    return f"{count}, {' to '.join(dict.fromkeys(map(str, days)))}"

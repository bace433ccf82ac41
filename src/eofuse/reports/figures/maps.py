"""True and predicted maps of a patch side by side: classes in their colours, numbers on one ramp, and what is wrong."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgb

from eofuse.kinds import IGNORE
from eofuse.modalities import Modality, class_colour
from eofuse.reports.figures.rendering import NO_DATA, Panel, Pixels, Ramp, paint
from eofuse.reports.wording import class_title, number

WRONG, RIGHT = (0xC0, 0x39, 0x2B), (0xE9, 0xEE, 0xF1)
NUMBER_COLOURS, ERROR_COLOURS = "viridis", "RdBu_r"


def class_colours(classes: Sequence[str], modality: Modality | None) -> list[str]:
    """A colour for each class: that of the modality's legend, or of a qualitative palette where it has none of its own."""
    legend = {category.name: category.colour for category in modality.categories} if modality else {}
    colours = [legend.get(name) for name in classes]
    known = [colour for colour in colours if colour is not None]
    if len(known) == len(classes) and len(set(known)) == len(known):
        return known
    return [class_colour(position) for position in range(len(classes))]


def class_panels(
    truth: npt.NDArray[np.integer], predicted: npt.NDArray[np.integer], classes: Sequence[str], colours: Sequence[str]
) -> list[Panel]:
    """The true map, the predicted map, and where they differ.

    Both maps are (H, W) class numbers, 255 where the truth is not known.
    """
    known = truth != IGNORE
    wrong = np.full((*truth.shape, 3), NO_DATA, dtype=np.uint8)
    wrong[known] = RIGHT
    wrong[known & (truth != predicted)] = WRONG
    share = (truth != predicted)[known].mean() if known.any() else np.nan
    return [
        _class_panel("True", truth, classes, colours),
        _class_panel("Predicted", predicted, classes, colours),
        Panel("Where it is wrong", wrong, f"red: {number(100 * share, 0)} % of the pixels with a label"),
    ]


def _class_panel(title: str, numbers: npt.NDArray[np.integer], classes: Sequence[str], colours: Sequence[str]) -> Panel:
    pixels = np.full((*numbers.shape, 3), NO_DATA, dtype=np.uint8)
    counts = np.bincount(numbers[numbers != IGNORE].ravel(), minlength=len(classes))[: len(classes)]
    for position, colour in enumerate(colours):
        pixels[numbers == position] = np.round(255 * np.array(to_rgb(colour))).astype(np.uint8)
    legend = []
    for position in np.argsort(-counts, kind="stable").tolist():
        if counts[position]:
            percent = 100 * counts[position] / numbers.size
            words = f"{percent:.0f} %" if percent >= 1 else "< 1 %"
            legend.append((colours[position], f"{class_title(classes[position])} {words}"))
    return Panel(title, pixels, "", tuple(legend))


def number_panels(
    truth: npt.NDArray[np.floating], predicted: npt.NDArray[np.floating], name: str, unit: str
) -> list[Panel]:
    """The true and the predicted map on one ramp, and their difference on a ramp about zero.

    Both maps are (H, W) in the unit, NaN where the truth is not known.
    """
    known = np.isfinite(truth)
    both = np.concatenate([truth[known], predicted[np.isfinite(predicted)]])
    low, high = (float(end) for end in np.percentile(both, (1, 99))) if both.size else (0.0, 1.0)
    high = max(high, low + 1e-9)
    error = predicted - truth
    reach = float(np.percentile(np.abs(error[known]), 99)) if known.any() else 1.0
    reach = reach or 1.0
    ramp, error_ramp = Ramp(low, high, unit, NUMBER_COLOURS), Ramp(-reach, reach, unit, ERROR_COLOURS)
    label = f" {class_title(name)}" if name else ""
    return [
        Panel(f"True{label}", _painted(truth, ramp), ramp=ramp),
        Panel(f"Predicted{label}", _painted(predicted, ramp), ramp=ramp),
        Panel("Predicted − true", _painted(error, error_ramp), ramp=error_ramp),
    ]


def _painted(values: npt.NDArray[np.floating], ramp: Ramp) -> Pixels:
    known = np.isfinite(values)
    pixels: Pixels = np.round(255 * paint(np.where(known, values, ramp.low), ramp)).astype(np.uint8)
    pixels[~known] = NO_DATA
    return pixels

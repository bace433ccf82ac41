"""The series of a patch as lines: `series_panels` gathers them, `draw_series` draws one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import MaxNLocator

from eofuse.data.store import Store
from eofuse.data.store.arrays import known_values
from eofuse.modalities import Kind, Modality
from eofuse.reports.figures.style import QUIET, RULE, VARIANT_COLOURS

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """One channel of a series.

    Attributes:
        label: its name, and from where to where its numbers go.
        colour: of the line.
        numbers: in physical units, NaN in gaps: (steps,).
    """

    label: str
    colour: str
    numbers: FloatArray


@dataclass(frozen=True)
class SeriesPanel:
    """A picture of a series.

    Attributes:
        title: what is shown.
        times: of the steps that exist.
        dated: whether these are days since 1970-01-01.
        lines: the first seven channels; none where the patch lacks the modality.
        caption: when that was, and how many channels there are besides.
    """

    title: str
    times: FloatArray
    dated: bool
    lines: tuple[Line, ...]
    caption: str = ""


def series_panels(store: Store, row: int) -> list[SeriesPanel]:
    """Pictures of the series of one patch; those that it lacks say so."""
    return [
        _panel(modality, store.read(name, [row])[0])
        for name, modality in store.modalities.items()
        if modality.kind is Kind.SERIES
    ]


def _panel(modality: Modality, values: np.ndarray) -> SeriesPanel:
    title, exists = modality.title or modality.name, np.isfinite(values[:, 0])
    times = values[exists, 0].astype(np.float64)
    if not len(times):
        return SeriesPanel(title, times, modality.dated, ())
    numbers = known_values(values[exists]).astype(np.float64)
    numbers[numbers == modality.nodata] = np.nan
    physical = numbers * modality.scale + modality.offset
    lines = [
        Line(f"{channel.name.replace('_', ' ')}: {_range(column, channel.unit)}", colour, column)
        for channel, colour, column in zip(modality.channels, VARIANT_COLOURS, physical.T, strict=False)
    ]
    more = len(modality.channels) - len(lines)
    words = [" to ".join(dict.fromkeys(str(day) for day in _days(times[[0, -1]])))] if modality.dated else []
    words += [f"and {more} more {'channel' if more == 1 else 'channels'}"] if more else []
    return SeriesPanel(title, times, modality.dated, tuple(lines), ", ".join(words))


def _days(times: FloatArray) -> npt.NDArray[np.datetime64]:
    return np.datetime64("1970-01-01") + times.astype("timedelta64[D]")


def _range(numbers: FloatArray, unit: str) -> str:
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        return "gaps only"
    ends = dict.fromkeys(f"{number:.3g}".replace("-", "−") for number in (known.min(), known.max()))
    return f"{' to '.join(ends)} {unit}".rstrip()


def draw_series(axes: Axes, panel: SeriesPanel) -> None:
    """Draws each channel between its own smallest and largest number; gaps interrupt the line."""
    times = _days(panel.times) if panel.dated else panel.times
    for line in panel.lines:
        low, high = (np.nanmin(line.numbers), np.nanmax(line.numbers)) if np.isfinite(line.numbers).any() else (0, 0)
        height = (line.numbers - low) / (high - low) if high > low else np.where(np.isfinite(line.numbers), 0.5, np.nan)
        axes.plot(times, height, color=line.colour, marker="o", markersize=3, linewidth=1.2)
    axes.set_ylim(-0.08, 1.08)
    axes.set_yticks([])
    axes.grid(axis="x", color=RULE)
    axes.tick_params(axis="x", labelsize=7, color=QUIET)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    if panel.dated:
        locator: Any = AutoDateLocator(maxticks=5)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        formatter: Any = ConciseDateFormatter(locator, show_offset=False)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_formatter(formatter)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))

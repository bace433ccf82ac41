"""One patch with all its modalities side by side (rasters and series as pictures, the rest as text), or augmented."""

import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from eofuse.data.store import Store, Window
from eofuse.files import replacing
from eofuse.modalities import Kind, Modality
from eofuse.reports.figures.film import film_panels
from eofuse.reports.figures.rendering import Panel, ramp_colours, raster_panels
from eofuse.reports.figures.series import SeriesPanel, draw_series, series_panels
from eofuse.reports.figures.style import INK, QUIET, Picture, frame, styled, write_png

PANELS_PER_LINE = 5
SIDE, GAP, MARGIN, TOP = 2.3, 0.2, 0.2, 0.75
TITLE, LINE, FACTS_WIDTH = 0.28, 0.165, 3.5
"""Inches: a picture's side, gaps, the heading; a title, a line of text, the column of text."""


@styled
def show_patch(store: Store, patch_id: str, path: str | Path | None = None) -> Figure:
    """Draws all modalities of a patch.

    Args:
        store: the packed store.
        patch_id: the patch.
        path: where to write it as PNG, if anywhere.

    Raises:
        UsageError: if the store has no such patch; it names the nearest.
    """
    row = store.row_of(patch_id)
    panels: list[Panel | SeriesPanel] = [*patch_panels(store, row), *series_panels(store, row)]
    facts = _wrapped(patch_facts(store, row))
    per_line = max(min(len(panels), PANELS_PER_LINE), 1)
    lines = [panels[start : start + per_line] for start in range(0, len(panels), per_line)]
    width = MARGIN + per_line * (SIDE + GAP) + FACTS_WIDTH
    scene = store.index["scene"].iloc[row]
    subtitle = f"scene {'not known' if pd.isna(scene) else scene}"
    figure = _sheet(store, patch_id, subtitle, lines, width, len(facts) * LINE + TITLE + GAP)
    _write(figure, facts, width - FACTS_WIDTH + GAP, TOP + TITLE)
    return _kept(figure, path)


@styled
def show_augmented(
    store: Store,
    patch_id: str,
    draws: Sequence[Mapping[str, np.ndarray]],
    title: str,
    path: str | Path | None = None,
) -> Figure:
    """Draws the rasters of a patch, a line a picture: as they are, and beside them what augmentation made of them.

    Args:
        store: the packed store.
        patch_id: the patch.
        draws: its rasters by modality, as they are and then augmented.
        title: what was done.
        path: where to write it as PNG, if anywhere.
    """
    columns = [
        [panel for name, values in draw.items() for panel in _panels_or_blank(store.modalities[name], values)]
        for draw in draws
    ]
    lines = [
        [replace(panel, title=f"draw {column}") if column else panel for column, panel in enumerate(line)]
        for line in zip(*columns, strict=True)
    ]
    return _kept(_sheet(store, patch_id, title, lines, 2 * MARGIN + len(draws) * (SIDE + GAP)), path)


def _panels_or_blank(modality: Modality, values: np.ndarray) -> list[Panel]:
    """Pictures of a raster; of one that holds nothing at all, as if it were absent."""
    holds = (np.isfinite(values) & (values != modality.nodata)).any()
    return raster_panels(modality, values if holds else None)


def _sheet(
    store: Store,
    patch_id: str,
    subtitle: str,
    lines: Sequence[Sequence[Panel | SeriesPanel]],
    width: float,
    least_height: float = 0.0,
) -> Figure:
    """Lines of pictures under a heading, all in inches."""
    heights = [TITLE + SIDE + max(_foot(panel) for panel in line) + GAP for line in lines]
    figure = Picture(figsize=(width, TOP + max(sum(heights), least_height)))
    top = TOP
    for line, height in zip(lines, heights, strict=True):
        for column, panel in enumerate(line):
            _draw(figure, panel, MARGIN + column * (SIDE + GAP), top + TITLE)
        top += height
    mark = "   [simulated]" if store.simulated else ""
    _text(figure, MARGIN, 0.12, f"{patch_id}{mark}", fontsize=12, fontweight="bold")
    _text(figure, MARGIN, 0.4, subtitle, color=QUIET)
    return figure


def _kept(figure: Figure, path: str | Path | None) -> Figure:
    """The figure, written as PNG if there is a path."""
    if path is not None:
        with replacing(Path(path)) as temporary:
            write_png(figure, temporary)
    return figure


def patch_panels(store: Store, row: int, window: Window | None = None, without: Collection[str] = ()) -> list[Panel]:
    """Pictures of the rasters of one patch, then of its image series; those that it lacks say so."""
    panels, films = [], []
    for name, modality in store.modalities.items():
        if not modality.has_pixels or name in without:
            continue
        values = store.read(name, [row], window=window)[0] if store.present(name)[row] else None
        if modality.kind is Kind.IMAGE_SERIES:
            films.extend(film_panels(modality, values, store.times(name, [row])[0]))
        else:
            panels.extend(raster_panels(modality, values))
    return [*panels, *films]


def patch_facts(store: Store, row: int) -> list[tuple[str, str]]:
    """What the store knows of a patch besides pixels, as (name, value) in the order in which to show it."""
    entry = store.index.iloc[row]
    facts = []
    for key, title in (("time_s2", "Sentinel-2 at"), ("time_s1", "Sentinel-1 at"), ("split", "published split")):
        if _known(entry.get(key)):
            facts.append((title, str(entry[key])))
    if _known(entry.get("lon")) and _known(entry.get("lat")):
        facts.append(("place", _place(float(entry["lon"]), float(entry["lat"]))))
    for name in store.provenance.get("labels", {}):
        if _known(entry.get(name)):
            value = entry[name]
            words = "; ".join(map(str, value)) if isinstance(value, list | tuple | np.ndarray) else str(value)
            facts.append((name.replace("_", " "), words or "none of them"))
    for name, modality in store.modalities.items():
        if modality.is_array:
            continue
        if not store.present(name)[row]:
            facts.append(((modality.title or name).lower(), "absent"))
        elif modality.kind is Kind.CATEGORY:
            facts.append(((modality.title or name).lower(), _category(modality, int(store.read(name, [row])[0]))))
        else:
            values = store.read(name, [row])[0]
            for channel, value in zip(modality.channels, values, strict=True):
                facts.append((channel.name.replace("_", " "), _quantity(float(value), channel.unit)))
    for key, title in (("labels_19", "labels (19)"), ("labels_43", "labels (43)")):
        labels = entry.get(key)
        if isinstance(labels, list | tuple | np.ndarray):
            facts.append((title, "; ".join(str(label) for label in labels) or "none of them"))
    return facts


def _known(value: Any) -> bool:
    return value is not None and not (pd.api.types.is_scalar(value) and pd.isna(value))


def _place(lon: float, lat: float) -> str:
    return f"{abs(lat):.4f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.4f}° {'E' if lon >= 0 else 'W'}"


def _category(modality: Modality, code: int) -> str:
    name = next((category.name for category in modality.categories if category.code == code), "unknown code")
    return f"{name.replace('_', ' ')} ({code})"


def _quantity(value: float, unit: str) -> str:
    if not np.isfinite(value):
        return "absent"
    if unit == "K":
        return f"{value:.1f} K ({value - 273.15:.1f} °C)".replace("-", "−")
    return f"{value:.4g} {unit}".rstrip().replace("-", "−")


def _wrapped(facts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Facts as lines that fit beside the pictures; a continued value has an empty name."""
    lines = []
    for name, value in facts:
        parts = textwrap.wrap(value, 30) or [""]
        lines.append((name, parts[0]))
        lines.extend(("", part) for part in parts[1:])
    return lines


def _foot(panel: Panel | SeriesPanel) -> float:
    """Height in inches of what stands below a picture."""
    if isinstance(panel, SeriesPanel):
        return 0.35 + LINE * (len(panel.lines) + bool(panel.caption))
    if panel.ramp:
        return 0.5
    return 0.1 + LINE * (len(panel.legend) or len(_caption_lines(panel)))


def _caption_lines(panel: Panel) -> list[str]:
    return textwrap.wrap(panel.caption, 42) if panel.pixels is not None else []


def _text(figure: Figure, left: float, top: float, text: str, **style: Any) -> None:
    """Text with its upper left corner at a place in inches from the figure's upper left corner."""
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - top / height, text, va="top", **style)


def _axes(figure: Figure, left: float, top: float, axes_width: float, axes_height: float) -> Axes:
    """Axes at a place in inches from the figure's upper left corner."""
    width, height = figure.get_size_inches()
    return figure.add_axes((left / width, 1 - (top + axes_height) / height, axes_width / width, axes_height / height))


def _write(figure: Figure, lines: list[tuple[str, str]], left: float, top: float) -> None:
    for position, (name, value) in enumerate(lines):
        _text(figure, left, top + position * LINE, name, color=QUIET, fontsize=8.5)
        _text(figure, left + 1.25, top + position * LINE, value, color=INK, fontsize=8.5)


def _draw(figure: Figure, panel: Panel | SeriesPanel, left: float, top: float) -> None:
    _text(figure, left, top - 0.22, panel.title, fontweight="bold")
    axes = _axes(figure, left, top, SIDE, SIDE)
    if isinstance(panel, SeriesPanel) and panel.lines:
        draw_series(axes, panel)
        legend = [(line.colour, line.label) for line in panel.lines]
        _legend(figure, legend, left, top + SIDE + 0.3)
        _text(figure, left, top + SIDE + 0.3 + len(legend) * LINE, panel.caption, fontsize=8, color=QUIET)
        return
    frame(axes)
    if isinstance(panel, SeriesPanel) or panel.pixels is None:
        axes.text(0.5, 0.5, "absent", transform=axes.transAxes, ha="center", va="center", color=QUIET)
        return
    axes.imshow(panel.pixels, interpolation="nearest")
    below = top + SIDE + 0.07
    if panel.ramp:
        colours = LinearSegmentedColormap.from_list("ramp", ramp_colours(panel.ramp, 32))
        scale = ScalarMappable(Normalize(panel.ramp.low, panel.ramp.high), colours)
        bar = figure.colorbar(scale, cax=_axes(figure, left, below, SIDE, 0.1), orientation="horizontal")
        bar.ax.xaxis.set_major_formatter(lambda value, _: f"{value:g} {panel.ramp.unit}" if panel.ramp else "")
        bar.ax.xaxis.set_major_locator(MaxNLocator(4))
        bar.ax.tick_params(labelsize=8)
        bar.outline.set_visible(False)
        return
    _legend(figure, panel.legend, left, below)
    if not panel.legend:
        for position, line in enumerate(_caption_lines(panel)):
            _text(figure, left, below + position * LINE, line, fontsize=8, color=QUIET)


def _legend(figure: Figure, legend: Sequence[tuple[str, str]], left: float, top: float) -> None:
    """Colours and what they mean, one below another."""
    for position, (colour, label) in enumerate(legend):
        chip = _axes(figure, left, top + position * LINE - 0.005, 0.12, 0.11)
        chip.set_facecolor(colour)
        frame(chip)
        _text(figure, left + 0.2, top + position * LINE, label, fontsize=8)

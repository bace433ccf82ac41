"""A sheet of small pictures of patches in groups, with words below each: examples of a run, patches of a store by class."""

import math
import re
import textwrap
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eofuse.data.store import Store, Window
from eofuse.modalities import Kind, Modality
from eofuse.reports.figures.rendering import TRUE_COLOUR, Panel, Pixels, has_channels, raster_panels
from eofuse.reports.figures.style import INK, QUIET, Picture, frame, styled
from eofuse.reports.wording import shorten

GAP, MARGIN, TOP, TITLE, LINE = 0.16, 0.25, 0.72, 0.27, 0.14
"""Inches: room between pictures, at the edge, above all, for the title of a group, for a line of text."""

SMALL_LETTER, LARGE_LETTER = 0.052, 0.066
"""Inches of a letter of the words below a picture, on average: small ones, and capitals and digits."""

MOST_LINES = 7
NARROWEST = 6.5


@dataclass(frozen=True)
class Thumbnail:
    """A small picture with words below.

    Attributes:
        pixels: (H, W, 3) bytes; None where there is no picture.
        words: paragraphs and their colours.
        draw: draws something on the picture.
    """

    pixels: Pixels | None
    words: tuple[tuple[str, str], ...] = ()
    draw: Callable[[Axes], None] | None = None


@dataclass(frozen=True)
class Group:
    """Pictures under one title."""

    title: str
    thumbnails: tuple[Thumbnail, ...]


@styled
def sheet_figure(
    groups: Sequence[Group],
    heading: str,
    note: str,
    *,
    per_line: int = 6,
    side: float = 1.5,
    legend: Iterable[tuple[str, str]] = (),
) -> Figure:
    """Groups of pictures, one below another.

    Args:
        groups: those without a picture are left out.
        heading: of the sheet.
        note: a sentence below it.
        per_line: pictures beside each other.
        side: of a picture, in inches.
        legend: colours and what they mean, at the end.
    """
    groups = [group for group in groups if group.thumbnails]
    most = max((min(len(group.thumbnails), per_line) for group in groups), default=1)
    width = max(NARROWEST, 2 * MARGIN + most * (side + GAP) - GAP)
    notes = textwrap.wrap(note, int((width - 2 * MARGIN) / 0.068))
    top = TOP + 0.17 * max(0, len(notes) - 1)
    lines: list[tuple[float, Sequence[Thumbnail], str]] = []
    for group in groups:
        for start in range(0, len(group.thumbnails), per_line):
            title = "" if start else group.title
            top += TITLE if title else 0
            line: Sequence[Thumbnail] = group.thumbnails[start : start + per_line]
            lines.append((top, line, title))
            top += side + 0.06 + max(len(_wrapped(each, side)) for each in line) * LINE + GAP
    chips = list(legend)
    chip_columns = max(1, int((width - 2 * MARGIN) / 2.1))
    height = top + (0.2 * math.ceil(len(chips) / chip_columns) + 0.1 if chips else 0)
    figure = Picture(figsize=(width, height))

    def write(left: float, down: float, text: str, **style: Any) -> None:
        figure.text(left / width, 1 - down / height, text, va="top", **style)

    for down, pictures, title in lines:
        if title:
            write(MARGIN, down - TITLE + 0.04, title, fontsize=9.5, fontweight="bold")
        for place, thumbnail in enumerate(pictures):
            left = MARGIN + place * (side + GAP)
            axes = figure.add_axes((left / width, 1 - (down + side) / height, side / width, side / height))
            frame(axes)
            _paint(axes, thumbnail)
            for number, (text, colour) in enumerate(_wrapped(thumbnail, side)):
                write(left, down + side + 0.06 + number * LINE, text, color=colour, fontsize=7.2)
    for number, (colour, name) in enumerate(chips):
        left = MARGIN + number % chip_columns * 2.1
        down = top + number // chip_columns * 0.2
        chip = figure.add_axes((left / width, 1 - (down + 0.12) / height, 0.13 / width, 0.12 / height))
        chip.set_facecolor(colour)
        frame(chip)
        write(left + 0.2, down, shorten(name, 28), fontsize=8)
    write(MARGIN, 0.14, shorten(heading, int((width - 2 * MARGIN) / 0.1)), fontsize=12, fontweight="bold")
    for number, text in enumerate(notes):
        write(MARGIN, 0.4 + 0.17 * number, text, color=QUIET)
    return figure


def _paint(axes: Axes, thumbnail: Thumbnail) -> None:
    if thumbnail.pixels is None:
        axes.text(0.5, 0.5, "no picture", transform=axes.transAxes, ha="center", va="center", color=QUIET)
        return
    axes.imshow(thumbnail.pixels, interpolation="nearest")
    if thumbnail.draw is not None:
        thumbnail.draw(axes)


def _wrapped(thumbnail: Thumbnail, side: float) -> list[tuple[str, str]]:
    """The words in lines that fit below a picture of a side in inches; names are broken behind underscores."""
    lines = []
    for text, colour in thumbnail.words:
        large = sum(letter.isupper() or letter.isdigit() or letter == "_" for letter in text) / max(len(text), 1)
        letters = int(side / (SMALL_LETTER + (LARGE_LETTER - SMALL_LETTER) * large))
        line = ""
        for part in re.split(r"(?<=[_ ])", text):
            if line and len(line) + len(part.rstrip()) > letters:
                lines.append((line.rstrip(), colour))
                line = ""
            line += part
        lines += [(piece, colour) for piece in textwrap.wrap(line, letters, break_on_hyphens=False)]
    return lines[:MOST_LINES]


def best_raster(store: Store, among: Collection[str] = (), without: Collection[str] = ()) -> Modality | None:
    """The raster that shows a patch best: one with the colours that an eye sees, else the first that is no class map.

    Args:
        store: the store.
        among: modalities that are preferred.
        without: modalities that are not taken.
    """
    rasters = [each for each in store.modalities.values() if each.kind is Kind.RASTER and each.name not in without]
    rasters.sort(
        key=lambda each: (
            bool(among) and each.name not in among,
            not has_channels(each, TRUE_COLOUR),
            each.cell > 1,
            each.is_categorical,
        )
    )
    return rasters[0] if rasters else None


def thumbnail_panel(store: Store, modality: Modality | None, row: int, window: Window | None = None) -> Panel | None:
    """The picture of a modality of a patch; None where the patch lacks it."""
    if modality is None or not store.present(modality.name)[row]:
        return None
    return raster_panels(modality, store.read(modality.name, [row], window=window)[0])[0]


def quiet(text: str) -> tuple[str, str]:
    """Words that stand back."""
    return text, QUIET


def plain(text: str) -> tuple[str, str]:
    """Words that are read."""
    return text, INK

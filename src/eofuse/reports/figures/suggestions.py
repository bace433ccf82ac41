"""A contact sheet: small pictures of the patches that are suggested for annotation, with rank, name and prediction."""

import math
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eofuse.data.store import Store
from eofuse.files import replacing
from eofuse.reports.figures.sheet import best_raster, thumbnail_panel
from eofuse.reports.figures.style import INK, QUIET, Picture, frame, styled, write_png
from eofuse.reports.wording import class_title

MOST = 100
"""Pictures on a sheet."""

PER_LINE = 8
SIDE, GAP, MARGIN, TOP, LINE = 1.45, 0.16, 0.25, 0.7, 0.125
"""Inches: a picture's side, the room between them, at the edge and above; a line of text."""

LETTERS = 28
"""In a line below a picture."""

LINES = 3
"""Of the name, and of the prediction, at most."""


@styled
def contact_sheet(store: Store, table: pd.DataFrame, columns: Sequence[str], title: str, path: Path) -> Figure:
    """Draws the first hundred of some patches and writes them as PNG."""
    shown = table.head(MOST)
    texts = [(_name(row), _predicted(row, columns)) for row in shown.to_dict("records")]
    per_line = min(PER_LINE, len(shown))
    step = SIDE + max(len(name) + len(predicted) for name, predicted in texts) * LINE + 1.5 * GAP
    height = TOP + math.ceil(len(shown) / per_line) * step
    figure = Picture(figsize=(2 * MARGIN + max(per_line, 4) * (SIDE + GAP) - GAP, height))
    width = figure.get_figwidth()
    picture = best_raster(store)
    for place, (name, predicted) in enumerate(texts):
        left = MARGIN + place % per_line * (SIDE + GAP)
        top = TOP + place // per_line * step
        panel = thumbnail_panel(store, picture, store.row_of(shown["patch_id"].iloc[place]))
        axes = figure.add_axes((left / width, 1 - (top + SIDE) / height, SIDE / width, SIDE / height))
        frame(axes)
        if panel is not None and panel.pixels is not None:
            axes.imshow(panel.pixels, interpolation="nearest")
        else:
            axes.text(0.5, 0.5, "no picture", transform=axes.transAxes, ha="center", va="center", color=QUIET)
        for line, text in enumerate([*name, *predicted]):
            below = 1 - (top + SIDE + 0.05 + line * LINE) / height
            style: dict[str, Any] = {"color": QUIET if line < len(name) else INK, "fontsize": 6.2}
            figure.text(left / width, below, text, va="top", **style)
    mark = "   [simulated]" if store.simulated else ""
    figure.text(MARGIN / width, 1 - 0.14 / height, f"{title}{mark}", va="top", fontsize=12, fontweight="bold")
    more = f" The first {MOST} of {len(table)}." if len(table) > len(shown) else ""
    note = f"Most wanted first.{more} Below each: rank and name, and what the model predicts."
    figure.text(MARGIN / width, 1 - 0.4 / height, note, va="top", color=QUIET)
    with replacing(path) as temporary:
        write_png(figure, temporary)
    return figure


def _name(row: dict[Any, Any]) -> list[str]:
    """Rank and name of a patch in lines, broken behind underscores where there are any."""
    lines = [""]
    for part in re.split(r"(?<=_)", f"{row['rank']}  {row['patch_id']}"):
        if len(lines[-1]) + len(part) > LETTERS:
            lines.append("")
        lines[-1] += part
    return [line for long in lines for line in textwrap.wrap(long, LETTERS)][:LINES]


def _predicted(row: dict[Any, Any], columns: Sequence[str]) -> list[str]:
    """What is predicted of a patch, in lines: classes with their probability, the largest shares of the pixels, or numbers."""
    parts: list[str] = []
    shares: list[tuple[float, str]] = []
    for column in columns:
        value = row[column]
        if column.endswith(".confidence"):
            parts[-1] += _share(value, " ({})")
        elif isinstance(value, str):
            parts.append(class_title(value))
        elif isinstance(value, list | tuple | np.ndarray):
            parts.append(", ".join(map(class_title, value)) or "none of the classes")
        elif pd.isna(value) or column.endswith((".low", ".high")):
            continue
        elif ".share." in column:
            shares.append((value, class_title(column.partition(".share.")[2])))
        else:
            parts.append(f"{class_title(column)} {value:.3g}")
    largest = [name + _share(share, " {}") for share, name in sorted(shares, reverse=True)[:2] if share]
    return textwrap.wrap("; ".join([*parts, *largest]), LETTERS)[:LINES]


def _share(value: float, form: str) -> str:
    return form.format(f"{100 * value:.0f}\u00a0%")

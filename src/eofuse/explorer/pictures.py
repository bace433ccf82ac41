"""Pictures of patches, as small as the page has room for: thumbnails in sheets, and all that is known of some patches, large."""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.colors import to_hex
from PIL import Image, features

from eofuse.data.store import Store, Window
from eofuse.modalities import Kind, Modality
from eofuse.progress import Progress
from eofuse.reports.cards import Painter, shown_boxes
from eofuse.reports.figures.boxes import box_colour
from eofuse.reports.figures.patch import patch_panels
from eofuse.reports.figures.rendering import TRUE_COLOUR, Panel, Pixels, has_channels, ramp_colours, raster_panels
from eofuse.reports.figures.series import SeriesPanel, series_panels
from eofuse.reports.figures.sheet import best_raster
from eofuse.reports.runs import first_seed
from eofuse.reports.wording import class_title, number

SIDES = (96, 72, 56, 48, 40, 32, 24)
"""Sides of a thumbnail in pixels; the largest that there is room for is taken."""

SMALLEST = 24
TRIED = 96
"""Thumbnails by which the size of all is estimated."""

ENOUGH = 1.2
"""Pixels of which a pixel of a thumbnail is made, at least, each way."""

PER_SHEET = 1024
QUALITY = 55
LARGE_SIDE, LARGE_QUALITY = 144, 70

WRONG_TITLE = "Where it is wrong"

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Thumbnails:
    """Small pictures in sheets.

    Attributes:
        side: of each, in pixels; 0 where there are none.
        sheets: `data:` addresses of sheets, `per_line` pictures a line, `per_sheet` a sheet.
        places: number of the picture of each patch, −1 of those without one, (patches,).
        title: what they show.
    """

    side: int
    sheets: tuple[str, ...]
    places: npt.NDArray[np.int32]
    title: str = ""
    per_line: int = 32
    per_sheet: int = PER_SHEET


def thumbnails(store: Store, order: Rows, room: float, progress: Progress | None = None) -> Thumbnails:
    """Small pictures of as many patches as there is room for, as large as there is room for.

    Args:
        store: the store.
        order: rows, the most wanted first.
        room: bytes of text that they may take.
        progress: called with (patches done, patches in all).
    """
    places = np.full(len(store), -1, dtype=np.int32)
    series = (each for each in store.modalities.values() if each.kind is Kind.IMAGE_SERIES)
    modality = best_raster(store) or next(series, None)
    if modality is None:
        return Thumbnails(0, (), places)
    wanted = order[store.present(modality.name)[order]]
    if not len(wanted):
        return Thumbnails(0, (), places)
    some = wanted[np.unique(np.linspace(0, len(wanted) - 1, TRIED).astype(np.int64))]
    tried = [_picture(store, modality, int(row)) for row in some]
    count, side = 0, SMALLEST
    for side in SIDES:
        size = len(_sheet(tried, side)) / len(tried)
        count = min(len(wanted), int(room / size))
        if count == len(wanted):
            break
    kept = np.sort(wanted[:count])
    step = max(1, int(min(store.patch_size) / (ENOUGH * side)))
    sheets = []
    for first in range(0, len(kept), PER_SHEET):
        pictures = []
        for row in kept[first : first + PER_SHEET].tolist():
            pictures.append(_small(_picture(store, modality, row, step), side))
            if progress:
                progress(first + len(pictures), len(kept))
        sheets.append(_sheet(pictures, side))
    places[kept] = np.arange(len(kept))
    return Thumbnails(side, tuple(sheets), places, modality.title or modality.name)


def _picture(store: Store, modality: Modality, row: int, step: int = 1) -> Pixels:
    """The picture of a patch, of a series that of a date in its middle; of every n-th of its pixels, for a small one."""
    names = TRUE_COLOUR if has_channels(modality, TRUE_COLOUR) else modality.channel_names
    channels = [modality.channel_index(name) for name in names]
    values = store.read(modality.name, [row], channels=channels)[0]
    if modality.kind is Kind.IMAGE_SERIES:
        values = values[int(np.isfinite(store.times(modality.name, [row])[0]).sum()) // 2]
        modality = replace(modality, kind=Kind.RASTER, steps=None, dated=False)
    step = max(1, step // modality.cell)
    pixels = raster_panels(modality.select(names), values[:, ::step, ::step])[0].pixels
    assert pixels is not None
    return pixels


def _small(pixels: Pixels, side: int) -> Pixels:
    height, width = pixels.shape[:2]
    if (height, width) == (side, side):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX))


def _sheet(pictures: Sequence[Pixels], side: int, per_line: int = 32) -> str:
    lines = -(-len(pictures) // per_line)
    sheet = np.full((lines * side, min(per_line, len(pictures)) * side, 3), 225, dtype=np.uint8)
    for place, pixels in enumerate(pictures):
        top, left = place // per_line * side, place % per_line * side
        sheet[top : top + side, left : left + side] = _small(pixels, side)
    return encoded(sheet)


def encoded(pixels: Pixels, quality: int = QUALITY, lossless: bool = False) -> str:
    """(H, W, 3) bytes as a WebP in a `data:` address; as PNG or JPEG where Pillow can't write WebP."""
    stream = io.BytesIO()
    form = "WEBP" if features.check("webp") else "PNG" if lossless else "JPEG"
    Image.fromarray(pixels).save(stream, form, quality=quality, lossless=lossless, method=4)
    return f"data:image/{form.lower()};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def large_pictures(
    store: Store, order: Rows, room: float, painters: Sequence[Painter] = (), progress: Progress | None = None
) -> dict[int, dict[str, Any]]:
    """Rasters and series of as many patches as there is room for, by row: truth and prediction first.

    Args:
        store: the store.
        order: rows, the most wanted first.
        room: bytes of text that they may take.
        painters: draw truth and prediction, one a target; none of a store.
        progress: called with (patches done, patches that there seems to be room for).
    """
    if not any(modality.is_array for modality in store.modalities.values()):
        return {}
    predictions: dict[int, list[tuple[Painter, pd.Series]]] = {}
    for painter in painters:
        if painter.kind.needs_maps:
            for _, prediction in first_seed(painter.results, painter.variant).iterrows():
                predictions.setdefault(int(prediction["row"]), []).append((painter, prediction))
    window = painters[0].window if painters else None
    found: dict[int, dict[str, Any]] = {}
    used = 0.0
    for row in order.tolist():
        entry = _large(store, row, window, predictions.get(row, []))
        size = len(json.dumps(entry))
        if used + size > room:
            break
        used += size
        found[row] = entry
        if progress:
            progress(len(found), min(len(order), max(int(len(found) * room / used), len(found))))
    return found


def _large(store: Store, row: int, window: Window | None, predicted: list[tuple[Painter, pd.Series]]) -> dict[str, Any]:
    strips: tuple[list[Pixels], list[Pixels]] = ([], [])
    hidden = {source for painter, _ in predicted if painter.target for source in painter.target.sources}
    maps = [
        replace(panel, title=f"{panel.title} ({painter.results.summary['target']})") if len(predicted) > 1 else panel
        for painter, prediction in predicted
        for panel in painter.maps(prediction)
    ]
    panels = [*maps, *patch_panels(store, row, window, without=hidden)]
    entry: dict[str, Any] = {"panels": [_described(panel, strips) for panel in panels]}
    entry["panels"] += [_lines(panel) for panel in series_panels(store, row)]
    entry["strips"] = [_strip(strips[0]), _strip(strips[1], lossless=True)]
    boxes = [_boxes(painter, prediction) for painter, prediction in predicted if painter.kind.is_boxes]
    if boxes:
        entry |= {"boxes": boxes[0], "ground": len(maps)}
    return entry


def _described(panel: Panel, strips: tuple[list[Pixels], list[Pixels]]) -> dict[str, Any]:
    """A panel in words, with the place of its picture in a strip: of photographs, or of maps whose colours are those of a legend."""
    told: dict[str, Any] = {"title": panel.title, "caption": panel.caption}
    if panel.legend:
        told["legend"] = [list(entry) for entry in panel.legend]
    if panel.ramp is not None:
        told["ramp"] = {
            "colours": [to_hex(colour) for colour in ramp_colours(panel.ramp, 7)],
            "ends": [_end(panel.ramp.low, panel.ramp.unit), _end(panel.ramp.high, panel.ramp.unit)],
        }
    if panel.pixels is None:
        return told
    is_map = bool(panel.legend) or panel.title.startswith(WRONG_TITLE)
    strip = strips[is_map]
    pixels = _fitted(panel.pixels, is_map)
    told["picture"] = [int(is_map), sum(each.shape[1] for each in strip), pixels.shape[1], pixels.shape[0]]
    strip.append(pixels)
    return told


def _lines(panel: SeriesPanel) -> dict[str, Any]:
    """A series in words, and its lines, each in hundredths between its own smallest and largest number; None in gaps."""
    told: dict[str, Any] = {"title": panel.title, "caption": panel.caption}
    if not panel.lines:
        return told
    told["legend"] = [[line.colour, line.label] for line in panel.lines]
    told["series"] = {
        "times": _hundredths(panel.times),
        "lines": [[line.colour, _hundredths(line.numbers)] for line in panel.lines],
    }
    return told


def _hundredths(numbers: npt.NDArray[np.float64]) -> list[float | None]:
    known = np.isfinite(numbers)
    low, high = (numbers[known].min(), numbers[known].max()) if known.any() else (0.0, 0.0)
    places = (numbers - low) / (high - low) if high > low else np.where(known, 0.5, np.nan)
    return [round(100 * float(place), 1) if np.isfinite(place) else None for place in places]


def _end(value: float, unit: str) -> str:
    return f"{number(value, 0 if abs(value) >= 10 else 2)} {unit}".rstrip()


def _fitted(pixels: Pixels, is_map: bool) -> Pixels:
    """A picture whose frames are no larger than `LARGE_SIDE`: fewer pixels, or every n-th where colours are a legend's."""
    height, width = pixels.shape[:2]
    if height <= LARGE_SIDE:
        return pixels
    size = (max(round(width * LARGE_SIDE / height), 1), LARGE_SIDE)
    way = Image.Resampling.NEAREST if is_map else Image.Resampling.BOX
    return np.asarray(Image.fromarray(pixels).resize(size, way))


def _strip(pictures: Sequence[Pixels], lossless: bool = False) -> str:
    """Pictures beside each other; empty text of none."""
    if not pictures:
        return ""
    height = max(each.shape[0] for each in pictures)
    strip = np.zeros((height, sum(each.shape[1] for each in pictures), 3), dtype=np.uint8)
    left = 0
    for each in pictures:
        strip[: each.shape[0], left : left + each.shape[1]] = each
        left += each.shape[1]
    return encoded(strip, LARGE_QUALITY, lossless)


def _boxes(painter: Painter, prediction: pd.Series) -> dict[str, Any]:
    """True and predicted boxes in pixels of the patch, with colours and names."""
    truth, boxes, labels, scores = shown_boxes(painter.results, prediction, painter.threshold)
    classes = painter.results.summary["classes"]
    size = painter.window or painter.store.patch_size
    height, width = size if isinstance(size, tuple) else (size.height, size.width)
    true = [[*box[:4], box_colour(int(box[4])), class_title(classes[int(box[4])])] for box in truth.tolist()]
    predicted = [
        [*box, box_colour(at), f"{class_title(classes[at])} {score:.2f}"]
        for box, at, score in zip(boxes.tolist(), labels, scores, strict=True)
    ]
    return {"size": [width, height], "true": true, "predicted": predicted, "least": painter.threshold}

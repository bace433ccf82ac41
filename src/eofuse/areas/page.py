"""The page of an estimate of areas: one HTML file that needs no network, no script and no other file."""

from typing import Any

import numpy as np
import numpy.typing as npt

from eofuse.areas.classmap import NO_CODE, opened
from eofuse.areas.estimate import AreaEstimates
from eofuse.areas.frame import Frame
from eofuse.areas.placing import Placed
from eofuse.modalities import class_colour
from eofuse.reports import wording
from eofuse.reports.figures.areas import areas_figure, map_figure
from eofuse.reports.page import render_page
from eofuse.reports.pictures import Picture, picture, wide_and_narrow
from eofuse.words import counted

LARGEST_SIDE = 460
"""Pixels of the picture of the map."""

MOST_CLASSES = 40
"""In the figure of areas."""

LARGEST_MATRIX = 25
"""Classes of an error matrix that is shown."""


def area_page(estimates: AreaEstimates, frame: Frame, place: Placed) -> str:
    """The text of the page."""
    table = estimates.classes
    has_help = bool(estimates.helper)
    colours = {int(code): _colour(frame, int(code), at) for at, code in enumerate(table["code"])}
    return render_page(
        "areas.html",
        {
            "map": estimates.map.name,
            "points": estimates.points.name,
            "answer": answer(estimates),
            "estimates": estimates,
            "rows": table.to_dict("records"),
            "has_help": has_help,
            "helper": {"probabilities": "the map's probabilities", "map": "the map's classes"}.get(
                estimates.helper, ""
            ),
            "areas": _areas(estimates, colours),
            "picture": _map(frame, place, colours),
            "legend": [(colours[int(row["code"])], row["class"]) for row in table.to_dict("records")],
            "matrix": _matrix(estimates),
            "strata": estimates.strata.to_dict("records"),
            "per_cent": per_cent,
            "ha": hectares,
            "between": wording.interval,
        },
    )


def answer(estimates: AreaEstimates) -> str:
    """The result in a sentence or two."""
    overall = estimates.overall
    largest = estimates.classes.sort_values("area_ha", ascending=False).iloc[0]
    text = (
        f"The map is right on {per_cent(overall['value'])} of the area "
        f"({wording.interval(overall['low'], overall['high'], per_cent)}). "
        f"The largest class is {wording.class_title(str(largest['class']))}: {hectares(largest['area_ha'])} "
        f"({wording.interval(largest['area_low_ha'], largest['area_high_ha'], hectares)}), "
        f"where the map shows {hectares(largest['mapped_ha'])}."
    )
    rounding = 1e-9 * estimates.hectares
    outside = estimates.classes[
        (estimates.classes["mapped_ha"] < estimates.classes["area_low_ha"] - rounding)
        | (estimates.classes["mapped_ha"] > estimates.classes["area_high_ha"] + rounding)
    ]
    if len(outside):
        names = wording.listing([wording.class_title(str(name)) for name in outside["class"].head(6)])
        text += f" The area that the map shows is outside the interval for {names}: do not count its pixels for areas."
    return text


def per_cent(value: float) -> str:
    """A share in per cent."""
    return wording.MISSING if np.isnan(value) else f"{wording.number(100 * value, 1)} %"


def hectares(value: float) -> str:
    """An area in hectares, with three to four digits."""
    if np.isnan(value):
        return wording.MISSING
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} ha"


def _colour(frame: Frame, code: int, at: int) -> str:
    """The colour that the map gives a class, or one of its own."""
    with opened(frame.map.file) as dataset:
        try:
            red, green, blue, opacity = dataset.colormap(1)[code]
        except (ValueError, KeyError):
            return class_colour(at)
    return f"#{red:02x}{green:02x}{blue:02x}" if opacity else class_colour(at)


def _areas(estimates: AreaEstimates, colours: dict[int, str]) -> Picture:
    table = estimates.classes.sort_values("area_ha", ascending=False).head(MOST_CLASSES)
    words = "; ".join(
        f"{row['class']}: {hectares(row['area_ha'])} ({wording.interval(row['area_low_ha'], row['area_high_ha'], hectares)})"
        for row in table.to_dict("records")
    )
    return wide_and_narrow(lambda width: areas_figure(table, colours, width), f"Areas of the classes. {words}.")


def _map(frame: Frame, place: Placed, colours: dict[int, str]) -> Picture:
    """The map, every n-th pixel of it, and the points on it."""
    grid = frame.map.file.grid
    step = max(1, -(-max(grid.width, grid.height) // LARGEST_SIDE))
    shape = (max(1, grid.height // step), max(1, grid.width // step))
    with opened(frame.map.file) as dataset:
        values = dataset.read(1, out_shape=shape)
    nodata = frame.map.file.nodata
    codes = (
        np.where(values == nodata, NO_CODE, values.astype(np.int64)) if nodata is not None else values.astype(np.int64)
    )
    pixels = np.full((*codes.shape, 3), 235, dtype=np.uint8)
    for code, colour in colours.items():
        pixels[codes == code] = _rgb(colour)
    across, down = place.columns / grid.width * shape[1], place.rows / grid.height * shape[0]
    figure = map_figure(pixels, np.asarray(across), np.asarray(down), place.is_labelled)
    return picture(figure, f"The map with {counted(len(place.ids), 'point')} on it.")


def _rgb(colour: str) -> npt.NDArray[np.uint8]:
    return np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)], dtype=np.uint8)


def _matrix(estimates: AreaEstimates) -> dict[str, Any] | None:
    """The error matrix: per cents of the area and counts."""
    names = list(estimates.matrix.index)
    if len(names) > LARGEST_MATRIX:
        return None
    shares, counts = estimates.matrix.to_numpy(), estimates.counts.to_numpy()
    rows = [
        {
            "name": name,
            "cells": [
                {"share": 100 * shares[at, column], "count": int(counts[at, column]), "right": at == column}
                for column in range(len(names))
            ],
            "total": 100 * shares[at].sum(),
        }
        for at, name in enumerate(names)
    ]
    return {"names": names, "rows": rows, "totals": (100 * shares.sum(axis=0)).tolist()}

"""The page as one file: data as JSON and numbers in base64, beside the page's own script and style; nothing else is loaded.

Whatever names are in the data stay text: `<` is escaped in the JSON, the script sets text only, and the page's policy runs no script
but its own, by its digest.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from eofuse.explorer.columns import Column, Sort
from eofuse.explorer.pictures import Thumbnails
from eofuse.explorer.predictions import PredictionSet

SCRIPTS = ("data.js", "state.js", "colours.js", "plot.js", "filters.js", "gallery.js", "patch.js", "main.js")
"""Parts of the page's script, in their order."""

FEW = 2000
"""Patches up to which numbers are kept as they are; of more, to 1/65,000 of their range."""

LEVELS = 65_534


def page(data: dict[str, Any]) -> str:
    """The text of the page.

    Args:
        data: what it shows (see `eofuse.explorer.make`), as JSON knows it.
    """
    script, style = _script(), _read("explorer.css")
    text: str = _template().render(
        title=data["title"],
        data=Markup(as_script(data)),
        land=Markup(_read("land.json").strip()),
        script=Markup(script),
        style=Markup(style),
        script_digest=_digest(script),
        style_digest=_digest(style),
    )
    return text


def as_script(value: Any) -> str:
    """A value as JSON that can stand in a script of HTML: nothing in it ends the script or begins a comment."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def packed(values: npt.NDArray[Any]) -> dict[str, Any]:
    """An array as base64 of its little-endian numbers: the smallest whole ones that hold it, or floats of 4 bytes."""
    if values.dtype.kind == "f":
        kind, array = "f32", values.astype("<f4")
    else:
        low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
        kind = next((name for name, ends in INTEGERS.items() if ends[0] <= low and high <= ends[1]), "i32")
        array = values.astype(INTEGER_TYPES[kind])
    return {"type": kind, "data": base64.b64encode(array.tobytes()).decode("ascii")}


INTEGERS = {
    "u8": (0, 255),
    "i8": (-128, 127),
    "u16": (0, 65_535),
    "i16": (-32_768, 32_767),
    "i32": (-(2**31), 2**31 - 1),
}
INTEGER_TYPES = {"u8": "u1", "i8": "i1", "u16": "<u2", "i16": "<i2", "i32": "<i4"}


def packed_numbers(values: npt.NDArray[Any]) -> dict[str, Any]:
    """Numbers, NaN where missing: as they are, or of many as steps between the smallest and the largest, the last step for NaN."""
    known = np.isfinite(values)
    if len(values) <= FEW or not known.any():
        return packed(np.where(known, values, np.nan).astype(np.float32))
    low, high = float(values[known].min()), float(values[known].max())
    step = (high - low) / LEVELS or 1.0
    if np.array_equal(values[known], np.round(values[known])) and high - low <= LEVELS:
        step = 1.0
    codes = np.full(len(values), LEVELS + 1, dtype=np.int64)
    codes[known] = np.round((values[known] - low) / step)
    return {**packed(codes.astype("<u2")), "low": low, "step": step, "nothing": LEVELS + 1}


def column_data(column: Column) -> dict[str, Any]:
    """A column as the page reads it."""
    told: dict[str, Any] = {"name": column.name, "sort": column.sort.value, "group": column.group}
    if column.unit:
        told["unit"] = column.unit
    if column.names:
        told |= {"names": list(column.names), "colours": list(column.colours)}
    if column.sort is Sort.LIST:
        assert column.ends is not None
        return {**told, "values": packed(column.values), "ends": packed(column.ends)}
    numbers = column.sort in (Sort.NUMBER, Sort.DATE)
    return {**told, "values": packed_numbers(column.values) if numbers else packed(column.values)}


def set_data(found: PredictionSet, rows: Sequence[npt.NDArray[np.int64]], held: list[dict[str, Any]]) -> dict[str, Any]:
    """A set of predictions as the page reads it; patches that another set has too are written once.

    Args:
        found: the set.
        rows: those of the sets before.
        held: what was written of them; gets those of this set if they are new.
    """
    place = next((at for at, other in enumerate(rows) if np.array_equal(other, found.rows)), len(held))
    if place == len(held):
        held.append(packed(found.rows))
    return {
        "target": found.target,
        "variant": found.variant,
        "seed": found.seed,
        "rows": place,
        "error": found.summary.error,
        "columns": [column_data(column) for column in found.summary.columns],
    }


def thumbnail_data(found: Thumbnails) -> dict[str, Any]:
    """Thumbnails as the page reads them."""
    return {
        "side": found.side,
        "sheets": list(found.sheets),
        "places": packed(found.places),
        "title": found.title,
        "perLine": found.per_line,
        "perSheet": found.per_sheet,
    }


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


@cache
def _read(name: str) -> str:
    return (files("eofuse.explorer") / "page" / name).read_text(encoding="utf-8")


def _script() -> str:
    return '"use strict";\n(() => {\n' + "\n".join(_read(name) for name in SCRIPTS) + "\n})();\n"


@cache
def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("eofuse.explorer", "page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("explorer.html")

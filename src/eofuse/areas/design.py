"""The design of a sample, in a file beside its points: how they were drawn, which estimates need and labellers must not see.

`points.gpkg` has `points.design.json`: map and its digest, seed, strata with their pixels, area and points, and for each point its
stratum, the map's class, its pixel, area, and the chance with which it was drawn. A digest seals it.
"""

import json
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict  # pydantic reads that of typing from Python 3.12 on only

from eofuse.errors import DataError, UsageError
from eofuse.files import write_text
from eofuse.records import read_record, sealed

FORMAT = "eofuse sample 1"

MEANING = (
    "It has no design file, so nobody knows with what chance each point was drawn: points at convenient places say nothing about "
    "the others"
)


class StratumRecord(TypedDict):
    """A stratum: name, pixels, area in hectares, share of right pixels that was expected, and points drawn."""

    name: str
    pixels: int
    hectares: float
    expected: float
    points: int


class PointRecord(TypedDict):
    """A point: where it lies, what the map says there, the area of its pixel, its chance to be drawn, and pixels it stands for."""

    id: str
    stratum: str
    map_code: int
    map_class: str
    row: int
    column: int
    square_metres: float
    inclusion: float
    weight: float


class DesignRecord(TypedDict):
    """A design."""

    format: str
    map: str
    map_digest: str
    map_tags: dict[str, str]
    seed: int
    by: str
    allocation: str
    smallest: int | None
    label: str
    frame: str
    training: str
    left_out_pixels: int
    left_out_hectares: float
    strata: list[StratumRecord]
    points: list[PointRecord]


def design_path(points: Path) -> Path:
    """The file with the design of a sample."""
    return points.with_name(f"{points.stem}.design.json")


def write_design(path: Path, design: DesignRecord) -> None:
    """Writes a design, a point a line."""
    values: dict[str, Any] = sealed(design)
    rows = ",\n  ".join(json.dumps(each, ensure_ascii=False) for each in values.pop("points"))
    head = json.dumps(values, indent=1, ensure_ascii=False).removesuffix("\n}")
    write_text(path, f'{head},\n "points": [\n  {rows}\n ]\n}}\n')


def read_design(points: Path) -> DesignRecord:
    """The design of a sample.

    Raises:
        UsageError: if the points have none.
        DataError: if it is damaged or was changed.
    """
    path = design_path(points)
    if not path.is_file():
        fix = (
            f"put {path.name} beside it, draw a sample with `eofuse sample`, or say --as-random to treat the points as if they had "
            "been drawn at random"
        )
        raise UsageError(f"is no probability sample: {MEANING[0].lower()}{MEANING[1:]}", where=points, fix=fix)
    design: DesignRecord = read_record(path, DesignRecord, "copy the design again, or draw a new sample")
    if design["format"] != FORMAT:
        fix = "use the version of eofuse that drew the sample"
        raise DataError(f"is of the format '{design['format']}', this version reads '{FORMAT}'", where=path, fix=fix)
    return design

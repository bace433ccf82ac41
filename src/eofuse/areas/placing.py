"""Where labelled points lie on a map: `place_by_design` holds them to their design, `place_as_random` takes any points."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from eofuse.areas.classmap import ClassMap
from eofuse.areas.design import DesignRecord
from eofuse.areas.points import Points
from eofuse.areas.strata import IntArray
from eofuse.errors import DataError, UsageError
from eofuse.words import listed

NO_LABEL = -1


@dataclass(frozen=True, eq=False)
class Placed:
    """Points on the pixels of a map.

    Attributes:
        path: their file.
        ids: of the points, as the design has them.
        rows: (points,) of the map.
        columns: (points,) of the map.
        stratum: (points,) numbers of their strata.
        labels: of the points, None where there is none.
        codes: (points,) class of the label, `NO_LABEL` where there is none.
    """

    path: Path
    ids: list[str]
    rows: IntArray
    columns: IntArray
    stratum: IntArray
    labels: list[str | None]
    codes: IntArray

    @property
    def is_labelled(self) -> np.ndarray:
        """(points,) whether a point has a label."""
        return np.asarray(self.codes != NO_LABEL)

    def with_codes(self, codes: list[int | None]) -> "Placed":
        """The same points with the classes of their labels."""
        return replace(self, codes=np.array([NO_LABEL if code is None else code for code in codes], dtype=np.int64))


def _pixels(points: Points, class_map: ClassMap) -> tuple[IntArray, IntArray]:
    """Row and column of each point.

    Raises:
        DataError: if a point lies beside the map.
    """
    grid = class_map.file.grid
    rows, columns = np.floor(points.rows), np.floor(points.columns)
    inside = (rows >= 0) & (rows < grid.height) & (columns >= 0) & (columns < grid.width)  # false where not finite
    if not inside.all():
        names = [points.ids[each] for each in np.flatnonzero(~inside).tolist()]
        raise DataError(f"points lie outside the map: {listed(names)}", where=points.path, fix="remove or correct them")
    return rows.astype(np.int64), columns.astype(np.int64)


def place_by_design(points: Points, design: DesignRecord, class_map: ClassMap) -> Placed:
    """The points of a design, with the labels that their file has.

    Raises:
        DataError: if a point is none of the design's, or has moved to another pixel.
        UsageError: if the design is of a map of another size.
    """
    grid, strata = class_map.file.grid, {each["name"] for each in design["strata"]}
    for each in design["points"]:
        if not (0 <= each["row"] < grid.height and 0 <= each["column"] < grid.width and each["stratum"] in strata):
            found = f"the design's point {each['id']} is none of this map"
            raise UsageError(found, where=points.path, fix="estimate with the map that was sampled")
    number = {each["id"]: at for at, each in enumerate(design["points"])}
    strangers = [each for each in points.ids if each not in number]
    if strangers:
        found = f"points are not of the sample that was drawn: {listed(strangers)}"
        raise DataError(
            found, where=points.path, fix="remove them: points that were added by hand were not drawn at random"
        )
    rows, columns = _pixels(points, class_map)
    drawn = [design["points"][number[each]] for each in points.ids]
    moved = [
        each["id"]
        for each, row, column in zip(drawn, rows.tolist(), columns.tolist(), strict=True)
        if (row, column) != (each["row"], each["column"])
    ]
    if moved:
        found = f"points have moved to another pixel since they were drawn: {listed(moved)}"
        raise DataError(found, where=points.path, fix="move them back, or draw a new sample")
    labels = dict(zip(points.ids, points.labels, strict=True))
    stratum = {each["name"]: at for at, each in enumerate(design["strata"])}
    every = design["points"]
    return Placed(
        points.path,
        [each["id"] for each in every],
        np.array([each["row"] for each in every], dtype=np.int64),
        np.array([each["column"] for each in every], dtype=np.int64),
        np.array([stratum[each["stratum"]] for each in every], dtype=np.int64),
        [labels.get(each["id"]) for each in every],
        np.full(len(every), NO_LABEL, dtype=np.int64),
    )


def place_as_random(points: Points, class_map: ClassMap) -> Placed:
    """Any points, as if they were of one stratum, the whole map.

    Raises:
        DataError: if a point lies outside the map.
    """
    rows, columns = _pixels(points, class_map)
    none = np.zeros(len(rows), dtype=np.int64)
    return Placed(points.path, points.ids, rows, columns, none, points.labels, none + NO_LABEL)

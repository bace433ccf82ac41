"""Shapes of a map as GeoPackages: boxes joined over windows, regions of a class map, areas from which a model learned."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import rasterio
from rasterio.features import shapes
from shapely import union_all
from shapely.affinity import affine_transform, translate
from shapely.geometry import box as rectangle
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from eofuse.data.geopackage import write_geopackage
from eofuse.data.reading.grid import Grid
from eofuse.data.reading.rasters import reading_environment

LARGEST_OVERLAP = 0.5
"""Shared area, of the area of the smaller of two boxes of one class, from which on they are one."""

STRIP = 1024
"""Rows of a class map whose regions are found at a time."""


def boxes_once(boxes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Boxes of one target without those that another window found as well, the best first.

    Of two boxes of one class that overlap by half of the smaller, the one with the higher score counts.
    """
    order = sorted(range(len(boxes)), key=lambda number: -boxes[number]["score"])
    corners = np.array([boxes[number]["pixels"] for number in order], dtype=np.float64).reshape(-1, 4)
    classes = np.array([boxes[number]["class"] for number in order], dtype=np.int64)
    areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    kept: list[int] = []
    alive = np.ones(len(order), dtype=bool)
    for number in range(len(order)):
        if not alive[number]:
            continue
        kept.append(order[number])
        x0, y0, x1, y1 = corners[number]
        across = np.minimum(corners[:, 2], x1) - np.maximum(corners[:, 0], x0)
        down = np.minimum(corners[:, 3], y1) - np.maximum(corners[:, 1], y0)
        shared = across.clip(0) * down.clip(0)
        smaller = np.minimum(areas, areas[number])
        alive &= ~((shared > LARGEST_OVERLAP * smaller) & (classes == classes[number]))
    return [boxes[number] for number in kept]


def write_boxes(path: Path, layer: str, boxes: Sequence[Mapping[str, Any]], names: Sequence[str], grid: Grid) -> int:
    """Writes the boxes of a scene, each once, and gives their number."""
    once = boxes_once(boxes)
    squares = [_placed(rectangle(*each["pixels"]), grid) for each in once]
    columns = {
        "class": pa.array([names[each["class"]] for each in once], pa.string()),
        "score": pa.array([round(each["score"], 4) for each in once], pa.float64()),
    }
    write_geopackage(path, layer, squares, columns, grid, "Polygon")
    return len(once)


def write_regions(path: Path, layer: str, class_map: Path, names: Mapping[int, str], grid: Grid) -> int:
    """Writes the connected regions of a class map, each once, and gives their number.

    The map is read by strips; regions that a strip cuts are joined again.
    """
    whole: list[tuple[BaseGeometry, int]] = []
    cut: list[tuple[BaseGeometry, int]] = []
    with reading_environment(), rasterio.open(class_map) as file:
        for top in range(0, file.height, STRIP):
            height = min(STRIP, file.height - top)
            window = rasterio.windows.Window(0, top, file.width, height)
            codes = file.read(1, window=window)
            found = shapes(codes, mask=codes != file.nodata, connectivity=4)
            for geometry, code in found:
                region = shape(geometry)
                low, high = region.bounds[1] + top, region.bounds[3] + top
                moved = (_moved(region, top), int(code))
                touches = (top > 0 and low <= top) or (top + height < file.height and high >= top + height)
                (cut if touches else whole).append(moved)
    for code in sorted({code for _, code in cut}):
        joined = union_all([region for region, own in cut if own == code])
        parts = list(joined.geoms) if joined.geom_type == "MultiPolygon" else [joined]
        whole += [(part, code) for part in parts]
    whole.sort(key=lambda each: (each[0].bounds[1], each[0].bounds[0], each[1], each[0].area))
    columns = {
        "code": pa.array([code for _, code in whole], pa.int64()),
        "class": pa.array([names.get(code, str(code)) for _, code in whole], pa.string()),
        "pixels": pa.array([round(region.area) for region, _ in whole], pa.int64()),
    }
    write_geopackage(path, layer, [_placed(region, grid) for region, _ in whole], columns, grid, "Polygon")
    return len(whole)


def _moved(region: BaseGeometry, down: float) -> BaseGeometry:
    moved: BaseGeometry = translate(region, 0, down)
    return moved


def _placed(region: BaseGeometry, grid: Grid) -> BaseGeometry:
    """A shape in pixels, in the reference system of the grid."""
    a, b, c, d, e, f = grid.transform[:6]
    placed: BaseGeometry = affine_transform(region, [a, b, d, e, c, f])
    return placed

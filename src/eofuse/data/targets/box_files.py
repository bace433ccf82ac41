"""Boxes of patches: from the connected regions of a class map, from COCO JSON, or from a file of shapes.

A box is a row x0, y0, x1, y1, class number: pixels of the patch from its upper left corner, x to the right and y down, with
0 ≤ x0 < x1 ≤ width and 0 ≤ y0 < y1 ≤ height. Boxes are cut to the patch (or crop); one is dropped if what is left is less than
a pixel wide or high, or less than a quarter of its area.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from scipy import ndimage

from eofuse.data.reading.vectors import FIX_CRS, Vectors, read_vectors
from eofuse.data.store import Window
from eofuse.data.store.georeference import corners, grid_of, has_grid
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.files import read_object

SMALLEST_SIDE = 1.0
SMALLEST_SHARE = 0.25
PADDING = -1
UNKNOWN = -2

BoxArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Boxes:
    """Boxes of every patch of an index.

    Attributes:
        classes: names of the classes, in the order of their numbers.
        by_row: for each row of the index (n, 5), or None where the boxes of the patch are not known.
        crowds: number of regions of many objects (COCO's `iscrowd`) that were left out.
        dropped: number of boxes of which too little lies in any patch.
        absent: number of patches that the file names and the index lacks; their boxes are left out.
    """

    classes: tuple[str, ...]
    by_row: tuple[BoxArray | None, ...]
    crowds: int = 0
    dropped: int = 0
    absent: int = 0


def regions(codes: npt.NDArray[np.generic], wanted: Sequence[int], smallest: int) -> BoxArray:
    """Boxes around the connected regions of chosen classes of a class map.

    Pixels touch at their sides and corners. A region that the edge of the map cuts counts as it is.

    Args:
        codes: (height, width) class codes.
        wanted: codes of the classes; a box's class number is the position in this list.
        smallest: pixels from which a region counts.

    Returns:
        (n, 5), class after class, each from top to bottom.
    """
    found = []
    for number, code in enumerate(wanted):
        labels, _ = ndimage.label(codes == code, structure=np.ones((3, 3)))
        pixels = np.bincount(labels.ravel())
        for label, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
            if pixels[label] >= smallest:
                found.append((columns.start, rows.start, columns.stop, rows.stop, number))
    return _box_array(found)


def clip_boxes(boxes: npt.NDArray[np.generic], window: Window) -> BoxArray:
    """The boxes (n, 5) within a crop, in pixels of the crop."""
    return _cut(boxes, window)[0]


def pad_boxes(boxes: Sequence[npt.NDArray[np.generic] | None]) -> BoxArray:
    """A batch (B, M, 5), M ≥ 1, of the boxes (n, 5) of each patch, filled up with rows of class −1.

    The rows of a patch whose boxes are not known (None) have class −2.
    """
    most = max([1, *(len(each) for each in boxes if each is not None)])
    padded = np.zeros((len(boxes), most, 5), dtype=np.float32)
    padded[..., 4] = PADDING
    for rows, each in zip(padded, boxes, strict=True):
        if each is None:
            rows[:, 4] = UNKNOWN
        else:
            rows[: len(each)] = each
    return padded


def read_coco(
    path: Path, index: pd.DataFrame, patch_size: tuple[int, int], classes: Sequence[str] | None = None
) -> Boxes:
    """Boxes from a COCO JSON file.

    An image is a patch: by its key `patch_id`, else by its `file_name` without folders and ending. A patch whose image has no
    annotations is known to be empty; a patch without an image is not known. Images that are no patch of the index, as in a
    subset of the data, are left out and counted.

    Args:
        path: the file.
        index: of the patches, with the column `patch_id`.
        patch_size: height and width of the patches.
        classes: names of the categories wanted, in the order of their numbers; all, as in the file, by default.

    Raises:
        DataError: if the file is no COCO JSON, none of its images is a patch, an image or category does not exist, an image is of
            another size, or a bounding box is not four numbers or has a negative size.
        UsageError: if a class that is wanted is not among the categories.
    """
    content = read_object(path, "give a COCO JSON file")
    for key in ("images", "annotations", "categories"):
        entries = content.get(key)
        if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
            raise DataError(f"no COCO JSON: '{key}' is no list of objects", where=path)
    names = {_field(each, "id", path, "category"): str(each.get("name")) for each in content["categories"]}
    numbers = _number(classes, list(dict.fromkeys(names.values())), path)
    rows = _Rows(index, path)
    row_of_image: dict[Any, int | None] = {}
    for image in content["images"]:
        number = _field(image, "id", path, "image")
        if number in row_of_image:
            raise DataError(f"two images have the id {number}", where=path)
        patch_id = image.get("patch_id") or PureWindowsPath(str(image.get("file_name"))).stem
        row = row_of_image[number] = rows.find(patch_id)
        size = image.get("height"), image.get("width")
        if row is not None and None not in size and size != patch_size:
            what = f"the image is {size[0]} × {size[1]} pixels, the patch {patch_size[0]} × {patch_size[1]}"
            fix = "bring the boxes to the pixels of the patch"
            raise DataError(what, where=f"{path}, image {number}", fix=fix)
    rows.require_some()
    collected = _Collected(patch_size, {row for row in row_of_image.values() if row is not None})
    crowds = 0
    for annotation in content["annotations"]:
        where = f"{path}, annotation {annotation.get('id')}"
        image, category = annotation.get("image_id"), annotation.get("category_id")
        if not _is_key(image) or image not in row_of_image:
            raise DataError(f"there is no image {image!r}", where=where)
        if not _is_key(category) or category not in names:
            fix = did_you_mean(category, map(str, names))
            raise DataError(f"there is no category {category!r}", where=where, fix=fix)
        x, y, width, height = _bounding_box(annotation.get("bbox"), where)
        row = row_of_image[image]
        if row is None:
            continue
        if annotation.get("iscrowd"):
            crowds += 1
        elif names[category] in numbers:
            collected.add(row, x, y, x + width, y + height, numbers[names[category]])
    return Boxes(tuple(numbers), collected.by_row(len(index)), crowds, collected.dropped, len(rows.absent))


def read_shapes(
    path: Path,
    index: pd.DataFrame,
    patch_size: tuple[int, int],
    class_property: str = "class",
    classes: Sequence[str] | None = None,
    others_are_empty: bool = True,
) -> Boxes:
    """Boxes around the polygons of a file of shapes (see `eofuse.data.reading.vectors`).

    Where the features have a property `patch_id` and the file, a GeoJSON, no `crs`, their coordinates are pixels of that patch;
    a feature without geometry then tells that the patch was looked at, and features of patches that the index lacks are left out and
    counted. Else they are coordinates on the map: longitude and
    latitude, or in the `crs` of the file. Each patch that a polygon's envelope meets gets
    its part; patches whose place is not known have no known boxes.

    Args:
        path: the file.
        index: of the patches, with `patch_id`, and for coordinates on the map the columns of `eofuse.data.store.georeference`.
        patch_size: height and width of the patches.
        class_property: property of the features that names the class.
        classes: names of the classes wanted, in the order of their numbers; all, sorted, by default.
        others_are_empty: whether patches without a feature are known to be empty, or not known at all.

    Raises:
        DataError: if the file holds other shapes than polygons, its or a patch's coordinate system is not known, a
            feature lacks the class, no feature is of a patch of the index, or no polygon lies in any patch.
        UsageError: if no feature has a class that is wanted.
    """
    vectors = read_vectors(path)
    outlines = {number: _outline(polygon) for number, polygon in vectors.polygons()}
    labels, patches = [], []
    for number, properties in enumerate(vectors.properties):
        label = properties.get(class_property)
        if label is None and number in outlines:
            fix = did_you_mean(class_property, map(str, properties))
            raise DataError(f"has no property '{class_property}'", where=vectors.where(number), fix=fix)
        labels.append(None if label is None else str(label))
        patches.append(properties.get("patch_id"))
    numbers = _number(classes, sorted({label for label in labels if label is not None}), path)
    in_pixels = not vectors.declares_crs and any(patch is not None for patch in patches)
    rows = _Rows(index, path)
    places: dict[int, int] = {}
    if in_pixels:
        for number in (number for number, patch in enumerate(patches) if patch is None):
            raise DataError("has no property 'patch_id'", where=vectors.where(number), fix="name its patch")
        places = {number: row for number, patch in enumerate(patches) if (row := rows.find(patch)) is not None}
        rows.require_some()
        known = set(range(len(index))) if others_are_empty else set(places.values())
        envelopes: Iterable[tuple[Any, ...]] = (
            (row, number, *_envelope(outlines[number])) for number, row in places.items() if number in outlines
        )
    else:
        located = np.flatnonzero(has_grid(index))
        if not len(located):
            fix = "give the boxes in pixels of the patch (property patch_id), or pack georeferenced rasters with this eofuse"
            raise DataError("it is not known of any patch where its pixels lie", where=path, fix=fix)
        known = set(located.tolist()) if others_are_empty else set()
        envelopes = _on_the_map(outlines, vectors, index.iloc[located], located)
    collected = _Collected(patch_size, known)
    met = set()
    for row, number, *box in envelopes:
        label = labels[number]
        collected.found.setdefault(row, [])
        if label in numbers and collected.add(row, *box, numbers[label]):
            met.add(number)
    numbered = places if in_pixels else range(len(labels))
    wanted = {number for number in numbered if labels[number] in numbers and number in outlines}
    if wanted and not met:
        taken = "pixels of the patch that each names" if in_pixels else vectors.crs
        raise DataError("no polygon lies in any patch", where=path, fix=f"check the coordinates, taken as {taken}")
    return Boxes(tuple(numbers), collected.by_row(len(index)), dropped=len(wanted - met), absent=len(rows.absent))


class _Collected:
    """Boxes by patch, cut to it as they come in."""

    def __init__(self, patch_size: tuple[int, int], known: set[int]) -> None:
        self.window = Window(0, 0, *patch_size)
        self.found: dict[int, list[BoxArray]] = {row: [] for row in known}
        self.dropped = 0

    def add(self, row: int, *box: float) -> bool:
        """Takes a box (x0, y0, x1, y1, class number) if enough of it lies in the patch."""
        cut, kept = _cut(np.array([box], dtype=np.float64), self.window)
        self.dropped += not kept.any()
        if kept.any():
            self.found[row].append(cut)
        return bool(kept.any())

    def by_row(self, count: int) -> tuple[BoxArray | None, ...]:
        """The boxes (n, 5) of each of so many patches, None where they are not known."""
        empty = _box_array([])
        return tuple(np.concatenate([empty, *self.found[row]]) if row in self.found else None for row in range(count))


class _Rows:
    """Rows of an index by patch, and the patches that a file names and the index lacks."""

    def __init__(self, index: pd.DataFrame, path: Path) -> None:
        self.path = path
        self.rows = {str(patch_id): row for row, patch_id in enumerate(index["patch_id"])}
        self.absent: dict[str, None] = {}
        self.found = False

    def find(self, patch_id: object) -> int | None:
        """The row of a patch, None if the index lacks it."""
        row = self.rows.get(str(patch_id))
        if row is None:
            self.absent[str(patch_id)] = None
        self.found = self.found or row is not None
        return row

    def require_some(self) -> None:
        """Raises a `DataError` that names the nearest patch if the file names patches and the index has none of them."""
        if self.absent and not self.found:
            first = next(iter(self.absent))
            what = f"none of the {len(self.absent)} patches that it names is there, such as '{first}'"
            raise DataError(what, where=self.path, fix=did_you_mean(first, self.rows))


def _box_array(boxes: Sequence[Sequence[float]]) -> BoxArray:
    return np.array(boxes, dtype=np.float32).reshape(-1, 5)


def _cut(boxes: npt.NDArray[Any], window: Window) -> tuple[BoxArray, npt.NDArray[np.bool_]]:
    """The boxes of which enough is left in a window, in its pixels, and which these are."""
    moved = boxes.astype(np.float64) - [window.left, window.top, window.left, window.top, 0]
    cut = moved.copy()
    cut[:, :4] = np.clip(moved[:, :4], 0, [window.width, window.height] * 2)
    left, before = cut[:, 2:4] - cut[:, :2], moved[:, 2:4] - moved[:, :2]
    kept = (left >= SMALLEST_SIDE).all(axis=1) & (left.prod(axis=1) >= SMALLEST_SHARE * before.prod(axis=1))
    return cut[kept].astype(np.float32), kept


def _is_key(value: object) -> bool:
    return isinstance(value, int | str)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _field(item: Mapping[str, Any], key: str, path: Path, kind: str) -> Any:
    if not _is_key(item.get(key)):
        raise DataError(f"the {kind} has no '{key}'", where=f"{path}, {json.dumps(item)[:80]}")
    return item[key]


def _number(wanted: Sequence[str] | None, valid: Sequence[str], path: Path) -> dict[str, int]:
    """Numbers of the classes that are wanted, all valid ones by default, in order."""
    for name in wanted or ():
        if name not in valid:
            raise UsageError(f"there is no class '{name}'", where=path, fix=did_you_mean(name, valid))
    return {name: number for number, name in enumerate(valid if wanted is None else wanted)}


def _bounding_box(values: object, where: str) -> tuple[float, float, float, float]:
    """COCO's x, y, width, height."""
    if not isinstance(values, list) or len(values) != 4 or not all(map(_is_number, values)):
        raise DataError("the bounding box is not 4 numbers", where=where, fix="give x, y, width, height")
    x, y, width, height = map(float, values)
    if width < 0 or height < 0:
        raise DataError(f"the bounding box has the negative size {width:g} × {height:g}", where=where)
    return x, y, width, height


def _outline(polygon: Any) -> npt.NDArray[np.float64]:
    """Vertices (n, 2) of the outer rings of a polygon or several."""
    rings = shapely.get_exterior_ring(shapely.get_parts(polygon))
    return np.asarray(shapely.get_coordinates(rings), dtype=np.float64)


def _envelope(vertices: npt.NDArray[np.float64]) -> tuple[float, float, float, float]:
    (x0, y0), (x1, y1) = vertices.min(axis=0).tolist(), vertices.max(axis=0).tolist()
    return x0, y0, x1, y1


def _on_the_map(
    outlines: Mapping[int, npt.NDArray[np.float64]],
    vectors: Vectors,
    patches: pd.DataFrame,
    rows: npt.NDArray[np.int64],
) -> Iterator[tuple[Any, ...]]:
    """Row, feature number and envelope in the patch's pixels of each patch that a polygon's envelope meets."""
    import pyproj

    for crs, group in patches.groupby("crs", sort=True).indices.items():
        try:
            target = pyproj.CRS.from_user_input(str(crs))
            change = pyproj.Transformer.from_crs(pyproj.CRS.from_user_input(vectors.crs), target, always_xy=True)
        except pyproj.exceptions.ProjError as error:
            names = f"'{vectors.crs}' or '{crs}'"
            raise DataError(f"unknown coordinate system {names}", where=vectors.path, fix=FIX_CRS) from error
        members = np.asarray(group)
        places = corners(patches.iloc[members])
        order = np.argsort(places[..., 0].min(axis=1), kind="stable")
        members, places = members[order], places[order]
        (west, south), (east, north) = places.min(axis=1).T, places.max(axis=1).T
        widest = (east - west).max()
        grids = [grid_of(patches, row) for row in members.tolist()]
        turns = (-360.0, 0.0, 360.0) if target.is_geographic else (0.0,)  # a grid may go on beyond 180°
        placed = ((number, np.stack(change.transform(*each.T), axis=1)) for number, each in outlines.items())
        for number, outline in ((number, each + np.array([turn, 0])) for number, each in placed for turn in turns):
            x0, y0, x1, y1 = _envelope(outline)
            if not all(map(math.isfinite, (x0, y0, x1, y1))):
                continue
            near = np.arange(np.searchsorted(west, x0 - widest), np.searchsorted(west, x1, side="right"))
            meets = (east[near] > x0) & (north[near] > y0) & (south[near] < y1)
            for place in near[meets].tolist():
                grid = grids[place]
                assert grid is not None  # its corners are known
                pixels = np.array([grid.pixel_at(x, y) for x, y in outline.tolist()])
                yield int(rows[members[place]]), number, *_envelope(pixels)

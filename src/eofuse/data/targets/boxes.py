"""Targets with boxes: connected regions of a class map, or boxes from a file."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from eofuse.data.reading.vectors import SUFFIXES
from eofuse.data.store import Store, Window
from eofuse.data.store.arrays import in_order
from eofuse.data.targets.base import Array, Target, TargetOptions
from eofuse.data.targets.box_files import Boxes, clip_boxes, pad_boxes, read_coco, read_shapes, regions
from eofuse.errors import UsageError, did_you_mean
from eofuse.kinds import DETECTION
from eofuse.modalities import WORLDCOVER, Kind, Modality


def region_boxes(store: Store, options: TargetOptions) -> Target:
    """Boxes around the connected regions of chosen classes of a class map.

    Raises:
        UsageError: if there is no such map or class, or none is chosen.
    """
    name = options.target.partition(".")[2] or WORLDCOVER.name
    modality = store.modality(name)
    if not (modality.is_categorical and modality.kind is Kind.RASTER):
        raise UsageError(f"'{name}' is no class map", where="task.target", fix="name a map with categories")
    codes = {category.name: category.code for category in modality.categories}
    if not options.classes:
        raise UsageError("no class is chosen", where="task.classes", fix=f"choose some of {', '.join(codes)}")
    if len(set(options.classes)) < len(options.classes):
        raise UsageError("a class is named twice", where="task.classes", fix="name each class once")
    for chosen in options.classes:
        if chosen not in codes:
            raise UsageError(f"'{name}' has no class '{chosen}'", where="task.classes", fix=did_you_mean(chosen, codes))
    return RegionBoxes(
        options.target,
        DETECTION,
        options.classes,
        _mapped(store, modality),
        (name,),
        store=store,
        codes=tuple(codes[chosen] for chosen in options.classes),
        smallest=options.smallest,
    )


def _mapped(store: Store, modality: Modality) -> npt.NDArray[np.bool_]:
    """Which patches have a pixel with a class in their map, (patches,)."""
    known = store.present(modality.name).copy()
    codes = [category.code for category in modality.categories]
    for rows in in_order(np.flatnonzero(known), 256):
        known[rows] = np.isin(store.read(modality.name, rows), codes).any(axis=(1, 2, 3))
    return known


def file_boxes(store: Store, options: TargetOptions) -> Target:
    """Boxes from a COCO JSON or GeoJSON file.

    Raises:
        UsageError: if no file is named.
        DataError: if it can't be read.
    """
    if options.file is None:
        fix = "name a COCO JSON or a file of shapes (GeoPackage, GeoJSON, …)"
        raise UsageError("no file is named", where="task.file", fix=fix)
    path = Path(options.file)
    if path.suffix.lower() in SHAPES:
        empty = options.others == "empty"
        boxes = read_shapes(
            path, store.index, store.patch_size, class_property=options.property, others_are_empty=empty
        )
    else:
        boxes = read_coco(path, store.index, store.patch_size)
        if options.others == "empty":
            none = np.zeros((0, 5), dtype=np.float32)
            boxes = replace(boxes, by_row=tuple(none if found is None else found for found in boxes.by_row))
    known = np.array([found is not None for found in boxes.by_row])
    marked = sum(found is not None and len(found) > 0 for found in boxes.by_row)
    notes = [
        f"'{path.name}' has boxes in {marked} of {len(store)} patches; {known.sum() - marked} are known to be empty."
    ]
    if boxes.dropped:
        notes.append(f"Boxes of '{path.name}' that lie in no patch, or only just: {boxes.dropped}.")
    if boxes.absent:
        notes.append(f"'{path.name}' names {boxes.absent} patches that the store lacks; their boxes are left out.")
    if boxes.crowds:
        notes.append(f"Regions of many objects (iscrowd) of '{path.name}' are left out: {boxes.crowds}.")
    return FileBoxes("boxes", DETECTION, boxes.classes, known, boxes=boxes, notes=tuple(notes))


SHAPES = tuple(suffix for suffix in SUFFIXES if suffix != ".json")
"""Endings of files of shapes; a JSON file is COCO."""


@dataclass(frozen=True)
class RegionBoxes(Target):
    """Boxes around connected regions of a class map.

    Attributes:
        store: that holds the map.
        codes: of the classes, in their order.
        smallest: pixels from which a region counts.
    """

    store: Store = field(kw_only=True)
    codes: tuple[int, ...] = field(kw_only=True)
    smallest: int = field(kw_only=True)

    def read(self, rows: npt.NDArray[np.int64], window: Window | None = None) -> Array:
        """Boxes (batch, most, 5) within the window, filled up with class −1; −2 in patches that are not known."""
        maps = self.store.read(self.sources[0], rows, window=window)[:, 0]
        found = zip(maps, self.valid[rows], strict=True)
        boxes: Array = pad_boxes(
            [regions(codes, self.codes, self.smallest) if known else None for codes, known in found]
        )
        return boxes


@dataclass(frozen=True)
class FileBoxes(Target):
    """Boxes from a file.

    Attributes:
        boxes: of each patch.
    """

    boxes: Boxes = field(kw_only=True)

    def read(self, rows: npt.NDArray[np.int64], window: Window | None = None) -> Array:
        """Boxes (batch, most, 5) within the window, filled up with class −1; −2 in patches that are not known."""
        found = [self.boxes.by_row[row] for row in rows.tolist()]
        within = [each if each is None or window is None else clip_boxes(each, window) for each in found]
        boxes: Array = pad_boxes(within)
        return boxes

"""Predicted maps and boxes as files (`MapFolder`) that geographic information systems open.

::

    <target>/<patch_id>.tif   a class a pixel: band 1 `class` (uint8 numbers of the classes, whose names are in the band's
                              tags `class_0`, `class_1`, …; with their colours where these are known), band 2 `confidence`
                              (probability of that class in per cent); 255 where the inputs have no data
                              numbers a pixel: a float32 band a number, with its name and unit; NaN where the inputs have no data
    <target>.geojson          boxes: polygons in longitude and latitude with the properties `patch_id`, `class`, `score` and `pixels`
                              (x0, y0, x1, y1 from the upper left corner of the store's patch); the geometry is null where it is
                              not known where the patch lies

GeoTIFFs have the patch's coordinate reference system, and none where it is not known. Names are quoted as in addresses where they hold
what can't be in a file name.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from eofuse.data.reading.grid import Grid
from eofuse.data.store import Store, Window
from eofuse.errors import UsageError
from eofuse.files import file_name, replacing
from eofuse.inference.places import grid_of, lon_lat
from eofuse.kinds import IGNORE
from eofuse.modalities import BEN_GE_MODALITIES
from eofuse.models.heads import HeadSpec
from eofuse.tasks.base import Array
from eofuse.tasks.detection import boxes_that_count

LON_LAT = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
DECIMALS = 8
"""Of longitudes and latitudes: a millimetre."""

SIMULATED = "made from simulated data; says nothing about the Earth"

WriteFeature = Callable[[Mapping[str, Any]], None]


class MapFolder:
    """Writes maps patch by patch; use it in a `with` block. A file is either the old one or the whole new one.

    Args:
        folder: made where it is missing.
        store: whose patches are predicted.
        heads: what the model predicts, by target name.
        window: part of the patches that the model sees, the whole by default.
        threshold: score from which a box is written.
        source: what predicts, in words.

    Raises:
        UsageError: if no target has pixels, or the folder is a file.
    """

    def __init__(
        self,
        folder: Path,
        store: Store,
        heads: Mapping[str, HeadSpec],
        window: Window | None = None,
        threshold: float = 0.5,
        source: str = "",
    ) -> None:
        self.folder = folder
        self.store = store
        self.heads = {name: head for name, head in heads.items() if head.kind.needs_maps}
        self.window = window
        self.threshold = threshold
        self.notes = {"predicted_by": source} if source else {}
        if store.simulated:
            self.notes["note"] = SIMULATED
        self._open = ExitStack()
        self._features: dict[str, WriteFeature] = {}
        if not self.heads:
            predicted = ", ".join(f"{name} ({head.kind.name})" for name, head in heads.items())
            raise UsageError(f"the model predicts no pixels and no boxes: {predicted}", fix="leave out --maps")
        if folder.exists() and not folder.is_dir():
            raise UsageError("is no folder", where=folder, fix="name a folder for the maps")

    def __enter__(self) -> "MapFolder":
        self._open.enter_context(rasterio.Env())
        for name, head in self.heads.items():
            if head.kind.is_boxes:
                path = self.folder / f"{file_name(name)}.geojson"
                self._features[name] = self._open.enter_context(_feature_file(path, name, self.notes))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def add(self, name: str, rows: npt.NDArray[np.int64], decided: Array) -> None:
        """Writes the predictions of some patches; nothing, for targets without pixels."""
        if name not in self.heads:
            return
        for row, values in zip(rows.tolist(), decided, strict=True):
            if self.heads[name].kind.is_boxes:
                self._add_boxes(name, row, values[boxes_that_count(values, self.threshold)])
            else:
                patch_id = str(self.store.index["patch_id"].iloc[row])
                path = self.folder / file_name(name) / f"{file_name(patch_id)}.tif"
                self._write_map(path, name, values, grid_of(self.store, row, self.window))

    def _write_map(self, path: Path, name: str, bands: Array, grid: Grid | None) -> None:
        head = self.heads[name]
        is_classes = not head.kind.is_numbers
        where = {"crs": grid.crs, "transform": grid.transform} if grid else {}
        count, height, width = bands.shape
        with replacing(path) as temporary, warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(
                temporary,
                "w",
                driver="GTiff",
                count=count,
                height=height,
                width=width,
                dtype=bands.dtype,
                nodata=IGNORE if is_classes else np.nan,
                compress="deflate",
                **where,
            ) as file:
                file.write(bands)
                file.update_tags(target=name, **self.notes)
                file.descriptions = ("class", "confidence") if is_classes else head.classes
                if is_classes:
                    file.update_tags(1, **{f"class_{number}": label for number, label in enumerate(head.classes)})
                    file.set_band_unit(2, "%")
                    colours = self._colours(name)
                    if colours:
                        file.write_colormap(1, colours)
                else:
                    for band in range(1, count + 1):
                        file.set_band_unit(band, head.unit)
                    for band, margin in enumerate(head.margin, start=1):
                        file.update_tags(band, margin_of_90_percent_interval=margin)

    def _colours(self, name: str) -> dict[int, tuple[int, int, int]]:
        """Legend colour of each class number, where the store, or what eofuse knows, has a class map of the target's name."""
        known = {modality.name: modality for modality in BEN_GE_MODALITIES} | self.store.modalities
        categories = known[name].categories if name in known else ()
        colours = {category.name: category.colour.lstrip("#") for category in categories}
        classes = self.heads[name].classes
        if not set(classes) <= set(colours):
            return {}
        rgb = [bytes.fromhex(colours[label]) for label in classes]
        return {number: (red, green, blue) for number, (red, green, blue) in enumerate(rgb)}

    def _add_boxes(self, name: str, row: int, boxes: Array) -> None:
        grid = grid_of(self.store, row) if len(boxes) else None
        shift = np.array([self.window.left, self.window.top] * 2 if self.window else [0] * 4)
        for *corners, score, number in boxes.astype(np.float64):
            pixels = (np.array(corners) + shift).tolist()
            properties = {
                "patch_id": str(self.store.index["patch_id"].iloc[row]),
                "class": self.heads[name].classes[int(number)],
                "score": round(float(score), 4),
                "pixels": [round(pixel, 2) for pixel in pixels],
            }
            self._features[name](
                {"type": "Feature", "properties": properties, "geometry": _polygon(pixels, grid) if grid else None}
            )


def _polygon(box: list[float], grid: Grid) -> dict[str, Any]:
    """The corners of a box, counterclockwise from the upper left one."""
    x0, y0, x1, y1 = box
    corners = lon_lat(grid, [(x0, y0), (x0, y1), (x1, y1), (x1, y0), (x0, y0)])
    ring = [[round(longitude, DECIMALS), round(latitude, DECIMALS)] for longitude, latitude in corners]
    return {"type": "Polygon", "coordinates": [ring]}


@contextmanager
def _feature_file(path: Path, name: str, notes: Mapping[str, str]) -> Iterator[WriteFeature]:
    """A GeoJSON file that takes features one at a time, a line each."""
    head = {"type": "FeatureCollection", "name": name, **notes, "crs": LON_LAT}
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        separator = "\n"
        file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "features": [')

        def write(feature: Mapping[str, Any]) -> None:
            nonlocal separator
            file.write(separator + json.dumps(feature, ensure_ascii=False))
            separator = ",\n"

        yield write
        file.write("\n]}\n")

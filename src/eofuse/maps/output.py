"""The files of a map: their paths, what is in them, and how they are written once every row is complete (`MapFiles`)."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from eofuse.data.geopackage import write_geopackage
from eofuse.data.reading.grid import Grid
from eofuse.errors import DataError, UsageError
from eofuse.files import file_name, read_json, shortened
from eofuse.inference.maps import SIMULATED
from eofuse.maps.geotiff import write_geotiff
from eofuse.maps.oddities import odd_inputs
from eofuse.maps.predictor import Predictor
from eofuse.maps.products import MapFile, Product
from eofuse.maps.rows import RowStore
from eofuse.maps.scene import MapScene
from eofuse.maps.stac import write_item
from eofuse.maps.streaming import Pass
from eofuse.maps.styles import write_style
from eofuse.maps.vectors import write_boxes, write_regions
from eofuse.maps.windows import Stride
from eofuse.modalities import MONTH


class MapFiles:
    """Files of one scene, which lie beside each other.

    Args:
        stem: path of the files without their endings.
        predictor: what predicts.
        products: what is mapped, by target.
        polygons: whether the regions of class maps are written.

    Attributes:
        item: path of the STAC item, which is written last.
    """

    def __init__(self, stem: Path, predictor: Predictor, products: Mapping[str, Product], polygons: bool) -> None:
        self.stem = stem
        self.predictor = predictor
        self.products = products
        self.polygons = polygons
        self.item = stem.with_name(f"{stem.name}.json")
        self._odd: list[str] | None = None
        self._several = len(predictor.model.spec.heads) > 1

    def finished(self, digest: str) -> tuple[Path, ...] | None:
        """The files of a map of this plan that is complete, None if there is none."""
        plan, files = self._present()
        return files if plan == digest and all(file.is_file() for file in files) else None

    def _present(self) -> tuple[str, tuple[Path, ...]]:
        """Plan and files of the map that is there by its item; "" and none where there is no item."""
        try:
            found = read_json(self.item)
            files = tuple(self.item.parent / unquote(asset["href"]) for asset in found["assets"].values())
            return str(found["properties"]["eofuse:plan"]), files
        except (OSError, ValueError, KeyError, TypeError, AttributeError, DataError):
            return "", ()

    def _remove_others(self) -> None:
        """Removes files of the map that is replaced which this one may lack: beside it they would seem to be its own."""
        kept = {*self.paths()} - {self.path("", "learned", ".gpkg")}
        for path in self._present()[1]:
            is_of_a_map = path.parent == self.stem.parent and path.name.startswith(f"{self.stem.name}.")
            if is_of_a_map and path.suffix in (".tif", ".qml", ".gpkg") and path not in kept:
                path.unlink(missing_ok=True)

    def paths(self) -> list[Path]:
        """Every path at which a file may be written."""
        found = [self.item, self.path("", "learned", ".gpkg")]
        for name, product in self.products.items():
            found += [self.path(name, file.ending) for file in product.files]
            if product.files[0].colours:
                found += [self.path(name, suffix=".qml"), *([self.path(name, suffix=".gpkg")] if self.polygons else [])]
        heads = self.predictor.model.spec.heads
        return found + [self.path(name, suffix=".gpkg") for name, head in heads.items() if head.kind.is_boxes]

    def refuse_existing(self) -> None:
        """Raises a `UsageError` if a file is there already."""
        for path in self.paths():
            if path.exists():
                fix = "it is not of this very map: name another output, or add --overwrite"
                raise UsageError("exists already", where=path, fix=fix)

    def refuse_inputs(self, scene: MapScene) -> None:
        """Raises a `UsageError` if a file of the scene would be replaced, or a folder lies at a path."""
        inputs = {path.resolve() for path in scene.paths}
        for path in self.paths():
            if path.resolve() in inputs:
                raise UsageError("is an input of the map", where=path, fix="name another output")
            if path.is_dir():
                raise UsageError("is a folder", where=path, fix="name another output")

    def path(self, target: str, ending: str = "", suffix: str = ".tif") -> Path:
        """Path of a file; the target is in its name where there are several."""
        own = file_name(target) if target and self._several else ""
        name = ".".join(part for part in (self.stem.name, own, ending) if part)
        return self.stem.with_name(shortened(name) + suffix)

    def write(
        self,
        scene: MapScene,
        passes: Mapping[str, Pass],
        stores: Mapping[str, RowStore],
        digest: str,
        scratch: Path,
        threads: int,
    ) -> tuple[Path, ...]:
        """Writes them all, the item last, and gives the paths of the others.

        Args:
            scene: that is mapped.
            passes: over the scene, by name.
            stores: rows of each pass.
            digest: of the plan.
            scratch: folder for files that are not whole yet.
            threads: that compress.
        """
        self._remove_others()
        self.item.unlink(missing_ok=True)  # what it says is no longer so
        rasters: list[tuple[str, Path, MapFile, Grid]] = []
        styles: list[tuple[str, Path]] = []
        shapes: list[tuple[str, Path]] = []
        for name, each in passes.items():
            grid = _grid_of(each)
            for target, product in each.products.items():
                for file in product.files:
                    path = self.path(target, file.ending)
                    tags = self._tags(target, product, file)
                    values = stores[name].read((target, file.ending))
                    write_geotiff(path, file, grid, values, tags, scratch, threads)
                    rasters.append((".".join(part for part in (target, file.ending) if part), path, file, grid))
                if colours := product.files[0].colours:
                    legend = dict(zip(colours, product.head.classes, strict=True))
                    path = self.path(target, suffix=".qml")
                    write_style(path, legend, colours)
                    styles.append((f"{target}.style", path))
                    if self.polygons:
                        path = self.path(target, suffix=".gpkg")
                        write_regions(path, target, self.path(target), legend, grid)
                        shapes.append((f"{target}.polygons", path))
            for target in each.boxes:
                path = self.path(target, suffix=".gpkg")
                boxes = [box for box in stores[name].read_boxes() if box["target"] == target]
                write_boxes(path, target, boxes, self.predictor.model.spec.heads[target].classes, scene.grid)
                shapes.append((target, path))
        if squares := self.predictor.learned.within(scene.grid):
            path = self.path("", "learned", ".gpkg")
            columns = {"patch": pa.array(range(len(squares)), pa.int64())}
            write_geopackage(path, "learned", squares, columns, scene.grid, "Polygon")
            shapes.append(("learned", path))
        model = os.path.relpath(self.predictor.folders[0], self.item.parent)
        write_item(self.item, scene.grid, rasters, styles, shapes, self._properties(scene, digest), model)
        return (*(path for _, path, _, _ in rasters), *(path for _, path in (*styles, *shapes)))

    def notes(self, scene: MapScene) -> tuple[str, ...]:
        """What a reader of the map must know."""
        if self._odd is None:
            self._odd = odd_inputs(scene, self.predictor.model.spec.statistics)
        notes = [*self._odd]
        if self.predictor.is_simulated:
            notes.append("the model was trained on simulated data: the map says nothing about the Earth")
        if scene.absent:
            notes.append(f"tokens stand for inputs that the scene lacks: {', '.join(scene.absent)}")
        if MONTH in self.predictor.model.spec.context and scene.month is None:
            notes.append("no file names a date, so the model is not told the month: give it by --value month=7")
        learned = self.predictor.learned
        if squares := learned.within(scene.grid):
            notes.append(
                f"{len(squares)} patches of training or validation lie in the scene: see the file .learned.gpkg"
            )
        elif not learned.known:
            notes.append("it is not known whether the model learned from places in the scene")
        return tuple(notes)

    def _tags(self, target: str, product: Product, file: MapFile) -> dict[str, str]:
        """Tags of a GeoTIFF."""
        tags = {
            "eofuse_map": "class" if file.colours else file.ending or product.head.kind.values.value,
            "target": target,
            "predicted_by": self.predictor.words,
            "model_sha256": ",".join(self.predictor.digests),
            "learned_from": "known" if self.predictor.learned.known else "unknown",
        }
        return tags | ({"note": SIMULATED} if self.predictor.is_simulated else {})

    def _properties(self, scene: MapScene, digest: str) -> dict[str, Any]:
        """Properties of the item."""
        now = datetime.now(UTC)
        properties: dict[str, Any] = {
            "datetime": _utc(scene.date or now),
            "created": _utc(now),
            "title": f"map of {scene.name}",
            "description": "; ".join([f"predicted by {self.predictor.words}", *self.notes(scene)]),
            "eofuse:plan": digest,
            "eofuse:weights_sha256": self.predictor.digests,
        }
        if scene.date is None:
            properties["eofuse:datetime_is"] = "when the map was made; the date of the scene is not known"
        return properties | ({"eofuse:values": scene.values} if scene.constants else {})


def _utc(time: datetime) -> str:
    """A time as RFC 3339 writes it."""
    return f"{time.replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def _grid_of(each: Pass) -> Grid:
    """The grid of a pass's maps: the scene's, or with a larger pixel for each cell."""
    grid, rows = each.scene.grid, each.windows.rows
    if not isinstance(rows, Stride):
        return grid
    height, width = each.windows.shape
    return Grid(grid.crs, grid.transform @ grid.transform.scale(rows.step), width, height)

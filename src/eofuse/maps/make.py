"""Maps of scenes by a run or study: `map_scenes`.

Of each scene come, beside each other (`<map>` is the scene's name, with the target's behind it where there are several)::

    <map>.tif                 classes by their codes; numbers, each with the ends of its interval; or per cents of several classes
    <map>.confidence.tif      probability of the class in per cent
    <map>.probabilities.tif   of every class, on demand
    <map>.uncertainty.tif     entropy, and disagreement of several members, on demand
    <map>.gpkg                boxes, or on demand the regions of classes
    <map>.learned.gpkg        where the model learned
    <scene>.json              a STAC item
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eofuse import __version__
from eofuse.data.reading.grid import Grid
from eofuse.data.sources.scenes.polygons import Polygons
from eofuse.data.store.georeference import crs_name
from eofuse.errors import UsageError
from eofuse.files import file_name, is_empty, remove_temporaries
from eofuse.inference.ensemble import Ensemble
from eofuse.inference.predict import torch_device
from eofuse.locks import writing
from eofuse.maps.constants import Value
from eofuse.maps.output import MapFiles
from eofuse.maps.predictor import Predictor, open_predictor
from eofuse.maps.products import Product, products_of
from eofuse.maps.reach import Reach, best_window, reach_of
from eofuse.maps.rows import Key, RawFile, RowStore, check_plan, has_no_row, remove_rows
from eofuse.maps.scene import MapScene, scene_of_layers, scenes_of_spec
from eofuse.maps.streaming import Pass
from eofuse.maps.windows import Windows, cover, stride_over
from eofuse.modalities import MONTH
from eofuse.models.model import example_inputs
from eofuse.processes import usable_cores
from eofuse.progress import Progress

AnyPath = str | os.PathLike[str]

DEFAULT_OVERLAP = 4
"""Windows share a quarter of their side where a network looks as far as a window."""

PIXELS = "pixels"
CELLS = "cells"


@dataclass(frozen=True)
class MapOptions:
    """How scenes are mapped.

    Attributes:
        window: side of a window in pixels; by default that of the patches of training, or of pixels and convolutions twice that.
        overlap: pixels that neighbouring windows share; as far as the network looks, at most a quarter of the window, by default.
        stride: side in pixels of a cell of what is predicted of a patch; that of a window by default.
        probabilities: whether the probabilities of all classes are written.
        uncertainty: whether entropy and, of several members, their disagreement are written.
        polygons: whether the regions of class maps are written.
        threshold: score from which a box counts.
    """

    window: int | None = None
    overlap: int | None = None
    stride: int | None = None
    probabilities: bool = False
    uncertainty: bool = False
    polygons: bool = False
    threshold: float = 0.5

    def __post_init__(self) -> None:
        for name, least in (("window", 1), ("stride", 1), ("overlap", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{value} is less than {least}", where=name, fix=f"choose {least} or more")
        if not 0 <= self.threshold <= 1:
            raise UsageError(f"{self.threshold} is no score", where="threshold", fix="choose 0 to 1")


@dataclass(frozen=True)
class SceneMap:
    """What was written of a scene.

    Attributes:
        scene: its name.
        item: the STAC item.
        files: GeoTIFFs and GeoPackages.
        notes: what a reader of the map must know.
        exact: whether the map is that of the whole scene in one pass: so where no pixel looks farther than half the overlap.
    """

    scene: str
    item: Path
    files: tuple[Path, ...]
    notes: tuple[str, ...]
    exact: bool


def map_scenes(
    model: AnyPath,
    scenes: AnyPath | None = None,
    output: AnyPath = "maps",
    *,
    layers: Mapping[str, str] | None = None,
    values: Mapping[str, Value] | None = None,
    overrides: Sequence[str] = (),
    options: MapOptions | None = None,
    variant: str | None = None,
    seed: int | None = None,
    workers: int | None = None,
    readers: int = 2,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[SceneMap]:
    """Maps every scene of a spec, or one scene of files by input; goes on where an interrupted call stopped.

    Args:
        model: a run, a study, whose best variant by validation predicts with all its seeds, or the folder of a saved model.
        scenes: spec of the scenes, as `eofuse cut` takes it.
        output: folder of the maps of a spec; path of the map, ending in `.tif`, of layers.
        layers: in place of a spec, path or pattern of the files of each input with pixels.
        values: beside layers, the inputs without pixels: a class by name or code, numbers as the store held them in the order of the
            model's channels, or numbers by channel.
        overrides: changes to the spec, `key.path=value`.
        options: windows and what is written.
        variant: of a study, in place of the best.
        seed: of a study, only this one.
        workers: threads that predict, one a core by default, or two on another device; the result does not depend on it.
        readers: threads that read; the result does not depend on it.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        overwrite: whether maps that exist, or unfinished ones, are replaced.
        progress: called with (rows of windows done, rows in all, scene).

    Returns:
        A record for each scene, in order.

    Raises:
        UsageError: if model, scenes and options don't fit each other, or an output exists.
        DataError: if a file can't be read, or does not hold what the model takes.
    """
    if (scenes is None) == (layers is None):
        raise UsageError("give either a spec of scenes or files by layer", where="map")
    if values and layers is None:
        fix = "name a table in the spec: see docs/scenes.md, Values of a scene"
        raise UsageError("values belong to files by layer", where="map", fix=fix)
    options = options or MapOptions()
    if (workers is not None and workers < 1) or readers < 1:
        raise UsageError("there must be 1 worker and 1 reader at least", where="map")
    predictor = open_predictor(Path(model), variant, seed, torch_device(device))
    mapper = Mapper(predictor, options, workers, readers, progress)
    spec, may_lack = predictor.model.spec, predictor.may_lack
    output = Path(output)
    if layers is not None:
        if output.suffix.lower() not in (".tif", ".tiff"):
            raise UsageError("a map of layers is one file", where=output, fix="end the name in .tif")
        found = [scene_of_layers(output.stem, layers, spec, values=values, may_lack=may_lack, where=predictor.words)]
        folder, stems = output.parent, [output.stem]
    else:
        assert scenes is not None
        _, found = scenes_of_spec(Path(scenes), spec, overrides, may_lack=may_lack)
        folder, stems = output, [file_name(scene.name) for scene in found]
        if folder.exists() and not folder.is_dir():
            raise UsageError("is no folder", where=folder, fix="name a folder for the maps")
    mapper.check_names([folder / stem for stem in stems])
    return [mapper.make(scene, folder / stem, overwrite=overwrite) for scene, stem in zip(found, stems, strict=True)]


class Mapper:
    """A model, ready to map scenes."""

    def __init__(
        self,
        predictor: Predictor,
        options: MapOptions,
        workers: int | None = None,
        readers: int = 2,
        progress: Progress | None = None,
    ) -> None:
        self.predictor = predictor
        self.model: Ensemble = predictor.model
        self.options = options
        self.workers = workers or (
            usable_cores() if predictor.device == "cpu" else 2
        )  # one prepares while one computes
        self.readers = readers
        self.progress = progress
        heads = self.model.spec.heads
        self.boxes = [name for name, head in heads.items() if head.kind.is_boxes]
        self.products = products_of(
            heads, len(self.model.models), probabilities=options.probabilities, uncertainty=options.uncertainty
        )
        maps_pixels = any(head.kind.is_map for head in heads.values())
        self._refuse_unused()
        self.patch = min(self.model.spec.patch_size)
        self.size = options.window or (best_window(self.model) if maps_pixels else self.patch)
        self.reach = self._measure() if maps_pixels else Reach(None, 0, 1)

    def _refuse_unused(self) -> None:
        """Raises a `UsageError` for an option that would change nothing."""
        options = self.options
        of_pixels = [self.model.spec.heads[name].kind.is_map for name in self.products]
        has_classes = any(product.files[0].colours for product in self.products.values())
        for name, is_given, is_used, what in (
            ("overlap", options.overlap is not None, any(of_pixels) or bool(self.boxes), "pixels or boxes"),
            ("stride", options.stride is not None, not all(of_pixels), "whole patches"),
            ("polygons", options.polygons, has_classes, "classes"),
            ("probabilities", options.probabilities, has_classes, "classes"),
            ("threshold", options.threshold != MapOptions.threshold, bool(self.boxes), "boxes"),
        ):
            if is_given and not is_used:
                raise UsageError(f"the model has no target of {what}", where=name, fix="leave the option out")

    def _measure(self) -> Reach:
        try:
            return reach_of(self.model, self.size)
        except (RuntimeError, ValueError, AssertionError) as error:
            fix = f"choose {min(self.model.spec.patch_size)}, the size of the patches of training"
            raise UsageError(
                f"the model can't take windows of {self.size} pixels ({error})", where="window", fix=fix
            ) from None

    def windows(self, grid: Grid) -> tuple[Windows, bool]:
        """The windows over a scene for maps of pixels, and whether they agree with the scene in one pass."""
        size, overlap, reach = self.size, self.options.overlap, self.reach
        radius, stride = reach.radius, reach.stride
        if radius is not None and size - (size - 2 * radius) // stride * stride <= size // 2:
            wanted = 2 * radius if overlap is None else overlap
            if wanted >= 2 * radius and (size - wanted) // stride * stride >= -(-size // 2):
                return cover(grid.height, grid.width, size, wanted, radius, stride), True
        if overlap is None:
            overlap = min(2 * reach.effective, size // DEFAULT_OVERLAP)
        rim = min(reach.effective, overlap // 4)
        windows = cover(grid.height, grid.width, size, overlap, rim, moves_back=True)
        return windows, grid.height <= size and grid.width <= size

    def passes(self, scene: MapScene) -> tuple[dict[str, Pass], bool]:
        """The ways in which a scene is cut into windows, by name."""
        heads = self.model.spec.heads
        pixels = {name: product for name, product in self.products.items() if heads[name].kind.is_map}
        cells = {name: product for name, product in self.products.items() if name not in pixels}
        found: dict[str, Pass] = {}
        exact = True
        if pixels or self.boxes:
            windows, exact = self.windows(scene.grid)
            found[PIXELS] = self._pass(scene, windows, pixels, self.boxes)
        if cells:
            size = self.options.window or self.patch
            stride = size if self.options.stride is None else self.options.stride
            windows = stride_over(scene.grid.height, scene.grid.width, size, stride)
            found[CELLS] = self._pass(scene, windows, cells, ())
        return found, exact

    def _pass(self, scene: MapScene, windows: Windows, products: Mapping[str, Product], boxes: Sequence[str]) -> Pass:
        return Pass(
            scene,
            self.model,
            windows,
            products,
            may_lack=self.predictor.may_lack,
            boxes=boxes,
            threshold=self.options.threshold,
            device=self.predictor.device,
            pad=self._pad(windows),
        )

    def _pad(self, windows: Windows) -> int:
        """The side to which smaller windows are filled up: 0 where the network takes any size."""
        sizes = {axis.span(number) for axis in (windows.rows, windows.columns) for number in (0, len(axis) - 1)}
        smallest = min(end - start for start, end in sizes)
        if smallest >= self.size:
            return 0
        try:
            for side in ((smallest, self.size), (self.size, smallest), (smallest, smallest)):
                for model in self.model.models:
                    inputs = example_inputs(model.spec.modalities, side)
                    model.predict({name: values.to(self.predictor.device) for name, values in inputs.items()})
        except (RuntimeError, ValueError, AssertionError):
            return self.size
        return 0

    def check_names(self, stems: Sequence[Path]) -> None:
        """Raises a `UsageError` if two files of maps would have one path."""
        seen: set[Path] = set()
        for stem in stems:
            for path in MapFiles(stem, self.predictor, self.products, self.options.polygons).paths():
                if path in seen:
                    fix = "rename a scene or a target, or map the scenes one by one"
                    raise UsageError("two files of the maps would have this name", where=path, fix=fix)
                seen.add(path)

    def make(self, scene: MapScene, stem: Path, *, overwrite: bool) -> SceneMap:
        """Maps one scene; `stem` is the path of its files without their endings."""
        passes, exact = self.passes(scene)
        plan = self._plan(scene, passes)
        digest = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
        partial = stem.with_name(f".{stem.name}.partial")
        files = MapFiles(stem, self.predictor, self.products, self.options.polygons)
        files.refuse_inputs(scene)
        with writing(stem):
            written = files.finished(digest)
            if written is not None and not overwrite:
                if _is_same(partial, plan) or (partial.is_dir() and is_empty(partial)):  # killed when it tidied up
                    remove_rows(partial)
                return SceneMap(scene.name, files.item, written, files.notes(scene), exact)
            if not _is_same(partial, plan) and (overwrite or has_no_row(partial)):
                remove_rows(partial)
            if not check_plan(partial, plan) and not overwrite:
                files.refuse_existing()
            partial.mkdir(parents=True, exist_ok=True)
            remove_temporaries(partial)
            stores = {name: self._store(partial, name, each, plan) for name, each in passes.items()}
            total = sum(len(each.windows.rows) for each in passes.values())
            before = 0
            for name, each in passes.items():
                each.run(stores[name], self.workers, self.readers, self._told(before, total, scene.name))
                before += len(each.windows.rows)
            written = files.write(scene, passes, stores, digest, partial, self.workers)
            remove_rows(partial)
        return SceneMap(scene.name, files.item, written, files.notes(scene), exact)

    def _told(self, before: int, total: int, name: str) -> Any:
        def told(rows: int) -> None:
            if self.progress:
                self.progress(before + rows, total, name)

        return told

    def _store(self, folder: Path, name: str, each: Pass, plan: Mapping[str, Any]) -> RowStore:
        height, width = each.windows.shape
        files: dict[Key, RawFile] = {
            (target, file.ending): RawFile(file, height, width)
            for target, product in each.products.items()
            for file in product.files
        }
        return RowStore(folder, name, plan, files)

    def _plan(self, scene: MapScene, passes: Mapping[str, Pass]) -> dict[str, Any]:
        """All that the map depends on."""
        files = []
        for path in scene.paths:
            state = path.stat()
            files.append([str(path.resolve()), state.st_size, state.st_mtime_ns])
        layers = {
            name: [
                layer.spec.model_dump(mode="json", exclude={"safe", "mask"}),
                [
                    [raster.file.path, raster.bands, raster.nodata, raster.place, raster.method]
                    for raster in (layer.content if isinstance(layer.content, tuple) else ())
                ],
                *([layer.content.digest] if isinstance(layer.content, Polygons) else []),
                *([[layer.product.added, layer.product.masked]] if layer.product else []),
            ]
            for name, layer in scene.layers.items()
        }
        grid = scene.grid
        plan: dict[str, Any] = {
            "eofuse": __version__,
            "weights_sha256": self.predictor.digests,
            "scene": scene.name,
            "files": files,
            "layers": layers,
            "grid": [crs_name(grid.crs), list(grid.transform[:6]), grid.width, grid.height],
            "windows": {name: repr(each.windows) + f" {each.pad}" for name, each in passes.items()},
            "options": [
                getattr(self.options, name) for name in ("probabilities", "uncertainty", "polygons", "threshold")
            ],
        }
        if scene.constants:
            plan["values"] = scene.values
        if MONTH in self.model.spec.context:
            plan["month"] = scene.month
        found: dict[str, Any] = _without_nan(json.loads(json.dumps(plan)))
        return found


def _without_nan(value: Any) -> Any:
    """A value as it is, with words for numbers that are none, so that plans can be compared."""
    if isinstance(value, dict):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return "nan" if isinstance(value, float) and math.isnan(value) else value


def _is_same(partial: Path, plan: Mapping[str, Any]) -> bool:
    try:
        return check_plan(partial, plan)
    except UsageError:
        return False

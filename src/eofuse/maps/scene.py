"""What is mapped: a scene on its grid, with the layers that a model takes, each from its own files.

`scenes_of_spec` takes the spec that `eofuse cut` takes, `scene_of_layers` a pattern of files, or values, for each input. Bands and
channels are found by name; scale, offset, unit and classes are compared with the model's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eofuse.data.reading.formats import inspect_file
from eofuse.data.reading.grid import Grid
from eofuse.data.reading.matching import finest, place_files
from eofuse.data.reading.pixels import read_on
from eofuse.data.reading.rasters import PlacedRaster, RasterFile, reading_environment
from eofuse.data.reading.resampling import Values
from eofuse.data.sources.scenes.files import Scene, find_scenes, resolve_scenes
from eofuse.data.sources.scenes.polygons import Polygons
from eofuse.data.sources.scenes.safe import Product
from eofuse.data.sources.scenes.source import read_spec
from eofuse.data.sources.scenes.spec import SceneSpec
from eofuse.data.sources.scenes.values import read_scene_values
from eofuse.data.specs.dates import day_within
from eofuse.data.specs.layers import LayerSpec
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.maps.channels import channel_positions, check_same
from eofuse.maps.constants import Value, constant_of, given_constant, given_month, with_categories
from eofuse.maps.handles import Handles
from eofuse.maps.layer_files import layer_files
from eofuse.modalities import MONTH, Kind, Modality
from eofuse.models.model import ModelSpec
from eofuse.words import listed

WIDE = ("int32", "float64")
"""Types whose values float32 can't hold."""


@dataclass(frozen=True)
class Layer:
    """One input of a model over a scene.

    Attributes:
        modality: as the model takes it.
        content: its files in the order of the channels (one file with all of them, or one each), or polygons.
        spec: what is added to its values, and how they are clipped.
        fill: stored value of what is missing.
        channels: positions of the model's channels among those of the files, None for all.
        product: of a Sentinel-2 product, what happens to the values of the channels.
    """

    modality: Modality
    content: tuple[PlacedRaster, ...] | Polygons
    spec: LayerSpec
    fill: float
    channels: tuple[int, ...] | None = None
    product: Product | None = None

    def read(
        self, scene: str, grid: Grid, window: tuple[int, int, int, int], handles: Handles
    ) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]]:
        """Values (channels, height, width) as the model takes them, and at which pixels every channel has one, (height, width).

        Args:
            scene: name of the scene.
            grid: of the scene.
            window: first column, first row, width and height.
            handles: files that are open.

        Raises:
            DataError: naming the file, if it can't be read or holds what the model can't take.
        """
        left, top, width, height = window
        part = grid.window(left, top, width, height)
        if isinstance(self.content, Polygons):
            codes = self.content.draw(part.transform, max(width, height))[None, :height, :width]
            hides = self.content.fill == self.fill
            return codes, np.asarray(codes[0] != self.content.fill) if hides else np.ones(codes.shape[1:], dtype=bool)
        precision = np.float64 if self.modality.dtype in WIDE else np.float32

        def pixels(raster: PlacedRaster) -> Values:
            where = f"scene {scene}, {self.modality.name}, {raster.file.path}"
            if raster.place is not None:
                raster = replace(raster, place=(raster.place[0] - left, raster.place[1] - top))
            found = read_on(raster, part, where, handles.open(raster.file, where), precision)
            return np.full((len(raster.bands), height, width), np.nan, precision) if found is None else found

        parts = [pixels(raster) for raster in self.content]
        warped = any(raster.place is None for raster in self.content)
        values: Values = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if self.channels is not None:
            values = values[list(self.channels)]
        if self.product is not None:
            classes = None if self.product.classes is None else pixels(self.product.classes)
            values = self.product.apply(values, range(len(values)), classes)
        valid: npt.NDArray[np.bool_] = np.asarray(~np.isnan(values).any(axis=0))
        where = f"scene {scene}, {self.modality.name}"
        modality = replace(self.modality, nodata=self.fill)
        try:
            return self.spec.stored(values, modality, scene, warped, where), valid
        except DataError as error:
            fix = (
                f"give values as those of training, {modality.dtype}, or a spec that brings them there (`add`, `clip`)"
            )
            raise DataError(error.what, where=error.where, fix=fix) from None


@dataclass(frozen=True)
class MapScene:
    """A scene that is mapped.

    Attributes:
        name: of the scene.
        grid: its pixels, those of the map.
        layers: inputs with pixels, by modality.
        absent: inputs of the model that the scene lacks.
        constants: inputs without pixels, by modality, as the model takes them of a patch: (channels,), (steps, 1 + channels), or () of
            a code.
        given_month: 1 to 12, in place of that of the first date in the names of its files.
    """

    name: str
    grid: Grid
    layers: dict[str, Layer]
    absent: tuple[str, ...] = ()
    constants: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    given_month: int | None = None

    @property
    def date(self) -> datetime | None:
        """When it was seen: the first date in the names of its files, or in its own; None where nothing says it."""
        files = [
            Path(raster.file.path).name
            for layer in self.layers.values()
            if not isinstance(layer.content, Polygons)
            for raster in layer.content
        ]
        days = (day_within(text) for text in (*files, self.name))
        return next((day for day in days if day is not None), None)

    @property
    def month(self) -> int | None:
        """The month in which it was seen, 1 to 12; None where nothing says it."""
        if self.given_month is not None:
            return self.given_month
        return None if self.date is None else self.date.month

    @property
    def values(self) -> dict[str, Any]:
        """Its inputs without pixels as lists, numbers and codes; None stands for a gap."""
        found = {}
        for name, values in self.constants.items():
            numbers = values.astype(object)
            numbers[np.isnan(values)] = None
            found[name] = numbers.tolist()
        return found

    @property
    def paths(self) -> list[Path]:
        """Its files with their side-car files, sorted."""
        found = {
            Path(path)
            for layer in self.layers.values()
            if not isinstance(layer.content, Polygons)
            for raster in layer.content
            for path in (raster.file.path, *raster.file.sidecars)
        }
        found |= {path for layer in self.layers.values() if layer.product for path in layer.product.paths}
        return sorted(found)


def scenes_of_spec(
    path: Path, model: ModelSpec, overrides: Sequence[str] = (), *, may_lack: bool = False
) -> tuple[SceneSpec, list[MapScene]]:
    """The scenes of a spec, with the inputs of a model.

    Args:
        path: the spec, as `eofuse cut` takes it.
        model: whose inputs are wanted; the spec's other modalities are passed over.
        overrides: changes to the spec, `key.path=value`.
        may_lack: whether the model has something in place of an input that is missing.

    Raises:
        UsageError: if the spec is not valid, or lacks an input.
        DataError: if a file is missing, or does not hold what the model takes.
    """
    spec = read_spec(path, overrides)
    inputs = _inputs(model)
    lacking = [name for name in inputs if name not in spec.modalities]
    _check_lacking(lacking, inputs, spec.modalities, str(path), may_lack)
    reference = spec.reference_name
    layers = {name: layer for name, layer in spec.modalities.items() if name in inputs or name == reference}
    spec = spec.model_copy(update={"modalities": layers, "reference": reference})
    root = path.parent / spec.root
    if not root.is_dir():
        raise UsageError("there is no such folder", where=root, fix="correct `root` in the spec")
    with reading_environment():
        found, modalities, _ = resolve_scenes(spec, root, find_scenes(spec, root))
    described = {modality.name: modality for modality in modalities}
    values = {}
    for name, layer in spec.modalities.items():
        if layer.table is not None:
            layer = with_categories(layer, inputs[name])
            values[name] = read_scene_values(name, layer, root, [scene.name for scene in found])
            described[name] = values[name].modality
    for name in inputs:
        if name in described:
            check_same(inputs[name], described[name], f"{path}, modalities.{name}")
    scenes = []
    for each in found:
        scene = _narrowed(each, spec, described, inputs, model)
        constants = {name: constant_of(own, inputs[name], each.name) for name, own in values.items()}
        scenes.append(_with_constants(scene, inputs, constants, may_lack))
    return spec, scenes


def scene_of_layers(
    name: str,
    patterns: Mapping[str, str],
    model: ModelSpec,
    *,
    values: Mapping[str, Value] | None = None,
    may_lack: bool = False,
    where: str | None = None,
) -> MapScene:
    """A scene of files by input; the first input's finest file gives the grid.

    Args:
        name: of the scene.
        patterns: by modality, a path or a pattern with `*` of one file with all bands, or of a file a band with the band's name in it.
        model: whose inputs are wanted.
        values: of the inputs without pixels, by modality.
        may_lack: whether the model has something in place of an input that is missing.
        where: what predicts, for messages.

    Raises:
        UsageError: if an input is unknown or missing, or no file is like a pattern.
        DataError: if a file does not hold what the model takes.
    """
    inputs, values = _inputs(model), dict(values or {})
    told = MONTH in model.context and "month" in values and "month" not in inputs
    month = given_month(values.pop("month")) if told else None
    for given_names, words, pixels in ((patterns, "with pixels", True), (values, "without pixels", False)):
        own = [each for each, modality in inputs.items() if (modality.kind is Kind.RASTER) is pixels]
        for given in given_names:
            if given not in own:
                raise UsageError(f"the model has no input '{given}' {words}", where=where, fix=did_you_mean(given, own))
    lacking = [each for each in inputs if each not in patterns and each not in values]
    where = "--layer" if not lacking or inputs[lacking[0]].kind is Kind.RASTER else "--value"
    _check_lacking(lacking, inputs, patterns, where, may_lack)
    files: dict[str, list[RasterFile]] = {}
    with reading_environment():
        for given, pattern in patterns.items():
            files[given] = [_inspect(path, name, given) for path in layer_files(pattern, inputs[given])]
        grid = finest(files[next(iter(patterns))]).grid
        layers = {}
        for given in patterns:
            modality, where = inputs[given], f"scene {name}, {given}"
            try:
                placed = place_files(
                    files[given], modality, grid, nodata=None, added=None, resampling=None, where=where
                )
            except DataError as error:
                fix = "give bands and values as those of training, or a spec that says what the files hold: see docs/scenes.md"
                raise DataError(error.what, where=error.where, fix=fix) from None
            layers[given] = Layer(modality, placed, LayerSpec(), _fill(modality, model))
    constants = {each: given_constant(given_value, inputs[each]) for each, given_value in values.items()}
    return MapScene(name, grid, layers, tuple(lacking), constants, month)


def _inputs(model: ModelSpec) -> dict[str, Modality]:
    """Inputs by name.

    Raises:
        UsageError: if none has pixels, or one is an image series or has cells.
    """
    inputs = {each.name: each for each in model.modalities}
    for each in model.modalities:
        if each.kind is Kind.IMAGE_SERIES:
            fix = "cut the scenes into a store (eofuse cut), then predict its patches with --maps: eofuse predict"
            raise UsageError(f"maps of scenes take no series of images, which '{each.name}' is", fix=fix)
        if each.cell > 1:
            fix = "cut the scenes into a store, embed it alike, then predict its patches with --maps: eofuse predict"
            raise UsageError(f"maps of scenes take pixels, and '{each.name}' has cells of {each.cell} pixels", fix=fix)
    if not any(each.kind is Kind.RASTER for each in inputs.values()):
        fix = "train on rasters, or predict a store: eofuse predict"
        raise UsageError(f"the model sees no pixels, only {listed(list(inputs))}", fix=fix)
    return inputs


def _check_lacking(
    lacking: Sequence[str], inputs: Mapping[str, Modality], given: Mapping[str, object], where: str, may_lack: bool
) -> None:
    some_pixels = any(each.kind is Kind.RASTER for name, each in inputs.items() if name not in lacking)
    if lacking and not (may_lack and some_pixels):
        others = [name for name in given if name not in inputs]
        fix = f"add it, under its name; {did_you_mean(lacking[0], others)}" if others else "add it, under its name"
        raise UsageError(f"the model's input '{lacking[0]}' is missing", where=where, fix=fix)


def _narrowed(
    scene: Scene,
    spec: SceneSpec,
    described: Mapping[str, Modality],
    inputs: Mapping[str, Modality],
    model: ModelSpec,
) -> MapScene:
    """A scene with only those bands that a model takes."""
    layers: dict[str, Layer] = {}
    rasters = {name: modality for name, modality in inputs.items() if modality.kind is Kind.RASTER}
    for name, modality in rasters.items():
        content = scene.content.get(name, ())
        if not content:
            continue
        channels, product = None, scene.products.get(name)
        if not isinstance(content, Polygons) and not modality.is_categorical:
            positions = channel_positions(modality, described[name], f"scene {scene.name}, {name}")
            if product is not None:
                product = replace(product, added=tuple(product.added[position] for position in positions))
            if len(content) > 1:
                content = tuple(content[position] for position in positions)
            elif content[0].shows_colours:
                channels = positions
            else:
                bands, nodata = content[0].bands, content[0].nodata
                content = (
                    replace(
                        content[0],
                        bands=tuple(bands[position] for position in positions),
                        nodata=tuple(nodata[position] for position in positions),
                    ),
                )
        layers[name] = Layer(modality, content, spec.modalities[name], _fill(modality, model), channels, product)
    if not layers:
        raise DataError("has none of the model's inputs", where=f"scene {scene.name}", fix="leave the scene out")
    return MapScene(scene.name, scene.grid, layers)


def _with_constants(
    scene: MapScene, inputs: Mapping[str, Modality], given: Mapping[str, npt.NDArray[Any] | None], may_lack: bool
) -> MapScene:
    """A scene with its values without pixels.

    Raises:
        DataError: if the scene lacks an input, and the model has nothing in its place.
    """
    constants = {name: values for name, values in given.items() if values is not None}
    lacking = tuple(name for name in inputs if name not in scene.layers and name not in constants)
    if lacking and not may_lack:
        what = f"lacks {listed(lacking)}, which the model needs"
        raise DataError(what, where=f"scene {scene.name}", fix="add it, or list the other scenes under `scenes`")
    return replace(scene, absent=lacking, constants=constants)


def _fill(modality: Modality, model: ModelSpec) -> float:
    """Stored value of missing pixels: the nodata value, else one that the model takes for its mean."""
    if modality.nodata is not None:
        return modality.nodata
    if modality.is_categorical:
        codes = {category.code for category in modality.categories}
        return next((code for code in range(256) if code not in codes), 0)
    dtype = np.dtype(modality.dtype)
    if dtype.kind == "f":
        return float("nan")
    mean = float(np.mean(model.statistics.mean[modality.name]))
    limits = np.iinfo(dtype)
    return float(np.clip(round((mean - modality.offset) / modality.scale), limits.min, limits.max))


def _inspect(path: Path, scene: str, name: str) -> RasterFile:
    where = f"scene {scene}, {name}, {path}"
    file = inspect_file(str(path), where)
    if not file.grid.crs:
        fix = "georeference the file, or put a .prj file with the reference system beside it"
        raise DataError("has no coordinate reference system", where=where, fix=fix)
    return file

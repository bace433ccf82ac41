"""Which files make up each scene of a spec: found, looked at, matched to channels and placed on the scene's grid."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from eofuse.data.reading.arrays import days_in
from eofuse.data.reading.formats import inspect_file, is_there
from eofuse.data.reading.grid import Grid
from eofuse.data.reading.matching import band_names, finest, place_files
from eofuse.data.reading.rasters import PlacedRaster, RasterFile
from eofuse.data.reading.resampling import Method
from eofuse.data.reading.stacks import bands_of_date
from eofuse.data.sources.scenes.polygons import Polygons, read_polygons
from eofuse.data.sources.scenes.safe import Product, band_files, read_product
from eofuse.data.sources.scenes.spec import SceneLayer, SceneSpec
from eofuse.data.specs.dates import (
    MARK,
    WRITTEN,
    choose_date,
    dates_of,
    day_within,
    days_since_1970,
    nearest_date,
    wildcard,
)
from eofuse.data.specs.layers import describe_layer, known_modality
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.modalities import Kind, Modality

_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True)
class Scene:
    """One scene.

    Attributes:
        name: of the scene.
        grid: its pixels.
        content: by modality, its files or polygons; of an image series the files of one date after another.
        products: by modality, what happens to the values of a Sentinel-2 product.
        dates: by modality, of files that were chosen by date, and of products.
        times: by image series, days of its dates.
    """

    name: str
    grid: Grid
    content: dict[str, tuple[PlacedRaster, ...] | Polygons]
    products: dict[str, Product] = field(default_factory=dict)
    dates: dict[str, datetime] = field(default_factory=dict)
    times: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def by_date(self, name: str) -> list[tuple[PlacedRaster, ...]]:
        """The files of each date of an image series."""
        content = self.content[name]
        assert not isinstance(content, Polygons)
        return list(_by_date(content, len(self.times.get(name, ()))))


def find_scenes(spec: SceneSpec, root: Path) -> list[str]:
    """Names of the scenes for which the reference has a file, or of those that the spec lists.

    Raises:
        DataError: if no file is like the pattern of the reference.
        UsageError: if the spec names a scene that is not there.
    """
    name = spec.reference_name
    layer = spec.modalities[name]
    pattern = layer.path_of(_bands_of_pattern(name, layer)[0]) if layer.has_file_per_band else str(layer.pattern)
    pattern = pattern.rstrip("/")
    first, *rest = (_dated(part) for part in pattern.split("{scene}"))
    expression = re.compile(first + "(?P<scene>[^/]+?)" + "(?P=scene)".join(rest))
    paths = (path.relative_to(root).as_posix() for path in root.glob(wildcard(pattern, "{scene}", MARK)))
    found = sorted({match["scene"] for path in paths if (match := expression.fullmatch(path))})
    if not found:
        key = "files" if layer.safe is None else "safe"
        raise DataError(f"no file is like {pattern}", where=root, fix=f"correct modalities.{name}.{key} or root")
    for scene in spec.scenes or ():
        if scene not in found:
            raise UsageError(f"there is no scene '{scene}'", where="scenes", fix=did_you_mean(scene, found))
    for other, settings in spec.modalities.items():
        settings.require_scenes(other, found)
    return list(spec.scenes or found)


def _dated(part: str) -> str:
    """A part of a pattern as a regular expression."""
    return WRITTEN.join(re.escape(each) for each in part.split(MARK))


def _bands_of_pattern(name: str, layer: SceneLayer) -> tuple[str, ...]:
    """Bands with a file each."""
    known = known_modality(name, layer)
    if layer.bands is None and known is None:
        raise UsageError("the pattern has {band}", where=f"modalities.{name}", fix="list the bands")
    return layer.bands or (known.channel_names if known else ())


def _files(
    name: str, layer: SceneLayer, root: Path, scene: str, reference: datetime | None
) -> tuple[list[RasterFile], datetime | None]:
    """The files of a scene, none if it lacks an optional modality, and their date where their paths name one."""
    if layer.safe is not None:
        folder = product_folder(layer, root, scene)
        if layer.optional and not folder.is_dir():
            return [], None
        known = known_modality(name, layer)
        assert known is not None  # Sentinel-2 where nothing else is named
        paths = band_files(folder, known.channel_names, f"scene {scene}, {name}")
        return [_inspect(path, scene, name, layer) for path in paths], day_within(folder.name)
    bands = _bands_of_pattern(name, layer) if layer.has_file_per_band else ("",)
    patterns = [layer.path_of(band).replace("{scene}", scene) for band in bands]
    date, day = MARK, None
    if layer.date is not None and layer.is_dated_file:
        return _date_of_file(name, layer, root / patterns[0], scene, reference)
    if layer.date is not None:
        chosen = choose_date(root, patterns, layer.date, reference, f"scene {scene}, {name}")
        if chosen is None and not layer.optional:
            raise _no_date(name, patterns[0], scene)
        date, day = chosen or (MARK, None)
    paths = [root / each.replace(MARK, date) for each in patterns]
    if layer.optional and not all(is_there(str(path)) for path in paths):
        return [], None
    return [_inspect(path, scene, name, layer) for path in paths], day or day_within(paths[0].name)


def _date_of_file(
    name: str, layer: SceneLayer, path: Path, scene: str, reference: datetime | None
) -> tuple[list[RasterFile], datetime | None]:
    """The bands of one date of a file that holds several, and that date; none if the scene lacks an optional modality."""
    if layer.optional and not is_there(str(path)):
        return [], None
    file, days = _file_of_dates(name, layer, path, scene)
    dates = {_EPOCH + timedelta(days=day): number for number, day in enumerate(days)}
    chosen = nearest_date(list(dates), str(layer.date), reference, f"scene {scene}, {name}")
    return [bands_of_date(file, dates[chosen], len(days), f"scene {scene}, {name}, {path}")], chosen


def _file_of_dates(name: str, layer: SceneLayer, path: Path, scene: str) -> tuple[RasterFile, list[float]]:
    """A file that holds several dates, and their days."""
    file = _inspect(path, scene, name, layer)
    days = days_in(str(path), layer.part(), f"scene {scene}, {name}, {path}")
    return file, days


Raster = TypeVar("Raster", RasterFile, PlacedRaster)


def _by_date(files: Sequence[Raster], dates: int) -> Iterator[tuple[Raster, ...]]:
    """The files of each of so many dates, which stand one after another."""
    each = len(files) // max(dates, 1)
    return (tuple(files[date * each : (date + 1) * each]) for date in range(dates))


def _files_of_all_dates(
    name: str, layer: SceneLayer, root: Path, scene: str
) -> tuple[list[RasterFile], tuple[float, ...]]:
    """The files of every date of a scene, the earliest first, and their days; none if it lacks an optional modality."""
    bands = _bands_of_pattern(name, layer) if layer.has_file_per_band else ("",)
    patterns = [layer.path_of(band).replace("{scene}", scene) for band in bands]
    if layer.is_dated_file:
        if layer.optional and not is_there(str(root / patterns[0])):
            return [], ()
        file, found = _file_of_dates(name, layer, root / patterns[0], scene)
        where = f"scene {scene}, {name}, {file.path}"
        return [bands_of_date(file, number, len(found), where) for number in range(len(found))], tuple(found)
    dates = dates_of(root, patterns)
    if not dates and not layer.optional:
        raise _no_date(name, patterns[0], scene)
    files = [
        _inspect(root / each.replace(MARK, text), scene, name, layer) for text in dates.values() for each in patterns
    ]
    return files, tuple(map(days_since_1970, dates))


def _no_date(name: str, pattern: str, scene: str) -> DataError:
    fix = f"add the files, set modalities.{name}.optional: true, or list the scenes that have them under `scenes`"
    return DataError(f"no date has all files like {pattern}", where=f"scene {scene}, {name}", fix=fix)


def product_folder(layer: SceneLayer, root: Path, scene: str) -> Path:
    """The folder of a scene's Sentinel-2 product."""
    return root / str(layer.safe).replace("{scene}", scene)


def _inspect(path: Path, scene: str, name: str, layer: SceneLayer) -> RasterFile:
    """Looks at a file, which must be georeferenced."""
    where = f"scene {scene}, {name}, {path}"
    if not is_there(str(path)):
        fix = f"add the file, set modalities.{name}.optional: true, or list the scenes that have it under `scenes`"
        raise DataError("file missing", where=where, fix=fix)
    file = inspect_file(str(path), where, layer.part())
    if not file.grid.crs:
        fix = "georeference the file, or put a .prj file with the reference system beside it"
        if file.part is not None:
            fix = "give its arrays coordinates x and y and a grid mapping (rioxarray: rio.write_crs), or bring them to GeoTIFF"
        raise DataError("has no coordinate reference system", where=where, fix=fix)
    return file


def resolve_scenes(
    spec: SceneSpec, root: Path, names: Sequence[str]
) -> tuple[list[Scene], list[Modality], dict[str, dict[str, Method]]]:
    """Every scene with its files, the modalities with pixels as stored, and by modality how it is resampled in the scenes where it is.

    Call it within `reading_environment()`.

    Raises:
        DataError: if a file is missing or not what it should be.
        UsageError: if the spec contradicts itself or the files.
    """
    modalities: dict[str, Modality] = {}
    resampled: dict[str, dict[str, Method]] = {}
    scenes: list[Scene] = []
    shared: dict[str, tuple[list[RasterFile], datetime | None]] = {}
    most: dict[str, int] = {}
    for scene in names:
        files: dict[str, list[RasterFile]] = {}
        dates: dict[str, datetime] = {}
        times: dict[str, tuple[float, ...]] = {}
        for name, layer in sorted(spec.with_pixels.items(), key=lambda item: item[0] != spec.reference_name):
            if layer.pattern is None:
                continue
            if layer.is_series:
                files[name], times[name] = _files_of_all_dates(name, layer, root, scene)
                most[name] = max(most.get(name, 0), len(times[name]))
                continue
            found = shared.get(name) or _files(name, layer, root, scene, dates.get(spec.reference_name))
            if "{scene}" not in layer.pattern and MARK not in layer.pattern:
                shared[name] = found
            files[name] = found[0]
            if found[1] is not None:
                dates[name] = found[1]
        for name, layer in spec.with_pixels.items():
            if name not in modalities and (layer.polygons or files[name]):
                first = next(_by_date(files[name], len(times[name]))) if name in times else files.get(name, [])
                modalities[name] = _modality(name, layer, first)
        if not files[spec.reference_name]:
            fix = "list the scenes that have it under `scenes`"
            raise DataError("has no file of the reference", where=f"scene {scene}, {spec.reference_name}", fix=fix)
        grid = finest(files[spec.reference_name]).grid
        content: dict[str, tuple[PlacedRaster, ...] | Polygons] = {}
        products: dict[str, Product] = {}
        for name, layer in spec.with_pixels.items():
            if layer.polygons is not None:
                content[name] = _polygons(layer, modalities[name], root, scene, grid)
                continue
            if not files[name]:
                content[name] = ()
                continue
            placed = tuple(
                raster
                for date in _by_date(files[name], len(times.get(name, (0.0,))))
                for raster in place_files(
                    date,
                    modalities[name],
                    grid,
                    nodata=layer.nodata,
                    added=layer.added(scene),
                    resampling=layer.resampling,
                    where=f"scene {scene}, {name}",
                )
            )
            content[name] = placed
            if layer.safe is not None and placed:
                folder = product_folder(layer, root, scene)
                products[name] = read_product(folder, layer, modalities[name], scene, grid, f"scene {scene}, {name}")
            for raster in placed:
                if raster.method is not None:
                    resampled.setdefault(name, {})[scene] = raster.method
        taken = {name: day for name, day in dates.items() if spec.modalities[name].date or spec.modalities[name].safe}
        scenes.append(Scene(scene, grid, content, products, taken, times))
    for name in spec.with_pixels:
        if name not in modalities:
            fix = f"correct modalities.{name}.files, or take it out"
            raise DataError("no scene has a file of it", where=f"modalities.{name}", fix=fix)
    for name, layer in spec.with_pixels.items():
        parts = [scene.content[name] for scene in scenes]
        if layer.polygons and not any(isinstance(part, Polygons) and part.geometries for part in parts):
            raise DataError("no polygon lies in a scene", where=name, fix="check the coordinates of the file")
    for name, dates_at_most in most.items():
        kind: dict[str, Any] = {"kind": Kind.IMAGE_SERIES, "steps": dates_at_most, "dated": True}
        modalities[name] = replace(modalities[name], **kind)
    return scenes, [modalities[name] for name in spec.with_pixels], resampled


def _modality(name: str, layer: SceneLayer, files: Sequence[RasterFile]) -> Modality:
    if layer.polygons is not None:
        return describe_layer(name, layer, ("class",), "uint8", None)
    known = known_modality(name, layer)
    channels = layer.bands or (known.channel_names if known else band_names(files[0]))
    return describe_layer(name, layer, channels, files[0].dtype, files[0].nodata)


def _polygons(layer: SceneLayer, modality: Modality, root: Path, scene: str, grid: Grid) -> Polygons:
    assert layer.polygons is not None
    codes = {category.name: category.code for category in modality.categories}
    background = layer.polygons.background
    where = f"modalities.{modality.name}"
    if background is not None and background not in codes:
        fix = did_you_mean(background, codes)
        raise UsageError(f"'{background}' is no category", where=f"{where}.polygons.background", fix=fix)
    fill = modality.nodata if background is None else codes[background]
    if fill is None:
        fix = "leave the code 0 or 255 free, or name a background"
        raise UsageError("no code is left for pixels outside the polygons", where=where, fix=fix)
    path = root / layer.polygons.file.replace("{scene}", scene)
    return read_polygons(path, layer.polygons.property, modality.categories, int(fill), grid)


def scene_paths(spec: SceneSpec, scenes: Sequence[Scene], root: Path) -> list[Path]:
    """All files of the scenes with their side-car files, and the tables, sorted."""
    paths = {root / layer.table for layer in spec.modalities.values() if layer.table is not None}
    for scene in scenes:
        paths |= {path for product in scene.products.values() for path in product.paths}
        for name, content in scene.content.items():
            polygons = spec.modalities[name].polygons
            if isinstance(content, Polygons):
                assert polygons is not None
                paths.add(root / polygons.file.replace("{scene}", scene.name))
            else:
                paths |= {Path(path) for raster in content for path in (raster.file.path, *raster.file.sidecars)}
    return sorted(paths)

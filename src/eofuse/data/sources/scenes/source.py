"""Scenes of rasters, polygons and values of the whole scene as a source of samples: a patch is a square of the scene's grid.

`open_scenes` finds the files, looks at every patch once and indexes those that are kept; `SceneSamples.read` gives the rasters of a
patch. Only windows are read, never whole scenes. The grid of a scene is that of its reference modality; a file with another
one is resampled to it (`eofuse.data.reading.resampling`).
"""

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from affine import Affine

from eofuse.config import apply_overrides, parse_options
from eofuse.data.doors import read_kind
from eofuse.data.reading.formats import file_states
from eofuse.data.reading.grid import Grid, tile_starts, tiles_to_cover, transform_places
from eofuse.data.reading.matching import fit_values, without_data
from eofuse.data.reading.pixels import kept_open, read_on
from eofuse.data.reading.rasters import PlacedRaster, reading_environment
from eofuse.data.reading.resampling import Values
from eofuse.data.scenes import GIVEN, SCENE_KIND
from eofuse.data.sources.base import Provenance, Samples
from eofuse.data.sources.scenes import Scenes
from eofuse.data.sources.scenes.cautions import scene_warnings
from eofuse.data.sources.scenes.files import Scene, find_scenes, resolve_scenes, scene_paths
from eofuse.data.sources.scenes.polygons import Polygons
from eofuse.data.sources.scenes.spec import SceneSpec
from eofuse.data.sources.scenes.values import SceneValues, read_scene_values
from eofuse.data.store.georeference import crs_name, named_crs, set_grids
from eofuse.data.store.index import times_column
from eofuse.errors import DataError, UsageError
from eofuse.limits import RASTER
from eofuse.modalities import Kind, Modality
from eofuse.processes import in_processes
from eofuse.progress import Progress

BLOCK_EDGE = 1e-6
"""A patch whose middle lies on the edge of a block belongs to the next one, whatever the rounding."""

SIZE = 120
"""Pixels along the side of a patch."""

LONGEST_NAME = 20
MOST_PATCHES = 5_000_000
"""Patches of a scene."""

Raster = npt.NDArray[np.generic]
_Seen = tuple[npt.NDArray[np.float64], list[dict[str, list[float]]]]


@dataclass(frozen=True)
class _Tile:
    """A square of a scene: number of the scene, place in the grid of tiles, first pixel."""

    scene: int
    column: int
    row: int
    left: int
    top: int


class SceneSamples(Samples):
    """Scenes cut into patches; see `Samples`.

    The index has `block` (patches that splits by blocks keep together) and `nodata.<modality>` (share of its values that are missing).
    The fingerprint is a digest of the spec, the tiling, and names, sizes and times of the files.
    """

    def __init__(
        self,
        spec: SceneSpec,
        scenes: Sequence[Scene],
        modalities: Sequence[Modality],
        tiles: Sequence[_Tile],
        size: int,
        values: Mapping[str, SceneValues] | None = None,
    ) -> None:
        self._spec = spec
        self._scenes = tuple(scenes)
        self._tiles = list(tiles)
        self.name = spec.name
        self.simulated = spec.simulated
        self.modalities = tuple(modalities)
        self.rasters = tuple(modality for modality in modalities if modality.has_pixels)
        self.values = dict(values or {})
        self.patch_size = (size, size)
        self.fingerprint = ""
        self.index = pd.DataFrame()

    def read(self, row: int) -> dict[str, Raster]:
        """The rasters and dates of a patch that hold any data, and the series of its scene; see `Samples.read`."""
        tile = self._tiles[row]
        found = self.read_tile(tile)
        arrays = {}
        for modality in self.rasters:
            values = found[modality.name]
            if modality.kind is Kind.IMAGE_SERIES:
                values = values[_with_data(values, modality)]
            if not without_data(values, modality).all():
                arrays[modality.name] = values
        scene = self._scenes[tile.scene].name
        series = {name: each.of(scene) for name, each in self.values.items() if each.series is not None}
        return arrays | {name: values for name, values in series.items() if values is not None}

    def read_tile(self, tile: _Tile) -> dict[str, Raster]:
        """All modalities of a tile that have pixels, with nodata where there is nothing."""
        scene, size = self._scenes[tile.scene], self.patch_size[0]
        rasters: dict[str, Raster] = {}
        with reading_environment():
            for modality in self.rasters:
                content = scene.content[modality.name]
                if isinstance(content, Polygons):
                    drawn = content.draw(scene.grid.window_transform(tile.left, tile.top), size)
                    rasters[modality.name] = drawn[None].astype(modality.dtype, copy=False)
                    continue
                layer = self._spec.modalities[modality.name]
                if not content:  # the scene lacks it
                    nothing = np.full((len(modality.channels), size, size), np.nan)
                    if modality.kind is Kind.IMAGE_SERIES:
                        rasters[modality.name] = np.empty((0, *nothing.shape), dtype=modality.dtype)
                        continue
                    where = f"modalities.{modality.name}.optional"
                    rasters[modality.name] = fit_values(nothing, modality, warped=False, where=where)
                    continue
                if modality.kind is Kind.IMAGE_SERIES:
                    dates = [self._read_files(modality, date, tile) for date in scene.by_date(modality.name)]
                    rasters[modality.name] = np.stack(dates)
                    continue
                parts, product = [], scene.products.get(modality.name)
                classes = None
                if product is not None and product.classes is not None:
                    where = f"{patch_name(scene.name, tile)}, {modality.name}, {product.classes.file.path}"
                    classes = _read_tile(product.classes, scene.grid, tile, size, where)
                for channel, raster in enumerate(content):
                    where = f"{patch_name(scene.name, tile)}, {modality.name}, {raster.file.path}"
                    values = _read_tile(raster, scene.grid, tile, size, where)
                    if product is not None:
                        values = product.apply(values, [channel], classes)
                    parts.append(layer.stored(values, modality, scene.name, raster.place is None, where))
                rasters[modality.name] = np.concatenate(parts)
        return rasters

    def _read_files(self, modality: Modality, files: Sequence[PlacedRaster], tile: _Tile) -> Raster:
        """One date of an image series in a tile, (channels, height, width)."""
        scene, parts = self._scenes[tile.scene], []
        for raster in files:
            where = f"{patch_name(scene.name, tile)}, {modality.name}, {raster.file.path}"
            values = _read_tile(raster, scene.grid, tile, self.patch_size[0], where)
            layer = self._spec.modalities[modality.name]
            parts.append(layer.stored(values, modality, scene.name, raster.place is None, where))
        return np.concatenate(parts)


def _with_data(dates: Raster, modality: Modality) -> npt.NDArray[np.bool_]:
    """Which dates of a tile hold any data, (dates,)."""
    return np.asarray(~without_data(dates, modality).all(axis=(1, 2, 3)))


def _read_tile(raster: PlacedRaster, grid: Grid, tile: _Tile, size: int, where: str) -> Values:
    """(bands, size, size) of a tile, NaN where there are no data."""
    if raster.place is not None:
        raster = replace(raster, place=(raster.place[0] - tile.left, raster.place[1] - tile.top))
    square = grid.window(tile.left, tile.top, size, size)
    values = read_on(raster, square, where, kept_open(raster.file, where))
    return np.full((len(raster.bands), size, size), np.nan) if values is None else values


def patch_name(scene: str, tile: _Tile) -> str:
    """Id of a patch: scene, column and row in its grid of patches."""
    return f"{scene}_{tile.column}_{tile.row}"


def read_spec(path: Path, overrides: Sequence[str] = ()) -> SceneSpec:
    """The spec in a YAML file, changed by `key.path=value` words."""
    values = read_kind(path, "scenes", Scenes.title, "write one: see docs/scenes.md")
    return parse_options(SceneSpec, apply_overrides(values, overrides), path)


def open_scenes(
    spec: SceneSpec,
    folder: Path,
    size: int | None,
    overlap: int = 0,
    workers: int = 1,
    progress: Progress | None = None,
) -> SceneSamples:
    """Finds the files of a spec, looks at every patch once and indexes those that are kept.

    Args:
        spec: what to cut.
        folder: folder of the spec.
        size: side of a patch in pixels of the reference; `SIZE` by default, or that of the smallest scene.
        overlap: pixels that neighbouring patches share.
        workers: processes that read; the result does not depend on it.
        progress: called with (patches looked at, patches in all).

    Raises:
        UsageError: if size and overlap don't fit, or the spec names what is not there.
        DataError: if a file is missing or not what it should be; the message names it.
    """
    if not 0 <= overlap < (SIZE if size is None else size):
        raise UsageError(f"patches of {size} pixels can't overlap by {overlap}", fix="choose 0 <= overlap < size")
    root = folder / spec.root
    if not root.is_dir():
        raise UsageError("there is no such folder", where=root, fix="correct `root` in the spec")
    names = find_scenes(spec, root)
    with reading_environment():
        scenes, rasters, resampled = resolve_scenes(spec, root, names)
    values = {
        name: read_scene_values(name, layer, root, names)
        for name, layer in spec.modalities.items()
        if layer.table is not None
    }
    described = {modality.name: modality for modality in rasters} | {
        name: each.modality for name, each in values.items()
    }
    modalities = [described[name] for name in spec.modalities]
    if size is None:
        size = min(SIZE, *(min(scene.grid.width, scene.grid.height) for scene in scenes))
    RASTER.check(size * size * 8 * max(len(each.channels) for each in rasters), "has patches that take", spec.name)
    tiles, beyond_edge = _tiles(scenes, size, overlap)
    source = SceneSamples(spec, scenes, modalities, tiles, size, values)
    (nodata, lowest), times = _survey(source, tiles, workers, progress)
    reference = [modality.name for modality in rasters].index(spec.reference_name)
    kept = np.flatnonzero(nodata[:, reference] < 1)
    if not len(kept):
        raise DataError("no patch holds any data", where=spec.reference_name, fix="check nodata in the spec")
    source._tiles = [tiles[number] for number in kept]
    source.index = _index(source, scenes, nodata[kept], size, overlap)
    for modality in modalities:
        if modality.kind is Kind.IMAGE_SERIES:
            source.index[times_column(modality.name)] = [times[number][modality.name] for number in kept]
    for modality in modalities:
        if modality.name in values and not values[modality.name].rows:
            fix = f"fill the table, or take modalities.{modality.name} out"
            raise DataError("no scene has this modality", where=modality.name, fix=fix)
        if not source.index[f"has_{modality.name}"].any():
            fix = "check that it covers the scenes and that its coordinate reference system is right"
            raise DataError("no patch holds any data of this modality", where=modality.name, fix=fix)
    source.problems = scene_warnings(scenes, rasters, np.array([tile.scene for tile in tiles]), lowest)
    for each in values.values():
        source.problems += each.problems
    source.provenance = Provenance(
        "cut",
        facts={
            "spec": spec.recorded(),
            "size": size,
            "overlap": overlap,
            "scenes": len(scenes),
            "left_out": {"beyond_edge": beyond_edge, "no_data": len(tiles) - len(kept)},
            "warped": {name: list(where) for name, where in resampled.items()},
            "resampling": {name: dict(sorted(Counter(by.values()).items())) for name, by in resampled.items()},
            **_offsets(scenes),
        },
    )
    source.fingerprint = _fingerprint(source, scenes, root)
    return source


def _tiles(scenes: Sequence[Scene], size: int, overlap: int) -> tuple[list[_Tile], int]:
    """The tiles that lie within their scene, row by row, and how many more would stick out."""
    tiles, beyond = [], 0
    for number, scene in enumerate(scenes):
        width, height = scene.grid.width, scene.grid.height
        if min(width, height) < size:
            found = f"{width} × {height} pixels are smaller than a patch of {size}"
            raise DataError(found, where=f"scene {scene.name}", fix="choose a smaller size, or leave the scene out")
        across, down = tile_starts(width, size, overlap), tile_starts(height, size, overlap)
        if len(across) * len(down) > MOST_PATCHES:
            found = (
                f"{len(across) * len(down):,} patches would come of it, at most {MOST_PATCHES:,} are cut from a scene"
            )
            raise DataError(found, where=f"scene {scene.name}", fix="choose a larger size or a smaller overlap")
        for row, top in enumerate(down):
            tiles += [_Tile(number, column, row, left, top) for column, left in enumerate(across)]
        beyond += tiles_to_cover(width, size, overlap) * tiles_to_cover(height, size, overlap)
        beyond -= len(across) * len(down)
    return tiles, beyond


def _survey(source: SceneSamples, tiles: Sequence[_Tile], workers: int, progress: Progress | None) -> _Seen:
    """(2, tiles, modalities): share of missing values and smallest value (NaN if all are missing); and the days of each tile."""
    strips = [
        list(strip) for _, strip in groupby(tiles, key=lambda tile: (tile.scene, tile.row))
    ]  # share blocks of files
    facts: list[npt.NDArray[np.float64]] = []
    times: list[dict[str, list[float]]] = []
    done = 0
    each = in_processes(_survey_strip, source, strips, workers, where=source.name)
    for strip, found in zip(strips, each, strict=True):
        facts.append(found[0])
        times += found[1]
        done += len(strip)
        if progress:
            progress(done, len(tiles))
    return np.concatenate(facts, axis=1), times


def _survey_strip(source: SceneSamples, strip: Sequence[_Tile]) -> _Seen:
    """(2, tiles, modalities): share of missing values and smallest value; and by image series, the days of the dates with data."""
    times: list[dict[str, list[float]]] = []
    facts = np.full((2, len(strip), len(source.rasters)), np.nan)
    for number, tile in enumerate(strip):
        rasters = source.read_tile(tile)
        times.append({})
        for position, modality in enumerate(source.rasters):
            values = rasters[modality.name]
            present = values[~without_data(values, modality)]
            facts[0, number, position] = 1 - present.size / max(values.size, 1)
            facts[1, number, position] = present.min() if present.size else np.nan
            if modality.kind is Kind.IMAGE_SERIES:
                days = source._scenes[tile.scene].times.get(modality.name, ())
                seen = zip(days, _with_data(values, modality), strict=True)
                times[-1][modality.name] = [day for day, shown in seen if shown]
    return facts, times


def _block(grid: Grid, pixels: int) -> str:
    """Name of the block of a patch: a cell, of so many pixels a side, of one grid over all scenes in its reference system."""
    lattice = Grid(
        grid.crs, Affine(*(0.0 if place in (2, 5) else value for place, value in enumerate(grid.transform[:6]))), 1, 1
    )
    cells = lattice.pixel_at(*grid.place_of(grid.width / 2, grid.height / 2))
    across, down = (math.floor(cell / pixels + BLOCK_EDGE) for cell in cells)
    name = crs_name(grid.crs)
    system = name if len(name) <= LONGEST_NAME else hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{system} {grid.pixel_size[0] * pixels:g} {across}_{down}"


def _index(
    source: SceneSamples, scenes: Sequence[Scene], nodata: npt.NDArray[np.float64], size: int, overlap: int
) -> pd.DataFrame:
    rows, grids, reference = [], [], source._spec.reference_name
    centres: dict[int, list[tuple[float, float]]] = {}
    for tile in source._tiles:
        scene = scenes[tile.scene]
        grid = scene.grid.window(tile.left, tile.top, size, size)
        grids.append(grid)
        times = {name: day.isoformat() for name, day in scene.dates.items()}  # as far as files say it
        rows.append(
            {
                "patch_id": patch_name(scene.name, tile),
                "patch_id_s1": None,
                "scene": scene.name,
                SCENE_KIND: GIVEN,
                "tile": None,
                "column": tile.column,
                "row": tile.row,
                **{f"time_{name}": times.get(name) for name in ("s2", "s1")},
                **({"time": times[reference]} if reference in times and reference not in ("s2", "s1") else {}),
                "split": None,
                "block": _block(grid, (size - overlap) * source._spec.block),
            }
        )
        centres.setdefault(tile.scene, []).append(grid.place_of(size / 2, size / 2))
    index = pd.DataFrame(rows)
    places = [
        np.array(transform_places(scenes[number].grid.crs, named_crs("EPSG:4326"), *np.array(points).T))
        for number, points in centres.items()
    ]
    longitudes, latitudes = np.concatenate(places, axis=1)
    index.insert(7, "lon", longitudes)
    index.insert(8, "lat", latitudes)
    set_grids(index, grids)
    for position, modality in enumerate(source.rasters):
        index[f"has_{modality.name}"] = nodata[:, position] < 1
    for name, values in source.values.items():
        index[f"has_{name}"] = index["scene"].isin(list(values.rows))
    for position, modality in enumerate(source.rasters):
        index[f"nodata.{modality.name}"] = nodata[:, position]
    return pd.concat([index, *(each.index(index["scene"].tolist()) for each in source.values.values())], axis=1)


def _offsets(scenes: Sequence[Scene]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """What is added to each channel of Sentinel-2 products, by scene and modality, for the provenance; nothing if there are none."""
    found = {scene.name: {name: list(each.added) for name, each in scene.products.items()} for scene in scenes}
    return {"added": found} if any(found.values()) else {}


def _fingerprint(source: SceneSamples, scenes: Sequence[Scene], root: Path) -> str:
    """Digest of spec, tiling, index, and names, sizes and times of the files; the same wherever the folder lies."""
    digest = hashlib.sha256(json.dumps(source.provenance.facts, sort_keys=True).encode())
    digest.update(source.index.to_json(orient="split", double_precision=15).encode())
    for path, state in file_states(map(str, scene_paths(source._spec, scenes, root))).items():
        digest.update(f"{os.path.relpath(path, root)} {state}\0".encode())
    return digest.hexdigest()

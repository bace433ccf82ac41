"""Writes the simulated patches in the folder layout of ben-ge-800."""

import csv
import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from eofuse import __version__
from eofuse.errors import UsageError
from eofuse.locks import writes
from eofuse.modalities import WEATHER, WORLDCOVER
from eofuse.processes import in_processes, usable_cores
from eofuse.progress import Progress
from eofuse.simulation import figures as f
from eofuse.simulation.geotiff import write_geotiff
from eofuse.simulation.labels import land_labels
from eofuse.simulation.landscape import Landscape, make_landscape
from eofuse.simulation.noise import smooth_noise
from eofuse.simulation.places import to_lonlat, zone_of
from eofuse.simulation.scenes import PATCH_M, Block, Scene, plan_scenes
from eofuse.simulation.season import FOLDERS, season_dates, write_season, write_season_table
from eofuse.simulation.sensors import NATIVE_FACTOR, backscatter, reflectance, scene_gain
from eofuse.simulation.sky import season, surface_state, weather

SIZE = 120
"""Side of a patch in pixels of 10 m."""

_META = (
    "patch_id", "patch_id_s1", "timestamp_s2", "timestamp_s1", "season_s2", "season_s1", "lon", "lat",
    "climatezone",
)  # fmt: skip
_FOLDERS = ("dem", "esaworldcover", "sentinel-1", "sentinel-2", "splits")
_SPLITS = {"train": 0.6, "validation": 0.2, "test": 0.2}
_WATER_ONLY = 0

SIMULATION_FILE = "simulation.json"

MOST_DATES = 60
"""Dates of a season."""

Row = dict[str, Any]


def simulate(
    folder: str | Path,
    patches: int = 800,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
    scenes: int | None = None,
    season: int = 0,
) -> Path:
    """Writes a simulated ben-ge; see `eofuse.simulation` for what it is and what it is not for.

    The files are the same, bit for bit, for the same patches, scenes and seed, whatever the number of workers. They
    are written beside the folder and moved there at the end, so that a broken run leaves nothing half done. If the folder holds
    this very simulation, nothing is done.

    Args:
        folder: where to; its name becomes the dataset's. It must hold nothing else.
        patches: number of patches.
        seed: of everything random.
        workers: number of processes; default: one for each core that this process may use.
        progress: called with the numbers of patches written and of all patches, after each scene.
        scenes: number of scenes; by default one for every 16 patches, and at least 6.
        season: dates of a season of Sentinel-2 that stands beside (see `eofuse.simulation.season`); none by default.

    Returns:
        The folder.

    Raises:
        UsageError: if the folder holds something else, or a number makes no sense.
    """
    folder = Path(folder).absolute()
    if patches < 1:
        raise UsageError(f"can't simulate {patches} patches", fix="ask for 1 or more")
    if seed < 0:
        raise UsageError(f"the seed must not be negative (given: {seed})")
    if workers is not None and workers < 1:
        raise UsageError(f"can't work with {workers} workers", fix="ask for 1 or more")
    if scenes is not None and not 1 <= scenes <= patches:
        raise UsageError(f"can't simulate {patches} patches of {scenes} scenes", fix=f"ask for 1 to {patches} scenes")
    if not 0 <= season <= MOST_DATES:
        raise UsageError(f"can't simulate a season of {season} dates", fix=f"ask for 0 to {MOST_DATES}")
    plan = plan_scenes(patches, seed, scenes)
    facts = {"simulated": True, "seed": seed, "patches": patches, "scenes": len(plan), "eofuse": __version__}
    facts |= {"season": season} if season else {}
    if not _holds(folder, facts):  # it has its name when it is whole, so that others may read it
        _write(folder, plan, facts, workers or usable_cores(), progress)
    return folder


@writes("folder")
def _write(
    folder: Path, plan: Sequence[Scene], facts: Mapping[str, Any], workers: int, progress: Progress | None
) -> None:
    if _holds(folder, facts):  # since a moment ago
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError("exists and is not empty", where=folder, fix="name a new folder")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    try:
        season = facts.get("season", 0)
        for name in (*_FOLDERS, *(FOLDERS if season else ())):
            (partial / name).mkdir(parents=True)
        rows: list[Row] = []
        for scene_rows in in_processes(_write_scene, (partial, facts["seed"], season), plan, workers, where=folder):
            rows += scene_rows
            if progress is not None:
                progress(len(rows), facts["patches"])
        _write_tables(partial, folder.name, rows, facts["seed"])
        if season:
            write_season_table(partial, folder.name, rows)
        (partial / SIMULATION_FILE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _holds(folder: Path, facts: Mapping[str, Any]) -> bool:
    """Whether the folder holds this very simulation."""
    with suppress(OSError, ValueError):
        return bool(json.loads((folder / SIMULATION_FILE).read_text(encoding="utf-8")) == facts)
    return False


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _write_scene(shared: tuple[Path, int, int], scene: Scene) -> list[Row]:
    """Makes and writes the patches of a scene; random numbers depend on seed, scene, block and patch alone."""
    folder, seed, season = shared
    rows = []
    dates = season_dates(scene, season, _generator(seed, 6, scene.number)) if season else []
    gain = scene_gain(_generator(seed, 1, scene.number))
    for number, block in enumerate(scene.blocks):
        rng = _generator(seed, 2, scene.number, number)
        landscape = make_landscape(scene, (block.shape[0] * SIZE, block.shape[1] * SIZE), rng)
        traits = rng.standard_normal((int(landscape.parcel.max()) + 1, 4), np.float32)
        for down, across in np.ndindex(block.shape):
            row = _write_patch(scene, block, (down, across), landscape, traits, gain, folder, seed)
            if dates:
                place = block.column + across, block.row + down
                window = (slice(down * SIZE, (down + 1) * SIZE), slice(across * SIZE, (across + 1) * SIZE))
                ground = landscape.surface[window], landscape.parcel[window], traits
                own = _generator(seed, 7, scene.number, *place)
                row |= write_season(folder, scene, dates, row["patch_id"], scene.corner(*place), *ground, own) or {}
            rows.append(row)
    return rows


def _write_patch(
    scene: Scene,
    block: Block,
    place: tuple[int, int],
    landscape: Landscape,
    traits: np.ndarray,
    gain: np.ndarray,
    folder: Path,
    seed: int,
) -> Row:
    column, row = block.column + place[1], block.row + place[0]
    rng = _generator(seed, 3, scene.number, column, row)
    window = (slice(place[0] * SIZE, (place[0] + 1) * SIZE), slice(place[1] * SIZE, (place[1] + 1) * SIZE))
    surface, parcel = landscape.surface[window], landscape.parcel[window]
    elevation, worldcover = landscape.elevation_m[window], landscape.worldcover[window]
    height = float(elevation.mean())
    height_25m = 25.0 * math.floor(height / 25)
    state = surface_state(scene, height_25m, _generator(seed, 4, scene.number))  # one calendar throughout a scene
    bands = reflectance(scene, state, gain, surface, parcel, elevation, traits, rng)
    radar = backscatter(scene, state, surface, parcel, elevation, traits, rng)
    labels = land_labels(scene, surface, parcel, rng)
    bumps = 0.6 * smooth_noise(rng, elevation.shape, (3,))
    heights = np.rint(elevation + np.where((surface == f.SEA) | (surface == f.LAKE), 0, bumps))

    ulx, uly = scene.corner(column, row)
    patch_id = f"{scene.satellite_s2}_MSIL2A_{scene.time_s2:%Y%m%dT%H%M%S}_{column}_{row}"
    patch_id_s1 = f"{scene.satellite_s1}_IW_GRDH_1SDV_{scene.time_s1:%Y%m%dT%H%M%S}_{scene.tile}_{column}_{row}"
    optical, microwave = folder / "sentinel-2" / patch_id, folder / "sentinel-1" / patch_id_s1
    optical.mkdir()
    microwave.mkdir()
    for name, band in bands.items():
        write_geotiff(f"{optical}/{patch_id}_{name}.tif", band, scene.epsg, ulx, uly, 10 * NATIVE_FACTOR[name])
    for name, band in radar.items():
        write_geotiff(f"{microwave}/{patch_id_s1}_{name}.tif", band, scene.epsg, ulx, uly, 10)
    write_geotiff(f"{folder}/dem/{patch_id}_dem.tif", heights.astype(np.int16), scene.epsg, ulx, uly, 10)
    write_geotiff(f"{folder}/esaworldcover/{patch_id}_esaworldcover.tif", worldcover, scene.epsg, ulx, uly, 10)
    _write_labels(scene, labels, (ulx, uly), (patch_id, optical), (patch_id_s1, microwave))

    lon, lat = to_lonlat(scene.epsg, ulx + PATCH_M / 2, uly - PATCH_M / 2)
    count = np.bincount(worldcover.ravel(), minlength=256)
    at_sea = float((surface == f.SEA).mean()) > 0.99
    return {
        "patch_id": patch_id,
        "patch_id_s1": patch_id_s1,
        "timestamp_s2": f"{scene.time_s2:%Y-%m-%d %H:%M:%S}",
        "timestamp_s1": f"{scene.time_s1:%Y-%m-%d %H:%M:%S}",
        "season_s2": season(scene.time_s2),
        "season_s1": season(scene.time_s1),
        "lon": round(lon, 5),
        "lat": round(lat, 5),
        "climatezone": _WATER_ONLY if at_sea else zone_of(scene.climate(height)),
        "filename": f"{patch_id}_esaworldcover.tif",
        **weather(scene, 0.7 * scene.elevation_m + 0.3 * height, rng),
        **{category.name: count[category.code] / worldcover.size for category in WORLDCOVER.categories},
    }


def _write_labels(
    scene: Scene,
    labels: list[str],
    corner: tuple[float, float],
    optical: tuple[str, Path],
    microwave: tuple[str, Path],
) -> None:
    """The two label files, with the keys of BigEarthNet's (the Sentinel-1 one says `lly` for the lower edge)."""
    (ulx, uly), projection = corner, f"EPSG:{scene.epsg}"
    edges = {"ulx": ulx, "uly": uly, "lrx": ulx + PATCH_M}
    values = {
        optical: {
            "labels": labels,
            "coordinates": {**edges, "lry": uly - PATCH_M},
            "projection": projection,
            "acquisition_date": f"{scene.time_s2:%Y-%m-%d %H:%M:%S}",
        },
        microwave: {
            "labels": labels,
            "corresponding_s2_patch": optical[0],
            "coordinates": {**edges, "lly": uly - PATCH_M},
            "projection": projection,
            "acquisition_time": f"{scene.time_s1:%Y-%m-%dT%H:%M:%S}",
        },
    }
    for (name, folder), content in values.items():
        (folder / f"{name}_labels_metadata.json").write_text(json.dumps(content), encoding="utf-8")


def _write_tables(folder: Path, name: str, rows: list[Row], seed: int) -> None:
    rng = _generator(seed, 5)
    rows = [rows[i] for i in rng.permutation(len(rows))]
    ids = ("patch_id", "patch_id_s1")
    weather_names = WEATHER.channel_names
    classes = tuple(category.name for category in WORLDCOVER.categories)
    _write_csv(folder / f"{name}_meta.csv", _META, rows)
    _write_csv(folder / f"{name}_era-5.csv", (*ids, *weather_names), rows)
    _write_csv(folder / f"{name}_esaworldcover.csv", ("patch_id", "filename", *classes), rows)
    order = [rows[i]["patch_id"] for i in rng.permutation(len(rows))]
    start = 0
    for split, end in zip(_SPLITS, np.cumsum(list(_SPLITS.values())), strict=True):
        stop = round(float(end) * len(order))
        listed = "".join(f"{patch_id}\n" for patch_id in order[start:stop])
        if listed:  # an empty list would be a damaged one
            (folder / "splits" / f"{name}_{split}.csv").write_text(listed, encoding="utf-8")
        start = stop


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)

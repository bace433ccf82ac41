"""Writes tiny datasets of the ben-ge family with made-up pixels, in every known layout.

Ids, tables, folders and georeference are as in the real ones; pixels are noise. Two patches share a scene.
"""

import csv
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import rasterio
from rasterio import warp

from eofuse.data.sources.ben_ge.clc import CLC19, CLC43, group_labels
from eofuse.data.sources.ben_ge.identifiers import season_of
from eofuse.modalities import CLIMATE_ZONE, SENTINEL2, WEATHER, WORLDCOVER

EPSG = 32633
CLOCKS = ("101031", "94161", "100029", "112109", "095031", "113321")
MODALITIES = ("s2", "s1", "elevation", "worldcover", "weather", "climate_zone", "season")
WORLDCOVER_CODES = np.array([category.code for category in WORLDCOVER.categories], dtype=np.uint8)


@dataclass(frozen=True)
class FakePatch:
    """One patch: its ids, date, labels and corner."""

    number: int
    patch_id: str
    patch_id_s1: str
    scene: str
    day: date
    clock: str
    labels: list[str]
    ulx: float
    uly: float


def write_ben_ge(
    folder: Path,
    patches: int = 6,
    seed: int = 0,
    *,
    name: str = "ben-ge-800",
    layout: Literal["ben-ge", "full", "v1", "v1-flat", "v2"] = "ben-ge",
    size: int = 24,
    modalities: Collection[str] = MODALITIES,
    absent: dict[str, Sequence[int]] | None = None,
    v2_ids: bool = False,
    splits: bool = True,
    simulated: bool = False,
) -> list[FakePatch]:
    """Writes a dataset into `folder` (made if need be) and gives its patches in the order of its table.

    Args:
        folder: where the dataset's files go.
        patches: number of patches.
        seed: of pixels, labels and numbers.
        name: of the dataset; the tables are called by it.
        layout: "ben-ge" (800 and 8k), "full" (other names of tables and folders), or plain BigEarthNet.
        size: side of a patch in pixels of 10 m; a multiple of 6.
        modalities: those written.
        absent: numbers of the patches that lack a modality.
        v2_ids: whether the ids have the reBEN form (always in the layout "v2").
        splits: whether published lists are written.
        simulated: whether `simulation.json` is written.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    fakes = [_patch(number, size, rng, v2_ids or layout == "v2") for number in range(patches)]
    lacking = {modality: set((absent or {}).get(modality, ())) for modality in MODALITIES}

    def having(modality: str) -> list[FakePatch]:
        return [fake for fake in fakes if modality in modalities and fake.number not in lacking[modality]]

    s2_root, s1_root = folder / "sentinel-2", folder / "sentinel-1"
    if layout == "v1":
        s2_root, s1_root = folder / "BigEarthNet-v1.0", folder / "BigEarthNet-S1-v1.0"
    elif layout == "v1-flat":
        s2_root = s1_root = folder
    elif layout == "v2":
        s2_root, s1_root = folder / "BigEarthNet-S2", folder / "BigEarthNet-S1"
    for fake in having("s2"):
        parent = s2_root / fake.patch_id.rsplit("_", 2)[0] if layout == "v2" else s2_root
        _write_s2(parent / fake.patch_id, fake, size, rng, labels=layout != "v2")
    for fake in having("s1"):
        parent = s1_root / fake.patch_id_s1.rsplit("_", 3)[0] if layout == "v2" else s1_root
        _write_s1(parent / fake.patch_id_s1, fake, size, rng, labels=layout != "v2")
    maps = {fake.number: _land_cover(size, rng) for fake in fakes}
    if simulated:
        (folder / "simulation.json").write_text(json.dumps({"simulated": True, "seed": seed}))
    if layout == "v2":
        _write_reben_metadata(folder, fakes)
    if layout in ("ben-ge", "full"):
        for fake in having("elevation"):
            metres = rng.integers(-100, 2600, (size, size)).astype(np.int16)
            parent = folder / ("glo-30_dem" if layout == "full" else "dem")
            write_tif(parent / f"{fake.patch_id}_dem.tif", metres, fake.ulx, fake.uly)
        for fake in having("worldcover"):
            path = folder / "esaworldcover" / f"{fake.patch_id}_esaworldcover.tif"
            write_tif(path, maps[fake.number], fake.ulx, fake.uly)
        _write_meta(folder, name, layout, fakes, having, rng)
        _write_weather(folder, name, having("weather"), rng)
        _write_fractions(folder, name, having("worldcover"), maps)
        if splits:
            _write_splits(folder / "splits", name, fakes)
    return fakes


def write_tif(
    path: Path,
    values: np.ndarray,
    ulx: float,
    uly: float,
    resolution_m: float = 10,
    epsg: int | None = EPSG,
    nodata: float | None = None,
) -> None:
    """Writes (height, width) or (bands, height, width) as a GeoTIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = values.reshape(-1, *values.shape[-2:])
    profile = {
        "driver": "GTiff",
        "count": len(bands),
        "height": bands.shape[1],
        "width": bands.shape[2],
        "dtype": bands.dtype,
        "crs": None if epsg is None else f"EPSG:{epsg}",
        "transform": rasterio.Affine(resolution_m, 0, ulx, 0, -resolution_m, uly),
        "nodata": nodata,
    }
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(bands)


def edit_table(path: Path, change) -> None:
    """Applies `change` (DataFrame → DataFrame) to a CSV table."""
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


def _patch(number: int, size: int, rng: np.random.Generator, v2: bool) -> FakePatch:
    scene_number, column, row = number // 2, 10 + number % 2, 20 + number // 2
    clock = CLOCKS[scene_number % len(CLOCKS)]
    day = date(2017, 6 + scene_number % 7, 3 + scene_number // 7)
    mission = "S2B" if clock.endswith("9") or len(clock) == 5 else "S2A"
    if v2:
        clock = "094159" if len(clock) == 5 else clock
        middle = "_N9999_R022_T33UUP"
    else:
        middle = ""
    stamp = f"{day:%Y%m%d}T{clock}"
    labels = sorted(rng.choice(len(CLC43), 3, replace=False))
    return FakePatch(
        number,
        f"{mission}_MSIL2A_{stamp}{middle}_{column}_{row}",
        f"S1A_IW_GRDH_1SDV_{day:%Y%m%d}T165809_33UUP_{column}_{row}",
        f"{mission}_{day:%Y%m%d}T{'094159' if len(clock) == 5 else clock}",
        day,
        clock,
        [CLC43[label] for label in labels],
        300000.0 + column * size * 10,
        5300040.0 - row * size * 10,
    )


def _write_s2(folder: Path, fake: FakePatch, size: int, rng: np.random.Generator, labels: bool) -> None:
    for channel in SENTINEL2.channels:
        side = round(size * 10 / (channel.resolution_m or 10))
        values = rng.integers(1, 6000, (side, side)).astype(np.uint16)
        write_tif(
            folder / f"{fake.patch_id}_{channel.name}.tif", values, fake.ulx, fake.uly, channel.resolution_m or 10
        )
    if labels:
        content = {
            "labels": fake.labels,
            "coordinates": _coordinates(fake, size, "lry"),
            "projection": rasterio.crs.CRS.from_epsg(EPSG).to_wkt(),
            "tile_source": "S2A_MSIL1C.SAFE",
            "acquisition_date": f"{fake.day} 10:10:31",
        }
        (folder / f"{fake.patch_id}_labels_metadata.json").write_text(json.dumps(content))


def _write_s1(folder: Path, fake: FakePatch, size: int, rng: np.random.Generator, labels: bool) -> None:
    for band, mean in (("VV", -10), ("VH", -17)):
        decibel = rng.normal(mean, 2, (size, size)).astype(np.float32)
        write_tif(folder / f"{fake.patch_id_s1}_{band}.tif", decibel, fake.ulx, fake.uly)
    if labels:
        content = {
            "labels": fake.labels,
            "coordinates": _coordinates(fake, size, "lly"),
            "projection": rasterio.crs.CRS.from_epsg(EPSG).to_wkt(),
            "corresponding_s2_patch": fake.patch_id,
            "scene_source": "S1A_IW_GRDH_1SDV",
            "acquisition_time": f"{fake.day}T16:58:09",
        }
        (folder / f"{fake.patch_id_s1}_labels_metadata.json").write_text(json.dumps(content))


def _coordinates(fake: FakePatch, size: int, lower: str) -> dict[str, float]:
    return {"ulx": fake.ulx, "uly": fake.uly, "lrx": fake.ulx + size * 10, lower: fake.uly - size * 10}


def _land_cover(size: int, rng: np.random.Generator) -> np.ndarray:
    """Blocks of land cover, 6 pixels wide."""
    return rng.choice(WORLDCOVER_CODES, (size // 6, size // 6)).repeat(6, axis=0).repeat(6, axis=1)


def _write_meta(folder: Path, name: str, layout: str, fakes: list[FakePatch], having, rng: np.random.Generator) -> None:
    codes = [category.code for category in CLIMATE_ZONE.categories]
    zones = {fake.patch_id: int(rng.choice(codes)) for fake in having("climate_zone")}
    with_s1 = having("s1")
    rows = []
    for fake in fakes:
        stamp = f"{fake.day} 16:58:09"
        (lon,), (lat,) = warp.transform(f"EPSG:{EPSG}", "EPSG:4326", [fake.ulx + 120], [fake.uly - 120])
        rows.append(
            {
                "patch_id": fake.patch_id,
                "patch_id_s1": fake.patch_id_s1 if fake in with_s1 else "",
                "timestamp_s2": f"{fake.day} 10:00:00",
                "timestamp_s1": stamp if fake in with_s1 else "",
                "season_s2": round(season_of(fake.day), 5),
                "season_s1": round(season_of(fake.day), 5) if fake in with_s1 else "",
                "lon": round(lon, 5),
                "lat": round(lat, 5),
                "climatezone": zones.get(fake.patch_id, ""),
            }
        )
    columns = list(rows[0])
    if layout == "full":
        columns.remove("climatezone")
        _write_csv(
            folder / f"{name}_climatezones.csv",
            ["patch_id", "climatezone"],
            [{"patch_id": patch_id, "climatezone": zone} for patch_id, zone in zones.items()][::-1],
        )
    suffix = "sentinel12_meta" if layout == "full" else "meta"
    _write_csv(folder / f"{name}_{suffix}.csv", columns, rows)


def _write_weather(folder: Path, name: str, fakes: list[FakePatch], rng: np.random.Generator) -> None:
    rows = []
    for fake in reversed(fakes):
        values = [950, *rng.normal(288, 5, 2), *rng.normal(0, 3, 4), *rng.uniform(20, 100, 2)]
        row = {"patch_id": fake.patch_id, "patch_id_s1": fake.patch_id_s1}
        row.update(zip(WEATHER.channel_names, (round(float(value), 4) for value in values), strict=True))
        rows.append(row)
    if rows:
        _write_csv(folder / f"{name}_era-5.csv", ["patch_id", "patch_id_s1", *WEATHER.channel_names], rows)


def _write_fractions(folder: Path, name: str, fakes: list[FakePatch], maps: dict[int, np.ndarray]) -> None:
    names = [category.name for category in WORLDCOVER.categories]
    rows = []
    for fake in reversed(fakes):
        row = {"patch_id": fake.patch_id, "filename": f"{fake.patch_id}_esaworldcover.tif"}
        row.update((category.name, (maps[fake.number] == category.code).mean()) for category in WORLDCOVER.categories)
        rows.append(row)
    if rows:
        _write_csv(folder / f"{name}_esaworldcover.csv", ["patch_id", "filename", *names], rows)


def _write_splits(folder: Path, name: str, fakes: list[FakePatch]) -> None:
    folder.mkdir()
    parts = {"train": fakes[: len(fakes) // 2], "val": fakes[len(fakes) // 2 : -1], "test": fakes[-1:]}
    for split, members in parts.items():
        (folder / f"{name}_{split}.csv").write_text("".join(f"{fake.patch_id}\n" for fake in members))


def _write_reben_metadata(folder: Path, fakes: list[FakePatch]) -> None:
    table = pd.DataFrame(
        {
            "patch_id": [fake.patch_id for fake in fakes],
            "labels": [group_labels(fake.labels) or [CLC19[0]] for fake in fakes],
            "split": [("train", "validation", "test")[fake.number % 3] for fake in fakes],
            "country": "Austria",
            "s1_name": [fake.patch_id_s1 for fake in fakes],
            "s2v1_name": [f"{'_'.join(fake.patch_id.split('_')[:3])}_{fake.number}_0" for fake in fakes],
            "contains_seasonal_snow": [fake.number == 1 for fake in fakes],
            "contains_cloud_or_shadow": [fake.number == 2 for fake in fakes],
        }
    )
    table.to_parquet(folder / "metadata.parquet", index=False)


def _write_csv(path: Path, columns: list[str], rows: list[dict]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)

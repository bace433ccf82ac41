"""A store of as many patches as ben-ge has, for `full_size.py`: everything of the real size but the pixels.

The names are those of BigEarthNet, from its public list `s1_s2_name_country_season.csv.bz2`, and say scene, tile and date of each;
without the list they are made up. Labels are drawn tile by tile. All shards of a sensor are links to one file of random values.
"""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

from eofuse.data.sources.ben_ge.clc import CLC43, group_labels
from eofuse.data.sources.ben_ge.identifiers import parse_patch_id, parse_patch_id_s1
from eofuse.data.store.index import complete_index
from eofuse.data.store.integrity import DIGEST_BYTES, array_header
from eofuse.files import write_text
from eofuse.modalities import (
    CLIMATE_ZONE,
    ELEVATION,
    SEASON,
    SENTINEL1,
    SENTINEL2,
    WEATHER,
    WORLDCOVER,
    Category,
    Channel,
    Kind,
    Modality,
)
from eofuse.records import sealed

ALL = 590_326
MAP = "clc_map"
"""A map of 43 classes, which ben-ge does not have."""

ROWS_PER_SHARD = 1000
SIDE = 120


def make_store(folder: Path, patches: int, names: Path) -> None:
    """Writes the store: its index, one file of random values for all shards of a sensor, and its description."""
    generator = np.random.default_rng(0)
    map_classes = tuple(Category(number + 1, label) for number, label in enumerate(CLC43))
    clc_map = Modality(MAP, Kind.RASTER, (Channel("map"),), dtype="uint8", nodata=0, categories=map_classes)
    rasters = [SENTINEL2, SENTINEL1, ELEVATION, WORLDCOVER, clc_map]
    modalities = [*rasters, WEATHER, CLIMATE_ZONE, SEASON]
    index = complete_index(make_index(patches, names, rasters, CLC43, generator), modalities, "full size")
    folder.mkdir(parents=True)
    index.to_parquet(folder / "index.parquet", index=False)
    files = {"index.parquet": hashlib.sha256((folder / "index.parquet").read_bytes()).hexdigest()}
    for modality in rasters:
        (folder / modality.name).mkdir()
        values = raster_values(modality, min(ROWS_PER_SHARD, patches), generator)
        for number, start in enumerate(range(0, patches, ROWS_PER_SHARD)):
            path = folder / modality.name / f"{number:05d}.npy"
            rows = min(ROWS_PER_SHARD, patches - start)
            if number and rows == ROWS_PER_SHARD:
                os.link(folder / modality.name / "00000.npy", path)
            else:
                path.write_bytes(array_header((rows, *values.shape[1:]), modality.dtype) + values[:rows].tobytes())
            files[f"{modality.name}/{path.name}"] = "0" * 64
    digests = generator.integers(0, 256, (patches, len(rasters), DIGEST_BYTES), dtype=np.uint8)
    (folder / "patch_digests.npy").write_bytes(array_header(digests.shape, "uint8") + digests.tobytes())
    files["patch_digests.npy"] = "0" * 64
    description = {
        "format": "eofuse-store",
        "schema_version": 3,
        "name": "full size",
        "simulated": True,
        "patches": patches,
        "patch_size": [SIDE, SIDE],
        "modalities": [modality.to_dict() for modality in modalities],
        "rows_per_shard": {modality.name: ROWS_PER_SHARD for modality in rasters},
        "files": files,
        "fingerprint": hashlib.sha256(str(patches).encode()).hexdigest(),
        "provenance": {},
    }
    write_text(folder / "store.json", json.dumps(sealed(description)))


def raster_values(modality, rows: int, generator: np.random.Generator) -> np.ndarray:
    """Random values of a shard; those of classes in squares of 10 pixels."""
    shape = (rows, len(modality.channels), SIDE, SIDE)
    if modality.categories:
        codes = np.array([category.code for category in modality.categories], dtype=modality.dtype)
        few = codes[generator.integers(0, len(codes), (rows, 1, 4))]  # a patch shows some of them
        squares = np.take_along_axis(few, generator.integers(0, 4, (rows, 1, SIDE * SIDE // 100)), axis=2)
        return np.kron(squares.reshape(rows, 1, SIDE // 10, SIDE // 10), np.ones((10, 10), dtype=modality.dtype))
    if modality.dtype == "float32":
        return generator.standard_normal(shape, dtype=np.float32) * 3 - 14
    return generator.integers(1, 2000, shape).astype(modality.dtype)


def make_index(
    patches: int, names: Path, rasters, labels: tuple[str, ...], generator: np.random.Generator
) -> pd.DataFrame:
    """A row a patch, as packing ben-ge gives it."""
    file = names / "s1_s2_name_country_season.csv.bz2"
    listed = pd.read_csv(file) if file.is_file() else made_up(patches)
    listed = listed.sort_values("s2_name").iloc[: patches if patches < len(listed) else None]
    if patches < ALL and file.is_file():
        listed = pd.read_csv(file).sample(patches, random_state=0).sort_values("s2_name")
    own = [parse_patch_id(name) for name in listed["s2_name"]]
    radar = [parse_patch_id_s1(name) for name in listed["s1_name"]]
    tiles = np.array([name.tile for name in radar], dtype=object)
    codes, known = pd.factorize(tiles)
    column, row = (np.array([getattr(name, key) for name in own]) for key in ("column", "row"))
    zone = np.array([int(tile[:2]) for tile in known])[codes]
    east = 300_000 + 1200.0 * column + 100_000 * (codes % 3)
    north = 3_500_000 + 110_000.0 * (codes // 3) - 1200.0 * row
    of_tile = [generator.choice(len(labels), 8, replace=False) for _ in known]
    drawn = [
        sorted(labels[number] for number in of_tile[code][: 1 + int(count)])
        for code, count in zip(codes, generator.integers(0, 5, len(codes)), strict=True)
    ]
    groups: dict[tuple[str, ...], list[str]] = {}
    labels_19 = [groups.setdefault(tuple(each), group_labels(each)) for each in drawn]
    values: dict[str, object] = {
        "patch_id": listed["s2_name"].to_numpy(dtype=object),
        "patch_id_s1": listed["s1_name"].to_numpy(dtype=object),
        "scene": [name.scene for name in own],
        "tile": tiles,
        "column": column,
        "row": row,
        "lon": 6.0 * zone - 183 + (east - 500_000) / 80_000,
        "lat": north / 111_000,
        "crs": [f"EPSG:{32600 + number}" for number in zone],
        "ulx": east,
        "uly": north,
        "grid_a": 10.0,
        "grid_b": 0.0,
        "grid_d": 0.0,
        "grid_e": -10.0,
        "grid_width": float(SIDE),
        "grid_height": float(SIDE),
        "time_s2": [name.time for name in own],
        "time_s1": [name.time for name in radar],
        "labels_43": drawn,
        "labels_19": labels_19,
        "has_weather": True,
        "has_climate_zone": True,
        "has_season": True,
    }
    zones = np.array([category.code for category in CLIMATE_ZONE.categories])
    values["climate_zone.climatezone"] = zones[codes % len(zones)].astype(np.int16)
    for modality in (WEATHER, SEASON):
        for channel in modality.channel_names:
            values[f"{modality.name}.{channel}"] = generator.random(len(codes))
    shares = generator.dirichlet(np.full(len(WORLDCOVER.categories), 0.3), len(codes))
    values |= {f"worldcover_fraction.{each.name}": shares[:, n] for n, each in enumerate(WORLDCOVER.categories)}
    for modality in rasters:
        values[f"has_{modality.name}"] = True
        if not modality.categories:
            values[f"empty_bands.{modality.name}"] = [[] for _ in codes]
    return pd.DataFrame(values)


def made_up(patches: int) -> pd.DataFrame:
    """Names of scenes and tiles of about the size of BigEarthNet's."""
    number = np.arange(patches)
    scene = number // 4800
    day, clock = scene % 28 + 1, 100_001 + 10 * scene
    place = [f"{(n // 90) % 54}_{n % 90}" for n in number % 4800]
    s2 = [f"S2A_MSIL2A_201706{d:02d}T{c}_{p}" for d, c, p in zip(day, clock, place, strict=True)]
    s1 = [
        f"S1A_IW_GRDH_1SDV_201706{d:02d}T165809_{33 + s % 5}UU{chr(65 + s % 22)}_{p}"
        for d, s, p in zip(day, scene, place, strict=True)
    ]
    return pd.DataFrame({"s2_name": s2, "s1_name": s1})

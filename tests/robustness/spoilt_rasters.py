"""Rasters and tables as libraries write them, with odd georeferences, types, sizes, names and cells."""

import math
import random
from pathlib import Path
from typing import Any

import numpy as np

from .mutations import HOSTILE

NUMBERS = (0.0, 1.0, -1.0, 10.0, 1e-300, 1e-12, 1e12, 1e300, math.nan, math.inf, -math.inf, 180.0, 5e5)
SYSTEMS = (
    "EPSG:32633",
    "EPSG:4326",
    "EPSG:3857",
    "EPSG:3031",
    "EPSG:4978",
    "EPSG:5773",
    "EPSG:27700",
    "EPSG:2193",
    'LOCAL_CS["a",UNIT["m",1]]',
    "+proj=ortho +lat_0=90",
    "+proj=ob_tran +o_proj=longlat +o_lat_p=0 +o_lon_p=0 +lon_0=90",
    "+proj=geos +h=35785831 +lon_0=0",
    None,
)
TYPES = ("uint8", "int16", "uint16", "int32", "uint32", "float32", "float64", "complex64", "int8", "int64")


def spoil_raster(path: Path, source: random.Random) -> str:
    """Writes another raster in place of one; gives what is odd about it."""
    import rasterio
    from affine import Affine

    with rasterio.open(path) as file:
        profile, values, names = dict(file.profile), file.read(), list(file.descriptions)
    words = []
    for _ in range(source.choice([1, 1, 2, 3])):
        what = source.choice(
            ["place", "place", "system", "system", "type", "size", "nodata", "values", "names", "scale", "bands"]
        )
        if what == "place":
            numbers = list(profile["transform"][:6])
            numbers[source.randrange(6)] = source.choice(NUMBERS)
            profile["transform"] = Affine(*numbers)
        elif what == "system":
            profile["crs"] = source.choice(SYSTEMS)
        elif what == "type":
            profile["dtype"] = source.choice(TYPES)
            profile["nodata"] = None
            with np.errstate(all="ignore"):
                values = values.astype(profile["dtype"])
        elif what == "size":
            height, width = source.choice([(1, 1), (1, 300), (40, 40), (41, 39), (1000, 3)])
            values = np.resize(values, (len(values), height, width))
        elif what == "nodata":
            profile["nodata"] = source.choice([0, 1, 255, -1, math.nan, math.inf, 1e300, None])
        elif what == "values":
            filler: Any = source.choice([0, 1, 255, math.nan, math.inf, -math.inf, 1e38])
            with np.errstate(all="ignore"):
                values = np.where(np.random.default_rng(0).random(values.shape) < 0.5, values, filler).astype(
                    values.dtype
                )
        elif what == "names":
            names = [source.choice(["", "a", "\x1b[31m", "é" * 200, "B04", "[/red]", " "]) for _ in names]
        elif what == "bands":
            values = np.concatenate([values] * source.choice([2, 30]))
            names = [*names] * (len(values) // len(names))
        elif what == "scale":
            profile["scales"] = source.choice(NUMBERS)
        words.append(what)
    scale = profile.pop("scales", None)
    profile |= {"count": len(values), "height": values.shape[1], "width": values.shape[2]}
    for key in ("blockxsize", "blockysize", "tiled", "interleave"):
        profile.pop(key, None)
    try:
        with rasterio.open(path, "w", **profile) as file:
            file.write(values)
            file.descriptions = names
            if scale is not None:
                file.scales = [scale] * len(values)
    except Exception as error:  # rasterio itself refuses it
        return f"no {' and '.join(words)}: {error}"
    return (
        f"{', '.join(words)}: {profile['crs']}, {tuple(profile['transform'][:6])}, {profile['dtype']}, {values.shape}"
    )


def spoil_table(path: Path, source: random.Random) -> str:
    """Writes another Parquet file in place of one; gives what is odd about it."""
    import pandas as pd

    table = pd.read_parquet(path)
    words = []
    for _ in range(source.choice([1, 1, 2, 3])):
        name = source.choice(list(table.columns))
        what = source.choice(["cell", "cell", "cell", "column", "name", "rows", "dates", "lists", "index", "bytes"])
        value = source.choice([each for each in HOSTILE if not isinstance(each, dict)])
        if what in ("cell", "column"):
            cells = table[name].astype(object).tolist()
            chosen = range(len(cells)) if what == "column" or not cells else [source.randrange(len(cells))]
            for row in chosen:
                cells[row] = value
            table[name] = pd.Series(cells, dtype=object)
        elif what == "name":
            table = table.rename(
                columns={name: source.choice(["", "\0", "lon", "patch_id", "has_s2", "x" * 300, " ", "a.b"])}
            )
        elif what == "rows":
            table = table.iloc[: source.choice([0, 1])] if source.random() < 0.5 else pd.concat([table] * 2)
        elif what == "dates":
            dates = ["2024-02-30", "1677-01-01", "9999-12-31", "now", "20240101", "2024-W01", "0", "2024-01-01T25:00"]
            table[name] = [source.choice(dates) for _ in range(len(table))]
        elif what == "lists":
            table[name] = [[1, None, "a"][: row % 4] for row in range(len(table))]
        elif what == "index":
            table = table.set_index(name)
        elif what == "bytes":
            table[name] = [bytes([row % 256]) for row in range(len(table))]
        words.append(f"{name} {what}")
        if not len(table.columns):
            break
    try:
        table.to_parquet(path)
    except Exception:  # pandas itself refuses it
        return f"no {' and '.join(words)}"
    return ", ".join(words)

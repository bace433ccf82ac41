"""Sound inputs that only the fuzzer needs: scenes with polygons, a table with rasters, boxes, an annotation order, weights."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely

from .cases import World
from .commands import eofuse, in_fork, survivors
from .door_inputs import DOORS
from .inputs import DATA, made, raster, write

RECIPES = {
    "boxes.yaml": f"""
name: boxes
{DATA}
inputs: [s2]
task: {{target: boxes, file: MADE/boxes.json, others: empty}}
fusion: {{strategy: single, encoder: test_resnet}}
train: {{steps: 2, batch_size: 4, evaluations: 1}}
""",
    "start.yaml": f"""
name: start
{DATA}
inputs: [s1, s2]
task: {{target: dominant_land_cover}}
fusion: {{strategy: late, encoder: test_resnet}}
start: {{from: run}}
train: {{steps: 2, batch_size: 4, evaluations: 1}}
""",
}


def own_input(world: World, name: str) -> Path:
    """The path of an input, of the fuzzer or of all harnesses, which is made the first time."""
    if name in RECIPES:
        folder = str(world.root / "made")
        return world.made(name, lambda path: write(path, RECIPES[name].replace("MADE", folder)))
    if name == "stopped":
        study = made(world, "study")
        return world.made(name, lambda path: in_fork(lambda: _stop(study, path)))
    if name == "begun":
        recipe = made(world, "run.yaml")
        return world.made(name, lambda path: _begin(recipe, path))
    if name in DOORS:
        return world.made(name, lambda path: in_fork(lambda: DOORS[name](path)))
    makers = {"scenes": _scenes, "table": _table, "boxes.json": _coco, "boxes.geojson": _geojson, "order.csv": _order}
    makers["maps of classes"] = _maps
    if name not in makers:
        return made(world, name)
    store = made(world, "a.store")
    return world.made(name, lambda path: in_fork(lambda: makers[name](path, store)))


def _begin(recipe: Path, folder: Path) -> None:
    """A run that was killed when it had written its second checkpoint."""

    def before() -> None:
        from eofuse.learning import loop

        save, calls = loop.save, [0]

        def save_and_end(*arguments: Any) -> None:
            save(*arguments)
            calls[0] += 1
            if calls[0] == 2:
                os.kill(os.getpid(), signal.SIGKILL)

        loop.save = save_and_end

    ended = eofuse(["train", recipe, "--to", folder], folder.parent, before, limit_s=300)
    if ended.status != -signal.SIGKILL or survivors():
        raise AssertionError(f"{ended.status}\n{ended.output}\n{ended.error}")


def _stop(study: Path, folder: Path) -> None:
    """A study as it lies there when its processes were killed in its last run: they held it and the run, and left no tables."""
    from eofuse import locks
    from eofuse.learning.facts import RESULT_FILE, TEST_FILE
    from eofuse.studies import claims
    from eofuse.studies.failures import Failure, note_failure

    stopped = folder / "study"
    shutil.copytree(study, stopped)
    for path in stopped.iterdir():
        if path.is_file() and path.name not in ("study.yaml", "cost.json"):
            path.unlink()
    cells = sorted(path for path in (stopped / "cells").iterdir() if (path / TEST_FILE).is_file())
    for name in (RESULT_FILE, TEST_FILE):
        (cells[-1] / name).unlink()
    note_failure(cells[-1], Failure("ended", "its process ended"))
    for path in (stopped, cells[-1]):  # nobody gives them back
        claims._acquire(path, 0, None)
        locks._acquire(path, write=True, until=0)


SHAPES = {"gpkg": "GPKG", "fgb": "FlatGeobuf", "shp": "ESRI Shapefile"}
"""Formats of polygons besides GeoJSON, by the ending of their files."""


def _scenes(folder: Path, store: Path) -> None:
    """Two scenes with optical bands, a height on another grid, and fields as polygons."""
    random = np.random.default_rng(0)
    for number, left in enumerate((500_000, 600_000)):
        optical = random.integers(1, 3000, (3, 120, 120)).astype(np.uint16)
        raster(folder / f"{number}_optical.tif", optical, (left, 5e6, 10), compress="deflate")
        height = random.normal(300, 20, (1, 50, 50)).astype(np.float32)
        raster(folder / f"{number}_height.tif", height, (left - 100, 5e6 + 100, 30), nodata=-9999)
    ring = [[15.0, 45.15], [15.01, 45.15], [15.01, 45.148], [15.0, 45.15]]
    polygons = [
        {"type": "Polygon", "coordinates": [ring]},
        {"type": "MultiPolygon", "coordinates": [[ring, ring[::-1]]]},
    ]
    names = ["wheat", 2]
    features = [
        {"type": "Feature", "properties": {"crop": name, "farm": "a"}, "geometry": polygon}
        for name, polygon in zip(names, polygons, strict=True)
    ]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
    collection = {"type": "FeatureCollection", "crs": crs, "features": features}
    (folder / "fields.geojson").write_text(json.dumps(collection), encoding="utf-8")
    text = """
name: scenes
modalities:
  optical: {files: "{scene}_optical.tif", channels: [B02, B03, B04], unit: reflectance, scale: 0.0001}
  height: {files: "{scene}_height.tif", unit: m, resampling: bilinear}
  crop: {polygons: {file: fields.geojson, property: crop}, categories: {1: wheat, 2: {name: maize, colour: "#e8c000"}}}
block: 2
"""
    write(folder / "scenes.yaml", text)
    triangle = shapely.to_wkb(shapely.Polygon(ring))
    for suffix, driver in SHAPES.items():
        pyogrio.raw.write(
            folder / f"fields.{suffix}",
            np.array([triangle, triangle], dtype=object),
            [np.array(["wheat", "maize"], dtype=object)],
            ["crop"],
            crs="EPSG:4326",
            geometry_type="Polygon",
            driver=driver,
        )
        write(folder / f"{suffix}.yaml", text.replace("fields.geojson", f"fields.{suffix}"))


def _table(folder: Path, store: Path) -> None:
    """A table of eight plots with every kind of column, and pictures and rasters beside it; as CSV and as Parquet."""
    import pandas as pd

    random = np.random.default_rng(0)
    count = 8
    table = pd.DataFrame(
        {
            "plot": [f"p{number}" for number in range(count)],
            "site": [f"site {number // 2}" for number in range(count)],
            "fold": [("train", "val", "test")[number % 3] for number in range(count)],
            "x": 500_000 + 1000.0 * np.arange(count),
            "y": 5e6 + 1000.0 * np.arange(count),
            "day": [f"2024-06-{number + 1:02d}" for number in range(count)],
            "temperature": 280 + np.arange(count) / 2,
            "rain": np.arange(count) * 2.0,
            "soil": [("clay", "sand")[number % 2] for number in range(count)],
            **{f"ndvi_t{step}": np.round(random.random(count), 3) for step in range(3)},
            **{f"date_t{step}": [f"2024-0{4 + step}-{number + 1:02d}" for number in range(count)] for step in range(3)},
            "crop": [("wheat", "maize")[number % 2] for number in range(count)],
            "tags": [("a;b", "a")[number % 2] for number in range(count)],
            "biomass [t/ha]": np.arange(count) * 1.7,
        }
    )
    for number in range(count):
        values = random.integers(1, 3000, (3, 24, 24)).astype(np.uint16)
        raster(folder / "optical" / f"p{number}.tif", values, (500_000 + 1000 * number, 5e6, 10))
        picture = random.integers(0, 255, (3, 24, 24)).astype(np.uint8)
        raster(folder / "optical" / f"p{number}.png", picture, (0, 0, 1), None, driver="PNG", transform=None)
    table.to_csv(folder / "plots.csv", index=False)
    table.to_parquet(folder / "plots.parquet")
    text = """
name: plots
table: plots.csv
id: plot
scene: site
split: fold
lon: x
lat: y
crs: EPSG:32633
time: day
labels: {crop: class, tags: {kind: list, separator: ";"}, "biomass [t/ha]": number}
parse: [{column: plot, pattern: "p(?P<number>[0-9]+)"}]
modalities:
  optical: {kind: raster, files: "optical/{plot}.tif", bands: [B02, B03, B04], optional: true}
  picture: {kind: raster, files: "optical/{plot}.png"}
  weather: {kind: vector, columns: [temperature, rain], unit: {temperature: K, rain: mm}}
  soil: {kind: category, column: soil}
  ndvi: {kind: series, columns: "ndvi_t{step}", date_columns: "date_t{step}"}
"""
    write(folder / "table.yaml", text)
    write(folder / "parquet.yaml", text.replace("plots.csv", "plots.parquet"))


def _ids(store: Path) -> list[str]:
    import pandas as pd

    return [str(name) for name in pd.read_parquet(store / "index.parquet")["patch_id"]]


def _coco(path: Path, store: Path) -> None:
    names = _ids(store)
    images = [
        {"id": number, "file_name": f"images/{name}.tif", "width": 120, "height": 120}
        for number, name in enumerate(names)
    ]
    boxes = [
        {"id": number, "image_id": number, "category_id": number % 2, "bbox": [50 + number, 50, 20, 15], "iscrowd": 0}
        for number in range(len(names))
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(("field", "pond"))]
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}), encoding="utf-8")


def _geojson(path: Path, store: Path) -> None:
    ring = [[50, 50], [70, 50], [70, 65], [50, 50]]
    features = [
        {
            "type": "Feature",
            "properties": {"patch_id": name, "class": ("field", "pond")[number % 2]},
            "geometry": {"type": "Polygon", "coordinates": [ring]},
        }
        for number, name in enumerate(_ids(store))
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")


def _order(path: Path, store: Path) -> None:
    path.write_text(
        "patch_id,score\n" + "".join(f"{name},{number}\n" for number, name in enumerate(_ids(store))), encoding="utf-8"
    )


def _maps(folder: Path, store: Path) -> None:
    """A map of classes, and labelled points of it as GeoPackage, GeoJSON and CSV."""
    import pandas as pd
    import rasterio

    import eofuse

    names = {1: "water", 2: "forest", 3: "crops"}
    mapped = np.random.default_rng(0).integers(1, 4, (1, 60, 60)).astype(np.uint8)
    raster(folder / "map.tif", mapped, (500_000, 5e6, 10), nodata=255)
    with rasterio.open(folder / "map.tif", "r+") as file:
        file.update_tags(1, **{f"class_{code}": name for code, name in names.items()})
    for suffix in ("gpkg", "csv", "geojson"):
        eofuse.sample_map(folder / "map.tif", folder / f"points.{suffix}", 40, smallest=8, overwrite=True)
    points = json.loads((folder / "points.geojson").read_text())
    labels = [names[1 + number % 3] for number in range(len(points["features"]))]
    for feature, label in zip(points["features"], labels, strict=True):
        feature["properties"]["class"] = label
    (folder / "points.geojson").write_text(json.dumps(points))
    table = pd.read_csv(folder / "points.csv").assign(**{"class": labels})
    table.to_csv(folder / "points.csv", index=False)
    meta, _, geometry, (ids, _) = pyogrio.raw.read(folder / "points.gpkg")
    (folder / "points.gpkg").unlink()
    fields = [ids, np.array(labels, dtype=object)]
    pyogrio.raw.write(folder / "points.gpkg", geometry, fields, meta["fields"], crs=meta["crs"], geometry_type="Point")

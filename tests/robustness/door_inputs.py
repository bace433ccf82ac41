"""Sound inputs from elsewhere: a catalogue of scenes with labels, arrays, class folders, masks, a Hugging Face folder."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from .inputs import raster, write

CORNER = (500_000.0, 5_000_000.0)
"""Where the two tiles of the catalogue meet, in EPSG:32633."""
SIDE = 96
COUNT = 8


def catalogue(folder: Path) -> None:
    """A static catalogue of two tiles with two dates of optical bands and a height, labelled points beside it, and a spec of both."""
    items: dict[str, list[dict[str, Any]]] = {"optical": [], "height": []}
    random = np.random.default_rng(0)
    for tile in range(2):
        left, top = CORNER[0] + tile * SIDE * 10, CORNER[1]
        for day in ("2023-07-10", "2023-07-22"):
            name = f"S2_{tile}_{day}"
            assets = {}
            for band in ("B02", "B03"):
                values = random.integers(1, 3000, (1, SIDE, SIDE)).astype(np.uint16)
                raster(folder / "pixels" / f"{name}_{band}.tif", values, (left, top, 10), nodata=0)
                assets[band] = f"../pixels/{name}_{band}.tif"
            classes = random.choice([4, 5, 9], (1, SIDE // 2, SIDE // 2)).astype(np.uint8)
            raster(folder / "pixels" / f"{name}_SCL.tif", classes, (left, top, 20), nodata=0)
            assets["SCL"] = f"../pixels/{name}_SCL.tif"
            facts = {"eo:cloud_cover": 12.5, "s2:processing_baseline": "05.09"}
            items["optical"].append(_item(name, "optical", f"{day}T10:10:31Z", (left, top), assets, facts))
        height = random.normal(300, 50, (1, SIDE // 3, SIDE // 3)).astype(np.float32)
        raster(folder / "pixels" / f"height_{tile}.tif", height, (left, top, 30), nodata=-9999)
        assets = {"data": f"../pixels/height_{tile}.tif"}
        items["height"].append(_item(f"DEM_{tile}", "height", "2021-01-01T00:00:00Z", (left, top), assets, {}))
    for name, members in items.items():
        for item in members:
            _json(folder / name / f"{item['id']}.json", item)
        links = [{"rel": "item", "href": f"./{item['id']}.json"} for item in members]
        extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
        _json(
            folder / name / "collection.json",
            {"type": "Collection", "stac_version": "1.0.0", "id": name, "description": name, "license": "CC0-1.0"}
            | {"extent": extent, "links": links},
        )
    links = [{"rel": "child", "href": f"./{name}/collection.json"} for name in items]
    _json(
        folder / "catalog.json",
        {"type": "Catalog", "stac_version": "1.0.0", "id": "archive", "description": "archive", "links": links},
    )
    _labels(folder)
    write(
        folder / "collect.yaml",
        """
name: fields
labels: {file: fields.csv, property: crop, lon: lon, lat: lat}
patch: {size: 16, resolution: 10}
time: {column: surveyed, within: 30 days}
modalities:
  s2: {stac: catalog.json, collection: optical, assets: [B02, B03], cloud: 50, choose: least_cloudy, mask: scl}
  dates: {stac: catalog.json, collection: optical, assets: {B02: B02}, choose: steps, time: any}
  height: {stac: catalog.json, collection: height, assets: [data], unit: m, time: any}
""",
    )
    write(
        folder / "masks.yaml",
        """
name: masks
labels: {file: fields.geojson, property: crop, as: mask}
patch: {size: 16, resolution: 10}
time: {from: "2023-07-01", to: "2023-07-31"}
modalities:
  s2: {stac: catalog.json, collection: optical, assets: [B02, B03], choose: median, mask: {asset: SCL, classes: [9]}}
""",
    )


def _degrees(x: Any, y: Any) -> tuple[Any, Any]:
    import pyproj

    found: tuple[Any, Any] = pyproj.Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True).transform(x, y)
    return found


def _item(
    name: str, collection: str, when: str, corner: tuple[float, float], assets: dict[str, str], facts: dict[str, Any]
) -> dict[str, Any]:
    (left, top), side = corner, SIDE * 10.0
    x = [left, left + side, left + side, left, left]
    y = [top - side, top - side, top, top, top - side]
    lon, lat = _degrees(x, y)
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": collection,
        "geometry": {"type": "Polygon", "coordinates": [[list(point) for point in zip(lon, lat, strict=True)]]},
        "bbox": [min(lon), min(lat), max(lon), max(lat)],
        "properties": {"datetime": when, "proj:code": "EPSG:32633", **facts},
        "links": [],
        "assets": {key: {"href": href, "roles": ["data"]} for key, href in assets.items()},
    }


def _labels(folder: Path) -> None:
    """Surveyed points in the tiles, and fields around them."""
    random = np.random.default_rng(1)
    x = CORNER[0] + random.uniform(100, 2 * SIDE * 10 - 100, COUNT)
    y = CORNER[1] - random.uniform(100, SIDE * 10 - 100, COUNT)
    lon, lat = _degrees(x, y)
    crops = [("wheat", "maize")[number % 2] for number in range(COUNT)]
    rows = "".join(f"f{n},{lon[n]:.6f},{lat[n]:.6f},{crops[n]},2023-07-{12 + n}\n" for n in range(COUNT))
    write(folder / "fields.csv", "id,lon,lat,crop,surveyed\n" + rows)
    features = []
    for number, crop in enumerate(crops):
        ring = [(-30, -30), (30, -30), (30, 30), (-30, -30)]
        corners = [list(map(float, _degrees(x[number] + right, y[number] + up))) for right, up in ring]
        geometry = {"type": "Polygon", "coordinates": [corners]}
        features.append({"type": "Feature", "properties": {"crop": crop}, "geometry": geometry})
    _json(folder / "fields.geojson", {"type": "FeatureCollection", "features": features})


def arrays(folder: Path) -> None:
    """All patches in one file, of every format of arrays that is a file; series of images as stacks; a table and a spec."""
    import h5py
    import xarray as xr

    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    images = random.integers(1, 3000, (COUNT, 2, 16, 16)).astype(np.uint16)
    np.save(folder / "chips.npy", images)
    np.savez(folder / "more.npz", ndvi=random.random((COUNT, 5)), features=random.random((COUNT, 4)))
    with h5py.File(folder / "masks.h5", "w") as file:
        file.create_dataset("masks", data=(images[:, 0] > 1500).astype(np.uint8), chunks=(2, 8, 8), compression="gzip")
    bands = xr.Dataset({"reflectance": (("patch", "band", "y", "x"), images)}, {"band": ["B02", "B03"]})
    bands.to_netcdf(folder / "bands.nc", engine="h5netcdf")
    for number in range(COUNT):
        np.save(folder / f"p{number}.npy", images[number, :, None] + np.zeros((2, 3, 1, 1), dtype=np.uint16))
    write(folder / "dates.json", json.dumps(["2023-04-03", "2023-06-01"]))
    rows = "".join(f"p{number},{'ab'[number % 2]}\n" for number in range(COUNT))
    write(folder / "samples.csv", "id,label\n" + rows)
    write(
        folder / "spec.yaml",
        """
name: arrays
table: samples.csv
id: id
labels: {label: class}
modalities:
  chips: {files: chips.npy, rows: true, bands: [B02, B03]}
  bands: {files: bands.nc, variables: reflectance, rows: true}
  masks: {files: masks.h5, variables: masks, rows: true, categories: {0: low, 1: high}}
  ndvi: {kind: series, files: more.npz, variables: ndvi, rows: true}
  features: {kind: vector, files: more.npz, variables: features, rows: true}
  season: {kind: image_series, files: "{id}.npy", date_files: dates.json, bands: [a, b, c]}
""",
    )


def pictures(folder: Path) -> None:
    """JPEGs in class folders, and images with masks that have a palette."""
    from PIL import Image

    random = np.random.default_rng(0)
    for number in range(COUNT):
        colours = random.integers(0, 255, (20, 20, 3)).astype(np.uint8)
        mask = Image.fromarray((colours[..., 0] // 90).astype(np.uint8))
        mask.putpalette((0, 0, 0, 0, 128, 0, 250, 200, 0))
        for path, image in {
            folder / "classes" / "ab"[number % 2] / f"{number}.jpg": Image.fromarray(colours),
            folder / "segmented" / "images" / f"{number}.png": Image.fromarray(colours),
            folder / "segmented" / "masks" / f"{number}.png": mask,
        }.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
    write(folder / "segmented.csv", "id\n" + "".join(f"{number}\n" for number in range(COUNT)))
    write(
        folder / "segmented.yaml",
        """
name: segmented
table: segmented.csv
id: id
modalities:
  images: {files: "segmented/images/{id}.png"}
  masks: {files: "segmented/masks/{id}.png", categories: {0: none, 1: low, 2: high}}
""",
    )


def hub(folder: Path) -> None:
    """A folder of Hugging Face `datasets`: Parquet with images in cells."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    cells = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {"image": {"_type": "Image"}, "label": {"names": ["a", "b"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    random = np.random.default_rng(0)
    for part, rows in {"train-00000-of-00001": range(5), "test-00000-of-00001": range(5, COUNT)}.items():
        images = []
        for _ in rows:
            file = io.BytesIO()
            Image.fromarray(random.integers(0, 255, (20, 20, 3)).astype(np.uint8)).save(file, "PNG")
            images.append({"bytes": file.getvalue(), "path": None})
        table = pa.table({"image": pa.array(images, cells), "label": pa.array([row % 2 for row in rows])})
        path = folder / "data" / f"{part}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.replace_schema_metadata(metadata), path)


def _json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, json.dumps(content))


DOORS = {"catalogue": catalogue, "arrays": arrays, "pictures": pictures, "hub": hub}
"""Input → what makes it at a path."""

"""A static catalogue of real pixels (TerraMesh) in four UTM zones: tiles that meet at a corner, and tiles on either side of ±180°."""

import json
from pathlib import Path

import numpy as np
import pyproj
import rasterio
import shapely
from rasterio.transform import Affine

BANDS = ("B02", "B03", "B04", "B08")
POSITIONS = (1, 2, 3, 7)
SITES = ("282D_485L_3_3", "609U_541L_3_0", "38D_378R_2_3", "433D_629L_3_1")
SIDE = 224
CORNER = (402_200.0, 4_997_800.0)
"""Where four tiles of zone 33 meet."""


def tiles():
    """Name → reference system, left, top, and site of each tile."""
    x, y = CORNER
    found = {
        "33NW": ("EPSG:32633", x - 2240, y + 2240, 0),
        "33NE": ("EPSG:32633", x, y + 2240, 1),
        "33SW": ("EPSG:32633", x - 2240, y, 2),
        "33SE": ("EPSG:32633", x, y, 3),
        "18S": ("EPSG:32718", 717_730.0, 5_700_090.0, 3),
    }
    west = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32760", always_xy=True).transform(180, -17)
    east = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32701", always_xy=True).transform(-180, -17)
    middle = np.floor(np.array([west, east]) / 10) * 10
    found["60S"] = ("EPSG:32760", middle[0, 0] - 2240, middle[0, 1] + 1120, 0)
    found["01S"] = ("EPSG:32701", middle[1, 0], middle[1, 1] + 1120, 1)
    return found


def degrees(crs, x, y):
    return pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)


def pixels(shared, site):
    with rasterio.open(shared / "realdata" / "terramesh-4" / "S2L2A" / f"{SITES[site]}.tif") as file:
        return file.read(list(POSITIONS)).clip(1).astype("uint16")


def other(shared, site, layer):
    with rasterio.open(shared / "realdata" / "terramesh-4" / layer / f"{SITES[site]}.tif") as file:
        return file.read()


def write_tif(path, values, crs, left, top, pixel=10.0, nodata=None, block=64):
    """A tiled GeoTIFF whose overviews hold something else than its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff",
        "count": len(values),
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype,
    }
    profile |= {"crs": crs, "transform": Affine(pixel, 0, left, 0, -pixel, top), "nodata": nodata}
    with rasterio.open(
        path, "w", **profile, tiled=True, blockxsize=block, blockysize=block, compress="deflate"
    ) as file:
        file.write(np.full_like(values, 7777 if values.dtype == "uint16" else 3))
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4])
    with rasterio.open(path, "r+") as file:
        file.write(values)


def outline(crs, left, top, side=SIDE * 10.0):
    corners = [(left, top - side), (left + side, top - side), (left + side, top), (left, top), (left, top - side)]
    return [list(degrees(crs, x, y)) for x, y in corners]


def item(name, collection, when, ring, assets, **properties):
    polygon = shapely.Polygon(ring)
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": collection,
        "geometry": shapely.geometry.mapping(polygon),
        "bbox": list(polygon.bounds),
        "properties": {"datetime": when, **properties},
        "links": [],
        "assets": {key: {"href": href, "roles": roles} for key, (href, roles) in assets.items()},
    }


def write_archive(folder: Path, shared: Path) -> Path:
    """Writes the catalogue; gives its catalog.json."""
    items = {"s2-l2a": [], "s1-rtc": [], "dem": []}
    for name, (crs, left, top, site) in tiles().items():
        ring = outline(crs, left, top)
        code = {"proj:code": crs}
        clear = pixels(shared, site)
        for date, cloud, values in (("2023-07-10", 4.0, clear), ("2023-07-22", 70.0, clear[:, ::-1])):
            if cloud > 50 and name != "33NW":
                continue
            key, assets = f"S2_{name}_{date.replace('-', '')}", {}
            for band, layer in zip(BANDS, values, strict=True):
                write_tif(folder / "s2" / key / f"{band}.tif", layer[None], crs, left, top, nodata=0)
                assets[band] = (f"../s2/{key}/{band}.tif", ["data"])
            classes = np.full((1, SIDE // 2, SIDE // 2), 4, dtype="uint8")
            classes[0, :, :8] = 9  # clouds along the western edge, 160 m
            write_tif(folder / "s2" / key / "SCL.tif", classes, crs, left, top, pixel=20.0, nodata=0)
            assets["SCL"] = (f"../s2/{key}/SCL.tif", ["data"])
            facts = {"eo:cloud_cover": cloud, "s2:processing_baseline": "05.09" if cloud > 50 else "02.14", **code}
            items["s2-l2a"].append(item(key, "s2-l2a", f"{date}T10:10:31Z", ring, assets, **facts))
        if name.startswith("33"):
            power = 10 ** (other(shared, site, "S1RTC") / 10)
            write_tif(folder / "s1" / f"{name}.tif", power.astype("float32"), crs, left, top)
            assets = {"both": (f"../s1/{name}.tif", ["data"])}
            items["s1-rtc"].append(item(f"S1_{name}", "s1-rtc", "2023-07-12T05:10:00Z", ring, assets, **code))
        write_tif(folder / "dem" / f"{name}.tif", other(shared, site, "DEM"), crs, left, top, nodata=-32768)
        assets = {"data": (f"../dem/{name}.tif", ["data"]), "thumbnail": ("t.png", ["thumbnail"])}
        items["dem"].append(item(f"DEM_{name}", "dem", "2021-04-22T00:00:00Z", ring, assets, **code))
    children = []
    for collection, found in items.items():
        children.append({"rel": "child", "href": f"./{collection}/collection.json"})
        extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
        about = {
            "type": "Collection",
            "stac_version": "1.0.0",
            "id": collection,
            "description": "x",
            "license": "CC-BY-SA-4.0",
        }
        about |= {"providers": [{"name": "TerraMesh"}], "extent": extent}
        about["links"] = [{"rel": "item", "href": f"./{each['id']}.json"} for each in found]
        (folder / collection).mkdir(parents=True, exist_ok=True)
        (folder / collection / "collection.json").write_text(json.dumps(about))
        for each in found:
            (folder / collection / f"{each['id']}.json").write_text(json.dumps(each))
    about = {"type": "Catalog", "stac_version": "1.0.0", "id": "archive", "description": "x", "links": children}
    (folder / "catalog.json").write_text(json.dumps(about))
    return folder / "catalog.json"

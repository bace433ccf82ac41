"""Patches a second and requests of `eofuse collect`, beside patch by patch as scripts do it: odc-stac, and rasterio alone.

Two tiles of four bands and a mask lie behind a web server on the loopback, which counts what it is asked; each reader is a process of
its own, and its imports do not count. All read the same windows of the same places. odc-stac is not installed with eofuse: name the
Python of an environment that has it (`pip install odc-stac`).

    python benchmarks/collect.py
    python benchmarks/collect.py --odc ENVIRONMENT/bin/python --places 200 --latency 0.02
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BANDS = ("B02", "B03", "B04", "B08")
CORNER = (399_960.0, 5_000_040.0)
CRS = "EPSG:32633"
TESTS = Path(__file__).parents[1] / "tests"


def write_tiles(folder: Path, side: int) -> list[dict]:
    """Two tiles side by side, as a list of STAC items with paths below the folder."""
    import rasterio
    from affine import Affine
    from pyproj import Transformer

    change = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    generator = np.random.default_rng(0)
    items = []
    for number in range(2):
        left, top = CORNER[0] + number * side * 10, CORNER[1]
        assets = {}
        for band in (*BANDS, "SCL"):
            pixel, dtype = (20, "uint8") if band == "SCL" else (10, "uint16")
            count = side * 10 // pixel
            smooth = np.kron(generator.integers(500, 3000, (count // 16, count // 16)), np.ones((16, 16), dtype=int))
            values = (
                np.full((count, count), 4) if band == "SCL" else smooth + generator.integers(0, 200, (count, count))
            )
            profile = {
                "driver": "GTiff",
                "width": count,
                "height": count,
                "count": 1,
                "dtype": dtype,
                "crs": CRS,
                "nodata": 0,
            }
            tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
            path = folder / f"{number}_{band}.tif"
            with rasterio.open(path, "w", **profile, **tiles, transform=Affine(pixel, 0, left, 0, -pixel, top)) as file:
                file.write(values.astype(dtype), 1)
            shape = {
                "proj:shape": [count, count],
                "proj:transform": [pixel, 0, left, 0, -pixel, top],
                "roles": ["data"],
            }
            assets[band] = {"href": path.name, "type": "image/tiff; application=geotiff", **shape}
        x, y = [left, left + side * 10], [top - side * 10, top]
        ring = [
            change.transform(*each) for each in ((x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1]), (x[0], y[0]))
        ]
        lons, lats = zip(*ring, strict=True)
        items.append(
            {
                "type": "Feature",
                "stac_version": "1.0.0",
                "stac_extensions": ["https://stac-extensions.github.io/projection/v2.0.0/schema.json"],
                "id": f"tile_{number}",
                "collection": "s2",
                "geometry": {"type": "Polygon", "coordinates": [[list(each) for each in ring]]},
                "bbox": [min(lons), min(lats), max(lons), max(lats)],
                "properties": {"datetime": "2023-07-01T10:00:00Z", "proj:code": CRS, "proj:epsg": 32633},
                "links": [],
                "assets": assets,
            }
        )
    return items


def places_of(count: int, side: int, size: int) -> list[tuple[float, float]]:
    """Upper left corners of patches, on whole pixels."""
    generator = np.random.default_rng(1)
    starts = generator.integers(0, (2 * side - size, side - size), (count, 2))
    return [(CORNER[0] + 10.0 * int(x), CORNER[1] - 10.0 * int(y)) for x, y in starts]


def read_ours(job: dict) -> float:
    """`eofuse collect` of all places."""
    from pyproj import Transformer

    from eofuse.data.collect.run import collect

    half = job["size"] * 5
    change = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    rows = [(f"p{number}", *change.transform(x + half, y - half)) for number, (x, y) in enumerate(job["places"])]
    folder = Path(job["folder"])
    (folder / "p.csv").write_text("id,lon,lat\n" + "\n".join(f"{name},{lon!r},{lat!r}" for name, lon, lat in rows))
    s2 = {"stac": f"{job['url']}/items.json", "collection": "s2", "assets": list(BANDS), "mask": "scl"}
    labels, patch = {"file": str(folder / "p.csv")}, {"size": job["size"]}
    began = time.perf_counter()
    done = collect({"name": "b", "labels": labels, "patch": patch, "modalities": {"s2": s2}}, folder / "b.store")
    took = time.perf_counter() - began
    assert len(done.store) == len(job["places"])
    assert not done.failed
    return took


def read_odc(job: dict) -> float:
    """odc-stac, a call a patch."""
    import odc.stac
    import pystac
    from odc.geo.geobox import GeoBox

    odc.stac.configure_rio(cloud_defaults=True)
    items = [pystac.Item.from_dict(each) for each in job["items"]]
    began = time.perf_counter()
    for x, y in job["places"]:
        side = job["size"] * 10
        box = GeoBox.from_bbox((x, y - side, x + side, y), crs=CRS, resolution=10)
        found = odc.stac.load(items, bands=[*BANDS, "SCL"], geobox=box, groupby="solar_day")
        assert (found["B02"].to_numpy() > 0).any()
    return time.perf_counter() - began


def read_rasterio(job: dict) -> float:
    """rasterio, each asset of the tile opened for each patch, with GDAL's settings for clouds."""
    import rasterio
    from rasterio.windows import from_bounds

    settings = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES"}
    began = time.perf_counter()
    with rasterio.Env(**settings):
        for x, y in job["places"]:
            side = job["size"] * 10
            for item in job["items"]:
                left = item["assets"]["B02"]["proj:transform"][2]
                if x + side <= left or x >= left + job["side"] * 10:
                    continue
                for band in (*BANDS, "SCL"):
                    with rasterio.open(item["assets"][band]["href"]) as file:
                        file.read(
                            1,
                            window=from_bounds(x, y - side, x + side, y, file.transform),
                            boundless=True,
                            fill_value=0,
                        )
    return time.perf_counter() - began


READERS = {"eofuse collect": read_ours, "odc-stac": read_odc, "rasterio": read_rasterio}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--places", type=int, default=200)
    parser.add_argument("--size", type=int, default=64, help="pixels along a side of a patch")
    parser.add_argument("--side", type=int, default=2048, help="pixels along a side of a tile")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that the server waits before it answers")
    parser.add_argument("--odc", help="a Python that has odc-stac")
    parser.add_argument("--reader", choices=READERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.reader:
        print(READERS[arguments.reader](json.load(sys.stdin)))
        return
    sys.path.insert(0, str(TESTS))
    from range_server import RangeServer

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        items = write_tiles(root, arguments.side)
        server = RangeServer(root)
        server.latency = arguments.latency
        for item in items:
            for asset in item["assets"].values():
                asset["href"] = f"{server.url}/{asset['href']}"
        (root / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
        job = {"items": items, "places": places_of(arguments.places, arguments.side, arguments.size), "url": server.url}
        job |= {"size": arguments.size, "side": arguments.side, "folder": folder}
        found = {}
        for name in READERS:
            python = sys.executable if name != "odc-stac" else arguments.odc
            if python is None:
                continue
            server.requests.clear()
            command = [python, __file__, "--reader", name]
            done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{name}: {done.stderr.strip().splitlines()[-1]}")
                continue
            found[name] = float(done.stdout.split()[-1]), sum(server.counts().values())
            seconds, requests = found[name]
            print(f"{name:15} {arguments.places / seconds:8.1f} patches a second, {requests:6} requests for pixels")
        server.close()
    ours = found["eofuse collect"]
    for name, (seconds, requests) in found.items():
        if name != "eofuse collect":
            print(f"{seconds / ours[0]:.1f} × as fast as {name}, {ours[1] / requests:.3f} of its requests")


if __name__ == "__main__":
    main()

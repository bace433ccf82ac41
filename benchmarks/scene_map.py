"""What a map of a whole scene takes beside the bare forward passes over the same windows: time and memory.

The scene is simulated: Sentinel-2 bands of 10 and 20 m, Sentinel-1 in the next UTM zone, elevation in degrees. The network is
untrained. Side by side in one run: `eofuse map` in a process of its own, and the forward passes over as many windows that lie in
memory, with as many threads.

    python benchmarks/scene_map.py                  # a sixteenth of a Sentinel-2 tile
    python benchmarks/scene_map.py --side 10980     # a whole one: about half an hour on two cores
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine
from rasterio.warp import transform
from rasterio.windows import Window

from eofuse.inference.ensemble import load_ensemble
from eofuse.kinds import SEGMENTATION
from eofuse.maps.make import MapOptions, Mapper
from eofuse.maps.predictor import open_predictor
from eofuse.maps.scene import scenes_of_spec
from eofuse.maps.streaming import PIXELS_A_BATCH
from eofuse.modalities import ELEVATION, SENTINEL1, SENTINEL2
from eofuse.models.artifact import save_model
from eofuse.models.fusion import FusionOptions
from eofuse.models.heads import HeadSpec
from eofuse.models.model import ModelSpec, build_model
from eofuse.models.normalisation import ChannelStatistics
from eofuse.processes import usable_cores

FINE = ("B02", "B03", "B04", "B08")
COARSE = ("B05", "B06", "B07", "B8A", "B11", "B12")
CORNER = (600_000.0, 5_000_000.0)
UTM, NEXT = "EPSG:32632", "EPSG:32633"
CLASSES = tuple(f"class {number}" for number in range(11))
COMMAND = "import sys; from eofuse.cli import main; sys.exit(main())"
MEASURED = """\
import json, resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"cpu_s": usage.ru_utime + usage.ru_stime, "peak_kb": usage.ru_maxrss}))
"""
"""Runs a command from a small process: on Linux a child's peak of memory begins with that of the process that starts it."""


def write_raster(
    path: Path, crs: str, corner: tuple[float, float], pixel: float, shape: tuple[int, int], values
) -> None:
    """Writes a tiled GeoTIFF whose values repeat every 2,048 pixels."""
    count, height, width = len(values), *shape
    place = {"crs": crs, "transform": Affine(pixel, 0, corner[0], 0, -pixel, corner[1])}
    tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "interleave": "band"}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", "GTiff", width, height, count, dtype=values.dtype, **place, **tiles) as file:
        for top in range(0, height, 2048):
            for left in range(0, width, 2048):
                part = values[:, : min(2048, height - top), : min(2048, width - left)]
                file.write(part, window=Window(left, top, part.shape[2], part.shape[1]))


def write_scene(folder: Path, height: int, width: int) -> Path:
    """Writes the files of a scene and its spec, and gives the spec."""
    random = np.random.default_rng(0)
    texture = random.integers(200, 4000, (1, 2048, 2048)).astype(np.uint16)
    for band in FINE:
        write_raster(folder / f"s2/tile_{band}.tif", UTM, CORNER, 10, (height, width), texture)
    for band in COARSE:
        write_raster(folder / f"s2/tile_{band}.tif", UTM, CORNER, 20, (-(-height // 2), -(-width // 2)), texture)
    corners = [(CORNER[0] + x, CORNER[1] - y) for x in (0, 10 * width) for y in (0, 10 * height)]
    for name, crs, pixel, values in (
        ("s1/tile.tif", NEXT, 10.0, random.normal(-12, 4, (2, 2048, 2048)).astype(np.float32).round(1)),
        ("dem/tile.tif", "EPSG:4326", 1 / 3600, random.integers(0, 900, (1, 2048, 2048)).astype(np.int16)),
    ):
        x, y = transform(UTM, crs, *zip(*corners, strict=True))
        west, north = min(x) - 5 * pixel, max(y) + 5 * pixel
        shape = int((north - min(y)) / pixel) + 6, int((max(x) - west) / pixel) + 6
        write_raster(folder / name, crs, (west, north), pixel, shape, values)
    spec = folder / "scenes.yaml"
    bands = ", ".join((*FINE, *COARSE))
    spec.write_text(
        "name: simulated\nsimulated: true\nreference: s2\nmodalities:\n"
        f"  s2: {{files: 's2/{{scene}}_{{band}}.tif', bands: [{bands}]}}\n"
        "  s1: {files: 's1/{scene}.tif'}\n  elevation: {files: 'dem/{scene}.tif'}\n"
    )
    return spec


def write_model(folder: Path, encoder: str) -> Path:
    """Saves an untrained U-Net over ten bands, two polarisations and elevation."""
    modalities = (SENTINEL2.select((*FINE, *COARSE)), SENTINEL1, ELEVATION)
    statistics = ChannelStatistics(
        {each.name: [0.0] * len(each.channels) for each in modalities},
        {each.name: [1.0] * len(each.channels) for each in modalities},
    )
    head = HeadSpec(SEGMENTATION, CLASSES, network="unet")
    spec = ModelSpec(
        modalities, FusionOptions(strategy="early", encoder=encoder), {"cover": head}, statistics, (120, 120)
    )
    return save_model(build_model(spec, seed=0), folder)


def forward_passes(model_folder: Path, windows, workers: int, share: float) -> tuple[float, float]:
    """Seconds, and seconds of the processors, of the forward passes over all windows, measured on a share of them."""
    model = load_ensemble([model_folder])
    size = windows.rows.size
    batch = max(1, PIXELS_A_BATCH // size**2)
    inputs = {
        each.name: torch.zeros((batch, len(each.channels), size, size), dtype=getattr(torch, each.dtype))
        for each in model.spec.modalities
    }
    batches = len(windows.rows) * len(windows.columns) / batch
    measured = max(2 * workers, round(batches * share))
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(lambda _: model.predict(inputs), range(workers)))
        start, before = time.perf_counter(), time.process_time()
        list(pool.map(lambda _: model.predict(inputs), range(measured)))
        times = time.perf_counter() - start, time.process_time() - before
        return times[0] * batches / measured, times[1] * batches / measured


def main() -> None:
    """Writes the scene, maps it, and prints what that took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=2745, help="pixels of the scene from left to right")
    parser.add_argument("--tall", type=float, default=1, help="height of the scene, in its widths")
    parser.add_argument("--window", type=int, help="pixels of a window's side")
    parser.add_argument("--encoder", default="test_resnet")
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--share", type=float, default=0.25, help="of the forward passes that are timed alone")
    parser.add_argument("--folder", type=Path, help="where the scene is written, or lies already")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        height = round(arguments.side * arguments.tall)
        spec = folder / "scenes.yaml"
        if not spec.exists():
            write_scene(folder, height, arguments.side)
        model = write_model(folder / "model", arguments.encoder)
        maker = Mapper(open_predictor(model), MapOptions(window=arguments.window))
        (scene,) = scenes_of_spec(spec, maker.model.spec)[1]
        windows, _ = maker.windows(scene.grid)
        bare = forward_passes(model, windows, arguments.workers, arguments.share)
        words = [
            "map",
            str(model),
            str(spec),
            "-o",
            str(folder / "maps"),
            "--overwrite",
            "--workers",
            str(arguments.workers),
        ]
        words += ["--window", str(arguments.window)] if arguments.window else []
        start = time.perf_counter()
        python = [sys.executable, "-c"]
        measured = subprocess.run([*python, MEASURED, *python, COMMAND, *words], check=True, capture_output=True)
        took = time.perf_counter() - start
        usage = json.loads(measured.stdout)
        again = forward_passes(model, windows, arguments.workers, arguments.share)
        pixels = height * arguments.side
        facts = {
            "pixels": pixels,
            "windows": [len(windows.rows), len(windows.columns), windows.rows.size, windows.rows.step],
            "forward_passes_s": [round(bare[0], 1), round(again[0], 1)],
            "map_s": round(took, 1),
            "ratio": round(took / min(bare[0], again[0]), 2),
            "forward_passes_cpu_s": [round(bare[1], 1), round(again[1], 1)],
            "map_cpu_s": round(usage["cpu_s"], 1),
            "peak_memory_gb": round(usage["peak_kb"] * 1024 / 1e9, 2),
            "megapixels_a_second": round(pixels / took / 1e6, 2),
        }
        print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()

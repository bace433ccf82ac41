"""How fast patches come from disk: eofuse beside the alternatives, in one run.

    python benchmarks/data_path.py [--patches 512] [--repeats 15]
    python benchmarks/data_path.py --series [--patches 128]

Reads the Sentinel-2 (12 bands) and Sentinel-1 (2 bands) of random patches of 120 × 120 pixels, warm, in one process and one thread:

- one GeoTIFF a band, as ben-ge comes: 14 files a patch
- one multi-band GeoTIFF a sensor: 2 files a patch
- LMDB with a safetensors record a patch
- a bare gather from the store's memory maps into a preallocated batch: the limit
- eofuse: `Store.read`, and the `Loader` that training uses (targets and presence included)

With `--series`, series of images instead: 4 to 24 dates of 4 bands of 64 × 64 pixels a patch, padded in each batch. The limit is a
bare copy of each patch's dates from the memory map into a preallocated batch, with zeros behind them.

The fast ones are interleaved in changing order and the best of several repeats counts, because machines are noisy; what matters
are the ratios.
"""

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import lmdb
import numpy as np
import rasterio
import torch
from rasterio.errors import NotGeoreferencedWarning
from safetensors.numpy import load, save

from eofuse.data.loading import Loader
from eofuse.data.store import Store
from eofuse.data.store.pack import pack
from eofuse.data.store.write import write_store
from eofuse.modalities import SENTINEL1, SENTINEL2, Channel, Kind, Modality
from eofuse.simulation import simulate

SENSORS = ("s2", "s1")
Gather = Callable[[np.ndarray], object]


def main() -> None:
    parser = argparse.ArgumentParser(description="Reading speed, side by side.")
    parser.add_argument("--patches", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--series", action="store_true", help="series of images")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.series:
        compare_series(options.patches, options.repeats, options.batches)
        return
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = simulate(folder / "simulated", options.patches)
        store = pack(source, folder / "simulated.store")
        multiband, database = folder / "multiband", folder / "records.lmdb"
        write_multiband(store, multiband)
        write_lmdb(store, database)
        slow = {
            "one GeoTIFF a band": geotiff_a_band(store, source),
            "multi-band GeoTIFF": geotiff_a_sensor(store, multiband),
        }
        slow_rates = {title: rate(gather, len(store), 16, min(128, len(store))) for title, gather in slow.items()}
        print(
            f"{len(store)} patches, 14 bands of 120 × 120, one thread; patches a second (best of {options.repeats})\n"
        )
        print(f"{'batch':>24}" + "".join(f"{size:>12}" for size in options.batches))
        for title, value in slow_rates.items():
            print(f"{title:>24}" + f"{value:>12,.0f}" * len(options.batches))
        rows: dict[str, list[float]] = {}
        records = from_lmdb(store, database)
        for size in options.batches:
            fast = {
                "LMDB + safetensors": records,
                "bare memory-map gather": bare_gather(store, size),
                "eofuse Store.read": store_read(store, size),
                "eofuse Loader": Loader(store, dict.fromkeys(SENSORS)).read,
            }
            best = dict.fromkeys(fast, 0.0)
            for repeat in range(options.repeats):
                for title in np.random.default_rng(repeat).permutation(list(fast)):  # what ran before matters: caches
                    gather = fast[title]
                    best[title] = max(best[title], rate(gather, len(store), size, max(len(store), 2 * size)))
            for title, value in best.items():
                rows.setdefault(title, []).append(value)
        for title, values in rows.items():
            print(f"{title:>24}" + "".join(f"{value:>12,.0f}" for value in values))
        print()
        bare, ours = np.array(rows["bare memory-map gather"]), np.array(rows["eofuse Loader"])
        ratios = {
            "eofuse / bare gather": ours / bare,
            "eofuse / GeoTIFF a band": ours / slow_rates["one GeoTIFF a band"],
        }
        for title, values in ratios.items():
            print(f"{title:>24}" + "".join(f"{value:>12.2f}" for value in values))


def compare_series(patches: int, repeats: int, batches: list[int]) -> None:
    """Prints how fast series of images are gathered beside a bare copy."""
    modality = Modality(
        "season",
        Kind.IMAGE_SERIES,
        tuple(map(Channel, ("B02", "B03", "B04", "B08"))),
        dtype="uint16",
        steps=24,
        dated=True,
    )
    generator = np.random.default_rng(0)
    samples = (
        {
            "id": str(number),
            "season": generator.integers(1, 3000, (count, 4, 64, 64), dtype=np.uint16),
            "season.times": np.arange(count) * 10.0,
        }
        for number, count in enumerate(generator.integers(4, 25, patches).tolist())
    )
    with tempfile.TemporaryDirectory() as name:
        store = write_store(samples, [modality], Path(name) / "season.store", name="season")
        print(
            f"{len(store)} patches, 4 to 24 dates of 4 bands of 64 × 64, one thread; patches a second (best of {repeats})\n"
        )
        print(f"{'batch':>24}" + "".join(f"{size:>12}" for size in batches))
        rows: dict[str, list[float]] = {}
        for size in batches:
            loader = Loader(store, {"season": None})
            gathers = {
                "bare copy": bare_dates(store, size),
                "eofuse gather": partial(loader.read_array, "season"),
                "eofuse Loader": loader.read,
            }
            best = dict.fromkeys(gathers, 0.0)
            for repeat in range(repeats):
                for title in np.random.default_rng(repeat).permutation(list(gathers)):
                    best[title] = max(best[title], rate(gathers[title], len(store), size, max(len(store), 2 * size)))
            for title, value in best.items():
                rows.setdefault(title, []).append(value)
        for title, values in rows.items():
            print(f"{title:>24}" + "".join(f"{value:>12,.0f}" for value in values))
        ratio = np.array(rows["eofuse gather"]) / np.array(rows["bare copy"])
        print(f"\n{'eofuse / bare copy':>24}" + "".join(f"{value:>12.2f}" for value in ratio))


def bare_dates(store: Store, batch_size: int) -> Gather:
    """The limit: the dates of each patch into a preallocated batch as long as its longest series, zeros behind them."""
    values = np.load(store.path / "season" / "00000.npy", mmap_mode="r")
    edges = np.concatenate([[0], np.cumsum(store.index["times.season"].map(len).to_numpy())]).tolist()
    room = np.empty(batch_size * 24 * int(np.prod(values.shape[1:])), dtype=values.dtype)

    def gather(rows: np.ndarray) -> np.ndarray:
        spans = [(edges[row], edges[row + 1]) for row in rows.tolist()]
        longest = max(last - first for first, last in spans)
        shape = (len(rows), longest, *values.shape[1:])
        out = room[: int(np.prod(shape))].reshape(shape)
        for position, (first, last) in enumerate(spans):
            out[position, : last - first] = values[first:last]
            out[position, last - first :] = 0
        return out

    return gather


def rate(gather: Gather, patches: int, batch_size: int, count: int) -> float:
    """Patches a second over `count` random patches."""
    order = np.random.default_rng(0).integers(0, patches, (-(-count // batch_size), batch_size))
    started = time.perf_counter()
    for rows in order:
        gather(rows)
    return order.size / (time.perf_counter() - started)


def geotiff_a_band(store: Store, source: Path) -> Gather:
    """Opens 14 files a patch; 20 m and 60 m bands are resampled by GDAL as they are read."""
    index = store.index

    def gather(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        optical = np.empty((len(rows), 12, 120, 120), dtype=np.uint16)
        radar = np.empty((len(rows), 2, 120, 120), dtype=np.float32)
        for position, row in enumerate(rows):
            patch_id, patch_id_s1 = index["patch_id"].iloc[row], index["patch_id_s1"].iloc[row]
            for number, band in enumerate(SENTINEL2.channel_names):
                with rasterio.open(source / "sentinel-2" / patch_id / f"{patch_id}_{band}.tif") as file:
                    file.read(1, out=optical[position, number], resampling=rasterio.enums.Resampling.bilinear)
            for number, band in enumerate(SENTINEL1.channel_names):
                with rasterio.open(source / "sentinel-1" / patch_id_s1 / f"{patch_id_s1}_{band}.tif") as file:
                    file.read(1, out=radar[position, number])
        return optical, radar

    return gather


def write_multiband(store: Store, folder: Path) -> None:
    """One file a patch and sensor, all bands on the 10 m grid."""
    folder.mkdir()
    for row in range(len(store)):
        for name in SENSORS:
            values = store.read(name, [row])[0]
            profile = {"driver": "GTiff", "count": len(values), "height": 120, "width": 120, "dtype": values.dtype}
            with rasterio.open(folder / f"{row}_{name}.tif", "w", **profile) as file:
                file.write(values)


def geotiff_a_sensor(store: Store, folder: Path) -> Gather:
    """Opens 2 files a patch."""

    def gather(rows: np.ndarray) -> list[np.ndarray]:
        batch = [np.empty((len(rows), *store.shape(name)), dtype=store.modality(name).dtype) for name in SENSORS]
        for position, row in enumerate(rows):
            for values, name in zip(batch, SENSORS, strict=True):
                with rasterio.open(folder / f"{row}_{name}.tif") as file:
                    file.read(out=values[position])
        return batch

    return gather


def write_lmdb(store: Store, path: Path) -> None:
    """A safetensors record a patch, as BigEarthNet is often kept."""
    with (
        lmdb.open(str(path), map_size=len(store) * 2**20 + 2**24) as environment,
        environment.begin(write=True) as transaction,
    ):
        for row in range(len(store)):
            transaction.put(str(row).encode(), save({name: store.read(name, [row])[0] for name in SENSORS}))


def from_lmdb(store: Store, path: Path) -> Gather:
    """Reads and stacks records."""
    environment = lmdb.open(str(path), readonly=True, lock=False)

    def gather(rows: np.ndarray) -> list[np.ndarray]:
        with environment.begin() as transaction:
            records = [load(bytes(transaction.get(str(row).encode()))) for row in rows]
        return [np.stack([record[name] for record in records]) for name in SENSORS]

    return gather


def bare_gather(store: Store, batch_size: int) -> Gather:
    """The limit: rows of the memory-mapped arrays into a preallocated batch, by NumPy or PyTorch, whichever is faster."""
    arrays = [np.load(store.path / name / "00000.npy", mmap_mode="r") for name in SENSORS]
    outs = [np.empty((batch_size, *array.shape[1:]), dtype=array.dtype) for array in arrays]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        tensors = [
            torch.from_numpy(array.view(np.int16 if array.dtype == np.uint16 else array.dtype)) for array in arrays
        ]
    tensor_outs = [torch.empty((batch_size, *tensor.shape[1:]), dtype=tensor.dtype) for tensor in tensors]

    def by_numpy(rows: np.ndarray) -> None:
        for array, out in zip(arrays, outs, strict=True):
            np.take(array, rows, axis=0, out=out, mode="clip")

    def by_torch(rows: np.ndarray) -> None:
        index = torch.from_numpy(rows)
        for tensor, out in zip(tensors, tensor_outs, strict=True):
            torch.index_select(tensor, 0, index, out=out)

    candidates = [by_numpy, by_torch]
    count = max(len(store), 2 * batch_size)
    return max(candidates, key=lambda gather: max(rate(gather, len(store), batch_size, count) for _ in range(3)))


def store_read(store: Store, batch_size: int) -> Gather:
    """`Store.read` into a preallocated batch."""
    outs = {name: np.empty((batch_size, *store.shape(name)), dtype=store.modality(name).dtype) for name in SENSORS}

    def gather(rows: np.ndarray) -> None:
        for name in SENSORS:
            store.read(name, rows, outs[name])

    return gather


if __name__ == "__main__":
    sys.exit(main())

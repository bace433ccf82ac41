"""What it costs to compare a store with its checksums when it is opened, beside a first epoch on it, in one run.

    python benchmarks/verification.py [--patches 600] [--repeats 5] [--steps 12] [--encoders resnet18 test_resnet]

Packs simulated patches of 120 × 120 pixels (Sentinel-1 and -2, elevation, land cover), which stay warm in the system's cache. It takes
turns between a comparison of all files with their checksums, as the first opening does it, an opening that remembers it, and
stretches of training steps with both sensors, batch 32. What matters is the ratio of the comparison of the whole store to an epoch
over its training patches.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import itertools

from eofuse import recipe as recipes
from eofuse.data.store import integrity, open_store, open_to_check
from eofuse.data.store.pack import pack
from eofuse.learning.facts import DATA_FILE, read_facts
from eofuse.processes import usable_cores
from eofuse.simulation import simulate

PATCHES: dict[str, int] = {}
"""Training patches, as a run counted them."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Verification beside training.")
    parser.add_argument("--patches", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--encoders", nargs="+", default=["resnet18", "test_resnet"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        integrity.YOUNG_NS = 0  # it was packed just now
        store = pack(simulate(folder / "simulated", options.patches), folder / "simulated.store")
        size = sum(file.stat().st_size for file in store.path.rglob("*") if file.is_file())
        whole, again = [], []
        steps: dict[str, list[float]] = {encoder: [] for encoder in options.encoders}
        open_store(store.path)
        for repeat in range(options.repeats):
            whole.append(seconds(lambda: open_to_check(store.path).verify()))
            again.append(seconds(lambda: open_store(store.path)))
            for encoder in options.encoders:
                steps[encoder] += step_seconds(store, encoder, options.steps, folder / f"{encoder}-{repeat}")
    per_patch = statistics.median(whole) / options.patches
    cores = usable_cores()
    print(f"{options.patches} patches, {size / 1e6:,.0f} MB, {cores} cores for the comparison, one thread for training")
    print(
        f"all checksums         {1e6 * per_patch:8.0f} µs a patch, {size / statistics.median(whole) / 1e9:.2f} GB/s (median)"
    )
    print(f"opening, remembered   {1000 * statistics.median(again):8.1f} ms")
    for encoder, found in steps.items():
        step = statistics.median(found) / 32
        share = 100 * statistics.median(whole) / (step * PATCHES["train"])
        print(f"{encoder:<21} {1e6 * step:8.0f} µs a patch: the comparison is {share:.2f} % of a first epoch")


def seconds(work) -> float:
    """How long some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def step_seconds(store, encoder: str, steps: int, folder: Path) -> list[float]:
    """Seconds of training steps but the first and the last ones, which do more."""
    recipe = {
        "data": {"store": str(store.path)},
        "inputs": ["s1", "s2"],
        "split": {"protocol": "random"},
        "task": {"target": "dominant_land_cover"},
        "fusion": {"encoder": encoder},
        "train": {"steps": steps, "batch_size": 32, "evaluations": 1},
    }
    times = []
    run = recipes.train(recipe, to=folder, progress=lambda *told: times.append(time.perf_counter()))
    PATCHES["train"] = read_facts(run.folder, DATA_FILE)["patches"]["train"]
    return [end - start for start, end in itertools.pairwise(times)][2 : steps - 2]


if __name__ == "__main__":
    sys.exit(main())

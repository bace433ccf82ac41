"""What augmentation adds to a training step, in one run.

    python benchmarks/augmentation.py [--rounds 20] [--size 120] [--batch 32] [--inputs s1 s2]

A step of the default encoder (early fusion, one thread: augment, normalise, forward, backward, AdamW) on batches in memory. Each
round has one step without augmentation and one with each preset, on the same batch, so that noise hits all alike. What matters is
the ratio, pair by pair, to the step without. Seconds are of computing (of the process), which other processes disturb least.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from eofuse.config import merge, parse_options
from eofuse.data.store import Store
from eofuse.data.store.pack import pack
from eofuse.learning.augment import PRESETS
from eofuse.learning.fabric import open_fabric
from eofuse.learning.fitting import supervised
from eofuse.learning.loop import make_optimizer
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import model_spec, prepare
from eofuse.models.model import build_model
from eofuse.simulation import simulate

LIMITS = {"light": 1.10, "strong": 1.35}


def main() -> None:
    parser = argparse.ArgumentParser(description="What augmentation adds to a training step.")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--size", type=int, default=120)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--inputs", nargs="+", default=["s1", "s2"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = pack(simulate(folder / "simulated", 160), folder / "simulated.store")
        recipe = {
            "data": {"store": str(store.path), "crop": options.size},
            "inputs": options.inputs,
            "split": {"protocol": "random"},
            "task": {"target": "dominant_land_cover"},
            "train": {"batch_size": options.batch},
        }
        seconds = measure(recipe, store, options.rounds)
    channels = " + ".join(options.inputs)
    print(f"default encoder, {channels}, batch {options.batch}, {options.size} × {options.size} pixels, one thread")
    print(f"{'none':8s} {1000 * statistics.median(seconds['none']):8.1f} ms a step (median of {options.rounds})")
    for preset, limit in LIMITS.items():
        ratios = sorted(mine / bare for mine, bare in zip(seconds[preset], seconds["none"], strict=True))
        low, high = ratios[len(ratios) // 4], ratios[-len(ratios) // 4]
        print(
            f"{preset:8s} {1000 * statistics.median(seconds[preset]):8.1f} ms a step; ratio, pair by pair: "
            f"median {statistics.median(ratios):.3f}, quartiles {low:.3f} – {high:.3f} (at most {limit:.2f} is wanted)"
        )


def measure(recipe: dict, store: Store, rounds: int) -> dict[str, list[float]]:
    """Seconds of each step by preset."""
    steps = {}
    for preset in PRESETS:
        options = parse_options(RunOptions, merge(recipe, {"augment": preset}))
        prepared = prepare(store, options)
        open_fabric(options.train)
        objective = supervised(build_model(model_spec(prepared, options), seed=0), prepared, options)
        objective.module.train()
        steps[preset] = objective, make_optimizer(objective.module, options.train)
    rows = prepared.rows["train"]
    loader, size = prepared.loader(options), options.train.batch_size
    seconds: dict[str, list[float]] = {preset: [] for preset in steps}
    for number in range(-2, rounds):  # the first rounds warm up
        start = (number + 2) * size % max(1, len(rows) - size)
        batch = loader.read(rows[start : start + size])
        torch.manual_seed(number + 2)
        for preset, (objective, optimizer) in steps.items():
            begin = time.process_time()
            loss, _ = objective.step(batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if number >= 0:
                seconds[preset].append(time.process_time() - begin)
    return seconds


if __name__ == "__main__":
    main()

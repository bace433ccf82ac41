"""What eofuse costs a training step, beside a bare PyTorch loop on tensors in memory, in one run.

    python benchmarks/training_step.py [--steps 30] [--size 120] [--batch 32] [--target worldcover]

Both train the default encoder with early fusion of Sentinel-1 and Sentinel-2 on one thread, and both cast and normalise; with
`--target worldcover` they have a U-Net for the map. The bare loop has all patches as tensors in memory and nothing around its step.
After each step of `eofuse.learning.loop.Training` (batch from the store, randomness, schedule, gradient clipping, bookkeeping) comes
one of the bare loop, so that noise hits both alike; their order within a pair stays. What matters is the ratio of the medians.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch.nn import functional

from eofuse.config import parse_options
from eofuse.data.store.pack import pack
from eofuse.data.targets import IGNORE
from eofuse.learning.curves import Curves
from eofuse.learning.fabric import open_fabric
from eofuse.learning.fitting import make_training, supervised
from eofuse.learning.loop import Selection, TrainOptions, make_optimizer
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import model_spec, prepare
from eofuse.models.model import build_model
from eofuse.simulation import simulate


def main() -> None:
    parser = argparse.ArgumentParser(description="A training step, side by side.")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--size", type=int, default=120)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--target", choices=("dominant_land_cover", "worldcover"), default="dominant_land_cover")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = pack(simulate(folder / "simulated", 160), folder / "simulated.store")
        recipe = {
            "data": {"store": str(store.path), "crop": options.size},
            "inputs": ["s1", "s2"],
            "split": {"protocol": "random"},
            "task": {"target": options.target},
            "train": {"steps": options.steps, "batch_size": options.batch, "evaluations": 1},
        }
        ours, bare = measure(parse_options(RunOptions, recipe), store, folder)
    ours, bare = ours[3:], bare[3:]  # the first steps warm up
    what = f"{options.target}, default encoder, early fusion, batch {options.batch}"
    print(f"{what}, {options.size} × {options.size} pixels, one thread, {len(ours)} steps")
    print(f"bare PyTorch loop  {1000 * statistics.median(bare):8.1f} ms a step (median)")
    print(f"eofuse             {1000 * statistics.median(ours):8.1f} ms a step (median)")
    print(f"ratio              {statistics.median(ours) / statistics.median(bare):8.3f}")
    ratios = sorted(mine / other for mine, other in zip(ours, bare, strict=False))
    low, high = ratios[len(ratios) // 4], ratios[-len(ratios) // 4]
    print(f"ratio, pair by pair: median {statistics.median(ratios):.3f}, quartiles {low:.3f} – {high:.3f}")


def measure(options: RunOptions, store, folder: Path) -> tuple[list[float], list[float]]:
    """Seconds of each step of eofuse and of the bare loop."""
    prepared = prepare(store, options)
    fabric = open_fabric(options.train)
    step_bare = bare_step(prepared, options)
    model = build_model(model_spec(prepared, options), seed=0)
    ours: list[float] = []
    bare: list[float] = []
    started = [time.perf_counter()]

    def after_step(done: int, total: int, words: str) -> None:
        ours.append(time.perf_counter() - started[0])
        begin = time.perf_counter()
        step_bare()
        bare.append(time.perf_counter() - begin)
        started[0] = time.perf_counter()

    training = make_training(
        supervised(model, prepared, options),
        prepared,
        options,
        folder,
        Selection(keep=lambda: None, evaluate=lambda: {"macro_f1": 0.0}, metric="macro_f1"),
        steps=options.train.steps,
        fabric=fabric,
        curves=Curves(folder, tensorboard=False),
        progress=after_step,
    )
    training.run()
    return ours[:-1], bare[:-1]  # the last step writes the checkpoint


def bare_step(prepared, options: RunOptions):
    """A closure that does one step of a bare loop."""
    rows = prepared.rows["train"]
    batch = prepared.loader(options).read(rows)
    tensors = {name: values.clone() for name, values in batch.inputs.items()}
    labels = batch.targets[prepared.tasks[0].name].clone()
    spec = model_spec(prepared, options)
    model = build_model(spec, seed=0)
    network = torch.nn.ModuleList([model.fusion, model.heads[0]])
    optimizer = make_optimizer(network, TrainOptions())
    scales = {modality.name: modality.scale for modality in spec.modalities}
    moments = {
        name: (
            torch.tensor(spec.statistics.mean[name])[:, None, None],
            torch.tensor(spec.statistics.std[name])[:, None, None],
        )
        for name in tensors
    }
    generator = np.random.default_rng(0)

    def step() -> None:
        chosen = torch.from_numpy(generator.choice(len(rows), options.train.batch_size))
        inputs = {}
        for name, values in tensors.items():
            mean, std = moments[name]
            physical = torch.from_numpy(values.numpy()[chosen.numpy()]).float() * scales[name]
            inputs[name] = (physical - mean) / std
        logits = network[1](network[0](inputs), spec.patch_size)[0]
        loss = functional.cross_entropy(logits, labels[chosen].long(), ignore_index=IGNORE)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    sys.exit(main())

"""Compares small encoders on one CPU thread: seconds a training step, and accuracy after some seconds of training.

    python benchmarks/encoders.py [--store FOLDER] [--seconds 30] [--encoders NAME ...]

The times are CPU seconds of forward, backward and optimiser over 32 patches of 14 channels, at 120 and 64 pixels. The
task is the dominant WorldCover class of the patches of a store, seen by Sentinel-2 and -1, or, without a store, 16
made-up classes of patches that only differ in texture and spectrum. Every encoder trains for the same CPU time, with
the better of two learning rates, and is measured on patches (with a store: scenes) that it has not seen.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eofuse.data.store import open_store
from eofuse.models.encoders import RasterEncoder

ENCODERS = (
    "test_resnet",
    "test_efficientnet",
    "test_convnext2",
    "lcnet_050",
    "lcnet_075",
    "mobilenetv3_small_050",
    "mobilenetv3_small_100",
    "mobilenetv4_conv_small_050",
    "mobilenetv4_conv_small",
    "starnet_s050",
    "ghostnet_050",
    "edgenext_xx_small",
    "regnetx_002",
    "regnety_002",
    "fasternet_t0",
    "convnext_atto",
    "resnet10t",
    "resnet18",
)
BATCH_SIZE, CHANNELS, CLASSES, SIZE = 32, 14, 16, 120
LEARNING_RATES = (1e-3, 4e-3)
VALIDATION_BATCHES = 12

Batch = tuple[Tensor, Tensor]
Draw = Callable[[np.random.Generator, bool], Batch]


class Classifier(nn.Module):
    """An encoder and a linear layer."""

    def __init__(self, encoder: str, classes: int) -> None:
        super().__init__()
        self.encoder = RasterEncoder(encoder, CHANNELS)
        self.head = nn.Linear(self.encoder.sizes.vector, classes)

    def forward(self, rasters: Tensor) -> Tensor:
        """Logits of rasters."""
        return self.head(self.encoder(rasters).vector)


def seconds_a_step(encoder: str, size: int, steps: int = 3) -> float:
    torch.manual_seed(0)
    model = Classifier(encoder, CLASSES)
    optimiser = torch.optim.AdamW(model.parameters())
    rasters, labels = torch.randn(BATCH_SIZE, CHANNELS, size, size), torch.arange(BATCH_SIZE) % CLASSES
    seconds = []
    for _ in range(steps + 1):
        start = time.process_time()
        take_step(model, optimiser, rasters, labels)
        seconds.append(time.process_time() - start)
    return min(seconds[1:])


def take_step(model: nn.Module, optimiser: torch.optim.Optimizer, rasters: Tensor, labels: Tensor) -> None:
    optimiser.zero_grad()
    F.cross_entropy(model(rasters), labels).backward()
    optimiser.step()


def accuracy_after(encoder: str, draw: Draw, classes: int, seconds: float, learning_rate: float) -> tuple[float, int]:
    """Accuracy on validation batches, and the number of steps for which the time sufficed."""
    torch.manual_seed(0)
    model = Classifier(encoder, classes)
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.02)
    generator = np.random.default_rng(1)
    spent, steps = 0.0, 0
    while spent < seconds:
        rasters, labels = draw(generator, True)
        for group in optimiser.param_groups:  # warm up, then down to nothing by the share of the time that is spent
            group["lr"] = learning_rate * min(1.0, (steps + 1) / 10) * (1 - spent / seconds)
        start = time.process_time()
        take_step(model, optimiser, rasters, labels)
        spent += time.process_time() - start
        steps += 1
    model.eval()
    generator = np.random.default_rng(2)
    with torch.no_grad():
        batches = [draw(generator, False) for _ in range(VALIDATION_BATCHES)]
        hits = [(model(rasters).argmax(1) == labels).float().mean().item() for rasters, labels in batches]
    return float(np.mean(hits)), steps


def made_up_task(patches: int = 900) -> tuple[Draw, int]:
    """Four spectra times four textures, under noise, a varying brightness and a varying contrast."""
    generator = np.random.default_rng(0)
    spectra = 1 + 0.12 * generator.standard_normal((4, CHANNELS))
    frequency = np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None, :]
    radius, angle = np.hypot(*frequency), np.arctan2(*frequency)
    band = np.exp(-(((radius - 0.12) / 0.03) ** 2))
    filters = [band * np.cos(angle) ** 4, band * np.sin(angle) ** 4, band, np.exp(-(((radius - 0.2) / 0.03) ** 2))]
    labels = generator.integers(0, CLASSES, patches + BATCH_SIZE * VALIDATION_BATCHES)
    rasters = np.empty((len(labels), CHANNELS, SIZE, SIZE), dtype=np.float16)
    for position, label in enumerate(labels):
        field = np.fft.irfft2(
            np.fft.rfft2(generator.standard_normal((SIZE, SIZE))) * filters[label // 4], s=(SIZE, SIZE)
        )
        texture = generator.uniform(0.2, 0.6) * field / field.std()
        spectrum = generator.uniform(0.6, 1.4) * spectra[label % 4] + 0.1 * generator.standard_normal(CHANNELS)
        noise = 0.7 * generator.standard_normal((CHANNELS, SIZE, SIZE))
        rasters[position] = spectrum[:, None, None] * (1 + texture) - 1 + noise
    return draw_from(
        lambda rows: torch.from_numpy(rasters[rows]).float(), labels, np.arange(len(labels)) < patches
    ), CLASSES


def store_task(folder: Path) -> tuple[Draw, int]:
    """Dominant WorldCover class from Sentinel-2 and Sentinel-1, a third of the scenes kept for validation."""
    store = open_store(folder)
    dominant = [np.bincount(store.read("worldcover", [row]).ravel()).argmax() for row in range(len(store))]
    seen, labels = np.unique(dominant, return_inverse=True)
    scenes, scene = np.unique(store.index["scene"].to_numpy(dtype=str), return_inverse=True)
    training = (np.random.default_rng(0).permutation(len(scenes)) % 3 > 0)[scene]
    rows = np.flatnonzero(training)[:200]
    moments = {}
    for name in ("s2", "s1"):
        values = store.read(name, rows).astype(np.float32)
        moments[name] = values.mean((0, 2, 3))[:, None, None], values.std((0, 2, 3))[:, None, None]

    def read(rows: np.ndarray) -> Tensor:
        layers = [(store.read(name, rows) - mean) / std for name, (mean, std) in moments.items()]
        return torch.from_numpy(np.concatenate(layers, 1, dtype=np.float32))

    return draw_from(read, labels, training), len(seen)


def draw_from(read: Callable[[np.ndarray], Tensor], labels: np.ndarray, training: np.ndarray) -> Draw:
    rows = {True: np.flatnonzero(training), False: np.flatnonzero(~training)}

    def draw(generator: np.random.Generator, for_training: bool) -> Batch:
        chosen = generator.choice(rows[for_training], BATCH_SIZE, replace=False)
        rasters = read(chosen)
        if for_training and generator.random() < 0.5:
            rasters = rasters.flip(-1)
        return rasters, torch.from_numpy(labels[chosen])

    return draw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="a packed store; a made-up task without it")
    parser.add_argument("--seconds", type=float, default=30.0, help="CPU seconds of training; 0 measures steps only")
    parser.add_argument("--encoders", nargs="+", default=ENCODERS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    draw, classes = store_task(arguments.store) if arguments.store else made_up_task()
    print(f"{'encoder':28} {'parameters':>10} {'step 120':>9} {'step 64':>9}  accuracy (steps)")
    for encoder in arguments.encoders:
        parameters = sum(parameter.numel() for parameter in RasterEncoder(encoder, CHANNELS).parameters())
        times = [seconds_a_step(encoder, size) for size in (SIZE, 64)]
        line = f"{encoder:28} {parameters:10,} {times[0]:7.3f} s {times[1]:7.3f} s"
        if arguments.seconds:
            results = [accuracy_after(encoder, draw, classes, arguments.seconds, rate) for rate in LEARNING_RATES]
            accuracy, steps = max(results)
            line += f"  {accuracy:.3f} ({steps}) at {LEARNING_RATES[results.index((accuracy, steps))]:g}"
        print(line, flush=True)


if __name__ == "__main__":
    main()

"""What a GPU makes of eofuse: one table, in about ten minutes, on a store that is made for it.

    python benchmarks/gpu.py [--device cuda] [--parts step bits study predict]
    python benchmarks/gpu.py --device cpu --small       # the same walk on a processor, tiny

- step: training steps from a warm store beside a bare loop of the same network over the same patches that lie on the device already,
  in turns; the share of a step in which the device computes; and the largest memory. The bare loop casts, normalises and steps, and
  has neither gradient clipping nor bookkeeping.
- bits: each kind of task is trained twice, and killed and resumed; weights and losses are compared byte by byte.
- study: a whole small study with several runs at a time, on the device and on the processor.
- predict: `predict_store` and a map of a scene beside bare forward passes over as many pixels that lie on the device.

Times and ratios are medians over the rounds, ratios with their quartiles. The share in which the device computes is the sum of its
kernels in one profiled stretch over the time that these steps take without a profiler. It is one long file so that it can be carried
alone to a machine with a GPU.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("EOFUSE_VERIFY", "0")

import numpy as np
import torch
from torch.nn import functional

import eofuse
from eofuse import recipe as recipes
from eofuse.config import merge, parse_options
from eofuse.data.store import Store
from eofuse.data.store.write import write_store
from eofuse.inference.predict import predict_store
from eofuse.learning.curves import Curves
from eofuse.learning.fabric import open_fabric
from eofuse.learning.fitting import make_training, supervised
from eofuse.learning.loop import Selection, make_optimizer
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import Prepared, model_spec, prepare
from eofuse.models.artifact import load_model
from eofuse.models.model import ModelSpec, build_model

CASES: dict[str, dict[str, Any]] = {
    "one class": {"task": {"target": "label"}},
    "several classes": {"task": {"target": "labels"}},
    "numbers": {"task": {"target": "value"}},
    "class map": {"task": {"target": "worldcover"}},
    "map of numbers": {"task": {"target": "elevation"}},
    "boxes": {"task": {"target": "regions", "classes": ["permanent_water_bodies"]}},
    "augmented": {"task": {"target": "worldcover"}, "augment": "strong"},
    "missing modalities": {
        "task": {"target": "label"},
        "fusion": {"strategy": "late", "missing": "token"},
        "augment": {"drop_modalities": 0.4},
    },
    "transformer": {"task": {"target": "label"}, "fusion": {"encoder": "vit_tiny_patch16_224"}},
}


class KilledError(Exception):
    """Stands for a process that ends in the middle of a training."""


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="eofuse on a GPU, beside bare loops.")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--parts", nargs="+", default=["step", "bits", "study", "predict"])
    parser.add_argument("--small", action="store_true", help="everything tiny, to see that it runs")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 120])
    parser.add_argument("--encoders", nargs="+", default=["test_resnet", "resnet18"])
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 256])
    parser.add_argument("--augment", nargs="+", default=["none"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--patches", type=int, default=1024)
    parser.add_argument("--cases", nargs="+", default=list(CASES))
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--scene", type=int, default=2048, help="pixels of the side of the scene; 0 for none")
    options = parser.parse_args(words)
    if options.small:
        options.sizes, options.encoders, options.batches, options.precisions = [32], ["test_resnet"], [8], ["float32"]
        options.rounds, options.steps, options.patches, options.workers, options.scene = 2, 4, 60, [1], 160
    warnings.filterwarnings("ignore", message=".*graph|.*NotGeoreferenced.*")
    print(f"eofuse {eofuse.__version__}, torch {torch.__version__}, {_name(options.device)}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = make_store(folder / "made.store", options.patches, 48 if options.small else 120)
        for part in options.parts:
            started = time.perf_counter()
            for line in PARTS[part](store, folder, options):
                print(line, flush=True)
            print(f"  ({part}: {time.perf_counter() - started:.0f} s)", flush=True)


def _name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "processor"


def make_store(path: Path, patches: int, size: int) -> Store:
    """Random patches in scenes of eight, whose class shows in Sentinel-1 and water in all bands."""

    def samples() -> Iterator[dict[str, Any]]:
        random = np.random.default_rng(0)
        for number in range(patches):
            label = int(random.integers(0, 4))
            water = np.zeros((1, size, size), dtype=bool)
            top, left = random.integers(0, size // 2, 2)
            water[:, top : top + size // 3, left : left + size // 3] = True
            s2 = random.integers(200, 3000, (12, size, size), dtype=np.uint16)
            s1 = random.standard_normal((2, size, size), dtype=np.float32) * 2 - 12 + label
            yield {
                "id": f"patch_{number}",
                "scene": f"scene_{number // 8}",
                "lon": 8 + number // 8 * 0.1,
                "lat": 47.0,
                "s2": np.where(water, s2 // 4, s2).astype(np.uint16),
                "s1": np.where(water, s1 - 6, s1).astype(np.float32),
                "elevation": np.where(water, 0, 400).astype(np.int16)
                + random.integers(0, 50, (1, size, size), np.int16),
                "worldcover": np.where(water, 80, 30).astype(np.uint8),
                "label": f"class {label}",
                "labels": [f"class {each}" for each in range(4) if each <= label],
                "value": label + float(random.normal(0, 0.1)),
            }

    kinds = {"label": "class", "labels": "list", "value": "number"}
    return write_store(
        samples(), ["s2", "s1", "elevation", "worldcover"], path, name="made", simulated=True, labels=kinds
    )


def recipe_of(store: Store, device: str, **change: Any) -> dict[str, Any]:
    base = {
        "name": "made",
        "data": {"store": str(store.path)},
        "inputs": ["s1", "s2"],
        "split": {"protocol": "random"},
        "fusion": {"encoder": "test_resnet"},
        "train": {"device": device},
    }
    return merge(base, change)


# --- steps


def steps(store: Store, folder: Path, options: argparse.Namespace) -> Iterator[str]:
    """Lines about training steps."""
    yield f"{'training step':44s}{'eofuse':>10s}{'bare':>10s}{'bare / eofuse':>22s}{'busy':>7s}{'memory':>9s}"
    for batch in options.batches:
        for encoder in options.encoders:
            for size in options.sizes:
                for precision in options.precisions:
                    for augment in options.augment:
                        what = f"{encoder}, {size} px, batch {batch}, {precision}"
                        what += "" if augment == "none" else f", {augment}"
                        yield step_line(what, store, folder, options, (batch, encoder, size, precision, augment))


def step_line(
    what: str, store: Store, folder: Path, options: argparse.Namespace, case: tuple[int, str, int, str, str]
) -> str:
    batch, encoder, size, precision, augment = case
    train = {"batch_size": batch, "precision": precision, "evaluations": 1, "steps": options.steps + 10}
    values = recipe_of(
        store,
        options.device,
        data={"crop": size} if size < store.patch_size[0] else {},
        fusion={"encoder": encoder},
        task={"target": "label"},
        train=train,
        augment=augment,
    )
    recipe = parse_options(RunOptions, values)
    prepared = prepare(store, recipe)
    spec = model_spec(prepared, recipe)
    bare = bare_loop(prepared, recipe, spec)
    _reset_memory(options.device)
    computed = time_of_kernels(
        lambda watch: eofuse_steps(prepared, recipe, spec, folder / "steps", watch), options.device
    )
    memory = _memory(options.device)
    ours, others = [], []
    for _ in range(options.rounds):
        ours.append(eofuse_steps(prepared, recipe, spec, folder / "steps"))
        others.append(bare(options.steps))
    mine, other = statistics.median(ours), statistics.median(others)
    ratios = [b / a for a, b in zip(ours, others, strict=True)]
    busy = "" if computed is None else f"{computed / mine:6.0%}"
    return (
        f"{what:44s}{1000 * mine:7.2f} ms{1000 * other:7.2f} ms{quartiles(ratios):>22s}{busy:>7s}{memory:>9s}"
        f"{batch / mine:9.0f} patches/s"
    )


def eofuse_steps(
    prepared: Prepared, recipe: RunOptions, spec: ModelSpec, folder: Path, watch: Callable[[int], None] | None = None
) -> float:
    """Seconds a step, but for the first ten and the last, which writes the checkpoint."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    fabric = open_fabric(recipe.train)
    objective = supervised(build_model(spec, seed=0), prepared, recipe)
    times: dict[int, float] = {}
    last = recipe.train.budget(0)
    begin = min(10, last - 2)

    def tell(done: int, total: int, words: str) -> None:
        if done in (begin, last - 1):
            _wait(fabric.device)
            times[done] = time.perf_counter()
        if watch:
            watch(done - begin)

    selection, curves = Selection(lambda: None), Curves(folder, tensorboard=False)
    make_training(objective, prepared, recipe, folder, selection, fabric=fabric, curves=curves, progress=tell).run()
    return (times[last - 1] - times[begin]) / (last - 1 - begin)


def bare_loop(prepared: Prepared, recipe: RunOptions, spec: ModelSpec) -> Callable[[int], float]:
    """A function that does so many steps of a bare loop and gives the seconds of each."""
    device = open_fabric(recipe.train).device
    rows = prepared.rows["train"]
    batch = prepared.loader(recipe).read(rows)
    tensors = {
        name: (values.view(torch.int16) if values.dtype == torch.uint16 else values).clone().to(device)
        for name, values in batch.inputs.items()
    }
    labels = batch.targets[prepared.tasks[0].name].long().to(device)
    model = build_model(spec, seed=0).to(device)
    network = torch.nn.ModuleList([model.fusion, model.heads[0]]).train()
    optimizer = make_optimizer(network, recipe.train)
    normaliser = {
        each.name: [
            torch.tensor(values, device=device)[:, None, None] / each.scale
            for values in (spec.statistics.mean[each.name], spec.statistics.std[each.name])
        ]
        for each in spec.modalities
    }
    half = recipe.train.precision == "bfloat16"

    def step() -> None:
        chosen = torch.randint(len(rows), (recipe.train.batch_size,), device=device)
        inputs = {
            name: (values[chosen].float() - normaliser[name][0]) / normaliser[name][1]
            for name, values in tensors.items()
        }
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits = network[1](network[0](inputs), spec.patch_size)[0]
            loss = functional.cross_entropy(logits, labels[chosen])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def several(count: int) -> float:
        for _ in range(min(10, count)):
            step()
        _wait(device)
        started = time.perf_counter()
        for _ in range(count):
            step()
        _wait(device)
        return (time.perf_counter() - started) / count

    return several


def time_of_kernels(run: Callable[[Callable[[int], None]], float], device: str) -> float | None:
    """Seconds a step in which the device computes (copies to it left out); None on a processor."""
    if not device.startswith("cuda"):
        run(lambda step: None)
        return None
    profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])
    count = 10

    def watch(step: int) -> None:
        if step in (0, count):
            torch.cuda.synchronize()
            profiler.start() if step == 0 else profiler.stop()

    run(watch)
    spent = [each.self_device_time_total for each in profiler.key_averages() if "HtoD" not in each.key]
    return sum(spent) / 1e6 / count


# --- bits


def bits(store: Store, folder: Path, options: argparse.Namespace) -> Iterator[str]:
    """Lines about equality to the bit."""
    yield f"{'equal to the bit':44s}{'twice':>10s}{'killed and resumed':>22s}"
    for precision in options.precisions:
        for name in options.cases:
            train = {"steps": 12, "batch_size": 8, "evaluations": 3, "precision": precision}
            crop = {"crop": 48} if store.patch_size[0] > 48 else {}
            values = recipe_of(store, options.device, **merge(CASES[name], {"train": train, "data": crop}))
            found = []
            for number in range(3):
                run = folder / "bits" / f"{precision} {name} {number}"
                with contextlib.suppress(KilledError):
                    recipes.train(values, to=run, progress=_kill if number == 2 else None)
                if number == 2:
                    recipes.resume(run)
                weights = (run / "model" / "model.safetensors").read_bytes()
                found.append((weights, (run / "losses.csv").read_bytes(), (run / "test.json").read_bytes()))
            twice, resumed = (_difference(found[0], other) for other in found[1:])
            yield f"{f'{name}, {precision}':44s}{twice:>10s}{resumed:>22s}"
    shutil.rmtree(folder / "bits", ignore_errors=True)


def _kill(done: int, total: int, words: str) -> None:
    if done == 7:
        raise KilledError


def _difference(one: tuple[bytes, ...], other: tuple[bytes, ...]) -> str:
    differs = [what for what, a, b in zip(("weights", "losses", "test"), one, other, strict=True) if a != b]
    return "other " + differs[0] if differs else "yes"


# --- study


def small_study(store: Store, folder: Path, options: argparse.Namespace) -> Iterator[str]:
    """Lines about the time of a study of twelve runs and six searches."""
    yield f"{'a small study':44s}{'seconds':>10s}"
    reference = None
    cases = [(options.device, count) for count in options.workers]
    cases += [("cpu", os.cpu_count() or 1)] if options.device != "cpu" else []
    for device, workers in cases:
        train = {"steps": 10 if options.small else 200, "batch_size": 16, "evaluations": 4}
        values = recipe_of(store, device, data={"crop": 32}, task={"target": "label"}, train=train)
        values["study"] = {
            "baseline": "s1",
            "variants": {"s1": {"inputs": ["s1"]}, "s2": {"inputs": ["s2"]}, "both": {}},
            "search": {"learning_rates": [0.001, 0.003]},
            "seeds": [0] if options.small else [0, 1, 2],
        }
        started = time.perf_counter()
        recipes.study(values, to=folder / "study" / f"{device} {workers}", workers=workers)
        taken = time.perf_counter() - started
        reference = reference or taken
        what = f"{device}, {workers} run{'s' if workers > 1 else ''} at a time"
        yield f"{what:44s}{taken:8.1f} s{reference / taken:>10.2f} × the first"
    shutil.rmtree(folder / "study", ignore_errors=True)


# --- predictions


def predictions(store: Store, folder: Path, options: argparse.Namespace) -> Iterator[str]:
    """Lines about predictions."""
    yield f"{'prediction':44s}{'eofuse':>12s}{'bare':>12s}{'eofuse / bare':>22s}"
    for name in ("one class", "class map"):
        train = {"steps": 4, "batch_size": 8, "evaluations": 1}
        run = recipes.train(recipe_of(store, options.device, train=train, **CASES[name]), to=folder / "predict" / name)
        model = run.folder / "model"
        ours, bare = [], []
        predict_store(model, store, device=options.device)
        for _ in range(options.rounds):
            started = time.perf_counter()
            predict_store(model, store, device=options.device)
            ours.append(len(store) / (time.perf_counter() - started))
            bare.append(forward_passes(model, options.device, store.patch_size[0], len(store)))
        yield _speeds(f"predict, {name}", ours, bare, "patches/s")
    if not options.scene:
        return
    scene = write_scene(folder / "scene", options.scene)
    pixels, ours, bare = options.scene**2 / 1e6, [], []
    for number in range(min(3, options.rounds)):
        started = time.perf_counter()
        target = folder / "scene" / f"map{number}.tif"
        eofuse.map_scenes(folder / "predict" / "class map", output=target, layers=scene, device=options.device)
        ours.append(pixels / (time.perf_counter() - started))
        windows = max(1, round(1.25 * pixels * 1e6 / 256**2))
        bare.append(forward_passes(model, options.device, 256, windows) / windows * pixels)
    yield _speeds(f"map of a scene, {pixels:.1f} Mpx", ours, bare, "Mpx/s")


def _speeds(what: str, ours: list[float], bare: list[float], unit: str) -> str:
    ratios = [a / b for a, b in zip(ours, bare, strict=True)]
    mine, other = statistics.median(ours), statistics.median(bare)
    return f"{what:44s}{mine:12.1f}{other:12.1f}{quartiles(ratios):>22s} {unit}"


def forward_passes(folder: Path, device: str, size: int, count: int) -> float:
    """Patches a second of bare forward passes in batches of 64 that lie on the device, results left there."""
    model = load_model(folder, device)
    inputs = {
        each.name: torch.zeros((64, *each.shape((size, size))), dtype=getattr(torch, each.dtype), device=device)
        for each in model.spec.modalities
    }
    batches = max(1, count // 64)
    model.predict(inputs)
    _wait(torch.device(device))
    started = time.perf_counter()
    for _ in range(batches):
        model.predict(inputs)
    _wait(torch.device(device))
    return 64 * batches / (time.perf_counter() - started)


def write_scene(folder: Path, side: int) -> dict[str, str]:
    """Two files of random pixels on one grid; their paths by layer."""
    import rasterio
    from affine import Affine

    folder.mkdir()
    random = np.random.default_rng(0)
    layers = {
        "s2": random.integers(200, 3000, (12, side, side)).astype(np.uint16),
        "s1": random.normal(-12, 3, (2, side, side)).astype(np.float32),
    }
    place = {"crs": "EPSG:32632", "transform": Affine(10, 0, 600_000, 0, -10, 5_000_000)}
    for name, values in layers.items():
        profile = {"driver": "GTiff", "count": len(values), "dtype": values.dtype, "tiled": True, **place}
        with rasterio.open(folder / f"{name}.tif", "w", width=side, height=side, **profile) as file:
            file.write(values)
            bands = {"s2": BANDS, "s1": ("VV", "VH")}[name]
            file.descriptions = bands
    return {name: str(folder / f"{name}.tif") for name in layers}


BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")


# --- numbers


def quartiles(values: list[float]) -> str:
    low, high = np.quantile(values, [0.25, 0.75])
    return f"{statistics.median(values):.2f} ({low:.2f} – {high:.2f})"


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _reset_memory(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _memory(device: str) -> str:
    return f"{torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB" if device.startswith("cuda") else ""


PARTS = {"step": steps, "bits": bits, "study": small_study, "predict": predictions}

if __name__ == "__main__":
    sys.exit(main())

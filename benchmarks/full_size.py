"""What each stage costs on a data set as large as ben-ge, in time and memory.

    python benchmarks/full_size.py [--patches 590326] [--crop 32] [--steps 50] [--names FOLDER] [--folder FOLDER] [--only STAGE …]

Makes a store of 590,326 patches with the names of BigEarthNet (see `full_size_store.py`), whose arrays take 1 GB instead of 250 GB.
Reading comes from the page cache, and networks see the middle `--crop` pixels of each patch.

Each stage runs in a process of its own, on one thread. The table shows seconds, CPU seconds, on which other programs have less effect,
and the most memory that is no view of a file. Imports are not counted, nor what a stage needs from the one before it.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["EOFUSE_VERIFY"] = "0"  # shards are what they are: their checksums are made up

import numpy as np

from full_size_store import ALL, MAP, make_store

TARGET = "clc19"


def main() -> None:
    parser = argparse.ArgumentParser(description="All stages on as many patches as ben-ge has.")
    parser.add_argument("--patches", type=int, default=ALL)
    parser.add_argument("--crop", type=int, default=32)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--names", type=Path, default=Path("../shared/realdata/ben-index"))
    parser.add_argument("--folder", type=Path, help="where the store is made, and kept; a temporary folder by default")
    parser.add_argument("--only", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--stage", choices=list(STAGES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        measure(options)
        return
    with tempfile.TemporaryDirectory() as temporary:
        options.folder = (options.folder or Path(temporary)).resolve()
        if not (options.folder / "store" / "store.json").is_file():
            make_store(options.folder / "store", options.patches, options.names)
        run_stages(options)


def run_stages(options: argparse.Namespace) -> None:
    """Runs every stage in a process of its own, and prints the table."""
    title = f"{options.patches:,} patches, {options.crop} pixels, {options.steps} steps, one thread"
    print(f"{title}\n{'stage':<34}{'seconds':>9}{'CPU s':>9}{'MB':>8}", flush=True)
    total = np.zeros(2)
    for name in options.only:
        arguments = [f"--{key}={getattr(options, key)}" for key in ("patches", "crop", "steps", "folder")]
        command = [sys.executable, __file__, f"--stage={name}", *arguments]
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            print(f"{name:<34}   failed ({done.returncode})", flush=True)
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        note = f"   {found['note']}" if found["note"] else ""
        print(f"{name:<34}{found['seconds']:>9.1f}{found['cpu']:>9.1f}{found['megabytes']:>8.0f}{note}", flush=True)
        if "steps" not in name:
            total += found["seconds"], found["cpu"]
    print(f"{'all but training':<34}{total[0]:>9.1f}{total[1]:>9.1f}")


def measure(options: argparse.Namespace) -> None:
    """Runs one stage and prints what it took, as JSON."""
    import eofuse.trained  # noqa: F401  # what every stage imports is not what is measured

    work = STAGES[options.stage](options)
    peak, done = [anonymous_bytes()], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            peak.append(anonymous_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    started, cpu = time.perf_counter(), cpu_seconds()
    note = work()
    seconds, cpu = time.perf_counter() - started, cpu_seconds() - cpu
    done.set()
    found = {
        "seconds": seconds,
        "cpu": cpu,
        "megabytes": max(peak) / 1e6,
        "note": note if isinstance(note, str) else "",
    }
    print(json.dumps(found))


def cpu_seconds() -> float:
    """Of this process and those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def anonymous_bytes() -> int:
    """Memory of this process that is not a view of a file."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return 1024 * int(line.split()[1])
    return 0


def recipe(options: argparse.Namespace, target: str = TARGET, **train: object):
    """The recipe of all stages: Sentinel-1 and -2, whole scenes apart."""
    from eofuse.config import parse_options
    from eofuse.learning.options import RunOptions

    return parse_options(
        RunOptions,
        {
            "data": {"store": str(options.folder / "store"), "crop": options.crop},
            "inputs": ["s1", "s2"],
            "split": {"protocol": "scene"},
            "task": {"target": target},
            "train": {"steps": options.steps, "evaluations": 1, **train},
        },
    )


def opened(options: argparse.Namespace):
    """The store."""
    from eofuse.data.store import open_store

    return open_store(options.folder / "store")


def stage_open(options: argparse.Namespace) -> Callable[[], object]:
    return lambda: opened(options)


def stage_index(options: argparse.Namespace) -> Callable[[], object]:
    from eofuse.data.store.index import complete_index

    store = opened(options)
    return lambda: complete_index(store.index, list(store.modalities.values()), store.name)


def stage_describe(options: argparse.Namespace) -> Callable[[], object]:
    from eofuse.data.card.describe import describe_store

    store = opened(options)
    return lambda: describe_store(store)


def stage_card(options: argparse.Namespace) -> Callable[[], object]:
    from eofuse.data.card.describe import look_at

    store = opened(options)
    return lambda: look_at(store)


def stage_split(options: argparse.Namespace) -> Callable[[], object]:
    from eofuse.data.splits import SplitOptions, leakage, make_split

    index = opened(options).index
    return lambda: leakage(index, make_split(index, SplitOptions()))


def stage_prepare(options: argparse.Namespace) -> Callable[[], object]:
    from eofuse.learning.preparation import prepare

    store, chosen = opened(options), recipe(options)
    return lambda: prepare(store, chosen)


def stage_prepare_again(options: argparse.Namespace) -> Callable[[], object]:
    from eofuse.learning.preparation import prepare

    store, chosen = opened(options), recipe(options)
    prepare(store, chosen)
    return lambda: prepare(store, chosen.model_copy(update={"seed": 1}))


def stage_statistics(options: argparse.Namespace) -> Callable[[], object]:
    from eofuse.learning.preparation import model_spec, prepare

    chosen = recipe(options)
    prepared = prepare(opened(options), chosen)
    return lambda: model_spec(prepared, chosen)


def stage_order(options: argparse.Namespace) -> Callable[[], object]:
    return lambda: one_epoch(options, "none")


def stage_order_balanced(options: argparse.Namespace) -> Callable[[], object]:
    return lambda: one_epoch(options, "sampling")


def one_epoch(options: argparse.Namespace, balance: str) -> str:
    """Rows of all steps of an epoch, but for what prepares them."""
    from eofuse.learning.fitting import rows_of_step
    from eofuse.learning.preparation import prepare

    chosen = recipe(options)
    assert chosen.task
    chosen = chosen.model_copy(update={"task": chosen.task.model_copy(update={"balance": balance})})
    prepared = prepare(opened(options), chosen)
    steps = len(prepared.rows["train"]) // chosen.train.batch_size
    rows = rows_of_step(prepared, chosen)
    started = time.process_time()
    for step in range(steps):
        rows(step)
    return f"with open and prepare; {1e3 * (time.process_time() - started) / steps:.2f} ms a step, {steps:,} steps"


def trained(options: argparse.Namespace, target: str) -> Path:
    return options.folder / f"run-{target}"


def stage_train(options: argparse.Namespace, target: str = TARGET) -> Callable[[], object]:
    """Steps and one validation, from opening the store on."""
    from eofuse.learning.facts import read_facts
    from eofuse.learning.run import start_run, train_run

    folder, notes = trained(options, target), []
    shutil.rmtree(folder, ignore_errors=True)
    start_run(recipe(options, target), folder)

    def work() -> str:
        began = time.process_time()

        def progress(step: int, steps: int, words: str) -> None:
            if step in (3, steps - 1, steps):
                notes.append(time.process_time() - began)

        train_run(folder, progress=progress, tensorboard=False)
        rows = read_facts(folder, "data.json")["patches"]["validation"]
        before = notes[0] - 3 * (notes[1] - notes[0]) / (options.steps - 4)
        return (
            f"of which CPU s before the first step {before:.0f}, {1e3 * (notes[1] - notes[0]) / (options.steps - 4):.0f} ms a step, "
            f"one validation {notes[2] - notes[1]:.0f} ({rows:,} patches)"
        )

    return work


def stage_test(options: argparse.Namespace, target: str = TARGET) -> Callable[[], object]:
    from eofuse.learning.facts import read_facts
    from eofuse.learning.run import test_run

    folder = trained(options, target)
    (folder / "test.json").unlink(missing_ok=True)

    def work() -> str:
        test_run(folder)
        size = sum(file.stat().st_size for file in (folder / "predictions").iterdir()) / 1e6
        return f"{read_facts(folder, 'data.json')['patches']['test']:,} patches, {size:.0f} MB of evidence"

    return work


def stage_bootstrap(options: argparse.Namespace, target: str = TARGET) -> Callable[[], object]:
    """Evidence from its file, intervals over scenes, and a difference of two runs."""
    from eofuse.data.store import open_store
    from eofuse.evaluation.resampling import Resampling
    from eofuse.learning.evaluate import score_rows, to_predictions
    from eofuse.learning.run import open_run
    from eofuse.tasks import make_task

    run = open_run(trained(options, target))
    task = make_task(open_store(run.options.data.store), run.options.targets[0])

    def work() -> None:
        predictions = to_predictions(run.predictions(), task, 0, 0)
        resampling = Resampling(task.score, 2000)
        score_rows(predictions, resampling)
        resampling.replicate([predictions])

    return work


def stage_control(options: argparse.Namespace, target: str, role: str) -> Callable[[], object]:

    from eofuse.learning.run import start_run
    from eofuse.studies.worker import CONTROLS

    folder = options.folder / f"{role}-{target}"
    shutil.rmtree(folder, ignore_errors=True)
    start_run(recipe(options, target), folder)
    return lambda: CONTROLS[role](folder)


def stage_suggest(options: argparse.Namespace) -> Callable[[], object]:
    """The choice among 41,000 candidates, with 41,000 labelled patches, by features of width 128."""
    from eofuse.evaluation.acquisition import pick

    generator = np.random.default_rng(0)
    count = min(41_000, options.patches // 4)
    vectors, centres = (generator.normal(size=(count, 128)).astype(np.float32) for _ in range(2))
    unsure = generator.random(count)
    return lambda: pick("mix", 200, vectors, centres, unsure) and f"200 of {count:,} patches, {count:,} labelled"


STAGES: dict[str, Callable[[argparse.Namespace], Callable[[], object]]] = {
    "open": stage_open,
    "check of the index": stage_index,
    "describe": stage_describe,
    "data card": stage_card,
    "split and leakage": stage_split,
    "prepare": stage_prepare,
    "prepare again": stage_prepare_again,
    "statistics": stage_statistics,
    "order of an epoch": stage_order,
    "order, balanced": stage_order_balanced,
    "steps": stage_train,
    "test": stage_test,
    "bootstrap": stage_bootstrap,
    "constant": lambda options: stage_control(options, TARGET, "constant"),
    "frozen random": lambda options: stage_control(options, TARGET, "frozen_random"),
    "steps, map": lambda options: stage_train(options, MAP),
    "test, map": lambda options: stage_test(options, MAP),
    "bootstrap, map": lambda options: stage_bootstrap(options, MAP),
    "per pixel, map": lambda options: stage_control(options, MAP, "per_pixel"),
    "frozen random, map": lambda options: stage_control(options, MAP, "frozen_random"),
    "suggest": stage_suggest,
}
"""By name: gets ready, and gives what is measured."""


if __name__ == "__main__":
    sys.exit(main())

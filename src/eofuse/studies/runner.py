"""Runs the cells of a study, several at once; done cells are kept, so a killed study goes on where it was.

A study folder holds `study.yaml`, a run folder a cell in `cells/<identity>/`, and the tables that `collect` writes.
"""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from eofuse.config import write_yaml
from eofuse.data.store import open_store
from eofuse.errors import DataError, UsageError
from eofuse.files import write_text
from eofuse.learning.preparation import prepare
from eofuse.learning.run import RECIPE_FILE, open_run, start_run
from eofuse.studies.collect import collect
from eofuse.studies.energy import read_energy_joules
from eofuse.studies.grid import Cell, StudyPlan, final_cells, search_cells
from eofuse.studies.results import StudyResults, read_results

STUDY_FILE = "study.yaml"
COST_FILE = "cost.json"

Progress = Callable[[int, int, str], None]


def run_study(
    plan: StudyPlan,
    recipe: Mapping[str, Any],
    folder: Path,
    *,
    workers: int | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> StudyResults:
    """Runs a study to its end and writes its tables.

    Args:
        plan: the study, resolved.
        recipe: its recipe as written, kept for the report.
        folder: where it is run; if it holds an interrupted study, that goes on.
        workers: processes at a time, one a core by default, each with the recipe's number of threads.
        command: what repeats it, for the report.
        progress: called with (runs done, runs in all, a few words).

    Raises:
        UsageError: if the folder holds something else.
        DataError: if the data don't fit the study.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / STUDY_FILE).is_file():
        raise UsageError("exists and holds no study", where=folder, fix="choose another folder")
    baseline = plan.variants[plan.axes.baseline]
    store = open_store(baseline.data.store)
    for options in plan.variants.values():
        prepare(store, options)  # finds what is wrong before anything runs
    write_text(folder / STUDY_FILE, write_yaml(recipe))
    started, energy = time.perf_counter(), read_energy_joules()
    searches = search_cells(plan)
    learning_rates = dict.fromkeys(plan.variants, plan.axes.search.learning_rates[0])
    total = len(searches) + len(final_cells(plan, learning_rates))
    folders = _run_cells(searches, folder, store.fingerprint, workers, _shifted(progress, 0, total))
    learning_rates = best_learning_rates([(cell, folders[cell.identity(store.fingerprint)]) for cell in searches])
    finals = final_cells(plan, learning_rates)
    folders |= _run_cells(finals, folder, store.fingerprint, workers, _shifted(progress, len(searches), total))
    _add_cost(folder, time.perf_counter() - started, energy)
    cost = json.loads((folder / COST_FILE).read_text(encoding="utf-8"))
    collect(
        plan,
        recipe,
        folder,
        [(cell, folders[cell.identity(store.fingerprint)]) for cell in searches + finals],
        cost,
        command,
    )
    return read_results(folder)


def best_learning_rates(searches: Sequence[tuple[Cell, Path]]) -> dict[str, float]:
    """The learning rate of each variant's best search run by validation; the smaller one of equals."""
    best: dict[str, tuple[float, float]] = {}
    for cell, folder in searches:
        result = open_run(folder).result
        candidate = (result["validation"][result["metric"]], -cell.options.train.learning_rate)
        best[cell.variant] = max(best.get(cell.variant, candidate), candidate)
    return {name: -negative for name, (_, negative) in best.items()}


def _shifted(progress: Progress | None, done: int, total: int) -> Progress | None:
    return (lambda here, _, words: progress(done + here, total, words)) if progress else None


def _run_cells(
    cells: Sequence[Cell], folder: Path, fingerprint: str, workers: int | None, progress: Progress | None
) -> dict[str, Path]:
    """Runs cells that are not done yet; returns the folder of each, by identity, in their order."""
    by_identity = {cell.identity(fingerprint): cell for cell in cells}
    folders = {identity: folder / "cells" / identity for identity in by_identity}
    for identity, cell in by_identity.items():
        if not (folders[identity] / RECIPE_FILE).is_file():
            start_run(cell.options, folders[identity])
    done = len(cells) - len(by_identity)
    if progress:
        progress(done, len(cells), "")
    threads = cells[0].options.train.threads
    workers = workers or max(1, (os.cpu_count() or 1) // threads)
    if workers == 1 or len(by_identity) == 1:
        for identity, cell in by_identity.items():
            _run_cell(cell.role, folders[identity])
            done += 1
            if progress:
                progress(done, len(cells), _words(cell))
        return folders
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    if os.name == "posix":
        context.set_forkserver_preload(["eofuse.studies.worker"])
    with ProcessPoolExecutor(
        min(workers, len(by_identity)), mp_context=context, initializer=_ignore_interrupts
    ) as pool:
        waiting = {pool.submit(_run_cell, cell.role, folders[identity]): cell for identity, cell in by_identity.items()}
        try:
            for finished in as_completed(waiting):
                finished.result()
                done += 1
                if progress:
                    progress(done, len(cells), _words(waiting[finished]))
        except BrokenProcessPool:
            fix = "run it again to go on, with fewer --workers if memory was short"
            raise DataError("a process of the study was killed", where=folder, fix=fix) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return folders


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent process, which ends the pool


def _words(cell: Cell) -> str:
    what = {
        "search": f"learning rate {cell.options.train.learning_rate:g}",
        "frozen_random": "frozen random",
        "constant": "control",
    }
    return f"{cell.variant}, {what.get(cell.role, f'seed {cell.options.seed}')}"


def _run_cell(role: str, folder: Path) -> None:
    from eofuse.studies.worker import run_cell

    run_cell(role, folder)


def _add_cost(folder: Path, seconds: float, energy_before: float | None) -> None:
    """Adds this stretch of work to the study's cost over all interruptions."""
    file = folder / COST_FILE
    cost: dict[str, Any] = {"seconds": 0.0, "energy_joules": None}
    if file.is_file():
        cost = json.loads(file.read_text(encoding="utf-8"))
    energy_now = read_energy_joules()
    if energy_before is not None and energy_now is not None and energy_now >= energy_before:
        cost["energy_joules"] = (cost["energy_joules"] or 0.0) + energy_now - energy_before
    cost["seconds"] += seconds
    write_text(file, json.dumps(cost) + "\n")

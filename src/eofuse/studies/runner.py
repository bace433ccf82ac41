"""Runs the cells of a study, several at once; done cells are kept, so a killed study goes on where it was.

A study folder holds `study.yaml`, a run folder a cell in `cells/<identity>/`, and the tables that `collect` writes.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from eofuse.config import write_yaml
from eofuse.data.store import open_store
from eofuse.errors import DataError, UsageError
from eofuse.files import locked, remove_temporaries, write_text
from eofuse.learning.controls.per_pixel import is_map
from eofuse.learning.outputs import TEST_FILE
from eofuse.learning.preparation import LearningOptions, annotation_digests, prepare, rehearse
from eofuse.learning.run import RECIPE_FILE, RESULT_FILE, open_run, recipe_text
from eofuse.modalities import Kind
from eofuse.models.heads.base import PIXEL_KINDS
from eofuse.studies.collect import collect
from eofuse.studies.energy import read_energy_joules
from eofuse.studies.grid import Cell, Key, StudyPlan, final_cells, pretraining_name, search_cells
from eofuse.studies.labels import count_labels
from eofuse.studies.pool import Pool
from eofuse.studies.pretraining import Pretraining, rehearse_start, started_from
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
        workers: processes at a time; by default one a core, each with the recipe's number of threads, or one on a GPU.
        command: what repeats it, for the report.
        progress: called with (runs done, runs in all, a few words).

    Raises:
        UsageError: if the folder holds something else.
        DataError: if the data don't fit the study.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / STUDY_FILE).is_file():
        remove_temporaries(folder)
        if any(folder.iterdir()):
            raise UsageError("exists and holds no study", where=folder, fix="choose another folder")
    store = open_store(plan.options.data.store)
    with_maps = []
    for name, options in plan.variants.items():
        prepared = prepare(store, options)
        start = pretraining_name(options)  # finds what is wrong before anything runs
        if start is None:
            rehearse(prepared, options)
        else:
            rehearse_start(store, prepared, options, plan.pretraining[start])
        rasters = any(store.modality(modality).kind is Kind.RASTER for modality in options.inputs)
        if rasters and any(is_map(task) for task in prepared.tasks):
            with_maps.append(name)
        pixels = any(task.kind in PIXEL_KINDS for task in prepared.tasks)
        if pixels and options.data.crop != plan.options.data.crop:
            fix = "give all variants the same data.crop"
            raise UsageError("has other pixels to predict than the baseline", where=f"study.variants.{name}", fix=fix)
    counts = count_labels(store, plan)
    complete = np.logical_and.reduce([store.present(name) for name in plan.options.data.require])
    annotations = sorted(
        {digest for options in plan.variants.values() for digest in annotation_digests(options).values()}
    )
    data = " ".join([store.fingerprint, hashlib.sha256(complete.tobytes()).hexdigest(), *annotations])
    threads = plan.options.train.threads
    count = workers or (1 if _uses_cuda(plan) else max(1, (os.cpu_count() or 1) // threads))
    with locked(folder) as ours:
        if not ours:
            raise UsageError(
                "another process is running this study", where=folder, fix="wait for it, or choose another folder"
            )
        write_text(folder / STUDY_FILE, write_yaml(recipe))
        with _Cost(folder) as cost, Pool(count, threads, store.fingerprint) as pool:
            searches = search_cells(plan)
            some_rates = dict.fromkeys(plan.keys, plan.axes.search.learning_rates[0])
            total = len(plan.pretrainings) + len(searches) + len(final_cells(plan, some_rates, with_maps))
            cells = _Cells(folder, data, pool, cost, total, progress)
            pretrained = cells.run(plan.pretrainings)
            searched = cells.run(searches)
            tested = cells.run(final_cells(plan, best_learning_rates(searched), with_maps))
        collect(plan, recipe, folder, searched + tested, pretrained, counts, cost.values, command)
    return read_results(folder)


def best_learning_rates(searches: Sequence[tuple[Cell, Path]]) -> dict[Key, float]:
    """The learning rate of the best search run by validation for each variant, fold and amount; the smaller one of equals.

    Raises:
        DataError: if every run of a variant diverged.
    """
    best: dict[Key, tuple[float, float]] = {}
    for cell, folder in searches:
        score = open_run(folder).result["score"]
        candidate = (-math.inf if score is None else score, -cell.options.train.learning_rate)
        best[cell.key] = max(best.get(cell.key, candidate), candidate)
    for (variant, *_), (score, _) in best.items():
        if score == -math.inf:
            fix = "add smaller ones to study.search.learning_rates"
            raise DataError("training diverged at every learning rate", where=f"study.variants.{variant}", fix=fix)
    return {key: -negative for key, (_, negative) in best.items()}


def _uses_cuda(plan: StudyPlan) -> bool:
    import torch

    return plan.options.train.device != "cpu" and torch.cuda.is_available()


AnyCell = TypeVar("AnyCell", Cell, Pretraining)


def _is_done(cell: Cell | Pretraining, folder: Path) -> bool:
    return (folder / (RESULT_FILE if cell.role in ("search", "pretraining") else TEST_FILE)).is_file()


class _Cells:
    """Runs cells that are not done yet.

    Args:
        folder: of the study.
        data: digest of the data and of the patches that are used.
        pool: that runs them.
        cost: to which their time is added.
        total: number of runs in all, for the progress.
        progress: told of every run that is done.
    """

    def __init__(
        self, folder: Path, data: str, pool: Pool, cost: "_Cost", total: int, progress: Progress | None
    ) -> None:
        self.folder, self.data, self.pool, self.cost, self.total, self.progress = (
            folder,
            data,
            pool,
            cost,
            total,
            progress,
        )
        self.done = 0

    def run(self, cells: Sequence[AnyCell]) -> list[tuple[AnyCell, Path]]:
        """Runs cells to their end; gives the folder of each. Cells of one identity are run once."""
        folders = [self._folder(cell) for cell in cells]
        by_folder = dict(zip(folders, cells, strict=True))
        for folder, cell in by_folder.items():  # store and device may have moved since the cell began
            remove_temporaries(folder)
            options: LearningOptions = cell.options
            if isinstance(cell, Cell) and cell.pretraining:
                options = started_from(cell.options, self._folder(cell.pretraining))
            write_text(folder / RECIPE_FILE, recipe_text(options))
        jobs = [(cell.role, folder) for folder, cell in by_folder.items() if not _is_done(cell, folder)]
        self._tell(len(cells) - len(jobs), "")
        for _, folder in self.pool.run(jobs):
            self.cost.save()
            self._tell(1, by_folder[folder].words)
        return list(zip(cells, folders, strict=True))

    def _folder(self, cell: Cell | Pretraining) -> Path:
        """A cell's run folder; what is pretrained does not depend on which patches have labels."""
        data = self.pool.fingerprint if isinstance(cell, Pretraining) else self.data
        return self.folder / "cells" / cell.identity(data)

    def _tell(self, more: int, words: str) -> None:
        self.done += more
        if self.progress:
            self.progress(self.done, self.total, words)


class _Cost:
    """Seconds and energy of a study over all interruptions; use it in a `with` block."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / COST_FILE
        self.before: dict[str, Any] = {"seconds": 0.0, "energy_joules": None}
        if self.file.is_file():
            self.before = json.loads(self.file.read_text(encoding="utf-8"))
        self.started = time.perf_counter()
        self.energy = read_energy_joules()

    @property
    def values(self) -> dict[str, Any]:
        """`seconds`, and `energy_joules` where it is known."""
        now, joules = read_energy_joules(), self.before["energy_joules"]
        if self.energy is not None and now is not None and now >= self.energy:
            joules = (joules or 0.0) + now - self.energy
        return {"seconds": self.before["seconds"] + time.perf_counter() - self.started, "energy_joules": joules}

    def save(self) -> None:
        """Writes what it is now."""
        write_text(self.file, json.dumps(self.values) + "\n")

    def __enter__(self) -> "_Cost":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.save()

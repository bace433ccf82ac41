"""Runs the cells of a study, several at once; done cells are kept, so a killed study goes on where it was.

A study folder holds `study.yaml`, a run folder a cell in `cells/<identity>/`, and the tables that `collect` writes.
"""

import hashlib
import json
import time
from _thread import interrupt_main
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from eofuse.config import write_yaml
from eofuse.data.store import Store, shared_store
from eofuse.data.store.gaps import has_required
from eofuse.errors import UsageError, did_you_mean
from eofuse.files import is_empty, remove_temporaries, write_text
from eofuse.learning.annotation import refuse_without_probabilities
from eofuse.learning.leaks import refuse_one_target_twice
from eofuse.learning.lineage import history_of_vectors
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import Prepared, annotation_digests, inherited, rehearse
from eofuse.learning.sharing import prepare_once
from eofuse.locks import remove_locks, writes
from eofuse.progress import Progress
from eofuse.records import read_record, sealed
from eofuse.studies.claims import claimed, remove_claims
from eofuse.studies.collect import collect
from eofuse.studies.energy import read_energy_joules
from eofuse.studies.executors import EXECUTORS, Resources, Setting, read_resources
from eofuse.studies.grid import Cell
from eofuse.studies.labels import count_labels
from eofuse.studies.plan import StudyPlan, at
from eofuse.studies.pretraining import pretraining_name, rehearse_start
from eofuse.studies.results import STUDY_FILE, StudyResults, read_results
from eofuse.studies.steps import CellFolders, StudyWork

COST_FILE = "cost.json"


@writes("folder")
def run_study(
    plan: StudyPlan,
    recipe: Mapping[str, Any],
    folder: Path,
    *,
    on: str = "local",
    resources: Resources | None = None,
    workers: int | None = None,
    retry_failed: bool = False,
    command: str = "",
    progress: Progress | None = None,
) -> StudyResults:
    """Runs a study to its end and writes its tables.

    Args:
        plan: the study, resolved.
        recipe: its recipe as written, kept for the report.
        folder: where it is run; if it holds an interrupted study, that goes on.
        on: where its runs are done (see `eofuse.studies.executors`).
        resources: what is asked of that place; nothing in particular by default.
        workers: runs at a time; on this machine, by default one a core, each with the recipe's number of threads, or on CUDA
            devices, which they take in turn, a few on each (see `eofuse.studies.cards`).
        retry_failed: try runs again whose training diverged; what failed for other reasons is tried again anyway.
        command: what repeats it, for the report.
        progress: called with (runs done, runs in all, a few words).

    Raises:
        UsageError: if the folder holds something else.
        DataError: if the data don't fit the study, or no run of the baseline has a score after all others were run.
    """
    resources = resources or read_resources(on)
    if folder.exists() and not is_empty(folder) and not (folder / STUDY_FILE).is_file():
        raise UsageError("exists and holds no study", where=folder, fix="choose another folder")
    with claimed(folder, leave=interrupt_main, waiting=lambda words: progress and progress(0, 1, words)) as claim:
        if (folder / STUDY_FILE).is_file():
            remove_locks(folder)
            remove_temporaries(folder)
        store = shared_store(plan.options.data.store)
        refuse_one_target_twice(store, plan.targets)
        with_maps = [name for name in plan.variants if _rehearse_variant(store, plan, name)]
        counts = count_labels(store, plan)
        write_text(folder / STUDY_FILE, write_yaml(recipe))
        training = [plan.options.train, *(options.train for options in plan.variants.values())]
        setting = Setting(folder, store.fingerprint, training, claim.token, workers)
        folders = CellFolders(folder, _digest_of_data(store, plan), store.fingerprint)
        with _Cost(folder) as cost, EXECUTORS[on](setting, resources) as executor:
            work = StudyWork(plan, folders, with_maps, retry_failed, cost.save, progress)
            _check_questions(plan, work.tested())
            work.run(executor)
        remove_claims(folder / "cells")
        every = work.finished([*work.searched(), *work.tested()])
        pretrained = work.finished(plan.pretrainings)
        collect(plan, recipe, folder, every, pretrained, counts, cost.values, command, work.failed())
    return read_results(folder)


def _rehearse_variant(store: Store, plan: StudyPlan, name: str) -> bool:
    """Finds what is wrong with a variant before anything runs; gives whether both its targets and its inputs have pixels."""
    options = plan.variants[name]
    prepared = prepare_once(store, options)
    if options.labels.picked_by:
        refuse_without_probabilities(options.labels.picked_by, [task.kind for task in prepared.tasks])
    start = pretraining_name(options)
    if start is None:
        rehearse(prepared, options)
        _refuse_seen_in_folds(store, plan, options)
    else:
        rehearse_start(store, prepared, options, plan.pretraining[start])
    if name in plan.axes.trees:
        _refuse_pixels(prepared, options)
    if any(task.kind.needs_maps for task in prepared.tasks) and options.data.crop != plan.options.data.crop:
        fix = "give all variants the same data.crop"
        raise UsageError("has other pixels to predict than the baseline", where=f"study.variants.{name}", fix=fix)
    rasters = any(store.modality(modality).has_pixels for modality in options.inputs)
    return rasters and any(task.kind.is_map for task in prepared.tasks)


def _digest_of_data(store: Store, plan: StudyPlan) -> str:
    """Of the data, and of the patches and annotations that are used."""
    complete = has_required(store, plan.options.data.require, plan.options.data.empty_bands)
    annotations = sorted(
        {digest for options in plan.variants.values() for digest in annotation_digests(options).values()}
    )
    return " ".join([store.fingerprint, hashlib.sha256(complete.tobytes()).hexdigest(), *annotations])


def _refuse_seen_in_folds(store: Store, plan: StudyPlan, options: RunOptions) -> None:
    """Raises a `UsageError` if the weights of a variant have seen the test patches of a later fold."""
    if options.start is not None or history_of_vectors(store, options.inputs):
        for fold in plan.folds[1:]:
            prepared = prepare_once(store, at(options, fold, options.seed, options.labels.amount))
            if options.start is not None:
                inherited(prepared, options.start)


def _refuse_pixels(prepared: Prepared, options: RunOptions) -> None:
    """Raises a `UsageError` if trees can't learn a variant's targets from its inputs."""
    rasters = [name for name in options.inputs if prepared.store.modality(name).has_pixels]
    if rasters:
        found = f"trees learn from columns, and {options.name} has inputs with pixels: {', '.join(rasters)}"
        raise UsageError(found, where="study.trees", fix="name variants without them")
    if all(task.kind.needs_maps for task in prepared.tasks):
        found = f"trees learn no target of {options.name}: none is one class, labels or numbers a patch"
        raise UsageError(found, where="study.trees", fix="take it away")


def _check_questions(plan: StudyPlan, cells: Sequence[Cell]) -> None:
    """Raises a `UsageError` if a question of the study compares what is no row of its leaderboard."""
    rows = list(dict.fromkeys(cell.variant for cell in cells))
    for question, pair in plan.axes.compare.items():
        for name in pair:
            if name not in rows:
                fix = did_you_mean(name, rows)
                raise UsageError(f"no variant or control '{name}'", where=f"study.compare.{question}", fix=fix)


class _CostSoFar(BaseModel):
    """What `cost.json` must be."""

    model_config = ConfigDict(strict=True, extra="forbid")

    seconds: float = Field(ge=0, allow_inf_nan=False)
    energy_joules: float | None = Field(ge=0, allow_inf_nan=False)


class _Cost:
    """Seconds and energy of a study over all interruptions; use it in a `with` block."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / COST_FILE
        self.before: dict[str, Any] = {"seconds": 0.0, "energy_joules": None}
        if self.file.is_file():
            self.before = read_record(self.file, _CostSoFar, "delete it; the study's cost is counted anew")
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
        write_text(self.file, json.dumps(sealed(self.values)) + "\n")

    def __enter__(self) -> "_Cost":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.save()

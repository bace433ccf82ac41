"""Runs the cells of a study, several at once; done cells are kept, so a killed study goes on where it was.

A study folder holds `study.yaml`, a run folder a cell in `cells/<identity>/`, and the tables that `collect` writes.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from eofuse.config import write_yaml
from eofuse.data.store import Store, shared_store
from eofuse.data.store.gaps import has_required
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.files import is_empty, remove_temporaries, write_text
from eofuse.learning.annotation import order_file, refuse_without_probabilities
from eofuse.learning.facts import RESULT_FILE, TEST_FILE
from eofuse.learning.leaks import refuse_one_target_twice
from eofuse.learning.lineage import history_of_vectors
from eofuse.learning.options import LearningOptions, RunOptions
from eofuse.learning.preparation import Prepared, annotation_digests, inherited, rehearse
from eofuse.learning.run import RECIPE_FILE, open_run, recipe_text
from eofuse.learning.sharing import prepare_once
from eofuse.learning.transfer import weights_digest
from eofuse.locks import remove_locks, writes
from eofuse.progress import Progress
from eofuse.records import read_record
from eofuse.studies.cards import cards_for, workers_on
from eofuse.studies.collect import collect
from eofuse.studies.energy import read_energy_joules
from eofuse.studies.failures import Failure, describe_failure, diverged_before, forget_failure, note_failure
from eofuse.studies.grid import Cell, final_cells, search_cells
from eofuse.studies.labels import count_labels
from eofuse.studies.missing import is_answered, is_asked, job
from eofuse.studies.picking import PICKING
from eofuse.studies.plan import Key, StudyPlan, at
from eofuse.studies.pool import Pool
from eofuse.studies.pretraining import Pretraining, pretraining_name, rehearse_start, started_from
from eofuse.studies.results import STUDY_FILE, StudyResults, read_results

COST_FILE = "cost.json"

NO_RATE = "training diverged at every learning rate"


@writes("folder")
def run_study(
    plan: StudyPlan,
    recipe: Mapping[str, Any],
    folder: Path,
    *,
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
        workers: processes at a time; by default one a core, each with the recipe's number of threads, or on CUDA devices, which
            they take in turn, a few on each (see `eofuse.studies.cards`).
        retry_failed: try runs again whose training diverged; what failed for other reasons is tried again anyway.
        command: what repeats it, for the report.
        progress: called with (runs done, runs in all, a few words).

    Raises:
        UsageError: if the folder holds something else.
        DataError: if the data don't fit the study, or no run of the baseline has a score after all others were run.
    """
    if (folder / STUDY_FILE).is_file():
        remove_locks(folder)
        remove_temporaries(folder)
    elif folder.exists() and not is_empty(folder):
        raise UsageError("exists and holds no study", where=folder, fix="choose another folder")
    store = shared_store(plan.options.data.store)
    refuse_one_target_twice(store, plan.targets)
    with_maps = []
    for name, options in plan.variants.items():
        prepared = prepare_once(store, options)
        if options.labels.picked_by:
            refuse_without_probabilities(options.labels.picked_by, [task.kind for task in prepared.tasks])
        start = pretraining_name(options)  # finds what is wrong before anything runs
        if start is None:
            rehearse(prepared, options)
            _refuse_seen_in_folds(store, plan, options)
        else:
            rehearse_start(store, prepared, options, plan.pretraining[start])
        rasters = any(store.modality(modality).has_pixels for modality in options.inputs)
        if rasters and any(task.kind.is_map for task in prepared.tasks):
            with_maps.append(name)
        if name in plan.axes.trees:
            _refuse_pixels(prepared, options)
        pixels = any(task.kind.needs_maps for task in prepared.tasks)
        if pixels and options.data.crop != plan.options.data.crop:
            fix = "give all variants the same data.crop"
            raise UsageError("has other pixels to predict than the baseline", where=f"study.variants.{name}", fix=fix)
    counts = count_labels(store, plan)
    complete = has_required(store, plan.options.data.require, plan.options.data.empty_bands)
    annotations = sorted(
        {digest for options in plan.variants.values() for digest in annotation_digests(options).values()}
    )
    data = " ".join([store.fingerprint, hashlib.sha256(complete.tobytes()).hexdigest(), *annotations])
    threads = plan.options.train.threads
    cards = cards_for(options.train for options in plan.variants.values())
    count = workers or (workers_on(cards, threads) if cards else _runs_at_a_time(plan))
    write_text(folder / STUDY_FILE, write_yaml(recipe))
    with _Cost(folder) as cost, Pool(count, threads, store.fingerprint, cards) as pool:
        rates = dict.fromkeys(plan.keys, plan.axes.search.learning_rates[0])
        final = final_cells(plan, rates, with_maps)
        planned = len(search_cells(plan, learning_rates=rates)) + len(final)
        planned += sum(is_asked(plan, cell) for cell in final)
        _check_questions(plan, final)
        total = len(plan.pretrainings) + planned
        cells = _Cells(folder, data, pool, cost, total, progress, retry_failed)
        pretrained = cells.run(plan.pretrainings)
        searched, tested = [], []
        for amounts in plan.stages:
            found = cells.run(search_cells(plan, amounts, rates))
            best = best_learning_rates(cells.finished(found))
            cells.without_rate |= {cell.key for cell, _ in found} - best.keys()
            if not best:
                where = ", ".join(dict.fromkeys(f"study.variants.{cell.variant}" for cell, _ in found))
                fix = "add smaller ones to study.search.learning_rates"
                raise DataError(f"{NO_RATE}, or the runs failed", where=where, fix=fix)
            rates |= best
            searched += found
            tested += cells.run(final_cells(plan, rates, with_maps, amounts))
        cells.take_away(plan, cells.finished(tested))
    every = cells.finished(searched + tested)
    collect(plan, recipe, folder, every, cells.finished(pretrained), counts, cost.values, command, cells.failed)
    return read_results(folder)


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


def best_learning_rates(searches: Sequence[tuple[Cell, Path]]) -> dict[Key, float]:
    """The learning rate of the best search run by validation for each variant, fold and amount; the smaller one of equals.

    Those are left out of which every run diverged.
    """
    best: dict[Key, tuple[float, float]] = {}
    for cell, folder in searches:
        score = open_run(folder).result["score"]
        candidate = (-math.inf if score is None else score, -cell.options.train.learning_rate)
        best[cell.key] = max(best.get(cell.key, candidate), candidate)
    return {key: -negative for key, (score, negative) in best.items() if score > -math.inf}


def _runs_at_a_time(plan: StudyPlan) -> int:
    """As many as there are cores for; one on a device that the recipe names."""
    options = plan.options.train
    return max(1, (os.cpu_count() or 1) // options.threads) if options.device in ("auto", "cpu") else 1


AnyCell = TypeVar("AnyCell", Cell, Pretraining)


def _is_done(cell: Cell | Pretraining, folder: Path) -> bool:
    return (folder / (RESULT_FILE if cell.role in ("search", "pretraining") else TEST_FILE)).is_file()


class _Cells:
    """Runs cells that are not done yet; `data` is a digest of the data and of the patches that are used.

    Attributes:
        failed: the runs that failed (see `describe_failure`).
        without_rate: variants, folds and amounts of labels for which no learning rate was found.
    """

    def __init__(
        self,
        folder: Path,
        data: str,
        pool: Pool,
        cost: "_Cost",
        total: int,
        progress: Progress | None,
        retry_failed: bool,
    ) -> None:
        self.folder, self.data, self.pool, self.cost = folder, data, pool, cost
        self.total, self.progress, self.retry_failed = total, progress, retry_failed
        self.failed: list[dict[str, Any]] = []
        self._failed: dict[tuple[str, Path], Failure] = {}
        self.without_rate: set[Key] = set()
        self.unpicked: dict[Path, Failure] = {}
        self.weights: dict[tuple[str, str | None], str | None] = {}
        self.done = 0

    def run(self, cells: Sequence[AnyCell]) -> list[tuple[AnyCell, Path]]:
        """Runs cells to their end, but for those that fail; gives the folder of each. Cells of one identity are run once."""
        self._pick(cells)
        folders = [self._folder(cell) for cell in cells]
        by_folder = dict(zip(folders, cells, strict=True))
        failed = {
            folder: failure for folder, cell in by_folder.items() if (failure := self._kept_failure(cell, folder))
        }
        for folder, cell in by_folder.items():  # store and device may have moved since the cell began
            if folder in failed:
                continue
            options: LearningOptions = cell.options
            if isinstance(cell, Cell) and cell.pretraining:
                options = started_from(cell.options, self._folder(cell.pretraining))
            if isinstance(cell, Cell) and (order := self._order(cell)):
                labels = cell.options.labels.model_copy(update={"order": str(order)})
                options = options.model_copy(update={"labels": labels})
            write_text(folder / RECIPE_FILE, recipe_text(options))
        jobs = [
            (cell.role, folder)
            for folder, cell in by_folder.items()
            if folder not in failed and not _is_done(cell, folder)
        ]
        self._tell(len(cells) - len(jobs), "")
        for (_, folder), failure in self.pool.run(jobs):
            self.cost.save()
            words = by_folder[folder].words
            forget_failure(folder)
            if failure:
                failed[folder] = failure
                note_failure(folder, failure)
                words = f"{words}: failed, {failure.why}"
            self._tell(1, words)
        found = list(zip(cells, folders, strict=True))
        self.failed += [describe_failure(cell, failed[folder]) for cell, folder in found if folder in failed]
        self._failed |= {(cell.role, folder): failed[folder] for cell, folder in found if folder in failed}
        return found

    def finished(self, runs: Sequence[tuple[AnyCell, Path]]) -> list[tuple[AnyCell, Path]]:
        """Those of the runs that did not fail."""
        return [(cell, folder) for cell, folder in runs if (cell.role, folder) not in self._failed]

    def _kept_failure(self, cell: Cell | Pretraining, folder: Path) -> Failure | None:
        """Why a cell is not run, if it is not: it diverged before, or what it needs failed."""
        if _is_done(cell, folder):
            return None
        if isinstance(cell, Cell):
            if cell.role == "variant" and cell.key in self.without_rate:
                return Failure("blocked", NO_RATE)
            if cell.pretraining and (start := self._failed.get(("pretraining", self._folder(cell.pretraining)))):
                return Failure("blocked", f"the pretraining '{cell.pretraining.name}' failed: {start.why}")
            if (order := self._order(cell)) and not order.is_file():
                why = self.unpicked[order].why if order in self.unpicked else "it failed"
                return Failure("blocked", f"the run that picks its labels gave none: {why}")
        return None if self.retry_failed else diverged_before(folder)

    def take_away(self, plan: StudyPlan, tested: Sequence[tuple[Cell, Path]]) -> None:
        """Asks final runs about their test patches again, with modalities taken away, if the study wants that."""
        asked = [(cell, folder) for cell, folder in tested if is_asked(plan, cell)]
        waiting = {folder: cell for cell, folder in asked if not is_answered(plan, open_run(folder))}
        self._tell(len(asked) - len(waiting), "")
        for (_, folder), failure in self.pool.run([(job(plan.axes), folder) for folder in waiting]):
            self.cost.save()
            words = f"{waiting[folder].words}, without some inputs"
            if failure:
                self.failed.append(describe_failure(waiting[folder], failure, "without"))
            self._tell(1, words)

    def _pick(self, cells: Sequence[Cell | Pretraining]) -> None:
        """Lets finished runs pick the labels of the cells that have more."""
        orders = {self._order(cell): cell for cell in cells if isinstance(cell, Cell)}
        jobs = [
            (f"{PICKING}{cell.options.labels.picked_by}", order.parent)
            for order, cell in orders.items()
            if order and not order.is_file() and cell.before and _is_done(cell.before, order.parent)
        ]
        orders_of = {order.parent: order for order in orders if order}
        for (_, folder), failure in self.pool.run(jobs):
            self.cost.save()
            if failure:
                self.unpicked[orders_of[folder]] = failure

    def _order(self, cell: Cell) -> Path | None:
        """Where the order of labels lies that a cell takes the first of, if they are picked."""
        if cell.before is None:
            return None
        return order_file(self._folder(cell.before), str(cell.options.labels.picked_by))

    def _folder(self, cell: Cell | Pretraining) -> Path:
        """A cell's run folder; what is pretrained does not depend on which patches have labels.

        Other weights in the file from which a run starts make another run.
        """
        if isinstance(cell, Pretraining):
            return self.folder / "cells" / cell.identity(self.pool.fingerprint)
        start = None if cell.pretraining else cell.options.start
        if start is None:
            return self.folder / "cells" / cell.identity(self.data)
        key = (start.source, start.file)
        if key not in self.weights:
            self.weights[key] = weights_digest(start)
        return self.folder / "cells" / cell.identity(" ".join(filter(None, [self.data, self.weights[key]])))

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
            self.before = read_record(self.file, dict[str, float | None], "delete it; the study's cost is counted anew")
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

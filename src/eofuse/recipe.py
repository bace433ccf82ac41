"""From recipe files to runs and studies: what the command line and the Python interface call.

A recipe is YAML with the options of a run (see `RunOptions`); with a section `study` it is a study. `key.path=value` words change
single values.
"""

import hashlib
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from eofuse.config import apply_overrides, merge, parse_options
from eofuse.data.doors import read_kind
from eofuse.data.store import Store, shared_store
from eofuse.errors import UsageError
from eofuse.files import folder_name, remove_temporaries
from eofuse.learning.loop import WITHOUT_EFFECT
from eofuse.learning.options import LearningOptions, RunOptions
from eofuse.learning.preparation import annotation_digests, rehearse
from eofuse.learning.pretraining import PretrainingOptions
from eofuse.learning.pretraining.run import PretrainedRun, is_pretraining, rehearse_pretraining, train_pretraining
from eofuse.learning.run import start_run, test_run, train_run
from eofuse.learning.sharing import prepare_once
from eofuse.learning.transfer import weights_digest
from eofuse.locks import remove_locks, writing
from eofuse.progress import Progress
from eofuse.studies.executors import read_resources
from eofuse.studies.plan import plan_study
from eofuse.studies.runner import run_study
from eofuse.trained import Study, TrainedRun, open_run

AnyPath = str | os.PathLike[str]


def load_recipe(
    recipe: AnyPath | Mapping[str, Any], store: AnyPath | Store | None, overrides: Sequence[str]
) -> tuple[dict[str, Any], str | None]:
    """The values of a recipe, with overrides and the store's path in place, and its file if it is one.

    Raises:
        UsageError: if the file can't be read, an override is no `key=value`, or a launcher began several processes.
    """
    _refuse_several_ranks()
    if isinstance(recipe, Mapping):
        values, where = apply_overrides(recipe, overrides), None
    else:
        read = read_kind(Path(recipe), "recipe", "a recipe", "write one: see docs/recipes.md")
        values, where = apply_overrides(read, overrides), os.fspath(recipe)
    if store is not None:
        path = store.path if isinstance(store, Store) else store
        values = merge(values, {"data": {"store": os.fspath(path)}})
    return values, where


def _refuse_several_ranks() -> None:
    """Raises a `UsageError` if a launcher such as torchrun began several processes, which would all do the same."""
    ranks = os.environ.get("WORLD_SIZE", "1")
    if ranks not in ("", "1"):
        fix = "start it without torchrun (or without WORLD_SIZE); a study spreads its runs over --workers"
        raise UsageError(f"one run has one process, and a launcher began {ranks}", where="WORLD_SIZE", fix=fix)


def train(
    recipe: AnyPath | Mapping[str, Any],
    *,
    store: AnyPath | Store | None = None,
    to: AnyPath | None = None,
    overrides: Sequence[str] = (),
    progress: Progress | None = None,
) -> TrainedRun:
    """Trains one recipe and tests it once.

    Args:
        recipe: a YAML file, or its values.
        store: a store in place of the recipe's.
        to: the run folder; `runs/<name>-<hash of recipe and data>` by default. If it holds this very recipe, the run
            goes on where it stopped, or is only read if it is done.
        overrides: `key.path=value` words.
        progress: called with (steps done, steps in all, a few words).

    Raises:
        UsageError: if the recipe is wrong, or the folder holds another run.
        DataError: if the data don't fit it.
    """
    values, where = load_recipe(recipe, store, overrides)
    if "study" in values:
        raise UsageError("is a study", where=where, fix="run it with `eofuse study`")
    if "pretrain" in values:
        raise UsageError("is a pretraining", where=where, fix="run it with `eofuse pretrain`")
    options = parse_options(RunOptions, values, where)
    if options.labels.picked_by:
        fix = "give it to the variants of a study, or leave it out; `eofuse suggest` picks for one run"
        raise UsageError("labels are picked from one run to the next", where="labels.picked_by", fix=fix)
    opened = shared_store(options.data.store)
    rehearse(prepare_once(opened, options), options)  # finds what is wrong before anything is written
    folder = _default_folder(options, opened) if to is None else Path(to)
    with writing(folder), _own_threads():
        start_run(options, folder)
        _sweep(folder)
        return _to_its_end(folder, progress)


def _default_folder(options: LearningOptions, store: Store) -> Path:
    """`runs/<name>-<hash of recipe and data>`."""
    recipe = options.model_dump(mode="json", exclude={"data": {"store"}, "train": WITHOUT_EFFECT})
    files: list[str] = []
    if isinstance(options, RunOptions):
        files = list(annotation_digests(options).values())
        files += filter(None, [weights_digest(options.start) if options.start is not None else None])
    identity = json.dumps([recipe, store.fingerprint, files], sort_keys=True)
    return Path("runs") / f"{folder_name(options.name)}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def pretrain(
    recipe: AnyPath | Mapping[str, Any],
    *,
    store: AnyPath | Store | None = None,
    to: AnyPath | None = None,
    overrides: Sequence[str] = (),
    progress: Progress | None = None,
) -> PretrainedRun:
    """Trains encoders without labels; any recipe can start from what they learned.

    Only training patches are learned from, labelled or not. Test patches are never read.

    Args:
        recipe: a YAML file with a section `pretrain`, or its values.
        store: a store in place of the recipe's.
        to: the run folder; `runs/<name>-<hash of recipe and data>` by default. If it holds this very recipe, the pretraining
            goes on where it stopped, or is only read if it is done.
        overrides: `key.path=value` words.
        progress: called with (steps done, steps in all, a few words).

    Raises:
        UsageError: if the recipe is wrong, or the folder holds another run.
        DataError: if the data don't fit it.
    """
    values, where = load_recipe(recipe, store, overrides)
    options = parse_options(PretrainingOptions, values, where)
    opened = shared_store(options.data.store)
    rehearse_pretraining(opened, options)  # finds what is wrong before anything is written
    folder = _default_folder(options, opened) if to is None else Path(to)
    with writing(folder), _own_threads():
        start_run(options, folder)
        _sweep(folder)
        return train_pretraining(folder, progress)


def resume(folder: AnyPath, progress: Progress | None = None) -> TrainedRun | PretrainedRun:
    """Goes on with an interrupted run or pretraining, to the numbers that it would have had without the interruption.

    Raises:
        UsageError: if it is no run folder, or a launcher began several processes.
    """
    _refuse_several_ranks()
    with writing(Path(folder)), _own_threads():
        pretraining = is_pretraining(Path(folder))
        _sweep(Path(folder))
        if pretraining:
            return train_pretraining(Path(folder), progress)
        return _to_its_end(Path(folder), progress)


def _sweep(folder: Path) -> None:
    """Removes what a process that was killed left behind in a run folder."""
    remove_locks(folder)
    remove_temporaries(folder)


def _to_its_end(folder: Path, progress: Progress | None) -> TrainedRun:
    """Trains and tests a run, or goes on with it."""
    train_run(folder, progress)
    test_run(folder, progress)
    return open_run(folder)


@contextmanager
def _own_threads() -> Iterator[None]:
    """Gives the caller its number of threads back: that of a recipe is for the run."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def study(
    recipe: AnyPath | Mapping[str, Any],
    *,
    store: AnyPath | Store | None = None,
    to: AnyPath | None = None,
    overrides: Sequence[str] = (),
    on: str = "local",
    resources: str | Mapping[str, Any] | None = None,
    workers: int | None = None,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> Study:
    """Runs a study to its end, or goes on with one that was interrupted, and writes its report.

    Args:
        recipe: a YAML file with a section `study`, or its values.
        store: a store in place of the recipe's.
        to: the study's folder; `studies/<name>` by default.
        overrides: `key.path=value` words.
        on: where its runs are done: `local`, `ray`, `slurm`, or a place that another package adds.
        resources: what is asked of that place, as a mapping, `key=value,key=value` or a YAML file (see docs/scaling.md).
        workers: runs at a time; on this machine one a core by default.
        retry_failed: try runs again whose training diverged; what failed for other reasons is tried again anyway.
        progress: called with (runs done, runs in all, a few words).

    Raises:
        UsageError: if the recipe is wrong.
        DataError: if the data don't fit it.
    """
    values, where = load_recipe(recipe, store, overrides)
    plan = plan_study(values, where)
    folder = Path(to) if to is not None else Path("studies") / folder_name(plan.name)
    words = ["eofuse", "study", where or "RECIPE.yaml", *overrides]
    if store is not None:
        words += ["--store", os.fspath(store.path if isinstance(store, Store) else store)]
    if to is not None:
        words += ["--to", os.fspath(to)]
    results = run_study(
        plan,
        values,
        folder,
        on=on,
        resources=read_resources(on, resources),
        workers=workers,
        retry_failed=retry_failed,
        command=shlex.join(words),
        progress=progress,
    )
    done = Study(results)
    done.report()
    return done

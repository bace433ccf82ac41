"""From recipe files to runs and studies: what the command line and the Python interface call.

A recipe is YAML with the options of a run (see `RunOptions`); with a section `study` it is a study. `key.path=value` words change
single values.
"""

import hashlib
import json
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch

from eofuse import ranks
from eofuse.config import apply_overrides, merge, parse_options
from eofuse.data.doors import read_kind
from eofuse.data.store import Store, shared_store
from eofuse.errors import DataError, UsageError
from eofuse.files import folder_name, remove_temporaries
from eofuse.learning.facts import RESULT_FILE, TEST_FILE
from eofuse.learning.launching import train_folder, train_in_processes
from eofuse.learning.logs import Logs, check_loggers
from eofuse.learning.loop import WITHOUT_EFFECT
from eofuse.learning.options import LearningOptions, RunOptions
from eofuse.learning.preparation import annotation_digests, rehearse
from eofuse.learning.pretraining import PretrainingOptions
from eofuse.learning.pretraining.run import (
    PretrainedRun,
    is_pretraining,
    open_pretraining,
    rehearse_pretraining,
)
from eofuse.learning.run import RECIPE_FILE, read_recipe, start_run, test_run
from eofuse.learning.several import check_several, processes_of
from eofuse.learning.sharing import prepare_once
from eofuse.learning.transfer import weights_digest
from eofuse.locks import remove_locks, writing
from eofuse.progress import Progress
from eofuse.studies.executors import read_resources
from eofuse.studies.plan import plan_study
from eofuse.studies.runner import run_study
from eofuse.trained import Study, TrainedRun, open_run

AnyPath = str | os.PathLike[str]
Result = TypeVar("Result")
AnyOptions = TypeVar("AnyOptions", bound=LearningOptions)

SHARED_S = 5
"""Time in which a file that one machine wrote is seen by the others."""


def load_recipe(
    recipe: AnyPath | Mapping[str, Any], store: AnyPath | Store | None, overrides: Sequence[str]
) -> tuple[dict[str, Any], str | None]:
    """The values of a recipe, with overrides and the store's path in place, and its file if it is one.

    Raises:
        UsageError: if the file can't be read, or an override is no `key=value`.
    """
    if isinstance(recipe, Mapping):
        values, where = apply_overrides(recipe, overrides), None
    else:
        read = read_kind(Path(recipe), "recipe", "a recipe", "write one: see docs/recipes.md")
        values, where = apply_overrides(read, overrides), os.fspath(recipe)
    if store is not None:
        path = store.path if isinstance(store, Store) else store
        values = merge(values, {"data": {"store": os.fspath(path)}})
    return values, where


def _refuse_several_processes(values: Mapping[str, Any]) -> None:
    """Raises a `UsageError` if a study is to be run by processes of a launcher, or its runs by several each."""
    launched = ranks.launched()
    if launched is not None:
        fix = "start it without torchrun or srun: it spreads its runs over --workers"
        what = f"a study begins its processes itself, and a launcher began {launched.size}"
        raise UsageError(what, where="WORLD_SIZE", fix=fix)
    train = values.get("train")
    chosen = [key for key in ("devices", "nodes") if isinstance(train, Mapping) and train.get(key, 1) != 1]
    if chosen:
        fix = "leave it out: a study spreads its runs over --workers; `eofuse train` trains one run on several devices"
        raise UsageError("a run of a study has one process", where=f"train.{chosen[0]}", fix=fix)


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
    with ranks.joined(ranks.launched()):
        return _train(recipe, store, to, overrides, progress)


def _train(
    recipe: AnyPath | Mapping[str, Any],
    store: AnyPath | Store | None,
    to: AnyPath | None,
    overrides: Sequence[str],
    progress: Progress | None,
) -> TrainedRun:
    values, where = load_recipe(recipe, store, overrides)
    if "study" in values:
        raise UsageError("is a study", where=where, fix="run it with `eofuse study`")
    if "pretrain" in values:
        raise UsageError("is a pretraining", where=where, fix="run it with `eofuse pretrain`")
    options = parse_options(RunOptions, values, where)
    if options.labels.picked_by:
        fix = "give it to the variants of a study, or leave it out; `eofuse suggest` picks for one run"
        raise UsageError("labels are picked from one run to the next", where="labels.picked_by", fix=fix)
    _check_processes(options)
    check_loggers(options.train.loggers)
    opened = shared_store(options.data.store)
    options = _with_threads(options, to)
    folder = _default_folder(options, opened) if to is None else Path(to)
    if not ranks.is_first():
        return _follow(folder, open_run)
    rehearse(prepare_once(opened, options), options)  # finds what is wrong before anything is written
    with writing(folder), _own_threads():
        start_run(options, folder)
        _sweep(folder)
        return _to_its_end(folder, progress)


def _check_processes(options: LearningOptions) -> None:
    """Raises a `UsageError` if the processes of a recipe can't train it, or a launcher has begun another number of them."""
    size, devices, nodes = ranks.place().size, options.train.devices, options.train.nodes
    if size > 1 and devices != "auto" and devices * nodes not in (1, size):
        what = f"the recipe says {devices} × {nodes} processes, and a launcher began {size}"
        raise UsageError(
            what, where="train.devices", fix="leave out train.devices and train.nodes: the launcher says it"
        )
    check_several(options, _count(options))


def _count(options: LearningOptions) -> int:
    """How many processes train: those that a launcher began, or as many as the recipe says."""
    size = ranks.place().size
    return size if size > 1 else processes_of(options.train)


def _with_threads(options: AnyOptions, to: AnyPath | None) -> AnyOptions:
    """Options that say the number of threads: that with which the run in a folder began, or as many as PyTorch takes by itself."""
    if options.train.threads != "auto":
        return options
    is_launched = ranks.place().size > 1  # its processes must agree, whatever machines they are on
    threads = 1 if is_launched else max(1, torch.get_num_threads() // _count(options))
    if to is not None and (Path(to) / RECIPE_FILE).is_file():
        is_alike = is_pretraining(Path(to)) == isinstance(options, PretrainingOptions)  # else it is refused
        threads = read_recipe(Path(to), type(options)).train.thread_count if is_alike else threads
    return options.model_copy(update={"train": options.train.model_copy(update={"threads": threads})})


def _follow(folder: Path, opened: Callable[[Path], Result]) -> Result:
    """What all processes of a launcher but the first one do."""
    ranks.wait()
    until = time.monotonic() + SHARED_S
    while not (folder / RECIPE_FILE).is_file():
        if time.monotonic() > until:
            fix = "let all machines see the same folder, on a file system that they share"
            raise DataError("this process does not see the folder that the first one made", where=folder, fix=fix)
        time.sleep(0.1)
    with _own_threads():
        train_folder(folder)
    ranks.wait()
    return opened(folder)


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
    with ranks.joined(ranks.launched()):
        return _pretrain(recipe, store, to, overrides, progress)


def _pretrain(
    recipe: AnyPath | Mapping[str, Any],
    store: AnyPath | Store | None,
    to: AnyPath | None,
    overrides: Sequence[str],
    progress: Progress | None,
) -> PretrainedRun:
    values, where = load_recipe(recipe, store, overrides)
    options = parse_options(PretrainingOptions, values, where)
    _check_processes(options)
    check_loggers(options.train.loggers)
    opened = shared_store(options.data.store)
    options = _with_threads(options, to)
    folder = _default_folder(options, opened) if to is None else Path(to)
    if not ranks.is_first():
        return _follow(folder, open_pretraining)
    rehearse_pretraining(opened, options)  # finds what is wrong before anything is written
    with writing(folder), _own_threads():
        start_run(options, folder)
        _sweep(folder)
        return _pretrain_to_its_end(folder, progress)


def resume(folder: AnyPath, progress: Progress | None = None) -> TrainedRun | PretrainedRun:
    """Goes on with an interrupted run or pretraining, to the numbers that it would have had without the interruption.

    Raises:
        UsageError: if it is no run folder.
    """
    place = Path(folder)
    with ranks.joined(ranks.launched()):
        opened: Callable[[Path], TrainedRun | PretrainedRun] = open_run
        if is_pretraining(place):
            opened = open_pretraining
        if not ranks.is_first():
            return _follow(place, opened)
        with writing(place), _own_threads():
            _sweep(place)
            if opened is open_pretraining:
                return _pretrain_to_its_end(place, progress)
            return _to_its_end(place, progress)


def _sweep(folder: Path) -> None:
    """Removes what a process that was killed left behind in a run folder."""
    remove_locks(folder)
    remove_temporaries(folder)


def _to_its_end(folder: Path, progress: Progress | None) -> TrainedRun:
    """Trains and tests a run, or goes on with it."""
    options = read_recipe(folder, RunOptions)
    with Logs(folder, options) as logs:
        _train_folder(folder, options, progress, logs)
        test_run(folder, progress)
        logs.finish()
    ranks.wait()
    return open_run(folder)


def _pretrain_to_its_end(folder: Path, progress: Progress | None) -> PretrainedRun:
    """Pretrains, or goes on with it."""
    options = read_recipe(folder, PretrainingOptions)
    with Logs(folder, options) as logs:
        _train_folder(folder, options, progress, logs)
        logs.finish()
    ranks.wait()
    return open_pretraining(folder)


def _train_folder(folder: Path, options: LearningOptions, progress: Progress | None, logs: Logs) -> None:
    """The training of a folder: by this process, with those that a launcher began, or by several that are begun here."""
    ranks.wait()
    count = _count(options)
    check_several(options, count)
    again = isinstance(options, RunOptions) and options.refit and not (folder / TEST_FILE).is_file()
    if count > ranks.place().size and (again or not (folder / RESULT_FILE).is_file()):
        train_in_processes(folder, options, count, progress)
    else:
        train_folder(folder, progress, logs)


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
    _refuse_several_processes(values)
    plan = plan_study(values, where)
    check_loggers(plan.loggers)
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

"""What is looked at: a store, a run or a study, with the store that it ran on."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from eofuse.data.store import STORE_FILE, Store, open_store
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.explorer.columns import Column, categories
from eofuse.learning.run import RECIPE_FILE, open_last
from eofuse.learning.split_table import FIX, SPLIT_FILE, read_split
from eofuse.pictures.results import results_of
from eofuse.reports.figures.style import PART_COLOURS
from eofuse.studies.choice import choose_runs
from eofuse.studies.results import StudyResults, is_study, read_results

AnyPath = str | os.PathLike[str]

PARTS = {**PART_COLOURS, "unlabelled": "#56B4E9", "left out": "#8a949e"}
"""Parts of a run's patches and their colours."""


@dataclass(frozen=True)
class Subject:
    """What is looked at.

    Attributes:
        path: of the store, run or study.
        kind: `store`, `run` or `study`.
        title: its name.
        store: with the patches.
        results: of the test patches, one a target; none of a store.
        variants: that are shown, the chosen one first.
        seeds: that are shown, all of them by default.
        run: folder of the run whose features and maps are shown; None of a store.
        features: what the run is, in words.
        notes: what a reader must know.
    """

    path: Path
    kind: str
    title: str
    store: Store
    results: tuple[StudyResults, ...] = ()
    variants: tuple[str, ...] = ()
    seed: int | None = None
    run: Path | None = None
    features: str = ""
    notes: tuple[str, ...] = ()

    def part(self) -> Column | None:
        """Which patch the run used for what; None where the run did not record it.

        Raises:
            DataError: if the record is damaged, or that of another store.
        """
        if self.run is None or not (self.run / SPLIT_FILE).is_file():
            return None
        table = read_split(self.run)
        found = pd.Series("left out", index=self.store.index["patch_id"], dtype=object)
        part = table["part"].where(table["part"].notna(), "left out")
        if not (table["patch_id"].isin(found.index).all() and part.isin(list(PARTS)).all()):
            what = "names patches that are not in the store, or parts that no run has"
            raise DataError(what, where=self.run / SPLIT_FILE, fix=FIX)
        found.loc[table["patch_id"]] = part.to_numpy()
        order = [name for name in PARTS if (found == name).any()]
        return categories("part in the run", found.tolist(), "Predictions", order, [PARTS[name] for name in order])


def open_subject(
    path: AnyPath,
    *,
    store: AnyPath | Store | None = None,
    target: str | None = None,
    variant: str | None = None,
    seed: int | None = None,
) -> Subject:
    """Opens a store, run or study.

    Raises:
        UsageError: if something is chosen that it does not have.
        DataError: if it is none of the three or not finished, or its store is missing or has changed.
    """
    path = Path(path)
    if is_study(path):
        return _study(path, store, target, variant, seed)
    for option, value in {"variant": variant, "seed": seed}.items():
        if value is not None:
            raise UsageError(f"--{option} chooses among the runs of a study", where=path, fix="leave it out")
    if (path / RECIPE_FILE).is_file() and not (path / STORE_FILE).is_file():
        return _run(path, store, target)
    for option, given in {"target": target, "store": store}.items():
        if given is not None:
            raise UsageError(f"--{option} is for a run or study", where=path, fix="leave it out")
    opened = open_store(path)
    return Subject(path, "store", opened.name, opened)


def _run(path: Path, store: AnyPath | Store | None, target: str | None) -> Subject:
    run = open_last(path)
    targets = _chosen(target, run.targets, path) if run.targets else []
    results = tuple(results_of(run, name) for name in targets)
    notes = [*run.notes()]
    if not results:
        notes.append("The run has no test predictions yet, so there are none on this page.")
    where = store if store is not None else run.options.data.store
    opened = _opened(where, results, path)
    name = run.options.name
    return Subject(path, "run", name, opened, results, (name,), None, path, "the run", tuple(notes))


def _study(
    path: Path, store: AnyPath | Store | None, target: str | None, variant: str | None, seed: int | None
) -> Subject:
    first = read_results(path)
    results = tuple(first.of(name) for name in _chosen(target, first.targets, path))
    choice = choose_runs(path, variant, seed)
    names = [entry["name"] for entry in first.summary["variants"] if entry["role"] == "variant"]
    variants = (choice.variant,) if variant else (choice.variant, *(name for name in names if name != choice.variant))
    if seed is not None:
        results = tuple(
            replace(each, predictions=each.predictions[each.predictions["seed"] == seed].reset_index(drop=True))
            for each in results
        )
    opened = _opened(store if store is not None else first.summary["store_path"], results, path)
    notes = list(first.summary["warnings"])
    title = str(first.summary["title"] or first.summary["name"])
    folder = choice.folders[0]
    own = first.cells.loc[first.cells["cell"] == folder.name, "seed"]
    features = f"{choice.variant}, its best run by validation (seed {own.iloc[0]})"
    notes.append(f"The first variant is {choice.words}.")
    return Subject(path, "study", title, opened, results, variants, seed, folder, features, tuple(notes))


def _chosen(target: str | None, targets: Sequence[str], path: Path) -> list[str]:
    if target is None:
        return list(targets)
    if target not in targets:
        raise UsageError(f"no target '{target}'", where=path, fix=did_you_mean(target, targets))
    return [target]


def _opened(where: AnyPath | Store, results: Sequence[StudyResults], path: Path) -> Store:
    """The store of a run or study, with its patches as they were."""
    if isinstance(where, str | os.PathLike) and not Path(where).exists():
        raise DataError(f"its store ({where}) is not there any more", where=path, fix="name it: --store STORE")
    store = open_store(where) if isinstance(where, str | os.PathLike) else where
    for each in results:
        if each.summary["fingerprint"] != store.fingerprint:
            fix = "name the store of that time: --store STORE"
            raise DataError(f"the store ({store.path}) has changed since {path} was made", where=path, fix=fix)
    return store


def is_held_out(part: Column | None, published: pd.Series) -> np.ndarray:
    """Patches that must not become labels without a word: validation and test ones of the run, else of the published split."""
    if part is not None:
        names = np.array([*part.names, ""])
        return np.isin(names[part.values], ("validation", "test"))
    return np.asarray(published.isin(["validation", "test"]))

"""`suggest`: which patches of a store to annotate next, as a run sees it: a table and a contact sheet.

Candidates are patches with all inputs whose labels the run does not know: of its own training patches those that are hidden or have
none, of any other those that have none. Its validation and test patches are never among them, in whichever store they are.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.splits import make_split
from eofuse.data.store import Store, open_store
from eofuse.data.targets import make_target
from eofuse.devices import find_device
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.evaluation.acquisition import METHODS
from eofuse.files import replacing
from eofuse.inference.predict import columns_of, loader_for, usable_patches
from eofuse.learning.annotation import rank, refuse_without_probabilities
from eofuse.learning.facts import DATA_FILE, read_facts
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import Prepared, flagged_patches, prepare
from eofuse.learning.run import Run, open_last
from eofuse.progress import Progress
from eofuse.reports.figures.suggestions import contact_sheet

TABLE_FILE = "suggestions.csv"
SHEET_FILE = "suggestions.png"

AnyPath = str | os.PathLike[str]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Suggestions:
    """Patches to be annotated.

    Attributes:
        folder: holds `suggestions.csv` and `suggestions.png`.
        table: a row a patch, the most wanted first: rank, patch_id, scene, lon, lat, uncertainty (0: certain, 1: all classes alike;
            missing for targets without classes), distance (between features, to the nearest patch that has a label or stands before
            it), and for each target what is predicted, as `predict_store` tells it without the probabilities of all classes.
        candidates: patches from which they were chosen.
        left_out: the other patches of the store, by reason.
    """

    folder: Path
    table: pd.DataFrame
    candidates: int
    left_out: dict[str, int]


def suggest(
    run: AnyPath,
    store: AnyPath | Store,
    count: int = 50,
    *,
    by: str = "mix",
    ids: Sequence[str] | None = None,
    output: AnyPath = "suggestions",
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> Suggestions:
    """Ranks the patches of a store for annotation, and writes the table and a contact sheet.

    Args:
        run: a trained run.
        store: a store with the run's inputs: its own, or any other.
        count: how many patches are wanted.
        by: `uncertainty`, `diversity`, `mix` of both, or `random` (see `eofuse.evaluation.acquisition`).
        ids: the patches among which candidates are looked for, all by default.
        output: folder for `suggestions.csv` and `suggestions.png`.
        seed: of `random`; the other ways draw nothing.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        progress: called with (patches seen, patches in all).

    Raises:
        UsageError: if there is no such way or patch, or it needs probabilities that the run does not tell.
        DataError: if the run is not finished, the store does not fit it, or no patch is left to be annotated.
    """
    if by not in METHODS:
        raise UsageError(f"no way of choosing '{by}'", where="by", fix=did_you_mean(by, METHODS))
    trained = open_last(Path(run))
    given = store if isinstance(store, Store) else open_store(store)
    own = _own_store(trained, given)
    prepared = prepare(own, trained.options)
    refuse_without_probabilities(by, [task.kind for task in prepared.tasks])
    model = trained.model().to(find_device(device))
    loader = loader_for(model, given)
    among = np.ones(len(given), dtype=bool)
    if ids is not None:
        among = np.isin(np.arange(len(given)), [given.row_of(patch_id) for patch_id in ids])
    wanted, left_out = _candidates(prepared, trained.options, given, usable_patches(model, loader), among)
    rows = np.flatnonzero(wanted)
    if not len(rows):
        reasons = ", ".join(f"{number} {reason}" for reason, number in left_out.items())
        fix = "give a store with patches that have no label, or train with fewer labels (labels.amount)"
        raise DataError(f"no patch is left to be annotated ({reasons})", where=given.path, fix=fix)
    learned = prepared.with_validation() if trained.options.refit else prepared
    labelled = loader_for(model, own), learned.rows["train"]
    ranked = rank(by, count, model, (loader, rows), labelled, seed=seed, progress=progress)
    index = given.index.iloc[ranked.rows]
    places = index[["patch_id", "scene", "lon", "lat"]].reset_index(drop=True)
    places.insert(0, "rank", np.arange(1, len(places) + 1))
    table = places.assign(uncertainty=ranked.uncertainty, distance=ranked.distance)
    told = columns_of(model, loader, ranked.rows)
    told = {f"{name}.predicted" if name in table else name: values for name, values in told.items()}
    table = pd.concat([table, pd.DataFrame(told)], axis=1)
    folder = Path(output)
    with replacing(folder / TABLE_FILE) as temporary:
        table.to_csv(temporary, index=False)
    way = "drawn at random" if by == "random" else f"chosen by {by}"
    title = f"{len(table)} of {len(rows):,} patches to be annotated next, {way}"
    contact_sheet(given, table, list(told), title, folder / SHEET_FILE)
    return Suggestions(folder, table, len(rows), left_out)


def _own_store(run: Run, given: Store) -> Store:
    """The store that a run was trained on: the one given, if it is that."""
    began = read_facts(run.folder, DATA_FILE)["fingerprint"]
    if given.fingerprint == began:
        return given
    own = open_store(run.options.data.store)
    if own.fingerprint != began:
        raise DataError("is not the store that the run was trained on any more", where=own.path, fix="train it again")
    return own


def _candidates(
    prepared: Prepared, options: RunOptions, given: Store, complete: Mask, among: Mask
) -> tuple[Mask, dict[str, int]]:
    """Which patches of a store can be suggested, and how many others there are by the first reason that holds."""
    ids, own = given.index["patch_id"], prepared.store.index
    parts = make_split(own, options.split).parts()
    held_out = np.concatenate([parts["validation"], parts["test"]])
    hidden = ids.isin(own["patch_id"].iloc[prepared.unlabelled]).to_numpy()
    flags = [name for name in options.data.exclude if name in given.index]
    wanted, left_out = np.ones(len(given), dtype=bool), {}
    for reason, bars in {
        "not among the ids": ~among,
        "validation or test patches of the run": ids.isin(own["patch_id"].iloc[held_out]).to_numpy(),
        "already labelled": ids.isin(own["patch_id"].iloc[prepared.rows["train"]]).to_numpy(),
        "lack an input": ~complete,
        "flagged": flagged_patches(given, flags),
        "have a label": ~hidden & _labelled(prepared, options, given),
    }.items():
        left_out[reason] = int((wanted & bars).sum())
        wanted &= ~bars
    return wanted, {reason: number for reason, number in left_out.items() if number}


def _labelled(prepared: Prepared, options: RunOptions, given: Store) -> Mask:
    """Patches of a store that have one of the run's targets."""
    if given is prepared.store:
        return np.asarray(np.logical_or.reduce([task.target.valid for task in prepared.tasks]))
    known = np.zeros(len(given), dtype=bool)
    for target in options.targets:
        try:
            known |= make_target(given, target).valid
        except (UsageError, DataError):  # a store without the target has no label of it
            continue
    return known

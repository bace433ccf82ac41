"""Which patches to annotate next, as a trained model sees it; in a study, what is picked for the next amount of labels.

`rank` chooses among patches by what a model says of them (see `eofuse.evaluation.acquisition`). `write_order` does so for the
training patches of a run whose labels are hidden, and writes the order in which they are revealed; the next run reads it as its
`labels.order`::

    order-<method>.csv   patch_id; picked: 0 for the labels that the run had, then 1, 2, …; uncertainty and distance of the picks
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from eofuse.data.loading import Loader, Rows, in_order
from eofuse.data.store import shared_store
from eofuse.errors import UsageError
from eofuse.evaluation.acquisition import NEED_UNCERTAINTY, FloatArray, binary_entropy, class_entropy, pick
from eofuse.files import replacing
from eofuse.kinds import TaskKind
from eofuse.learning.fabric import open_device
from eofuse.learning.run import check_same_data, open_run
from eofuse.learning.sharing import prepare_once
from eofuse.models.model import Model
from eofuse.progress import Progress
from eofuse.tasks.base import Array

MOST_PICKS = 2000
"""Hidden labels, at most, that one run puts into an order."""

BATCH_SIZE = 32


def refuse_without_probabilities(by: str, kinds: Iterable[TaskKind]) -> None:
    """Raises a `UsageError` if a way of choosing needs probabilities, and no target of these kinds has them."""
    learned = list(kinds)
    if by in NEED_UNCERTAINTY and not any(kind.has_probabilities for kind in learned):
        titles = ", ".join(dict.fromkeys(kind.title for kind in learned))
        found = f"'{by}' needs probabilities of classes, and {titles} has none"
        raise UsageError(found, fix="choose by diversity, which looks at the features alone")


@dataclass(frozen=True)
class Ranked:
    """Patches in the order in which to annotate them.

    Attributes:
        rows: of the store, the most wanted first.
        uncertainty: of each from 0 to 1, the mean over the targets with classes; NaN if there is none.
        distance: of each, between features, to the nearest patch with a label or before it in the order.
    """

    rows: Rows
    uncertainty: FloatArray
    distance: FloatArray

    def table(self, patch_ids: Sequence[str] | Array) -> pd.DataFrame:
        """A row a patch: patch_id, picked (1, 2, …), uncertainty, distance."""
        return pd.DataFrame(
            {
                "patch_id": np.asarray(patch_ids)[self.rows],
                "picked": np.arange(1, len(self.rows) + 1),
                "uncertainty": self.uncertainty,
                "distance": self.distance,
            }
        )


def rank(
    by: str,
    count: int,
    model: Model,
    candidates: tuple[Loader, Rows],
    labelled: tuple[Loader, Rows],
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Ranked:
    """Chooses patches to be annotated.

    Args:
        by: one of `eofuse.evaluation.acquisition.METHODS`.
        count: how many are wanted.
        model: a trained one, on its device.
        candidates: what reads the patches, and their rows.
        labelled: the same for those that have labels.
        seed: of `random`.
        progress: called with (patches seen, patches in all).

    Raises:
        UsageError: if the method needs probabilities that the model does not predict.
    """
    refuse_without_probabilities(by, [head.kind for head in model.spec.heads.values()])
    total, before = sum(len(rows) for _, rows in (candidates, labelled)), len(labelled[1])
    centres, _ = _look(model, *labelled, lambda done: progress(done, total) if progress else None)
    vectors, uncertainty = _look(model, *candidates, lambda done: progress(before + done, total) if progress else None)
    chosen = pick(by, count, vectors, centres, uncertainty, seed)
    rows = candidates[1][chosen.positions]
    unsure = np.full(len(rows), np.nan) if uncertainty is None else uncertainty[chosen.positions]
    return Ranked(rows, unsure, chosen.distances)


@torch.no_grad()
def _look(model: Model, loader: Loader, rows: Rows, tell: Callable[[int], None]) -> tuple[Array, FloatArray | None]:
    """Features of patches, (patches, width), those of several sets one beside the other; and their uncertainty, (patches,)."""
    device = next(model.parameters()).device
    entropies = {
        name: binary_entropy if head.kind.has_several else class_entropy
        for name, head in model.spec.heads.items()
        if head.kind.has_probabilities
    }
    model.eval()
    vectors, unsure = [], []
    done = 0
    for batch in loader.batches(in_order(rows, BATCH_SIZE)):
        moved = batch.to(device)
        features = model.features(moved.inputs, moved.present)
        vectors.append(torch.cat([each.vector for each in features], dim=1).float().cpu().numpy())
        if entropies:
            predicted = model.predict(moved.inputs, moved.present)
            values = {name: predicted[name].float().cpu().numpy() for name in entropies}
            unsure.append(np.mean([entropies[name](each) for name, each in values.items()], axis=0))
        done += len(batch)
        tell(done)
    return np.concatenate(vectors), np.concatenate(unsure) if entropies else None


def order_file(folder: Path, by: str) -> Path:
    """Where a run folder has its order of labels."""
    return folder / f"order-{by}.csv"


def write_order(folder: Path, by: str) -> None:
    """Puts the labels of a finished run first and the hidden ones behind, in the order in which they are to be revealed; done once.

    Only training patches whose label is known, and hidden from the run, are picked; what the label is, nothing looks at. Validation
    and test patches are not read.
    """
    file = order_file(folder, by)
    if file.is_file():
        return
    run = open_run(folder)
    store = shared_store(run.options.data.store)
    check_same_data(folder, store)
    prepared = prepare_once(store, run.options)
    known = np.logical_or.reduce([task.target.valid for task in prepared.tasks])
    hidden = prepared.unlabelled[known[prepared.unlabelled]]
    labelled = prepared.rows["train"]
    patch_ids = store.index["patch_id"].to_numpy()
    order = pd.DataFrame({"patch_id": patch_ids[labelled], "picked": 0})
    if len(hidden):
        model = run.model().to(open_device(run.options.train))
        loader = prepared.loader(run.options)
        ranked = rank(by, MOST_PICKS, model, (loader, hidden), (loader, labelled), seed=run.options.seed)
        order = pd.concat([order, ranked.table(patch_ids)], ignore_index=True)
    with replacing(file) as temporary:
        order.to_csv(temporary, index=False)

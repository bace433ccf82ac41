"""The amounts of labels of a study, counted."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from eofuse.data.splits.subsets import Amount
from eofuse.data.store import Store
from eofuse.errors import UsageError
from eofuse.learning.annotation import MOST_PICKS
from eofuse.learning.sharing import prepare_once
from eofuse.studies.plan import StudyPlan


@dataclass(frozen=True)
class LabelCount:
    """One amount of labels of a study.

    Attributes:
        amount: as the recipe has it: a fraction, or patches a class.
        labels: labelled training patches of the baseline, the mean over seeds and folds.
        fewest: of any seed and fold.
        most: of any seed and fold.
    """

    amount: Amount
    labels: int
    fewest: int
    most: int


def count_labels(store: Store, plan: StudyPlan) -> dict[str, LabelCount]:
    """Every amount of labels of a study by its word (see `Cell.amount`), ascending.

    Raises:
        UsageError: if two amounts come to the same number of labels, or a larger one to fewer; or if more labels are to be picked
            from one to the next than a run puts into an order.
        DataError: if there is too little to learn from with some amount, seed or fold.
    """
    sizes: dict[str, list[int]] = {str(amount): [] for amount in plan.amounts}
    for options in plan.labelled(plan.options):
        sizes[str(options.labels.amount)].append(len(prepare_once(store, options).rows["train"]))
    counts = {}
    for amount in plan.amounts:
        found = sizes[str(amount)]
        counts[str(amount)] = LabelCount(amount, round(float(np.mean(found))), min(found), max(found))
    listed = list(counts.values())
    for smaller, larger in pairwise(listed):
        if smaller.labels >= larger.labels:
            words = f"{smaller.amount} comes to {smaller.labels} labels, {larger.amount} to {larger.labels}"
            raise UsageError(words, where="study.label_amounts", fix="leave one out")
        if plan.picks and larger.most - smaller.fewest > MOST_PICKS:
            words = f"from {smaller.amount} to {larger.amount}, {larger.most - smaller.fewest} labels would be picked at once"
            raise UsageError(words, where="study.label_amounts", fix=f"name amounts with {MOST_PICKS} or fewer between")
    return counts

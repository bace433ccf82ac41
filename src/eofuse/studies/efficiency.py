"""The tables of a study with several amounts of labels: what each method needs to match the baseline that has all of them.

Both tables are empty where there is one amount.
"""

from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd

from eofuse.evaluation.efficiency import labels_to_match
from eofuse.evaluation.intervals import holm
from eofuse.evaluation.metrics import LOWER_IS_BETTER
from eofuse.evaluation.statistics import Bootstrap, Predictions

Groups = dict[tuple[str, str, int], list[Predictions]]
"""Runs by variant, role and number of labels."""

TO_FULL = ("variant", "n_labels", "metric", "difference", "low", "high", "p", "n_seeds", "n_test", "n_scenes")
EFFICIENCY = ("variant", "role", "metric", "needed", "low", "high", "reached")


def to_full(groups: Groups, baseline: str, bootstrap: Bootstrap) -> pd.DataFrame:
    """Paired differences of every variant with every amount of labels to the baseline with the most.

    Holm's correction goes over variants and amounts, metric by metric.

    Args:
        groups: the runs.
        baseline: its name.
        bootstrap: over test scenes.
    """
    amounts = _amounts(groups)
    full = groups.get((baseline, "variant", amounts[-1])) if len(amounts) > 1 else None
    rows = []
    for (variant, role, labels), runs in groups.items():
        if full is None or role != "variant" or (variant == baseline and labels == amounts[-1]):
            continue
        for metric, comparison in bootstrap.compare(runs, full).items():
            values = asdict(comparison)
            values.pop("warning")
            rows.append({"variant": variant, "n_labels": labels, "metric": metric, **values})
    table = pd.DataFrame(rows, columns=list(TO_FULL))
    table["p_holm"] = table.groupby("metric")["p"].transform(lambda p: holm(p.to_numpy()))
    return table


def labels_needed(groups: Groups, baseline: str, metric: str, bootstrap: Bootstrap) -> pd.DataFrame:
    """How many labels every variant and control needs to be as good as the baseline with the most (see `labels_to_match`).

    Args:
        groups: the runs.
        baseline: its name.
        metric: the ranking one.
        bootstrap: over test scenes.
    """
    amounts = _amounts(groups)
    full = groups.get((baseline, "variant", amounts[-1])) if len(amounts) > 1 else None
    rows = []
    for variant, role in dict.fromkeys((variant, role) for variant, role, _ in groups):
        if full is None or role == "constant":
            continue
        tried = [labels for labels in amounts if (variant, role, labels) in groups]
        curve = [bootstrap.replicate(groups[variant, role, labels], full)[metric] for labels in tried]
        goal = bootstrap.replicate(full)[metric]
        found = labels_to_match(
            tried,
            [point.value for point in curve],
            [point.replicates for point in curve],
            goal.value,
            goal.replicates,
            scenes=goal.n_scenes,
            lower_is_better=metric in LOWER_IS_BETTER,
            level=bootstrap.level,
        )
        values = {"needed": found.labels, "low": found.low, "high": found.high, "reached": found.reached}
        rows.append({"variant": variant, "role": role, "metric": metric, **values})
    return pd.DataFrame(rows, columns=list(EFFICIENCY))


def _amounts(groups: Groups) -> Sequence[int]:
    """Numbers of labels, ascending."""
    return sorted({labels for _, _, labels in groups})

"""The tables of a study with several amounts of labels: what each method needs to match the baseline that has all of them.

Both tables are empty where there is one amount.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eofuse.evaluation.label_curve import labels_to_match
from eofuse.evaluation.metrics import lower_is_better
from eofuse.evaluation.predictions import Predictions
from eofuse.evaluation.resampling import Resampling
from eofuse.studies.families import corrected
from eofuse.studies.grid import twin_name

Groups = dict[tuple[str, str, int], list[Predictions]]
"""Runs by variant, role and number of labels."""

COMPARED = ("metric", "difference", "low", "high", "p", "n_seeds", "n_test", "n_scenes")
"""Columns of a paired comparison."""

TO_FULL = ("variant", "n_labels", *COMPARED)
EFFICIENCY = ("variant", "role", "metric", "needed", "low", "high", "reached")


def to_full(groups: Groups, baseline: str, resampling: Resampling) -> pd.DataFrame:
    """Paired differences of every variant with every amount of labels to the baseline with the most."""
    amounts = _amounts(groups)
    full = groups.get((baseline, "variant", amounts[-1])) if len(amounts) > 1 else None
    rows = []
    for (variant, role, labels), runs in groups.items():
        if full is None or role != "variant" or (variant == baseline and labels == amounts[-1]):
            continue
        rows += compared_rows(resampling, runs, full, {"variant": variant, "n_labels": labels})
    return corrected(pd.DataFrame(rows, columns=list(TO_FULL)))


def compared_rows(
    resampling: Resampling, runs: Sequence[Predictions], against: Sequence[Predictions], named: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Paired differences, a row a metric, on the seeds that both sides have, so that they differ in nothing else."""
    shared = {run.seed for run in runs} & {run.seed for run in against}
    if not shared:
        return []
    sides = ([run for run in side if run.seed in shared] for side in (runs, against))
    return [{**named, "metric": metric, **found.columns()} for metric, found in resampling.compare(*sides).items()]


def labels_needed(
    groups: Groups, baseline: str, metric: str, resampling: Resampling, of_role: str = "variant"
) -> pd.DataFrame:
    """How many labels every variant and control needs to be as good as the baseline with the most (see `labels_to_match`).

    The baseline is a variant, or a control of the role that is named.
    """
    amounts = _amounts(groups)
    full = groups.get((baseline, of_role, amounts[-1])) if len(amounts) > 1 else None
    rows = []
    for variant, role in dict.fromkeys((variant, role) for variant, role, _ in groups):
        if full is None or role == "constant":
            continue
        tried = [labels for labels in amounts if (variant, role, labels) in groups]
        compared = [resampling.compare(groups[variant, role, labels], full)[metric] for labels in tried]
        drawn = [resampling.replicate(groups[variant, role, labels], full)[metric].replicates for labels in tried]
        found = labels_to_match(
            tried,
            [each.difference for each in compared],
            [each.low for each in compared],
            [each.high for each in compared],
            np.stack(drawn) - resampling.replicate(full)[metric].replicates,
            lower_is_better=lower_is_better(metric),
        )
        values = {"needed": found.labels, "low": found.low, "high": found.high, "reached": found.reached}
        rows.append({"variant": variant, "role": role, "metric": metric, **values})
    return pd.DataFrame(rows, columns=list(EFFICIENCY))


def worth_of_weights(groups: Groups, metric: str, resampling: Resampling) -> dict[str, list[dict[str, Any]]]:
    """How many labels variants need to be as good as their random twins with the most labels.

    Returns:
        JSON-ready under `worth`, for each variant that has a twin: `variant`, `twin`, `with` (labels of the twin), and `needed`,
        `low`, `high`, which are None where it is not reached with any amount. Nothing where there is no twin, or one amount.
    """
    found = []
    for variant in dict.fromkeys(name for name, role, _ in groups if role == "variant"):
        sides = ((variant, "variant"), (twin_name(variant), "random_twin"))
        own = {key: runs for key, runs in groups.items() if key[:2] in sides}
        table = labels_needed(own, twin_name(variant), metric, resampling, "random_twin")
        for row in table[table["role"] == "variant"].to_dict("records"):
            if not np.isnan(row["needed"]):
                ends = {name: row[name] if np.isfinite(row[name]) else None for name in ("needed", "low", "high")}
                found.append({"variant": variant, "twin": twin_name(variant), "with": _amounts(own)[-1], **ends})
    return {"worth": found} if found else {}


def _amounts(groups: Groups) -> Sequence[int]:
    """Numbers of labels, ascending."""
    return sorted({labels for _, _, labels in groups})

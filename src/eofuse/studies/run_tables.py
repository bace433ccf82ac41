"""Tables of the runs of a study: what they are called, what each took, and how it learned."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eofuse.evaluation.metrics import METRICS, lower_is_better
from eofuse.learning.curves import EVALUATIONS_FILE, LOSSES_FILE, read_curve
from eofuse.learning.pretraining.run import PretrainedRun
from eofuse.learning.run import Run
from eofuse.studies.grid import Cell
from eofuse.studies.labels import LabelCount
from eofuse.studies.pretraining import Pretraining

CURVE_POINTS = 200
"""Means of the training loss that a curve has at most."""


class Labels:
    """What a run is called in the tables: variant, role, seed, fold and number of labels.

    `counts` has the numbers of labels, ascending.
    """

    def __init__(self, counts: Mapping[str, LabelCount]) -> None:
        self._of_amount = {amount: count.labels for amount, count in counts.items()}
        self.counts = list(self._of_amount.values())

    def __call__(self, cell: Cell) -> dict[str, Any]:
        """The columns of a run."""
        options = cell.options
        named = {"variant": cell.variant, "role": cell.role, "seed": options.seed, "fold": options.split.fold}
        return {**named, "n_labels": self.count(cell)}

    def count(self, cell: Cell) -> int:
        """Number of labels of a run."""
        return self._of_amount[cell.amount]

    def is_full(self, cell: Cell) -> bool:
        """Whether a run has the most labels of the study."""
        return self.count(cell) == self.counts[-1]


def cells_table(runs: Sequence[tuple[Cell, Run]], label: Labels) -> pd.DataFrame:
    """A row a run; a search run that is also a variant's run is listed once, as the latter."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for cell, run in runs:
        result = run.result
        labels = label(cell)
        labels["role"] = "final" if cell.role == "variant" else cell.role
        rows[run.folder.name, cell.variant] = {
            "cell": run.folder.name,
            **labels,
            "learning_rate": cell.options.train.learning_rate if cell.role in ("search", "variant") else float("nan"),
            **{name: result[name] for name in ("steps", "best_step", "seconds", "parameters")},
            "validation_score": _validation_score(result),
        }
    return pd.DataFrame(rows.values())


def pretraining_table(starts: Sequence[tuple[Pretraining, PretrainedRun]]) -> pd.DataFrame:
    """A row a pretraining, which sees no labels."""
    return pd.DataFrame(
        [
            {
                "cell": run.folder.name,
                "variant": start.name,
                "role": start.role,
                "seed": start.options.seed,
                "fold": start.options.split.fold,
                "n_labels": 0,
                "learning_rate": start.options.train.learning_rate,
                "best_step": run.result["steps"],
                **{name: run.result[name] for name in ("steps", "seconds", "parameters")},
                "validation_score": float("nan"),
            }
            for start, run in starts
        ]
    )


def curves_table(runs: Sequence[tuple[Cell, Run]], label: Labels) -> pd.DataFrame:
    """Training loss in means of equal stretches, and every validation score, of each target."""
    parts = []
    for cell, run in runs:
        if cell.role != "variant":
            continue
        labels = {key: value for key, value in label(cell).items() if key != "role"}
        losses = read_curve(run.folder / LOSSES_FILE, "loss")
        scores = read_curve(run.folder / EVALUATIONS_FILE)
        stretch = np.arange(len(losses)) * min(CURVE_POINTS, len(losses)) // max(len(losses), 1)
        targets = [task.target for task in cell.options.targets]
        for target in targets:
            alone = len(targets) == 1
            means = losses.groupby(stretch).agg(step=("step", "max"), value=("loss" if alone else target, "mean"))
            parts.append(means.assign(**labels, target=target, split="train", metric="loss"))
            start = "" if alone else f"{target}."
            named = {f"{start}{metric}": metric for metric in METRICS if f"{start}{metric}" in scores.columns}
            own = scores[["step", *named]].rename(columns=named).melt("step", var_name="metric")
            parts.append(own.assign(**labels, target=target, split="validation"))
    return pd.concat(parts, ignore_index=True)


def _validation_score(result: Mapping[str, Any]) -> float:
    """The best score on validation as it is; the loop turns scores so that greater is better."""
    if result["score"] is None:
        return float("nan")
    return -float(result["score"]) if lower_is_better(result["metric"]) else float(result["score"])

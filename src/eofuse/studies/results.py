"""What a finished study says: the tables of its folder, read and checked.

`read_results` gives a `StudyResults`; reports, tables and notebooks start from it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from eofuse.errors import DataError

SUMMARY_KEYS = (
    "name",
    "title",
    "target",
    "task_kind",
    "metric",
    "metrics",
    "classes",
    "baseline",
    "simulated",
    "store",
    "store_path",
    "fingerprint",
    "patches",
    "scenes",
    "excluded",
    "split",
    "leakage",
    "seeds",
    "search",
    "budget",
    "environment",
    "warnings",
    "seconds",
    "recipe",
    "command",
    "variants",
)
"""Keys that every `summary.json` has; `energy_joules` is there only where it is known."""

TASK_KINDS = ("single_label", "multi_label")

COLUMNS = {
    "results": ("variant", "role", "seed", "fold", "metric", "value", "low", "high", "n_test", "n_scenes"),
    "leaderboard": ("variant", "role", "metric", "mean", "seed_sd", "low", "high", "n_seeds", "n_test", "n_scenes"),
    "comparisons": (
        "variant",
        "baseline",
        "metric",
        "difference",
        "low",
        "high",
        "p",
        "p_holm",
        "n_seeds",
        "n_test",
        "n_scenes",
    ),
    "cells": (
        "cell",
        "variant",
        "role",
        "seed",
        "fold",
        "learning_rate",
        "steps",
        "best_step",
        "seconds",
        "parameters",
        "validation_score",
    ),
    "predictions": ("variant", "role", "seed", "fold", "patch_id", "row", "scene", "truth", "probabilities"),
    "curves": ("variant", "seed", "fold", "step", "split", "metric", "value"),
    "per_class": ("variant", "role", "seed", "class", "metric", "value", "support"),
}
"""Columns of each table, by the name of its Parquet file."""


@dataclass(frozen=True)
class StudyResults:
    """The results of one study.

    Attributes:
        folder: the study's folder.
        summary: what was compared on which data, how, at what cost (`summary.json`).
        results: a row a run and metric, with the 95 % scene-bootstrap interval of that run.
        leaderboard: a row a variant and metric: mean over seeds, with the 95 % scene-bootstrap interval of that mean.
        comparisons: paired differences to the baseline, with their intervals and Holm-corrected p values.
        cells: a row a run: learning rate, steps, seconds, parameters.
        predictions: a row a run and test patch: truth and probabilities.
        curves: training and validation metrics by optimiser step.
        per_class: metrics of each class, with its support.
    """

    folder: Path
    summary: dict[str, Any]
    results: pd.DataFrame
    leaderboard: pd.DataFrame
    comparisons: pd.DataFrame
    cells: pd.DataFrame
    predictions: pd.DataFrame
    curves: pd.DataFrame
    per_class: pd.DataFrame


def read_results(folder: str | Path) -> StudyResults:
    """Reads the folder of a finished study.

    Args:
        folder: the folder that holds `summary.json` and the Parquet tables.

    Raises:
        DataError: if the folder or one of its files is missing or damaged, or a key or column is missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError("there is no such study folder", where=folder, fix="check the path")
    summary = _read_summary(folder / "summary.json")
    tables = {name: _read_table(folder / f"{name}.parquet", columns) for name, columns in COLUMNS.items()}
    return StudyResults(folder=folder, summary=summary, **tables)


def _read_summary(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(
            "the file is missing", where=path, fix="let the study finish; a stopped one goes on when run again"
        )
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"is damaged: {error}", where=path, fix="run the study again; finished runs are kept") from None
    if not isinstance(summary, dict):
        raise DataError("must be a mapping", where=path, fix="run the study again; finished runs are kept")
    missing = [key for key in SUMMARY_KEYS if key not in summary]
    if missing:
        raise DataError(f"lacks {', '.join(missing)}", where=path, fix="run the study again with this version")
    if summary["task_kind"] not in TASK_KINDS:
        raise DataError(
            f"unknown task kind '{summary['task_kind']}'", where=path, fix=f"known: {', '.join(TASK_KINDS)}"
        )
    return summary


def _read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    if not path.is_file():
        raise DataError(
            "the file is missing", where=path, fix="let the study finish; a stopped one goes on when run again"
        )
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"is damaged: {reason}", where=path, fix="run the study again; finished runs are kept"
        ) from None
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataError(f"lacks column {', '.join(missing)}", where=path, fix="run the study again with this version")
    return table

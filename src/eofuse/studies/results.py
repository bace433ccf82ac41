"""What a finished study says: the tables of its folder, read and checked.

`read_results` gives a `StudyResults`, the view of one target of the study, with the most labels if the study has several amounts;
reports, tables and notebooks start from it.

The folder::

    study.yaml                      the recipe; its presence says that the folder is a study's
    summary.json                    what was compared on which data, how, at what cost
    <table>.parquet                 a table for each name of `COLUMNS`
    split.parquet                   which patch each run used for what (see `eofuse.studies.split_table`)
    predictions/<target>.parquet    test predictions of each run, with the evidence (see `eofuse.evaluation.evidence`)
    cells/<cell>/maps/<target>.npy  predicted maps of a run, of targets with pixels

Names of targets are quoted as in an address, but for their spaces.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from eofuse.data.doors import wrong_door
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.evaluation.evidence import from_columns
from eofuse.evaluation.metrics import METRICS
from eofuse.files import file_name
from eofuse.kinds import KINDS, TaskKind
from eofuse.records import read_record, read_table
from eofuse.studies.label_tables import EFFICIENCY, TO_FULL

STUDY_FILE = "study.yaml"

SUMMARY_KEYS = (
    *("name", "title", "targets", "baseline", "variants", "label_amounts", "seeds", "search", "budget"),
    *("simulated", "store", "store_path", "fingerprint", "excluded", "split", "leakage"),
    *("environment", "warnings", "seconds", "recipe", "command"),
)
"""Keys that every `summary.json` has; `energy_joules` is there only where it is known."""

TARGET_KEYS = ("target", "task_kind", "metric", "metrics", "classes", "unit", "patches", "scenes")
"""Keys that every entry of `targets` in `summary.json` has."""

REMAINS = (
    *("variant", "without", "saw_gaps", "n_labels", "metric", "mean", "seed_sd", "low", "high"),
    *("difference", "difference_low", "difference_high", "p", "n_seeds", "n_test", "n_scenes"),
)
"""Columns of what remains: the metric without a modality, and its paired difference to the metric with all."""

WORTH = (
    *("variant", "kind", "name", "saw_gaps", "n_labels", "metric", "value", "low", "high", "spread"),
    *("whole", "constant", "n_seeds", "n_test", "n_scenes"),
)
"""Columns of what modalities are worth, as `eofuse.learning.attribution` has them."""

COLUMNS = {
    "results": (
        *("target", "variant", "role", "seed", "fold", "n_labels", "metric"),
        *("value", "low", "high", "n_test", "n_scenes"),
    ),
    "leaderboard": (
        *("target", "variant", "role", "n_labels", "metric"),
        *("mean", "seed_sd", "low", "high", "n_seeds", "n_test", "n_scenes"),
    ),
    "comparisons": (
        *("target", "variant", "baseline", "n_labels", "metric"),
        *("difference", "low", "high", "p", "p_holm", "n_seeds", "n_test", "n_scenes"),
    ),
    "questions": (
        *("target", "question", "variant", "other", "n_labels", "metric"),
        *("difference", "low", "high", "p", "p_holm", "n_seeds", "n_test", "n_scenes"),
    ),
    "without": ("target", *REMAINS, "p_holm"),
    "attribution": ("target", *WORTH),
    "cells": (
        *("cell", "variant", "role", "seed", "fold", "n_labels"),
        *("learning_rate", "steps", "best_step", "seconds", "parameters", "validation_score"),
    ),
    "curves": ("target", "variant", "seed", "fold", "n_labels", "step", "split", "metric", "value"),
    "per_class": ("target", "variant", "role", "seed", "n_labels", "class", "metric", "value", "support"),
    "to_full": ("target", *TO_FULL, "p_holm"),
    "efficiency": ("target", *EFFICIENCY),
}
"""Columns of each table, by the name of its Parquet file."""

FIX = "run the study again; finished runs are kept"

OF_ALL_AMOUNTS = ("to_full", "efficiency")
"""Tables that belong to no single amount of labels."""

PREDICTION_COLUMNS = ("variant", "role", "seed", "fold", "n_labels", "patch_id", "row", "scene")
"""Columns of the predictions of every kind of target; the evidence and the columns of the kind come with them."""


class _Summary(BaseModel):
    """What `summary.json` must be besides having all keys."""

    model_config = ConfigDict(strict=True)

    name: str
    simulated: bool
    baseline: str
    store_path: str
    seeds: list[int]
    targets: list[dict[str, Any]]


@dataclass(frozen=True)
class OverLabels:
    """The tables of a target with every amount of labels.

    Attributes:
        leaderboard: as that of `StudyResults`.
        comparisons: as those of `StudyResults`.
        cells: every run of the study.
        curves: as those of `StudyResults`.
        to_full: paired differences of each variant, with each number of labels, to the baseline with the most.
        efficiency: labels `needed` to match the baseline with the most, with interval; infinity where not reached.
    """

    leaderboard: pd.DataFrame
    comparisons: pd.DataFrame
    cells: pd.DataFrame
    curves: pd.DataFrame
    to_full: pd.DataFrame
    efficiency: pd.DataFrame


@dataclass(frozen=True)
class StudyResults:
    """The results of one study for one of its targets, with one amount of labels: the largest by default.

    Attributes:
        folder: the study's folder.
        summary: what was compared on which data, how, at what cost (`summary.json`), with the keys of this target
            (`TARGET_KEYS`) at its top.
        results: a row a run and metric, with the 95 % interval over scenes of that run.
        leaderboard: a row a variant and metric: mean over seeds, with the 95 % interval over scenes of that mean.
        comparisons: paired differences to the baseline, to the constant predictor and between twins (column
            `baseline`), with their intervals and Holm-corrected p values.
        questions: paired differences of the two rows that each question of the study compares, `variant` minus `other`.
        without: what remains of each variant with a modality taken away, and its paired difference to the whole (`study.without`).
        attribution: what each modality is worth to each variant (`study.attribution`).
        cells: a row a run: learning rate, steps, seconds, parameters.
        predictions: a row a run and test patch, with the evidence as flat lists (see `evidence`).
        curves: training and validation metrics by optimiser step.
        per_class: metrics of each class or number, with its support.
        labels: labelled training patches of the baseline, the mean over seeds and folds; column `n_labels` of every table.
        over_labels: what spans all amounts of labels.
    """

    folder: Path
    summary: dict[str, Any]
    results: pd.DataFrame
    leaderboard: pd.DataFrame
    comparisons: pd.DataFrame
    questions: pd.DataFrame
    without: pd.DataFrame
    attribution: pd.DataFrame
    cells: pd.DataFrame
    predictions: pd.DataFrame
    curves: pd.DataFrame
    per_class: pd.DataFrame
    labels: int
    over_labels: OverLabels

    @property
    def amounts(self) -> list[int]:
        """Numbers of labels of the study, ascending."""
        return [entry["labels"] for entry in self.summary["label_amounts"]]

    @property
    def targets(self) -> list[str]:
        """Names of all targets of the study, in its order."""
        return [entry["target"] for entry in self.summary["targets"]]

    @property
    def kind(self) -> TaskKind:
        """The target's kind of task."""
        return KINDS[self.summary["task_kind"]]

    def of(self, target: str) -> "StudyResults":
        """The view of another target of the study.

        Raises:
            UsageError: if it has no such target; the nearest is named.
        """
        return self if target == self.summary["target"] else read_results(self.folder, target, self.labels)

    def at(self, labels: int) -> "StudyResults":
        """The view of another number of labels, one of `amounts`.

        Raises:
            UsageError: if the study has no such number.
        """
        return self if labels == self.labels else read_results(self.folder, self.summary["target"], labels)

    def maps_file(self, cell: str) -> Path:
        """Where the maps of this target that a run predicted lie, if it has any."""
        return self.folder / "cells" / cell / "maps" / f"{file_name(self.summary['target'])}.npy"

    def evidence(self, table: pd.DataFrame) -> dict[str, np.ndarray]:
        """The evidence of some rows of `predictions` as arrays: see `eofuse.evaluation.evidence`."""
        return from_columns(table, self.kind, len(self.summary["classes"]))


def is_study(folder: Path) -> bool:
    """Whether a folder holds a study, finished or not."""
    return (folder / STUDY_FILE).is_file()


def read_results(folder: str | Path, target: str | None = None, labels: int | None = None) -> StudyResults:
    """Reads the folder of a finished study.

    Args:
        folder: the folder that holds `summary.json` and the Parquet tables.
        target: the target whose results are wanted, the first of the study by default.
        labels: the number of labels whose results are wanted, the largest of the study by default.

    Raises:
        DataError: if the folder or one of its files is missing or damaged, or a key or column is missing.
        UsageError: if the study has no such target, the nearest is named; or no such number of labels.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError("there is no such study folder", where=folder, fix="check the path")
    summary = _read_summary(folder / "summary.json")
    names = [entry["target"] for entry in summary["targets"]]
    if target is None:
        target = names[0]
    if target not in names:
        raise UsageError(f"the study has no target '{target}'", where=folder, fix=did_you_mean(target, names))
    entry = summary["targets"][names.index(target)]
    amounts = [amount["labels"] for amount in summary["label_amounts"]]
    labels = amounts[-1] if labels is None else labels
    if labels not in amounts:
        words = f"the study has no results with {labels} labels"
        raise UsageError(words, where=folder, fix=f"it has {', '.join(map(str, amounts))}")
    tables = {name: read_table(folder / f"{name}.parquet", FIX, columns) for name, columns in COLUMNS.items()}
    for name, columns in COLUMNS.items():
        if "target" in columns:
            tables[name] = tables[name][tables[name]["target"] == target].reset_index(drop=True)
    if entry["metric"] not in METRICS:  # which of its values are better would be a guess
        what = f"ranks by the metric '{entry['metric']}', which is not installed"
        raise DataError(what, where=folder, fix="install the package that adds it")
    kind = KINDS[entry["task_kind"]]
    columns = (*PREDICTION_COLUMNS, *kind.evidence, *kind.columns)
    tables["predictions"] = read_table(folder / "predictions" / f"{file_name(target)}.parquet", FIX, columns)
    over_labels = OverLabels(**{field.name: tables[field.name] for field in fields(OverLabels)})
    views = {
        name: table[table["n_labels"] == labels].reset_index(drop=True)
        for name, table in tables.items()
        if name not in OF_ALL_AMOUNTS
    }
    return StudyResults(folder=folder, summary=summary | entry, labels=labels, over_labels=over_labels, **views)


def _read_summary(path: Path) -> dict[str, Any]:
    of_a_study = any((path.parent / name).is_file() for name in (STUDY_FILE, path.name, "results.parquet"))
    if not of_a_study:
        raise wrong_door(path.parent, "a study", "give the folder that `eofuse study` made")
    if not path.is_file():
        fix = "let the study finish; a stopped one goes on when run again"
        raise DataError("the file is missing", where=path, fix=fix)
    summary: dict[str, Any] = read_record(path, _Summary, FIX)
    fix = "run the study again with this version"
    missing = [key for key in SUMMARY_KEYS if key not in summary]
    if missing:
        raise DataError(f"lacks {', '.join(missing)}", where=path, fix=fix)
    if not summary["targets"]:
        raise DataError("names no target", where=path, fix=fix)
    for entry in summary["targets"]:
        missing = [key for key in TARGET_KEYS if key not in entry]
        if missing:
            raise DataError(f"lacks {', '.join(missing)} of a target", where=path, fix=fix)
        if entry["task_kind"] not in KINDS:
            raise DataError(f"unknown task kind '{entry['task_kind']}'", where=path, fix=f"known: {', '.join(KINDS)}")
    return summary

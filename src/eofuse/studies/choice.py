"""Which runs of a finished study predict: `choose_runs`; of a run or study: `predicting_runs`.

The variant with the best mean validation score, over its seeds and folds, with the most labels of the study. Test scores are not
looked at. Only variants that predict the targets of the baseline compete. Runs that diverged don't count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.evaluation.metrics import lower_is_better
from eofuse.studies.results import StudyResults, is_study, read_results
from eofuse.words import counted


@dataclass(frozen=True)
class Choice:
    """Runs of one variant that predict together.

    Attributes:
        variant: its name.
        folders: of the runs, the best by validation first.
        words: what was chosen and why, in one line.
    """

    variant: str
    folders: list[Path]
    words: str


def choose_runs(folder: Path, variant: str | None = None, seed: int | None = None) -> Choice:
    """The runs of a finished study that predict.

    Raises:
        UsageError: if the study has no such variant or seed, or the name is that of a control.
        DataError: if the study is not finished, or every run of the variant diverged.
    """
    results = read_results(folder)
    runs = results.cells[results.cells["role"] == "final"]
    trained = runs[runs["validation_score"].notna()]
    predicted = {
        entry["name"]: list(entry.get("targets") or results.targets)
        for entry in results.summary["variants"]
        if entry["role"] == "variant"
    }
    wanted = predicted.get(results.summary["baseline"], results.targets)
    metric, lower_is_better = _ranking(results, wanted)
    scores = trained.groupby("variant", sort=False)["validation_score"].mean()
    scores = scores.sort_values(ascending=lower_is_better, kind="stable")
    if variant is None:
        competing = [name for name in scores.index if set(predicted.get(name, ())) == set(wanted)]
        if not competing:
            raise DataError("every run of the study diverged", where=folder, fix="lower study.search.learning_rates")
        variant = competing[0]
        others = f"best of {counted(len(competing), 'variant')} by validation" if len(competing) > 1 else "validation"
        why = f"{others} ({metric} {scores[variant]:.3f}"
        why += f"; next: {competing[1]}, {scores[competing[1]]:.3f})" if len(competing) > 1 else ")"
    else:
        _check_variant(results, variant)
        if variant not in scores:
            raise DataError(f"every run of '{variant}' diverged", where=folder, fix="choose another variant")
        why = f"chosen by name ({metric} {scores[variant]:.3f} on validation)"
    own = trained[trained["variant"] == variant]
    if seed is not None:
        if seed not in set(own["seed"]):
            seeds = ", ".join(map(str, sorted(set(own["seed"]))))
            raise UsageError(f"'{variant}' has no run with seed {seed}", where=folder, fix=f"it has {seeds}")
        own = own[own["seed"] == seed]
    own = own.sort_values(["validation_score", "seed", "fold"], ascending=[lower_is_better, True, True])
    folders = [folder / "cells" / cell for cell in own["cell"]]
    diverged = int((runs["variant"] == variant).sum() - (trained["variant"] == variant).sum())
    words = f"{variant}: {why}, {_members(own)}"
    if len(results.amounts) > 1:
        words += f", trained on {results.labels} labels"
    if diverged and seed is None:
        words += f"; {counted(diverged, 'run')} diverged and {'does' if diverged == 1 else 'do'} not count"
    return Choice(variant, folders, words)


def predicting_runs(folder: Path, variant: str | None = None, seed: int | None = None) -> tuple[list[Path], str]:
    """Folders of the runs that predict where a run or a study is given, and what they are, in words.

    Raises:
        UsageError: if a variant or seed is wanted of a run, or the study lacks it.
        DataError: as `choose_runs`.
    """
    if is_study(folder):
        choice = choose_runs(folder, variant, seed)
        return choice.folders, f"{folder}, {choice.words}"
    for option, value in {"variant": variant, "seed": seed}.items():
        if value is not None:
            raise UsageError(f"--{option} chooses among the runs of a study", where=folder, fix="leave it out")
    return [folder], f"run {folder}"


def _ranking(results: StudyResults, targets: Sequence[str]) -> tuple[str, bool]:
    """Name of the score by which runs are compared, and whether less is better: with several targets, their mean skill."""
    if len(targets) > 1:
        return "skill", False
    metric = next(entry["metric"] for entry in results.summary["targets"] if entry["target"] == targets[0])
    return str(metric), lower_is_better(metric)


def _check_variant(results: StudyResults, name: str) -> None:
    roles = {entry["name"]: entry["role"] for entry in results.summary["variants"]}
    variants = [variant for variant, role in roles.items() if role == "variant"]
    if roles.get(name, "variant") != "variant":
        raise UsageError(f"'{name}' is a control", where=results.folder, fix=f"variants: {', '.join(variants)}")
    if name not in roles:
        raise UsageError(f"the study has no variant '{name}'", where=results.folder, fix=did_you_mean(name, variants))


def _members(runs: pd.DataFrame) -> str:
    """Which runs predict, in words."""
    seeds: Sequence[int] = sorted(set(runs["seed"]))
    folds = runs["fold"].nunique()
    if len(runs) == 1:
        return f"seed {seeds[0]}"
    parts = [f"{counted(len(seeds), 'seed')} ({', '.join(map(str, seeds))})" if len(seeds) > 1 else f"seed {seeds[0]}"]
    parts += [counted(folds, "fold")] if folds > 1 else []
    return f"mean of {' × '.join(parts)}"

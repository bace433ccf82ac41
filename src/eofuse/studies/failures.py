"""Runs of a study that failed: what is kept of them, and which of the other runs make scores.

A run that failed has a `failed.json` in its folder. Divergence repeats itself bit for bit, so such a run is not tried again unasked;
what failed for other reasons (memory, a killed process, a full disk) is tried whenever the study goes on.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from eofuse.files import read_json, write_text
from eofuse.studies.grid import Cell
from eofuse.studies.pretraining import Pretraining

FAILED_FILE = "failed.json"

Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """Why a run has no result.

    Attributes:
        kind: training `diverged`; an `error` was raised; its process `ended`; or what it starts from failed (`blocked`).
        why: for people.
    """

    kind: Literal["diverged", "error", "ended", "blocked"]
    why: str


def note_failure(folder: Path, failure: Failure) -> None:
    """Keeps in a run folder why the run failed."""
    write_text(folder / FAILED_FILE, json.dumps(asdict(failure), indent=1) + "\n")


def forget_failure(folder: Path) -> None:
    """Removes what was kept of an earlier try."""
    (folder / FAILED_FILE).unlink(missing_ok=True)


def diverged_before(folder: Path) -> Failure | None:
    """The failure that is kept in a run folder, if it would repeat itself."""
    try:
        failure = Failure(**read_json(folder / FAILED_FILE))
    except (OSError, ValueError, TypeError):
        return None  # a damaged note is no reason not to try
    return failure if failure.kind == "diverged" else None


def complete_seeds(runs: Sequence[tuple[Cell, Result]], folds: Collection[int]) -> list[tuple[Cell, Result]]:
    """The runs without the seeds of a variant or control that lack some fold: their mean would be over other patches."""
    found: dict[tuple[str, str, str, int], set[int]] = {}
    for cell, _ in runs:
        found.setdefault(_seed(cell), set()).add(cell.options.split.fold)
    return [(cell, run) for cell, run in runs if cell.role == "search" or found[_seed(cell)] >= set(folds)]


def _seed(cell: Cell) -> tuple[str, str, str, int]:
    return cell.variant, cell.role, cell.amount, cell.options.seed


def describe_failure(cell: Cell | Pretraining, failure: Failure, role: str | None = None) -> dict[str, Any]:
    """JSON-ready facts about a run that failed; the role is that of the cell by default."""
    return {
        "variant": cell.variant if isinstance(cell, Cell) else cell.name,
        "role": role or cell.role,
        "labels": cell.amount if isinstance(cell, Cell) else None,
        "seed": cell.options.seed,
        "fold": cell.options.split.fold,
        "learning_rate": cell.options.train.learning_rate,
        **asdict(failure),
    }


def failure_warnings(failed: Iterable[Mapping[str, Any]], seeds: Sequence[int], folds: int | None) -> list[str]:
    """What a reader of the scores must know of the runs that failed: which, why, and over how many seeds the means are."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    warnings = []
    for entry in failed:
        if entry["role"] == "search":
            rate = f"learning rate {entry['learning_rate']:g}"
            warnings.append(
                f"{entry['variant']}: the search with {rate} failed, so others were chosen among ({entry['why']})."
            )
        elif entry["role"] == "without":
            what = f"seed {entry['seed']} could not be tested without some of its inputs"
            warnings.append(f"{entry['variant']}: {what}, so that is unknown ({entry['why']}).")
        elif entry["role"] != "pretraining":  # what starts from it failed, too, and says so
            groups.setdefault((entry["variant"], entry["labels"]), []).append(entry)
    for (variant, labels), entries in groups.items():
        name = variant if labels == "1.0" else f"{variant}, labels {labels}"
        which = "; ".join(
            f"seed {entry['seed']}" + (f", fold {entry['fold']}" if folds else "") + f": {entry['why']}"
            for entry in entries
        )
        left = len(seeds) - len({entry["seed"] for entry in entries})
        means = f"its scores are means over {left} of {len(seeds)} seeds" if left else "it has no score"
        warnings.append(f"{name}: {len(entries)} run{'s' * (len(entries) > 1)} failed, so {means} ({which}).")
    return warnings

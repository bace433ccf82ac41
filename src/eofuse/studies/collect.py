"""From the finished runs of a study to its tables: leaderboard, comparisons, curves, predictions, cost.

All intervals and tests are bootstraps over scenes of the test patches (see `eofuse.evaluation.statistics`); the differences to
the baseline are paired by patch, averaged over seeds, and their p values corrected by Holm's method over the variants.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eofuse.config import write_yaml
from eofuse.data.leakage import protocol_leakage
from eofuse.data.store import open_store
from eofuse.evaluation.classification import per_class
from eofuse.evaluation.statistics import Bootstrap, Predictions, holm
from eofuse.files import replacing, write_text
from eofuse.learning.curves import EVALUATIONS_FILE, LOSSES_FILE
from eofuse.learning.environment import describe_environment
from eofuse.learning.evaluate import score_rows, to_predictions
from eofuse.learning.preparation import Prepared, few_data_warning, prepare
from eofuse.learning.run import ENVIRONMENT_FILE, Run, open_run
from eofuse.studies.grid import Cell, StudyPlan

CURVE_POINTS = 200

Runs = Sequence[tuple[Cell, Path]]


def collect(
    plan: StudyPlan, recipe: Mapping[str, Any], folder: Path, cells: Runs, cost: Mapping[str, Any], command: str
) -> None:
    """Writes `summary.json` and the tables into a study's folder.

    Args:
        plan: the study.
        recipe: as written.
        folder: of the study.
        cells: every cell with its finished run folder.
        cost: seconds and energy of the whole study.
        command: what repeats it.
    """
    runs = [(cell, open_run(path)) for cell, path in cells]
    tested = [(cell, run, run.predictions()) for cell, run in runs if cell.role != "search"]
    baseline = plan.variants[plan.axes.baseline]
    prepared = prepare(open_store(baseline.data.store), baseline)
    bootstrap = Bootstrap(prepared.task.score, plan.axes.replicates)
    groups: dict[tuple[str, str], list[Predictions]] = {}
    for cell, _, table in tested:
        groups.setdefault((cell.variant, cell.role), []).append(_predictions(cell, table))

    warnings = [*prepared.warnings, *_mixed_environments([run for _, run in runs])]
    if plan.axes.folds:
        warnings = [warning for warning in warnings if "prove nothing" not in warning]
        tested_scenes = {scene for _, _, table in tested for scene in table["scene"]}
        patches = int(prepared.usable.sum())
        few = few_data_warning(patches, patches, len(tested_scenes))
        warnings += [few] if few else []
    tables = {
        "results": _results(tested, bootstrap),
        "leaderboard": _leaderboard(groups, bootstrap, warnings),
        "comparisons": _comparisons(groups, plan.axes.baseline, bootstrap),
        "cells": _cells(runs),
        "predictions": pd.concat([table.assign(**_labels(cell)) for cell, _, table in tested], ignore_index=True),
        "curves": _curves(runs),
        "per_class": _per_class(tested, prepared.task.classes),
    }
    for name, table in tables.items():
        with replacing(folder / f"{name}.parquet") as temporary:
            table.to_parquet(temporary, index=False)
    summary = _summary(plan, recipe, prepared, runs, warnings, cost, command)
    write_text(folder / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")


def _labels(cell: Cell) -> dict[str, Any]:
    return {"variant": cell.variant, "role": cell.role, "seed": cell.options.seed, "fold": cell.options.split.fold}


def _predictions(cell: Cell, table: pd.DataFrame) -> Predictions:
    return to_predictions(table, cell.options.seed, cell.options.split.fold)


def _results(tested: Sequence[tuple[Cell, Run, pd.DataFrame]], bootstrap: Bootstrap) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {**_labels(cell), **row}
            for cell, _, table in tested
            for row in score_rows(_predictions(cell, table), bootstrap)
        ]
    )


def _leaderboard(
    groups: Mapping[tuple[str, str], Sequence[Predictions]], bootstrap: Bootstrap, warnings: list[str]
) -> pd.DataFrame:
    rows = []
    for (variant, role), runs in groups.items():
        for metric, summary in bootstrap.summarise(runs).items():
            values = asdict(summary)
            warning = values.pop("warning")
            if warning and warning not in warnings:
                warnings.append(warning)
            rows.append({"variant": variant, "role": role, "metric": metric, **values})
    return pd.DataFrame(rows)


def _comparisons(
    groups: Mapping[tuple[str, str], Sequence[Predictions]], baseline: str, bootstrap: Bootstrap
) -> pd.DataFrame:
    """Every other variant minus the baseline; Holm's correction goes over the variants, metric by metric."""
    rows = []
    for (variant, role), runs in groups.items():
        if role == "variant" and variant != baseline:
            for metric, comparison in bootstrap.compare(runs, groups[baseline, "variant"]).items():
                values = asdict(comparison)
                values.pop("warning")
                rows.append({"variant": variant, "baseline": baseline, "metric": metric, **values})
    columns = ["variant", "baseline", "metric", "difference", "low", "high", "p", "n_seeds", "n_test", "n_scenes"]
    table = pd.DataFrame(rows, columns=columns)
    table["p_holm"] = table.groupby("metric")["p"].transform(lambda p: holm(p.to_numpy()))
    return table


def _cells(runs: Sequence[tuple[Cell, Run]]) -> pd.DataFrame:
    """A row a run; a search run that is also a variant's run is listed once, as the latter."""
    rows: dict[str, dict[str, Any]] = {}
    for cell, run in runs:
        result = run.result
        labels = _labels(cell)
        labels["role"] = "final" if cell.role == "variant" else cell.role
        rows[run.folder.name] = {
            "cell": run.folder.name,
            **labels,
            "learning_rate": cell.options.train.learning_rate if cell.role in ("search", "variant") else float("nan"),
            "steps": result["steps"],
            "best_step": result["best_step"],
            "seconds": result["seconds"],
            "parameters": result["parameters"],
            "validation_score": result["validation"][result["metric"]],
        }
    return pd.DataFrame(rows.values())


def _curves(runs: Sequence[tuple[Cell, Run]]) -> pd.DataFrame:
    """Training loss in means of equal stretches, and every validation score."""
    parts = []
    for cell, run in runs:
        if cell.role != "variant":
            continue
        labels = {key: value for key, value in _labels(cell).items() if key != "role"}
        losses = pd.read_csv(run.folder / LOSSES_FILE)
        stretch = np.arange(len(losses)) * min(CURVE_POINTS, len(losses)) // max(len(losses), 1)
        means = losses.groupby(stretch).agg(step=("step", "max"), value=("loss", "mean"))
        parts.append(means.assign(**labels, split="train", metric="loss"))
        scores = pd.read_csv(run.folder / EVALUATIONS_FILE).melt("step", var_name="metric")
        parts.append(scores.assign(**labels, split="validation"))
    return pd.concat(parts, ignore_index=True)


def _per_class(tested: Sequence[tuple[Cell, Run, pd.DataFrame]], classes: Sequence[str]) -> pd.DataFrame:
    parts = []
    for cell, _, table in tested:
        predictions = _predictions(cell, table)
        scores = pd.DataFrame(per_class(predictions.truth, predictions.probabilities)).assign(**{"class": classes})
        labels = {key: value for key, value in _labels(cell).items() if key != "fold"}
        parts.append(scores.melt(["class", "support"], var_name="metric").assign(**labels))
    return pd.concat(parts, ignore_index=True)


def _summary(
    plan: StudyPlan,
    recipe: Mapping[str, Any],
    prepared: Prepared,
    runs: Sequence[tuple[Cell, Run]],
    warnings: Sequence[str],
    cost: Mapping[str, Any],
    command: str,
) -> dict[str, Any]:
    baseline = plan.variants[plan.axes.baseline]
    facts = prepared.summary()
    facts["warnings"] = list(warnings)
    facts["leakage"] = [
        {"protocol": protocol, **asdict(found)}
        for protocol, found in protocol_leakage(prepared.store.index, baseline.split, prepared.usable).items()
    ]
    facts["class_counts"] = {part: prepared.task.target.counts(rows).tolist() for part, rows in prepared.rows.items()}
    variants = []
    finals = {(cell.variant, cell.role): (cell, run) for cell, run in reversed(runs) if cell.role != "search"}
    for (variant, role), (cell, run) in reversed(finals.items()):
        options = cell.options
        variants.append(
            {
                "name": variant,
                "role": role,
                "strategy": _strategy(cell),
                "inputs": [] if role == "constant" else list(options.inputs),
                "encoder": "" if role == "constant" else options.fusion.encoder,
                "parameters": run.result["parameters"],
                "learning_rate": _learning_rate(variant, runs) if role == "variant" else None,
            }
        )
    steps = max(run.result["budget"] for cell, run in runs if cell.role == "variant")
    return {
        "name": plan.name,
        "title": plan.axes.title or plan.name.replace("_", " "),
        "target": prepared.task.name,
        "task_kind": prepared.task.kind,
        "metric": prepared.task.metric,
        "metrics": list(prepared.task.metrics),
        "classes": list(prepared.task.classes),
        "baseline": plan.axes.baseline,
        **facts,
        "split": {**baseline.split.model_dump(mode="json"), "folds": plan.axes.folds},
        "crop": baseline.data.crop,
        "patch_size": list(prepared.store.patch_size),
        "seeds": plan.axes.seeds,
        "search": {
            "learning_rates": plan.axes.search.learning_rates,
            "steps": plan.axes.search.steps or steps,
            "runs": sum(cell.role == "search" for cell, _ in runs),
        },
        "budget": {"steps": steps, "batch_size": baseline.train.batch_size},
        "environment": describe_environment(),
        "seconds": cost["seconds"],
        "energy_joules": cost["energy_joules"],
        "recipe": write_yaml(recipe),
        "command": command,
        "variants": variants,
    }


def _learning_rate(variant: str, runs: Sequence[tuple[Cell, Run]]) -> float | None:
    """The learning rate that a variant's search chose, None if it was not the same for all folds."""
    chosen = {cell.options.train.learning_rate for cell, _ in runs if (cell.variant, cell.role) == (variant, "variant")}
    return chosen.pop() if len(chosen) == 1 else None


def _mixed_environments(runs: Sequence[Run]) -> list[str]:
    """A warning for each version or machine that is not the same for all runs."""
    environments = [json.loads((run.folder / ENVIRONMENT_FILE).read_text(encoding="utf-8")) for run in runs]
    values = {name: sorted({str(environment.get(name)) for environment in environments}) for name in environments[0]}
    return [f"Runs differ in {name}: {', '.join(found)}." for name, found in values.items() if len(found) > 1]


def _strategy(cell: Cell) -> str:
    if cell.role == "constant":
        return "constant"
    fusion = cell.options.fusion
    detail = {"late": f" ({fusion.weights})", "middle": f" (stage {fusion.stage})"}
    return fusion.strategy + detail.get(fusion.strategy, "")

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
from eofuse.evaluation.metrics import LOWER_IS_BETTER, METRICS
from eofuse.evaluation.statistics import Bootstrap, Predictions, holm
from eofuse.files import replacing, write_text
from eofuse.learning.curves import EVALUATIONS_FILE, LOSSES_FILE
from eofuse.learning.environment import describe_environment
from eofuse.learning.evaluate import score_rows, to_predictions
from eofuse.learning.outputs import predictions_file
from eofuse.learning.preparation import Prepared, few_data_warning, prepare
from eofuse.learning.run import ENVIRONMENT_FILE, Run, open_run
from eofuse.studies.grid import Cell, StudyPlan, frozen_name
from eofuse.tasks import Task

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
    store = open_store(plan.options.data.store)
    prepared = {name: prepare(store, options) for name, options in plan.variants.items()}
    warnings = list(dict.fromkeys(warning for each in prepared.values() for warning in each.warnings))
    warnings += _mixed_environments([run for _, run in runs])
    if plan.axes.folds:
        warnings = _warnings_of_all_folds(warnings, prepared[plan.axes.baseline], runs)
    tables: dict[str, list[pd.DataFrame]] = {"results": [], "leaderboard": [], "comparisons": [], "per_class": []}
    targets = []
    for target, learners in plan.targets.items():
        one = prepared[learners[0]]
        chapter = _Chapter(plan, next(task for task in one.tasks if task.name == target), runs)
        for name, table in chapter.tables(warnings).items():
            tables[name].append(table.assign(target=target))
        file = predictions_file(folder, target)
        with replacing(file) as temporary:
            chapter.predictions().to_parquet(temporary, index=False)
        targets.append(chapter.describe(one))
    joined = {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}
    joined |= {"cells": _cells(runs), "curves": _curves(plan, runs)}
    for name, table in joined.items():
        with replacing(folder / f"{name}.parquet") as temporary:
            table.to_parquet(temporary, index=False)
    summary = _summary(plan, recipe, prepared, runs, targets, warnings, cost, command)
    write_text(folder / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")


class _Chapter:
    """The results of one target.

    Args:
        plan: the study.
        task: the target's task.
        runs: all runs of the study.
    """

    def __init__(self, plan: StudyPlan, task: Task, runs: Sequence[tuple[Cell, Run]]) -> None:
        self.plan, self.task = plan, task
        self.bootstrap = Bootstrap(task.score, plan.axes.replicates)
        self.tested = [
            (cell, run, run.predictions(task.name))
            for cell, run in runs
            if cell.role != "search" and task.name in run.targets
        ]
        self.said = [
            to_predictions(table, task, cell.options.seed, cell.options.split.fold) for cell, _, table in self.tested
        ]
        self.groups: dict[tuple[str, str], list[Predictions]] = {}
        for (cell, _, _), said in zip(self.tested, self.said, strict=True):
            self.groups.setdefault((cell.variant, cell.role), []).append(said)

    def tables(self, warnings: list[str]) -> dict[str, pd.DataFrame]:
        """Results, leaderboard, comparisons, per class; what must be said of the intervals is added to the warnings."""
        return {
            "results": self._results(),
            "leaderboard": self._leaderboard(warnings),
            "comparisons": self._comparisons(),
            "per_class": self._per_class(),
        }

    def predictions(self) -> pd.DataFrame:
        """Predictions of all runs."""
        return pd.concat([table.assign(**_labels(cell)) for cell, _, table in self.tested], ignore_index=True)

    def describe(self, prepared: Prepared) -> dict[str, Any]:
        """JSON-ready facts about the target."""
        task, scenes = self.task, prepared.store.index["scene"]
        rows = {part: task.known(rows) for part, rows in prepared.rows.items()}
        calibration = []
        for cell, run, _ in self.tested:
            if cell.role == "variant":
                head = run.model().spec.heads[task.name]
                values = {"temperature": head.temperature, "margin": list(head.margin)}
                calibration.append({"variant": cell.variant, "seed": cell.options.seed, **values})
                calibration[-1]["fold"] = cell.options.split.fold
        facts: dict[str, Any] = {
            "target": task.name,
            "task_kind": task.kind,
            "metric": task.metric,
            "metrics": list(task.metrics),
            "classes": list(task.classes),
            "unit": task.target.unit,
            "source": task.target.sources[0] if task.target.sources else None,
            "patches": {part: len(found) for part, found in rows.items()},
            "scenes": {part: int(scenes.iloc[found].nunique()) for part, found in rows.items()},
            "calibration": calibration,
        }
        if task.kind in ("single_label", "multi_label"):
            facts["class_counts"] = {part: task.target.counts(found).tolist() for part, found in rows.items()}
        return facts

    def _results(self) -> pd.DataFrame:
        return pd.DataFrame(
            [
                {**_labels(cell), **row}
                for (cell, _, _), said in zip(self.tested, self.said, strict=True)
                for row in score_rows(said, self.bootstrap)
            ]
        )

    def _leaderboard(self, warnings: list[str]) -> pd.DataFrame:
        rows = []
        for (variant, role), runs in self.groups.items():
            for metric, summary in self.bootstrap.summarise(runs).items():
                values = asdict(summary)
                warning = values.pop("warning")
                if warning and warning not in warnings:
                    warnings.append(warning)
                rows.append({"variant": variant, "role": role, "metric": metric, **values})
        return pd.DataFrame(rows)

    def _comparisons(self) -> pd.DataFrame:
        """Variants minus the baseline, minus the controls, and with several tasks minus the twin with this one alone.

        Holm's correction goes over the variants that are compared with the same one, metric by metric.
        """
        variants = [name for name, role in self.groups if role == "variant"]
        baseline = self.plan.axes.baseline
        pairs = [(name, baseline, "variant") for name in variants if baseline in variants and name != baseline]
        for other, role in self.groups:
            if role == "frozen_random":
                pairs += [(name, other, role) for name in variants if other == frozen_name(name)]
            elif role != "variant":
                pairs += [(name, other, role) for name in variants]
        for together, alone in self.plan.twins.items():
            if alone.get(self.task.name, baseline) != baseline:
                pairs.append((together, alone[self.task.name], "variant"))
        rows = []
        for variant, other, role in pairs:
            against = self.groups[other, role]
            for metric, comparison in self.bootstrap.compare(self.groups[variant, "variant"], against).items():
                values = asdict(comparison)
                values.pop("warning")
                rows.append({"variant": variant, "baseline": other, "metric": metric, **values})
        columns = ["variant", "baseline", "metric", "difference", "low", "high", "p", "n_seeds", "n_test", "n_scenes"]
        table = pd.DataFrame(rows, columns=columns)
        table["p_holm"] = table.groupby(["metric", "baseline"])["p"].transform(lambda p: holm(p.to_numpy()))
        return table

    def _per_class(self) -> pd.DataFrame:
        parts = []
        for (cell, _, _), said in zip(self.tested, self.said, strict=True):
            scores = pd.DataFrame(self.task.per_class(said.evidence)).assign(**{"class": self.task.classes})
            labels = {key: value for key, value in _labels(cell).items() if key != "fold"}
            parts.append(scores.melt(["class", "support"], var_name="metric").assign(**labels))
        return pd.concat(parts, ignore_index=True)


def _labels(cell: Cell) -> dict[str, Any]:
    return {"variant": cell.variant, "role": cell.role, "seed": cell.options.seed, "fold": cell.options.split.fold}


def _warnings_of_all_folds(warnings: Sequence[str], prepared: Prepared, runs: Sequence[tuple[Cell, Run]]) -> list[str]:
    """The warnings, but of too few data only if the test patches of all folds together are too few."""
    kept = [warning for warning in warnings if "prove nothing" not in warning]
    tested = {
        scene
        for cell, run in runs
        if cell.role == "variant"
        for target in run.targets
        for scene in run.predictions(target)["scene"]
    }
    patches = int(prepared.usable.sum())
    few = few_data_warning(patches, patches, len(tested))
    return [*kept, few] if few else kept


def _cells(runs: Sequence[tuple[Cell, Run]]) -> pd.DataFrame:
    """A row a run; a search run that is also a variant's run is listed once, as the latter."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for cell, run in runs:
        result = run.result
        labels = _labels(cell)
        labels["role"] = "final" if cell.role == "variant" else cell.role
        rows[run.folder.name, cell.variant] = {
            "cell": run.folder.name,
            **labels,
            "learning_rate": cell.options.train.learning_rate if cell.role in ("search", "variant") else float("nan"),
            "steps": result["steps"],
            "best_step": result["best_step"],
            "seconds": result["seconds"],
            "parameters": result["parameters"],
            "validation_score": _validation_score(result),
        }
    return pd.DataFrame(rows.values())


def _validation_score(result: Mapping[str, Any]) -> float:
    """The best score on validation as it is; the loop turns scores so that greater is better."""
    if result["score"] is None:
        return float("nan")
    return -float(result["score"]) if result["metric"] in LOWER_IS_BETTER else float(result["score"])


def _curves(plan: StudyPlan, runs: Sequence[tuple[Cell, Run]]) -> pd.DataFrame:
    """Training loss in means of equal stretches, and every validation score, of each target."""
    parts = []
    for cell, run in runs:
        if cell.role != "variant":
            continue
        labels = {key: value for key, value in _labels(cell).items() if key != "role"}
        losses = pd.read_csv(run.folder / LOSSES_FILE)
        scores = pd.read_csv(run.folder / EVALUATIONS_FILE)
        stretch = np.arange(len(losses)) * min(CURVE_POINTS, len(losses)) // max(len(losses), 1)
        targets = [task.target for task in cell.options.targets]
        for target in targets:
            alone = len(targets) == 1
            means = losses.groupby(stretch).agg(step=("step", "max"), value=("loss" if alone else target, "mean"))
            parts.append(means.assign(**labels, target=target, split="train", metric="loss"))
            start = "" if alone else f"{target}."
            metrics = {metric for names in METRICS.values() for metric in names}
            named = {f"{start}{metric}": metric for metric in metrics if f"{start}{metric}" in scores.columns}
            own = scores[["step", *named]].rename(columns=named).melt("step", var_name="metric")
            parts.append(own.assign(**labels, target=target, split="validation"))
    return pd.concat(parts, ignore_index=True)


def _summary(
    plan: StudyPlan,
    recipe: Mapping[str, Any],
    prepared: Mapping[str, Prepared],
    runs: Sequence[tuple[Cell, Run]],
    targets: Sequence[Mapping[str, Any]],
    warnings: Sequence[str],
    cost: Mapping[str, Any],
    command: str,
) -> dict[str, Any]:
    baseline, first = plan.variants[plan.axes.baseline], prepared[plan.axes.baseline]
    facts = first.summary()
    facts["warnings"] = list(warnings)
    facts["leakage"] = [
        {"protocol": protocol, **asdict(found)}
        for protocol, found in protocol_leakage(first.store.index, baseline.split, first.usable).items()
    ]
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
                "encoder": options.fusion.encoder if role in ("variant", "frozen_random") else "",
                "targets": run.targets,
                "parameters": run.result["parameters"],
                "learning_rate": _learning_rate(variant, runs) if role == "variant" else None,
            }
        )
    steps = max(run.result["budget"] for cell, run in runs if cell.role == "variant")
    return {
        "name": plan.name,
        "title": plan.axes.title or plan.name.replace("_", " "),
        "targets": list(targets),
        "twins": [{"together": together, "alone": alone} for together, alone in plan.twins.items()],
        "weighting": baseline.weighting,
        "baseline": plan.axes.baseline,
        **facts,
        "split": {**baseline.split.model_dump(mode="json"), "folds": plan.axes.folds},
        "crop": baseline.data.crop,
        "patch_size": list(first.store.patch_size),
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
    if cell.role in ("constant", "per_pixel"):
        return cell.role.replace("_", " ")
    fusion = cell.options.fusion
    detail = {"late": f" ({fusion.weights})", "middle": f" (stage {fusion.stage})"}
    return fusion.strategy + detail.get(fusion.strategy, "")

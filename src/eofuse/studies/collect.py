"""From the finished runs of a study to its tables: leaderboard, comparisons, curves, predictions, cost.

All intervals and tests are over scenes of the test patches (see `eofuse.evaluation.resampling`); differences are paired by patch,
averaged over seeds, and their p values corrected by Holm's method within families (see `eofuse.studies.families`).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from eofuse.config import write_yaml
from eofuse.data.scenes import scenes_of
from eofuse.data.store import shared_store
from eofuse.errors import DataError
from eofuse.evaluation.evidence import joined
from eofuse.evaluation.predictions import Predictions
from eofuse.evaluation.resampling import Resampling
from eofuse.files import write_text
from eofuse.learning.evaluate import score_rows, to_predictions
from eofuse.learning.outputs import predictions_file
from eofuse.learning.preparation import Prepared, few_data_warning
from eofuse.learning.pretraining.preparation import prepare_unlabelled
from eofuse.learning.pretraining.run import PretrainedRun, open_pretraining
from eofuse.learning.run import Run, open_run
from eofuse.learning.sharing import prepare_once
from eofuse.learning.split_table import SPLIT_FILE, write_split
from eofuse.records import sealed, write_table
from eofuse.studies.failures import complete_seeds, failure_warnings
from eofuse.studies.families import BASELINE, CONTROLS, TWINS, corrected
from eofuse.studies.grid import OWN_CONTROLS, TREES, Cell
from eofuse.studies.label_tables import COMPARED, Groups, compared_rows, labels_needed, to_full, worth_of_weights
from eofuse.studies.labels import LabelCount
from eofuse.studies.missing import missing_tables
from eofuse.studies.plan import StudyPlan
from eofuse.studies.pretraining import PREFIX, Pretraining
from eofuse.studies.run_tables import Labels, cells_table, curves_table, pretraining_table
from eofuse.studies.split_table import write_study_split
from eofuse.studies.summary import control_warnings, mixed_environments, summarise_study
from eofuse.tasks import Task

SUMMARY_FILE = "summary.json"


def collect(
    plan: StudyPlan,
    recipe: Mapping[str, Any],
    folder: Path,
    cells: Sequence[tuple[Cell, Path]],
    pretrained: Sequence[tuple[Pretraining, Path]],
    counts: Mapping[str, LabelCount],
    cost: Mapping[str, Any],
    command: str,
    failed: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Writes `summary.json` and the tables into a study's folder.

    Args:
        plan: the study.
        recipe: as written.
        folder: of the study.
        cells: every cell with its finished run folder.
        pretrained: every pretraining with its finished folder.
        counts: the amounts of labels (see `count_labels`).
        cost: seconds and energy of the whole study.
        command: what repeats it.
        failed: the runs that failed (see `describe_failure`).

    Raises:
        DataError: if the baseline has no score with the most labels.
    """
    everything = [(cell, open_run(path)) for cell, path in cells]
    runs = complete_seeds(everything, plan.folds)
    warnings = failure_warnings(failed, plan.axes.seeds, plan.axes.folds) + _unused_rate(recipe)
    store = shared_store(plan.options.data.store)
    label = Labels(counts)
    full = [(cell, run) for cell, run in runs if cell.role == "variant" and label.is_full(cell)]
    if not any(cell.variant == plan.axes.baseline for cell, _ in full):
        fix = "name another by study.baseline=NAME: finished runs are kept; or try runs again by --retry-failed"
        raise DataError(f"the baseline has no score: {' '.join(warnings).rstrip('.')}", where="study.baseline", fix=fix)
    labels = {cell.variant: run.options.labels for cell, run in reversed(full)}  # of the first seed and fold
    prepared = {
        name: prepare_once(store, options.model_copy(update={"labels": labels.get(name, options.labels)}))
        for name, options in plan.variants.items()
    }
    warnings += list(dict.fromkeys(warning for each in prepared.values() for warning in each.warnings))
    warnings += mixed_environments([run for _, run in runs])
    warnings += _start_notes([run for cell, run in runs if cell.role == "variant"])
    starts = [(start, open_pretraining(path)) for start, path in pretrained]
    warnings += [
        f"Pretraining {start.name}, seed {start.options.seed}: {warning}"
        for start, run in starts
        for warning in run.result["warnings"]
    ]
    warnings += control_warnings(runs)
    if plan.axes.folds:
        warnings = _warnings_of_all_folds(warnings, prepared[plan.axes.baseline], runs)
    (folder / SUMMARY_FILE).unlink(missing_ok=True)  # until all tables are those of one time
    write_study_split(_split_tables(runs, starts, label), folder)
    tables: dict[str, list[pd.DataFrame]] = {}
    targets: list[dict[str, Any]] = []
    for target, learners in plan.targets.items():
        one = prepared[learners[0]]
        chapter = _Chapter(plan, next(task for task in one.tasks if task.name == target), runs, label)
        for name, table in (chapter.tables(warnings) | chapter.missing(prepared)).items():
            tables.setdefault(name, []).append(table.assign(target=target))
        write_table(chapter.predictions(), predictions_file(folder, target))
        targets.append(chapter.describe(one))
    joined = {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}
    listed = pd.concat([pretraining_table(starts), cells_table(everything, label)], ignore_index=True)
    joined |= {"cells": listed, "curves": curves_table(runs, label)}
    for name, table in joined.items():
        write_table(table, folder / f"{name}.parquet")
    summary = summarise_study(plan, prepared, runs, targets, warnings, counts)
    summary |= {**cost, "recipe": write_yaml(recipe), "command": command, "failed": list(failed)}
    write_text(folder / SUMMARY_FILE, json.dumps(sealed(summary), indent=1, ensure_ascii=False) + "\n")


class _Chapter:
    """The results of one target."""

    def __init__(self, plan: StudyPlan, task: Task, runs: Sequence[tuple[Cell, Run]], label: "Labels") -> None:
        self.plan, self.task, self.label = plan, task, label
        self.resampling = Resampling(task.score, plan.axes.replicates)
        self.tables_of_runs: list[pd.DataFrame] = []
        self.tested: list[tuple[Cell, Run, Predictions]] = []
        self.groups: Groups = {}
        for cell, run in runs:
            if cell.role != "search" and task.name in run.targets:
                table = run.predictions(task.name)
                predictions = to_predictions(table, task, cell.options.seed, cell.options.split.fold)
                self.tables_of_runs.append(table.assign(**label(cell)))
                self.tested.append((cell, run, predictions))
                self.groups.setdefault((cell.variant, cell.role, label.count(cell)), []).append(predictions)
        self._inputs = {cell.variant: cell.options.inputs for cell, _, _ in self.tested}

    def tables(self, warnings: list[str]) -> dict[str, pd.DataFrame]:
        """The tables of the target by name; what must be said of the intervals is added to the warnings."""
        baseline = self.plan.axes.baseline
        return {
            "results": self._results(),
            "leaderboard": self._leaderboard(warnings),
            "comparisons": self._comparisons(),
            "questions": self._questions(),
            "per_class": self._per_class(),
            "to_full": to_full(self.groups, baseline, self.resampling),
            "efficiency": labels_needed(self.groups, baseline, self.task.metric, self.resampling),
        }

    def missing(self, prepared: Mapping[str, Prepared]) -> dict[str, pd.DataFrame]:
        """The tables of what remains without modalities, and what they are worth."""
        return missing_tables(self.plan, self.task, self.tested, prepared, self.label.counts[-1])

    def predictions(self) -> pd.DataFrame:
        """Predictions of all runs."""
        return joined(self.tables_of_runs, self.task.kind, len(self.task.classes))

    def describe(self, prepared: Prepared) -> dict[str, Any]:
        """JSON-ready facts about the target."""
        task = self.task
        rows = {part: task.known(rows) for part, rows in prepared.rows.items()}
        scenes = {part: scenes_of(prepared.store.index.iloc[found]) for part, found in rows.items()}
        calibration = []
        for cell, run, _ in self.tested:
            if cell.role == "variant" and self.label.is_full(cell):
                head, named = run.model().spec.heads[task.name], self.label(cell)
                values = {"temperature": head.temperature, "margin": list(head.margin)}
                calibration.append({key: named[key] for key in ("variant", "seed", "fold")} | values)
        facts: dict[str, Any] = {
            "target": task.name,
            "task_kind": task.kind.name,
            "metric": task.metric,
            "metrics": list(task.metrics),
            "classes": list(task.classes),
            "unit": task.target.unit,
            "source": task.target.sources[0] if task.target.sources else None,
            "patches": {part: len(found) for part, found in rows.items()},
            "scenes": {part: found.scenes + found.blocks for part, found in scenes.items()},
            "known_scenes": {part: asdict(found) for part, found in scenes.items()},
            "calibration": calibration,
        }
        facts |= worth_of_weights(self.groups, task.metric, self.resampling)
        if task.kind.has_labels:
            facts["class_counts"] = {part: task.target.counts(found).tolist() for part, found in rows.items()}
        return facts

    def _results(self) -> pd.DataFrame:
        return pd.DataFrame(
            [
                {**self.label(cell), **row}
                for cell, _, predictions in self.tested
                for row in score_rows(predictions, self.resampling)
            ]
        )

    def _leaderboard(self, warnings: list[str]) -> pd.DataFrame:
        rows = []
        for (variant, role, labels), runs in self.groups.items():
            for metric, summary in self.resampling.summarise(runs).items():
                if summary.warning and summary.warning not in warnings:
                    warnings.append(summary.warning)
                named = {"variant": variant, "role": role, "n_labels": labels, "metric": metric}
                rows.append({**named, **summary.columns()})
        return pd.DataFrame(rows)

    def _comparisons(self) -> pd.DataFrame:
        """Variants minus the baseline, minus the controls, and with several tasks minus the twin with this one alone."""
        rows = []
        for labels in self.label.counts:
            here = [(name, role) for name, role, count in self.groups if count == labels]
            for family, variant, other, role in self._pairs(here):
                if not {(variant, "variant", labels), (other, role, labels)} <= self.groups.keys():
                    continue  # its runs failed
                runs, against = self.groups[variant, "variant", labels], self.groups[other, role, labels]
                named = {"family": family, "variant": variant, "baseline": other, "n_labels": labels}
                rows += compared_rows(self.resampling, runs, against, named)
        table = pd.DataFrame(rows, columns=["family", "variant", "baseline", "n_labels", *COMPARED])
        return corrected(table, "family")

    def _questions(self) -> pd.DataFrame:
        """The two rows that each question of the study compares."""
        rows = []
        for question, (first, other) in self.plan.axes.compare.items():
            for labels in self.label.counts:
                found = {name: runs for (name, _, count), runs in self.groups.items() if count == labels}
                if first in found and other in found:
                    named = {"question": question, "variant": first, "other": other, "n_labels": labels}
                    rows += compared_rows(self.resampling, found[first], found[other], named)
        return corrected(pd.DataFrame(rows, columns=["question", "variant", "other", "n_labels", *COMPARED]))

    def _pairs(self, groups: Sequence[tuple[str, str]]) -> list[tuple[str, str, str, str]]:
        """Family, variant, what it is compared with, and that one's role."""
        variants = [name for name, role in groups if role == "variant"]
        baseline = self.plan.axes.baseline
        others = [name for name in variants if baseline in variants and name != baseline]
        pairs = [(BASELINE, name, baseline, "variant") for name in others]
        for other, role in groups:
            controlled = variants if role != "variant" else []
            if role in OWN_CONTROLS:
                controlled = [name for name in variants if other == OWN_CONTROLS[role](name)]
            elif role in TREES:
                controlled = [name for name in variants if self._inputs[name] == self._inputs[other]]
            pairs += [(CONTROLS, name, other, role) for name in controlled]
        for together, alone in self.plan.twins.items():
            if alone.get(self.task.name, baseline) != baseline:
                pairs.append((TWINS, together, alone[self.task.name], "variant"))
        return pairs

    def _per_class(self) -> pd.DataFrame:
        parts = []
        for cell, _, predictions in self.tested:
            scores = pd.DataFrame(self.task.per_class(predictions.evidence)).assign(**{"class": self.task.classes})
            labels = {key: value for key, value in self.label(cell).items() if key != "fold"}
            parts.append(scores.melt(["class", "support"], var_name="metric").assign(**labels))
        return pd.concat(parts, ignore_index=True)


def _warnings_of_all_folds(warnings: Sequence[str], prepared: Prepared, runs: Sequence[tuple[Cell, Run]]) -> list[str]:
    """The warnings, but of too few data only if the test patches of all folds together are too few."""
    kept = [warning for warning in warnings if "prove nothing" not in warning]
    variants = [run for cell, run in runs if cell.role == "variant"]
    tested = {row for run in variants for target in run.targets for row in run.predictions(target)["row"]}
    patches = int(prepared.usable.sum())
    few = few_data_warning(patches, patches, scenes_of(prepared.store.index.iloc[sorted(tested)]))
    return [*kept, few] if few else kept


def _unused_rate(recipe: Mapping[str, Any]) -> list[str]:
    """Says that a learning rate of the recipe is not used."""
    rate = (recipe.get("train") or {}).get("learning_rate")
    unused = (
        f"train.learning_rate ({rate}) is not used: variants learn at the best rate of study.search.learning_rates."
    )
    return [] if rate is None else [unused]


def _start_notes(runs: Sequence[Run]) -> list[str]:
    """What must be known of the weights from which runs start; of notes that differ in their numbers, that with the largest."""
    found: dict[tuple[str, ...], tuple[list[int], str]] = {}
    for note in (note for run in runs for note in run.start_notes()):
        words, numbers = tuple(re.split(r"\d+", note)), [int(number) for number in re.findall(r"\d+", note)]
        found[words] = max(found.get(words, (numbers, note)), (numbers, note))
    return [note for _, note in found.values()]


def _split_tables(
    runs: Sequence[tuple[Cell, Run]], starts: Sequence[tuple[Pretraining, PretrainedRun]], label: Labels
) -> list[tuple[dict[str, Any], Path]]:
    """Name and folder of every run that learned, and of every pretraining; runs made by older versions get their table now."""
    found = []
    for cell, run in runs:
        if cell.role == "variant":
            if not (run.folder / SPLIT_FILE).is_file():
                write_split(prepare_once(shared_store(run.options.data.store), run.options).split_table(), run.folder)
            found.append((label(cell), run.folder))
    for start, pretrained in starts:
        if not (pretrained.folder / SPLIT_FILE).is_file():
            data = prepare_unlabelled(shared_store(pretrained.options.data.store), pretrained.options)
            write_split(data.split_table(), pretrained.folder)
        options = start.options
        named = {"variant": PREFIX + start.name, "fold": options.split.fold, "seed": options.seed, "n_labels": 0}
        found.append((named, pretrained.folder))
    return found

"""What a study was: the content of `summary.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from eofuse.data.splits.comparison import protocol_leakage
from eofuse.learning.environment import describe_environment
from eofuse.learning.facts import DATA_FILE, ENVIRONMENT_FILE, read_facts
from eofuse.learning.foundations import provenance_of_weights
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import Prepared
from eofuse.learning.run import Run
from eofuse.models.fusion import FUSIONS
from eofuse.studies.grid import Cell
from eofuse.studies.labels import LabelCount
from eofuse.studies.plan import StudyPlan
from eofuse.studies.pretraining import pretraining_name

NETWORKS = ("variant", "random_twin", "frozen_random")
"""Roles of cells with a network."""


def summarise_study(
    plan: StudyPlan,
    prepared: Mapping[str, Prepared],
    runs: Sequence[tuple[Cell, Run]],
    targets: Sequence[Mapping[str, Any]],
    warnings: Sequence[str],
    counts: Mapping[str, LabelCount],
) -> dict[str, Any]:
    """JSON-ready facts about a study: what was compared, on which data, and how."""
    baseline, first = plan.variants[plan.axes.baseline], prepared[plan.axes.baseline]
    facts = first.summary()
    facts["warnings"] = list(warnings)
    leakage = protocol_leakage(first.store.index, baseline.split, first.usable, refit=baseline.refit)
    facts["leakage"] = [{"protocol": protocol, **asdict(found)} for protocol, found in leakage.items()]
    variants: list[dict[str, Any]] = []
    weights: dict[str, dict[str, str]] = {}
    finals = {(cell.variant, cell.role): (cell, run) for cell, run in reversed(runs) if cell.role != "search"}
    for (variant, role), (cell, run) in reversed(finals.items()):
        options = cell.options
        if role == "variant":
            digest = read_facts(run.folder, DATA_FILE).get("weights")
            for entry in provenance_of_weights(first.store, options, digest):
                weights.setdefault(f"{entry['title']} {entry['sha256']}", entry)
        variants.append(
            {
                "name": variant,
                "role": role,
                "strategy": _strategy(cell),
                "inputs": [] if role == "constant" else list(options.inputs),
                "encoder": options.fusion.encoder_words if role in NETWORKS else "",
                "targets": run.targets,
                "parameters": run.result["parameters"],
                "start": _start_words(options) if role in ("variant", "random_twin") else "",
                "pretraining": pretraining_name(options) if role == "variant" else None,
                "picked_by": plan.variants[variant].labels.picked_by if role == "variant" else None,
                "learning_rate": _learning_rate(plan, variant, runs) if role == "variant" else None,
            }
        )
    steps = max(run.result["budget"] for cell, run in runs if cell.role == "variant")
    return {
        "name": plan.name,
        "title": plan.axes.title or plan.name.replace("_", " "),
        "targets": list(targets),
        "twins": [
            {"together": together, "alone": alone}
            for together, alone in plan.twins.items()
            if {together, *alone.values()} <= {variant for variant, _ in finals}
        ],
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
        "environment": describe_environment(baseline.train.device),
        "variants": variants,
        "weights": list(weights.values()),
        "pretraining": [
            {"name": name, "method": options.pretrain.method, "inputs": list(options.inputs)}
            for name, options in plan.pretraining.items()
        ],
        "labels_grouped": baseline.labels.grouped,
        "label_amounts": [asdict(count) for count in counts.values()],
    }


def _start_words(options: RunOptions) -> str:
    """From which weights a variant starts, and how it goes on, for people; empty for untrained ones."""
    if options.start is None:
        return ""
    mode = options.start.mode
    return " and ".join([options.start.source, *options.start.also]) + (
        "" if mode == "full" else f" ({mode.replace('_', ' ')})"
    )


def _learning_rate(plan: StudyPlan, variant: str, runs: Sequence[tuple[Cell, Run]]) -> float | None:
    """The learning rate that a variant's search chose with the most labels, None if it was not the same for all folds."""
    full = (variant, "variant", str(plan.amounts[-1]))
    chosen = {cell.options.train.learning_rate for cell, _ in runs if (cell.variant, cell.role, cell.amount) == full}
    return chosen.pop() if len(chosen) == 1 else None


def mixed_environments(runs: Sequence[Run]) -> list[str]:
    """A warning for each version or machine that is not the same for all runs."""
    environments = [read_facts(run.folder, ENVIRONMENT_FILE) for run in runs]
    values = {name: sorted({str(environment.get(name)) for environment in environments}) for name in environments[0]}
    return [f"Runs differ in {name}: {', '.join(found)}." for name, found in values.items() if len(found) > 1]


def control_warnings(runs: Sequence[tuple[Cell, Run]]) -> list[str]:
    """What the controls note about themselves, by name and seed."""
    return [f"{cell.words}: {warning}." for cell, run in runs for warning in run.result.get("warnings", [])]


def _strategy(cell: Cell) -> str:
    if cell.role not in NETWORKS:
        return cell.role.replace("_", " ")
    fusion = cell.options.fusion
    return FUSIONS[fusion.strategy].title(fusion)

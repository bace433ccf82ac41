"""A study as a grid of cells: a base recipe, and axes over which it varies.

::

    study:
      title: Does radar help?
      baseline: S2
      seeds: [0, 1, 2]
      variants:
        S2: {inputs: [s2], fusion: {strategy: single}}
        S1+S2: {inputs: [s2, s1], fusion: {strategy: early}}
      search: {learning_rates: [3.0e-4, 1.0e-3, 3.0e-3]}

Each variant's keys replace those of the base recipe. Every variant gets the same small search of the learning rate on validation.

With `label_amounts` (see `AxesOptions`), every variant and control runs with each amount of labels, at equal optimiser steps and with
a search of its own.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from eofuse.config import Options, merge, parse_options
from eofuse.data.subsets import Amount
from eofuse.data.targets import TargetOptions
from eofuse.errors import UsageError, did_you_mean
from eofuse.learning.augment import AugmentOptions
from eofuse.learning.preparation import RunOptions
from eofuse.learning.pretraining.options import PretrainingOptions
from eofuse.studies.axes import AxesOptions
from eofuse.studies.pretraining import PREFIX, Pretraining, plan_pretraining

Role = Literal["search", "variant", "frozen_random", "per_pixel", "constant"]


UNTRAINED: dict[str, Any] = {"start": None, "augment": AugmentOptions()}
"""What controls do not have of their variant."""

Key = tuple[str, int, str]
"""Variant, fold and amount of labels as written."""


@dataclass(frozen=True)
class StudyPlan:
    """A study, resolved.

    Attributes:
        name: a few words, for files and headings.
        axes: what varies.
        variants: the complete recipe of each variant, for the first seed and fold.
        pretraining: the complete recipe of each pretraining, for the first seed and fold.
        twins: by the name of a variant with several tasks, the variants of each task alone, by target.
    """

    name: str
    axes: AxesOptions
    variants: dict[str, RunOptions]
    pretraining: dict[str, PretrainingOptions]
    twins: dict[str, dict[str, str]]

    @property
    def targets(self) -> dict[str, list[str]]:
        """Every target that is learned, with the variants that learn it."""
        found: dict[str, list[str]] = {}
        for name, options in self.variants.items():
            for task in options.targets:
                found.setdefault(task.target, []).append(name)
        return found

    @property
    def options(self) -> RunOptions:
        """The recipe of the baseline."""
        return self.variants[self.axes.baseline]

    @property
    def folds(self) -> list[int]:
        """Numbers of the folds that are tested."""
        return list(range(self.axes.folds)) if self.axes.folds else [self.options.split.fold]

    @property
    def amounts(self) -> list[Amount]:
        """Amounts of labels, the largest last."""
        return list(self.axes.label_amounts or [self.options.labels.amount])

    @property
    def pretrainings(self) -> list[Pretraining]:
        """The runs without labels: each that a variant starts from, on every seed and fold."""
        return [
            Pretraining(name, options).at(fold, seed)
            for name, options in self.pretraining.items()
            for seed in self.axes.seeds
            for fold in self.folds
        ]

    def cell(self, variant: str, role: Role, options: RunOptions) -> "Cell":
        """A run, with the pretraining of its seed and fold if it starts from one."""
        name = pretraining_name(options)
        if name is None:
            return Cell(variant, role, options)
        start = Pretraining(name, self.pretraining[name]).at(options.split.fold, options.seed)
        return Cell(variant, role, options, start)

    @property
    def keys(self) -> list["Key"]:
        """Variants, folds and amounts of labels, each with a learning rate of its own."""
        return [cell.key for cell in search_cells(self)]

    def labelled(self, options: RunOptions) -> Iterator[RunOptions]:
        """A recipe of the study with every amount of labels, seed and fold."""
        for amount in self.amounts:
            for seed in self.axes.seeds:
                for fold in self.folds:
                    yield _at(options, fold, seed, amount)


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        variant: its variant.
        role: what it is for.
        options: its recipe.
        pretraining: from which it starts, if it starts from one of the study's.
    """

    variant: str
    role: Role
    options: RunOptions
    pretraining: Pretraining | None = None

    @property
    def amount(self) -> str:
        """Amount of labels as written: `1` is one a class, `1.0` all."""
        return str(self.options.labels.amount)

    @property
    def key(self) -> Key:
        """Variant, fold and amount of labels."""
        return self.variant, self.options.split.fold, self.amount

    @property
    def words(self) -> str:
        """What it is, for people."""
        labels = "" if self.options.labels.is_all else f", labels {self.amount}"
        if self.role == "search":
            return f"{self.variant}{labels}, learning rate {self.options.train.learning_rate:g}"
        return f"{self.variant}{labels}, seed {self.options.seed}"

    def identity(self, data: str) -> str:
        """Hash of recipe, data and seed: cells of the same identity are the same run, whatever it is for.

        Args:
            data: digest of the store and of which patches have all modalities that the study needs.
        """
        left_out: dict[str, Any] = {"name": True, "data": {"store", "require"}, "train": {"device"}}
        kind = "trained"
        if self.role in ("frozen_random", "per_pixel", "constant"):
            kind, left_out["weighting"] = self.role, True
            if self.role != "frozen_random" or not any(task.has_boxes() for task in self.options.targets):
                left_out["train"] = True  # only a detector's head is trained by the loop
            if self.role != "frozen_random":
                left_out["fusion"] = True
        recipe = self.options.model_dump(mode="json", exclude=left_out)
        if self.pretraining:
            recipe["start"]["from"] = self.pretraining.identity("")
        return hashlib.sha256(json.dumps([kind, recipe, data], sort_keys=True).encode()).hexdigest()[:16]


def plan_study(values: Mapping[str, Any], where: object = None) -> StudyPlan:
    """Resolves the recipe of a study.

    All variants use the same patches: those that have the inputs of every one of them.

    Raises:
        UsageError: if a key or value is wrong, in the base or in a variant.
    """
    base = dict(values)
    if not isinstance(base.get("study"), Mapping):
        raise UsageError("has no section 'study'", where=where, fix="add study.variants, or run it with `eofuse train`")
    axes = parse_options(_StudySection, {"study": base.pop("study")}, where).study
    if axes.folds:
        given = base.get("split") or {}
        if isinstance(given, Mapping) and {"fold", "folds"} & set(given):
            raise UsageError("split.folds and split.fold are set by study.folds", where=where, fix="remove them")
        base = merge(base, {"split": {"folds": axes.folds}})
    if axes.label_amounts:
        given = base.get("labels") or {}
        if isinstance(given, Mapping) and "amount" in given:
            raise UsageError("labels.amount is set by study.label_amounts", where=where, fix="remove it")
        base = merge(base, {"labels": {"amount": axes.label_amounts[-1]}})
    variants = {}
    for name, change in axes.variants.items():
        merged = merge(base, {**change, "seed": axes.seeds[0]})
        if "inputs" in change:
            merged["inputs"] = change["inputs"]
        place = f"{where}, study.variants.{name}" if where else f"study.variants.{name}"
        variants[name] = parse_options(RunOptions, merged, place)
    _check_shared(variants)
    for name, options in variants.items():
        if axes.label_amounts and options.train.steps is None and options.train.epochs is not None:
            found = "train.epochs gives fewer steps where there are fewer labels"
            raise UsageError(found, where=f"study.variants.{name}", fix="set train.steps")
    needed = {modality for options in variants.values() for modality in [*options.inputs, *options.data.require]}
    require = {"require": tuple(sorted(needed))}
    variants = {
        name: options.model_copy(update={"name": name, "data": options.data.model_copy(update=require)})
        for name, options in variants.items()
    }
    twins = _twins(variants) if axes.twins else {}
    alone = {twin.name: twin for of_one in twins.values() for twin in of_one.values()}
    names = {name: {target: twin.name for target, twin in of_one.items()} for name, of_one in twins.items()}
    pretraining = plan_pretraining(base, axes, where)
    started = {name for name in map(pretraining_name, variants.values()) if name is not None}
    for name in sorted(started - set(pretraining)):
        fix = did_you_mean(name, pretraining) if pretraining else "define it under study.pretraining"
        raise UsageError(f"no pretraining '{name}'", where=where, fix=fix)
    for name in sorted(set(pretraining) - started):
        fix = f'start a variant from it by start: {{from: "{PREFIX}{name}"}}, or remove it'
        raise UsageError(f"no variant starts from the pretraining '{name}'", where=where, fix=fix)
    return StudyPlan(str(base.get("name", "study")), axes, {**variants, **alone}, pretraining, names)


def pretraining_name(options: RunOptions) -> str | None:
    """The name of the study's pretraining from which a variant starts, if it starts from one."""
    if options.start is None or not options.start.source.startswith(PREFIX):
        return None
    return options.start.source.removeprefix(PREFIX)


def _check_shared(variants: Mapping[str, RunOptions]) -> None:
    """Raises a `UsageError` if variants differ in what makes their scores comparable."""
    first = next(iter(variants.values()))
    defined: dict[str, dict[str, Any]] = {}
    for name, options in variants.items():
        same = {"split": options.split == first.split}
        same["labels"] = options.labels == first.labels
        same["data.store"] = options.data.store == first.data.store
        same["data.exclude"] = options.data.exclude == first.data.exclude
        for task in options.targets:
            definition = task.model_dump(include={*TargetOptions.model_fields, "metric"})
            same[f"task ({task.target})"] = defined.setdefault(task.target, definition) == definition
        for section, is_same in same.items():
            if not is_same:
                raise UsageError(f"differs in '{section}': variants must share it", where=f"study.variants.{name}")


def _twins(variants: Mapping[str, RunOptions]) -> dict[str, dict[str, RunOptions]]:
    """For each variant with several tasks, the same recipe with each of them alone, by target.

    Raises:
        UsageError: if no variant has several tasks.
    """
    several = {name: options for name, options in variants.items() if len(options.targets) > 1}
    if any(options.train.epochs is not None for options in several.values()):
        fix = "give train.steps"
        raise UsageError(
            "twins have equal steps, and epochs differ where targets are partly known", where="study.twins", fix=fix
        )
    if not several:
        raise UsageError("no variant has several tasks", where="study.twins", fix="give tasks, or leave it out")
    twins: dict[str, dict[str, RunOptions]] = {}
    made: dict[str, RunOptions] = {}  # variants that differ in how they weigh tasks have the same twins
    for name, options in several.items():
        twins[name] = {}
        for task in options.targets:
            alone = task.model_copy(update={"weight": 1.0})
            change = {"task": None, "tasks": {task.target: alone}, "weighting": "fixed"}
            twin = options.model_copy(update={**change, "name": f"{task.target} alone"})
            recipe = twin.model_dump_json()
            if recipe not in made:
                taken = {each.name for each in made.values()}
                words = f"{twin.name} ({name})" if twin.name in taken else twin.name
                made[recipe] = twin.model_copy(update={"name": words})
            twins[name][task.target] = made[recipe]
    return twins


class _StudySection(Options):
    study: AxesOptions


def search_cells(plan: StudyPlan) -> list[Cell]:
    """The search runs: every variant with every learning rate on each fold and amount of labels, with the first seed."""
    change: dict[str, Any] = {"steps": plan.axes.search.steps, "epochs": None} if plan.axes.search.steps else {}
    return [
        plan.cell(
            name,
            "search",
            _with_train(_at(options, fold, plan.axes.seeds[0], amount), {**change, "learning_rate": learning_rate}),
        )
        for name, options in plan.variants.items()
        for fold in plan.folds
        for amount in plan.amounts
        for learning_rate in plan.axes.search.learning_rates
    ]


def final_cells(plan: StudyPlan, learning_rates: Mapping[Key, float], with_maps: Sequence[str] = ()) -> list[Cell]:
    """The runs that are tested: every variant with its learning rates on every seed, fold and amount of labels, and the controls.

    Args:
        plan: the study.
        learning_rates: by variant, fold and amount of labels.
        with_maps: variants with targets and inputs that have pixels, for the linear models of pixels.
    """
    cells: list[Cell] = []
    for amount in plan.amounts:
        for seed in plan.axes.seeds:
            for fold in plan.folds:
                cells += _cells_at(plan, learning_rates, with_maps, fold, seed, amount)
    return cells


def _cells_at(
    plan: StudyPlan,
    learning_rates: Mapping[Key, float],
    with_maps: Sequence[str],
    fold: int,
    seed: int,
    amount: Amount,
) -> list[Cell]:
    """The variants, and the controls beside them, on one seed, fold and amount of labels."""
    cells: list[Cell] = []
    frozen: dict[str, Cell] = {}
    for name, options in plan.variants.items():
        rate = learning_rates[name, fold, str(amount)]
        here = _with_train(_at(options, fold, seed, amount), {"learning_rate": rate})
        cells.append(plan.cell(name, "variant", here))
        control = Cell(frozen_name(name), "frozen_random", here.model_copy(update=UNTRAINED))
        if plan.axes.controls and frozen.setdefault(control.identity(""), control) is control:
            cells.append(control)  # training may be all that differs
    if not plan.axes.controls:
        return cells
    all_tasks = {task.target: task for options in plan.variants.values() for task in options.targets}
    alike: dict[str, list[str]] = {}  # by their inputs
    for name in with_maps:
        alike.setdefault(json.dumps(plan.variants[name].inputs, sort_keys=True), []).append(name)
    for names in alike.values():
        tasks = {task.target: task for name in names for task in plan.variants[name].targets}
        update = {**UNTRAINED, "task": None, "tasks": tasks}
        options = _at(plan.variants[names[0]], fold, seed, amount).model_copy(update=update)
        cells.append(Cell(f"per pixel: {_words(options.inputs)}", "per_pixel", options))
    update = {**UNTRAINED, "task": None, "tasks": all_tasks}
    options = _at(plan.options, fold, seed, amount).model_copy(update=update)
    return [*cells, Cell("constant", "constant", options)]


def _words(inputs: Mapping[str, Sequence[str] | None]) -> str:
    """Inputs, with their channels where not all are used."""
    return ", ".join(f"{name} ({', '.join(channels)})" if channels else name for name, channels in inputs.items())


def frozen_name(variant: str) -> str:
    """What the control with a variant's frozen random encoders is called."""
    return f"{variant} (frozen random)"


def _at(options: RunOptions, fold: int, seed: int, amount: Amount) -> RunOptions:
    """A recipe on a fold, with a seed and an amount of labels; other seeds draw other labels."""
    labels = options.labels.model_copy(update={"amount": amount})
    if not labels.is_all:
        labels = labels.model_copy(update={"seed": options.labels.seed + seed})
    split = options.split.model_copy(update={"fold": fold})
    return options.model_copy(update={"split": split, "seed": seed, "labels": labels})


def _with_train(options: RunOptions, change: Mapping[str, Any]) -> RunOptions:
    return options.model_copy(update={"train": options.train.model_copy(update=dict(change))})

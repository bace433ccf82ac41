"""A study, resolved: a base recipe, and axes over which it varies.

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
a search of its own. Variants with `labels.picked_by` pick their further labels themselves (see `eofuse.studies.picking`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from eofuse.config import Options, merge, parse_options
from eofuse.data.splits.subsets import Amount
from eofuse.data.store.gaps import requirement
from eofuse.data.targets import TargetOptions
from eofuse.errors import UsageError, did_you_mean
from eofuse.learning.options import RunOptions
from eofuse.learning.pretraining.options import PretrainingOptions
from eofuse.studies.axes import AxesOptions
from eofuse.studies.picking import check_picking, drawn
from eofuse.studies.pretraining import PREFIX, Pretraining, plan_pretraining, pretraining_name

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
        loggers: that get every run when it is done; the runs themselves have none.
    """

    name: str
    axes: AxesOptions
    variants: dict[str, RunOptions]
    pretraining: dict[str, PretrainingOptions]
    twins: dict[str, dict[str, str]]
    loggers: tuple[str, ...] = ()

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

    @property
    def picks(self) -> bool:
        """Whether a variant picks its labels, so that an amount waits for the runs with the one before it."""
        return any(options.labels.picked_by for options in self.variants.values())

    @property
    def stages(self) -> list[list[Amount]]:
        """Amounts of labels that can be run at once, one after the other."""
        return [[amount] for amount in self.amounts] if self.picks else [self.amounts]

    @property
    def keys(self) -> list[Key]:
        """Variants, folds and amounts of labels, each with a learning rate of its own."""
        return [(name, fold, str(amount)) for name in self.variants for fold in self.folds for amount in self.amounts]

    def labelled(self, options: RunOptions) -> Iterator[RunOptions]:
        """A recipe of the study with every amount of labels, seed and fold."""
        for amount in self.amounts:
            for seed in self.axes.seeds:
                for fold in self.folds:
                    yield at(options, fold, seed, amount)


def plan_study(values: Mapping[str, Any], where: object = None) -> StudyPlan:
    """Resolves the recipe of a study.

    All variants use the same patches: those that have the inputs of every one of them, with the channels that it uses, of variants
    with `missing: token` one.

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
        given = change.get("train") or {}
        if isinstance(given, Mapping) and "learning_rate" in given:
            fix = "remove it, and list the rates to try there"
            raise UsageError("train.learning_rate is set by study.search.learning_rates", where=place, fix=fix)
        variants[name] = parse_options(RunOptions, merged, place)
    loggers = tuple(dict.fromkeys(name for options in variants.values() for name in options.train.loggers))
    _check_shared(variants)
    for name, options in variants.items():
        if axes.label_amounts and options.train.steps is None and options.train.epochs is not None:
            found = "train.epochs gives fewer steps where there are fewer labels"
            raise UsageError(found, where=f"study.variants.{name}", fix="set train.steps")
        if axes.label_amounts and options.refit:
            found = "refit adds the labels of validation to those of study.label_amounts"
            raise UsageError(found, where=f"study.variants.{name}", fix="choose one of the two")
    needed = {entry for options in variants.values() for entry in [*_needs(options), *options.data.require]}
    require = {"require": tuple(sorted(needed))}
    variants = {
        name: options.model_copy(
            update={
                "name": name,
                "data": options.data.model_copy(update=require),
                "train": options.train.model_copy(update={"loggers": ()}),
            }
        )
        for name, options in variants.items()
    }
    check_picking(axes, variants)
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
    return StudyPlan(str(base.get("name", "study")), axes, {**variants, **alone}, pretraining, names, loggers)


def _needs(options: RunOptions) -> list[str]:
    """What a patch must have of a variant's inputs, as `data.require`: all, or one where tokens stand for the others."""
    return requirement(options.inputs, one_is_enough=options.fusion.missing == "token")


def _check_shared(variants: Mapping[str, RunOptions]) -> None:
    """Raises a `UsageError` if variants differ in what makes their scores comparable."""
    first = next(iter(variants.values()))
    defined: dict[str, dict[str, Any]] = {}
    for name, options in variants.items():
        same = {"split": options.split == first.split}
        same["labels"] = drawn(options).labels == drawn(first).labels
        same["refit"] = options.refit == first.refit
        same["data.store"] = options.data.store == first.data.store
        same["data.exclude"] = options.data.exclude == first.data.exclude
        same["data.empty_bands"] = options.data.empty_bands == first.data.empty_bands
        for task in options.targets:
            definition = task.model_dump(include={*TargetOptions.model_fields, "metric"})
            same[f"task ({task.target})"] = defined.setdefault(task.target, definition) == definition
        for section, is_same in same.items():
            if not is_same:
                raise UsageError(f"differs in '{section}': variants must share it", where=f"study.variants.{name}")


def _twins(variants: Mapping[str, RunOptions]) -> dict[str, dict[str, RunOptions]]:
    """For each variant with several tasks, the same recipe with each of them alone, by target."""
    several = {name: options for name, options in variants.items() if len(options.targets) > 1}
    if any(options.train.epochs is not None for options in several.values()):
        fix = "give train.steps"
        what = "twins have equal steps, and epochs differ where targets are partly known"
        raise UsageError(what, where="study.twins", fix=fix)
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


def at(options: RunOptions, fold: int, seed: int, amount: Amount) -> RunOptions:
    """A recipe on a fold, with a seed and an amount of labels; other seeds draw other labels."""
    labels = options.labels.model_copy(update={"amount": amount})
    if not labels.is_all:
        labels = labels.model_copy(update={"seed": options.labels.seed + seed})
    split = options.split.model_copy(update={"fold": fold})
    return options.model_copy(update={"split": split, "seed": seed, "labels": labels})

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
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from eofuse.config import Options, merge, parse_options
from eofuse.errors import UsageError, did_you_mean
from eofuse.learning.preparation import RunOptions

Role = Literal["search", "variant", "frozen_random", "constant"]


class SearchOptions(Options):
    """The search of the learning rate that every variant gets: the first seed and fold, scored on validation.

    Attributes:
        learning_rates: candidates.
        steps: budget of a search run; that of a full run by default, so that the winner is one of the study's runs already.
    """

    learning_rates: list[float] = Field(default=[3e-4, 1e-3, 3e-3], min_length=1)
    steps: int | None = Field(default=None, ge=1)


class AxesOptions(Options):
    """What varies.

    Attributes:
        title: heading of the report.
        variants: by name, the keys of the recipe that differ.
        baseline: the variant with which the others are compared.
        seeds: of the runs of each variant.
        folds: number of folds, each tested once a seed; needs a split with folds.
        search: of the learning rate.
        controls: whether the constant predictor and the frozen random encoders run too.
        replicates: of the bootstrap over scenes.
    """

    title: str | None = None
    variants: dict[str, dict[str, Any]] = Field(min_length=1)
    baseline: str
    seeds: list[int] = Field(default=[0, 1, 2], min_length=1)
    folds: int | None = Field(default=None, ge=2)
    search: SearchOptions = SearchOptions()
    controls: bool = True
    replicates: int = Field(default=2000, ge=100)

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: list[int]) -> list[int]:
        if len(set(value)) < len(value) or min(value) < 0:
            raise ValueError("seeds must be different and not negative")
        return value

    @model_validator(mode="after")
    def _baseline_is_a_variant(self) -> "AxesOptions":
        if self.baseline not in self.variants:
            raise ValueError(
                f"the baseline '{self.baseline}' is no variant; {did_you_mean(self.baseline, self.variants)}"
            )
        return self


@dataclass(frozen=True)
class StudyPlan:
    """A study, resolved.

    Attributes:
        name: a few words, for files and headings.
        axes: what varies.
        variants: the complete recipe of each variant, for the first seed.
    """

    name: str
    axes: AxesOptions
    variants: dict[str, RunOptions]

    @property
    def folds(self) -> list[int]:
        """Numbers of the folds; [0] without folds."""
        return list(range(self.axes.folds or 1))


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        variant: its variant.
        role: what it is for.
        options: its recipe.
    """

    variant: str
    role: Role
    options: RunOptions

    def identity(self, fingerprint: str) -> str:
        """Hash of recipe, data and seeds: cells of the same identity are the same run, whatever it is for."""
        recipe = self.options.model_dump(mode="json", exclude={"name": True, "data": {"store"}, "train": {"device"}})
        kind = self.role if self.role in ("frozen_random", "constant") else "trained"
        return hashlib.sha256(json.dumps([kind, recipe, fingerprint], sort_keys=True).encode()).hexdigest()[:16]


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
    variants = {}
    for name, change in axes.variants.items():
        merged = merge(base, change)
        if "inputs" in change:
            merged["inputs"] = change["inputs"]
        place = f"{where}, study.variants.{name}" if where else f"study.variants.{name}"
        options = parse_options(RunOptions, merged, place)
        split = options.split.model_copy(update={"folds": axes.folds}) if axes.folds else options.split
        variants[name] = options.model_copy(update={"split": split, "seed": axes.seeds[0]})
    first = next(iter(variants.values()))
    for name, options in variants.items():
        for section in ("split", "task"):
            if getattr(options, section) != getattr(first, section):
                raise UsageError(f"differs in '{section}': variants must share it", where=f"study.variants.{name}")
    needed = sorted(
        {modality for options in variants.values() for modality in [*options.inputs, *options.data.require]}
    )
    variants = {
        name: options.model_copy(
            update={"name": name, "data": options.data.model_copy(update={"require": tuple(needed)})}
        )
        for name, options in variants.items()
    }
    return StudyPlan(str(base.get("name", "study")), axes, variants)


class _StudySection(Options):
    study: AxesOptions


def search_cells(plan: StudyPlan) -> list[Cell]:
    """The search runs: every variant with every learning rate, on the first seed and fold."""
    cells = []
    for name, options in plan.variants.items():
        for learning_rate in plan.axes.search.learning_rates:
            change: dict[str, Any] = {"learning_rate": learning_rate}
            if plan.axes.search.steps:
                change |= {"steps": plan.axes.search.steps, "epochs": None}
            cells.append(Cell(name, "search", _with_train(options, change)))
    return cells


def final_cells(plan: StudyPlan, learning_rates: Mapping[str, float]) -> list[Cell]:
    """The runs that are tested: every variant with its learning rate on every seed and fold, and the controls."""
    cells = []
    for seed in plan.axes.seeds:
        for fold in plan.folds:
            for name, options in plan.variants.items():
                split = options.split.model_copy(update={"fold": fold})
                here = options.model_copy(update={"seed": seed, "split": split})
                cells.append(Cell(name, "variant", _with_train(here, {"learning_rate": learning_rates[name]})))
                if plan.axes.controls:
                    cells.append(Cell(f"{name} (frozen random)", "frozen_random", here))
            if plan.axes.controls:
                baseline = plan.variants[plan.axes.baseline]
                split = baseline.split.model_copy(update={"fold": fold})
                cells.append(Cell("constant", "constant", baseline.model_copy(update={"seed": seed, "split": split})))
    return cells


def _with_train(options: RunOptions, change: Mapping[str, Any]) -> RunOptions:
    return options.model_copy(update={"train": options.train.model_copy(update=dict(change))})

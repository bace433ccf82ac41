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
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from eofuse.config import Options, merge, parse_options
from eofuse.errors import UsageError, did_you_mean
from eofuse.learning.preparation import RunOptions

Role = Literal["search", "variant", "frozen_random", "constant"]


class SearchOptions(Options):
    """The search of the learning rate that every variant gets on each fold: the first seed, scored on validation.

    Attributes:
        learning_rates: candidates.
        steps: budget of a search run; that of a full run by default, so that the winner is one of the study's runs already.
    """

    learning_rates: list[Annotated[float, Field(gt=0)]] = Field(default=[3e-4, 1e-3, 3e-3], min_length=1)
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
        if len(set(value)) < len(value) or min(value) < 0 or max(value) >= 2**32:
            raise ValueError("seeds must be different, from 0 to 2^32 - 1")
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
        variants: the complete recipe of each variant, for the first seed and fold.
    """

    name: str
    axes: AxesOptions
    variants: dict[str, RunOptions]

    @property
    def options(self) -> RunOptions:
        """The recipe of the baseline."""
        return self.variants[self.axes.baseline]

    @property
    def folds(self) -> list[int]:
        """Numbers of the folds that are tested."""
        return list(range(self.axes.folds)) if self.axes.folds else [self.options.split.fold]

    @property
    def keys(self) -> list[tuple[str, int]]:
        """Variants and folds, each with a learning rate of its own."""
        return [(name, fold) for name in self.variants for fold in self.folds]


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

    @property
    def key(self) -> tuple[str, int]:
        """Variant and fold."""
        return self.variant, self.options.split.fold

    @property
    def words(self) -> str:
        """What it is, for people."""
        if self.role == "search":
            return f"{self.variant}, learning rate {self.options.train.learning_rate:g}"
        return f"{self.variant}, seed {self.options.seed}"

    def identity(self, data: str) -> str:
        """Hash of recipe, data and seed: cells of the same identity are the same run, whatever it is for.

        Args:
            data: digest of the store and of the patches that are used.
        """
        left_out: dict[str, Any] = {"name": True, "data": {"store", "require"}, "train": {"device"}}
        kind = "trained"
        if self.role in ("frozen_random", "constant"):
            kind, left_out["train"] = self.role, True
        recipe = self.options.model_dump(mode="json", exclude=left_out)
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
    variants = {}
    for name, change in axes.variants.items():
        merged = merge(base, {**change, "seed": axes.seeds[0]})
        if "inputs" in change:
            merged["inputs"] = change["inputs"]
        place = f"{where}, study.variants.{name}" if where else f"study.variants.{name}"
        variants[name] = parse_options(RunOptions, merged, place)
    first = next(iter(variants.values()))
    for name, options in variants.items():
        same = {"split": options.split == first.split, "task": options.task == first.task}
        same["data.store"] = options.data.store == first.data.store
        same["data.exclude"] = options.data.exclude == first.data.exclude
        for section, is_same in same.items():
            if not is_same:
                raise UsageError(f"differs in '{section}': variants must share it", where=f"study.variants.{name}")
    needed = {modality for options in variants.values() for modality in [*options.inputs, *options.data.require]}
    require = {"require": tuple(sorted(needed))}
    variants = {
        name: options.model_copy(update={"name": name, "data": options.data.model_copy(update=require)})
        for name, options in variants.items()
    }
    return StudyPlan(str(base.get("name", "study")), axes, variants)


class _StudySection(Options):
    study: AxesOptions


def search_cells(plan: StudyPlan) -> list[Cell]:
    """The search runs: every variant with every learning rate on each fold, with the first seed."""
    change: dict[str, Any] = {"steps": plan.axes.search.steps, "epochs": None} if plan.axes.search.steps else {}
    return [
        Cell(name, "search", _with_train(_on_fold(options, fold), {**change, "learning_rate": learning_rate}))
        for name, options in plan.variants.items()
        for fold in plan.folds
        for learning_rate in plan.axes.search.learning_rates
    ]


def final_cells(plan: StudyPlan, learning_rates: Mapping[tuple[str, int], float]) -> list[Cell]:
    """The runs that are tested: every variant with its learning rates on every seed and fold, and the controls."""
    cells = []
    for seed in plan.axes.seeds:
        for fold in plan.folds:
            for name, options in plan.variants.items():
                here = _on_fold(options, fold).model_copy(update={"seed": seed})
                cells.append(Cell(name, "variant", _with_train(here, {"learning_rate": learning_rates[name, fold]})))
                if plan.axes.controls:
                    cells.append(Cell(f"{name} (frozen random)", "frozen_random", here))
            if plan.axes.controls:
                cells.append(
                    Cell("constant", "constant", _on_fold(plan.options, fold).model_copy(update={"seed": seed}))
                )
    return cells


def _on_fold(options: RunOptions, fold: int) -> RunOptions:
    return options.model_copy(update={"split": options.split.model_copy(update={"fold": fold})})


def _with_train(options: RunOptions, change: Mapping[str, Any]) -> RunOptions:
    return options.model_copy(update={"train": options.train.model_copy(update=dict(change))})

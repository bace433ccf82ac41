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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from eofuse.config import Options, merge, parse_options
from eofuse.data.targets import TargetOptions
from eofuse.errors import UsageError, did_you_mean
from eofuse.learning.preparation import RunOptions

Role = Literal["search", "variant", "frozen_random", "per_pixel", "constant"]


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
        twins: whether each variant with several tasks is set beside a variant for each of its tasks alone, at equal steps.
        controls: whether the constant predictor, the frozen random encoders and, for maps, the linear models of pixels run too.
        replicates: of the bootstrap over scenes.
    """

    title: str | None = None
    variants: dict[str, dict[str, Any]] = Field(min_length=1)
    baseline: str
    seeds: list[int] = Field(default=[0, 1, 2], min_length=1)
    folds: int | None = Field(default=None, ge=2)
    search: SearchOptions = SearchOptions()
    twins: bool = False
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
        twins: by the name of a variant with several tasks, the variants of each task alone, by target.
    """

    name: str
    axes: AxesOptions
    variants: dict[str, RunOptions]
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
    _check_shared(variants)
    needed = {modality for options in variants.values() for modality in [*options.inputs, *options.data.require]}
    require = {"require": tuple(sorted(needed))}
    variants = {
        name: options.model_copy(update={"name": name, "data": options.data.model_copy(update=require)})
        for name, options in variants.items()
    }
    twins = _twins(variants) if axes.twins else {}
    alone = {twin.name: twin for of_one in twins.values() for twin in of_one.values()}
    names = {name: {target: twin.name for target, twin in of_one.items()} for name, of_one in twins.items()}
    return StudyPlan(str(base.get("name", "study")), axes, {**variants, **alone}, names)


def _check_shared(variants: Mapping[str, RunOptions]) -> None:
    """Raises a `UsageError` if variants differ in what makes their scores comparable."""
    first = next(iter(variants.values()))
    defined: dict[str, dict[str, Any]] = {}
    for name, options in variants.items():
        same = {"split": options.split == first.split}
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
    """The search runs: every variant with every learning rate on each fold, with the first seed."""
    change: dict[str, Any] = {"steps": plan.axes.search.steps, "epochs": None} if plan.axes.search.steps else {}
    return [
        Cell(name, "search", _with_train(_on_fold(options, fold), {**change, "learning_rate": learning_rate}))
        for name, options in plan.variants.items()
        for fold in plan.folds
        for learning_rate in plan.axes.search.learning_rates
    ]


def final_cells(
    plan: StudyPlan, learning_rates: Mapping[tuple[str, int], float], with_maps: Sequence[str] = ()
) -> list[Cell]:
    """The runs that are tested: every variant with its learning rates on every seed and fold, and the controls.

    Args:
        plan: the study.
        learning_rates: by variant and fold.
        with_maps: variants with targets and inputs that have pixels, for the linear models of pixels.
    """
    cells = []
    alike: dict[str, list[str]] = {}  # by their inputs
    for name in with_maps:
        alike.setdefault(json.dumps(plan.variants[name].inputs, sort_keys=True), []).append(name)
    all_tasks = {task.target: task for options in plan.variants.values() for task in options.targets}
    for seed in plan.axes.seeds:
        for fold in plan.folds:
            for name, options in plan.variants.items():
                here = _on_fold(options, fold).model_copy(update={"seed": seed})
                here = _with_train(here, {"learning_rate": learning_rates[name, fold]})
                cells.append(Cell(name, "variant", here))
                frozen = Cell(frozen_name(name), "frozen_random", here)
                is_new = all(
                    frozen.identity("") != cell.identity("") for cell in cells
                )  # training may be all that differs
                if plan.axes.controls and is_new:
                    cells.append(frozen)
            if not plan.axes.controls:
                continue
            update = {"seed": seed, "task": None, "tasks": all_tasks}
            for names in alike.values():
                tasks = {task.target: task for name in names for task in plan.variants[name].targets}
                options = _on_fold(plan.variants[names[0]], fold).model_copy(update={**update, "tasks": tasks})
                cells.append(Cell(f"per pixel: {_words(options.inputs)}", "per_pixel", options))
            cells.append(Cell("constant", "constant", _on_fold(plan.options, fold).model_copy(update=update)))
    return cells


def _words(inputs: Mapping[str, Sequence[str] | None]) -> str:
    """Inputs, with their channels where not all are used."""
    return ", ".join(f"{name} ({', '.join(channels)})" if channels else name for name, channels in inputs.items())


def frozen_name(variant: str) -> str:
    """What the control with a variant's frozen random encoders is called."""
    return f"{variant} (frozen random)"


def _on_fold(options: RunOptions, fold: int) -> RunOptions:
    return options.model_copy(update={"split": options.split.model_copy(update={"fold": fold})})


def _with_train(options: RunOptions, change: Mapping[str, Any]) -> RunOptions:
    return options.model_copy(update={"train": options.train.model_copy(update=dict(change))})

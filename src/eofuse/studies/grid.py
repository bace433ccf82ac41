"""A study as a grid of cells: each a run, with an identity of its own, by which it is never run twice."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from eofuse.data.splits.subsets import Amount
from eofuse.learning.augment import AugmentOptions
from eofuse.learning.fitted import has_fitted_heads
from eofuse.learning.foundations import starts_published
from eofuse.learning.loop import WITHOUT_EFFECT
from eofuse.learning.options import RunOptions
from eofuse.learning.transfer import RANDOM
from eofuse.studies.picking import drawn
from eofuse.studies.plan import Key, StudyPlan, at
from eofuse.studies.pretraining import Pretraining, pretraining_name

Role = Literal[
    "search", "variant", "random_twin", "random_forest", "gradient_boosting", "frozen_random", "per_pixel", "constant"
]

TRAINED: tuple[Role, ...] = ("search", "variant", "random_twin")
"""Roles of cells that are trained as their recipe says."""

TREES: dict[Role, str] = {"random_forest": "random forest", "gradient_boosting": "gradient boosting"}
"""Controls that learn from columns, in words."""

UNTRAINED: dict[str, Any] = {"start": None, "unlabelled": None, "augment": AugmentOptions()}
"""What controls do not have of their variant."""


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        variant: its variant.
        role: what it is for.
        options: its recipe.
        pretraining: from which it starts, if it starts from one of the study's.
        before: the run with fewer labels that picks its further ones, if one does.
    """

    variant: str
    role: Role
    options: RunOptions
    pretraining: Pretraining | None = None
    before: "Cell | None" = None

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
        left_out: dict[str, Any] = {"name": True, "data": {"store", "require"}, "train": {"device", *WITHOUT_EFFECT}}
        kind = "trained"
        if self.role not in TRAINED:
            kind, left_out["weighting"] = self.role, True
            if self.role != "frozen_random" or not any(task.has_boxes() for task in self.options.targets):
                left_out["train"] = True  # only a detector's head is trained by the loop
            if self.role != "frozen_random":
                left_out["fusion"] = True
        recipe = self.options.model_dump(mode="json", exclude=left_out)
        if self.pretraining:
            recipe["start"]["from"] = self.pretraining.identity("")
        if self.before:
            recipe["labels"]["order"] = self.before.identity("")
        return hashlib.sha256(json.dumps([kind, recipe, data], sort_keys=True).encode()).hexdigest()[:16]


def _cell(plan: StudyPlan, variant: str, role: Role, options: RunOptions, learning_rates: Mapping[Key, float]) -> Cell:
    """A run, with the pretraining of its seed and fold if it starts from one, and the run that picks its labels if one does."""
    name, fold, seed, amount = pretraining_name(options), options.split.fold, options.seed, options.labels.amount
    start = None if name is None else Pretraining(name, plan.pretraining[name]).at(fold, seed)
    if options.labels.picked_by is None:
        return Cell(variant, role, options, start)
    place = plan.amounts.index(amount)
    if place == 0:  # a draw, the same for all
        return Cell(variant, role, drawn(options), start)
    fewer = plan.amounts[place - 1]
    earlier = at(plan.variants[variant], fold, seed, fewer)
    earlier = _with_train(earlier, {"learning_rate": learning_rates[variant, fold, str(fewer)]})
    return Cell(variant, role, options, start, _cell(plan, variant, "variant", earlier, learning_rates))


def search_cells(
    plan: StudyPlan, amounts: Sequence[Amount] | None = None, learning_rates: Mapping[Key, float] | None = None
) -> list[Cell]:
    """The search runs: every variant with every learning rate on each fold and amount of labels, with the first seed.

    `learning_rates` are those of the amounts of labels before these; `amounts` are all by default.
    """
    change: dict[str, Any] = {"steps": plan.axes.search.steps, "epochs": None} if plan.axes.search.steps else {}
    return [
        _cell(
            plan,
            name,
            "search",
            _with_train(at(options, fold, plan.axes.seeds[0], amount), {**change, "learning_rate": learning_rate}),
            learning_rates or {},
        )
        for name, options in plan.variants.items()
        for fold in plan.folds
        for amount in amounts or plan.amounts
        for learning_rate in plan.axes.search.learning_rates[: 1 if has_fitted_heads(options) else None]
    ]


def final_cells(
    plan: StudyPlan,
    learning_rates: Mapping[Key, float],
    with_maps: Sequence[str] = (),
    amounts: Sequence[Amount] | None = None,
) -> list[Cell]:
    """The runs that are tested: every variant with its learning rates on every seed, fold and amount of labels, and the controls.

    Linear models of pixels are for `with_maps`, variants whose targets and inputs have pixels; `amounts` are all by default.
    """
    cells: list[Cell] = []
    for amount in amounts or plan.amounts:
        for seed in plan.axes.seeds:
            for fold in plan.folds:
                cells += _cells_at(plan, learning_rates, with_maps, fold, seed, amount)
    return _with_controls_once(cells)


def _with_controls_once(cells: Sequence[Cell]) -> list[Cell]:
    """The cells without frozen random controls that are those of an earlier variant throughout: training may be all that differs."""
    identities: dict[str, list[str]] = {}
    for cell in cells:
        if cell.role == "frozen_random":
            identities.setdefault(cell.variant, []).append(cell.identity(""))
    first: dict[tuple[str, ...], str] = {}
    own = {name for name, found in identities.items() if first.setdefault(tuple(found), name) == name}
    return [cell for cell in cells if cell.role != "frozen_random" or cell.variant in own]


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
    for name, options in plan.variants.items():
        rate = learning_rates[name, fold, str(amount)]
        here = _with_train(at(options, fold, seed, amount), {"learning_rate": rate})
        cells.append(_cell(plan, name, "variant", here, learning_rates))
        if plan.axes.controls and starts_published(options):
            assert here.start is not None
            start = here.start.model_copy(update={"source": RANDOM, "file": None})
            cells.append(Cell(twin_name(name), "random_twin", drawn(here.model_copy(update={"start": start}))))
        elif plan.axes.controls and (
            here.start is not None or not has_fitted_heads(here)
        ):  # else it would be the same again
            cells.append(Cell(frozen_name(name), "frozen_random", drawn(here.model_copy(update=UNTRAINED))))
    for name in plan.axes.trees:
        options = drawn(at(plan.variants[name], fold, seed, amount).model_copy(update=UNTRAINED))
        cells += [Cell(trees_name(name, role), role, options) for role in TREES]
    if not plan.axes.controls:
        return cells
    all_tasks = {task.target: task for options in plan.variants.values() for task in options.targets}
    alike: dict[str, list[str]] = {}  # by their inputs
    for name in with_maps:
        alike.setdefault(json.dumps(plan.variants[name].inputs, sort_keys=True), []).append(name)
    for names in alike.values():
        tasks = {task.target: task for name in names for task in plan.variants[name].targets}
        update = {**UNTRAINED, "task": None, "tasks": tasks}
        options = drawn(at(plan.variants[names[0]], fold, seed, amount).model_copy(update=update))
        cells.append(Cell(f"per pixel: {_words(options.inputs)}", "per_pixel", options))
    update = {**UNTRAINED, "task": None, "tasks": all_tasks}
    options = drawn(at(plan.options, fold, seed, amount).model_copy(update=update))
    return [*cells, Cell("constant", "constant", options)]


def _words(inputs: Mapping[str, Sequence[str] | None]) -> str:
    """Inputs, with their channels where not all are used."""
    return ", ".join(f"{name} ({', '.join(channels)})" if channels else name for name, channels in inputs.items())


def frozen_name(variant: str) -> str:
    """What the control with a variant's frozen random encoders is called."""
    return f"{variant} (frozen random)"


def twin_name(variant: str) -> str:
    """What the control is called that is trained as a variant is, from random weights in place of published ones."""
    return f"{variant} (random weights)"


OWN_CONTROLS: dict[str, Callable[[str], str]] = {"random_twin": twin_name, "frozen_random": frozen_name}
"""What the controls that a variant has for itself are called, by role."""


def rated_by(plan: StudyPlan, cell: Cell) -> str | None:
    """The variant whose search gives a run that is tested its learning rate, if one does."""
    if cell.role == "variant":
        return cell.variant
    named = OWN_CONTROLS.get(cell.role)
    return next((name for name in plan.variants if named and named(name) == cell.variant), None)


def at_rates(plan: StudyPlan, cell: Cell, learning_rates: Mapping[Key, float]) -> Cell:
    """The same run with the learning rates that were found: its own, and those of the runs that picked its labels."""
    options, rated = cell.options, rated_by(plan, cell)
    if rated is not None:
        options = _with_train(options, {"learning_rate": learning_rates[rated, options.split.fold, cell.amount]})
    if cell.role in ("search", "variant"):
        return _cell(plan, cell.variant, cell.role, options, learning_rates)
    return replace(cell, options=options)


def trees_name(variant: str, role: Role) -> str:
    """What the control with trees on a variant's inputs is called."""
    return f"{variant} ({TREES[role]})"


def _with_train(options: RunOptions, change: Mapping[str, Any]) -> RunOptions:
    return options.model_copy(update={"train": options.train.model_copy(update=dict(change))})

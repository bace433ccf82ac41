"""Final runs asked again about their test patches with modalities taken away: what remains, and what each modality is worth.

With `study.without`, each modality is taken away by itself; with `study.attribution`, every set of them (see
`eofuse.evaluation.shapley`). Nothing is trained for it, so what is finished can be asked later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from eofuse.evaluation.predictions import Predictions
from eofuse.evaluation.resampling import Resampling
from eofuse.evaluation.shapley import Game, Subset, attribute_gain
from eofuse.learning.attribution import judged
from eofuse.learning.evaluate import to_predictions
from eofuse.learning.missing import never_lacked, read_without, without_file
from eofuse.learning.preparation import Prepared
from eofuse.learning.run import Run
from eofuse.studies.axes import AxesOptions
from eofuse.studies.families import corrected
from eofuse.studies.grid import Cell
from eofuse.studies.plan import StudyPlan
from eofuse.studies.results import REMAINS, WORTH
from eofuse.tasks import Task

WITHOUT = "without "
"""How the name of a job begins that asks the run in its folder: without each modality, or all sets of them."""


def job(axes: AxesOptions) -> str:
    """The name of the job that asks a run."""
    return f"{WITHOUT}{'all' if axes.attribution else 'each'}"


def taken_away(names: Sequence[str], asked: str) -> list[Subset]:
    """Sets of modalities that a job takes away."""
    if asked == f"{WITHOUT}each":
        return [frozenset({name}) for name in names]
    return [frozenset(names) - subset for subset in Game(names).subsets[:-1]]


def is_asked(plan: StudyPlan, cell: Cell) -> bool:
    """Whether a run is asked: one of a variant with several inputs, and with the most labels."""
    wanted = plan.axes.without or plan.axes.attribution
    return wanted and cell.role == "variant" and len(cell.options.inputs) > 1 and cell.amount == str(plan.amounts[-1])


def is_answered(plan: StudyPlan, run: Run) -> bool:
    """Whether a run was asked already."""
    sets = taken_away(list(run.options.inputs), job(plan.axes))
    return all(without_file(run.folder, names, target).is_file() for names in sets for target in run.targets)


@dataclass(frozen=True)
class Answers:
    """What the runs of one variant say of one target.

    `runs` have what they predict with all modalities; `always` are the inputs that no patch lacked in training.
    """

    variant: str
    task: Task
    runs: Sequence[tuple[Cell, Run, Predictions]]
    labels: int
    always: Sequence[str]

    @property
    def inputs(self) -> list[str]:
        """Names of the modalities."""
        return list(self.runs[0][0].options.inputs)

    def without(self, names: Subset) -> list[Predictions]:
        """What the runs say with some modalities taken away."""
        if not names:
            return [predictions for _, _, predictions in self.runs]
        return [
            to_predictions(
                read_without(run.folder, names, self.task.name), self.task, predictions.seed, predictions.fold
            )
            for _, run, predictions in self.runs
        ]

    def remains(self) -> list[dict[str, Any]]:
        """The metrics without each modality, a row a modality and metric."""
        resampling, rows, whole = Resampling(self.task.score), [], self.without(frozenset())
        for name in self.inputs:
            runs = self.without(frozenset({name}))
            compared = resampling.compare(runs, whole)
            for metric, summary in resampling.summarise(runs).items():
                found = compared[metric]
                difference = {
                    "difference": found.difference,
                    "difference_low": found.low,
                    "difference_high": found.high,
                }
                named = {**self._named, "without": name, "saw_gaps": name not in self.always}
                rows.append({**named, "metric": metric, **summary.columns(), **difference, "p": found.p})
        return rows

    def worth(self) -> list[dict[str, Any]]:
        """Shapley values, and what is lost without each modality: a row a modality, question and metric."""
        game, rows = Game(self.inputs), []
        found = [
            Resampling(self.task.score).leave_out(self.without(frozenset(game.names) - subset))
            for subset in game.subsets
        ]
        patches = {patch for _, _, predictions in self.runs for patch in predictions.patch_ids.tolist()}
        counts = {"n_seeds": len({predictions.seed for _, _, predictions in self.runs}), "n_test": len(patches)}
        for metric in judged(self.task):
            gain = attribute_gain(game, [each[metric] for each in found], metric)
            about = {"metric": metric, "whole": gain.whole, "constant": gain.constant, **counts}
            about["n_scenes"] = found[0][metric].n_scenes
            for one in gain.worths:
                named = {**self._named, "name": one.name, **about}
                rows.append({**named, "kind": "shapley", **asdict(one.shapley), "spread": one.sampling_error})
                rows.append({**named, "kind": "drop_one", **asdict(one.drop_one), "spread": float("nan")})
        return rows

    @property
    def _named(self) -> dict[str, Any]:
        saw_gaps = len(self.always) < len(self.inputs)
        return {"variant": self.variant, "saw_gaps": saw_gaps, "n_labels": self.labels}


def missing_tables(
    plan: StudyPlan,
    task: Task,
    tested: Sequence[tuple[Cell, Run, Predictions]],
    prepared: Mapping[str, Prepared],
    labels: int,
) -> dict[str, pd.DataFrame]:
    """The tables `without` and `attribution` of a target; empty where the study does not want them."""
    by_variant: dict[str, list[tuple[Cell, Run, Predictions]]] = {}
    for cell, run, predictions in tested:
        if is_asked(plan, cell) and is_answered(plan, run):
            by_variant.setdefault(cell.variant, []).append((cell, run, predictions))
    answers = [
        Answers(name, task, runs, labels, never_lacked(plan.variants[name], prepared[name]))
        for name, runs in by_variant.items()
    ]
    remains = [row for each in answers if plan.axes.without for row in each.remains()]
    worth = [row for each in answers if plan.axes.attribution for row in each.worth()]
    without = corrected(pd.DataFrame(remains, columns=REMAINS))
    return {"without": without, "attribution": pd.DataFrame(worth, columns=WORTH)}

"""What each modality, scalar and band is worth to a trained run, on its test patches.

Four questions, each with an interval over scenes; positive numbers say that it helps:

- `shapley`: of the gain over the constant predictor, how much is due to each modality (see `eofuse.evaluation.shapley`);
- `drop_one`: what is lost when a modality alone is taken away;
- `permutation`: what is lost when whole scenes swap the values of a scalar, of a series, or the cells of a coarse raster;
- `band`: what is lost when test patches swap a band of a raster.

The first two evaluate the model without modalities, and are worth as much as it has learned to do without them.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eofuse.data.loading import Batch, Loader, Rows
from eofuse.data.scenes import scenes_of, units
from eofuse.errors import UsageError, did_you_mean
from eofuse.evaluation.evidence import from_columns
from eofuse.evaluation.metrics import METRICS, rewards_guessing
from eofuse.evaluation.metrics.classification import BALANCED_ACCURACY
from eofuse.evaluation.permutation import importance, permute_scenes, tells_scenes
from eofuse.evaluation.resampling import LeftOut, Resampling, few_scenes_warning
from eofuse.evaluation.shapley import Estimate, Game, Subset, attribute_gain
from eofuse.files import replacing, write_text
from eofuse.learning.evaluate import metric_unit, unknown_scenes
from eofuse.learning.missing import NEVER_SAW_GAPS, Tested, never_lacked, open_tested, predict_from
from eofuse.modalities import Kind
from eofuse.progress import Progress
from eofuse.tasks import Evidence, Task
from eofuse.tasks.base import Array
from eofuse.tasks.gathering import Predict

TABLE_FILE = "attribution.csv"
FACTS_FILE = "attribution.json"

TELLING = 0.9
"""A scalar that tells the scene of so many training patches is warned of."""

MOST_ROWS = 20_000
"""Training patches on which it is measured whether scalars tell scenes."""

Scores = dict[tuple[str, str], LeftOut]
"""By target and metric."""


@dataclass(frozen=True)
class RunAttribution:
    """What each modality, scalar and band is worth to a run.

    Attributes:
        table: a row a target, question (`kind`) and `name`: metric, value, low, high (95 % interval over scenes), spread (of
            Shapley values the standard error from drawing orders, 0 where all subsets were evaluated; of permutations the standard
            deviation over draws), n_test, n_scenes, unit.
        facts: by target, each metric with all modalities (`whole`) and of the constant predictor (`constant`); how it was found.
        warnings: what a reader must know.
    """

    table: pd.DataFrame
    facts: dict[str, Any]
    warnings: list[str]


def attribute(
    run_folder: str | os.PathLike[str],
    *,
    metric: str | None = None,
    seed: int = 0,
    repeats: int = 5,
    progress: Progress | None = None,
) -> RunAttribution:
    """Attributes the metrics of each target, and writes `attribution.csv` and `attribution.json` into the run's folder.

    Args:
        run_folder: a trained run.
        metric: that is to be shown of each target that has it; the ranking one by default. The table has them all.
        seed: of the permutations, and of the orders of more than six modalities.
        repeats: draws of each permutation.
        progress: called with (predictions of the test set done, in all, a few words).

    Raises:
        UsageError: if no target has the metric.
    """
    tested = open_tested(Path(run_folder))
    shown = {task.name: metric if metric in judged(task) else task.metric for task in tested.tasks}
    if metric is not None and metric not in shown.values():
        valid = [name for task in tested.tasks for name in judged(task)]
        raise UsageError(f"unknown metric '{metric}'", where="metric", fix=did_you_mean(metric, valid))
    game = Game(list(tested.run.options.inputs), seed)
    questions = _Questions(tested, game, list(_inputs(tested)), seed, repeats, progress)
    of_subset, of_input = questions.of_subset(), questions.of_input()
    whole = of_subset[game.subsets[-1]]

    lines: list[dict[str, Any]] = []
    facts: dict[str, dict[str, Any]] = {}
    for task in tested.tasks:
        facts[task.name] = {"kind": task.kind.name, "metric": shown[task.name], "whole": {}, "constant": {}}
        for name in judged(task):
            line, key = partial(_line, tested, task, name), (task.name, name)
            worth = attribute_gain(game, [of_subset[subset][key] for subset in game.subsets], name)
            facts[task.name]["whole"][name], facts[task.name]["constant"][name] = worth.whole, worth.constant
            lines += [line("shapley", one.name, one.shapley, one.sampling_error) for one in worth.worths]
            lines += [line("drop_one", one.name, one.drop_one, float("nan")) for one in worth.worths]
            for each, draws in of_input.items():
                loss, deviation = importance(whole[key], [draw[key] for draw in draws], name)
                lines.append(line(each.kind, each.label, loss, deviation))
    table = pd.DataFrame(lines)
    warnings = _warnings(tested, shown, int(table["n_scenes"].min()))
    about = {
        "targets": facts,
        "inputs": list(game.names),
        "subsets": len(game.subsets),
        "exact": game.is_exact,
        "seed": seed,
        "repeats": repeats,
        "warnings": warnings,
    }
    with replacing(tested.run.folder / TABLE_FILE) as temporary:
        table.to_csv(temporary, index=False)
    write_text(tested.run.folder / FACTS_FILE, json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    return RunAttribution(table, about, warnings)


@dataclass
class _Questions:
    """The predictions that an attribution evaluates, one pass over the test patches each, and their scores."""

    tested: Tested
    game: Game
    inputs: list["_Input"]
    seed: int
    repeats: int
    progress: Progress | None
    done: int = 0

    def of_subset(self) -> dict[Subset, Scores]:
        """Scores from each subset of the modalities; those of all are of the predictions that the run keeps."""
        of_subset: dict[Subset, Scores] = {}
        for subset in self.game.subsets[:-1]:
            words = f"from {', '.join(name for name in self.game.names if name in subset) or 'nothing'}"
            predict = predict_from(self.tested.predict, self.tested.tasks, subset)
            of_subset[subset] = self._evaluate(predict, words)
        kept = {
            task.name: from_columns(self.tested.run.predictions(task.name), task.kind, len(task.classes))
            for task in self.tested.tasks
        }
        return {**of_subset, self.game.subsets[-1]: self._scores(kept)}

    def of_input(self) -> dict["_Input", list[Scores]]:
        """Scores with each input permuted, a draw each."""
        return {
            each: [
                self._evaluate(each.permuted(self.tested, [self.seed, draw]), f"{each.label} permuted")
                for draw in range(self.repeats)
            ]
            for each in self.inputs
        }

    def _evaluate(self, predict: Predict, words: str) -> Scores:
        scores = self._scores(self.tested.gather(predict))
        self.done += 1
        if self.progress:
            self.progress(self.done, len(self.game.subsets) - 1 + self.repeats * len(self.inputs), words)
        return scores

    def _scores(self, evidence: Mapping[str, Evidence]) -> Scores:
        return {
            (task.name, metric): scores
            for task in self.tested.tasks
            for metric, scores in Resampling(task.score)  # one for all would keep all evidence
            .leave_out([self.tested.predictions(task, evidence[task.name])])
            .items()
        }


@dataclass(frozen=True)
class _Input:
    """What is permuted: a modality as a whole, or a band."""

    kind: str
    modality: str
    channel: str | None = None

    @property
    def label(self) -> str:
        """How it is called."""
        return f"{self.modality}.{self.channel}" if self.channel else self.modality

    def givers(self, tested: Tested, seed: list[int]) -> Rows:
        """For each patch of the store, the patch whose values it gets: swapped among the test patches that have this."""
        index, test = tested.prepared.store.index, tested.prepared.rows["test"]
        present = test[tested.prepared.present[self.modality][test]]
        givers = np.arange(len(index))
        if self.channel is None:
            givers[present] = present[permute_scenes(units(index)[present], seed)]
        else:
            givers[present] = np.random.default_rng(seed).permutation(present)
        return givers

    def permuted(self, tested: Tested, seed: list[int]) -> Predict:
        """Predictions with this swapped among the test patches that have it."""
        options, givers = tested.run.options, self.givers(tested, seed)
        channels = [self.channel] if self.channel is not None else options.inputs[self.modality]
        loader = Loader(tested.prepared.store, {self.modality: channels}, crop=options.data.crop)

        def predict(batch: Batch) -> Mapping[str, Array]:
            given = loader.read(givers[batch.rows]).inputs
            if self.channel is not None:
                swapped = batch.inputs[self.modality].clone()
                place = tested.loader.modalities[self.modality].channel_index(self.channel)
                swapped[:, place] = given[self.modality][:, 0]
                given = {self.modality: swapped}
            return tested.predict(replace(batch, inputs={**batch.inputs, **given}))

        return predict


def _inputs(tested: Tested) -> Iterator[_Input]:
    """What can be permuted: scalars, series, also those of images, and cells as a whole; rasters of pixels by band."""
    modalities = tested.loader.modalities.values()
    in_bands = [modality for modality in modalities if modality.kind is Kind.RASTER and modality.cell == 1]
    yield from (_Input("permutation", modality.name) for modality in modalities if modality not in in_bands)
    for modality in in_bands:
        yield from (_Input("band", modality.name, channel) for channel in modality.channel_names)


def _guessing_warning(task: Task, metric: str) -> str:
    fair = BALANCED_ACCURACY.name
    other = f"; {fair} does not reward guesses" if fair in task.metrics else ""
    return (
        f"{task.name}: under {metric} the constant predictor, which names one class only, scores less than guesses do, so what "
        f"tells nothing can seem worth a little{other}."
    )


def judged(task: Task) -> list[str]:
    """Metrics of a task of which more, or less, is better."""
    return [metric for metric in task.metrics if METRICS[metric].best != "zero"]


def _line(
    tested: Tested, task: Task, metric: str, kind: str, name: str, found: Estimate, spread: float
) -> dict[str, Any]:
    places = pd.DataFrame(tested.places(task))
    return {
        "target": task.name,
        "kind": kind,
        "name": name,
        "metric": metric,
        **asdict(found),
        "spread": spread,
        "n_test": len(places),
        "n_scenes": len(np.unique(units(places))),
        **unknown_scenes(scenes_of(tested.prepared.store.index.iloc[places["row"]])),
        "unit": metric_unit(task, metric),
    }


def _warnings(tested: Tested, shown: Mapping[str, str], scenes: int) -> list[str]:
    """What a reader must know of a run's attribution."""
    options, store = tested.run.options, tested.prepared.store
    found = list(tested.run.notes())
    always = never_lacked(options, tested.prepared)
    if len(options.inputs) > 1 and always:
        some = f"Every training patch has {', '.join(always)}: what the model says without tells how it extrapolates."
        never = NEVER_SAW_GAPS if len(always) == len(options.inputs) else some
        found.append(never + " Train it with `augment: {drop_modalities: 0.3}` and `fusion.missing: token`.")
    train = tested.prepared.rows["train"]
    for modality in tested.loader.modalities.values():
        if modality.has_pixels:
            continue
        rows = train[tested.prepared.present[modality.name][train]][:MOST_ROWS]
        values = Loader(store, {modality.name: options.inputs[modality.name]}).read(rows).inputs[modality.name].numpy()
        numbers = np.nan_to_num(values.reshape(len(rows), -1).astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        share = tells_scenes(numbers, units(store.index)[rows])
        if share >= TELLING:
            found.append(
                f"'{modality.name}' tells the scene of {share:.0%} of the training patches: the model could learn scenes by heart "
                "from it, and what it loses when scenes swap it is no sign that it helps in new ones."
            )
    found += [_guessing_warning(task, shown[task.name]) for task in tested.tasks if rewards_guessing(shown[task.name])]
    few = few_scenes_warning(scenes)
    return [*found, few[0].upper() + few[1:] + "."] if few else found

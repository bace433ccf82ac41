"""Scores of a trained run on its test patches, with intervals over scenes, beside the constant predictor."""

import os
from pathlib import Path
from typing import Any

import pandas as pd

from eofuse.data.scenes import Scenes, scenes_of, units
from eofuse.data.store import shared_store
from eofuse.evaluation.evidence import from_columns
from eofuse.evaluation.metrics import METRICS, sums_of
from eofuse.evaluation.predictions import Predictions
from eofuse.evaluation.resampling import Resampling
from eofuse.files import replacing
from eofuse.learning.run import Run, test_run
from eofuse.learning.sharing import prepare_once
from eofuse.tasks import Task
from eofuse.tasks.gathering import gather, predict_constant

EVALUATION_FILE = "evaluation.csv"


def evaluate(run_folder: str | os.PathLike[str]) -> pd.DataFrame:
    """Evaluates a run and writes `evaluation.csv` into its folder.

    Args:
        run_folder: a trained run.

    Returns:
        A row a target, predictor (`run`, `constant`) and metric: value, low, high (95 % interval over scenes), n_test, n_scenes
        (what is left out in turn: scenes, and patches whose scene is not known), n_blocks (those of them that are spatial blocks
        in place of scenes), n_unknown (patches whose scene is not known), unit. Besides the metrics of the task: expected
        calibration error before (`ece_raw`) and after temperature scaling (`ece`); for numbers, `coverage` and `interval_width`
        of the 90 % predictive interval.
    """
    run = test_run(Path(run_folder))
    prepared = prepare_once(shared_store(run.options.data.store), run.options)
    specs = {task.name: task.head() for task in prepared.tasks}
    loader, rows = prepared.loader(run.options), prepared.rows["test"]
    constant = gather(predict_constant(prepared.tasks), prepared.tasks, specs, loader, rows)
    lines = []
    for task in prepared.tasks:
        own = to_predictions(run.predictions(task.name), task, run.options.seed, run.options.split.fold)
        same = Predictions(constant[task.name], own.scenes, own.patch_ids, own.seed, own.fold, own.sums)
        resampling = Resampling(task.score)
        for predictor, predictions in (("run", own), ("constant", same)):
            tested = scenes_of(prepared.store.index.iloc[task.known(rows)])
            labels = {"target": task.name, "predictor": predictor}
            lines += [
                {**labels, **row, **unknown_scenes(tested), "unit": metric_unit(task, row["metric"])}
                for row in score_rows(predictions, resampling)
            ]
    scores = pd.DataFrame(lines)
    with replacing(run.folder / EVALUATION_FILE) as temporary:
        scores.to_csv(temporary, index=False)
    return scores


def scores_on_test(run: Run) -> list[dict[str, Any]]:
    """Scores of a tested run: a row a target and metric with value, low, high (95 % interval over scenes), n_test, n_scenes."""
    prepared = prepare_once(shared_store(run.options.data.store), run.options)
    found = []
    for task in prepared.tasks:
        own = to_predictions(run.predictions(task.name), task, run.options.seed, run.options.split.fold)
        found += [{"target": task.name, **row} for row in score_rows(own, Resampling(task.score))]
    return found


def unknown_scenes(found: Scenes) -> dict[str, int]:
    """Columns of a table of scores that say how many of its scenes are none that the data name."""
    return {"n_blocks": found.blocks, "n_unknown": found.unknown}


def metric_unit(task: Task, metric: str) -> str:
    """Unit of a metric of a task, empty where it has none."""
    return METRICS[metric].unit_of(task.target.unit)


def to_predictions(table: pd.DataFrame, task: Task, seed: int, fold: int) -> Predictions:
    """A run's table of test patches as the statistics take it."""
    return Predictions(
        evidence=from_columns(table, task.kind, len(task.classes)),
        scenes=units(table).astype(str),
        patch_ids=table["patch_id"].to_numpy(dtype=str),
        seed=seed,
        fold=fold,
        sums=sums_of(task.kind),
    )


def score_rows(predictions: Predictions, resampling: Resampling) -> list[dict[str, Any]]:
    """A row a metric for one run: metric, value, low, high, n_test, n_scenes."""
    names = ("low", "high", "n_test", "n_scenes")
    return [
        {"metric": metric, "value": summary.mean, **{name: getattr(summary, name) for name in names}}
        for metric, summary in resampling.summarise([predictions]).items()
    ]

"""Scores of a trained run on its test patches, with intervals over scenes, beside the constant predictor."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eofuse.data.store import open_store
from eofuse.evaluation.statistics import Bootstrap, Predictions
from eofuse.files import replacing
from eofuse.learning.preparation import prepare
from eofuse.learning.run import test_run

EVALUATION_FILE = "evaluation.csv"


def evaluate(run_folder: str | os.PathLike[str], replicates: int = 2000) -> pd.DataFrame:
    """Evaluates a run and writes `evaluation.csv` into its folder.

    Args:
        run_folder: a trained run.
        replicates: of the bootstrap over scenes.

    Returns:
        A row a predictor (`run`, `constant`) and metric: value, low, high (95 % scene-bootstrap interval), n_test, n_scenes.
    """
    run = test_run(Path(run_folder))
    prepared = prepare(open_store(run.options.data.store), run.options)
    predictions = to_predictions(run.predictions(), run.options.seed, run.options.split.fold)
    frequencies = prepared.task.constant_prediction(prepared.rows["train"])
    constant = replace(predictions, probabilities=np.tile(frequencies, (len(predictions.truth), 1)))
    bootstrap = Bootstrap(prepared.task.score, replicates)
    scores = pd.DataFrame(
        [
            {"predictor": predictor, **row}
            for predictor, said in (("run", predictions), ("constant", constant))
            for row in score_rows(said, bootstrap)
        ]
    )
    with replacing(run.folder / EVALUATION_FILE) as temporary:
        scores.to_csv(temporary, index=False)
    return scores


def to_predictions(table: pd.DataFrame, seed: int, fold: int) -> Predictions:
    """A run's table of test patches as the statistics take it."""
    return Predictions(
        truth=np.array(table["truth"].tolist()),
        probabilities=np.array(table["probabilities"].tolist(), dtype=np.float64),
        scenes=table["scene"].to_numpy(dtype=str),
        patch_ids=table["patch_id"].to_numpy(dtype=str),
        seed=seed,
        fold=fold,
    )


def score_rows(predictions: Predictions, bootstrap: Bootstrap) -> list[dict[str, Any]]:
    """A row a metric for one run: metric, value, low, high, n_test, n_scenes."""
    return [
        {
            "metric": metric,
            "value": summary.mean,
            "low": summary.low,
            "high": summary.high,
            "n_test": summary.n_test,
            "n_scenes": summary.n_scenes,
        }
        for metric, summary in bootstrap.summarise([predictions]).items()
    ]

"""Scores of a trained run on its test patches, with intervals over scenes, beside the constant predictor."""

import os
from pathlib import Path

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
    table = run.predictions()
    truth = np.array(table["truth"].tolist())
    constant = np.tile(prepared.task.constant_prediction(prepared.rows["train"]), (len(table), 1))
    bootstrap = Bootstrap(prepared.task.score, replicates)
    rows = []
    for predictor, probabilities in (("run", np.array(table["probabilities"].tolist())), ("constant", constant)):
        scenes, patch_ids = table["scene"].to_numpy(dtype=str), table["patch_id"].to_numpy(dtype=str)
        predictions = Predictions(truth, probabilities, scenes, patch_ids, seed=run.options.seed)
        for metric, summary in bootstrap.summarise([predictions]).items():
            rows.append(
                {
                    "predictor": predictor,
                    "metric": metric,
                    "value": summary.mean,
                    "low": summary.low,
                    "high": summary.high,
                    "n_test": summary.n_test,
                    "n_scenes": summary.n_scenes,
                }
            )
    scores = pd.DataFrame(rows)
    with replacing(run.folder / EVALUATION_FILE) as temporary:
        scores.to_csv(temporary, index=False)
    return scores

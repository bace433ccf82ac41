"""The validation patches that are looked at while a model learns, and all of them in the end."""

import numpy as np
import torch

from eofuse import recipe as recipes
from eofuse.data.scenes import units
from eofuse.data.store import open_store
from eofuse.learning.preparation import prepare
from eofuse.learning.validation import Validation, spread
from eofuse.models.artifact import load_model
from eofuse.tasks import TaskOptions, make_task
from eofuse.tasks.gathering import predict_with


def test_of_many_validation_patches_some_are_looked_at_and_the_best_weights_are_scored_on_all(recipe, tmp_path):
    train = {**recipe["train"], "validation_patches": 9}
    run = recipes.train({**recipe, "train": train}, to=tmp_path / "run")
    whole = Validation(*_whole_validation(run), whole=True).evaluate()
    assert run.result["validated_while_training"] == 9
    assert run.result["score"] == whole["macro_f1"] == run.result["targets"][0]["validation"]["macro_f1"]


def _whole_validation(run):
    prepared = prepare(open_store(run.options.data.store), run.options)
    model = load_model(run.folder / "model", torch.device("cpu"))
    model.calibrate({})
    return prepared, run.options, predict_with(model, torch.device("cpu")), model.spec.heads


def test_looked_at_patches_are_spread_over_classes_and_scenes(planted_store):
    task, rows = make_task(planted_store, TaskOptions(target="label")), np.arange(len(planted_store))
    scenes = units(planted_store.index)
    chosen = spread([task], rows, scenes, 24)
    np.testing.assert_array_equal(chosen, spread([task], rows[::-1].copy(), scenes, 24))
    shares = task.target.counts(chosen) / task.target.counts(rows)
    assert len(chosen) == 24
    assert np.abs(shares - 24 / len(rows)).max() < 0.05
    assert len(set(scenes[chosen])) > 12
    rare = spread([task], np.append(rows[task.target.values == 0], rows[task.target.values == 1][0]), scenes, 3)
    assert set(task.target.values[rare]) == {0, 1}
    np.testing.assert_array_equal(spread([task], rows, scenes, len(rows)), rows)

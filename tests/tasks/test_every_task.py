"""Every task, and every fusion strategy under several tasks, learns, is saved and evaluated, with and without numbers."""

import numpy as np
import pandas as pd
import pytest
import torch

from eofuse.config import merge, parse_options
from eofuse.data.store.pack import pack_source
from eofuse.errors import UsageError
from eofuse.kinds import KINDS
from eofuse.learning import run as runs
from eofuse.learning.evaluate import evaluate
from eofuse.learning.options import RunOptions
from eofuse.learning.outputs import maps_file
from eofuse.learning.preparation import prepare, rehearse
from fake_source import MappedSource

TASKS = {
    "single_label": {"target": "label"},
    "multi_label": {"target": "land_cover_above", "threshold": 0.15},
    "regression": {"target": "value"},
    "segmentation": {"target": "worldcover"},
    "pixel_regression": {"target": "elevation"},
    "detection": {"target": "regions", "classes": ["permanent_water_bodies"]},
}
STRATEGIES = {
    "early": {"strategy": "early"},
    "middle": {"strategy": "middle"},
    "late": {"strategy": "late"},
    "late, shared": {"strategy": "late", "weights": "shared"},
    "decision": {"strategy": "decision"},
}
INPUTS = {"rasters": ["s1", "s2"], "with numbers": ["s1", "s2", "season"]}
CASES = [
    ("single_label", "early", "rasters"),
    ("single_label", "decision", "with numbers"),
    ("multi_label", "middle", "with numbers"),
    ("multi_label", "late, shared", "with numbers"),
    *(("regression", strategy, "with numbers") for strategy in ("late", "gated", "attention")),
    ("segmentation", "middle", "rasters"),
    *(("segmentation", strategy, "with numbers") for strategy in ("late, shared", "gated", "film")),
    *(("pixel_regression", strategy, "with numbers") for strategy in ("early", "decision")),
    ("detection", "late", "rasters"),
    *(("detection", strategy, "with numbers") for strategy in ("middle", "decision")),
]
"""Every task, and every strategy once on vectors and once on maps."""


@pytest.fixture(scope="module")
def mapped_store(tmp_path_factory):
    source = MappedSource(patches=60)
    return pack_source(source, tmp_path_factory.mktemp("mapped") / "mapped.store", workers=1)


def small_run(store, task, **change) -> dict:
    base = {
        "data": {"store": str(store.path)},
        "inputs": ["s1", "s2"],
        "fusion": {"encoder": "test_resnet"},
        "split": {"fractions": [0.6, 0.2, 0.2]},
        "train": {"steps": 8, "batch_size": 8, "evaluations": 1, "learning_rate": 0.004, "warmup": 0},
    }
    return merge({**base, **({"task": task} if task else {})}, change)


def trained(values, folder):
    runs.start_run(parse_options(RunOptions, values), folder)
    runs.train_run(folder, tensorboard=False)
    return runs.test_run(folder)


@pytest.mark.parametrize(("kind", "strategy", "inputs"), CASES)
def test_it_learns_and_is_evaluated_and_loads_to_the_same_predictions(kind, strategy, inputs, mapped_store, tmp_path):
    values = small_run(
        mapped_store, TASKS[kind], inputs=INPUTS[inputs], fusion=STRATEGIES.get(strategy, {"strategy": strategy})
    )
    if (kind, strategy) == ("detection", "decision"):
        options = parse_options(RunOptions, values)
        with pytest.raises(UsageError, match="boxes"):
            rehearse(prepare(mapped_store, options), options)
        return
    run = trained(values, tmp_path / "run")
    losses = pd.read_csv(run.folder / "losses.csv")["loss"]
    assert losses.tail(3).mean() < losses.head(3).mean()

    target = TASKS[kind]["target"]
    scores = evaluate(run.folder).set_index(["predictor", "metric"])["value"]
    metric = run.result["metric"]
    assert scores["run", metric] == pytest.approx(run.test[target][metric], nan_ok=True)
    assert set(KINDS[kind].evidence) <= set(run.predictions().columns)

    prepared = prepare(mapped_store, run.options)
    batch = prepared.loader(run.options).read(prepared.rows["test"][:4])
    first, second = (run.model().predict(batch.inputs)[target] for _ in range(2))
    assert torch.equal(first, second)
    if kind in ("segmentation", "pixel_regression"):
        kept = np.load(maps_file(run.folder, target))
        assert kept.shape[0] == len(prepared.rows["test"])
        expected = first.argmax(1).numpy() if kind == "segmentation" else first.numpy()
        np.testing.assert_allclose(kept[:4], expected, rtol=1e-4, atol=1e-3)

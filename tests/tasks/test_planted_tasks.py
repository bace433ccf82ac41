"""A signal that only one modality holds is learned from it, and from no other, whatever the task."""

import numpy as np
import pytest

from eofuse.config import merge, parse_options
from eofuse.data.store.pack import pack_source
from eofuse.learning import run as runs
from eofuse.learning.options import RunOptions
from fake_source import MappedSource


class ScalarSource(MappedSource):
    """The value follows the season, with noise of its own (a copy would be refused), and no pixel knows it."""

    def plant(self):
        super().plant()
        noise = np.random.default_rng(1).normal(0, 2, self.patches)
        self.index["value"] = 100 + 50 * self.index["season.season_s2"] + noise


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    sources = {name: MappedSource(patches=100, size=32, visible=name, flat=True) for name in ("s1", "elevation")}
    sources["season"] = ScalarSource(patches=100, size=32)
    packed = {}
    for name, source in sources.items():
        source.fingerprint += name
        packed[name] = pack_source(source, folder / f"{name}.store", workers=1)
    return packed


def score(store, folder, inputs, task, **train) -> dict[str, float]:
    values = {
        "data": {"store": str(store.path)},
        "inputs": inputs,
        "split": {"fractions": [0.6, 0.2, 0.2]},
        "task": task,
        "fusion": {"strategy": "late" if len(inputs) > 1 else "single", "encoder": "test_resnet"},
        "train": merge({"steps": 60, "batch_size": 16, "evaluations": 3, "learning_rate": 0.004}, train),
    }
    runs.start_run(parse_options(RunOptions, values), folder)
    runs.train_run(folder, tensorboard=False)
    return runs.test_run(folder).test[task["target"]]


def test_a_mask_that_only_s1_shows(stores, tmp_path):
    task = {"target": "worldcover"}
    assert score(stores["s1"], tmp_path / "both", ["s2", "s1"], task)["miou"] > 0.8
    assert score(stores["s1"], tmp_path / "s2", ["s2"], task, steps=20)["miou"] < 0.6


def test_a_value_that_is_only_in_a_scalar(stores, tmp_path):
    task = {"target": "value"}
    assert score(stores["season"], tmp_path / "both", ["s2", "season"], task)["r2"] > 0.7
    assert score(stores["season"], tmp_path / "s2", ["s2"], task)["r2"] < 0.2


def test_a_box_that_only_elevation_shows(stores, tmp_path):
    """Under one detector; each of them finds boxes in `test_detection_head`."""
    task = {"target": "regions", "classes": ["permanent_water_bodies"], "network": "fcos"}
    assert score(stores["elevation"], tmp_path / "elevation", ["elevation"], task, steps=80)["box_ap50"] > 0.5
    assert score(stores["elevation"], tmp_path / "s2", ["s2"], task, steps=20)["box_ap50"] < 0.3

"""Trees: what the inputs are worth as columns, with the gaps that they have."""

import numpy as np
import pytest

from eofuse.config import merge, parse_options
from eofuse.data.loading import Loader
from eofuse.data.store.pack import pack_source
from eofuse.learning.controls import gradient_boosting_control, random_forest_control, trees
from eofuse.learning.options import RunOptions
from eofuse.learning.outputs import predictions_file
from eofuse.learning.run import open_run, start_run
from eofuse.modalities import CLIMATE_ZONE, SEASON, SENTINEL1, Kind
from fake_source import GREENNESS, FakeSource

CONTROLS = pytest.mark.parametrize("control", [random_forest_control, gradient_boosting_control])


class TabularSource(FakeSource):
    """The label shows in the season and in the greenness; `number` is a number that goes with it, `zone` the kind of climate zone."""

    def plant(self):
        label = self.index["label"]
        self.index["season.season_s1"] = 0.5 * label + 0.4 * self.index["season.season_s1"]
        self.index["number"] = 10 * label + np.random.default_rng(1).normal(0, 1, self.patches)
        self.index.loc[::4, "climate_zone.climatezone"] = 16  # more zones than classes: the target is no copy of them
        self.index["zone"] = np.where(self.index["climate_zone.climatezone"] == 15, "warm", "hot")

    def signal(self, modality, row, raster):
        values = np.array(raster)
        values[..., 1:] += 3 * self.index["label"].iloc[row] * (modality.kind is Kind.SERIES)
        return values


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    modalities = (SENTINEL1, SEASON, CLIMATE_ZONE, GREENNESS)
    source = TabularSource(patches=120, size=8, modalities=modalities, absent={"greenness": {0, 1}})
    return pack_source(source, tmp_path_factory.mktemp("tabular") / "tabular.store", workers=1)


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    monkeypatch.setattr(trees, "TREES", 20)
    monkeypatch.setattr(trees, "FOREST", trees.FOREST[:2])
    monkeypatch.setattr(trees, "BOOSTING", [{"max_iter": 20, "max_leaf_nodes": 4, "max_features": 0.5}])


def run(control, store, folder, **changes):
    recipe = {
        "data": {"store": str(store.path)},
        "inputs": ["season"],
        "split": {"fractions": [0.5, 0.2, 0.3]},
        "task": {"target": "label"},
    }
    start_run(
        parse_options(RunOptions, merge(recipe, changes) | {k: v for k, v in changes.items() if k == "inputs"}), folder
    )
    control(folder)
    return open_run(folder)


@CONTROLS
@pytest.mark.parametrize("name", ["season", "greenness"])
def test_trees_find_what_shows_in_a_vector_and_in_a_series(control, name, store, tmp_path):
    assert run(control, store, tmp_path / "run", inputs=[name]).test["label"]["accuracy"] > 0.8


@CONTROLS
def test_trees_predict_numbers_in_their_unit(control, store, tmp_path):
    done = run(control, store, tmp_path / "run", task={"target": "number"})
    assert done.test["number"]["rmse"] < 3.5


@CONTROLS
def test_trees_see_categories(control, store, tmp_path):
    done = run(control, store, tmp_path / "run", inputs=["climate_zone"], task={"target": "zone"})
    assert done.test["zone"]["accuracy"] == 1


@CONTROLS
def test_trees_are_the_same_each_time_and_others_with_another_seed(control, store, tmp_path):
    same = {"inputs": ["greenness"], "task": {"target": "number"}}
    folders = [
        run(control, store, tmp_path / name, **same, seed=seed).folder
        for name, seed in zip("abc", (0, 0, 1), strict=True)
    ]
    first, again, other = (predictions_file(folder, "number").read_bytes() for folder in folders)
    assert first == again
    assert first != other


@CONTROLS
def test_trees_are_fitted_once_more_on_validation_patches_too(control, store, tmp_path, monkeypatch):
    counts = []
    fit = trees.Trees.__init__

    def watched(self, task, columns, truth, make):
        counts.append(len(truth))
        fit(self, task, columns, truth, make)

    monkeypatch.setattr(trees.Trees, "__init__", watched)
    run(control, store, tmp_path / "run", refit=True)
    assert set(counts[:-1]) == {60}
    assert counts[-1] == 85


def test_several_labels_have_a_probability_each(ben_real_40, tmp_path):
    from eofuse.data.store.pack import pack

    store = pack(ben_real_40, tmp_path / "real.store", modalities=["s1", "season"], workers=1)
    probabilities = np.array(
        run(random_forest_control, store, tmp_path / "run", task={"target": "clc19"})
        .predictions()["probabilities"]
        .tolist()
    )
    assert probabilities.shape[1] == 19
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


def test_columns_have_gaps_where_a_step_a_value_or_the_modality_is_missing(store):
    loader = Loader(store, {"greenness": None, "season": None})
    rows = np.arange(8)
    batch = loader.read(rows)
    series, present = batch.inputs["greenness"].numpy(), batch.present["greenness"].numpy()
    expected = np.where(np.isfinite(series[..., :1]), series[..., 1:], np.nan).reshape(8, -1)
    expected[~present] = np.nan
    columns = trees.read_columns(loader, rows)
    np.testing.assert_array_equal(columns[:, : expected.shape[1]], expected)
    assert np.isnan(columns[:2, :-2]).all()
    assert np.isfinite(columns[:, -2:]).all()
    assert not present[:2].any()


def test_the_date_of_a_step_is_told_by_the_season_and_by_the_first_step(store):
    loader = Loader(store, {"greenness": None})
    rows = np.arange(2, 8)
    days = loader.read(rows).inputs["greenness"].numpy()[..., 0].astype(float)
    season, since = np.split(trees.read_columns(loader, rows)[:, -2 * days.shape[1] :], 2, axis=1)
    np.testing.assert_allclose(season, days % 365.2425, atol=0.01)
    np.testing.assert_allclose(since, days - days[:, :1], atol=0.01)

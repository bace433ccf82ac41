"""What a task refuses, and what would make its numbers wrong."""

import numpy as np
import pytest

from eofuse.config import parse_options
from eofuse.data.store.pack import pack_source
from eofuse.data.targets import TargetOptions, make_target
from eofuse.errors import DataError, UsageError
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import prepare
from eofuse.modalities import WEATHER, WORLDCOVER
from eofuse.tasks import TaskOptions, make_task
from fake_source import MappedSource


class Everything(MappedSource):
    """Weather in four units, shares of land cover, and one map without a class."""

    def plant(self):
        self.modalities = (*self.modalities, WEATHER)
        super().plant()
        generator = np.random.default_rng(3)
        self.index["has_weather"] = True
        for channel in WEATHER.channel_names:
            self.index[f"weather.{channel}"] = generator.normal(size=self.patches)
        for category in WORLDCOVER.categories:
            self.index[f"worldcover_fraction.{category.name}"] = generator.uniform(size=self.patches)

    def signal(self, modality, row, raster):
        return (
            np.zeros_like(raster)
            if (modality.name, row) == ("worldcover", 4)
            else super().signal(modality, row, raster)
        )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return pack_source(Everything(patches=40, size=16), tmp_path_factory.mktemp("options") / "all.store", workers=1)


def prepared(store, inputs, task, **change):
    values = {"data": {"store": str(store.path)}, "inputs": inputs, "task": task, **change}
    return prepare(store, parse_options(RunOptions, {"split": {"fractions": [0.5, 0.25, 0.25]}, **values}))


@pytest.mark.parametrize(
    ("target", "source"),
    [
        ("worldcover_fraction.permanent_water_bodies", "worldcover"),
        ("land_cover_fractions", "worldcover"),
        ("mean_elevation", "elevation"),
        ("s2.B08", "s2"),
        ("season.season_s2", "season"),
        ("regions", "worldcover"),
    ],
)
def test_what_a_target_derives_from_is_refused_as_an_input(store, target, source):
    task = {"target": target, **({"classes": ["cropland"]} if target == "regions" else {})}
    with pytest.raises(UsageError, match="only copy it"):
        prepared(store, [source, "s1"], task)


def test_errors_in_unlike_units_are_not_averaged(store):
    task = make_task(store, TaskOptions(target="weather"))
    assert (task.metric, task.metrics) == ("r2", ("r2",))
    with pytest.raises(UsageError, match="unknown metric 'rmse'"):
        make_task(store, TaskOptions(target="weather", metric="rmse"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "value", "metric": "bias"}, "unknown metric 'bias'"),
        ({"target": "value", "loss": "cross_entropy"}, "unknown loss"),
        ({"target": "season", "kind": "single_label"}, "predicted by regression only"),
        ({"target": "regions"}, "no class is chosen"),
        ({"target": "regions", "classes": ["cropland", "cropland"]}, "named twice"),
        ({"target": "regions.s1", "classes": ["cropland"]}, "no class map"),
        ({"target": "boxes"}, "no file is named"),
        ({"target": "s2."}, "unknown target"),
        ({"target": "label", "balance": "sampling", "network": "unet"}, "unknown network"),
    ],
)
def test_options_that_do_not_fit_are_refused(store, options, message):
    with pytest.raises(UsageError, match=message):
        make_task(store, TaskOptions(**options))


def test_shares_can_be_learned_by_cross_entropy(store):
    assert make_task(store, TaskOptions(target="land_cover_fractions", loss="cross_entropy")).target.composition


def test_a_map_without_a_class_says_nothing_about_regions(store):
    target = make_target(store, TargetOptions(target="regions", classes=("cropland",)))
    assert np.flatnonzero(~target.valid).tolist() == [4]
    assert target.read(np.array([4]))[0, 0, 4] == -2


def test_training_patches_without_any_box_are_an_error(store):
    with pytest.raises(DataError, match="no training patch has a box"):
        prepared(store, ["s1"], {"target": "regions", "classes": ["cropland"], "smallest": 1000})


def test_a_crop_of_what_a_target_describes_whole_is_said(store):
    found = prepared(store, ["s1"], {"target": "dominant_land_cover"}, data={"store": str(store.path), "crop": 8})
    assert any("describes whole patches" in warning for warning in found.warnings)


def test_weighting_one_task_is_refused(store):
    with pytest.raises(UsageError, match="for several tasks"):
        prepared(store, ["s1"], {"target": "label"}, weighting="uncertainty")


@pytest.mark.parametrize(
    "options",
    [
        {"target": "weather", "smoothing": 0.1},
        {"target": "worldcover", "loss": "dice", "smoothing": 0.1},
        {"target": "land_cover_fractions", "loss": "cross_entropy", "smoothing": 0.1},
    ],
)
def test_smoothing_is_refused_where_there_is_nothing_to_smooth(store, options):
    with pytest.raises(UsageError, match="smoothing is for cross-entropy between classes"):
        make_task(store, TaskOptions(**options))


def test_a_recipe_without_smoothing_keeps_its_identity():
    assert "smoothing" not in TaskOptions(target="a").model_dump()
    assert TaskOptions(target="a", smoothing=0.1).model_dump()["smoothing"] == 0.1

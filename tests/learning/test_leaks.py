"""A target is never among the inputs: neither under another name of a channel, nor as a copy in another column."""

import numpy as np
import pandas as pd
import pytest

from eofuse.config import merge, parse_options
from eofuse.data.pack import pack_source
from eofuse.data.targets import make_target
from eofuse.errors import UsageError
from eofuse.learning.leaks import copied_channel
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import prepare
from eofuse.modalities import CLIMATE_ZONE, SEASON, SENTINEL1, Channel, Kind, Modality
from eofuse.studies.plan import plan_study
from eofuse.studies.runner import run_study
from fake_source import FakeSource

SOIL = Modality("soil", Kind.VECTOR, (Channel("ph"), Channel("yield")))
GROWTH = Modality("growth", Kind.SERIES, (Channel("ndvi"),), steps=3)


def options(recipe, **change) -> RunOptions:
    return parse_options(RunOptions, {**merge(recipe, {}), **change})


@pytest.mark.parametrize("target", ["s2.B08", "s2.B8"])
@pytest.mark.parametrize("channels", [["B08", "B04"], ["B8", "B4"], None])
def test_a_band_is_no_input_of_its_own_prediction_under_any_of_its_names(recipe, planted_store, target, channels):
    with pytest.raises(UsageError, match="derives from the input 's2'"):
        prepare(planted_store, options(recipe, inputs={"s2": channels}, task={"target": target}))


@pytest.mark.parametrize("target", ["s2.B08", "s2.B8"])
def test_other_bands_are(recipe, planted_store, target):
    prepared = prepare(planted_store, options(recipe, inputs={"s2": ["B3", "B04"]}, task={"target": target}))
    assert prepared.tasks[0].target.source_channels == ("B08",)


def test_two_names_of_one_target_are_one_too_many(recipe, planted_store):
    tasks = {"s2.B8": {}, "s2.B08": {}}
    with pytest.raises(UsageError, match=r"'s2\.B8' and 's2\.B08' are one target"):
        prepare(planted_store, options(recipe, task=None, tasks=tasks))


def test_variants_of_a_study_can_not_name_one_target_in_two_ways(recipe, planted_store, tmp_path):
    variants = {"a": {"task": {"target": "s2.B8"}}, "b": {"task": {"target": "s2.B08"}}}
    study = {"baseline": "a", "seeds": [0], "variants": variants}
    plan = plan_study({**recipe, "study": study})
    with pytest.raises(UsageError, match=r"'s2\.B8' and 's2\.B08' are one target"):
        run_study(plan, {}, tmp_path / "study")


class Copies(FakeSource):
    """Labels that stand in a vector, a series or a category, too."""

    def plant(self):
        random = np.random.default_rng(3)
        yields = random.normal(5, 2, self.patches)
        self.index["yield"] = yields
        self.index["percent"] = 100 * yields
        self.index["free"] = random.normal(5, 2, self.patches)
        self.index["soil.ph"] = random.normal(7, 1, self.patches)
        self.index["soil.yield"] = yields.astype(np.float32)
        self.index["climate"] = np.where(self.index["climate_zone.climatezone"] == 15, "temperate", "cold")

    def signal(self, modality, row, raster):
        if modality.name == "growth":
            raster[:, 0] = np.arange(3)
            raster[2, 1] = self.index["yield"].iloc[row]
        return raster


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    modalities = (SOIL, GROWTH, CLIMATE_ZONE, SEASON, SENTINEL1)
    source = Copies(patches=60, modalities=modalities, absent={"soil": {3}, "growth": {4}})
    return pack_source(source, tmp_path_factory.mktemp("copies") / "copies.store", workers=1)


@pytest.mark.parametrize(
    ("target", "inputs", "found"),
    [
        ("yield", {"soil": None}, "soil.yield"),
        ("percent", {"soil": None}, "soil.yield"),
        ("yield", {"soil": ["ph"]}, None),
        ("free", {"soil": None}, None),
        ("yield", {"season": None, "growth": None}, "growth.ndvi"),
        ("climate", {"climate_zone": None}, "climate_zone.climatezone"),
        ("climate", {"soil": None, "season": None, "s1": None}, None),
        ("label", {"climate_zone": None, "soil": None}, None),
    ],
)
def test_a_column_that_says_the_same_is_found_by_its_values(copies, target, inputs, found):
    assert copied_channel(copies, make_target(copies, target), inputs) == found


def test_a_run_does_not_start_with_a_copy_of_its_target(copies, recipe):
    values = {**recipe, "data": {"store": str(copies.path)}, "inputs": ["soil"], "task": {"target": "yield"}}
    with pytest.raises(UsageError, match=r"the input 'soil\.yield' says the same as the target 'yield'"):
        prepare(copies, parse_options(RunOptions, values))


def test_a_list_of_empty_bands_derives_from_its_raster(copies):
    index = copies.index.assign(**{"empty_bands.s1": pd.Series([["VV"], ["VH"]] * 30)})
    store = copies.__class__.__new__(copies.__class__)
    store.__dict__.update({**copies.__dict__, "index": index})
    assert make_target(store, "empty_bands.s1").sources == ("s1",)

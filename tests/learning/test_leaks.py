"""A target is never among the inputs: neither under another name of a channel, nor as a copy in another column."""

import numpy as np
import pandas as pd
import pytest

from eofuse.config import merge, parse_options
from eofuse.data.store.pack import pack_source
from eofuse.data.targets import TargetOptions, make_target
from eofuse.errors import UsageError
from eofuse.learning.leaks import copied_channel, copied_patches, near_copies
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import prepare
from eofuse.modalities import CLIMATE_ZONE, SEASON, SENTINEL1, Category, Channel, Kind, Modality
from eofuse.studies.plan import plan_study
from eofuse.studies.runner import run_study
from fake_source import FakeSource

SOIL = Modality("soil", Kind.VECTOR, (Channel("ph"), Channel("yield")))
FLAGS = Modality("flags", Kind.VECTOR, (Channel("wet"), Channel("steep")))
HINTS = Modality("hints", Kind.VECTOR, (Channel("noisy"), Channel("rounded"), Channel("log"), Channel("other")))
CROPS = (Category(1, "wheat"), Category(2, "maize"), Category(3, "rye"))
MAP = Modality("map", Kind.RASTER, (Channel("map"),), dtype="uint8", nodata=0, categories=CROPS)
RECODED = Modality("recoded", Kind.RASTER, (Channel("map"),), dtype="uint8", nodata=0, categories=CROPS)
PLANE = Modality("plane", Kind.RASTER, (Channel("noise"), Channel("code")), dtype="float32")
HEIGHT = Modality("height", Kind.RASTER, (Channel("metres"),), dtype="float32")
FEET = Modality("feet", Kind.RASTER, (Channel("feet"),), dtype="float32")
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


class Twins(FakeSource):
    """Patches 50 to 54 hold the values of patches 0 to 4."""

    def read(self, row):
        return super().read(row - 50 if 50 <= row < 55 else row)


def test_test_patches_that_are_training_patches_under_other_ids_are_counted(tmp_path):
    store = pack_source(Twins(patches=60, modalities=(SENTINEL1, SEASON)), tmp_path / "twins.store", workers=1)
    inputs, learned = {"s1": None, "season": None}, np.arange(3, 40)
    (note,) = copied_patches(store, inputs, learned, np.arange(45, 60))
    assert "under other ids: 's1' of 2 of 15" in note
    assert copied_patches(store, inputs, learned, np.arange(55, 60)) == []


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


class CopiedMaps(FakeSource):
    """A map of classes, once more under other codes and as numbers; heights, once more in feet; hints at labels."""

    def plant(self):
        random = np.random.default_rng(4)
        number = random.normal(5, 2, self.patches)
        self.index["number"] = number
        self.index["side"] = np.where(number > 5, "above", "below")
        wet, steep = random.random((2, self.patches)) < 0.5
        self.index["tags"] = [
            [tag for tag, has in (("wet", a), ("steep", b)) if has] for a, b in zip(wet, steep, strict=True)
        ]
        self.index["three"] = np.where(wet, "wet", np.where(steep, "steep", "flat"))
        self.index["flags.wet"], self.index["flags.steep"] = wet.astype(np.float32), steep.astype(np.float32)
        self.index["hints.noisy"] = 3 * number + random.normal(0, 0.02, self.patches)
        self.index["hints.rounded"], self.index["hints.log"] = np.round(10 * number), np.exp(number / 4)
        self.index["hints.other"] = number + random.normal(0, 2, self.patches)

    def signal(self, modality, row, raster):
        random = np.random.default_rng(row)
        codes, height = random.integers(1, 4, (1, 16, 16)), random.normal(500, 80, (1, 16, 16)).astype(np.float32)
        if modality.name == "map":
            return codes.astype(np.uint8)
        if modality.name == "recoded":
            return np.array([0, 2, 3, 1], dtype=np.uint8)[codes]
        if modality.name == "plane":
            return np.concatenate([raster[:1], 7 - 2 * codes.astype(np.float32)])
        if modality.name in ("height", "feet"):
            return height if modality.name == "height" else 3.28084 * height
        return raster


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    modalities = (FLAGS, HINTS, MAP, RECODED, PLANE, HEIGHT, FEET)
    return pack_source(CopiedMaps(patches=60, modalities=modalities), tmp_path_factory.mktemp("maps") / "s", workers=1)


@pytest.mark.parametrize(
    ("target", "inputs", "found"),
    [
        ("map", {"recoded": None}, "recoded.map"),
        ("map", {"plane": None}, "plane.code"),
        ("map", {"plane": ["noise"], "height": None}, None),
        ("regions.map", {"recoded": None}, "recoded.map"),
        ("height", {"feet": None}, "feet.feet"),
        ("height.metres", {"feet": None}, "feet.feet"),
        ("height", {"map": None, "plane": None}, None),
        ("tags", {"flags": None}, "flags.wet"),
        ("three", {"flags": None}, "flags.wet"),
        ("three", {"flags": ["steep"]}, None),
    ],
)
def test_a_copy_of_the_map_or_of_one_class_is_found(maps, target, inputs, found):
    options = TargetOptions(target=target, classes=("rye",) if target.startswith("regions") else ())
    assert copied_channel(maps, make_target(maps, options), inputs) == found


@pytest.mark.parametrize(
    ("target", "found"), [("number", ["noisy", "rounded", "log"]), ("side", ["noisy", "log"]), ("three", [])]
)
def test_an_input_from_which_a_target_follows_is_said(maps, recipe, target, found):
    values = {**recipe, "data": {"store": str(maps.path)}, "inputs": ["hints"], "task": {"target": target}}
    said = [note for note in prepare(maps, parse_options(RunOptions, values)).warnings if "follows from" in note]
    assert [note.split("'")[3] for note in said] == [f"hints.{name}" for name in found]


def test_a_code_of_the_scene_is_no_copy_of_a_label_of_the_scene(copies):
    scene = pd.factorize(copies.index["scene"])[0]
    index = copies.index.assign(**{"soil.ph": scene.astype(float), "of_scene": np.where(scene % 3 == 1, "a", "b")})
    store = copies.__class__.__new__(copies.__class__)
    store.__dict__.update({**copies.__dict__, "index": index})
    assert near_copies(store, make_target(store, "of_scene"), {"soil": ["ph"]}) == []

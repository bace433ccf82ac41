"""Bands without any value: found at packing, told by check and description, and counted as gaps if asked."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from eofuse.data.card.describe import describe_store
from eofuse.data.check import check_path, check_samples
from eofuse.data.loading import Loader
from eofuse.data.store import Store
from eofuse.data.store.gaps import empty_bands, empty_channels, has_required, lacking, presence, requirement
from eofuse.data.store.pack import pack_source
from eofuse.data.store.subset import subset
from eofuse.errors import UsageError
from eofuse.modalities import CLIMATE_ZONE, ELEVATION, SEASON, SENTINEL1, SENTINEL2, WORLDCOVER, Channel, Kind, Modality
from eofuse.terminal import description_tables
from fake_source import GREENNESS, FakeSource

INDICES = Modality("indices", Kind.RASTER, (Channel("ndvi"), Channel("ndsi")), nodata=-9.0)


class Patchy(FakeSource):
    """Bands without any value: B01 and B09 of patch 1, VH of patch 2, NDWI of patch 3; patch 4 has sea, and lacks radar."""

    def signal(self, modality, row, raster):
        if modality.name == "s2" and row == 1:
            raster[[0, 9]] = 0
        if modality.name == "s1" and row == 2:
            raster[1] = np.nan
        if modality.name == "greenness" and row == 3:
            raster[:, 2] = np.nan
        if modality.name == "elevation" and row == 4:
            raster[:] = 0
        return raster


@pytest.fixture(scope="module")
def source():
    modalities = (SENTINEL2, SENTINEL1, ELEVATION, GREENNESS, SEASON)
    return Patchy(patches=20, modalities=modalities, absent={"s1": {4}})


@pytest.fixture(scope="module")
def store(source, tmp_path_factory):
    return pack_source(source, tmp_path_factory.mktemp("gaps") / "patchy.store", workers=1)


def found(store: Store) -> list[tuple[str, int, str]]:
    return [
        (name, row, modality.channel_names[channel])
        for name, modality in store.modalities.items()
        for row, channel in np.argwhere(empty_bands(store, name)).tolist()
    ]


EXPECTED = [("s2", 1, "B01"), ("s2", 1, "B09"), ("s1", 2, "VH"), ("greenness", 3, "ndwi")]


class TestEmptyChannels:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -9.0])
    def test_a_band_of_nothing_but_missing_values_is_empty(self, value):
        values = np.ones((2, 2, 12, 12), dtype=np.float32)
        values[1, 0] = value
        assert empty_channels(INDICES, values).tolist() == [[False, False], [True, False]]
        values[1, 0, 11, 11] = 0.5
        assert not empty_channels(INDICES, values).any()

    @pytest.mark.parametrize(("unit", "empty"), [("reflectance", True), ("dB", True), ("m", False), ("", False)])
    def test_zeros_are_no_value_where_no_surface_is_zero(self, unit, empty):
        modality = replace(INDICES, channels=(Channel("a", unit=unit), Channel("b", unit="m")))
        assert empty_channels(modality, np.zeros((1, 2, 4, 4), dtype=np.float32)).tolist() == [[empty, False]]

    def test_a_series_is_empty_where_no_step_knows_a_number(self):
        values = np.full((1, 6, 3), np.nan, dtype=np.float32)
        values[0, :2, 0] = 17_000, 17_001
        values[0, 1, 1] = 0.3
        values[0, 3, 2] = 0.3  # of a step that does not exist
        assert empty_channels(GREENNESS, values).tolist() == [[False, True]]


def test_they_are_found_when_a_store_is_packed(store):
    columns = [name for name in store.index if name.startswith("empty_bands.")]
    assert columns == ["empty_bands.s2", "empty_bands.s1", "empty_bands.elevation", "empty_bands.greenness"]
    assert list(store.index["empty_bands.s2"].iloc[1]) == ["B01", "B09"]
    assert found(store) == EXPECTED


def test_stores_that_do_not_list_them_are_looked_through(store):
    columns = [name for name in store.index if name.startswith("empty_bands.")]
    old = Store(store.path, _description(store), store.index.drop(columns=columns))
    assert found(old) == EXPECTED


def _description(store: Store) -> dict:
    return json.loads((store.path / "store.json").read_text())


def test_they_stay_known_in_a_part_of_a_store(store, tmp_path):
    part = subset(store.path, tmp_path / "part.store", where=["empty_bands.s2=B09"], modalities=["s2", "season"])
    assert found(part) == [("s2", 0, "B01"), ("s2", 0, "B09")]
    assert [name for name in part.index if name.startswith("empty_bands.")] == ["empty_bands.s2"]


def test_the_check_of_a_source_names_patch_and_bands(source):
    said = {(p.patch_id, p.where) for p in check_samples(source) if "no value" in p.what}
    assert said == {
        ("patch_1", "s2, band B01, B09"),
        ("patch_2", "s1, band VH"),
        ("patch_3", "greenness, band ndwi"),
    }


def test_the_check_of_a_store_counts_them(store):
    problems = [problem for problem in check_path(store.path) if "without any value" in problem.what]
    assert [problem.where for problem in problems] == ["s2", "s1", "greenness"]
    assert problems[0].what == "bands without any value: B01 in 1, B09 in 1 of 20 patches"
    assert {problem.severity for problem in problems} == {"warning"}


def test_the_description_counts_them(store):
    description = describe_store(store)
    channels = description.channels.set_index(["modality", "channel"])["empty"]
    assert channels[channels > 0].to_dict() == {(name, channel): 1 for name, _, channel in EXPECTED}
    shown = [
        part
        for part in description_tables(store, description)
        if getattr(part, "title", "") and "Channels" in part.title
    ]
    assert [column.header for column in shown[0].columns][-1] == "empty"


class TestPresence:
    def test_they_change_nothing_unless_asked(self, store):
        there = presence(store, {"s2": None, "s1": None}, "keep")
        assert there["s2"].all()
        assert np.flatnonzero(~there["s1"]).tolist() == [4]

    def test_an_empty_band_makes_its_modality_absent(self, store):
        there = presence(store, dict.fromkeys(["s2", "s1", "elevation", "greenness", "season"]), "absent")
        assert {name: np.flatnonzero(~has).tolist() for name, has in there.items()} == {
            "s2": [1],
            "s1": [2, 4],
            "elevation": [],
            "greenness": [3],
            "season": [],
        }

    def test_only_channels_that_are_looked_at_count(self, store):
        there = presence(store, {"s2": ["B04", "B03"], "s1": ["VV"]}, "absent")
        assert there["s2"].all()
        assert np.flatnonzero(~there["s1"]).tolist() == [4]

    def test_class_maps_and_codes_have_no_empty_bands(self, tmp_path):
        source = FakeSource(patches=5, modalities=(CLIMATE_ZONE, WORLDCOVER), absent={"worldcover": set(range(4))})
        store = pack_source(source, tmp_path / "codes.store", workers=1)
        there = presence(store, dict.fromkeys(store.modalities), "absent")
        assert there["climate_zone"].all()
        assert there["worldcover"].tolist() == [False] * 4 + [True]

    def test_an_unknown_channel_is_named(self, store):
        with pytest.raises(UsageError, match="unknown channel 'B44'"):
            presence(store, {"s2": ["B44"]}, "absent")


class TestRequirement:
    """Patches 1 (B01, B09), 2 (VH) and 3 (NDWI) have an empty band; patch 4 has no radar."""

    @pytest.mark.parametrize(
        ("inputs", "one_is_enough", "lack"),
        [
            ({"s2": ["B02", "B03", "B4"]}, False, []),
            ({"s2": ["B2", "B1"]}, False, [1]),
            ({"s2": None}, False, [1]),
            ({"s2": ["B02"], "s1": ["VV"]}, False, [4]),
            ({"s2": ["B02"], "s1": None, "greenness": ["ndvi"]}, False, [2, 4]),
            ({"s1": ["VV", "VH"], "elevation": None}, True, []),
            ({"s1": ["VH"]}, True, [2, 4]),
        ],
    )
    def test_the_channels_that_are_used_count(self, store, inputs, one_is_enough, lack):
        entries = requirement(inputs, one_is_enough=one_is_enough)
        assert np.flatnonzero(~has_required(store, entries, "absent")).tolist() == lack

    def test_names_of_channels_may_hold_any_signs(self, tmp_path):
        odd = Modality("odd", Kind.RASTER, tuple(Channel(name) for name in ("a+b", "c|d", "e.f", "50 %")), nodata=-9.0)
        store = pack_source(FakeSource(patches=5, modalities=(odd,)), tmp_path / "odd.store", workers=1)
        entries = requirement({"odd": list(odd.channel_names)}, one_is_enough=True)
        assert has_required(store, entries, "absent").all()

    def test_what_is_lacking_is_counted_by_modality_and_band(self, store):
        everywhere = np.ones(20, dtype=bool)
        needed = ["s2", "s1.VV+VH", "greenness.ndvi", "s2"]
        assert lacking(store, needed, "absent", everywhere) == {
            "s2.B01 without a value": 1,
            "s2.B09 without a value": 1,
            "s1": 1,
            "s1.VH without a value": 1,
        }
        assert lacking(store, ["s1|greenness"], "absent", everywhere) == {}


class TestLoaderWithGaps:
    def test_presence_can_be_given(self, store):
        mask = np.arange(20) < 3
        loader = Loader(store, {"s2": None, "s1": None}, present={"s1": mask})
        assert loader.read(np.array([2, 3, 4])).present["s1"].tolist() == [True, False, False]
        assert loader.complete().sum() == 3
        assert loader.any_input().all()

    def test_modalities_that_the_store_lacks_are_absent_everywhere(self, store):
        loader = Loader(store, {"s2": None, "worldcover": None}, crop=8, absent={"worldcover": WORLDCOVER})
        batch = loader.read(np.array([5, 0]))
        assert batch.inputs["worldcover"].shape == (2, 1, 8, 8)
        assert not batch.present["worldcover"].any()
        assert batch.present["s2"].all()
        assert not loader.complete().any()
        assert loader.any_input().all()

    def test_absent_rasters_have_a_size_where_the_store_has_none(self, tmp_path):
        store = pack_source(FakeSource(patches=5, modalities=(SEASON,)), tmp_path / "season.store", workers=1)
        loader = Loader(store, {"s1": None, "season": None}, crop=8, absent={"s1": SENTINEL1})
        assert loader.read(np.array([1])).inputs["s1"].shape == (1, 2, 8, 8)


def test_the_columns_can_be_read_without_eofuse(store):
    listed = pd.read_parquet(store.path / "index.parquet")["empty_bands.s2"]
    assert listed.map(len).sum() == 2

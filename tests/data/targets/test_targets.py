"""Targets: labels from index and maps, what is known, and which modalities they derive from."""

import numpy as np
import pytest

import eofuse
from eofuse.data.sources.ben_ge.clc import CLC19, CLC43
from eofuse.data.store import Window
from eofuse.data.store.pack import pack_source
from eofuse.data.targets import TargetOptions, make_target
from eofuse.errors import DataError, UsageError
from eofuse.kinds import REGRESSION
from eofuse.modalities import SENTINEL2, WORLDCOVER
from fake_source import MODALITIES, FakeSource

FRACTIONS = [f"worldcover_fraction.{category.name}" for category in WORLDCOVER.categories]


class LandCoverSource(FakeSource):
    """Half cropland and half water, but patch 2, which is moss; patch 1 is in no table, patch 3 nowhere."""

    def plant(self):
        self.index[FRACTIONS] = 0.0
        self.index["worldcover_fraction.cropland"] = 0.52
        self.index["worldcover_fraction.permanent_water_bodies"] = 0.45
        self.index["worldcover_fraction.built-up"] = 0.03
        self.index.loc[[1, 2, 3], FRACTIONS] = np.nan
        labels: list[list[str] | None] = [["Pastures", "Sea and ocean"], ["Airports"], [], None, *[["Pastures"]] * 16]
        self.index["labels_43"] = labels
        self.index["labels_19"] = [["Pastures", "Marine waters"], [], [], None, *[["Pastures"]] * 16]

    def signal(self, modality, row, raster):
        if modality.name == "worldcover":
            return np.full_like(raster, 100 if row == 2 else 95)
        return raster


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    source = LandCoverSource(patches=20, modalities=(*MODALITIES, WORLDCOVER), absent={"worldcover": {3}})
    return pack_source(source, tmp_path_factory.mktemp("targets") / "fake.store", workers=1)


def test_dominant_land_cover_is_the_largest_fraction(store):
    target = make_target(store, "dominant_land_cover")
    assert target.classes[target.values[0]] == "cropland"


def test_land_cover_comes_from_the_map_where_the_table_is_silent(store):
    target = make_target(store, "dominant_land_cover")
    assert [target.classes[target.values[row]] for row in (1, 2)] == ["mangroves", "moss_and_lichen"]


def test_a_patch_with_neither_table_nor_map_has_no_land_cover(store):
    assert np.flatnonzero(~make_target(store, "dominant_land_cover").valid).tolist() == [3]


def test_land_cover_derives_from_the_land_cover_map(store):
    assert make_target(store, "dominant_land_cover").sources == ("worldcover",)


@pytest.mark.parametrize(
    ("threshold", "classes"), [(0.05, {"cropland", "permanent_water_bodies"}), (0.5, {"cropland"})]
)
def test_land_cover_above_a_fraction_has_several_labels(store, threshold, classes):
    target = make_target(store, TargetOptions(target="land_cover_above", threshold=threshold))
    assert {name for name, value in zip(target.classes, target.values[0], strict=True) if value} == classes


def test_climate_zones_are_numbered_by_their_codes(store):
    target = make_target(store, "climate_zone")
    codes = store.index["climate_zone.climatezone"]
    assert len(target.classes) == 12
    assert set(target.values[codes == 15]) == {target.classes.index("Cfb warm summer")}
    assert target.sources == ("climate_zone",)


def test_a_column_of_the_index_is_a_target(store):
    target = make_target(store, "label")
    assert target.classes == ("0", "1")
    assert (target.values == store.index["label"]).all()


def test_a_column_of_a_modality_derives_from_it(store):
    target = make_target(store, "climate_zone.climatezone")
    assert (target.classes, target.sources) == (("15", "26"), ("climate_zone",))


def test_a_column_that_holds_no_classes_is_refused(store):
    with pytest.raises(UsageError, match="20 different values"):
        make_target(store, "patch_id")


def test_a_column_of_fractions_is_predicted_as_a_number(store):
    target = make_target(store, "lon")
    assert (target.kind, target.classes) == (REGRESSION, ("lon",))
    assert target.values[:, 0] == pytest.approx(store.index["lon"])


def test_a_column_of_whole_numbers_is_a_number_if_the_recipe_says_so(store):
    target = make_target(store, TargetOptions(target="label", kind="regression"))
    assert (target.values[:, 0] == store.index["label"]).all()
    with pytest.raises(UsageError, match="holds no numbers"):
        make_target(store, TargetOptions(target="patch_id", kind="regression"))


def test_a_vector_modality_is_predicted_as_its_numbers(store):
    target = make_target(store, "season")
    assert target.classes == ("season_s2", "season_s1")
    assert target.values == pytest.approx(store.index[["season.season_s2", "season.season_s1"]].to_numpy())
    assert target.sources == ("season",)


def test_land_cover_fractions_sum_to_one(store):
    target = make_target(store, "land_cover_fractions")
    assert target.composition
    assert target.values[target.valid].sum(axis=1) == pytest.approx(1)
    assert not target.valid[3]


def test_mean_elevation_is_in_metres(store):
    target = make_target(store, "mean_elevation")
    assert target.values[4, 0] == pytest.approx(store.read("elevation", [4]).mean(), rel=1e-5)
    assert (target.unit, target.sources) == ("m", ("elevation",))


def test_a_class_map_is_read_as_class_numbers_in_the_window(store):
    target = make_target(store, "worldcover")
    window = Window(3, 5, 4, 6)
    rows = np.array([2, 3, 0])
    found = target.read(rows, window)
    assert found.shape == (3, 4, 6)
    assert (found[0] == target.classes.index("moss_and_lichen")).all()
    assert (found[1] == 255).all()  # the patch has no map
    assert not target.valid[3]


def test_a_raster_is_read_in_its_unit(store):
    target = make_target(store, "s2.B08")
    native = store.read("s2", [1, 2], channels=[SENTINEL2.channel_index("B08")])
    assert target.read(np.array([1, 2])) == pytest.approx(native * 1e-4)
    assert make_target(store, "elevation").unit == "m"


def test_a_channel_that_is_not_there_names_the_nearest(store):
    with pytest.raises(UsageError, match="unknown channel 'B80'"):
        make_target(store, "s2.B80")


def test_clc_labels_are_indicators(store):
    target = make_target(store, "clc43")
    assert (len(CLC43), len(CLC19)) == (43, 19)
    assert {target.classes[number] for number in np.flatnonzero(target.values[0])} == {"Pastures", "Sea and ocean"}


def test_a_patch_whose_labels_are_outside_the_nineteen_is_unknown_there(store):
    assert make_target(store, "clc43").valid[:4].tolist() == [True, True, False, False]
    assert make_target(store, "clc19").valid[:4].tolist() == [True, False, False, False]


def test_counts_are_of_labelled_patches_only(store):
    counts = make_target(store, "clc19").counts(np.arange(20))
    assert counts[CLC19.index("Pastures")] == 17


def test_an_unknown_target_names_the_nearest(store):
    with pytest.raises(UsageError, match="did you mean 'climate_zone'"):
        make_target(store, "climatezone")


def test_an_unknown_target_names_the_labels_of_the_store(tmp_path):
    patches = ({"id": str(number), "crop": "maize" if number % 2 else "rye"} for number in range(4))
    store = eofuse.write_store(patches, [], tmp_path / "labels.store", name="labels", labels={"crop": "class"})
    with pytest.raises(UsageError, match="the store's labels are: crop"):
        make_target(store, "label")


def test_a_target_that_no_patch_has_is_an_error(tmp_path):
    store = pack_source(FakeSource(patches=5), tmp_path / "fake.store", workers=1)
    with pytest.raises(DataError, match="no patch has the target 'clc19'"):
        make_target(store, "clc19")

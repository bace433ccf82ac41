"""The facts of a data card: what is planted is found, and what is sound is left in peace."""

import numpy as np
import pandas as pd
import pytest

from eofuse.data.card import describe as cards
from eofuse.data.card.balance import balance, natural_target
from eofuse.data.card.describe import look_at
from eofuse.data.card.duplicates import find_duplicates
from eofuse.data.card.findings import findings
from eofuse.data.card.statistics import scan_store
from eofuse.data.sources import Provenance
from eofuse.data.splits import SplitOptions, make_split
from eofuse.data.store import Store
from eofuse.data.store.gaps import empty_bands
from eofuse.data.store.pack import pack_source
from eofuse.data.targets import make_target
from eofuse.errors import DataError, UsageError
from eofuse.kinds import DETECTION
from eofuse.modalities import SEASON
from fake_source import FakeSource, MappedSource


class Spoiled(FakeSource):
    """A source with something wrong in its rasters: `spoil(row, rasters)` changes them."""

    spoil = staticmethod(lambda row, rasters, read: rasters)

    def read(self, row):
        return self.spoil(row, super().read(row), super().read)


def packed(folder, source) -> Store:
    return pack_source(source, folder / "s.store", workers=1)


def spoiled(folder, spoil, **changes) -> Store:
    source = Spoiled(**{"patches": 60, "size": 16, **changes})
    source.spoil = spoil
    return packed(folder, source)


def what(store: Store, weight: str | None = None, **options) -> list[str]:
    found = findings(store, look_at(store, **options))
    return [finding.what for finding in found if weight in (None, finding.weight)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return packed(tmp_path_factory.mktemp("sound"), MappedSource(patches=60))


def two_sides(store: Store) -> tuple[int, int]:
    """A row in training and one in test, by scene."""
    split = make_split(store.index, SplitOptions())
    return int(split.train[3]), int(split.test[2])


def test_different_patches_are_no_duplicates(sound):
    for found in look_at(sound).duplicates:
        assert len(found.same) == len(found.alike) == 0


def test_a_copy_across_the_split_is_found(tmp_path, sound):
    one, other = two_sides(sound)

    def copy(row, rasters, read):
        return rasters | {"s2": read(one)["s2"]} if row == other else rasters

    store = spoiled(tmp_path, copy)
    card = look_at(store)
    by_name = {found.name: found for found in card.duplicates}
    assert by_name["s2"].across(card.part, by_name["s2"].same).tolist() == [[other, one]]
    assert not len(by_name["s1"].same)
    assert what(store, "fix")[0] == "1 patch of validation or test is the same as one of an earlier part (s2)"


@pytest.mark.parametrize("change", ["noise", "brightness", "rounding"])
def test_a_near_copy_across_the_split_is_found(tmp_path, sound, change):
    one, other = two_sides(sound)

    def near(row, rasters, read):
        if row != other:
            return rasters
        pixels = read(one)["s2"].astype(float)
        noise = np.random.default_rng(0).normal(0, 20, pixels.shape)
        changed = {"noise": pixels + noise, "brightness": pixels * 1.05 + 30, "rounding": pixels // 50 * 50}[change]
        return rasters | {"s2": changed.astype(np.uint16)}

    card = look_at(spoiled(tmp_path, near))
    found = card.duplicates[0]
    assert found.across(card.part, found.alike).tolist() == [[other, one]]
    assert not len(found.same)


def test_another_date_of_one_place_is_no_copy(tmp_path):
    place = np.random.default_rng(1).normal(-12, 3, (2, 8, 8)).repeat(2, axis=1).repeat(2, axis=2)

    def speckled(row, rasters, read):
        noise = np.random.default_rng(row).normal(0, 2, (2, 16, 16))
        return rasters | {"s1": (place + noise).astype(np.float32)}

    assert not len(look_at(spoiled(tmp_path, speckled, patches=30)).duplicates[1].alike)


def test_even_patches_are_no_copies_of_each_other(tmp_path):
    store = spoiled(tmp_path, lambda row, rasters, read: rasters | {"elevation": np.zeros((1, 16, 16), np.int16)})
    elevation = look_at(store).duplicates[2]
    assert (elevation.name, len(elevation.same), elevation.undecided) == ("elevation", 0, 60)


def test_one_pattern_with_other_detail_is_no_copy(tmp_path):
    slope = np.add.outer(np.arange(64.0), np.arange(64.0))

    def hills(row, rasters, read):
        rough = np.random.default_rng(row).normal(0, 1.5, slope.shape)
        return rasters | {"elevation": (300 + slope + rough)[None].astype(np.int16)}

    found = look_at(spoiled(tmp_path, hills, patches=30, size=64)).duplicates[2]
    assert len(found.alike) == 0


def test_without_rasters_equal_numbers_are_duplicates(tmp_path):
    source = FakeSource(patches=30, modalities=(SEASON,))
    columns = ["season.season_s1", "season.season_s2"]
    source.index.loc[7, columns] = source.index.loc[21, columns].to_numpy()
    store = packed(tmp_path, source)
    found = find_duplicates(store, scan_store(store, np.arange(30)), np.zeros(30, dtype=np.int64))
    assert found[0].same.tolist() == [[7, 21]]


def test_dead_and_failing_bands_are_named(tmp_path):
    def spoil(row, rasters, read):
        rasters["s2"][1] = 0  # no data
        rasters["s2"][4] = 700
        if row % 4 == 0:
            rasters["s2"][7] = 0
            rasters["s1"][0] = row + 1
        return rasters

    store = spoiled(tmp_path, spoil)
    assert "s2: B02, B05 hold no data, or one value everywhere" in what(store, "fix")
    assert {
        "s2: bands hold no data in up to 25 % of the patches that have it (B08)",
        "s1: bands hold one value in every pixel in up to 25 % of the patches that have it (VV)",
    } <= set(what(store, "look"))


def test_a_band_is_empty_in_the_card_where_the_store_says_so(tmp_path):
    def spoil(row, rasters, read):
        rasters["s1"][0] = 0  # no surface scatters so
        rasters["elevation"][:] = 0  # the sea
        return rasters

    store = spoiled(tmp_path, spoil)
    for name, scan in scan_store(store, np.arange(60)).items():
        assert np.array_equal(scan.empty, empty_bands(store, name)[scan.rows])
    assert "s1: VV holds no data, or one value everywhere" in what(store, "fix")


def test_values_are_physical_and_without_nodata(tmp_path):
    def spoil(row, rasters, read):
        rasters["s2"][0] = 5000
        rasters["s2"][0, :8] = 0
        return rasters

    values = scan_store(spoiled(tmp_path, spoil, patches=5), np.arange(5))["s2"].values[:, 0]
    assert np.isnan(values).any()
    assert np.unique(values[np.isfinite(values)]).tolist() == [0.5]


def test_a_leaky_split_comes_first(sound):
    first = findings(sound, look_at(sound, protocol="random"))[0]
    assert (first.weight, first.section) == ("fix", "split")
    assert "share a scene with training (random split)" in first.what


def test_a_class_that_training_lacks_is_named(tmp_path):
    source = FakeSource(patches=60)
    test = make_split(source.index, SplitOptions()).test
    source.index["crop"] = "wheat"
    source.index.loc[test, "crop"] = "maize"
    store = packed(tmp_path, source)
    assert "1 class is missing in training: maize" in what(store, "fix", target="crop")
    assert "100 % of the training patches are wheat" in what(store, "look", target="crop")


def test_uneven_presence_is_named(tmp_path):
    source = FakeSource(patches=60)
    test = make_split(source.index, SplitOptions()).test
    store = packed(tmp_path, FakeSource(patches=60, absent={"s1": set(test.tolist()), "elevation": {int(test[0])}}))
    assert "s1 is there unevenly: 100 % of training, 100 % of validation, 0 % of test" in what(store, "look")
    assert "1 of 60 patches (2 %) are without elevation" in what(store, "know")


def test_a_store_of_two_scenes_is_split_otherwise_and_says_so(tmp_path):
    store = packed(tmp_path, FakeSource(patches=10))
    card = look_at(store)
    assert card.protocol == "random"
    assert any("can't be split by scene" in text for text in what(store, "look"))
    with pytest.raises(DataError, match="scene split leaves no"):
        look_at(store, protocol="scene")


def test_a_large_store_is_sampled_and_says_so(sound, monkeypatch):
    monkeypatch.setattr(cards, "MOST_PATCHES", 20)
    card = look_at(sound)
    assert card.looked_at == len(card.scans["s2"].rows) == 20
    assert "of 60 patches, 20 drawn at random were looked at: copies of others go unseen" in what(sound, "know")
    again = look_at(sound)
    np.testing.assert_array_equal(card.scans["s2"].values, again.scans["s2"].values)


def test_the_target_is_the_label_that_the_source_declares(tmp_path):
    source = FakeSource(patches=20)
    assert natural_target(packed(tmp_path, source)).name == "climate_zone"
    source.provenance = Provenance(labels={"label": "class"})
    assert natural_target(pack_source(source, tmp_path / "t.store", workers=1, overwrite=True)).name == "label"


@pytest.mark.parametrize(
    ("name", "counted"),
    [("label", "patches"), ("worldcover", "pixels"), ("season", "patches"), ("elevation", "pixels")],
)
def test_the_balance_counts_every_part(sound, name, counted):
    parts = make_split(sound.index, SplitOptions()).parts()
    found = balance(make_target(sound, name), parts)
    assert found.counted == counted
    assert found.labelled == {part: len(rows) for part, rows in parts.items()}
    if name == "label":
        labels = sound.index["label"].to_numpy()
        expected = pd.DataFrame({part: np.bincount(labels[rows], minlength=2) for part, rows in parts.items()})
        assert sorted(found.classes.to_numpy().tolist()) == sorted(expected.to_numpy().tolist())
    elif name == "worldcover":
        assert found.classes["test"].sum() == len(parts["test"]) * 16 * 16
    else:
        assert {len(values["test"]) > 0 for values in found.numbers.values()} == {True}


def test_boxes_have_no_balance(sound):
    target = make_target(sound, "label")
    object.__setattr__(target, "kind", DETECTION)
    with pytest.raises(UsageError, match="it has boxes"):
        balance(target, make_split(sound.index, SplitOptions()).parts())

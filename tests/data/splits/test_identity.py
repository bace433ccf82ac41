"""Patches are recognised by id, by values and by ground, in whichever store they lie."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eofuse.data.splits.identity import Identities, far_apart, identities, overlaps, places
from eofuse.data.store.pack import pack_source
from eofuse.data.store.subset import subset
from eofuse.modalities import ELEVATION, SENTINEL1
from fake_source import GREENNESS, FakeSource


class Flat(FakeSource):
    """Elevation is the sea in the first ten patches."""

    def signal(self, modality, row, raster):
        return raster * (row >= 10) if modality.name == "elevation" else raster


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    source = Flat(patches=30, modalities=(SENTINEL1, ELEVATION, GREENNESS), absent={"s1": {3}})
    return pack_source(source, tmp_path_factory.mktemp("identity") / "flat.store", workers=1)


def test_values_identify_patches_that_vary_and_are_present(store):
    found = identities(store, ["s1", "elevation", "greenness", "elsewhere"])
    assert {name: np.flatnonzero(digests == 0).tolist() for name, digests in found.values.items()} == {
        "s1": [3],
        "elevation": list(range(10)),
        "greenness": np.flatnonzero(found.hints["greenness"]).tolist(),
    }
    assert np.flatnonzero(found.hints["elevation"]).tolist() == list(range(10))
    for digests in found.values.values():
        assert len(np.unique(digests[digests != 0])) == (digests != 0).sum()
    assert len(np.unique(found.ids)) == 30


def test_a_part_of_a_store_has_the_same_marks(store, tmp_path):
    part = subset(store.path, tmp_path / "part.store", ids=[f"patch_{row}" for row in range(5, 25)], modalities=["s1"])
    whole, mine = identities(store, ["s1"]).take(np.arange(5, 25)), identities(part, ["s1", "elevation"])
    assert np.array_equal(mine.ids, whole.ids)
    assert list(mine.values) == ["s1"]
    assert np.array_equal(mine.values["s1"], whole.values["s1"])
    assert np.array_equal(mine.centre, whole.centre)


def at(east: float, north: float, side: float = 1200.0, zone: int = 32) -> dict:
    """A patch with a grid, its upper left corner so many metres from a place in a UTM zone."""
    grid = {"grid_a": side / 120, "grid_b": 0.0, "grid_d": 0.0, "grid_e": -side / 120, "grid_width": 120.0}
    place = {"crs": f"EPSG:326{zone}", "ulx": 690_000 + east, "uly": 5_300_000 + north, "grid_height": 120.0}
    return {**place, **grid, "lon": np.nan, "lat": np.nan}


def marks(*patches: dict) -> Identities:
    centre, side = places(pd.DataFrame(list(patches)))
    return Identities(np.arange(len(side), dtype=np.uint64), {}, {}, centre, side)


@given(st.floats(-3000, 3000), st.floats(-3000, 3000), st.sampled_from([600.0, 1200.0, 2400.0]), st.floats(-2000, 2000))
def test_common_ground_is_that_of_squares(east, north, side, shift):
    first, other = at(shift, shift), at(shift + east, shift - north, side)
    share = [min(1200, move + side) - max(0, move) for move in (east, north)]
    margin = 0.05 * (1200 + side)
    found = bool(overlaps(marks(first), marks(other))[0])
    if min(share) > 2 * margin:
        assert found
    if min(share) < -0.1 * margin:
        assert not found


def test_neighbours_in_a_grid_share_no_ground():
    tiles = marks(*(at(1200 * column, 1200 * row) for column in range(4) for row in range(4)))
    for position in range(16):
        others = np.delete(np.arange(16), position)
        assert not overlaps(tiles.take(np.array([position])), tiles.take(others)).any()


def test_a_place_is_the_same_in_another_zone_and_by_longitude_and_latitude():
    import pyproj

    first = at(0, 0)
    lon, lat = pyproj.Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True).transform(690_600, 5_299_400)
    x, y = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32633", always_xy=True).transform(lon, lat)
    other = {**at(0, 0, zone=33), "ulx": x - 600, "uly": y + 600}
    plain = {"lon": lon, "lat": lat}
    assert overlaps(marks(first), marks(other)).all()
    assert overlaps(marks(first), marks(plain)).all()
    assert not overlaps(marks({**plain, "lat": lat + 0.1}), marks(first, other)).any()


def test_what_has_no_place_lies_neither_near_nor_far():
    nowhere, here, there = (
        marks({"lon": np.nan, "lat": np.nan}),
        marks({"lon": 8, "lat": 47}),
        marks({"lon": 9, "lat": 47}),
    )
    assert not overlaps(nowhere, here).any()
    assert not overlaps(here, nowhere).any()
    assert not far_apart(here, nowhere).any()
    assert far_apart(here, there).all()
    assert not far_apart(here, here).any()

"""Where the pixels of patches lie: as their rasters say, in every source, through every store, whatever else a table says."""

import json

import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.warp import transform

from eofuse.data.check import check_path
from eofuse.data.reading.grid import Grid
from eofuse.data.sources.ben_ge.source import open_ben_ge
from eofuse.data.store import INDEX_FILE, STORE_FILE, open_store
from eofuse.data.store.combine import append, merge
from eofuse.data.store.cut import cut
from eofuse.data.store.georeference import GRID_COLUMNS, corners, grid_of, has_grid, misplaced, recovered, set_grids
from eofuse.data.store.pack import pack
from eofuse.data.store.subset import subset
from eofuse.files import sha256
from table_folder import TableFolder

UTM = "EPSG:32632"
CHIPS = (
    (UTM, Affine(10, 0, 500000, 0, -10, 5200000)),
    (UTM, Affine(1.7, 0, 500300, 0, -1.7, 5200000)),
    ("EPSG:32633", Affine(20, 0, 300000, 0, -10, 5200000)),
    ("EPSG:4326", Affine(1.5e-4, 0, 8, 0, -1e-4, 47)),
    (UTM, Affine.translation(510000, 5200000) @ Affine.rotation(30) @ Affine.scale(10, -10)),
    ("EPSG:4326", Affine.translation(9, 47) @ Affine.rotation(-75) @ Affine.scale(1e-4, -1e-4)),
)


def write_chips(mine: TableFolder, side: int = 8) -> None:
    for number, (crs, place) in enumerate(CHIPS):
        profile = {"count": 3, "height": side, "width": side, "dtype": "uint16", "crs": crs, "transform": place}
        with rasterio.open(mine.path / "optical" / f"p{number}.tif", "w", driver="GTiff", **profile) as file:
            file.write(np.arange(3 * side * side, dtype=np.uint16).reshape(3, side, side) + 1)


@pytest.fixture
def chips(tmp_path) -> TableFolder:
    """A table of chips on many grids, with longitudes and latitudes at corners and far off."""
    mine = TableFolder(tmp_path)
    write_chips(mine)
    for number in (0, 3):
        crs, place = CHIPS[number]
        (lon,), (lat,) = transform(crs, "EPSG:4326", [place.c], [place.f])
        mine.table.loc[number, ["lon", "lat"]] = lon, lat
    return mine


def assert_placed_as_files(index: pd.DataFrame, mine: TableFolder, shift: int = 0) -> None:
    for row, patch_id in enumerate(index["patch_id"]):
        with rasterio.open(mine.path / "optical" / f"{patch_id}.tif") as file:
            found, expected = grid_of(index, row), file.transform @ Affine.translation(shift, shift)
            assert found.crs == file.crs
            assert found.transform.to_gdal() == pytest.approx(expected.to_gdal(), rel=1e-12)


def test_chips_of_a_table_lie_where_their_files_say(chips, tmp_path):
    store = pack(chips.save(), tmp_path / "out.store", workers=1)
    assert_placed_as_files(store.index, chips)
    assert store.index[["grid_width", "grid_height"]].to_numpy().tolist() == [[8, 8]] * 6
    given = chips.table[["lon", "lat"]].to_numpy(dtype=float)
    np.testing.assert_array_equal(store.index[["lon", "lat"]], given)


@pytest.mark.parametrize(("size", "shift"), [(4, 2), (12, -2)])
def test_chips_that_are_cut_or_filled_up_lie_where_their_pixels_lie(chips, tmp_path, size, shift):
    chips.spec["size"] = size
    chips.spec["modalities"]["optical"]["nodata"] = 0
    store = pack(chips.save(), tmp_path / "out.store", workers=1)
    assert_placed_as_files(store.index, chips, shift)


def test_turned_pixels_are_read_as_they_lie(chips):
    source = chips.open()
    assert source.provenance.facts["warped"] == {}
    np.testing.assert_array_equal(source.read(4)["optical"].ravel(), np.arange(192) + 1)


def test_places_outside_the_pixels_are_said(chips, tmp_path):
    (found,) = [problem for problem in chips.open().problems if "outside their pixels" in problem.what]
    assert found.what.startswith("lon and lat of 4 patches")
    store = pack(chips.save(), tmp_path / "out.store", workers=1)
    assert [problem.what for problem in check_path(store.path)] == [found.what]


def test_stores_of_stores_keep_the_place_of_every_patch(chips, tmp_path):
    whole = pack(chips.save(), tmp_path / "whole.store", workers=1)
    left = subset(whole.path, tmp_path / "left.store", ids=["p1", "p4"])
    right = subset(whole.path, tmp_path / "right.store", ids=["p0", "p2"])
    last = subset(whole.path, tmp_path / "last.store", ids=["p3", "p5"])
    merged = merge([left.path, right.path], tmp_path / "both.store")
    assert_placed_as_files(append(merged.path, [last.path]).index, chips)


def test_files_that_were_never_georeferenced_lie_nowhere(chips, tmp_path):
    for name in chips.table["id"]:  # the file of a chip, without a place
        chips.write(f"optical/{name}.tif", np.ones((3, 8, 8), np.uint16), crs=None)
    store = pack(chips.save(), tmp_path / "out.store", workers=1)
    assert not has_grid(store.index).any()
    assert "pixels of 6 of 6 patches" in check_path(store.path)[0].what


def test_patches_cut_from_a_turned_scene_lie_where_their_pixels_lie(tmp_path):
    place = CHIPS[4][1]
    values = np.arange(600, dtype=np.uint16).reshape(1, 20, 30) + 1
    profile = {"count": 1, "height": 20, "width": 30, "dtype": "uint16", "crs": UTM, "transform": place}
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", **profile) as file:
        file.write(values)
    spec = {"name": "turned", "modalities": {"image": {"files": "{scene}.tif"}}, "root": str(tmp_path)}
    store = cut(spec, tmp_path / "out.store", size=10, workers=1).store
    for row, (column, down) in enumerate([(0, 0), (10, 0), (20, 0), (0, 10), (10, 10), (20, 10)]):
        expected = place @ Affine.translation(column, down)
        assert grid_of(store.index, row).transform.to_gdal() == pytest.approx(expected.to_gdal(), rel=1e-12)
        np.testing.assert_array_equal(
            store.read("image", [row])[0, 0], values[0, down : down + 10, column : column + 10]
        )


def test_real_patches_lie_where_their_rasters_say(shared):
    folder = shared / "realdata" / "ben-real-40"
    source = open_ben_ge(folder)
    for row in range(0, len(source.index), 8):
        (path,) = folder.rglob(f"{source.index['patch_id'].iloc[row]}_B02.tif")
        with rasterio.open(path) as file:
            grid = grid_of(source.index, row)
            assert (grid.crs, grid.transform, grid.width) == (file.crs, file.transform, 120)


def as_schema(folder, version, index):
    """Makes a store one of an older version: without grids of pixels, and without digests of patches and description."""
    index.drop(columns=[name for name in GRID_COLUMNS if name.startswith("grid_")]).to_parquet(folder / INDEX_FILE)
    description = json.loads((folder / STORE_FILE).read_text()) | {"schema_version": version}
    del description["digest"], description["files"]["patch_digests.npy"]
    (folder / "patch_digests.npy").unlink()
    description["files"][INDEX_FILE] = sha256(folder / INDEX_FILE)
    (folder / STORE_FILE).write_text(json.dumps(description))


def test_an_older_store_has_the_places_that_follow_beyond_doubt(chips, tmp_path):
    store = pack(chips.save(), tmp_path / "out.store", workers=1)
    centre = np.array([transform(crs, "EPSG:4326", *[[v] for v in (t @ (4, 4))]) for crs, t in CHIPS])[..., 0]
    index = store.index.assign(side_km=[0.08, 0.0136, 0.16, 0.08896, 0.08, 0.08])
    index.loc[[0, 1, 2], ["lon", "lat"]] = centre[:3]
    as_schema(store.path, 1, index)
    old = open_store(store.path)
    assert has_grid(old.index).tolist() == [True] * 3 + [False] * 3  # the others say another place than their centre
    for row in range(3):
        assert grid_of(old.index, row).transform.to_gdal() == pytest.approx(CHIPS[row][1].to_gdal(), rel=1e-6)
    assert any("pixels of 3 of 6 patches" in problem.what for problem in check_path(store.path))
    subset(old.path, tmp_path / "part.store", ids=["p2", "p5"])
    assert has_grid(open_store(tmp_path / "part.store").index).tolist() == [True, False]


@settings(max_examples=60)
@given(
    degrees=st.floats(-180, 180),
    pixel=st.tuples(st.floats(0.1, 60), st.floats(0.1, 60)),
    place=st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
)
def test_places_and_pixels_of_a_grid_are_inverse(degrees, pixel, place):
    turned = Affine.translation(5e5, 5e6) @ Affine.rotation(degrees) @ Affine.scale(pixel[0], -pixel[1])
    grid = Grid(CRS.from_string(UTM), turned, 12, 7)
    assert grid.place_of(*place) == pytest.approx(turned @ place, rel=1e-12)
    assert grid.pixel_at(*grid.place_of(*place)) == pytest.approx(place, abs=1e-6)
    assert grid.window(3, 2, 4, 4).place_on(grid) == (3, 2)


def test_patches_of_the_ben_ge_family_had_pixels_of_ten_metres():
    index = pd.DataFrame({"crs": [UTM, None], "ulx": [600000.0, np.nan], "uly": [5200000.0, np.nan]})
    found = corners(recovered(index, (120, 120)))
    assert found[0].tolist() == [[600000, 5200000], [601200, 5200000], [601200, 5198800], [600000, 5198800]]
    assert np.isnan(found[1]).all()


@pytest.mark.filterwarnings("error")
def test_pixels_too_small_for_their_coordinates_are_looked_at_without_a_warning_of_numpy():
    index = pd.DataFrame({"patch_id": ["a"], "lon": [9.0], "lat": [45.0]})
    set_grids(index, [Grid(CRS.from_string(UTM), Affine(1e-12, 0, 5e5, 0, -1e-12, 5e6), 4, 4)])
    misplaced(index, "index")

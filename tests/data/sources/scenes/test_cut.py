"""Cutting scenes into patches: tiling, grids, values, and what is refused."""

import itertools
import json
import re
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize
from rasterio.warp import transform, transform_geom

from eofuse.config import parse_options, parse_yaml
from eofuse.data.card.describe import describe_store
from eofuse.data.reading.grid import Grid, tile_starts, tiles_to_cover
from eofuse.data.sources.scenes.polygons import Polygons
from eofuse.data.sources.scenes.spec import SceneLayer, SceneSpec
from eofuse.data.specs.layers import PolygonSpec
from eofuse.data.splits import SplitOptions, leakage, make_split
from eofuse.data.store import open_store
from eofuse.data.store.cut import cut
from eofuse.data.store.georeference import grid_of
from eofuse.errors import DataError, UsageError
from eofuse.reports.figures.patch import show_patch

RECIPE = Path(__file__).parents[4] / "recipes" / "scenes" / "terramesh_4.yaml"
CORNER = (500_000.0, 5_000_000.0)
UTM = "EPSG:32633"
LENGTHS = st.integers(1, 300)


def write(path, values, *, corner=CORNER, pixel=10.0, crs=UTM, nodata=None, names=(), **profile):
    """Writes a GeoTIFF; `values` is (H, W) or (C, H, W)."""
    values = np.atleast_3d(values) if values.ndim == 3 else values[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    grid = {"crs": crs, "transform": Affine(pixel, 0, corner[0], 0, -pixel, corner[1])}
    count, height, width = values.shape
    with rasterio.open(
        path, "w", "GTiff", width, height, count, dtype=values.dtype, nodata=nodata, **grid, **profile
    ) as file:
        file.write(values)
        for number, name in enumerate(names, start=1):
            file.set_band_description(number, name)
    return path


def numbered(height=20, width=30, dtype="int16"):
    """Every pixel has its own value: 100 × row + column."""
    return (100 * np.arange(height)[:, None] + np.arange(width)[None, :]).astype(dtype)


def spec_of(folder, **modalities):
    """A spec of those modalities; a word stands for its folder."""
    layers = {name: {"files": layer} if isinstance(layer, str) else layer for name, layer in modalities.items()}
    return {"name": "made", "root": str(folder), "modalities": layers}


@pytest.fixture
def scene(tmp_path):
    """A folder with one scene `a` of 20 × 30 numbered pixels."""
    write(tmp_path / "image" / "a.tif", numbered())
    return tmp_path


def cut_values(folder, spec, name, size=10, **options):
    """The patches of a modality, and the index."""
    store = cut(spec, folder / "out.store", size=size, workers=1, overwrite=True, **options).store
    return store.read(name, np.arange(len(store))), store.index


@given(length=LENGTHS, size=st.integers(1, 64))
def test_every_pixel_that_is_covered_lies_in_exactly_one_tile(length, size):
    counts = np.zeros(length, dtype=int)
    starts = tile_starts(length, size, 0)
    for start in starts:
        counts[start : start + size] += 1
    assert (counts[: len(starts) * size] == 1).all()
    assert counts[len(starts) * size :].sum() == 0
    assert length - len(starts) * size < size


@given(length=LENGTHS, size=st.integers(1, 64), data=st.data())
def test_tiles_stay_within_the_scene_and_share_the_overlap(length, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    starts = tile_starts(length, size, overlap)
    assert all(start >= 0 and start + size <= length for start in starts)
    assert all(first + size - second == overlap for first, second in itertools.pairwise(starts))
    assert len(starts) <= tiles_to_cover(length, size, overlap) <= len(starts) + 1


@settings(max_examples=8)
@given(height=st.integers(4, 25), width=st.integers(4, 25), size=st.integers(1, 4), overlap=st.integers(0, 3))
def test_a_patch_lies_where_its_pixels_lie(tmp_path_factory, height, width, size, overlap):
    overlap = min(overlap, size - 1)
    folder = tmp_path_factory.mktemp("scene")
    write(folder / "image" / "a.tif", numbered(height, width))
    values, index = cut_values(folder, spec_of(folder, image="image/{scene}.tif"), "image", size, overlap=overlap)
    left = ((index["ulx"] - CORNER[0]) / 10).to_numpy(dtype=int)
    top = ((CORNER[1] - index["uly"]) / 10).to_numpy(dtype=int)
    for patch, column, row in zip(values, left, top, strict=True):
        np.testing.assert_array_equal(patch[0], numbered(height, width)[row : row + size, column : column + size])


def test_the_index_says_scene_place_and_block(scene):
    _, index = cut_values(scene, spec_of(scene, image="image/{scene}.tif") | {"block": 2}, "image")
    assert index["patch_id"].tolist() == ["a_0_0", "a_1_0", "a_2_0", "a_0_1", "a_1_1", "a_2_1"]
    assert pd.factorize(index["block"])[0].tolist() == [0, 0, 1, 0, 0, 1]
    assert set(index["crs"]) == {UTM}
    (lon,), (lat,) = transform(UTM, "EPSG:4326", [CORNER[0] + 50], [CORNER[1] - 50])
    assert index.loc[0, ["lon", "lat"]].tolist() == pytest.approx([lon, lat])
    assert [grid_of(index, 4).transform.to_gdal()] == [(CORNER[0] + 100, 10, 0, CORNER[1] - 100, 0, -10)]
    assert index[["grid_width", "grid_height"]].to_numpy().tolist() == [[10, 10]] * 6


def test_patches_that_would_stick_out_are_left_out_and_counted(scene):
    done = cut(spec_of(scene, image="image/{scene}.tif"), scene / "out", size=9, workers=1)
    assert (len(done.store), done.beyond_edge) == (6, 6)
    assert done.store.provenance["cut"]["left_out"] == {"beyond_edge": 6, "no_data": 0}


def test_a_coarser_grid_is_interpolated_and_that_is_said(scene):
    plane = (np.arange(20)[:, None] * 20.0 + np.arange(25)[None, :] * 40.0).astype("float32")
    write(scene / "height" / "a.tif", plane, corner=(CORNER[0] - 45, CORNER[1] + 35), pixel=20.0)
    spec = spec_of(scene, image="image/{scene}.tif", height="height/{scene}.tif") | {"reference": "image"}
    values, index = cut_values(scene, spec, "height")
    assert open_store(scene / "out.store").provenance["cut"]["warped"] == {"height": ["a"]}
    for patch, ulx, uly in zip(values, index["ulx"], index["uly"], strict=True):
        x, y = ulx + 5 + 10 * np.arange(10), uly - 5 - 10 * np.arange(10)
        column, row = (x - CORNER[0] + 45) / 20 - 0.5, (CORNER[1] + 35 - y) / 20 - 0.5
        np.testing.assert_allclose(patch[0], row[:, None] * 20 + column[None, :] * 40, atol=0.5)


def test_another_reference_system_is_warped_to_the_place(scene):
    (west,), (north,) = transform(UTM, "EPSG:4326", [CORNER[0] - 200], [CORNER[1] + 200])
    longitudes = west + (np.arange(100) + 0.5) * 1e-4
    write(
        scene / "lon" / "a.tif",
        np.tile(longitudes, (100, 1)).astype("float64"),
        crs="EPSG:4326",
        corner=(west, north),
        pixel=1e-4,
    )
    values, index = cut_values(
        scene, spec_of(scene, image="image/{scene}.tif", longitude="lon/{scene}.tif"), "longitude"
    )
    centre = values[:, 0, 4:6, 4:6].astype("float64").mean(axis=(1, 2))
    np.testing.assert_allclose(centre, index["lon"], atol=2e-6)


def test_classes_are_warped_by_the_nearest_pixel(scene):
    codes = np.where(np.indices((12, 18)).sum(axis=0) % 2, 1, 9).astype("uint8")
    write(scene / "map" / "a.tif", codes, corner=(CORNER[0] - 7, CORNER[1] + 7), pixel=20.0)
    layer = {"files": "map/{scene}.tif", "categories": {1: "water", 9: "rangeland"}}
    values, _ = cut_values(scene, spec_of(scene, image="image/{scene}.tif", map=layer), "map")
    assert set(np.unique(values)) == {1, 9}


def test_a_code_that_is_listed_is_a_class_even_if_the_file_declares_it_as_nodata(scene):
    write(scene / "map" / "a.tif", (numbered() % 2).astype("uint8"), nodata=0)
    layer = {"files": "map/{scene}.tif", "categories": {0: "other", 1: "water"}}
    values, index = cut_values(scene, spec_of(scene, image="image/{scene}.tif", map=layer), "map")
    assert set(np.unique(values)) == {0, 1}
    assert (index["nodata.map"] == 0).all()


def test_a_grid_shifted_by_whole_pixels_is_copied_and_empty_beyond_its_edge(scene):
    write(scene / "other" / "a.tif", numbered() + 1, corner=(CORNER[0] + 20, CORNER[1] - 30))
    layer = {"files": "other/{scene}.tif", "nodata": -1}
    values, index = cut_values(scene, spec_of(scene, image="image/{scene}.tif", other=layer), "other")
    assert open_store(scene / "out.store").provenance["cut"]["warped"] == {}
    np.testing.assert_array_equal(values[0, 0, 3:, 2:], numbered()[:7, :8] + 1)
    assert (values[0, 0, :3] == -1).all()
    assert index["nodata.other"][0] == pytest.approx(1 - 7 * 8 / 100)


def test_patches_without_data_are_left_out_and_the_share_of_nodata_is_told(tmp_path):
    pixels = numbered() + 1
    pixels[:10, :10] = 0
    pixels[:5, 10:20] = 0
    write(tmp_path / "image" / "a.tif", pixels, nodata=0)
    done = cut(spec_of(tmp_path, image="image/{scene}.tif"), tmp_path / "out", size=10, workers=1)
    assert done.no_data == 1
    assert done.store.index["nodata.image"].tolist() == [0.5, 0, 0, 0, 0]


def test_a_modality_that_holds_nothing_in_a_patch_is_absent_there(scene):
    radar = np.full((2, 20, 30), -10.0)
    radar[:, :10, :10] = np.nan
    write(scene / "radar" / "a.tif", radar)
    layer = {"files": "radar/{scene}.tif", "nodata": -999}
    values, index = cut_values(scene, spec_of(scene, image="image/{scene}.tif", s1=layer), "s1")
    assert index["has_s1"].tolist() == [False, True, True, True, True, True]
    assert (values[0] == 0).all()


def test_nan_in_a_scene_of_fractions_is_no_data(scene):
    height = numbered().astype("float32")
    height[:10, :10] = np.nan
    height[0, 10:15] = np.nan
    write(scene / "height" / "a.tif", height)
    spec = spec_of(scene, image="image/{scene}.tif", height="height/{scene}.tif")
    values, index = cut_values(scene, spec, "height")
    assert index["has_height"].tolist() == [False, True, True, True, True, True]
    assert index["nodata.height"].tolist() == pytest.approx([1, 0.05, 0, 0, 0, 0])
    assert np.argwhere(np.isnan(values[1])).tolist() == [[0, 0, column] for column in range(5)]
    store = open_store(scene / "out.store")
    channels = describe_store(store).channels
    assert np.isfinite(channels.loc[channels["modality"] == "height", ["mean", "std", "minimum"]].to_numpy(float)).all()
    assert show_patch(store, "a_1_0", scene / "patch.png")


def test_an_offset_is_added_to_the_scenes_that_need_it(tmp_path):
    for name, offset in (("a", 0), ("b", 1000)):
        write(tmp_path / "image" / f"{name}.tif", numbered() + offset + 1)
    layer = {"files": "image/{scene}.tif", "add": {"b": -1000}}
    values, _ = cut_values(tmp_path, spec_of(tmp_path, image=layer), "image")
    np.testing.assert_array_equal(values[:6], values[6:])


def test_values_beyond_the_clip_are_set_to_its_ends(scene):
    layer = {"files": "image/{scene}.tif", "clip": [5, 900], "dtype": "uint16"}
    values, _ = cut_values(scene, spec_of(scene, image=layer), "image")
    assert (values.dtype, values.min(), values.max()) == (np.uint16, 5, 900)


def test_bands_are_matched_by_their_names(tmp_path):
    order = ["B04", "SCL", "B3", "B02"]
    write(tmp_path / "s2" / "a.tif", np.stack([numbered() + 5000 * n for n in range(4)]), names=order)
    layer = {"files": "s2/{scene}.tif", "channels": ["B02", "B03", "B04"], "nodata": 20_000}
    values, _ = cut_values(tmp_path, spec_of(tmp_path, s2=layer), "s2")
    assert (values[0, :, 0, 0]).tolist() == [15_000, 10_000, 0]


def test_channels_may_have_a_file_each_and_the_finest_gives_the_grid(tmp_path):
    write(tmp_path / "a" / "B01.tif", np.full((5, 10), 700, dtype="uint16"), pixel=60.0)
    write(tmp_path / "a" / "B02.tif", numbered(30, 60, "uint16") + 1)
    layer = {"files": "{scene}/{channel}.tif", "channels": ["B01", "B02"]}
    values, index = cut_values(tmp_path, spec_of(tmp_path, s2=layer), "s2")
    assert len(index) == 18
    np.testing.assert_array_equal(values[0, 1], numbered()[:10, :10] + 1)
    assert (values[:, 0] == 700).all()


def test_one_file_may_serve_all_scenes(tmp_path):
    for name, shift in (("a", 0), ("b", 300)):
        write(tmp_path / "image" / f"{name}.tif", numbered(), corner=(CORNER[0] + shift, CORNER[1]))
    write(tmp_path / "height.tif", numbered(20, 60))
    values, _ = cut_values(tmp_path, spec_of(tmp_path, image="image/{scene}.tif", elevation="height.tif"), "elevation")
    assert values[6, 0, 0, 0] == 30


def square(west, north, side, **properties):
    """A square in pixels of the scene as a GeoJSON feature in longitude and latitude."""
    x, y = CORNER[0] + 10 * west, CORNER[1] - 10 * north
    step = 10 * side
    ring = [[x, y], [x + step, y], [x + step, y - step], [x, y - step], [x, y]]
    geometry = transform_geom(UTM, "EPSG:4326", {"type": "Polygon", "coordinates": [ring]})
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def write_polygons(path, *features):
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))


FIELDS = {"polygons": {"file": "fields.json", "property": "crop"}, "categories": {1: "wheat", 2: "maize"}}


def test_polygons_are_drawn_by_name_or_code_and_the_later_one_counts(scene):
    write_polygons(scene / "fields.json", square(0, 0, 15, crop="wheat"), square(5, 5, 10, crop=2))
    values, index = cut_values(scene, spec_of(scene, image="image/{scene}.tif", fields=FIELDS), "fields")
    whole = np.zeros((20, 30), dtype="uint8")
    whole[:15, :15] = 1
    whole[5:15, 5:15] = 2
    for patch, column, row in zip(values, index["column"], index["row"], strict=True):
        expected = whole[10 * row : 10 * row + 10, 10 * column : 10 * column + 10]
        np.testing.assert_array_equal(patch[0], expected * bool(expected.any()))
    assert index["has_fields"].tolist() == [True, True, False, True, True, False]


def test_pixels_outside_all_polygons_may_be_a_class(scene):
    write_polygons(scene / "fields.json", square(0, 0, 5, crop="wheat"))
    polygons = FIELDS["polygons"] | {"background": "maize"}
    layer = FIELDS | {"polygons": polygons}
    values, index = cut_values(scene, spec_of(scene, image="image/{scene}.tif", fields=layer), "fields")
    assert (values[0] == 1).sum() == 25
    assert (values == 2).sum() == 600 - 25
    assert index["has_fields"].all()


CORNERS = st.tuples(st.floats(-5, 35), st.floats(-5, 25))


@given(corners=st.lists(CORNERS, min_size=3, max_size=6), left=st.integers(0, 20), top=st.integers(0, 10))
def test_a_window_of_polygons_is_that_part_of_the_whole(corners, left, top):
    place = Affine(10, 0, CORNER[0], 0, -10, CORNER[1])
    ring = [[CORNER[0] + 10 * x, CORNER[1] - 10 * y] for x, y in [*corners, corners[0]]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    x, y = zip(*ring, strict=True)
    polygons = Polygons((geometry,), (3,), np.array([[min(x), min(y), max(x), max(y)]]), 0)
    grid = Grid(rasterio.CRS.from_string(UTM), place, 30, 20)
    whole = rasterize([(geometry, 3)], out_shape=(20, 30), transform=place, dtype="uint8")
    window = polygons.draw(grid.window_transform(left, top), 10)
    np.testing.assert_array_equal(window, whole[top : top + 10, left : left + 10])


def test_only_windows_are_read(tmp_path):
    path = tmp_path / "image" / "a.tif"
    write(path, np.ones((1, 1), dtype="uint8"))
    with rasterio.open(
        path, "w", "GTiff", 4000, 4000, 1, UTM, Affine(10, 0, 0, 0, -10, 0), "uint8", sparse_ok=True, tiled=True
    ):
        pass  # 16 MB of zeros, none of them written
    tracemalloc.start()
    try:
        done = cut(spec_of(tmp_path, image="image/{scene}.tif"), tmp_path / "out", size=500, workers=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(done.store) == 64
    assert peak < 30e6  # the whole scene in float64 would be 128 MB


def test_the_store_does_not_depend_on_the_number_of_workers(scene):
    spec = spec_of(scene, image="image/{scene}.tif")
    one, two = (cut(spec, scene / f"out{n}", size=4, overlap=1, workers=n).store for n in (1, 2))
    assert one.fingerprint == two.fingerprint
    assert two.verify() == []


def test_a_finished_cut_is_not_done_again_but_other_files_need_overwrite(scene):
    spec = spec_of(scene, image="image/{scene}.tif")
    file = cut(spec, scene / "out", size=10, workers=1).store.path / "store.json"
    before = file.stat().st_mtime_ns
    cut(spec, scene / "out", size=10, workers=1)
    assert file.stat().st_mtime_ns == before
    write(scene / "image" / "a.tif", numbered() + 1)
    with pytest.raises(UsageError, match="holds other data"):
        cut(spec, scene / "out", size=10, workers=1)


def test_progress_tells_both_passes(scene):
    heard = []
    cut(
        spec_of(scene, image="image/{scene}.tif"),
        scene / "out",
        size=10,
        workers=1,
        progress=lambda *w: heard.append(w),
    )
    assert heard[-1] == (6, 6, "packed")
    assert (6, 6, "looked at") in heard


def test_pictures_and_description_know_what_to_do_with_unknown_modalities(scene):
    write(scene / "two" / "a.tif", np.stack([numbered(), numbered()]).astype("float32"))
    write(scene / "four" / "a.tif", np.stack([numbered()] * 4))
    write(scene / "map" / "a.tif", (numbered() % 12 + 1).astype("uint8"))
    classes = {"files": "map/{scene}.tif", "categories": {code: f"class {code}" for code in range(1, 13)}}
    spec = spec_of(scene, image="image/{scene}.tif", two="two/{scene}.tif", four="four/{scene}.tif", map=classes)
    store = cut(spec, scene / "out", size=10, workers=1).store
    assert store.modalities["two"].channel_names == ("band_1", "band_2")
    assert len({category.colour for category in store.modalities["map"].categories}) == 12
    assert show_patch(store, "a_1_1", scene / "patch.png")
    assert set(describe_store(store).channels["modality"]) == {"image", "two", "four"}


def bad(folder, **changes):
    """Cuts scene `a` of folder with changed layers."""
    layers = {"image": {"files": "image/{scene}.tif"}} | changes
    cut({"name": "bad", "root": str(folder), "modalities": layers}, folder / "out", size=10, workers=1)


def write_strange(folder):
    """Files that each have something wrong."""
    image = numbered()
    write(folder / "no_crs" / "a.tif", image, crs=None)
    write(folder / "three" / "a.tif", np.stack([image] * 3))
    write(folder / "fraction" / "a.tif", image.astype("float32") + 0.25)
    write(folder / "large" / "a.tif", image.astype("int32") + 70_000)
    write(folder / "negative" / "a.tif", np.stack([image - 50] * 2))
    write(folder / "codes" / "a.tif", (image % 7).astype("uint8"))
    write(folder / "gaps" / "a.tif", np.where(image < 5, np.nan, image).astype("float32"))
    write(folder / "named" / "a.tif", np.stack([image] * 2), names=["VV", "HH"])
    (folder / "text").mkdir()
    (folder / "text" / "a.tif").write_text("no raster")
    with rasterio.open(write(folder / "scaled" / "a.tif", np.stack([image] * 2)), "r+") as file:
        file.scales, file.offsets = (1e-4, 1e-4), (-0.1, -0.1)
    with rasterio.open(write(folder / "masked" / "a.tif", image), "r+") as file:
        file.write_mask(image > 5)


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    folder = tmp_path_factory.mktemp("strange")
    write(folder / "image" / "a.tif", numbered())
    write_strange(folder)
    return folder


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            {"elevation": {"files": "nowhere/{scene}.tif"}},
            r"scene a, elevation, .*nowhere/a.tif: file missing; .*elevation.optional: true",
        ),
        ({"elevation": {"files": "no_crs/{scene}.tif"}}, "no coordinate reference system"),
        ({"elevation": {"files": "three/{scene}.tif"}}, "has 3 bands, expected 1: elevation"),
        ({"elevation": {"files": "fraction/{scene}.tif"}}, r"holds fractions such as 0.25.*dtype: float32"),
        ({"elevation": {"files": "large/{scene}.tif"}}, "values from 70000 to .* do not fit int16"),
        ({"s2": {"files": "negative/{scene}.tif", "channels": ["B02", "B03"]}}, "values from -50 .*do not fit uint16"),
        ({"map": {"files": "codes/{scene}.tif", "categories": {1: "x", 2: "y"}}}, "not in the list: 3, 4, 5, 6"),
        ({"s1": {"files": "named/{scene}.tif"}}, r"no band named VH \(its bands: VV, HH\)"),
        (
            {"gaps": {"files": "gaps/{scene}.tif", "dtype": "int16"}},
            "5 values have no data .*set modalities.gaps.nodata",
        ),
        ({"text": {"files": "text/{scene}.tif"}}, "not a readable GeoTIFF"),
        ({"masked": {"files": "masked/{scene}.tif"}}, "6 values have no data .*set modalities.masked.nodata"),
        ({"s2": {"files": "scaled/{scene}.tif", "channels": ["B02", "B03"]}}, "offset -0.1.*set add: -1000"),
    ],
)
def test_files_that_are_not_what_they_should_be_are_named(strange, layer, message):
    with pytest.raises(DataError, match=message) as caught:
        bad(strange, **layer)
    assert next(iter(layer)) in str(caught.value)


def test_a_file_that_declares_its_scaling_is_believed_if_the_spec_agrees(strange):
    layer = {"files": "scaled/{scene}.tif", "channels": ["B02", "B03"], "add": -1000, "clip": [1, 60_000]}
    bad(strange, s2=layer)
    shutil.rmtree(strange / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"refrence": "image"}, "did you mean 'reference'"),
        ({"reference": "imag"}, "did you mean 'image'"),
        ({"scenes": ["aa"]}, "no scene 'aa'; "),
        ({"modalities": {"image": {"files": "image/{scene}.tif", "add": {"b": 1}}}}, "no scene 'b'"),
        ({"modalities": {"image": {"files": "image/{scene}.tif", "nodta": 1}}}, "did you mean 'nodata'"),
        ({"modalities": {"image": {"files": "image/a.tif"}}}, "must have {scene}"),
        ({"modalities": {"scene": {"files": "image/{scene}.tif"}}}, "is a column of the index"),
        ({"modalities": {"weather": {"files": "image/{scene}.tif"}}}, "values without pixels"),
        ({"modalities": {"image": {"files": "image/{scene}.tif", "kind": "category"}}}, "needs the names of its codes"),
        ({"modalities": {"s2": {"files": "image/{scene}.tif", "channels": ["B20"]}}}, "unknown channel 'B20'"),
        ({"modalities": {"image": {"files": "picture/{scene}.tif"}}}, r"no file is like picture/\{scene\}.tif"),
        ({"modalities": {"x": FIELDS}}, "with files is needed"),
        ({"root": "nowhere"}, "no such folder"),
        ({"modalities": {"image": {"files": "image/{scene}.tif", "dtype": "uint8", "nodata": -1}}}, "does not fit"),
        ({"modalities": {"m": {"files": "image/{scene}.tif", "nodata": 1, "categories": {1: "x"}}}}, "code of a categ"),
    ],
)
def test_wrong_specs_are_explained(scene, changes, message):
    with pytest.raises((UsageError, DataError), match=message):
        cut(spec_of(scene, image="image/{scene}.tif") | changes, scene / "out", size=10, workers=1)


def test_a_scene_smaller_than_a_patch_is_named(scene):
    with pytest.raises(DataError, match="scene a: 30 × 20 pixels are smaller than a patch of 21"):
        cut(spec_of(scene, image="image/{scene}.tif"), scene / "out", size=21, workers=1)


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        (square(0, 0, 5, crop="rice"), "its class 'rice' is not in the list"),
        (square(0, 0, 5, culture="wheat"), "has no property 'crop'"),
        (square(500, 500, 5, crop="wheat"), "no polygon lies in a scene"),
        ({"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [0, 0]}}, "is a Point"),
    ],
)
def test_polygons_that_are_not_what_they_should_be_are_named(scene, feature, message):
    write_polygons(scene / "fields.json", feature)
    with pytest.raises(DataError, match=message):
        bad(scene, fields=FIELDS)


@pytest.mark.parametrize(
    ("layer", "values", "message"),
    [
        ("s2", np.stack([numbered() + 1000] * 12), r"offset of 1000 .*add: \{a: -1000\}"),
        ("s1", np.stack([numbered()] * 2).astype("float32"), "not backscatter in decibels"),
    ],
)
def test_suspicious_values_are_told(scene, layer, values, message):
    write(scene / layer / "a.tif", values)
    done = cut(spec_of(scene, **{layer: f"{layer}/{{scene}}.tif"}), scene / "out", size=10, workers=1)
    assert len(done.warnings) == 1
    assert done.warnings[0].severity == "warning"
    assert re.search(message, str(done.warnings[0]))


@pytest.fixture(scope="module")
def terramesh(shared, tmp_path_factory):
    """The four real sites as patches of 64 pixels, by the spec that ships."""
    root = f"root={shared / 'realdata' / 'terramesh-4'}"
    return cut(RECIPE, tmp_path_factory.mktemp("terramesh") / "sites.store", size=64, overrides=[root], workers=1)


def test_the_real_sites_become_a_store(terramesh, shared):
    store = terramesh.store
    assert (len(store), terramesh.beyond_edge, terramesh.no_data) == (36, 28, 0)
    assert (terramesh.warped, terramesh.warnings) == ({}, ())
    assert store.index["scene"].value_counts().tolist() == [9, 9, 9, 9]
    with rasterio.open(shared / "realdata" / "terramesh-4" / "LULC" / "433D_629L_3_1.tif") as file:
        codes = file.read(1)
    patch = store.read("land_cover", [store.row_of("433D_629L_3_1_2_1")])[0, 0]
    np.testing.assert_array_equal(patch, codes[64:128, 128:192])


def test_the_real_classes_differ_from_site_to_site(terramesh):
    store, found = terramesh.store, {}
    for site, rows in store.index.groupby("scene").indices.items():
        found[site] = np.unique(store.read("land_cover", rows)).tolist()
    assert found == {
        "282D_485L_3_3": [1, 2, 6, 9],
        "38D_378R_2_3": [4, 9],
        "433D_629L_3_1": [1, 2, 3, 4, 5, 9],
        "609U_541L_3_0": [7],
    }


def test_the_offset_of_one_real_site_is_taken_off(terramesh):
    site = np.flatnonzero(terramesh.store.index["scene"] == "433D_629L_3_1")
    assert terramesh.store.read("s2", site).min() == 1


def test_four_folds_of_blocks_are_spread_over_every_real_site(terramesh):
    index = terramesh.store.index
    for fold in range(4):
        split = make_split(index, SplitOptions(protocol="blocks", folds=4, fold=fold))
        assert index["scene"].iloc[split.test].value_counts().min() >= 2
        assert leakage(index, split).adjacent == len(split.test)  # with 3 × 3 patches a site, there is no other way


def test_the_real_store_is_whole_and_can_be_looked_at(terramesh, tmp_path):
    assert terramesh.store.verify() == []
    assert show_patch(terramesh.store, "609U_541L_3_0_0_0", tmp_path / "patch.png")
    assert len(describe_store(terramesh.store).modalities) == 4


def test_every_key_of_the_spec_is_documented_and_the_example_is_valid():
    text = (RECIPE.parents[2] / "docs" / "scenes.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    specs = [parse_options(SceneSpec, parse_yaml(example)) for example in examples if "{scene}" in example]
    assert [spec.reference_name for spec in specs] == ["s2", "s2"]
    for group in (SceneSpec, SceneLayer, PolygonSpec):
        for key in group.model_fields:
            assert re.search(rf"`([^`]*\.)?{key}`", text), key

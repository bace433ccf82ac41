"""Boxes from class maps, COCO JSON and GeoJSON, and what becomes of them in a crop."""

import json

import numpy as np
import pandas as pd
import pyproj
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from eofuse.data.store import Window
from eofuse.data.targets.box_files import clip_boxes, pad_boxes, read_coco, read_shapes, regions
from eofuse.errors import DataError, UsageError

SIZE = (120, 120)
INDEX = pd.DataFrame(
    {
        "patch_id": ["patch_00_00", "patch_01_00", "patch_02_00", "elsewhere", "nowhere"],
        "crs": ["EPSG:32633", "EPSG:32633", "EPSG:32633", "EPSG:32634", None],
        "ulx": [500000.0, 501200.0, 502400.0, 300000.0, np.nan],
        "uly": [5800000.0, 5800000.0, 5800000.0, 5800000.0, np.nan],
        "grid_a": 10.0,
        "grid_b": 0.0,
        "grid_d": 0.0,
        "grid_e": -10.0,
        "grid_width": 120.0,
        "grid_height": 120.0,
    }
)


def write(folder, content):
    path = folder / "boxes.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def coco(*annotations, **changes):
    names = INDEX["patch_id"].to_list()[:2]
    content = {
        "images": [{"id": i, "file_name": f"images/{name}.tif"} for i, name in enumerate(names, 10)],
        "categories": [{"id": 7, "name": "pond"}, {"id": 3, "name": "house"}],
        "annotations": [
            {"id": i, "image_id": 10, "category_id": 3, "bbox": [10, 20, 30, 40], **each}
            for i, each in enumerate(annotations)
        ],
    }
    return {**content, **changes}


def polygon(*corners, **properties):
    x0, y0, x1, y1 = corners
    ring = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
    return {
        "type": "Feature",
        "properties": {"class": "house", **properties},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }


def collection(*features, **more):
    return {"type": "FeatureCollection", "features": list(features), **more}


def in_crs(name):
    return {"crs": {"type": "name", "properties": {"name": name}}}


# Regions of class maps


def test_regions_are_joined_at_corners_and_boxed_by_class():
    codes = np.zeros((8, 10), dtype=np.uint8)
    codes[1:3, 1:3] = 80
    codes[3, 3] = 80  # touches at a corner
    codes[6:8, 7:10] = 50  # cut by the edge
    assert regions(codes, [50, 80], 1).tolist() == [[7, 6, 10, 8, 0], [1, 1, 4, 4, 1]]


def test_regions_smaller_than_wanted_are_passed_over():
    codes = np.zeros((8, 8), dtype=np.uint8)
    codes[0, :3], codes[5, :4] = 80, 80
    assert regions(codes, [80], 4).tolist() == [[0, 5, 4, 6, 0]]


def test_a_map_without_the_class_has_no_boxes_in_the_right_shape():
    assert regions(np.zeros((8, 8), dtype=np.uint8), [80], 1).shape == (0, 5)


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.sampled_from([0.1, 0.3, 0.6]), st.integers(1, 6))
def test_every_large_enough_region_touches_the_sides_of_its_box(seed, share, smallest):
    codes = (np.random.default_rng(seed).random((14, 11)) < share).astype(np.uint8) * 80
    boxes = regions(codes, [80], smallest)
    labels, count = ndimage.label(codes, structure=np.ones((3, 3)))
    assert len(boxes) == sum((labels == label).sum() >= smallest for label in range(1, count + 1))
    for x0, y0, x1, y1, _ in boxes.astype(int).tolist():
        inside = labels[y0:y1, x0:x1]
        sides = set(inside[0]) & set(inside[-1]) & set(inside[:, 0]) & set(inside[:, -1])
        assert 0 <= x0 < x1 <= 11
        assert 0 <= y0 < y1 <= 14
        assert sides - {0}


# Crops


def test_boxes_move_with_the_crop_and_are_cut_to_it():
    boxes = np.array([[10, 10, 30, 30, 1], [0, 0, 20, 20, 0]], dtype=np.float32)
    assert clip_boxes(boxes, Window(10, 5, 15, 20)).tolist() == [[5, 0, 20, 15, 1], [0, 0, 15, 10, 0]]


@pytest.mark.parametrize(
    ("box", "kept"),
    [((5, 5, 15, 25), True), ((2, 10, 12.4, 20), False), ((9.5, 10, 10.9, 20), False), ((10, 10, 11, 11), True)],
    ids=["half is left", "less than a quarter is left", "less than a pixel is left", "a pixel is enough"],
)
def test_a_box_of_which_too_little_is_left_is_dropped(box, kept):
    assert len(clip_boxes(np.array([[*box, 0]]), Window(10, 10, 50, 50))) == kept


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(0, 20), st.integers(0, 20))
def test_boxes_in_a_crop_hold_the_pixels_that_they_held(seed, top, left):
    generator = np.random.default_rng(seed)
    codes = np.zeros((40, 40), dtype=np.int64)
    x0, y0 = generator.integers(0, 30, 2)
    x1, y1 = x0 + generator.integers(1, 10), y0 + generator.integers(1, 10)
    codes[y0:y1, x0:x1] = 1
    window = Window(top, left, 20, 20)
    cropped = codes[top : top + 20, left : left + 20]
    for a, b, c, d, number in clip_boxes(np.array([[x0, y0, x1, y1, 4]]), window).astype(int).tolist():
        assert number == 4
        assert cropped[b:d, a:c].all()
        assert cropped.sum() == (c - a) * (d - b)


def test_a_batch_is_filled_up_and_tells_empty_from_unknown():
    batch = pad_boxes([np.array([[1, 2, 3, 4, 0], [5, 6, 7, 8, 1]]), np.zeros((0, 5)), None])
    assert batch.shape == (3, 2, 5)
    assert batch.dtype == np.float32
    assert batch[..., 4].tolist() == [[0, 1], [-1, -1], [-2, -2]]
    assert pad_boxes([np.zeros((0, 5))]).shape == (1, 1, 5)


# COCO JSON


def test_coco_boxes_get_corners_and_numbers_and_patches_are_empty_or_unknown(tmp_path):
    boxes = read_coco(write(tmp_path, coco({}, {"category_id": 7, "bbox": [0, 0, 5.5, 6]})), INDEX, SIZE)
    assert boxes.classes == ("pond", "house")
    assert boxes.by_row[0].tolist() == [[10, 20, 40, 60, 1], [0, 0, 5.5, 6, 0]]
    assert boxes.by_row[1].shape == (0, 5)
    assert boxes.by_row[2:] == (None, None, None)


def test_coco_images_are_found_by_patch_id_first(tmp_path):
    content = coco({}, images=[{"id": 10, "file_name": "1.png", "patch_id": "elsewhere"}])
    assert len(read_coco(write(tmp_path, content), INDEX, SIZE).by_row[3]) == 1


def test_coco_crowds_and_boxes_outside_are_left_out_and_counted(tmp_path):
    content = coco({"iscrowd": 1}, {"bbox": [200, 0, 10, 10]}, {"bbox": [5, 5, 0, 9]}, {"bbox": [110, 110, 20, 20]})
    boxes = read_coco(write(tmp_path, content), INDEX, SIZE)
    assert (boxes.crowds, boxes.dropped) == (1, 2)
    assert boxes.by_row[0].tolist() == [[110, 110, 120, 120, 1]]


def test_coco_images_that_a_subset_lacks_are_left_out_and_counted(tmp_path):
    content = coco({}, {"image_id": 12}, {"image_id": 12, "iscrowd": 1})
    content["images"].append({"id": 12, "file_name": "far_away.tif", "height": 9, "width": 9})
    boxes = read_coco(write(tmp_path, content), INDEX, SIZE)
    assert (boxes.absent, boxes.crowds, boxes.dropped) == (1, 0, 0)
    assert [None if each is None else len(each) for each in boxes.by_row] == [1, 0, None, None, None]


def test_geojson_patches_that_a_subset_lacks_are_left_out_and_counted(tmp_path):
    features = [polygon(0, 0, 9, 9, patch_id=name) for name in ("elsewhere", "far_away", "far_away")]
    boxes = read_shapes(write(tmp_path, collection(*features)), INDEX, SIZE)
    assert (boxes.absent, boxes.dropped) == (1, 0)
    assert [len(each) for each in boxes.by_row] == [0, 0, 0, 1, 0]


def test_a_byte_order_mark_is_no_content(tmp_path):
    path = write(tmp_path, coco({}))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_coco(path, INDEX, SIZE).by_row[0]) == 1


def test_coco_classes_can_be_chosen_and_ordered(tmp_path):
    path = write(tmp_path, coco({}, {"category_id": 7}))
    assert read_coco(path, INDEX, SIZE, ["house"]).by_row[0][:, 4].tolist() == [0]
    with pytest.raises(UsageError, match="did you mean 'house'"):
        read_coco(path, INDEX, SIZE, ["houses"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "no JSON object"),
        ("[" * 100_000, "not valid JSON"),
        ({"images": []}, "'annotations' is no list"),
        (coco({"bbox": [1, 2, 3]}), "annotation 0: the bounding box is not 4 numbers"),
        (coco({"bbox": [1, 2, float("nan"), 3]}), "not 4 numbers"),
        (coco({"bbox": [1, 2, "3", 3]}), "not 4 numbers"),
        (coco({}, {"bbox": [1, 2, -3, 3]}), "annotation 1: the bounding box has the negative size"),
        (coco({"category_id": 9}), "no category 9"),
        (coco({"image_id": [4]}), "no image"),
        (coco(images=[{"id": 1, "file_name": "patch_00_0.tif"}]), "did you mean 'patch_00_00'"),
        (coco(images=[{"id": 1, "file_name": "elsewhere.tif", "height": 64, "width": 64}]), "64 × 64 pixels"),
        (coco(images=[{"id": 1, "file_name": "elsewhere"}, {"id": 1, "file_name": "nowhere"}]), "two images"),
        (coco(images=[{"file_name": "elsewhere"}]), "no 'id'"),
    ],
)
def test_a_wrong_coco_file_is_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_coco(write(tmp_path, content), INDEX, SIZE)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="can't be read"):
        read_coco(tmp_path / "none.json", INDEX, SIZE)


# GeoJSON


def test_geojson_in_pixels_of_named_patches(tmp_path):
    features = [polygon(1, 2, 30, 40, patch_id="patch_01_00"), polygon(5, 5, 9, 9, patch_id="elsewhere", kind="pond")]
    features[1]["properties"]["class"] = "pond"
    boxes = read_shapes(write(tmp_path, collection(*features)), INDEX, SIZE)
    assert boxes.classes == ("house", "pond")
    assert boxes.by_row[1].tolist() == [[1, 2, 30, 40, 0]]
    assert boxes.by_row[3].tolist() == [[5, 5, 9, 9, 1]]
    assert [len(each) for each in boxes.by_row] == [0, 1, 0, 1, 0]


def test_geojson_patches_without_features_can_be_unknown(tmp_path):
    looked_at = {"type": "Feature", "properties": {"patch_id": "elsewhere"}, "geometry": None}
    path = write(tmp_path, collection(polygon(1, 2, 30, 40, patch_id="patch_01_00"), looked_at))
    boxes = read_shapes(path, INDEX, SIZE, others_are_empty=False)
    assert [each is None for each in boxes.by_row] == [True, False, True, False, True]


def test_geojson_on_the_map_in_its_own_crs(tmp_path):
    feature = polygon(500100, 5799500, 500300, 5799900)
    boxes = read_shapes(write(tmp_path, collection(feature, **in_crs("urn:ogc:def:crs:EPSG::32633"))), INDEX, SIZE)
    assert boxes.by_row[0].tolist() == [[10, 10, 30, 50, 0]]
    assert [None if each is None else len(each) for each in boxes.by_row] == [1, 0, 0, 0, None]


def test_geojson_patches_that_no_feature_meets_on_the_map_can_be_unknown(tmp_path):
    path = write(tmp_path, collection(polygon(500100, 5799500, 500300, 5799900), **in_crs("EPSG:32633")))
    found = read_shapes(path, INDEX, SIZE, others_are_empty=False).by_row
    assert [each is None for each in found] == [False, True, True, True, True]


def test_geojson_classes_can_be_chosen_and_the_rest_is_left_out(tmp_path):
    features = [polygon(0, 0, 9, 9, patch_id="elsewhere"), polygon(9, 9, 20, 20, patch_id="nowhere")]
    features[0]["properties"]["class"] = "pond"
    boxes = read_shapes(write(tmp_path, collection(*features)), INDEX, SIZE, classes=["house"])
    assert [len(each) for each in boxes.by_row] == [0, 0, 0, 0, 1]


def test_a_polygon_across_patches_is_shared_between_them(tmp_path):
    feature = polygon(501000, 5799900, 501500, 5800000)
    boxes = read_shapes(write(tmp_path, collection(feature, **in_crs("EPSG:32633"))), INDEX, SIZE)
    assert boxes.by_row[0].tolist() == [[100, 0, 120, 10, 0]]
    assert boxes.by_row[1].tolist() == [[0, 0, 30, 10, 0]]


@pytest.mark.parametrize("ulx", [179.995, -180.005], ids=["from the west", "from the east"])
@pytest.mark.parametrize("west", [179.9965, 180.0015, -179.9985, -180.0035])
def test_geojson_boxes_lie_in_patches_across_the_antimeridian(tmp_path, ulx, west):
    grid = {"crs": "EPSG:4326", "ulx": ulx, "uly": 60.0, "grid_a": 1e-4, "grid_e": -1e-4}
    boxes = read_shapes(
        write(tmp_path, collection(polygon(west, 59.999, west + 0.001, 59.9995))), INDEX.assign(**grid), SIZE
    ).by_row
    left = round(((west - ulx) % 360) / 1e-4)
    np.testing.assert_allclose(boxes[0], [[left, 5, left + 10, 10, 0]], atol=1e-3)


@pytest.mark.parametrize("row", [0, 3], ids=["zone 33", "zone 34"])
def test_geojson_longitudes_and_latitudes_are_brought_to_each_patch(tmp_path, row):
    crs, left, top = INDEX.loc[row, ["crs", "ulx", "uly"]]
    to_degrees = pyproj.Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    corners = [(left + 400, top - 300), (left + 700, top - 300), (left + 700, top - 500), (left + 400, top - 500)]
    feature = polygon(0, 0, 1, 1)
    feature["geometry"] = {
        "type": "MultiPolygon",
        "coordinates": [[[list(to_degrees.transform(*corner)) for corner in corners]]],
    }
    found = read_shapes(write(tmp_path, collection(feature)), INDEX, SIZE).by_row
    np.testing.assert_allclose(found[row], [[40, 30, 70, 50, 0]], atol=1e-3)
    assert sum(len(each) for each in found if each is not None) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"type": "Feature"}, "no GeoJSON feature collection"),
        (collection(polygon(0, 0, 1, 1, patch_id="elsewher")), "did you mean 'elsewhere'"),
        (collection(polygon(0, 0, 9, 9, **{"class": None})), "feature 0: has no property 'class'"),
        (collection(polygon(0, 0, 9, 9), **in_crs("EPSG:99999")), "unknown coordinate system 'EPSG:99999'"),
        (collection(polygon(0, 0, 9, 9), **in_crs("+proj=utm")), "unknown coordinate system"),
        (collection(polygon(0, 0, 9, 9), crs=None), "unknown coordinate system"),
        (collection(polygon(500100, 5799500, 500300, 5799900)), "no polygon lies in any patch.*taken as OGC:CRS84"),
        (collection(polygon(13.1, 52.1, 13.2, 52.2, patch_id="elsewhere")), "taken as pixels of the patch"),
        (
            collection(polygon(1, 1, 9, 9, patch_id="elsewhere"), polygon(1, 1, 9, 9)),
            "feature 1: has no property 'patch_id'",
        ),
        (
            collection({**polygon(0, 0, 1, 1), "geometry": {"type": "Point", "coordinates": [0, 0]}}),
            "feature 0: is a Point, not a polygon",
        ),
        (
            collection({**polygon(0, 0, 1, 1), "geometry": {"type": "Polygon", "coordinates": [[["a", 0]]]}}),
            "its coordinates can't be used",
        ),
    ],
)
def test_a_wrong_geojson_file_is_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message.replace("+", r"\+")):
        read_shapes(write(tmp_path, content), INDEX, SIZE)


def test_a_class_property_of_another_name_is_suggested(tmp_path):
    path = write(tmp_path, collection(polygon(0, 0, 9, 9)))
    with pytest.raises(DataError, match="did you mean 'class'"):
        read_shapes(path, INDEX, SIZE, class_property="clas")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**63) | st.floats() | st.text(max_size=3) | st.just("P0"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.data())
def test_any_values_in_coco_are_boxes_or_an_error(tmp_path_factory, data):
    content = {
        "images": [{"id": 1, "file_name": "P0.tif"}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
    }
    part = data.draw(st.sampled_from(sorted(content)))
    key = data.draw(st.sampled_from(sorted(content[part][0])))
    content[part][0][key] = data.draw(ANYTHING)
    read_any(read_coco, content, tmp_path_factory)


@settings(deadline=None)
@given(ANYTHING, st.sampled_from(["geometry", "properties", "features", "crs"]))
def test_any_values_in_geojson_are_boxes_or_an_error(tmp_path_factory, value, key):
    ring = [[1, 1], [9, 1], [9, 9], [1, 1]]
    feature = {"properties": {"patch_id": "P0", "class": "a"}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    content = {"type": "FeatureCollection", "features": [feature]}
    (feature if key in feature else content)[key] = value
    read_any(read_shapes, content, tmp_path_factory)


def read_any(read, content, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(content))
    try:
        found = read(path, pd.DataFrame({"patch_id": ["P0"]}), (16, 16))
    except (DataError, UsageError):
        return
    assert all(each is None or np.isfinite(each).all() for each in found.by_row)

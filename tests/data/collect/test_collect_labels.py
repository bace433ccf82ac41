"""What labels make of patches: classes, masks of polygons and points, boxes, cells of a grid, and groups for splits."""

import json

import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from pyproj import Transformer
from rasterio.features import rasterize

from eofuse.data.collect.places import utm_zone
from eofuse.data.collect.run import collect
from eofuse.data.splits import SplitOptions, make_split
from eofuse.data.targets.box_files import read_shapes
from eofuse.data.targets.maps import raster_target
from eofuse.errors import DataError, UsageError
from scene_archive import CORNER, degrees

X, Y = CORNER
FIELDS = [  # west, south, east, north in metres from where the tiles meet
    ("wheat", 200, 200, 400, 500),
    ("maize", 430, 210, 700, 400),
    ("wheat", -900, -500, -700, -300),
]


def write_shapes(path, shapes, **more):
    """GeoJSON of (properties, geometry in EPSG:32633)."""
    change = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    features = []
    for number, (properties, geometry) in enumerate(shapes):
        there = shapely.transform(geometry, lambda places: np.stack(change.transform(*places.T), axis=1))
        values = properties | {key: each[number] for key, each in more.items()}
        features.append({"type": "Feature", "properties": values, "geometry": shapely.geometry.mapping(there)})
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.fixture
def fields(tmp_path):
    shapes = [({"crop": crop}, shapely.box(X + w, Y + s, X + e, Y + n)) for crop, w, s, e, n in FIELDS]
    return write_shapes(tmp_path / "fields.geojson", shapes, name=["a", "b", "c"])


def collect_labels(archive, tmp_path, labels, size=32, **more):
    elevation = {"stac": str(archive.path), "collection": "dem"}
    spec = {"name": "f", "labels": labels, "patch": {"size": size}, "modalities": {"elevation": elevation}, **more}
    return collect(spec, tmp_path / "f.store").store


def test_polygons_give_the_class_of_the_patch_around_their_centroid(archive, fields, tmp_path):
    store = collect_labels(archive, tmp_path, {"file": str(fields), "property": "crop", "id": "name"})
    index = store.index.set_index("patch_id")
    assert index["crop"].to_dict() == {"a": "wheat", "b": "maize", "c": "wheat"}
    assert (index.loc["a", "ulx"], index.loc["a", "uly"]) == (X + 300 - 160, Y + 350 + 160)
    assert store.provenance["labels"] == {"crop": "class"}


def test_patches_that_overlap_are_never_torn_apart(archive, fields, tmp_path):
    store = collect_labels(archive, tmp_path, {"file": str(fields), "property": "crop", "group": "name", "id": "name"})
    scenes = store.index.set_index("patch_id")["scene"]
    assert scenes["a"] == scenes["b"] == "a"  # their patches overlap
    assert scenes["c"] == "c"
    with pytest.raises(DataError, match="no validation patch"):
        make_split(store.index, SplitOptions(protocol="scene"))


def test_polygons_become_masks(archive, fields, tmp_path):
    store = collect_labels(archive, tmp_path, {"file": str(fields), "property": "crop", "as": "mask"})
    crop = store.modalities["crop"]
    assert {category.code: category.name for category in crop.categories} == {1: "maize", 2: "wheat"}
    assert crop.nodata == 0
    counts = np.zeros(3, dtype=int)
    for row, patch in store.index.iterrows():
        transform = rasterio.Affine(10, 0, patch["ulx"], 0, -10, patch["uly"])
        shapes = [(shapely.box(X + w, Y + s, X + e, Y + n), {"maize": 1, "wheat": 2}[c]) for c, w, s, e, n in FIELDS]
        expected = rasterize(shapes, out_shape=(32, 32), transform=transform, fill=0)
        found = store.read("crop", [row])[0, 0]
        assert np.array_equal(found, expected)
        counts += np.bincount(found.ravel(), minlength=3)
    assert counts[1] == 27 * 19
    assert counts[2] == 20 * 30 + 20 * 20
    assert "crop" not in store.index.columns
    corners = store.index[["ulx", "uly"]].drop_duplicates()
    assert len(corners) == len(store)
    assert (corners % 320 == 0).all().all()  # cells side by side


def test_points_become_sparse_masks_that_segmentation_learns_from(archive, tmp_path):
    points = [("wheat", 105, 105), ("maize", 125, 105), ("wheat", 1000, 1000)]
    shapes = [({"crop": crop}, shapely.Point(X + x, Y + y)) for crop, x, y in points]
    path = write_shapes(tmp_path / "points.geojson", shapes)
    store = collect_labels(archive, tmp_path, {"file": str(path), "property": "crop", "as": "mask"})
    masks = store.read("crop", range(len(store)))
    assert len(store) == 2
    assert (masks != 0).sum() == 3
    assert sorted(store.index["nodata.crop"]) == pytest.approx([1 - 2 / 1024, 1 - 1 / 1024])
    numbers = raster_target(store, store.modalities["crop"]).read(np.arange(len(store)))
    assert (numbers != 255).sum() == 3  # what is unlabelled is ignored


def test_a_background_and_listed_classes(archive, fields, tmp_path):
    labels = {"file": str(fields), "property": "crop", "as": "mask", "background": "other"}
    labels["categories"] = {1: "other", 5: {"name": "wheat", "colour": "#ff0000"}, 6: "maize"}
    store = collect_labels(archive, tmp_path, labels)
    assert set(np.unique(store.read("crop", range(len(store))))) == {1, 5, 6}
    labels["categories"] = {1: "other", 5: "wheat"}
    with pytest.raises(DataError, match=r"feature 1: its class 'maize' is not in labels.categories"):
        collect_labels(archive, tmp_path / "b", labels)


def test_patches_around_boxes_have_no_label_of_their_own(archive, fields, tmp_path):
    store = collect_labels(archive, tmp_path, {"file": str(fields), "property": "crop", "as": "boxes"})
    assert set(store.modalities) == {"elevation"}
    assert not {"crop"} & set(store.index.columns)
    boxes = read_shapes(fields, store.index, store.patch_size, "crop", None)
    assert sum(len(each) for each in boxes.by_row if each is not None) >= 3


def test_a_grid_covers_a_region_with_patches_side_by_side(archive, tmp_path):
    west, south = degrees("EPSG:32633", X - 630, Y - 630)
    east, north = degrees("EPSG:32633", X + 630, Y + 630)
    store = collect_labels(archive, tmp_path, {"grid": [west, south, east, north]}, size=64)
    corners = store.index[["ulx", "uly"]].drop_duplicates()
    assert len(corners) == len(store) >= 4
    assert (corners % 640 == 0).all().all()


def test_series_and_cells_keep_the_dates_of_labels_apart(archive, tmp_path):
    shapes = [({"crop": "wheat", "day": day}, shapely.Point(X + 105, Y + 105)) for day in ("2023-07-01", "2022-07-01")]
    path = write_shapes(tmp_path / "points.geojson", shapes)
    labels = {"file": str(path), "property": "crop", "as": "mask"}
    spec = {"elevation": {"stac": str(archive.path), "collection": "dem", "time": {"column": "day", "within": 3000}}}
    store = collect_labels(archive, tmp_path, labels, modalities=spec)
    assert sorted(store.index["time"]) == ["2022-07-01T00:00:00", "2023-07-01T00:00:00"]
    assert ((store.read("crop", [0, 1]) != 0).sum(axis=(1, 2, 3)) == 1).all()


@pytest.mark.parametrize(
    ("lon", "lat", "zone"),
    [
        (9, 48, 32632),
        (-179.9, -17, 32701),
        (180, -17, 32701),
        (5, 60, 32632),
        (8, 75, 32631),
        (20, 79, 32633),
        (10, -85, 32761),
    ],
)
def test_zones_of_utm(lon, lat, zone):
    assert utm_zone(lon, lat) == f"EPSG:{zone}"


WRONG = {
    "lon,lat,crop\n10,95,a": "row 1: longitude 10 and latitude 95 are no place on the Earth",
    "lon,lat,crop\n1.5,48,a\n48,120.5,a": "row 2: longitude 48 and latitude 120.5 are no place .* seem to be swapped",
    "lon,lat,crop\n402000,4997000,a": "row 1: longitude 402000 and latitude 4.997e.* if they are metres, name",
    "lon,lat,crop\n13.7,x,a": "row 1: 13.7 and 'x' in lon and lat are no place",
    "x1,y1,crop\n13.7,45.1,a": "no columns of longitude and latitude are recognised; name them as labels.lon and labels.lat",
    "id,lon,lat,crop\na,13.7,45.1,w\na,13.8,45.1,w": "row 2: has the id 'a', as has row 1; give each label its own",
    "lon,lat,crop\n13.7,45.1,w\n13.7,45.1,m": "row 2: has the place of row 1, and is 'm' where that is 'w'",
    "lon,lat,crop\n13.7,45.1,": "no label has a value of 'crop'",
    "lon,lat,krop\n13.7,45.1,w": "has no property 'crop' \\(labels.property\\); did you mean 'krop'",
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text.splitlines()[-1])
def test_what_is_wrong_with_labels_is_said_of_the_record(text, archive, tmp_path):
    (tmp_path / "p.csv").write_text(text)
    wanted = {"file": str(tmp_path / "p.csv"), "property": "crop"} | ({"id": "id"} if text.startswith("id") else {})
    with pytest.raises(DataError, match=WRONG[text]):
        collect_labels(archive, tmp_path, wanted)


TIMES = {
    "2023-07-01T10:00:00Z\n13.8,45.1,2023-07-01T10:00:00": "row 2: has a time without a time zone, and row 1 has one",
    "01.07.2023": "row 1, day: '01.07.2023' is no date; write it as 2024-06-30",
    "2023-07-01\n13.8,45.1,": "row 2, day: has no date",
}


@pytest.mark.parametrize("text", TIMES, ids=lambda text: text.splitlines()[-1])
def test_what_is_wrong_with_dates_is_said_of_the_record(text, archive, tmp_path):
    (tmp_path / "p.csv").write_text(f"lon,lat,day\n13.7,45.1,{text}")
    with pytest.raises(DataError, match=TIMES[text]):
        collect_labels(archive, tmp_path, {"file": str(tmp_path / "p.csv")}, time={"column": "day", "within": 10})


def test_labels_that_repeat_another_are_left_out_with_a_note(archive, tmp_path):
    (tmp_path / "p.csv").write_text("lon,lat,crop\n13.7562,45.1269,w\n13.7562,45.1269,w\n13.7563,45.1269,")
    elevation = {"stac": str(archive.path), "collection": "dem"}
    labels = {"file": str(tmp_path / "p.csv"), "property": "crop"}
    done = collect(
        {"name": "f", "labels": labels, "patch": {"size": 8}, "modalities": {"elevation": elevation}},
        tmp_path / "f.store",
    )
    assert len(done.store) == 2
    assert done.notes == (
        "1 label repeat another with the same place, date and value, and are left out",
        "1 label of 2 without a value of 'crop'",
    )


def test_a_label_named_as_a_column_of_the_index_is_refused(archive, tmp_path):
    (tmp_path / "p.csv").write_text("lon,lat,scene\n13.7562,45.1269,w")
    with pytest.raises(UsageError, match="'scene' is the name of a column of the index"):
        collect_labels(archive, tmp_path, {"file": str(tmp_path / "p.csv"), "property": "scene"})


def test_numbers_are_labels_too(archive, tmp_path):
    table = pd.DataFrame({"lon": [13.7562, 13.75], "lat": [45.1269, 45.12], "yield": [3.5, 7.25]})
    table.to_csv(tmp_path / "p.csv", index=False)
    store = collect_labels(archive, tmp_path, {"file": str(tmp_path / "p.csv"), "property": "yield"}, size=8)
    assert store.provenance["labels"] == {"yield": "number"}
    assert sorted(store.index["yield"]) == [3.5, 7.25]

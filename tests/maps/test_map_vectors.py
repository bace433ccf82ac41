"""Shapes of a map: boxes and regions that lie over a border of windows or strips come out once."""

import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rasterio.crs import CRS
from scipy.ndimage import label
from shapely import from_wkb

from eofuse.data.reading.grid import Grid
from eofuse.maps import vectors
from eofuse.maps.vectors import boxes_once, write_boxes, write_regions

GRID = Grid(CRS.from_epsg(32633), Affine(10, 0, 500_000, 0, -10, 5_000_000), 40, 30)
UNITS = Grid(GRID.crs, Affine(10, 0, 500_000, 0, -10, 5_000_000), 1, 1)


def box(x0, y0, x1, y1, score, number=0):
    return {"target": "tank", "pixels": [x0, y0, x1, y1], "score": score, "class": number}


def test_a_box_that_two_windows_found_counts_once_and_the_better_one():
    found = boxes_once([box(0, 0, 10, 10, 0.6), box(1, 0, 11, 10, 0.8), box(30, 0, 40, 10, 0.7)])
    assert [each["score"] for each in found] == [0.8, 0.7]


def test_a_part_of_a_box_that_a_window_cut_does_not_count_beside_the_whole():
    assert len(boxes_once([box(0, 0, 20, 20, 0.9), box(0, 0, 5, 20, 0.5)])) == 1


def test_boxes_of_two_classes_do_not_hide_each_other():
    assert len(boxes_once([box(0, 0, 10, 10, 0.6), box(0, 0, 10, 10, 0.8, 1)])) == 2


def test_boxes_are_written_where_they_lie(tmp_path):
    assert write_boxes(tmp_path / "boxes.gpkg", "tank", [box(1, 2, 4, 6, 0.75, 1)], ("round", "square"), GRID) == 1
    meta, _, geometry, fields = pyogrio.raw.read(tmp_path / "boxes.gpkg")
    assert from_wkb(geometry[0]).bounds == (500_010, 4_999_940, 500_040, 4_999_980)
    assert dict(zip(meta["fields"], (field[0] for field in fields), strict=True)) == {"class": "square", "score": 0.75}
    assert CRS.from_user_input(meta["crs"]) == GRID.crs


@settings(max_examples=30)
@given(arrays(np.uint8, (12, 9), elements=st.sampled_from([1, 2, 255])), st.integers(1, 12))
def test_regions_do_not_depend_on_strips(tmp_path_factory, codes, strip):
    folder = tmp_path_factory.mktemp("regions")
    grid = Grid(GRID.crs, GRID.transform, 9, 12)
    profile = {"driver": "GTiff", "width": 9, "height": 12, "count": 1, "dtype": "uint8", "nodata": 255}
    with rasterio.open(folder / "map.tif", "w", crs=grid.crs, transform=grid.transform, **profile) as file:
        file.write(codes, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "STRIP", strip)
        count = write_regions(folder / "regions.gpkg", "cover", folder / "map.tif", {1: "one", 2: "two"}, grid)
    expected = sum(label(codes == code)[1] for code in (1, 2))
    assert count == expected
    if count:
        _, _, geometry, fields = pyogrio.raw.read(folder / "regions.gpkg")
        for code in (1, 2):
            own = fields[0] == code
            assert sum(region.area for region in from_wkb(geometry[own])) == 100 * (codes == code).sum()
            assert fields[2][own].sum() == (codes == code).sum()

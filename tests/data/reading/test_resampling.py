"""Bringing pixels to another grid: areas, majorities, missing pixels, the antimeridian, borders of zones."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform
from scipy.ndimage import map_coordinates

from eofuse.data.reading.grid import Grid
from eofuse.data.reading.resampling import (
    FileWindow,
    choose_method,
    file_parts,
    file_window,
    pixels_per_pixel,
    resample,
)
from eofuse.errors import DataError

UTM = CRS.from_epsg(32632)
GEOGRAPHIC = CRS.from_epsg(4326)


def grid(pixel, width, height, *, west=500_000.0, north=5_200_000.0, crs=UTM):
    return Grid(crs, Affine(pixel, 0, west, 0, -pixel, north), width, height)


def brought(values, file, target, method):
    """A whole file, (height, width), on a grid."""
    window = file_window(file, target)
    read = np.full((1, window.height, window.width), np.nan)
    for column, start, width in file_parts(file, window):
        read[0, :, start : start + width] = values[window.top : window.top + window.height, column : column + width]
    return resample(read, file, window, target, method, "a file")[0]


def areas(file, target):
    """(pixels of the target, pixels of the file): the area that they share, for grids of one system."""
    along = []
    for axis, (size, count) in enumerate(((file.width, target.width), (file.height, target.height))):
        step = (file.transform.a, -file.transform.e)[axis], (target.transform.a, -target.transform.e)[axis]
        start = (target.transform.c - file.transform.c, file.transform.f - target.transform.f)[axis]
        begin, edges = np.arange(size) * step[0], start + np.arange(count) * step[1]
        shared = np.minimum(begin + step[0], edges[:, None] + step[1]) - np.maximum(begin, edges[:, None])
        along.append(np.clip(shared, 0, None))
    return np.einsum("xc,yr->yxrc", along[0], along[1]).reshape(target.width * target.height, -1)


@pytest.mark.parametrize(
    ("pixel", "categorical", "expected"),
    [
        (10.0, False, "bilinear"),
        (7.0, False, "bilinear"),
        (6.7, False, "bilinear"),
        (20 / 3, False, "average"),
        (5.0, False, "average"),
        (20.0, False, "bilinear"),
        (7.0, True, "nearest"),
        (5.0, True, "mode"),
    ],
)
def test_from_one_and_a_half_pixels_on_numbers_are_averaged_and_classes_decided_by_majority(
    pixel, categorical, expected
):
    assert choose_method(grid(pixel, 100, 100), grid(10.0, 8, 8), categorical=categorical) == expected


def test_one_coarser_axis_is_enough():
    file = Grid(UTM, Affine(10, 0, 500_000, 0, -5, 5_200_000), 100, 200)
    assert pixels_per_pixel(file, grid(10.0, 8, 8)) == pytest.approx((1, 2))
    assert choose_method(file, grid(10.0, 8, 8), categorical=True) == "mode"


def test_the_wanted_method_comes_first():
    assert choose_method(grid(5.0, 9, 9), grid(10.0, 4, 4), categorical=False, wanted="cubic") == "cubic"


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 99),
    factor=st.sampled_from([1.5, 2.0, 2.7, 3.0, 5.0]),
    shift=st.tuples(st.floats(0, 4), st.floats(0, 4)),
    share=st.sampled_from([0.0, 0.3]),
)
def test_averages_and_majorities_go_by_area_without_missing_pixels(seed, factor, shift, share):
    random = np.random.default_rng(seed)
    file = grid(1.0, 24, 24)
    target = grid(factor, 3, 2, west=500_000.0 + shift[0], north=5_200_000.0 - shift[1])
    missing = random.random((24, 24)) < share
    weights = areas(file, target) * ~missing.ravel()
    numbers, codes = random.normal(size=(24, 24)), random.integers(1, 5, (24, 24)).astype(float)
    average = brought(np.where(missing, np.nan, numbers), file, target, "average").ravel()
    valid = weights.sum(axis=1) > 1e-6
    expected = (weights @ numbers.ravel())[valid] / weights.sum(axis=1)[valid]
    np.testing.assert_allclose(average[valid], expected, atol=1e-6)
    shares = np.stack([weights @ (codes.ravel() == code) for code in range(1, 5)])
    majority = brought(np.where(missing, np.nan, codes), file, target, "mode").ravel()
    clear = valid & (np.diff(np.sort(shares, axis=0)[-2:], axis=0)[0] > 1e-6)
    np.testing.assert_array_equal(majority[clear], shares.argmax(axis=0)[clear] + 1)


def test_a_class_that_is_nowhere_the_majority_is_nowhere():
    codes = np.ones((12, 12))
    codes[::3, ::3] = 2  # 11 % of the pixels, and those that nearest would take
    assert (brought(codes, grid(10.0, 12, 12), grid(30.0, 4, 4), "mode") == 1).all()


def test_of_two_equal_majorities_the_smaller_code_is_taken():
    codes = np.tile([2.0, 1.0], (4, 2))
    assert (brought(codes, grid(10.0, 4, 4), grid(20.0, 2, 2), "mode") == 1).all()


def test_where_all_pixels_are_missing_nothing_is_there():
    values = np.ones((6, 6))
    values[:2, :2] = np.nan
    found = brought(values, grid(10.0, 6, 6), grid(20.0, 3, 3), "average")
    assert np.argwhere(np.isnan(found)).tolist() == [[0, 0]]


def test_a_mode_of_measurements_is_refused():
    values = np.arange(900.0).reshape(30, 30)
    with pytest.raises(DataError, match="900 different values: no class map"):
        brought(values, grid(10.0, 30, 30), grid(20.0, 15, 15), "mode")


@pytest.mark.parametrize("west", [-180.0, 0.0, 170.0, -190.0])
@pytest.mark.parametrize("code", [32660, 32601])
def test_across_the_antimeridian_every_pixel_has_its_longitude(west, code):
    width = 3600 if west in (-180.0, 0.0) else 200
    file = grid(0.1, width, 40, west=west, north=-15.0, crs=GEOGRAPHIC)
    longitudes = west + 0.1 * (np.arange(width) + 0.5)
    (x,), (y,) = transform("EPSG:4326", f"EPSG:{code}", [180.0], [-17.0])
    target = grid(10_000.0, 12, 12, west=x - 60_000, north=y + 60_000, crs=CRS.from_epsg(code))
    unit = np.tile(np.cos(np.radians(longitudes)), (40, 1)), np.tile(np.sin(np.radians(longitudes)), (40, 1))
    found = [brought(each, file, target, "bilinear") for each in unit]
    columns, rows = np.meshgrid(np.arange(12) + 0.5, np.arange(12) + 0.5)
    xs, ys = x - 60_000 + 10_000 * columns.ravel(), y + 60_000 - 10_000 * rows.ravel()
    expected = np.radians(transform(f"EPSG:{code}", "EPSG:4326", xs, ys)[0]).reshape(12, 12)
    np.testing.assert_allclose(np.stack(found), np.stack([np.cos(expected), np.sin(expected)]), atol=1e-3)


def test_longitudes_from_0_to_360_serve_a_grid_west_of_greenwich():
    file = grid(0.5, 720, 360, west=0.0, north=90.0, crs=GEOGRAPHIC)
    target = grid(0.5, 4, 4, west=-10.0, north=50.0, crs=GEOGRAPHIC)
    values = np.tile(0.5 * (np.arange(720) + 0.5), (360, 1))
    np.testing.assert_allclose(brought(values, file, target, "nearest")[0], [350.25, 350.75, 351.25, 351.75])


def test_across_the_border_of_two_zones_every_pixel_has_its_place():
    (x,), (y,) = transform("EPSG:4326", "EPSG:32632", [12.0], [47.0])
    target = grid(1_000.0, 10, 10, west=x - 5_000, north=y + 5_000)
    (east,), (north,) = transform("EPSG:4326", "EPSG:32633", [12.0], [47.0])
    file = grid(1_000.0, 40, 40, west=east - 20_000, north=north + 20_000, crs=CRS.from_epsg(32633))
    eastings = np.tile(east - 20_000 + 1_000 * (np.arange(40) + 0.5), (40, 1))
    columns, rows = np.meshgrid(np.arange(10) + 0.5, np.arange(10) + 0.5)
    xs, ys = x - 5_000 + 1_000 * columns.ravel(), y + 5_000 - 1_000 * rows.ravel()
    expected = np.reshape(transform("EPSG:32632", "EPSG:32633", xs, ys)[0], (10, 10))
    np.testing.assert_allclose(brought(eastings, file, target, "bilinear"), expected, atol=15)


@pytest.mark.parametrize(("width", "height"), [(12, 12), (400, 30)])
def test_between_zones_values_are_interpolated_and_not_blurred_whatever_the_window(width, height):
    """GDAL's own choice of a kernel blurs what is turned, here by four degrees, and more in wide windows than in square ones."""
    (east,), (north,) = transform(UTM, "EPSG:32633", [780_000.0], [5_200_000.0])
    file = grid(10.0, 600, 300, west=east - 1_000, north=north + 1_000, crs=CRS.from_epsg(32633))
    target = grid(10.0, width, height, west=780_000.0)
    noise = np.random.default_rng(0).normal(size=(300, 600))
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    xs, ys = transform(UTM, "EPSG:32633", *(each.ravel() for each in target.place_of(columns, rows)))
    places = [(file.transform.f - np.array(ys)) / 10 - 0.5, (np.array(xs) - file.transform.c) / 10 - 0.5]
    expected = map_coordinates(noise, places, order=1).reshape(height, width)
    np.testing.assert_allclose(brought(noise, file, target, "bilinear"), expected, atol=0.1)


def shifts():
    """Metres, a quarter beside whole ones: no centre of a pixel lies on the rim of the file, where GDAL rounds its own way."""
    return st.integers(-300, 300).map(lambda metres: metres + 0.25)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 99),
    ratio=st.sampled_from([1.0, 1.3, 2.0, 3.0, 6.0]),
    shift=st.tuples(shifts(), shifts()),
    shape=st.tuples(st.integers(2, 9), st.integers(2, 9)),
)
def test_coarser_pixels_on_the_same_axes_become_what_gdal_makes_of_them(seed, ratio, shift, shape):
    file = grid(10 * ratio, shape[1], shape[0], west=500_000.0 + shift[0], north=5_200_000.0 + shift[1])
    target, values = grid(10.0, 14, 12), np.random.default_rng(seed).uniform(0, 1, (1, *shape))
    by_gdal = np.full((1, 12, 14), np.nan)
    reproject(
        values,
        by_gdal,
        src_transform=file.transform,
        src_crs=UTM,
        dst_transform=target.transform,
        dst_crs=UTM,
        resampling=Resampling.bilinear,
        init_dest_nodata=False,
        tolerance=0,
        XSCALE=1,
        YSCALE=1,
    )
    found = resample(values, file, FileWindow(0, 0, shape[1], shape[0]), target, "bilinear", "a file")
    np.testing.assert_allclose(found, by_gdal, atol=1e-6)


def test_a_file_beside_the_grid_has_no_window():
    assert file_window(grid(10.0, 5, 5, west=600_000.0), grid(10.0, 5, 5)) is None
    assert file_window(grid(0.1, 50, 50, west=100.0, north=50.0, crs=GEOGRAPHIC), grid(10.0, 5, 5)) is None


@pytest.mark.parametrize(("angle_of_file", "angle_of_grid"), [(20, 0), (0, 30), (-15, 40)])
def test_turned_grids_come_to_each_other(angle_of_file, angle_of_grid):
    centre = Affine.translation(500_000, 5_200_000)
    file = Grid(UTM, centre @ Affine.rotation(angle_of_file) @ Affine(10, 0, -400, 0, -10, 400), 80, 80)
    target = Grid(UTM, centre @ Affine.rotation(angle_of_grid) @ Affine(10, 0, -80, 0, -10, 80), 16, 16)

    def eastings(of):
        columns, rows = np.meshgrid(np.arange(of.width) + 0.5, np.arange(of.height) + 0.5)
        return of.place_of(columns, rows)[0]

    np.testing.assert_allclose(brought(eastings(file), file, target, "bilinear"), eastings(target), atol=0.15)

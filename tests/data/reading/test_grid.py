"""Grids of pixels on each other."""

from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS

from eofuse.data.reading.grid import Grid

SIZES = st.floats(min_value=5e-324, max_value=1.7e308)
PLACES = st.floats(allow_nan=False, allow_infinity=False)


@given(SIZES, SIZES, PLACES, PLACES)
def test_the_place_of_a_grid_on_another_is_a_pixel_or_none(size, other, x, y):
    crs = CRS.from_epsg(32633)
    first = Grid(crs, Affine(size, 0, x, 0, -size, y), 10, 10)
    second = Grid(crs, Affine(other, 0, 0, 0, -other, 0), 10, 10)
    place = first.place_on(second)
    assert place is None or all(isinstance(each, int) for each in place)

"""Coarse bands come to the 10 m grid as GDAL's bilinear warp would bring them; one band is read strictly."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.warp import Resampling, reproject

from eofuse.data.reading.rasters import reading_environment
from eofuse.data.sources.ben_ge.bands import check_aligned, check_crs, read_band, upsample_bilinear
from eofuse.errors import DataError
from fake_ben_ge import write_tif

NOISE = np.random.default_rng(0).integers(1, 9000, (24, 24)).astype(np.uint16)


def read(path, dtypes=("uint16",), **options):
    with reading_environment():
        return read_band(path, "a_patch", "B05", dtypes, **options)


@pytest.mark.parametrize(("band", "factor"), [("B05", 2), ("B11", 2), ("B01", 6), ("B09", 6)])
def test_interpolation_agrees_with_gdal_inside_real_patches(ben_real_40, band, factor):
    for path in sorted(ben_real_40.glob(f"sentinel-2/*/*_{band}.tif"))[::4]:
        with rasterio.open(path) as dataset:
            values, transform, crs = dataset.read(1), dataset.transform, dataset.crs
        side = len(values) * factor
        warped = np.zeros((side, side), dtype=np.uint16)
        target = transform @ transform.scale(1 / factor)
        options = {"src_transform": transform, "src_crs": crs, "dst_transform": target, "dst_crs": crs}
        reproject(values, warped, resampling=Resampling.bilinear, **options)
        inside = slice(factor, -factor)
        difference = upsample_bilinear(values, factor).astype(int) - warped
        assert np.abs(difference[inside, inside]).max() <= 1


@given(
    factor=st.sampled_from([2, 3, 6, 10]),
    seed=st.integers(0, 1000),
    shape=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    top=st.sampled_from([2, 300, 65536]),
)
def test_interpolation_is_exact_to_the_last_count(factor, seed, shape, top):
    values = np.random.default_rng(seed).integers(0, top, shape).astype(np.uint16)
    expected = np.empty((shape[0] * factor, shape[1] * factor), dtype=int)
    for row, column in np.ndindex(expected.shape):
        total = 0
        for line, line_weight in _neighbours(row, factor, shape[0]):
            for sample, sample_weight in _neighbours(column, factor, shape[1]):
                total += line_weight * sample_weight * int(values[line, sample])
        expected[row, column] = (total + 2 * factor**2) // (4 * factor**2)
    assert (upsample_bilinear(values, factor) == expected).all()


def _neighbours(small, factor, length):
    """The two nearest large pixels and their weights in units of 1 / (2 factor), by plain integer arithmetic."""
    offset = 2 * small + 1 - factor
    lower, weight = divmod(offset, 2 * factor)
    inside = [min(max(position, 0), length - 1) for position in (lower, lower + 1)]
    return [(inside[0], 2 * factor - weight), (inside[1], weight)]


def test_interpolation_keeps_a_constant_grid():
    assert (upsample_bilinear(np.full((4, 4), 65535, np.uint16), 6) == 65535).all()


def test_interpolation_takes_bands_together():
    bands = np.stack([NOISE, NOISE[::-1]])
    assert (upsample_bilinear(bands, 2)[1] == upsample_bilinear(NOISE[::-1], 2)).all()


def test_a_band_is_read_as_it_lies(tmp_path):
    write_tif(tmp_path / "a.tif", NOISE, 300000, 5300040)
    band = read(tmp_path / "a.tif")
    assert (band.values == NOISE).all()
    assert (band.transform.c, band.transform.f, band.transform.a) == (300000, 5300040, 10)
    assert band.crs.to_epsg() == 32633


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"patch a_patch, band B05, .*a\.tif: file missing"):
        read(tmp_path / "a.tif")


def test_a_truncated_file_is_an_error(tmp_path):
    path = tmp_path / "a.tif"
    write_tif(path, NOISE, 300000, 5300040)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(DataError, match="not a readable GeoTIFF"):
        read(path)


@pytest.mark.parametrize("content", [b"", b"II*\0", b"not a tiff at all" * 40, b"<VRTDataset rasterXSize='1'/>"])
def test_a_file_that_is_no_tiff_is_an_error(tmp_path, content):
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(DataError, match="not a readable GeoTIFF"):
        read(tmp_path / "a.tif")


def test_a_folder_in_place_of_a_file_is_an_error(tmp_path):
    (tmp_path / "a.tif").mkdir()
    with pytest.raises(DataError, match="not a readable GeoTIFF"):
        read(tmp_path / "a.tif")


def test_another_format_under_the_name_of_a_tiff_is_an_error(tmp_path):
    with rasterio.open(tmp_path / "a.png", "w", driver="PNG", width=8, height=8, count=1, dtype="uint16") as dataset:
        dataset.write(NOISE[:8, :8], 1)
    (tmp_path / "a.png").rename(tmp_path / "a.tif")
    with pytest.raises(DataError, match="not a readable GeoTIFF"):
        read(tmp_path / "a.tif")


def test_another_dtype_is_an_error(tmp_path):
    write_tif(tmp_path / "a.tif", NOISE.astype(np.int32), 300000, 5300040)
    with pytest.raises(DataError, match="dtype int32, expected uint16"):
        read(tmp_path / "a.tif")


def test_several_bands_are_an_error_unless_the_first_is_asked_for(tmp_path):
    write_tif(tmp_path / "a.tif", np.stack([NOISE, NOISE + 1, NOISE + 2]), 300000, 5300040)
    with pytest.raises(DataError, match="3 bands where one is expected"):
        read(tmp_path / "a.tif")
    assert (read(tmp_path / "a.tif", single=False).values == NOISE).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_errors(tmp_path, bad):
    values = NOISE.astype(np.float32)
    values[3, 5] = bad
    write_tif(tmp_path / "a.tif", values, 300000, 5300040)
    with pytest.raises(DataError, match="1 pixels are NaN or infinite"):
        read(tmp_path / "a.tif", ("float32",))


def test_coordinate_systems_are_compared(tmp_path):
    write_tif(tmp_path / "a.tif", NOISE, 300000, 5300040)
    write_tif(tmp_path / "b.tif", NOISE, 300000, 5300040, epsg=32634)
    check_crs(read(tmp_path / "a.tif"), read(tmp_path / "a.tif"))
    with pytest.raises(DataError, match=r"EPSG:32634 differs from EPSG:32633"):
        check_crs(read(tmp_path / "b.tif"), read(tmp_path / "a.tif"))


def test_grids_that_do_not_share_their_corner_are_an_error(tmp_path):
    write_tif(tmp_path / "a.tif", NOISE, 300000, 5300040)
    write_tif(tmp_path / "b.tif", NOISE[:12, :12], 300000, 5300040, 20)
    write_tif(tmp_path / "c.tif", NOISE[:12, :12], 300010, 5300040, 20)
    fine, coarse, shifted = (read(tmp_path / name) for name in ("a.tif", "b.tif", "c.tif"))
    check_aligned(coarse, fine, 2)
    with pytest.raises(DataError, match=r"corner \(300010,"):
        check_aligned(shifted, fine, 2)
    with pytest.raises(DataError, match="pixel size 20, expected"):
        check_aligned(coarse, fine, 6)


def test_masked_pixels_are_an_error(tmp_path):
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", "GTiff", 4, 4, 1, "EPSG:32632", Affine(10, 0, 0, 0, -10, 0), "uint16") as file:
        file.write(np.ones((1, 4, 4), np.uint16))
        file.write_mask(np.arange(16).reshape(4, 4) > 2)
    with pytest.raises(DataError, match="3 pixels are masked"):
        read(path)

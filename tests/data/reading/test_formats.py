"""Every registered format of files keeps one contract: a header, windows of values as stored, one error for what is no such file."""

import zipfile

import numpy as np
import pytest
from affine import Affine
from PIL import Image, ImageOps
from rasterio.crs import CRS
from rasterio.windows import Window

from arrays_folder import packed
from eofuse.data.reading.arrays import open_arrays
from eofuse.data.reading.formats import FILE_FORMATS, endings, format_of, inspect_file, open_file
from eofuse.data.reading.rasters import Part, reading_environment
from eofuse.errors import DataError

VALUES = np.arange(3 * 8 * 6, dtype=np.uint16).reshape(3, 8, 6) + 1


def write(path):
    """Writes the values; gives what is wanted of the file."""
    ending = path.suffix
    if ending in (".tif", ".tiff", ".png", ".jp2", ".jpg", ".jpeg"):
        import rasterio

        driver = {".tif": "GTiff", ".tiff": "GTiff", ".png": "PNG", ".jp2": "JP2OpenJPEG"}.get(ending)
        if driver is None:
            return None  # JPEG loses values
        options = {"QUALITY": 100, "REVERSIBLE": "YES"} if driver == "JP2OpenJPEG" else {}
        size = {"count": 3, "height": 8, "width": 6, "dtype": "uint16"}
        with rasterio.open(path, "w", driver=driver, **size, **options) as file:
            file.write(VALUES)
        return Part()
    if ending == ".npy":
        np.save(path, VALUES)
        return Part()
    if ending == ".npz":
        np.savez(path, other=VALUES[:1], values=VALUES)
        return Part(("values",))
    if ending in (".h5", ".hdf5", ".he5", ".hdf"):
        import h5py

        with h5py.File(path, "w") as file:
            file["group/values"] = np.moveaxis(VALUES, 0, -1)
        return Part(("group/values",))
    dataset = packed(VALUES, Affine(10, 0, 500000, 0, -10, 5200000), CRS.from_epsg(32632), upwards=True)
    if ending == ".zarr":
        dataset.to_zarr(path, zarr_format=2)
    else:
        dataset.to_netcdf(path, engine="scipy" if ending == ".cdf" else "h5netcdf")
    return Part(("B02", "B03", "B04"))


@pytest.mark.parametrize("ending", endings())
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_window_holds_the_values_as_they_are_stored(tmp_path, ending):
    path = tmp_path / f"values{ending}"
    part = write(path)
    if part is None:
        return
    with reading_environment():
        file = inspect_file(str(path), "here", part)
        assert (len(file.bands), file.grid.width, file.grid.height) == (3, 6, 8)
        assert file.dtype == ("int16" if ending == ".cdf" else "uint16")  # NetCDF 3 knows no unsigned numbers
        with open_file(str(path), part, "here") as image:
            assert (image.read([3, 1], window=Window(1, 2, 4, 5)) == VALUES[[2, 0], 2:7, 1:5]).all()


@pytest.mark.parametrize("name", list(FILE_FORMATS))
def test_what_is_no_such_file_or_missing_is_an_error_that_names_it(tmp_path, name):
    kind = FILE_FORMATS[name]()
    path = tmp_path / f"values{kind.suffixes[0]}"
    for message in ("file missing", "read|holds no column of images"):
        with reading_environment(), pytest.raises(DataError, match=message) as caught:
            inspect_file(str(path), "patch 7")
        assert caught.value.where == "patch 7"
        path.mkdir(exist_ok=True) if kind.is_folder else path.write_bytes(b"nothing")


def test_endings_are_of_one_format_each():
    assert len(set(endings())) == len(endings())
    assert format_of("A.TIF").title.startswith("an image")
    assert format_of("unknown").title.startswith("an image")


@pytest.mark.parametrize("turn", range(1, 9))
def test_pictures_of_cameras_are_turned_as_exif_wants(tmp_path, turn):
    picture = Image.fromarray(np.random.default_rng(turn).integers(0, 255, (8, 16), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = turn
    path = str(tmp_path / "a.jpg")
    picture.save(path, exif=exif, quality=95)
    with Image.open(path) as saved:
        expected = np.asarray(ImageOps.exif_transpose(saved)).astype(int)
    with reading_environment(), open_file(path, None, "here") as image:
        grid = inspect_file(path, "here").grid
        assert (grid.height, grid.width) == expected.shape == (image.height, image.width)
        assert np.abs(image.read([1], window=Window(2, 1, 5, 6))[0] - expected[1:7, 2:7]).max() <= 2


@pytest.mark.filterwarnings("error")
def test_an_array_that_python_2_wrote_is_read_without_a_word(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6, dtype=np.uint16).reshape(2, 3))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content.replace(b"(2, 3), }  ", b"(2L, 3L), }"))
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.write(tmp_path / "a.npy", "a.npy")
    opened = open_arrays(str(tmp_path / "a.npy"), "a.npy"), open_arrays(str(tmp_path / "b.npz"), "b.npz")
    for file, name in zip(opened, ("", "a"), strict=True):
        assert file.read(name, (slice(None), slice(None))).tolist() == [[0, 1, 2], [3, 4, 5]]

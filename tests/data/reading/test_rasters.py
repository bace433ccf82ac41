"""Opening the rasters of a user: side-car files, masks, alpha bands, palettes, and what is said of a file."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp, Resampling
from rasterio.shutil import copy

from eofuse.data.reading.grid import Grid
from eofuse.data.reading.matching import choose_bands
from eofuse.data.reading.pixels import read_on
from eofuse.data.reading.rasters import PlacedRaster, inspect_raster, reading_environment
from eofuse.data.sources.table.source import open_table_spec
from eofuse.data.store.cut import cut
from eofuse.errors import DataError
from eofuse.modalities import Channel, Kind, Modality

PLACE = Affine(10, 0, 500_000, 0, -10, 5_200_000)
SIDE = 4


def write(path, values, *, driver="GTiff", crs="EPSG:32632", transform=PLACE, **profile):
    """Writes (bands, height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = values.shape
    with reading_environment(), rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            width=width,
            height=height,
            count=bands,
            dtype=values.dtype,
            crs=crs,
            transform=transform,
            photometric="minisblack",
            **profile,
        ) as file:
            file.write(values)
        with memory.open() as file:
            copy(file, path, driver=driver)
    return path


def describe(path, *bands):
    """Writes `.aux.xml` beside a file, with these elements for each band."""
    inner = "".join(f'<PAMRasterBand band="{n}">{text}</PAMRasterBand>' for n, text in enumerate(bands, start=1))
    path.with_name(f"{path.name}.aux.xml").write_text(f"<PAMDataset>{inner}</PAMDataset>")


def read(path, bands=(1,), nodata=None, grid=None):
    with reading_environment():
        file = inspect_raster(path, "a file")
        placed = PlacedRaster(file, bands, (nodata,) * len(bands), (0, 0), None)
        return read_on(placed, grid or file.grid, "a file")


def numbers(bands=1, dtype="int16"):
    return (np.arange(bands * SIDE * SIDE).reshape(bands, SIDE, SIDE) + 1).astype(dtype)


def through_a_table(folder, **layer):
    """The first patch of a table with the file `a.tif`, and the problems."""
    (folder / "t.csv").write_text("id\na\n")
    modality = {"kind": "raster", "files": "{id}.tif", **layer}
    spec = {"name": "t", "table": "t.csv", "id": "id", "modalities": {"image": modality}}
    return spec_source(folder, spec)


def spec_source(folder, spec):
    import yaml

    (folder / "t.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    return open_table_spec(folder / "t.yaml")


def through_a_scene(folder, **layer):
    """The first patch of scene `a`, which is the file `a.tif`."""
    spec = {"name": "s", "root": str(folder), "modalities": {"image": {"files": "{scene}.tif", **layer}}}
    return cut(spec, folder / "out.store", size=SIDE, workers=1, overwrite=True).store.read("image", [0])[0]


WAYS = {
    "table": lambda folder, **layer: through_a_table(folder, **layer).read(0)["image"],
    "scene": through_a_scene,
}


@pytest.fixture(params=WAYS)
def way(request):
    """Both doors through which a file comes into a store."""
    return WAYS[request.param]


def test_nodata_that_only_a_sidecar_declares_is_no_data(tmp_path, way):
    values = numbers(dtype="float32")
    values[0, 0, 0] = -9999
    describe(write(tmp_path / "a.tif", values), "<NoDataValue>-9999</NoDataValue>")
    found = way(tmp_path, nodata=-1)
    assert found[0, 0, 0] == -9999  # the spec replaces what the file declares
    found = way(tmp_path)
    assert found[0, 0, 0] == -9999
    store = through_a_table(tmp_path)
    assert store.modalities[0].nodata == -9999


def test_each_band_has_its_own_nodata(tmp_path, way):
    describe(
        write(tmp_path / "a.tif", numbers(2, "float32")),
        "<NoDataValue>1</NoDataValue>",
        "<NoDataValue>20</NoDataValue>",
    )
    found = way(tmp_path, nodata=None, dtype="float32")
    assert np.argwhere(found == 1).tolist() == [[0, 0, 0], [1, 0, 3]]


def test_a_scale_that_only_a_sidecar_declares_has_to_be_in_the_spec(tmp_path, way):
    path = write(tmp_path / "a.tif", numbers(2))
    describe(path, "<Scale>1</Scale>", "<Offset>-0.1</Offset><Scale>0.0001</Scale>")
    with pytest.raises(DataError, match=r"declares scale 0.0001 and offset -0.1, the spec means 1 and 0; set scale"):
        way(tmp_path)


def test_band_names_of_a_sidecar_choose_the_bands(tmp_path):
    path = write(tmp_path / "a.tif", numbers(2))
    describe(path, "<Description>red</Description>", "<Description>blue</Description>")
    assert through_a_table(tmp_path, bands=["blue"]).read(0)["image"][0, 0, 0] == 17
    assert through_a_scene(tmp_path, channels=["blue"])[0, 0, 0] == 17


@pytest.mark.parametrize("internal", [True, False])
def test_masked_pixels_are_no_data(tmp_path, way, internal):
    path = write(tmp_path / "a.tif", numbers())
    mask = np.ones((SIDE, SIDE), dtype=bool)
    mask[1, 2] = False
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal), rasterio.open(path, "r+") as file:
        file.write_mask(mask)
    assert path.with_name("a.tif.msk").exists() != internal
    found = way(tmp_path, nodata=-1)
    assert np.argwhere(found == -1).tolist() == [[0, 1, 2]]


def test_masks_count_beside_nodata(tmp_path, way):
    path = write(tmp_path / "a.tif", numbers(), nodata=5)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(np.arange(SIDE * SIDE).reshape(SIDE, SIDE) > 0)
    assert np.argwhere(way(tmp_path) == 5).tolist() == [[0, 0, 0], [0, 1, 0]]


def with_alpha(path):
    values = np.concatenate([numbers(3, "uint8"), np.full((1, SIDE, SIDE), 255, np.uint8)])
    values[3, 0, 1] = 0
    write(path, values)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]


def test_an_alpha_band_is_a_mask(tmp_path, way):
    with_alpha(tmp_path / "a.tif")
    found = way(tmp_path, nodata=255)
    assert len(found) == 3
    assert np.argwhere(found == 255).tolist() == [[band, 0, 1] for band in range(3)]


def test_an_alpha_band_that_the_spec_counts_is_a_band(tmp_path):
    with_alpha(tmp_path / "a.tif")
    found = through_a_table(tmp_path, bands=["red", "green", "blue", "nir"]).read(0)["image"]
    assert found[3, 0].tolist() == [255, 0, 255, 255]
    assert found[0, 0, 1] == 2


def test_a_world_file_and_a_projection_file_give_the_place(tmp_path, way):
    path = write(tmp_path / "a.tif", numbers(), crs=None, transform=None)
    path.with_suffix(".tfw").write_text("10\n0\n0\n-10\n500005\n5199995\n")
    path.with_suffix(".prj").write_text(rasterio.crs.CRS.from_epsg(32632).to_wkt(version="WKT1_ESRI"))
    with reading_environment():
        file = inspect_raster(path, "a file")
    assert file.grid.transform == PLACE
    assert file.grid.crs.to_epsg() == 32632
    assert {name.rpartition(".")[2] for name in file.sidecars} == {"tfw", "prj"}
    np.testing.assert_array_equal(way(tmp_path), numbers())


def test_a_projection_file_that_names_nothing_is_an_error(tmp_path):
    path = write(tmp_path / "a.tif", numbers(), crs=None)
    path.with_suffix(".prj").write_text("nonsense")
    with pytest.raises(DataError, match=r"a\.prj beside it names no coordinate reference system"):
        read(path)


def test_a_changed_sidecar_is_other_content(tmp_path):
    path = write(tmp_path / "a.tif", numbers())
    describe(path, "<NoDataValue>1</NoDataValue>")
    before = through_a_table(tmp_path, nodata=7).fingerprint
    assert through_a_table(tmp_path, nodata=7).fingerprint == before
    describe(path, "<NoDataValue>22</NoDataValue>")
    assert through_a_table(tmp_path, nodata=7).fingerprint != before


@pytest.mark.parametrize("dtype", ["complex_int16", "complex64"])
def test_complex_numbers_are_refused(tmp_path, dtype):
    """As in single-look complex images of Sentinel-1."""
    size = {"width": SIDE, "height": SIDE, "count": 1}
    with rasterio.open(tmp_path / "slc.tif", "w", dtype=dtype, crs="EPSG:32632", transform=PLACE, **size):
        pass
    with reading_environment(), pytest.raises(DataError, match=r"holds complex numbers; give amplitude or power"):
        inspect_raster(tmp_path / "slc.tif", "a file")


def test_very_many_bands_are_one_short_error(tmp_path):
    write(tmp_path / "many.tif", np.zeros((3000, 1, 1), np.uint8))
    with reading_environment():
        file = inspect_raster(tmp_path / "many.tif", "a file")
    assert file.band(3000).number == 3000
    channels = tuple(Channel(f"band_{number}") for number in range(1, 2501))
    with pytest.raises(DataError) as error:
        choose_bands(file, Modality("height", Kind.RASTER, channels), "a file")
    assert "has 3000 bands, expected 2500: band_1, band_2" in str(error.value)
    assert "and 2,470 more" in str(error.value)


def test_a_turned_file_is_read_and_a_mirrored_one_refused_alike_everywhere(tmp_path, way):
    write(tmp_path / "a.tif", numbers(), transform=PLACE @ Affine.rotation(10))
    np.testing.assert_array_equal(way(tmp_path), numbers())
    write(tmp_path / "a.tif", numbers(), transform=PLACE @ Affine.scale(1, -1))
    with pytest.raises(DataError, match="is mirrored"):
        way(tmp_path)


def with_wrong_overviews(path, values):
    """A file whose overviews say 200 everywhere."""
    write(path, values, tiled=True, blockxsize=16, blockysize=16)
    with rasterio.open(path, "r+") as file:
        file.write(np.full_like(values, 200))
        file.build_overviews([2, 4, 8], Resampling.nearest)
    with rasterio.open(path, "r+") as file:
        file.write(values)


@pytest.mark.parametrize(("method", "expected"), [(None, 8.5), ("nearest", None), ("bilinear", None), ("cubic", None)])
def test_overviews_are_never_read(tmp_path, method, expected):
    with_wrong_overviews(tmp_path / "fine.tif", np.tile(numbers(dtype="uint8"), (1, 16, 16)))
    with rasterio.open(tmp_path / "fine.tif", overview_level=1) as file:
        assert (file.read() == 200).all()
    write(tmp_path / "a.tif", np.ones((1, 16, 16), np.int16), transform=PLACE @ Affine.scale(4))
    layer = {"files": "fine.tif", "dtype": "float32"} | ({"resampling": method} if method else {})
    (tmp_path / "t.csv").write_text("id\na\n")
    modalities = {"image": {"kind": "raster", "files": "{id}.tif"}, "fine": {"kind": "raster"} | layer}
    source = spec_source(tmp_path, {"name": "t", "table": "t.csv", "id": "id", "modalities": modalities})
    tables = source.read(0)["fine"]
    spec = {"name": "s", "root": str(tmp_path), "modalities": {"image": {"files": "{scene}.tif"}, "fine": layer}}
    store = cut(spec | {"scenes": ["a"]}, tmp_path / "out.store", size=16, workers=1).store
    np.testing.assert_array_equal(store.read("fine", [0])[0], tables)
    assert tables.max() <= 16
    if expected is not None:
        assert (tables == expected).all()
        assert source.provenance.facts["resampling"] == {"fine": {"average": 1}}
        assert store.provenance["cut"]["resampling"] == {"fine": {"average": 1}}


def test_class_maps_come_to_coarser_grids_by_majority(tmp_path):
    codes = np.ones((1, 12, 12), np.uint8)
    codes[0, 1::3, 1::3] = 2  # the middle of each 3 × 3 block, which the nearest pixel would be
    write(tmp_path / "map.tif", codes, transform=PLACE)
    write(tmp_path / "a.tif", numbers(), transform=PLACE @ Affine.scale(3))
    layer = {"files": "map.tif", "categories": {1: "field", 2: "tree"}}
    spec = {"name": "s", "root": str(tmp_path), "modalities": {"image": {"files": "a{scene}.tif"}, "map": layer}}
    spec["modalities"]["image"]["files"] = "{scene}.tif"
    store = cut(spec | {"scenes": ["a"]}, tmp_path / "out.store", size=SIDE, workers=1).store
    assert (store.read("map", [0]) == 1).all()
    assert store.provenance["cut"]["resampling"] == {"map": {"mode": 1}}
    layer["resampling"] = "nearest"
    store = cut(spec | {"scenes": ["a"]}, tmp_path / "other.store", size=SIDE, workers=1).store
    assert (store.read("map", [0]) == 2).all()


def test_large_parts_of_a_file_are_read_in_pieces(tmp_path, monkeypatch):
    values = np.random.default_rng(0).normal(size=(1, 64, 64)).astype(np.float32)
    path = write(tmp_path / "a.tif", values)
    target = Grid(rasterio.crs.CRS.from_epsg(32632), PLACE @ Affine.scale(4), 16, 16)
    with reading_environment():
        placed = PlacedRaster(inspect_raster(path, ""), (1,), (None,), None, "average")
        whole = read_on(placed, target, "")
        monkeypatch.setattr("eofuse.data.reading.pixels.MOST_PIXELS", 400)
        pieces = read_on(placed, target, "")
    np.testing.assert_array_equal(pieces, whole)
    np.testing.assert_allclose(whole[0], values[0].reshape(16, 4, 16, 4).mean(axis=(1, 3)), atol=1e-6)


def test_a_palette_of_a_picture_gives_its_colours_or_its_numbers(tmp_path):
    from PIL import Image

    picture = Image.new("P", (SIDE, SIDE), 1)
    picture.putpalette([0, 0, 0, 250, 20, 30])
    picture.save(tmp_path / "a.png")
    assert read(tmp_path / "a.png", (1, 2, 3))[:, 0, 0].tolist() == [250, 20, 30]
    assert read(tmp_path / "a.png")[:, 0, 0].tolist() == [1]


def test_transparent_pixels_of_a_picture_are_no_data(tmp_path):
    from PIL import Image

    values = np.full((SIDE, SIDE, 4), 255, np.uint8)
    values[0, 0, 3] = 0
    Image.fromarray(values, "RGBA").save(tmp_path / "a.png")
    found = read(tmp_path / "a.png", (1, 2, 3))
    assert np.isnan(found[:, 0, 0]).all()
    assert np.isnan(found).sum() == 3


@pytest.mark.parametrize("door", ["table", "scene"])
def test_files_of_one_modality_that_differ_in_their_values_are_named(tmp_path, door):
    for name in "abc":
        write(tmp_path / f"{name}.tif", numbers())
    describe(tmp_path / "b.tif", "<Scale>0.0001</Scale>")
    layer = {"files": "{id}.tif" if door == "table" else "{scene}.tif", "scale": 0.0001}
    if door == "table":
        (tmp_path / "t.csv").write_text("id\na\nb\nc\n")
        modalities = {"image": {"kind": "raster", **layer}}
        problems = spec_source(tmp_path, {"name": "t", "table": "t.csv", "id": "id", "modalities": modalities}).problems
    else:
        spec = {"name": "s", "root": str(tmp_path), "modalities": {"image": layer}}
        problems = cut(spec, tmp_path / "out.store", size=SIDE, workers=1).warnings
    told = "its files differ: 2 with whole numbers, no scale; 1 with whole numbers, scale 0.0001 and offset 0"
    assert any(told in str(problem) for problem in problems)

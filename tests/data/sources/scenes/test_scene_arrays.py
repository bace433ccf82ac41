"""Whole scenes in NetCDF and Zarr are layers like GeoTIFFs: placed by their coordinates, chosen by their dates."""

import numpy as np
import pytest
import rasterio
import yaml

from arrays_folder import BANDS, packed, real_patches
from eofuse.data.store import open_store
from eofuse.data.store.cut import cut
from eofuse.errors import DataError


@pytest.fixture
def scene(shared, tmp_path):
    """`S2/a.tif` and `nc/a.nc`, whose rows go up, of the same pixels; `nc/season.nc` of three dates, coarser by a half."""
    _, _, pixels, transform, crs = next(real_patches(shared, 1, 32))
    for folder in ("S2", "nc"):
        (tmp_path / folder).mkdir()
    size = {"count": 3, "height": 32, "width": 32, "dtype": "uint16", "crs": crs, "transform": transform}
    with rasterio.open(tmp_path / "S2" / "a.tif", "w", driver="GTiff", **size) as file:
        file.write(pixels)
    packed(pixels, transform, crs, upwards=True).to_netcdf(tmp_path / "nc" / "a.nc", engine="h5netcdf")
    coarse = packed(pixels[:, ::2, ::2], transform * transform.scale(2), crs).drop_vars(list(BANDS))
    dates = np.array(["2023-05-01", "2023-06-01", "2023-09-01"], "datetime64[ns]")
    red = (("time", "y", "x"), np.stack([pixels[2, ::2, ::2] + 1000 * number for number in range(3)]))
    coarse.assign(red=red).assign_coords(time=dates).to_zarr(tmp_path / "nc" / "a.zarr", zarr_format=2)
    return tmp_path, pixels


def cut_with(folder, **modalities):
    values = {"name": "mine", "root": ".", "reference": "s2", "modalities": modalities}
    (folder / "spec.yaml").write_text(yaml.safe_dump({**values}, sort_keys=False))
    cut(folder / "spec.yaml", folder / "out.store", size=16, workers=1)
    return open_store(folder / "out.store")


S2 = {"files": "S2/{scene}.tif", "bands": ["B02", "B03", "B04"]}


def test_a_netcdf_scene_has_the_pixels_of_the_geotiff(scene):
    folder, pixels = scene
    store = cut_with(folder, s2=S2, copy={"files": "nc/{scene}.nc", "variables": list(BANDS), "scale": 1e-4})
    assert len(store) == 4
    assert (store.read("copy", range(4)) == store.read("s2", range(4))).all()
    assert (store.read("s2", [0])[0] == pixels[:, :16, :16]).all()


def test_a_netcdf_scene_can_be_the_reference(scene):
    store = cut_with(
        scene[0], s2={"files": "nc/{scene}.nc", "variables": list(BANDS), "scale": 1e-4, "bands": list(BANDS)}
    )
    assert store.modality("s2").channel_names == tuple(BANDS)
    assert len(store) == 4


@pytest.mark.parametrize(("rule", "added"), [("first", 0), ("2023-06-20", 1000), ("last", 2000)])
def test_one_date_of_a_file_is_chosen_by_a_rule(scene, rule, added):
    folder, pixels = scene
    layer = {"files": "nc/{scene}.zarr", "date": rule, "resampling": "nearest", "variables": "red"}
    store = cut_with(folder, s2=S2, red=layer)
    assert (store.read("red", [0])[0, 0] == np.repeat(np.repeat(pixels[2, :16:2, :16:2], 2, 0), 2, 1) + added).all()


def test_all_dates_of_a_file_are_a_series_of_images(scene):
    store = cut_with(
        scene[0], s2=S2, red={"files": "nc/{scene}.zarr", "date": "all", "resampling": "nearest", "variables": "red"}
    )
    assert store.modality("red").steps == 3
    assert np.asarray(store.index["times.red"][0]).astype("datetime64[D]").astype(str).tolist()[0] == "2023-05-01"


def test_several_dates_without_a_rule_and_arrays_without_a_place_are_errors(scene):
    with pytest.raises(DataError, match=r"holds images of 3 dates; .*date: all"):
        cut_with(scene[0], s2=S2, red={"files": "nc/{scene}.zarr", "variables": "red"})
    np.save(scene[0] / "nc" / "a.npy", np.zeros((32, 32)))
    with pytest.raises(DataError, match="has no coordinate reference system; give its arrays coordinates"):
        cut_with(scene[0], s2=S2, flat={"files": "nc/{scene}.npy"})

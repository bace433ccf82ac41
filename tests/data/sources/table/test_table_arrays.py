"""Arrays beside a table: NumPy, HDF5, NetCDF and Zarr, a file a patch or all patches in one, with pixels and without."""

import re

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml

from arrays_folder import BANDS, packed, real_patches, write_arrays
from eofuse.data.sources.table.source import open_table_spec
from eofuse.data.store.pack import pack
from eofuse.errors import DataError, UsageError


@pytest.fixture(scope="module")
def arrays(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("arrays")
    return folder, write_arrays(folder, shared)


def spec_of(folder, to, **modalities):
    values = {"name": "mine", "root": str(folder), "table": "samples.csv", "id": "id", "modalities": modalities}
    (to / "spec.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return to / "spec.yaml"


def read_all(source, name):
    return np.stack([source.read(row)[name] for row in range(len(source.index))])


@pytest.mark.parametrize(
    "layer",
    [
        {"files": "{id}.nc", "variables": list(BANDS), "scale": 1e-4},
        {"files": "all.npy", "rows": True},
        {"files": "all.npz", "variables": "images", "rows": True},
        {"files": "all.h5", "variables": "s2/images", "rows": True},
        {"files": "all.nc", "rows": True},
        {"files": "all.npy", "axes": ["row", "channel", "y", "x"], "rows": True},
    ],
    ids=lambda layer: layer["files"],
)
def test_pixels_are_those_of_the_arrays(arrays, tmp_path, layer):
    source = open_table_spec(spec_of(arrays[0], tmp_path, s2=layer))
    assert (read_all(source, "s2") == arrays[1]).all()
    assert source.modalities[0].dtype == "uint16"
    if layer["files"].endswith(".nc"):
        assert source.modalities[0].channel_names == tuple(BANDS)


def test_packed_values_are_scaled_once_and_fill_values_missing(arrays, tmp_path):
    layer = {"files": "{id}.nc", "variables": ["B04"], "scale": 1e-4}
    store = pack(spec_of(arrays[0], tmp_path, red=layer), tmp_path / "out.store", workers=1)
    modality = store.modality("red")
    assert (modality.scale, modality.nodata) == (1e-4, 0)
    physical = xr.open_dataset(arrays[0] / f"{store.index['patch_id'][0]}.nc")["B04"].to_numpy()
    assert store.read("red", [0])[0, 0] * modality.scale == pytest.approx(physical)


def test_a_scale_that_the_spec_does_not_say_is_an_error_that_says_it(arrays, tmp_path):
    source = open_table_spec(spec_of(arrays[0], tmp_path, red={"files": "{id}.nc", "variables": ["B04"]}))
    assert "declares scale 0.0001" in source.problems[0].what
    assert "set scale: 0.0001" in source.problems[0].fix


def test_places_of_rows_come_from_coordinates(arrays, shared, tmp_path):
    layer = {"files": "{id}.nc", "variables": ["B04"], "scale": 1e-4}
    index = open_table_spec(spec_of(arrays[0], tmp_path, red=layer)).index
    for row, (_, _, _, transform, crs) in enumerate(real_patches(shared)):
        assert (index["ulx"][row], index["uly"][row]) == pytest.approx((transform.c, transform.f))
        assert str(index["crs"][row]) == crs.to_string()


def test_zarr_of_both_versions_is_read(arrays, tmp_path):
    folder, values = arrays
    pd.read_csv(folder / "samples.csv").head(2).to_csv(folder / "two.csv", index=False)
    layer = {"files": "{id}.zarr", "variables": ["B02", "B04"], "scale": 1e-4}
    source = open_table_spec(spec_of(folder, tmp_path, s2=layer), ["table=two.csv"])
    assert (read_all(source, "s2") == values[:2, [0, 2]]).all()
    before = source.fingerprint
    chunk = next(path for path in (folder / f"{source.index['patch_id'][0]}.zarr" / "B04").rglob("*") if path.is_file())
    chunk.write_bytes(chunk.read_bytes())
    assert open_table_spec(tmp_path / "spec.yaml", ["table=two.csv"]).fingerprint != before


def test_numbers_without_pixels_are_vectors_and_series(arrays, tmp_path):
    source = open_table_spec(
        spec_of(
            arrays[0],
            tmp_path,
            means={"kind": "vector", "files": "all.npz", "variables": "means", "rows": True, "bands": ["b", "g", "r"]},
            season={"kind": "series", "files": "all.npz", "variables": "season", "rows": True, "dates": None}
            | {"dates": ["2024-05-01", "2024-06-01", "2024-07-01"]},
        )
    )
    means, season = source.modalities
    assert means.channel_names == ("b", "g", "r")
    assert source.index[["means.b", "means.g", "means.r"]].to_numpy() == pytest.approx(arrays[1].mean((2, 3)))
    assert (season.kind.value, season.steps, season.dated, len(season.channels)) == ("series", 3, True, 16)
    assert read_all(source, "season")[:, :, 1:] == pytest.approx(arrays[1].mean(3), rel=1e-6)


def test_rows_may_be_a_column_of_positions(arrays, tmp_path):
    folder, values = arrays
    table = pd.read_csv(folder / "samples.csv").assign(at=[5, 4, 3, 2, 1, 0]).head(3)
    table.to_csv(folder / "turned.csv", index=False)
    layer = {"files": "all.npy", "rows": "at"}
    source = open_table_spec(spec_of(folder, tmp_path, s2=layer), ["table=turned.csv"])
    assert (read_all(source, "s2") == values[[5, 4, 3]]).all()


def test_dates_of_a_file_make_a_series_of_images(shared, tmp_path):
    days = {"a": ["2024-05-01", "2024-06-11"], "b": ["2024-05-04T10:00", "2024-05-09", "2024-07-01"]}
    for (name, dates), (_, _, pixels, transform, crs) in zip(days.items(), real_patches(shared, 2), strict=True):
        dated = {
            band: (("time", "y", "x"), np.stack([pixels[at] + date for date in range(len(dates))]))
            for at, band in enumerate(BANDS)
        }
        dataset = packed(pixels, transform, crs).drop_vars(list(BANDS)).assign(dated)
        dataset = dataset.assign_coords(time=np.array(dates, "datetime64[ns]"))
        dataset.to_netcdf(tmp_path / f"{name}.nc", engine="h5netcdf")
    pd.DataFrame({"id": list(days)}).to_csv(tmp_path / "samples.csv", index=False)
    layer = {"kind": "image_series", "files": "{id}.nc", "variables": ["B04", "B02"]}
    source = open_table_spec(spec_of(tmp_path, tmp_path, s2=layer))
    assert source.modalities[0].steps == 3
    assert source.modalities[0].channel_names == ("B04", "B02")
    for row, (name, dates) in enumerate(days.items()):
        assert source.index["times.s2"][row] == pytest.approx(
            [pd.Timestamp(date).timestamp() / 86_400 for date in dates]
        ), name
    (_, _, pixels, _, _) = next(real_patches(shared, 2))
    assert (source.read(0)["s2"][1] == pixels[[2, 0]] + 1).all()


def wrong_arrays():
    """Layer → what its error says."""
    npz = {"files": "all.npz", "rows": True}
    return {
        "several": (npz, "holds several arrays: images"),
        "unknown": (npz | {"variables": "image"}, "holds no array 'image'; did you mean 'images'"),
        "no_rows": ({"files": "all.npy"}, "its axes can't be told"),
        "dims": ({"files": "all.nc"}, "holds 6 samples along patch"),
        "pickle": ({"files": "pickle.npy", "rows": True}, "Python objects (a pickle), which are never loaded"),
        "text": ({"files": "text.npz", "variables": "names", "rows": True}, "holds no real numbers"),
        "short": ({"files": "short.npy", "rows": True}, "has 4 samples, and samples.csv 6 rows"),
        "image": ({"files": "{id}.tif", "variables": "a"}, "no row has a file"),
        "missing": ({"files": "none.npz", "rows": True}, "no row has a file"),
        "damaged": ({"files": "damaged.nc", "rows": True}, "can't be read as a NetCDF file"),
        "axes": ({"files": "all.npy", "rows": True, "axes": ["row", "y", "x"]}, "has 4 axes (6 × 3 × 16 × 16), not 3"),
        "numbers": ({"kind": "vector", "files": "all.npy", "rows": True}, "its axes can't be told"),
        "raster": (
            {"kind": "vector", "files": "a.tif"},
            "files has no meaning for kind vector, unless they hold arrays",
        ),
        "both": ({"kind": "vector", "files": "all.npz", "columns": "x"}, "in columns or in files, not in both"),
        "undated": ({"kind": "image_series", "files": "all.nc", "rows": True}, "says of no image from which date"),
        "dated": ({"kind": "image_series", "files": "all.npy", "rows": True}, "one file with all dates and dates"),
    }


@pytest.mark.parametrize("case", wrong_arrays())
def test_arrays_that_are_not_what_they_should_be_are_named(arrays, tmp_path, case):
    folder = arrays[0]
    np.save(folder / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(folder / "text.npz", names=np.array([["a"]] * 6))
    np.save(folder / "short.npy", arrays[1][:4])
    (folder / "damaged.nc").write_bytes(b"\x89HDF\r\n\x1a\nxx")
    layer, message = wrong_arrays()[case]
    with pytest.raises((DataError, UsageError), match=re.escape(message)):
        open_table_spec(spec_of(folder, tmp_path, s2=layer))


def test_a_missing_extra_is_one_line(arrays, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    np.save(arrays[0] / "fresh.npy", np.zeros(1))
    (arrays[0] / "fresh.h5").write_bytes((arrays[0] / "all.h5").read_bytes())
    with pytest.raises(DataError, match=r"without h5py, which is not installed; pip install 'eofuse\[xarray\]'"):
        open_table_spec(spec_of(arrays[0], tmp_path, s2={"files": "fresh.h5", "variables": "label", "rows": True}))

"""`eofuse init` makes specs of arrays that pack as they are: a file a patch, all patches in a file, a file a part of the split."""

import h5py
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely

from arrays_folder import write_arrays
from eofuse.config import read_yaml
from eofuse.data.sources.table.source import open_table_spec
from eofuse.data.specs.init import init
from eofuse.errors import DataError


@pytest.fixture(scope="module")
def arrays(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("arrays")
    return folder, write_arrays(folder, shared)


def opened(path, tmp_path):
    done = init(path, tmp_path / "spec.yaml")
    return done, open_table_spec(done.spec)


def test_a_file_a_patch_is_found_by_id_with_its_variables_and_scale(arrays, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for path in (*arrays[0].glob("*[0-9].nc"), arrays[0] / "samples.csv"):
        (folder / path.name).write_bytes(path.read_bytes())
    done, source = opened(folder, tmp_path)
    (layer,) = read_yaml(done.spec)["modalities"].values()
    assert (layer["files"], layer["variables"], layer["scale"]) == ("{id}.nc", ["B02", "B03", "B04"], 1e-4)
    assert not source.problems or all(problem.severity == "warning" for problem in source.problems)
    assert (source.read(1)[source.modalities[0].name] == arrays[1][1]).all()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("all.npy", {"all": "raster"}),
        ("all.npz", {"images": "raster", "means": "vector", "season": "series"}),
        ("all.h5", {"images": "raster"}),
        ("all.nc", {"reflectance": "raster"}),
    ],
)
def test_a_file_of_all_patches_gets_a_table(arrays, tmp_path, name, expected):
    done, source = opened(arrays[0] / name, tmp_path)
    assert {modality.name: modality.kind.value for modality in source.modalities} == expected
    assert len(source.index) == 6
    raster = next(iter(expected))
    assert (source.read(5)[raster] == arrays[1][5]).all()
    if name == "all.h5":
        assert source.index["label"].tolist() == list(range(6))
    assert any("nothing tells where the images were taken" in line for line in done.unknown)


def test_arrays_named_after_parts_are_the_split_and_ones_are_classes(arrays, tmp_path):
    (tmp_path / "data").mkdir()
    for part, rows in (("train", slice(0, 4)), ("val", slice(4, 6))):
        np.save(tmp_path / "data" / f"X_{part}.npy", arrays[1][rows])
        np.save(tmp_path / "data" / f"y_{part}.npy", np.eye(2, dtype=np.int64)[np.arange(6)[rows] % 2])
    done, source = opened(tmp_path / "data", tmp_path)
    assert read_yaml(done.spec)["modalities"]["x"]["files"] == "X_{split}.npy"
    assert source.index["split"].tolist() == ["train"] * 4 + ["validation"] * 2
    assert source.index["y"].tolist() == [0, 1, 0, 1, 0, 1]
    assert (np.stack([source.read(row)["x"] for row in range(6)]) == arrays[1]).all()


def test_arrays_beside_a_table_go_with_its_rows(arrays, tmp_path):
    (tmp_path / "data").mkdir()
    pd.DataFrame({"id": list("abcdef"), "label": ["x", "y"] * 3}).to_csv(tmp_path / "data" / "samples.csv", index=False)
    np.save(tmp_path / "data" / "chips.npy", arrays[1].astype(np.int64))
    with h5py.File(tmp_path / "data" / "masks.h5", "w") as file:
        file["masks"] = (arrays[1][:, 0] > 1500).astype(np.uint8)
    done, source = opened(tmp_path / "data", tmp_path)
    assert read_yaml(done.spec)["modalities"]["chips"]["dtype"] == "int32"
    assert [category.code for category in source.modalities[1].categories] == [0, 1]
    assert (source.read(2)["masks"][0] == (arrays[1][2, 0] > 1500)).all()


def test_a_scene_is_no_set_of_samples(shared, tmp_path, arrays):
    scene = next(arrays[0].glob("*[0-9].nc"))
    with pytest.raises(DataError, match=r"is a NetCDF file, without an axis of samples; .*eofuse cut"):
        init(scene, tmp_path / "spec.yaml")


@pytest.mark.parametrize(("ending", "driver"), [("gpkg", "GPKG"), ("shp", "ESRI Shapefile"), ("fgb", "FlatGeobuf")])
def test_shapes_are_tables_of_places(tmp_path, ending, driver):
    points = shapely.points(np.c_[8 + np.arange(6) / 50, 47 + np.arange(6) / 50])
    fields = {"crop": np.array(["a", "b"] * 3, dtype=object), "w_t": np.arange(6.0), "w_u": np.arange(6.0) * 2}
    path = tmp_path / f"fields.{ending}"
    pyogrio.raw.write(
        path,
        shapely.to_wkb(points),
        list(fields.values()),
        list(fields),
        crs="EPSG:4326",
        geometry_type="Point",
        driver=driver,
    )
    _, source = opened(path, tmp_path)
    assert [modality.name for modality in source.modalities] == ["w"]
    assert source.provenance.labels == {"crop": "class"}
    assert sorted(source.index["lon"]) == pytest.approx(shapely.get_x(points))  # FlatGeobuf has an order of its own

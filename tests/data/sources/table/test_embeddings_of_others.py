"""Embeddings that others computed: decoded, kept as directions, attributed."""

import numpy as np
import pytest
import yaml

from eofuse import open_store, pack
from eofuse.data.loading import Loader
from eofuse.errors import DataError
from eofuse.learning.input_statistics import training_statistics
from eofuse.models.fusion import FusionOptions
from table_folder import TableFolder


@pytest.fixture
def folder(tmp_path):
    found = TableFolder(tmp_path)
    found.spec["table"] = "samples.parquet"
    return found


def packed(folder):
    folder.table.to_parquet(folder.path / "samples.parquet")
    (folder.path / "spec.yaml").write_text(yaml.safe_dump(folder.spec))
    return pack(folder.path / "spec.yaml", folder.path / "a.store", workers=1)


def statistics(store, name):
    return training_statistics(Loader(store, {name: None}), np.arange(len(store)), FusionOptions(strategy="single"))


def test_codes_of_alphaearth_become_coordinates(folder):
    codes = np.random.default_rng(0).integers(-127, 128, (6, 64, 8, 8)).astype(np.int8)
    codes[0, :, 2, 3] = -128
    for number, values in enumerate(codes):
        folder.write(f"ae/p{number}.tif", values, nodata=-128)
    folder.spec["modalities"]["places"] = {"files": "ae/{id}.tif", "like": "alphaearth"}
    store = packed(folder)
    modality = store.modality("places")
    assert modality.channel_names[:2] == ("A00", "A01")
    assert "Google DeepMind" in modality.attribution
    read = store.read("places", np.arange(6))
    expected = np.where(codes == -128, np.nan, (codes / 127.5) ** 2 * np.sign(codes))
    known = ~np.isnan(expected)
    np.testing.assert_allclose(read[known], expected[known], atol=1e-6)
    assert (read[~known] == modality.nodata).all()


def test_codes_are_decoded_before_they_are_resampled(folder):
    codes = np.zeros((64, 4, 4), np.int8)
    codes[:, :, 1::2] = 127
    for number in range(6):
        folder.write(f"ae/p{number}.tif", codes, pixel=20.0)
    folder.spec["modalities"]["places"] = {"files": "ae/{id}.tif", "like": "alphaearth", "resampling": "bilinear"}
    folder.spec["reference"] = "optical"
    middle = packed(folder).read("places", [0])[0, 0, 3, 1:-1]
    full = (127 / 127.5) ** 2
    np.testing.assert_allclose(np.unique(middle.round(4)), np.array([0.25, 0.75]) * full, atol=1e-3)


def test_files_that_hold_coordinates_are_taken_as_they_are(folder):
    values = np.random.default_rng(1).uniform(-0.3, 0.3, (6, 64, 8, 8)).astype(np.float32)
    for number, each in enumerate(values):
        folder.write(f"ae/p{number}.tif", each)
    folder.spec["modalities"]["places"] = {"files": "ae/{id}.tif", "like": "alphaearth"}
    np.testing.assert_array_equal(packed(folder).read("places", np.arange(6)), values)


def test_lists_in_cells_are_a_vector_whose_direction_stays(folder):
    vectors = np.random.default_rng(2).normal(3, 2, (6, 5)).astype(np.float32)
    folder.table["embedding"] = list(vectors)
    told = {"columns": "embedding", "embedding": "clay", "attribution": "Clay, Apache-2.0"}
    folder.spec["modalities"]["clay"] = {"kind": "vector", **told}
    store = packed(folder)
    np.testing.assert_allclose(store.read("clay", np.arange(6)), vectors)
    assert open_store(store.path).modality("clay").embedding == "clay"
    found = statistics(store, "clay")
    assert found.mean["clay"] == [0.0] * 5
    np.testing.assert_allclose(found.std["clay"], [np.sqrt((vectors.astype(float) ** 2).mean())] * 5)


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        ([1.0], "row 6.*a list of 1, most have 2 numbers"),
        ([1.0, np.inf], "row 6.*inf in its list, which is no number"),
        ([], "row 6.*is empty"),
        ([1.0, np.nan], "row 6.*lacks a number"),
    ],
)
def test_a_cell_that_is_no_such_list_names_its_row(folder, cell, what):
    folder.table["embedding"] = [[1.0, 2.0]] * 5 + [cell]
    folder.spec["modalities"]["clay"] = {"kind": "vector", "columns": "embedding"}
    with pytest.raises(DataError, match=what):
        packed(folder)


def test_whole_numbers_that_are_no_codes_are_refused(folder):
    for number in range(6):
        folder.write(f"ae/p{number}.tif", np.zeros((64, 8, 8), np.int16))
    folder.spec["modalities"]["places"] = {"files": "ae/{id}.tif", "like": "alphaearth"}
    with pytest.raises(DataError, match="holds int16: codes of alphaearth are int8"):
        packed(folder)

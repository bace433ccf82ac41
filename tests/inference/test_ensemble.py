"""Several models that predict together, patches in memory, and where predictions say they came from."""

import json

import numpy as np
import pandas as pd
import pytest
import rasterio
import torch

import eofuse
from eofuse.data.store import Store
from eofuse.errors import DataError, UsageError
from eofuse.inference.arrays import predict_arrays, predict_table
from eofuse.inference.predict import predict_store, write_predictions
from eofuse.kinds import DETECTION, REGRESSION, SEGMENTATION, SINGLE_LABEL
from eofuse.models.artifact import load_model, save_model
from eofuse.models.fusion import FusionOptions
from eofuse.models.heads import HeadSpec
from eofuse.models.model import ModelSpec, build_model
from eofuse.models.normalisation import ChannelStatistics

HEADS = {
    "zone": HeadSpec(SINGLE_LABEL, ("north", "south"), temperature=1.5),
    "height": HeadSpec(REGRESSION, ("height",), (500.0,), (100.0,), unit="m", margin=(20.0,)),
    "cover": HeadSpec(SEGMENTATION, ("land", "water"), network="fpn"),
    "tank": HeadSpec(DETECTION, ("round", "square"), network="fcos"),
}


@pytest.fixture(scope="module")
def models(planted_store, tmp_path_factory):
    """Three models of Sentinel-2 with random weights, that differ in the width of their intervals."""
    folder = tmp_path_factory.mktemp("models")
    modality = planted_store.modality("s2")
    channels = len(modality.channels)
    statistics = ChannelStatistics({"s2": [0.2] * channels}, {"s2": [0.1] * channels})
    fusion = FusionOptions(strategy="single", encoder="test_resnet")
    saved = []
    for seed in range(3):
        heads = HEADS | {"height": HeadSpec(**{**HEADS["height"].__dict__, "margin": (10.0 * (seed + 1),)})}
        spec = ModelSpec((modality,), fusion, heads, statistics, planted_store.patch_size)
        saved.append(save_model(build_model(spec, seed=seed), folder / str(seed)))
    return saved


@pytest.fixture(scope="module")
def alone(models, planted_store: Store):
    return [predict_store(model, planted_store) for model in models]


@pytest.fixture(scope="module")
def together(models, planted_store: Store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    return predict_store(models, planted_store, maps=folder, source="three of them"), folder


@pytest.mark.parametrize("column", ["zone.p.north", "zone.p.south", "height"])
def test_probabilities_and_numbers_are_the_means_of_the_models(alone, together, column):
    mean = np.mean([table[column] for table in alone], axis=0)
    np.testing.assert_allclose(together[0][column], mean, rtol=1e-5)


def test_half_widths_of_intervals_are_averaged(together):
    table = together[0]
    np.testing.assert_allclose(table["height.high"] - table["height"], 20.0, rtol=1e-5)


def test_boxes_are_those_of_the_first_model(alone, together):
    assert together[0]["tank.boxes"].tolist() == alone[0]["tank.boxes"].tolist()


def test_probabilities_of_pixels_are_averaged(models, together, planted_store):
    inputs = {"s2": torch.from_numpy(planted_store.read("s2", [0]))}
    mean = sum(load_model(model).predict(inputs)["cover"] for model in models) / 3
    with rasterio.open(together[1] / "cover" / f"{planted_store.index['patch_id'][0]}.tif") as file:
        np.testing.assert_array_equal(file.read(1), mean[0].argmax(0).numpy())


def test_one_model_in_a_list_predicts_what_it_predicts_alone(models, alone, planted_store):
    pd.testing.assert_frame_equal(predict_store(models[:1], planted_store), alone[0])


def test_models_of_other_targets_are_refused(models, planted_store, tmp_path):
    spec = load_model(models[0]).spec
    other = save_model(build_model(ModelSpec(**{**spec.__dict__, "heads": {"zone": HEADS["zone"]}}), 0), tmp_path)
    with pytest.raises(DataError, match="differ in inputs or targets"):
        predict_store([models[0], other], planted_store)


@pytest.mark.parametrize("name", ["told.parquet", "told.csv"])
def test_the_file_says_what_predicted(together, planted_store, tmp_path, name):
    write_predictions(together[0], tmp_path / name)
    beside = tmp_path / "told.csv.json"
    told = json.loads(beside.read_text()) if name.endswith("csv") else pd.read_parquet(tmp_path / name).attrs
    assert told["predicted_by"] == "three of them"
    assert len(told["weights_sha256"]) == 3
    assert told["store_fingerprint"] == planted_store.fingerprint


def test_maps_say_what_predicted(together):
    with rasterio.open(next((together[1] / "cover").iterdir())) as file:
        assert file.tags()["predicted_by"] == "three of them"
    assert json.loads((together[1] / "tank.geojson").read_text())["predicted_by"] == "three of them"


def test_arrays_are_predicted_like_the_patches_of_a_store(models, together, planted_store):
    rows = [3, 0, 7]
    table = predict_table(models, {"s2": planted_store.read("s2", rows)})
    expected = together[0].iloc[rows][table.columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(table, expected, check_exact=False, rtol=1e-4)


def test_predictions_as_arrays_carry_the_names_of_their_classes(models, together, planted_store):
    found = predict_arrays(models, {"s2": planted_store.read("s2", [3, 0])})
    assert found["zone"].classes == ("north", "south")
    np.testing.assert_allclose(found["zone"].values[:, 0], together[0]["zone.p.north"][[3, 0]], rtol=1e-4)
    assert found["cover"].values.shape == (2, 2, 16, 16)
    assert repr(found["height"]) == "Prediction(regression, 2 × 1: height)"


def test_a_batch_of_a_dataset_is_predicted_and_patches_without_the_input_are_not(models, planted_store):
    batch = planted_store.dataset(inputs=["s2"]).__getitems__([0, 1]).batch
    batch["present"] = {"s2": torch.tensor([True, False])}
    table = predict_table(models, batch)
    assert table["patch_id"].tolist() == planted_store.index["patch_id"][:2].tolist()
    assert table["predicted"].tolist() == [True, False]
    assert table["height"].notna().tolist() == [True, False]


def test_larger_patches_are_seen_in_their_middle(models, planted_store):
    patch = planted_store.read("s2", [0])
    padded = np.pad(patch, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge")
    expected = predict_table(models, {"s2": patch})
    pd.testing.assert_frame_equal(predict_table(models, {"s2": padded}), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s2: {"S2": s2}, "no input 'S2'; valid: s2"),
        (lambda s2: {}, "needs the input 's2'"),
        (
            lambda s2: {"s2": s2 * 0.0001},
            "float64 values where the model takes uint16.*physical values are those × 0.0001",
        ),
        (lambda s2: {"s2": s2[:, :3]}, "where the model expects"),
        (lambda s2: {"s2": s2[:, :, :8, :8]}, "8 × 8 pixels where the model sees 16 × 16"),
        (lambda s2: {"s2": s2.astype(np.int32) - 70000}, "which uint16 can't hold"),
    ],
)
def test_arrays_that_do_not_fit_are_explained(models, planted_store, change, message):
    with pytest.raises(UsageError, match=message):
        predict_table(models, change(planted_store.read("s2", [0, 1])))


def test_an_array_without_the_name_of_its_modality_is_one_clear_error(trained):
    with pytest.raises(UsageError, match=r'data: is ndarray, which names no modality; .*\{"s2": array\}'):
        eofuse.open_run(trained.folder).predict(np.zeros((1, 2, 8, 8), np.uint16))

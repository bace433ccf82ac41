"""Runs whose encoder is a pretrained model of several sensors: from its file to predictions, in every mode."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import eofuse
from eofuse.data.store.write import write_store
from eofuse.errors import DataError, UsageError
from eofuse.learning import vectors
from eofuse.learning.run import MODEL_FOLDER
from eofuse.modalities import Channel, Kind, Modality
from eofuse.models.artifact import load_model
from eofuse.models.encoders.foundation import FoundationEncoder
from foundation_store import small_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return small_store(tmp_path_factory.mktemp("foundation") / "a.store")


def recipe(store, shared, **changes):
    return {
        "data": {"store": str(store.path)},
        "inputs": ["s2", "s1"],
        "fusion": {"strategy": "single", "missing": "token", "joint": {"galileo:nano": ["s2", "s1"]}},
        "task": {"target": "label"},
        "train": {"steps": 6, "batch_size": 8, "evaluations": 2},
        "start": {"from": str(shared / "weights" / "galileo_nano_encoder.safetensors")},
        **changes,
    }


@pytest.fixture(scope="module")
def run(store, shared, tmp_path_factory):
    return eofuse.train(recipe(store, shared), to=tmp_path_factory.mktemp("foundation") / "run")


def test_published_weights_stay_as_they_are_and_vectors_are_standardised(run, shared):
    encoder = load_model(run.folder / MODEL_FOLDER).fusion.encoder
    published = encoder.tensors_from(load_file(shared / "weights" / "galileo_nano_encoder.safetensors"))
    assert run.options.start.mode == "linear_probe"
    assert not encoder.is_raw
    assert all(torch.equal(encoder.state_dict()[name], tensor) for name, tensor in published.items())


def test_an_interrupted_run_goes_on_to_the_same_bits(run, store, shared, tmp_path, monkeypatch):
    def stop(done, count, words):
        if done == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(vectors, "_remembered", type(vectors._remembered)())
    with pytest.raises(KeyboardInterrupt):
        eofuse.train(recipe(store, shared), to=tmp_path / "cut", progress=stop)
    eofuse.resume(tmp_path / "cut")
    weights = [folder / MODEL_FOLDER / "model.safetensors" for folder in (run.folder, tmp_path / "cut")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_frozen_vectors_are_computed_once(store, shared, tmp_path, monkeypatch):
    computed = []
    own = FoundationEncoder.vectors
    monkeypatch.setattr(FoundationEncoder, "vectors", lambda self, inputs: computed.append(1) or own(self, inputs))
    monkeypatch.setattr(vectors, "_remembered", type(vectors._remembered)())
    eofuse.train(recipe(store, shared), to=tmp_path / "run")
    assert len(computed) < 36


def test_attribution_and_predictions_without_an_input_walk(run, store):
    table = eofuse.attribute(run.folder, repeats=1).table
    assert set(table["name"]) >= {"s2", "s1"}
    assert run.predict(store)["predicted"].all()


def test_patches_in_memory_are_predicted_with_their_month(run, store):
    arrays = {name: store.read(name, range(8)) for name in ("s2", "s1")}
    arrays["present"] = {name: store.present(name)[:8] for name in ("s2", "s1")}
    months = [int(each[5:7]) for each in store.index["time"][:8].astype(str)]
    told = run.predict_arrays({**arrays, "month": months})["label"].values
    table = run.predict(store)
    np.testing.assert_allclose(told, table[["label.p.a", "label.p.b"]].to_numpy()[:8], atol=1e-5)
    assert not np.allclose(told, run.predict_arrays(arrays)["label"].values, atol=1e-4)


@pytest.mark.parametrize("mode", ["full", "layer_decay", "unfreeze", "lora"])
def test_every_mode_learns(store, shared, tmp_path, mode):
    start = {**recipe(store, shared)["start"], "mode": mode}
    train = {"steps": 2, "batch_size": 4, "evaluations": 1}
    run = eofuse.train(recipe(store, shared, start=start, train=train), to=tmp_path / "run")
    assert run.test["label"]["accuracy"] >= 0


def test_the_random_twin_is_frozen_alike(store, shared, tmp_path):
    run = eofuse.train(recipe(store, shared, start={"from": "random"}), to=tmp_path / "run")
    assert run.options.start.mode == "linear_probe"
    assert set(run.transfer()["status"]) == {"random", "fresh"}


def test_what_the_model_is_told_is_no_target(store, shared, tmp_path):
    fusion = {**recipe(store, shared)["fusion"], "foundation": {"place": True}}
    with pytest.raises(UsageError, match="derives from the place, which the model takes as an input"):
        eofuse.train(recipe(store, shared, fusion=fusion, task={"target": "lon"}), to=tmp_path / "run")


def test_a_unit_that_can_not_be_is_refused(store, shared, tmp_path):
    fusion = {**recipe(store, shared)["fusion"], "foundation": {"units": {"s2": "DN"}}}
    with pytest.raises(DataError, match=r"'DN' can't be the unit; say the unit: fusion.foundation.units.s2="):
        eofuse.train(recipe(store, shared, fusion=fusion), to=tmp_path / "run")


@pytest.mark.parametrize("head", ["linear", "nearest_mean", "neighbours"])
def test_heads_are_fitted_on_frozen_vectors(store, shared, tmp_path, head):
    run = eofuse.train(recipe(store, shared, task={"target": "label", "head": head}), to=tmp_path / "run")
    assert run.test["label"]["accuracy"] > 0.8
    assert run.model().spec.heads["label"].fitted == head
    known = run.predict(store)
    again = load_model(run.folder / MODEL_FOLDER)
    assert known["predicted"].all()
    assert again.spec.heads["label"].temperature > 0


def test_a_fitted_head_is_fitted_once_more_on_validation_too(store, shared, tmp_path):
    run = eofuse.train(recipe(store, shared, task={"target": "lat", "head": "linear"}, refit=True), to=tmp_path / "run")
    assert run.result["refit"]["patches"] > 20


def test_a_fitted_head_needs_encoders_that_stay_as_they_are(store, shared, tmp_path):
    start = {**recipe(store, shared)["start"], "mode": "full"}
    with pytest.raises(UsageError, match=r"fitted on features that stay as they are.*mode: linear_probe"):
        eofuse.train(
            recipe(store, shared, start=start, task={"target": "label", "head": "linear"}), to=tmp_path / "run"
        )


def test_series_of_numbers_are_learned_from_with_their_months(tmp_path):
    radar = Modality("s1", Kind.SERIES, (Channel("VV", unit="dB"), Channel("VH", unit="dB")), steps=3, dated=True)
    random = np.random.default_rng(0)

    def series():
        for number in range(24):
            values = random.normal(-12 - 6 * (number % 2), 2, (3, 2))
            times = 18_000 + 30 * np.arange(3) + 5 * number
            yield {
                "id": str(number),
                "scene": f"s{number // 2}",
                "s1": np.column_stack([times, values]).astype(np.float32),
                "label": "ab"[number % 2],
            }

    store = write_store(series(), [radar], tmp_path / "a.store", name="a")
    options = {
        "data": {"store": str(store.path)},
        "inputs": ["s1"],
        "fusion": {"strategy": "single", "joint": {"presto": ["s1"]}},
        "task": {"target": "label", "head": "nearest_mean"},
        "start": {"from": "random"},
    }
    run = eofuse.train(options, to=tmp_path / "run")
    assert run.test["label"]["accuracy"] > 0.8
    assert not any("date" in note for note in run.notes())


def two_models(store, shared, **changes):
    """Galileo on Sentinel-2 and Presto on Sentinel-1, each from its own file."""
    files = [
        str(shared / "weights" / f"{name}.safetensors") for name in ("galileo_nano_encoder", "presto_default_model")
    ]
    return recipe(
        store,
        shared,
        fusion={"strategy": "decision", "missing": "token", "joint": {"galileo:nano": ["s2"], "presto": ["s1"]}},
        start={"from": files[0], "also": files[1:]},
        task={"target": "label", "head": "linear"},
        **changes,
    )


def test_two_models_start_from_two_files(store, shared, tmp_path):
    run = eofuse.train(two_models(store, shared), to=tmp_path / "run")
    encoders = load_model(run.folder / MODEL_FOLDER).fusion.encoders
    for name, file in (("s2", "galileo_nano_encoder"), ("s1", "presto_default_model")):
        published = encoders[name].tensors_from(load_file(shared / "weights" / f"{file}.safetensors"))
        state = encoders[name].state_dict()
        assert published
        assert all(torch.equal(state[key], tensor) for key, tensor in published.items())
    assert run.predict(store)["predicted"].all()


def test_the_same_weights_twice_and_random_ones_beside_others_are_refused(store, shared, tmp_path):
    twice = two_models(store, shared)
    twice["start"]["also"] *= 2
    with pytest.raises(UsageError, match="which the weights before it gave"):
        eofuse.train(twice, to=tmp_path / "run")
    twice["start"] |= {"from": "random"}
    with pytest.raises(UsageError, match="leave out `also`"):
        eofuse.train(twice, to=tmp_path / "run")


@pytest.fixture(scope="module")
def season_store(tmp_path_factory):
    """Patches of which the band B08 is bright in July or in October, on two or three dates."""
    bands = tuple(Channel(name, unit="DN") for name in ("B02", "B03", "B04", "B08"))
    season = Modality("season", Kind.IMAGE_SERIES, bands, dtype="uint16", nodata=0, steps=3, dated=True)
    random = np.random.default_rng(0)

    def patches():
        for number in range(30):
            values = random.integers(800, 2500, (2 + number % 2, 4, 8, 8)).astype(np.uint16)
            values[number // 2 % 2, 3] += 3000
            dates = ["2020-07-10", "2020-10-12", "2020-12-01"][: len(values)]
            yield {
                "id": f"p{number}",
                "scene": f"s{number}",
                "season": values,
                "season.times": dates,
                "label": "ab"[number // 2 % 2],
            }

    return write_store(
        patches(), [season], tmp_path_factory.mktemp("season") / "a.store", name="season", labels={"label": "class"}
    )


def test_a_season_is_learned_from_galileos_vectors(season_store, shared, tmp_path):
    changes = {"inputs": ["season"], "fusion": {"strategy": "single", "joint": {"galileo:nano": ["season"]}}}
    run = eofuse.train(
        recipe(season_store, shared, task={"target": "label", "head": "linear"}, **changes), to=tmp_path / "run"
    )
    assert run.result["score"] > 0.9
    assert run.predict(season_store)["predicted"].all()

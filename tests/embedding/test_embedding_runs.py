"""Vectors of runs, and of networks of images by their names, as modalities."""

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

import eofuse
from eofuse import recipe as recipes
from eofuse.data.targets import make_target
from eofuse.embedding.own import embedder_of_run
from eofuse.errors import DataError, UsageError
from eofuse.inference.predict import loader_for
from eofuse.learning.leaks import refuse_leaking_inputs
from eofuse.modalities import Channel, Kind, Modality


@pytest.fixture(scope="module")
def embedded(planted_store, trained_once, tmp_path_factory):
    """The planted store with the vectors of a run that saw its labels."""
    to = tmp_path_factory.mktemp("embedded") / "embedded.store"
    return eofuse.embed(planted_store.path, to, model=str(trained_once), name="mine")


def learn(embedded, recipe, to, **changes):
    values = {**recipe, "data": {"store": str(embedded.path)}, "inputs": ["mine"], **changes}
    return recipes.train({**values, "train": {"steps": 3, "evaluations": 1, "batch_size": 16}}, to=to)


def test_vectors_of_a_run_are_what_its_heads_were_given(planted_store, trained_once, embedded):
    model = eofuse.open_run(trained_once).model()
    rows = np.arange(0, len(planted_store), 7)
    batch = loader_for(model, planted_store).read(rows)
    with model.evaluating():
        expected = model.features(batch.inputs, batch.present)[0].vector.numpy()
    np.testing.assert_allclose(embedded.read("mine", rows), expected, atol=1e-5)
    assert not np.allclose(embedded.read("mine_random", rows), expected, atol=1e-2)


def test_vectors_of_a_run_serve_with_its_own_split(embedded, recipe, tmp_path):
    run = learn(embedded, recipe, tmp_path / "run")
    assert not [note for note in run.notes() if "not known" in note and "mine" in note]


def test_vectors_of_a_run_that_saw_the_test_patches_are_refused(embedded, recipe, tmp_path):
    with pytest.raises(UsageError, match=r"test patches were seen in the run 'planted' .*leave out 'mine'"):
        learn(embedded, recipe, tmp_path / "run", split={"fractions": [0.3, 0.2, 0.5]}, seed=3)


def test_a_run_remembers_what_its_vectors_have_seen(embedded, recipe, tmp_path):
    learn(embedded, recipe, tmp_path / "run")
    other = {"split": {"fractions": [0.3, 0.2, 0.5]}, "seed": 3, "start": {"from": str(tmp_path / "run")}}
    with pytest.raises(UsageError, match="test patches were seen in the run 'planted'"):
        learn(embedded, recipe, tmp_path / "other", **other, inputs=["mine_random"])


def test_what_the_vectors_of_vectors_saw_is_refused_as_a_target(tmp_path):
    """The weather went into the first vectors, and these into those of a run."""
    weather = Modality("weather", Kind.VECTOR, (Channel("rain"),))
    vectors = Modality("first", Kind.VECTOR, (Channel("000"),))
    given = [{"id": f"{n}", "weather": np.float32([n]), "first": np.float32([-n])} for n in range(12)]
    store = eofuse.write_store(given, [weather, vectors], tmp_path / "a.store", name="a")
    entry = {"month": None, "place": False}
    entries = {"first": {**entry, "inputs": {"weather.rain": {}}}, "second": {**entry, "inputs": {"first.000": {}}}}
    store.provenance["embeddings"] = entries
    with pytest.raises(UsageError, match="derives from 'weather', of which the vectors of 'second'"):
        refuse_leaking_inputs(store, make_target(store, "weather"), {"second": None})


def test_channels_that_a_run_took_have_the_names_of_the_store(planted_store, trained_once, tmp_path):
    store = eofuse.open_store(planted_store.path)
    modality = store.modalities["s1"]
    renamed = tuple(replace(each, name=f"my {each.name}", aliases=(each.name,)) for each in modality.channels)
    store.modalities["s1"] = replace(modality, channels=renamed)
    facts = embedder_of_run(store, trained_once, seed=0).facts
    assert list(facts["inputs"]) == ["s1.my VV", "s1.my VH"]
    assert facts["not_used"] == []


def test_an_option_of_foundation_models_is_refused_for_a_run(planted_store, trained_once, tmp_path):
    with pytest.raises(UsageError, match="--month: is said by the run itself"):
        eofuse.embed(planted_store.path, tmp_path / "a.store", model=str(trained_once), month=7)


def test_a_folder_without_a_model_is_an_error(planted_store, tmp_path):
    with pytest.raises((DataError, UsageError), match=str(tmp_path)):
        eofuse.embed(planted_store.path, tmp_path / "a.store", model=str(tmp_path))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A file of weights as timm has them."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    return path


def test_weights_by_a_timm_name_see_the_raster_with_their_bands(planted_store, photographs, tmp_path):
    store = eofuse.embed(planted_store.path, tmp_path / "a.store", model="timm:test_resnet", weights=photographs)
    facts = store.embeddings("timm")[0]
    assert list(facts["inputs"]) == ["s2.B04", "s2.B03", "s2.B02"]
    network = timm.create_model("test_resnet", num_classes=0).eval()
    network.load_state_dict(load_file(photographs), strict=False)
    s2 = store.modality("s2")
    bands = store.read("s2", np.arange(len(store)), channels=[s2.channel_index(n) for n in ("B04", "B03", "B02")])
    bands = bands.astype(np.float64)
    training = bands[(store.index["split"] == "train").to_numpy()]
    mean, std = (f(training, axis=(0, 2, 3), keepdims=True) for f in (np.mean, np.std))
    with torch.no_grad():
        expected = network(torch.from_numpy((bands - mean) / std).float()).numpy()
    np.testing.assert_allclose(store.read("timm", np.arange(len(store))), expected, atol=1e-4)
    assert not np.allclose(store.read("timm_random", np.arange(5)), expected[:5], atol=1e-2)


def test_weights_whose_bands_no_raster_has_are_refused(planted_store, photographs, tmp_path):
    with pytest.raises(UsageError, match="no raster has the bands B04, B03, B02"):
        eofuse.embed(
            planted_store.path, tmp_path / "a.store", model="timm:test_resnet", weights=photographs, inputs=["s1"]
        )


def test_one_head_sees_the_vectors_of_two_models(embedded, recipe, tmp_path):
    names = ["mine", "mine_random"]
    fusion = {"strategy": "single", "joint": {"concatenated": names}}
    run = learn(
        embedded, recipe, tmp_path / "run", inputs=names, fusion=fusion, task={"target": "label", "head": "linear"}
    )
    model = run.model()
    assert model.fusion.sizes[0].vector == sum(len(embedded.modality(name).channels) for name in names)
    assert run.predict(embedded)["predicted"].all()

"""Series of images from the store to predictions: classes that only the season tells apart, maps, attribution, augmentation."""

import numpy as np
import pytest
import torch

from eofuse import recipe as recipes
from eofuse.data.loading import Loader
from eofuse.data.store.pack import pack_source
from eofuse.errors import UsageError
from eofuse.inference.arrays import predict_arrays
from eofuse.inference.predict import predict_store
from eofuse.kinds import SINGLE_LABEL
from eofuse.learning.attribution import attribute
from eofuse.learning.augment import AugmentOptions, make_augmentation
from eofuse.learning.run import open_run
from eofuse.maps.make import map_scenes
from eofuse.modalities import SEASON, SENTINEL1
from fake_source import SCENES, FakeSource, SeasonalSource


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """160 patches whose label shows in which of two dates is bright; a vector, and a raster of classes, show nothing."""
    source = SeasonalSource(patches=160, size=8, modalities=(SCENES, SEASON), absent={"scenes": {5, 6}})
    return pack_source(source, tmp_path_factory.mktemp("seasonal") / "seasonal.store", workers=1)


def values(store, **changes) -> dict:
    return {
        "data": {"store": str(store.path)},
        "inputs": ["scenes", "season"],
        "split": {"fractions": [0.5, 0.2, 0.3]},
        "task": {"target": "label"},
        "fusion": {"strategy": "late"},
        "train": {"steps": 60, "batch_size": 16, "evaluations": 2, "learning_rate": 0.003},
        **changes,
    }


@pytest.fixture(scope="module")
def folder(store, tmp_path_factory):
    return recipes.train(values(store), to=tmp_path_factory.mktemp("run") / "run").folder


def test_attention_learns_what_only_the_season_tells(store, folder):
    run = open_run(folder)
    assert run.test["label"]["macro_f1"] > 0.9


def test_arrays_are_predicted_like_the_store(store, folder):
    expected = predict_store(folder / "model", store)
    assert np.flatnonzero(~expected["predicted"]).tolist() == [5, 6]
    rows = np.array([0, 1, 2])
    arrays = {
        "scenes": store.read("scenes", rows),
        "scenes.times": store.times("scenes", rows),
        "season": store.read("season", rows),
    }
    found = predict_arrays(folder / "model", arrays)["label"]
    columns = [f"label.p.{name}" for name in found.classes]
    np.testing.assert_allclose(found.values, expected.loc[rows, columns].to_numpy(dtype=float), atol=1e-5)
    with pytest.raises(UsageError, match="the model needs the times of 'scenes'"):
        predict_arrays(folder / "model", {name: arrays[name] for name in ("scenes", "season")})


def test_swapped_series_take_their_times_along(store, folder):
    table = attribute(folder, repeats=2).table.query("kind == 'permutation' and metric == 'macro_f1'").set_index("name")
    assert table.loc["scenes", "value"] > 0.2 > table.loc["season", "value"]


def test_maps_of_scenes_take_none_and_say_what_does(folder, tmp_path):
    with pytest.raises(UsageError, match="take no series of images, which 'scenes' is"):
        map_scenes(folder / "model", None, tmp_path / "map.tif", layers={"scenes": "scene.tif"})


def test_one_geometry_for_all_dates_and_nothing_else_moves(store):
    loader = Loader(store, {"scenes": None})
    batch = loader.read(np.array([0, 1, 2, 3]))
    turned = make_augmentation(AugmentOptions(turns=True), loader.modalities, {})(
        batch, torch.Generator().manual_seed(1)
    )
    assert not torch.equal(turned.inputs["scenes"], batch.inputs["scenes"])
    whole, moved = batch.inputs["scenes"].int(), turned.inputs["scenes"].int()
    for patch, after in zip(whole, moved, strict=True):
        turns = [patch.rot90(k, (-2, -1)) for k in range(4)]
        assert any(torch.equal(after, each) or torch.equal(after, each.flip(-1)) for each in turns)
    assert turned.inputs["scenes.times"] is batch.inputs["scenes.times"]


def test_dates_are_dropped_and_moved_but_one_stays(store):
    loader = Loader(store, {"scenes": None})
    batch = loader.read(np.arange(4))
    options = AugmentOptions(drop_dates=0.9, shift_dates=10)
    times = make_augmentation(options, loader.modalities, {})(batch, torch.Generator().manual_seed(1)).inputs[
        "scenes.times"
    ]
    before = batch.inputs["scenes.times"]
    assert times.isfinite().any(1).all()
    assert times.isnan().sum() > 8
    moved = (times - before).nanmean(1, keepdim=True)
    assert ((times - before - moved).nan_to_num().abs() < 0.01).all()
    assert 0 < moved.abs().max() <= 10


def test_everything_that_augments_takes_them_but_pasted_parts(store):
    loader = Loader(store, {"scenes": None, "season": None})
    options = AugmentOptions(preset="strong", drop_modalities=0.3)
    augment = make_augmentation(options, loader.modalities, {"label": SINGLE_LABEL})
    batch = loader.read(np.arange(8))
    for seed in range(4):
        found = augment(batch, torch.Generator().manual_seed(seed))
        assert found.inputs["scenes"].shape == batch.inputs["scenes"].shape
        assert found.inputs["scenes.times"].isfinite().any(1)[found.present["scenes"]].all()
    with pytest.raises(UsageError, match="can't be pasted into another"):
        make_augmentation(AugmentOptions(cutmix=1.0), loader.modalities, {"label": SINGLE_LABEL})


def test_unlabelled_patches_with_more_dates_are_learned_from(tmp_path):
    store = pack_source(FakeSource(patches=40, size=8, modalities=(SCENES,)), tmp_path / "ragged.store", workers=1)
    recipe = values(store, inputs=["scenes"], fusion={"strategy": "single"}, labels={"amount": 6})
    recipe |= {"unlabelled": {"method": "fixmatch", "threshold": 0.51}}
    recipe["train"] |= {"steps": 3, "batch_size": 4, "evaluations": 1}
    assert recipes.train(recipe, to=tmp_path / "run").test["label"]["macro_f1"] >= 0


@pytest.mark.parametrize("method", ["byol", "cross_modal", "masked"])
def test_pretraining_takes_them_beside_rasters(tmp_path, method):
    store = pack_source(FakeSource(patches=30, size=32, modalities=(SCENES, SENTINEL1)), tmp_path / "s", workers=1)
    recipe = values(store, inputs=["scenes", "s1"], pretrain={"method": method})
    recipe["train"] |= {"steps": 2, "batch_size": 4, "evaluations": 1}
    del recipe["task"]
    assert np.isfinite(
        [each for each in recipes.pretrain(recipe, to=tmp_path / "run").result["after"].values() if each]
    ).all()


def test_options_that_are_not_chosen_leave_recipes_as_they_were():
    assert not {"drop_dates", "shift_dates"} & AugmentOptions().model_dump().keys()
    assert AugmentOptions(drop_dates=0.5).model_dump()["drop_dates"] == 0.5


def test_pixels_are_predicted(tmp_path):
    store = pack_source(SeasonalSource(patches=40, size=32, modalities=(SCENES, SENTINEL1)), tmp_path / "p", workers=1)
    recipe = values(
        store, inputs=["scenes"], task={"target": "s1.VV"}, fusion={"strategy": "single", "temporal": "mean"}
    )
    recipe["train"] |= {"steps": 2, "batch_size": 4, "evaluations": 1}
    assert np.isfinite(recipes.train(recipe, to=tmp_path / "run").test["s1.VV"]["rmse"])

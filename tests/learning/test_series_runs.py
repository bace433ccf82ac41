"""Series from the store to predictions, with rasters beside them and without any."""

import numpy as np
import pytest

from eofuse import recipe as recipes
from eofuse.data.loading import Loader
from eofuse.data.store.pack import pack_source
from eofuse.errors import UsageError
from eofuse.inference.predict import predict_store
from eofuse.kinds import SINGLE_LABEL
from eofuse.learning.augment import AugmentOptions, make_augmentation
from eofuse.modalities import SEASON, SENTINEL1
from fake_source import GREENNESS, RisingSource


@pytest.fixture(scope="module")
def flat_store(tmp_path_factory):
    """120 patches whose label shows in whether their series rises; there is no raster."""
    source = RisingSource(patches=120, modalities=(GREENNESS, SEASON))
    return pack_source(source, tmp_path_factory.mktemp("flat") / "flat.store", workers=1)


@pytest.fixture(scope="module")
def mixed_store(tmp_path_factory):
    """The same beside a raster that shows nothing."""
    source = RisingSource(patches=40, size=32, modalities=(SENTINEL1, GREENNESS, SEASON))
    return pack_source(source, tmp_path_factory.mktemp("mixed") / "mixed.store", workers=1)


def values(store, inputs, **fusion) -> dict:
    return {
        "data": {"store": str(store.path)},
        "inputs": inputs,
        "split": {"fractions": [0.5, 0.2, 0.3]},
        "task": {"target": "label"},
        "fusion": fusion,
        "train": {"steps": 60, "batch_size": 32, "evaluations": 3, "learning_rate": 0.003},
    }


@pytest.mark.parametrize(
    ("inputs", "fusion"),
    [
        (["greenness"], {"strategy": "single", "series": "convolution"}),
        (["greenness"], {"strategy": "single", "series": "transformer"}),
        (["greenness", "season"], {"strategy": "late", "numbers": "piecewise"}),
        (["greenness", "season"], {"strategy": "early", "numbers": "piecewise"}),
    ],
    ids=["convolution", "transformer", "late in pieces", "early in pieces"],
)
def test_the_order_of_steps_is_learned_without_any_raster(flat_store, tmp_path, inputs, fusion):
    run = recipes.train(values(flat_store, inputs, **fusion), to=tmp_path / "run")
    told = predict_store(run.folder / "model", flat_store)
    test = flat_store.index["split"].notna().to_numpy()
    assert np.isfinite(told.loc[test, "label.confidence"]).all()
    assert run.test["label"]["macro_f1"] > 0.85


def test_masked_pretraining_leaves_series_as_they_are(mixed_store, tmp_path):
    recipe = {
        **values(mixed_store, ["s1", "greenness", "season"], strategy="late", numbers="piecewise"),
        "train": {"steps": 2, "batch_size": 8, "evaluations": 1},
        "pretrain": {"method": "masked", "block": 4},
    }
    del recipe["task"]
    run = recipes.pretrain(recipe, to=tmp_path / "run")
    assert np.isfinite(list(run.result["after"].values())).all()


def test_masked_pretraining_without_pixels_is_an_error(flat_store, tmp_path):
    recipe = {**values(flat_store, ["greenness"], strategy="single"), "pretrain": {"method": "masked"}}
    del recipe["task"]
    with pytest.raises(UsageError, match="there are no pixels to reconstruct"):
        recipes.pretrain(recipe, to=tmp_path / "run")


def test_augmented_series_are_whole_series_of_the_store_or_missing(mixed_store):
    loader = Loader(mixed_store, dict.fromkeys(mixed_store.modalities))
    options = AugmentOptions(preset="strong", mixup=1.0, drop_modalities=0.3)
    augment = make_augmentation(options, loader.modalities, {"label": SINGLE_LABEL})
    batch = loader.read(np.arange(40))
    stored = {series.tobytes() for series in batch.inputs["greenness"].numpy()}
    missing = 0
    for series in augment(batch).inputs["greenness"].numpy():
        missing += bool(np.isnan(series).all())
        assert np.isnan(series).all() or series.tobytes() in stored
    assert 0 < missing < 40

"""Pretraining learns: by contrast, what a linear probe with twenty labels finds and not in random encoders; masked, what is hidden."""

from functools import cache

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from eofuse import recipe as recipes
from eofuse.config import merge, parse_options
from eofuse.data.splits import make_split
from eofuse.data.store.pack import pack_source
from eofuse.learning.pretraining import PretrainingOptions
from eofuse.learning.pretraining.examples import reconstructions
from eofuse.learning.pretraining.monitoring import embeddings
from eofuse.learning.pretraining.preparation import model_without_heads, prepare_unlabelled
from eofuse.models.model import build_model
from planted_factor import PERIODS, SharedFactorSource

LABELS = 20
ANY = {"pretrain": {"method": "simclr"}}
"""Random encoders are the same before any method."""

DRAWS = 5
"""Draws of the twenty labels, over which accuracies are averaged."""


@pytest.fixture(scope="module")
def striped(tmp_path_factory):
    source = SharedFactorSource(patches=800, size=24)
    return pack_source(source, tmp_path_factory.mktemp("pretraining") / "striped.store", workers=1)


@pytest.fixture
def values(striped) -> dict:
    return values_on(striped)


def values_on(store) -> dict:
    return {
        "data": {"store": str(store.path)},
        "inputs": ["s1", "s2"],
        "split": {"fractions": [0.5, 0.1, 0.4]},
        "fusion": {"strategy": "early", "encoder": "test_resnet"},
        "train": {"steps": 60, "batch_size": 32, "evaluations": 1, "learning_rate": 0.006},
    }


def probe(model, store, options) -> float:
    """Accuracy on the test patches of logistic regressions on frozen vectors, of 20 labelled training patches each."""
    split, truth = make_split(store.index, options.split), store.index["label"].to_numpy()
    loader = prepare_unlabelled(store, options).loader(options)
    train, test = (embeddings(model, loader, rows, torch.device("cpu")) for rows in (split.train, split.test))
    scores = []
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(len(split.train))
        of_class = [order[truth[split.train[order]] == number] for number in range(len(PERIODS))]
        chosen = np.concatenate([rows[: LABELS // len(PERIODS)] for rows in of_class])
        scaler = StandardScaler().fit(train[chosen])
        regression = LogisticRegression(C=0.1, max_iter=500).fit(
            scaler.transform(train[chosen]), truth[split.train[chosen]]
        )
        scores.append(regression.score(scaler.transform(test), truth[split.test]))
    return float(np.mean(scores))


@cache
def random_accuracy(strategy: str, store) -> float:
    """Accuracy of the probe on the best of two random encoders."""
    options = parse_options(PretrainingOptions, merge(values_on(store), {"fusion": {"strategy": strategy}, **ANY}))
    spec = model_without_heads(prepare_unlabelled(store, options), options)
    return max(probe(build_model(spec, seed=seed), store, options) for seed in (0, 1))


def gain(values, store, folder) -> float:
    """Accuracy of the probe after pretraining, above that of random encoders of the same kind."""
    run = recipes.pretrain(values, to=folder)
    return probe(run.model(), store, run.options) - random_accuracy(values["fusion"]["strategy"], store)


def test_cross_modal_pretraining_beats_random_encoders_by_far(values, striped, tmp_path):
    change = {"fusion": {"strategy": "late"}, "pretrain": {"method": "cross_modal"}, "train": {"steps": 30}}
    values = merge(values, change)
    assert gain(values, striped, tmp_path / "run") >= 0.15


def test_simclr_beats_random_encoders(values, striped, tmp_path):
    assert gain({**values, "pretrain": {"method": "simclr"}}, striped, tmp_path / "run") >= 0.1


def test_masked_autoencoding_predicts_hidden_pixels_from_those_that_are_visible(recipe, tmp_path):
    """Half of the patches are brighter throughout, so that what is visible tells more of the hidden pixels than their mean."""
    del recipe["task"]
    change = {"pretrain": {"method": "masked", "block": 4}, "train": {"evaluations": 1}}
    run = recipes.pretrain(merge(recipe, change), to=tmp_path / "run")
    (found,) = reconstructions(run.folder, most=24)
    mean = np.array(run.model().spec.statistics.mean["s1"])[:, None, None]
    hidden = np.broadcast_to(found.hidden[:, None], found.original.shape)
    error, of_mean = (np.abs(guess - found.original)[hidden].mean() for guess in (found.reconstructed, mean))
    assert error < 0.9 * of_mean

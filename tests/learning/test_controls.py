"""Controls: the constant predictor ignores the input, the frozen random encoder trains only a head."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from eofuse.config import merge, parse_options
from eofuse.data.store import open_store
from eofuse.data.store.pack import pack_source
from eofuse.data.targets import IGNORE
from eofuse.kinds import SEGMENTATION, SINGLE_LABEL
from eofuse.learning.controls import constant_control, frozen_random_control
from eofuse.learning.controls.linear import Linear, LinearHeads
from eofuse.learning.controls.per_pixel import _sample
from eofuse.learning.controls.pyramid import Pyramid
from eofuse.learning.options import RunOptions
from eofuse.learning.outputs import predictions_file
from eofuse.learning.preparation import prepare
from eofuse.learning.run import open_run, start_run
from eofuse.studies.grid import Cell
from eofuse.studies.summary import control_warnings
from fake_source import PlantedSource


def control(function, recipe, folder):
    start_run(parse_options(RunOptions, recipe), folder)
    function(folder)
    return open_run(folder)


def test_the_constant_is_the_class_frequency_of_the_training_patches(recipe, tmp_path):
    probabilities = np.array(
        control(constant_control, recipe, tmp_path / "run").predictions()["probabilities"].tolist()
    )
    assert (probabilities == probabilities[0]).all()
    assert probabilities[0].sum() == pytest.approx(1)


@pytest.mark.parametrize("strategy", ["late", "early", "decision"])
def test_a_frozen_random_encoder_shows_a_strong_signal(recipe, tmp_path, strategy):
    values = merge(recipe, {"fusion": {"strategy": strategy}})
    run = control(frozen_random_control, {**values, "inputs": ["s1", "s2", "season"]}, tmp_path / "run")
    assert run.test["label"]["accuracy"] > 0.7


def test_a_frozen_random_encoder_of_what_holds_no_signal_stays_at_chance(recipe, tmp_path):
    assert (
        control(frozen_random_control, {**recipe, "inputs": ["s2"]}, tmp_path / "run").test["label"]["accuracy"] < 0.7
    )


def test_a_control_is_the_same_each_time(recipe, tmp_path):
    first, again = (control(frozen_random_control, recipe, tmp_path / name) for name in ("first", "again"))
    assert predictions_file(first.folder, "label").read_bytes() == predictions_file(again.folder, "label").read_bytes()


def test_multi_label_controls_give_a_probability_for_each_class(ben_real_40, recipe, tmp_path):
    from eofuse.data.store.pack import pack

    store = pack(ben_real_40, tmp_path / "real.store", workers=1)
    values = {**recipe, "data": {"store": str(store.path), "crop": 32}, "task": {"target": "clc19"}, "inputs": ["s2"]}
    run = control(frozen_random_control, values, tmp_path / "run")
    probabilities = np.array(run.predictions()["probabilities"].tolist())
    assert probabilities.shape[1] == 19
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


def test_a_head_is_neither_fitted_nor_asked_where_it_does_not_decide(recipe):
    options = parse_options(RunOptions, recipe)
    prepared = prepare(open_store(options.data.store), options)
    task, draw = prepared.tasks[0], np.random.default_rng(0)
    truth = np.arange(80) % 2
    signal, noise = draw.normal(4 * truth[:, None], 1, (80, 3)), draw.normal(size=(80, 2))
    signal[40:] = np.nan
    heads = LinearHeads(task, [signal, noise, np.full((80, 1), np.nan)], truth, 1.0)
    told, alone = (
        heads.predict([signal, noise, np.full((80, 1), np.nan)]),
        Linear(task, noise, truth, 1.0).predict(noise),
    )
    np.testing.assert_allclose(told[40:], alone[40:])
    assert (told[:40].argmax(1) == truth[:40]).mean() > 0.9
    nobody = heads.predict([np.full((2, 3), np.nan), np.full((2, 2), np.nan), np.zeros((2, 1))])
    np.testing.assert_allclose(nobody, np.tile(task.constant, (2, 1)))


def test_a_frozen_encoder_does_not_count_where_its_modality_is_absent(tmp_path, monkeypatch):
    source = PlantedSource(patches=120, absent={"s1": set(range(0, 120, 2))})
    store = pack_source(source, tmp_path / "gaps.store", workers=1)
    recipe = {
        "data": {"store": str(store.path)},
        "inputs": ["s1", "s2"],
        "split": {"fractions": [0.5, 0.2, 0.3]},
        "task": {"target": "label"},
        "fusion": {"strategy": "decision", "missing": "token"},
    }
    asked = []
    predict = LinearHeads.predict

    def watched(self, features):
        asked.append([np.isfinite(each).all(axis=1) for each in features])
        return predict(self, features)

    monkeypatch.setattr(LinearHeads, "predict", watched)
    table = control(frozen_random_control, recipe, tmp_path / "run").predictions()
    s1, s2 = asked[-1]  # of the test patches
    np.testing.assert_array_equal(s1, store.present("s1")[table["row"]])
    assert s2.all()


def test_pixels_of_linear_models_are_drawn_from_all_that_have_a_label(monkeypatch):
    truth = np.full((30, 8, 8), IGNORE, dtype=np.uint8)
    truth[:20, 2, 2:5] = 1
    truth[20:, 7] = 0
    target = SimpleNamespace(read=lambda rows, window: truth[rows])
    task = SimpleNamespace(name="map", kind=SEGMENTATION, target=target, known=lambda rows: rows)
    prepared, loader = (
        SimpleNamespace(rows={"train": np.arange(30)}),
        SimpleNamespace(window=None, read=lambda rows: rows),
    )

    def features(rows):
        """Patch and position of each pixel."""
        position = np.broadcast_to(np.arange(64).reshape(8, 8), (len(rows), 8, 8))
        planes = np.stack([np.broadcast_to(rows[:, None, None], position.shape), position], axis=1)
        return [Pyramid([planes.astype(float)], [1], (8, 8), np.ones(len(rows), dtype=bool))]

    monkeypatch.setattr("eofuse.learning.controls.per_pixel.MOST_SAMPLES", 100)
    [places], labels = _sample(task, prepared, loader, features, seed=0)
    assert len(np.unique(places, axis=0)) == len(labels) == 100
    np.testing.assert_array_equal(truth.reshape(30, 64)[places[:, 0].astype(int), places[:, 1].astype(int)], labels)
    assert 30 <= (labels == 1).sum() <= 56  # 60 of 140 pixels


def _correlated_samples(count=400, width=60):
    """Features as correlated as those of a random network, and classes that depend on the weakest of their directions."""
    draw = np.random.default_rng(0)
    directions = draw.normal(size=(count, width))
    weakest = directions[:, width // 2 :].sum(axis=1)
    mixing = np.linalg.qr(draw.normal(size=(width, width)))[0] * np.geomspace(1, 1e-3, width)[:, None]
    return directions @ mixing, np.digitize(weakest + draw.normal(size=count), [-3, 3])


def test_linear_models_find_the_best_model():
    features, truth = _correlated_samples()
    task = SimpleNamespace(kind=SINGLE_LABEL, classes=("a", "b", "c"))
    model = Linear(task, features, truth, strength=1.0)
    scaled = StandardScaler().fit_transform(features)
    exact = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-10).fit(scaled, truth)
    assert model.converged
    np.testing.assert_allclose(model.predict(features), exact.predict_proba(scaled), atol=2e-3)


def test_a_linear_model_that_did_not_converge_is_said(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("eofuse.learning.controls.linear.MOST_ITERATIONS", 2)
    run = control(frozen_random_control, recipe, tmp_path / "run")
    [warning] = run.result["warnings"]
    assert "did not converge in 2 iterations" in warning
    cell = Cell("s1 (frozen random)", "frozen_random", run.options)
    assert control_warnings([(cell, run)]) == [f"s1 (frozen random), seed 0: {warning}."]

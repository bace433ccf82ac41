"""Controls: the constant predictor ignores the input, the frozen random encoder trains only a head."""

import numpy as np
import pytest

from eofuse.config import merge, parse_options
from eofuse.learning.controls import constant_control, frozen_random_control
from eofuse.learning.options import RunOptions
from eofuse.learning.outputs import predictions_file
from eofuse.learning.run import open_run, start_run


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
    from eofuse.data.pack import pack

    store = pack(ben_real_40, tmp_path / "real.store", workers=1)
    values = {**recipe, "data": {"store": str(store.path), "crop": 32}, "task": {"target": "clc19"}, "inputs": ["s2"]}
    run = control(frozen_random_control, values, tmp_path / "run")
    probabilities = np.array(run.predictions()["probabilities"].tolist())
    assert probabilities.shape[1] == 19
    assert ((probabilities >= 0) & (probabilities <= 1)).all()

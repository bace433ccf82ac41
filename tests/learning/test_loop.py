"""The loop's parts that can be told apart: schedule, evaluation steps, optimiser groups, options."""

from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eofuse.config import Options, parse_options
from eofuse.errors import UsageError
from eofuse.learning.loop import Schedule, TrainOptions, evaluation_steps, learning_rate_factor, make_optimizer


@given(steps=st.integers(1, 3000), warmup=st.floats(0, 0.9), schedule=st.sampled_from(get_args(Schedule)))
def test_the_learning_rate_rises_to_its_peak_and_never_again(steps, warmup, schedule):
    factors = [learning_rate_factor(step, steps, warmup, schedule) for step in range(steps)]
    peak = factors.index(max(factors))
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert peak == round(warmup * steps) or peak == steps - 1


def test_each_schedule_has_its_own_shape():
    rates = {name: [learning_rate_factor(step, 8, 0.0, name) for step in range(8)] for name in get_args(Schedule)}
    assert rates["constant"] == [1.0] * 8
    assert rates["linear"] == pytest.approx([1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
    assert rates["step"] == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])
    assert rates["cosine"][4] == pytest.approx(0.5)


def test_sgd_has_the_momentum_of_its_options_which_no_other_optimiser_takes():
    options = parse_options(TrainOptions, {"optimizer": "sgd", "momentum": 0})
    assert make_optimizer(torch.nn.Linear(2, 1), options).defaults["momentum"] == 0
    with pytest.raises(UsageError, match="momentum is an option of sgd"):
        parse_options(TrainOptions, {"momentum": 0.5})


def test_momentum_and_schedule_change_the_identity_of_a_recipe_only_where_they_are_chosen():
    left_out = {"train": {"checkpoint_minutes"}}

    class Recipe(Options):
        train: TrainOptions

    plain = Recipe(train=TrainOptions()).model_dump(mode="json", exclude=left_out)["train"]
    assert list(plain) == list(TrainOptions(schedule="cosine", momentum=0.9).model_dump(exclude=left_out["train"]))
    assert not {"momentum", "schedule", "checkpoint_minutes"} & set(plain)
    chosen = TrainOptions(optimizer="sgd", momentum=0.0, schedule="constant").model_dump(mode="json")
    assert (chosen["momentum"], chosen["schedule"]) == (0.0, "constant")


@given(steps=st.integers(1, 3000), evaluations=st.integers(1, 50))
def test_the_last_step_is_always_evaluated(steps, evaluations):
    chosen = evaluation_steps(steps, evaluations)
    assert max(chosen) == steps
    assert min(chosen) >= 1
    assert len(chosen) <= evaluations


@pytest.mark.parametrize(
    ("options", "budget"), [({}, 1000), ({"steps": 7}, 7), ({"epochs": 2.5, "batch_size": 10}, 25)]
)
def test_the_budget_is_in_steps_with_epochs_as_a_convenience(options, budget):
    assert TrainOptions(**options).budget(patches=100) == budget


def test_steps_and_epochs_exclude_each_other():
    with pytest.raises(UsageError, match="steps or epochs, not both"):
        parse_options(TrainOptions, {"steps": 5, "epochs": 1})


def test_frozen_parameters_are_not_optimised_and_biases_do_not_decay():
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    module[0].requires_grad_(False)
    decayed, plain = make_optimizer(module, TrainOptions()).param_groups
    assert [tuple(parameter.shape) for parameter in decayed["params"]] == [(1, 2)]
    assert [tuple(parameter.shape) for parameter in plain["params"]] == [(1,)]
    assert plain["weight_decay"] == 0

"""The loop's parts that can be told apart: schedule, evaluation steps, optimiser groups, options."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eofuse.config import parse_options
from eofuse.errors import UsageError
from eofuse.learning.loop import TrainOptions, evaluation_steps, learning_rate_factor, make_optimizer


@given(steps=st.integers(1, 3000), warmup=st.floats(0, 0.9))
def test_the_learning_rate_rises_to_its_peak_and_falls(steps, warmup):
    factors = [learning_rate_factor(step, steps, warmup) for step in range(steps)]
    peak = factors.index(max(factors))
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert peak == round(warmup * steps) or peak == steps - 1


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

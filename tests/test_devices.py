"""Names of devices, and what is said where there is none of a name."""

import pytest
import torch

from eofuse.config import parse_options
from eofuse.devices import find_device
from eofuse.errors import UsageError
from eofuse.learning.environment import describe_environment
from eofuse.learning.loop import TrainOptions


@pytest.fixture
def two_cards(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def nothing(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("name", "device"), [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu")]
)
def test_a_device_is_found_by_its_name(two_cards, name, device):
    assert find_device(name) == torch.device(device)


def test_auto_is_the_cpu_where_there_is_no_card(nothing):
    assert find_device() == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "found"),
    [("cuda", "no CUDA device here"), ("mps", "no MPS device here"), ("tpu", "'tpu' is no device: auto, cpu, cuda")],
)
def test_a_device_that_is_not_here_is_named(nothing, name, found):
    with pytest.raises(UsageError, match=found):
        find_device(name)


def test_a_number_beyond_the_last_card_says_which_there_are(two_cards):
    with pytest.raises(UsageError, match=r"no CUDA device 2 here.*cuda:0 to cuda:1"):
        find_device("cuda:2")


def test_a_recipe_with_an_unknown_device_is_refused():
    assert parse_options(TrainOptions, {"device": "cuda:3"}).device == "cuda:3"
    with pytest.raises(UsageError, match="'gpu' is no device"):
        parse_options(TrainOptions, {"device": "gpu"})


def test_a_run_on_the_processor_does_not_name_the_card(two_cards, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"card {number}")
    assert [describe_environment(name)["device"] for name in ("auto", "cuda:1", "cpu")] == ["card 0", "card 1", "CPU"]

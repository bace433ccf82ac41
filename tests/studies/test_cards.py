"""CUDA devices of a study: which its processes take, and how many run on each."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from eofuse.learning.loop import TrainOptions
from eofuse.studies.cards import cards_for, workers_on
from eofuse.studies.executors import Resources, Setting, local


@pytest.fixture
def three_cards(monkeypatch):
    memory = [80, 80, 12]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    properties = [SimpleNamespace(total_memory=size * 2**30) for size in memory]
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: properties[number])


def test_all_cards_are_taken_by_the_names_that_the_system_gave_them(three_cards, monkeypatch):
    assert cards_for([TrainOptions(), TrainOptions(device="cuda")]) == ["0", "1", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-a1,7")
    assert cards_for([TrainOptions()]) == ["4", "GPU-a1", "7"]


@pytest.mark.parametrize("device", ["cpu", "cuda:1", "mps"])
def test_runs_that_name_their_device_keep_it(three_cards, device):
    assert cards_for([TrainOptions(), TrainOptions(device=device)]) == []


def test_as_many_run_at_a_time_as_memory_and_cores_permit(three_cards, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert workers_on(["0", "1", "2"], threads=1) == 4 + 4 + 1
    assert workers_on(["0", "1", "2"], threads=32) == 2


def test_processes_take_cards_in_turn_and_the_place_of_one_that_ended(monkeypatch):
    class Idle:
        def __init__(self, threads: int, card: str | None = None) -> None:
            self.card, self.has_ended = card, False

    monkeypatch.setattr(local, "Worker", Idle)
    monkeypatch.setattr(local, "cards_for", lambda training: ["0", "1"])
    here = local.Local(Setting(Path(), "", [TrainOptions()], workers=4), Resources())
    started = [here._start() for _ in range(4)]
    assert [each.card for each in started] == ["0", "1", "0", "1"]
    started[1].has_ended = True
    assert here._start().card == "1"

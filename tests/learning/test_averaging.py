"""The moving average of weights: its numbers, its place in a run, its way through a checkpoint."""

import pytest
import torch
from safetensors.torch import load_file

from eofuse import recipe as recipes
from eofuse.config import parse_options
from eofuse.learning import loop
from eofuse.learning.averaging import WeightAverage
from eofuse.learning.options import RunOptions
from eofuse.learning.run import start_run, train_run
from partly_known import small_recipe


def recipe_of(store, **train) -> dict:
    few = {"steps": 4, "evaluations": 2, "average": 0.9, "checkpoint_minutes": 1e-6, **train}
    return small_recipe(store, few, task={"target": "label"}, fusion={"strategy": "late", "weights": "shared"})


def test_the_average_follows_the_weights_and_gives_them_back():
    module = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.BatchNorm1d(1))
    average = WeightAverage(module, decay=0.25)
    expected = {name: each.clone() for name, each in module.state_dict().items()}
    for step in (1, 2, 3):
        for each in module.state_dict().values():
            each.add_(step)
        average.update(step)
        decay = min(0.25, (1 + step) / (10 + step))
        expected = {name: decay * expected[name] + (1 - decay) * each for name, each in module.state_dict().items()}
    own = {name: each.clone() for name, each in module.state_dict().items()}
    with average.in_place():
        found = {name: each.clone() for name, each in module.state_dict().items()}
    for name, each in module.state_dict().items():
        assert torch.equal(each, own[name])
        wanted = own[name] if name.endswith("num_batches_tracked") else expected[name]
        torch.testing.assert_close(found[name], wanted)


def test_a_run_keeps_the_average_and_a_killed_one_goes_on_to_the_same_bits(planted_store, tmp_path, monkeypatch):
    kept = {}
    for name, change in {"plain": {"average": None}, "whole": {}}.items():
        run = recipes.train(recipe_of(planted_store, **change), to=tmp_path / name)
        kept[name] = load_file(run.folder / "model" / "model.safetensors")
    plain, whole = kept.values()
    assert any(not torch.equal(plain[name], whole[name]) for name in whole)

    class KilledError(Exception):
        """Stands for a signal."""

    saved, save = [], loop.save

    def save_and_die(*content):
        save(*content)
        saved.append(content)
        if len(saved) == 3:
            raise KilledError

    folder = tmp_path / "killed"
    start_run(parse_options(RunOptions, recipe_of(planted_store)), folder)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "save", save_and_die)
        with pytest.raises(KilledError):
            train_run(folder)
    train_run(folder)
    again = load_file(folder / "model" / "model.safetensors")
    assert all(torch.equal(again[name], whole[name]) for name in whole)

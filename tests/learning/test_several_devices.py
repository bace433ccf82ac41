"""Several processes train one model: the gradients of one process on the whole batch, the same bits after a kill, one end for all."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from eofuse import ranks
from eofuse import recipe as recipes
from eofuse.cli import main
from eofuse.config import merge, parse_options
from eofuse.errors import DataError, UsageError
from eofuse.forking import start
from eofuse.learning import fitting, launching
from eofuse.learning.loop import Training, reseed
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import prepare
from eofuse.learning.pretraining import METHODS, PretrainingOptions
from eofuse.learning.pretraining.preparation import prepare_unlabelled
from eofuse.learning.pretraining.run import make_objective, model_without_heads
from eofuse.learning.run import open_run, start_run, train_run
from eofuse.learning.validation import Validation
from eofuse.models.model import build_model
from eofuse.tasks.gathering import predict_with
from partly_known import partly_known_store, small_recipe
from ranks_forked import EndedError, in_ranks

BOXES = {"target": "regions", "classes": ["permanent_water_bodies"], "network": "retinanet"}
LEARNED = {
    "single_label": {"task": {"target": "label"}},
    "multi_label": {"task": {"target": "land_cover_above", "threshold": 0.15}},
    "regression": {"task": {"target": "value"}},
    "segmentation": {"task": {"target": "worldcover", "loss": "cross_entropy+dice"}},
    "pixel_regression": {"task": {"target": "elevation"}},
    "detection": {"task": BOXES},
    "missing": {"task": {"target": "label"}, "fusion": {"strategy": "decision", "missing": "token"}},
    "uncertainty": {"tasks": {"label": {}, "value": {}}, "weighting": "uncertainty"},
    "gradient_norm": {"tasks": {"label": {}, "worldcover": {}}, "weighting": "gradient_norm"},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return partly_known_store(tmp_path_factory.mktemp("several") / "several.store")


def recipe_of(store, **change) -> dict:
    return small_recipe(store, {"steps": 4, "batch_size": 8, "evaluations": 2}, **change)


def without_statistics_of_batches(module: torch.nn.Module) -> None:
    """Batch norms as they are in evaluation: of a part of a batch, they differ."""
    for each in module.modules():
        if isinstance(each, torch.nn.modules.batchnorm._BatchNorm):
            each.eval()


def gradients(objective, batch) -> tuple[list[np.ndarray], float]:
    """Of a batch, of which each process has a part, and the loss."""
    objective.module.train()
    without_statistics_of_batches(objective.module)
    place = ranks.place()
    part = batch.parts(place.size)[place.rank]
    with ranks.together():
        for loss, _ in objective.losses([part], lambda number: reseed(0, 0, place.rank)):
            loss.backward()
    learned = [each for each in objective.module.parameters() if each.requires_grad]
    ranks.average(learned)
    return [None if each.grad is None else each.grad.numpy() for each in learned], loss.item()


def gradients_of_tasks(store) -> dict:
    found = {}
    for name, change in LEARNED.items():
        options = parse_options(RunOptions, recipe_of(store, **change))
        prepared = prepare(store, options)
        model, _ = fitting.begin(prepared, options, store.path)
        batch = prepared.loader(options).read(fitting.rows_of_step(prepared, options)(0))
        found[name] = gradients(fitting.supervised(model, prepared, options), batch)
    return found


def assert_alike(one, other) -> None:
    (gradients_of_one, loss), (gradients_of_other, other_loss) = one, other
    assert other_loss == pytest.approx(loss, rel=1e-5)
    scale = max(np.abs(each).max() for each in gradients_of_one if each is not None)
    for first, second in zip(gradients_of_one, gradients_of_other, strict=True):
        assert (first is None) == (second is None)
        if first is not None:
            np.testing.assert_allclose(second, first, rtol=1e-4, atol=1e-5 * scale)


def test_two_processes_have_the_gradients_of_one_whatever_is_learned(store):
    alone, (first, second) = gradients_of_tasks(store), in_ranks(gradients_of_tasks, store)
    for name in LEARNED:
        assert_alike(alone[name], first[name])
        for one, other in zip(first[name][0], second[name][0], strict=True):
            np.testing.assert_array_equal(one, other)


def gradients_of_pretraining(store) -> dict:
    """By every method but `masked`, which hides other blocks in every process."""
    found = {}
    for method in sorted(set(METHODS) - {"masked"}):
        own = {"clusters": 3} if method == "clusters" else {}
        change = {"pretrain": {"method": method, **own}, "fusion": {"strategy": "late"}}
        options = parse_options(PretrainingOptions, recipe_of(store, **change))
        data = prepare_unlabelled(store, options)
        model = build_model(model_without_heads(data, options), seed=options.seed)
        batch = data.loader(options).read(data.rows["train"][:8])
        objective = make_objective(model, data, options)
        objective.view = lambda batch: batch  # every process draws views of its own
        objective.views = dict.fromkeys(["s1", "s2"], objective.view)
        found[method] = gradients(objective, batch)
    return found


def test_pretraining_compares_the_patches_of_all_processes(store):
    alone, (found, _) = gradients_of_pretraining(store), in_ranks(gradients_of_pretraining, store)
    for method, expected in alone.items():
        assert_alike(expected, found[method])


AUGMENTED = {"task": {"target": "label"}, "augment": "light", "train": {"checkpoint_minutes": 1e-6}}


def train_folder(folder: Path, killed_at: int | None = None, victim: int = 1) -> None:
    """Trains or goes on; one of the processes is killed, as by kill −9, when it begins a step."""
    original = Training._set_gradients

    def set_gradients(training, batch, step):
        if step == killed_at and ranks.place().rank == victim:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(training, batch, step)

    Training._set_gradients = set_gradients  # in a fork
    launching.train_folder(folder)


def begun(values, folder: Path, kind=RunOptions) -> Path:
    start_run(parse_options(kind, values), folder)
    return folder


@pytest.fixture
def soon(monkeypatch):
    """A process does not wait long for the error of another one, which was killed and has none."""
    monkeypatch.setattr(ranks, "MOMENT_S", 0.3)


@pytest.fixture(scope="module")
def trained_by_two(store, tmp_path_factory) -> Path:
    """A run with batch norm and augmentation, by two processes that the command began; leave it as it is."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "recipe.yaml").write_text(json.dumps(recipe_of(store, **AUGMENTED)))
    assert main(["train", str(folder / "recipe.yaml"), "--to", str(folder / "run"), "train.devices=2"]) == 0
    return folder / "run"


def test_a_process_that_is_killed_ends_all_and_the_run_goes_on_to_the_same_bits(store, trained_by_two, tmp_path, soon):
    folder = begun(recipe_of(store, **AUGMENTED), tmp_path / "run")
    first, second = in_ranks(train_folder, folder, 3, 1)
    assert isinstance(first, ranks.LostError)
    assert second.args == (-signal.SIGKILL,)
    assert in_ranks(train_folder, folder) == [None, None]
    for name in ("model/model.safetensors", "losses.csv", "evaluations.csv"):
        assert (folder / name).read_bytes() == (trained_by_two / name).read_bytes(), name


def test_the_run_says_how_many_processes_trained_it(trained_by_two):
    environment = json.loads((trained_by_two / "environment.json").read_text())
    assert environment["processes"] == "2 on one machine, gloo"
    assert "own part of a batch" in environment["batch_norm"]
    assert recipes.open_run(trained_by_two).test is not None


def test_a_run_that_goes_on_with_another_number_of_processes_says_so(store, tmp_path):
    folder = begun(recipe_of(store, **AUGMENTED), tmp_path / "run")
    ends = in_ranks(train_folder, folder, 3, 0)
    assert all(isinstance(end, EndedError) for end in ends)  # what is left of them has nobody to tell
    said = []
    run = recipes.resume(folder, lambda done, total, words: said.append(words))
    assert said[0] == "goes on with 1 process, not 2"
    assert any("changed on the way (2 from step 1, 1 from step 4)" in note for note in run.notes())


def test_two_processes_end_with_the_weights_of_one(store, tmp_path):
    """Without batch norm, and with SGD: AdamW makes whole steps of what is but rounding in a gradient near zero.

    The second run begins with layers that don't learn yet.
    """
    values = recipe_of(
        store, tasks={"label": {}, "value": {}}, fusion={"encoder": "test_convnext"}, train={"optimizer": "sgd"}
    )
    further = merge(values, {"seed": 1, "start": {"from": str(tmp_path / "first" / "one"), "mode": "unfreeze"}})
    for name, recipe in {"first": values, "further": further}.items():
        one, two = (begun(recipe, tmp_path / name / number) for number in ("one", "two"))
        train_run(one)
        assert in_ranks(train_folder, two) == [None, None]
        models = [open_run(folder).model().state_dict() for folder in (one, two)]
        torch.testing.assert_close(models[1], models[0], rtol=0, atol=1e-6)


def scores(store, values, folder) -> dict:
    options = parse_options(RunOptions, values)
    prepared = prepare(store, options)
    model, _ = fitting.begin(prepared, options, folder)
    return Validation(prepared, options, predict_with(model, torch.device("cpu")), model.spec.heads).evaluate()


def test_scores_on_validation_are_those_of_one_process(store, tmp_path, monkeypatch):
    monkeypatch.setattr("eofuse.tasks.gathering.BATCH_SIZE", 4)
    values = recipe_of(store, tasks={"label": {}, "value": {}, "elevation": {}})
    assert in_ranks(scores, store, values, tmp_path, count=3) == [scores(store, values, tmp_path)] * 3


def fail(rank: int) -> None:
    if ranks.place().rank == rank:
        raise DataError("is truncated", where="B02.tif", fix="fetch it again")
    ranks.wait()


def test_an_error_in_one_process_is_raised_once(capfd):
    first, second = in_ranks(fail, 1)
    assert str(first) == "B02.tif: is truncated (process 2 of 2); fetch it again"
    assert second.args == (DataError.exit_code,)
    first, second = in_ranks(fail, 0)
    assert str(first) == "B02.tif: is truncated; fetch it again"
    assert second.args == (DataError.exit_code,)


def test_a_killed_pretraining_goes_on_to_the_same_bits(store, tmp_path, soon):
    few = {"steps": 2, "evaluations": 1, "checkpoint_minutes": 1e-6}
    values = recipe_of(store, inputs=["s1"], pretrain={"method": "masked", "block": 8}, train=few)
    whole, killed = (begun(values, tmp_path / name, PretrainingOptions) for name in ("whole", "killed"))
    in_ranks(train_folder, whole)
    in_ranks(train_folder, killed, 1, 1)
    in_ranks(train_folder, killed)
    for name in ("model/model.safetensors", "losses.csv", "evaluations.csv"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_process_that_the_system_kills_is_an_error(store, tmp_path, monkeypatch):
    def started_and_killed(module, arguments, env):
        process = start(module, arguments, env)
        process.kill()
        return process

    monkeypatch.setattr(launching, "start", started_and_killed)
    with pytest.raises(DataError, match=r"process [12] of 2 was killed; what is done is kept"):
        recipes.train(recipe_of(store, task={"target": "label"}, train={"devices": 2}), to=tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": {"nodes": 2}}, "2 machines need a launcher; start it on each with `torchrun"),
        ({"train": {"devices": 2, "batch_size": 3}}, "3 makes no 2 parts .* of two patches; use 4 or more"),
        ({"train": {"devices": 2, "device": "cuda:1"}}, "can't train on the one device cuda:1"),
        ({"train": {"devices": 2}, "unlabelled": {}}, "pseudo-labels can't be learned by several processes yet"),
    ],
)
def test_what_several_processes_can_not_do_is_refused(store, tmp_path, change, message):
    with pytest.raises(UsageError, match=message):
        recipes.train(recipe_of(store, **merge({"task": {"target": "label"}}, change)), to=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_study_gives_each_run_one_process(store, tmp_path):
    with pytest.raises(UsageError, match="a run of a study has one process"):
        recipes.study(recipe_of(store, train={"devices": 2}), to=tmp_path / "study")


def test_places_are_those_that_torchrun_and_slurm_say(monkeypatch):
    for name, value in {"NUM_TASKS": "8", "NODELIST": "gpu[03-04]", "NUM_NODES": "2"}.items():
        monkeypatch.setenv(f"SLURM_STEP_{name}", value)
    for name, value in {"PROCID": "5", "LOCALID": "1", "JOB_ID": "123456"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    with monkeypatch.context() as patch:
        for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "GROUP_WORLD_SIZE"):
            patch.setenv(name, "")  # what it sets is taken away again
            patch.delenv(name)
        assert ranks.launched() == ranks.Place(5, 8, 1, 2)
        assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("gpu03", "18456")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(UsageError, match="does not say which one this is"):
        ranks.launched()

"""Batches that pass in parts: the parts add up to the whole batch, whatever is learned and however much of it is valid in a part."""

import numpy as np
import pytest
import torch

from eofuse import ranks
from eofuse import recipe as recipes
from eofuse.config import merge, parse_options
from eofuse.errors import UsageError
from eofuse.learning import fitting
from eofuse.learning.loop import reseed
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import prepare
from eofuse.learning.pretraining import PretrainingOptions
from partly_known import partly_known_store, small_recipe

TASKS = {
    "single_label": {"target": "label"},
    "multi_label": {"target": "land_cover_above", "threshold": 0.15},
    "regression": {"target": "value"},
    "segmentation": {"target": "worldcover", "loss": "cross_entropy+focal"},
    "pixel_regression": {"target": "elevation"},
    "detection": {"target": "regions", "classes": ["permanent_water_bodies"], "network": "retinanet"},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return partly_known_store(tmp_path_factory.mktemp("parts") / "parts.store")


def recipe_of(store, **change) -> dict:
    return small_recipe(store, {"steps": 3, "evaluations": 1}, **change)


def gradients(store, values, parts: int) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Of the first batch in so many parts, with batch norms as they are in evaluation: of a part, they differ."""
    options = parse_options(RunOptions, values)
    prepared = prepare(store, options)
    model, _ = fitting.begin(prepared, options, store.path)
    objective = fitting.supervised(model, prepared, options)
    objective.module.train()
    for module in objective.module.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    batch = prepared.loader(options).read(fitting.rows_of_step(prepared, options)(0))
    total = torch.zeros(())
    for loss, _ in objective.losses(batch.parts(parts), lambda part: reseed(0, 0, part)):
        loss.backward()
        total = total + loss.detach()
    return [each.grad for each in objective.module.parameters() if each.grad is not None], total


@pytest.mark.parametrize("kind", TASKS)
def test_the_gradients_of_the_parts_are_those_of_the_batch(kind, store):
    values = recipe_of(store, task=TASKS[kind])
    (whole, loss), (parts, sums) = gradients(store, values, 1), gradients(store, values, 3)
    assert float(sums) == pytest.approx(float(loss), rel=1e-5)
    scale = max(float(each.abs().max()) for each in whole)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=2e-6 * scale)


def test_heads_that_do_not_count_on_every_patch_are_weighed_by_those_on_which_they_do(store):
    values = recipe_of(store, task={"target": "label"}, fusion={"strategy": "decision", "missing": "token"})
    (whole, loss), (parts, sums) = gradients(store, values, 1), gradients(store, values, 3)
    assert float(sums) == pytest.approx(float(loss), rel=1e-5)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-6)


def test_a_run_in_parts_ends_with_the_same_weights(store, tmp_path):
    """Without batch norm, and with SGD: AdamW makes whole steps of what is but rounding in a gradient near zero."""
    values = recipe_of(
        store, tasks={"label": {}, "value": {}}, fusion={"encoder": "test_convnext"}, train={"optimizer": "sgd"}
    )
    models, losses = [], []
    for count in (1, 2):
        run = recipes.train(merge(values, {"train": {"accumulate": count}}), to=tmp_path / str(count))
        models.append(run.model().state_dict())
        losses.append(run.curves().query("split == 'train' and step == 3")["value"].to_numpy())
    for name, value in models[0].items():
        torch.testing.assert_close(models[1][name], value, rtol=0, atol=1e-6)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


def test_one_process_is_alone(store):
    assert (ranks.place(), ranks.launched()) == (ranks.ALONE, None)
    assert list(ranks.own_part([1, 2, 3])) == ranks.joined_parts([1, 2, 3]) == [1, 2, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": {"target": "worldcover", "loss": "dice"}}, "dice of a batch is no sum over parts"),
        ({"tasks": {"label": {}, "value": {}}, "weighting": "uncertainty"}, "uncertainty looks at whole batches"),
        ({"task": {"target": "label"}, "unlabelled": {}}, "pseudo-labels come with whole batches"),
        ({"task": {"target": "label"}, "train": {"batch_size": 3}}, "3 makes no 2 parts of two patches"),
    ],
)
def test_what_does_not_add_up_is_refused(store, change, message):
    with pytest.raises(UsageError, match=message):
        parse_options(RunOptions, merge(recipe_of(store, train={"accumulate": 2}), change))


def test_a_pretraining_in_parts_is_refused(store):
    with pytest.raises(UsageError, match="compares the patches of whole batches"):
        parse_options(PretrainingOptions, recipe_of(store, pretrain={"method": "simclr"}, train={"accumulate": 2}))

"""Parts of pretraining: what is hidden, what hidden pixels can't tell, regions, batches without twins."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eofuse.config import parse_options
from eofuse.data.loading import distinct_rows
from eofuse.learning.augment import AugmentOptions
from eofuse.learning.pretraining import METHODS, PretrainingOptions, PretrainOptions
from eofuse.learning.pretraining.clusters import Clusters
from eofuse.learning.pretraining.cross_modal import CrossModal
from eofuse.learning.pretraining.inpainting import hide_middle
from eofuse.learning.pretraining.masked import draw_blocks, draw_hidden
from eofuse.learning.pretraining.monitoring import matching_accuracy
from eofuse.learning.pretraining.preparation import model_without_heads, prepare_unlabelled
from eofuse.learning.pretraining.reconstruction import Reconstruction, error_where_hidden
from eofuse.modalities import CLIMATE_ZONE, SENTINEL1
from eofuse.models.model import build_model


@pytest.fixture
def options(planted_store) -> PretrainingOptions:
    return parse_options(
        PretrainingOptions,
        {
            "data": {"store": str(planted_store.path)},
            "inputs": ["s1", "s2", "season"],
            "pretrain": {"method": "clusters", "clusters": 4},
        },
    )


@pytest.fixture
def data(planted_store, options):
    return prepare_unlabelled(planted_store, options)


@given(
    size=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    block=st.integers(1, 4),
    share=st.floats(0.05, 0.95),
    seed=st.integers(0, 9),
)
def test_each_patch_has_the_same_share_of_its_blocks_hidden(size, block, share, seed):
    torch.manual_seed(seed)
    hidden = draw_blocks(torch.zeros(3, 2, *size), share, block)
    assert hidden.shape == (3, 1, *size)
    corners = hidden[:, 0, ::block, ::block].flatten(1)
    cells = corners.shape[1]
    assert (corners.sum(1) == min(max(1, round(share * cells)), cells - 1)).all()
    whole = hidden[..., : size[0] // block * block, : size[1] // block * block]
    tiles = whole.unfold(2, block, block).unfold(3, block, block).flatten(-2)
    assert (tiles.all(-1) == tiles.any(-1)).all()


def test_a_share_of_the_patches_has_one_modality_hidden_as_a_whole():
    torch.manual_seed(0)
    normalised = {"s1": torch.zeros(2000, 2, 8, 8), "s2": torch.zeros(2000, 12, 8, 8), "season": torch.zeros(2000, 2)}
    hidden = draw_hidden(PretrainOptions(method="masked", block=2, hide=0.6), normalised, {})
    whole = torch.stack([values.flatten(1).all(1) for values in hidden.values()], 1)
    assert whole.sum(1).max() == 1
    assert whole.any(1).float().mean() == pytest.approx(0.6, abs=0.04)
    assert whole.float().mean(0).tolist() == pytest.approx([0.2] * 3, abs=0.03)


def test_rasters_are_masked_each_by_itself():
    torch.manual_seed(0)
    hidden = draw_hidden(
        PretrainOptions(method="masked", block=2, hide=0), {name: torch.zeros(4, 1, 8, 8) for name in "ab"}, {}
    )
    assert not torch.equal(hidden["a"], hidden["b"])


def test_inpainting_hides_the_middle():
    hidden = hide_middle(0.5, {"s1": torch.zeros(2, 2, 8, 12), "season": torch.zeros(2, 2)}, {})
    assert list(hidden) == ["s1"]
    expected = torch.zeros(8, 12, dtype=torch.bool)
    expected[2:6, 3:9] = True
    assert torch.equal(hidden["s1"][1, 0], expected)


@pytest.mark.parametrize("strategy", ["early", "late", "middle", "decision"])
def test_what_is_hidden_can_not_be_seen(data, options, strategy):
    """Other values where pixels are hidden leave what is told unchanged; the error follows them."""
    fusion = options.fusion.model_copy(update={"strategy": strategy})
    options = options.model_copy(update={"fusion": fusion})
    model = build_model(model_without_heads(data, options), seed=0)
    module = Reconstruction(model, partial(hide_middle, 0.5)).eval()
    batch = data.loader(options).read(data.rows["train"][:4]).inputs
    changed = {name: values.clone() for name, values in batch.items()}
    changed["s1"][..., 4:12, 4:12] += 7
    told = []
    for inputs in (batch, changed):
        hook = model.fusion.register_forward_hook(lambda _, given, output: told.append(output))
        errors = module(inputs)[1]
        hook.remove()
        told.append(errors)
    first, errors, second, changed_errors = told
    assert all(torch.equal(one.vector, other.vector) for one, other in zip(first, second, strict=True))
    assert changed_errors["s1"] != errors["s1"]
    assert changed_errors["s2"] == errors["s2"]


@pytest.fixture
def reconstruct(data, options):
    """(inputs, present) → loss and errors by modality of a model that is 1 off where values are data, and 100 where they are not."""

    def of(inputs, present):
        module = Reconstruction(build_model(model_without_heads(data, options), seed=0), partial(hide_middle, 0.5))
        truth, valid = module.model.normaliser(inputs), module.model.normaliser.valid(inputs, present)
        module._decode = lambda features, size: {
            name: [values + torch.where(valid.get(name, torch.tensor(True)), 1.0, 100.0).requires_grad_()]
            for name, values in truth.items()
        }
        loss, errors = module(inputs, present)
        loss.backward()
        return loss.item(), {name: error.item() for name, error in errors.items()}

    batch = data.loader(options).read(data.rows["train"][:4])
    return lambda change: of(
        *change({name: values.clone() for name, values in batch.inputs.items()}, dict(batch.present))
    )


def test_pixels_without_data_are_no_targets(reconstruct):
    def change(inputs, present):
        inputs["s1"][0, 0, 6:9, 6:9] = float("nan")
        inputs["s1"][1] = float("nan")
        return inputs, present

    loss, errors = reconstruct(change)
    assert errors == {"s1": 0.5, "s2": 0.5}
    assert loss == 0.5


def test_modalities_that_patches_lack_are_no_targets(reconstruct):
    def change(inputs, present):
        return inputs, present | {"s2": torch.tensor([True, False, False, True])}

    assert reconstruct(change)[1] == {"s1": 0.5, "s2": 0.5}


@pytest.mark.parametrize(("lacking", "loss"), [(["s1"], 0.5), (["s1", "s2"], 0.0)])
def test_what_no_patch_of_a_batch_has_does_not_count(reconstruct, lacking, loss):
    nobody = torch.zeros(4, dtype=torch.bool)
    assert reconstruct(lambda inputs, present: (inputs, present | dict.fromkeys(lacking, nobody)))[0] == loss


@given(seed=st.integers(0, 50), share=st.integers(13, 51).map(lambda number: number / 64), block=st.integers(1, 4))
def test_blocks_that_hold_data_are_hidden_by_the_share(seed, share, block):
    """Of shares that float32 holds exactly, as their number is rounded."""
    torch.manual_seed(seed)
    valid = torch.rand(3, 2, 12, 10) < torch.tensor([0.02, 0.2, 1.0]).view(3, 1, 1, 1)
    hidden = draw_blocks(torch.zeros(3, 2, 12, 10), share, block, valid)
    for one, data in zip(hidden[:, 0], valid.any(1), strict=True):
        tiles = [
            (one[row : row + block, column : column + block], data[row : row + block, column : column + block])
            for row in range(0, 12, block)
            for column in range(0, 10, block)
        ]
        holding = [bool(own.all()) for own, known in tiles if known.any()]
        assert not any(own.any() for own, known in tiles if not known.any())
        assert abs(sum(holding) - min(max(1, round(share * len(holding))), len(holding) - 1)) <= (len(holding) == 0)


def test_only_what_a_patch_has_is_hidden_as_a_whole():
    torch.manual_seed(0)
    normalised = {"s1": torch.zeros(600, 2, 8, 8), "s2": torch.zeros(600, 3, 8, 8), "season": torch.zeros(600, 2)}
    lacks_s1 = torch.arange(600) % 2 == 0
    valid = {"s1": ~lacks_s1.view(-1, 1, 1, 1).expand(-1, 2, 8, 8)}
    hidden = draw_hidden(PretrainOptions(method="masked", block=2, hide=1), normalised, valid)
    whole = torch.stack([values.flatten(1).all(1) for values in hidden.values()], 1)
    assert (whole.sum(1) == 1).all()
    assert not whole[lacks_s1, 0].any()


def test_only_hidden_values_count_in_the_error():
    truth = torch.zeros(2, 2, 4, 4)
    told = truth.clone()
    told[:, :, 0, 0] = 100
    hidden = torch.ones(2, 1, 4, 4, dtype=torch.bool)
    hidden[:, :, 0, 0] = False
    assert error_where_hidden(SENTINEL1, told, truth, hidden) == 0
    assert error_where_hidden(SENTINEL1, told, truth, ~hidden) > 90
    assert error_where_hidden(SENTINEL1, told, truth, torch.zeros_like(hidden)) == 0


def test_a_category_that_is_not_known_does_not_count():
    truth = torch.zeros(2, len(CLIMATE_ZONE.categories))
    truth[0, 3] = 1
    told = torch.zeros_like(truth)
    told[0, 3] = 50
    assert error_where_hidden(CLIMATE_ZONE, told, truth, torch.ones(2, 1, dtype=torch.bool)) == 0


def test_a_region_is_a_stretch_of_the_earth(data, options, planted_store):
    """Scenes of the planted store lie side by side from west to east: so do the regions."""
    model = build_model(model_without_heads(data, options), seed=0)
    regions = Clusters(model, data, options).regions.numpy()
    assert set(regions) == set(range(4))
    eastwards = regions[np.argsort(planted_store.index["lon"].to_numpy())]
    assert (np.diff(eastwards) != 0).sum() == 3


def test_a_patch_without_a_place_counts_in_no_region(data, options):
    place = data.store.index["lon"].copy()
    try:
        data.store.index.loc[data.rows["train"][0], "lon"] = np.nan
        objective = Clusters(build_model(model_without_heads(data, options), seed=0), data, options)
        objective.module.eval()
        batch = data.loader(options).read(data.rows["train"][:1])
        assert objective.step(batch)[0] == 0
    finally:
        data.store.index["lon"] = place


@given(count=st.integers(4, 60), batch_size=st.integers(2, 4), seed=st.integers(0, 5))
def test_no_patch_is_twice_in_a_batch_and_an_epoch_shows_each_once(count, batch_size, seed):
    rows = np.arange(100, 100 + count)
    a_epoch = count // batch_size
    batches = [distinct_rows(rows, batch_size, seed, step) for step in range(2 * a_epoch)]
    for epoch in (batches[:a_epoch], batches[a_epoch:]):
        seen = np.concatenate(epoch)
        assert len(set(seen)) == len(seen) == a_epoch * batch_size
        assert set(seen) <= set(rows)
    np.testing.assert_array_equal(distinct_rows(rows, batch_size, seed, 1), batches[1])


def cross_modal(data, options, **fusion):
    """A cross-modal pretraining of three inputs, and its first batch."""
    changed = {"strategy": "late", **fusion}
    options = options.model_copy(
        update={
            "fusion": options.fusion.model_copy(update=changed),
            "pretrain": PretrainOptions(method="cross_modal", width=8),
        }
    )
    model = build_model(model_without_heads(data, options), seed=0)
    return model, CrossModal(model, data, options), data.loader(options).read(data.rows["train"][:6])


def test_the_layer_that_joins_modalities_learns_from_cross_modal_pretraining(data, options):
    model, objective, batch = cross_modal(data, options)
    loss, parts = objective.step(batch)
    loss.backward()
    assert list(parts) == ["s1-s2", "s1-season", "s2-season", "joined"]
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.fusion.join.parameters())


def test_encoders_learn_nothing_from_the_joined_vector(data, options):
    model, objective, batch = cross_modal(data, options)
    inputs = {name: view(batch).inputs[name] for name, view in objective.views.items()}
    _, joined = objective.module(inputs, batch.present)
    joined.sum().backward()
    assert all(parameter.grad is None for parameter in model.fusion.encoders.parameters())


def test_patches_take_part_in_the_pairs_that_they_have(data, options):
    """Without Sentinel-2 in two patches, other values of it there change nothing."""
    model, objective, batch = cross_modal(data, options, missing="token")
    batch.present["s2"][:2] = False
    losses = []
    for value in (0, 50):
        batch.inputs["s2"][:2] = value
        torch.manual_seed(0)
        losses.append(objective.step(batch)[0])
    assert torch.equal(*losses)
    losses[1].backward()
    assert model.fusion.tokens.vectors["s2"].grad.abs().sum() > 0
    assert objective._contrast(torch.ones(3, 2), torch.ones(3, 2), torch.tensor([True, False, False])) == 0


def test_what_stands_for_an_absent_modality_does_not_meet_the_projections_of_the_others(data, options):
    model, objective, batch = cross_modal(data, options, missing="token")
    batch.present["s2"][:2] = False
    inputs = {name: view(batch).inputs[name] for name, view in objective.views.items()}
    projected, _ = objective.module(inputs, batch.present)
    projected["s2"].square().sum().backward()
    assert not model.fusion.tokens.vectors["s2"].grad.any()
    assert (projected["s2"][:2] == 0).all()
    assert (projected["s2"][2:] != 0).any(1).all()


@pytest.mark.parametrize("method", ["simclr", "vicreg", "byol"])
def test_modalities_that_a_view_drops_are_absent_to_the_model(data, options, method):
    fusion = options.fusion.model_copy(update={"strategy": "late", "missing": "token"})
    changed = {"fusion": fusion, "augment": AugmentOptions(drop_modalities=0.5), "pretrain": {"method": method}}
    options = PretrainingOptions.model_validate({**dict(options), **changed})
    model = build_model(model_without_heads(data, options), seed=0)
    torch.manual_seed(0)
    METHODS[method](model, data, options).step(data.loader(options).read(data.rows["train"][:6]))[0].backward()
    assert any(token.grad is not None and token.grad.any() for token in model.fusion.tokens.parameters())


def test_the_teacher_is_a_moving_average_of_the_student(data, options):
    changed = {"pretrain": {"method": "byol", "momentum": 0.9, "width": 8}, "train": {"steps": 11, "batch_size": 6}}
    options = PretrainingOptions.model_validate({**dict(options), **changed})
    model = build_model(model_without_heads(data, options), seed=0)
    objective = METHODS["byol"](model, data, options)
    student, teacher = (dict(each.named_parameters()) for each in (objective.pair.student, objective.pair.teacher))
    before = {name: tensor.clone() for name, tensor in teacher.items()}
    objective.step(data.loader(options).read(data.rows["train"][:6]))[0].backward()
    assert all(tensor.grad is None for tensor in teacher.values())
    with torch.no_grad():
        for tensor in student.values():
            tensor += 1
    objective.after_step(6)  # half way, where the cosine from 0.9 to 1 is at 0.95
    for name, tensor in teacher.items():
        torch.testing.assert_close(tensor, before[name] + 0.05)
    objective.after_step(11)
    for name, tensor in teacher.items():
        torch.testing.assert_close(tensor, before[name] + 0.05)


def test_matching_counts_counterparts_that_are_nearest():
    one = torch.eye(6)
    assert matching_accuracy(one, one, 1) == 1
    swapped = one[[1, 0, 2, 3, 4, 5]]
    assert matching_accuracy(one, swapped, 1) == pytest.approx(4 / 6)
    assert matching_accuracy(one, swapped, 2) == 1

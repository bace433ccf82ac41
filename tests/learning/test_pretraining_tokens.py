"""Masked autoencoding by vision transformers: hidden tokens pass no block, can't be seen, and a run starts from what was learned."""

import pandas as pd
import pytest
import torch

from eofuse import recipe as recipes
from eofuse.config import parse_options
from eofuse.data.store.pack import pack_source
from eofuse.learning.pretraining import PretrainingOptions, PretrainOptions
from eofuse.learning.pretraining.masked import Masked, draw_hidden_tokens
from eofuse.learning.pretraining.preparation import model_without_heads, prepare_unlabelled
from eofuse.learning.pretraining.reconstruction import Reconstruction
from eofuse.learning.pretraining.tokens import TokenReconstruction, token_encoders, token_side
from eofuse.models.encoders import RasterEncoder
from eofuse.models.model import build_model
from fake_source import PlantedSource

STRATEGIES = ["early", "late", "middle", "decision", "gated"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Patches of 40 pixels, which are 3 × 3 tokens of 16, the last ones not whole."""
    return pack_source(PlantedSource(patches=60, size=40), tmp_path_factory.mktemp("tokens") / "t.store", workers=1)


@pytest.fixture
def values(store) -> dict:
    return {
        "data": {"store": str(store.path)},
        "inputs": ["s1", "s2", "season"],
        "split": {"fractions": [0.5, 0.2, 0.3]},
        "fusion": {"strategy": "late", "encoder": "test_vit"},
        "train": {"steps": 2, "batch_size": 8, "evaluations": 2},
        "pretrain": {"method": "masked", "mask": 0.75, "hide": 0.5},
        "augment": "none",
    }


def masked(store, values, strategy="late", encoder="test_vit", **pretrain):
    """The method, its model, and a batch."""
    inputs = ["s2", "season"] if strategy == "middle" else ["s2"] if strategy == "single" else values["inputs"]
    fusion = {"strategy": strategy, "encoder": encoder}
    changed = values | {"inputs": inputs, "fusion": fusion, "pretrain": values["pretrain"] | pretrain}
    options = parse_options(PretrainingOptions, changed)
    data = prepare_unlabelled(store, options)
    model = build_model(model_without_heads(data, options), seed=0)
    torch.manual_seed(0)
    return Masked(model, data, options), model, data.loader(options).read(data.rows["train"][:8])


@pytest.mark.parametrize("strategy", ["single", *STRATEGIES])
def test_only_visible_tokens_reach_the_blocks(store, values, strategy):
    method, model, batch = masked(store, values, strategy, hide=0)
    seen = []
    for encoder, _ in token_encoders(model):
        encoder.vision_transformer.blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    method.step(batch)
    hidden = round(0.75 * 9)
    assert seen
    assert set(seen) == {(8, 1 + 9 - hidden, 64)}


@pytest.mark.parametrize("encoder", ["test_vit", "test_vit2", "test_vit3", "test_vit4"])
def test_hidden_pixels_can_not_be_seen(store, values, encoder):
    """Whatever lies under hidden tokens, encoder and decoder give the same bits; only the error is another."""
    method, model, batch = masked(store, values, encoder=encoder, hide=0.5)
    hidden = {}
    method.module.hide = lambda normalised, valid, draw=method.module.hide: (
        hidden or hidden.update(draw(normalised, valid)) or hidden
    )
    outputs, errors = [], []
    for network in (encoder.vision_transformer for encoder, _ in token_encoders(model)):
        network.norm.register_forward_hook(lambda _, given, output: outputs[-1].append(output))
    model.fusion.register_forward_hook(lambda _, given, output: outputs[-1].extend([output[0].vector, *output[0].maps]))
    for change in (0, 900):
        outputs.append([])
        changed = {name: each.float() for name, each in batch.inputs.items()}
        if change:
            changed["s2"] = changed["s2"] + change * hidden["s2"]
        errors.append(method.module(changed)[1])
    assert len(outputs[0]) == len(outputs[1]) >= 4
    assert all(torch.equal(first, second) for first, second in zip(*outputs, strict=True))
    assert errors[0]["s2"] != errors[1]["s2"]
    assert errors[0]["s1"] == errors[1]["s1"]


def test_where_nothing_is_hidden_the_vectors_are_those_of_the_model(store, values):
    method, model, batch = masked(store, values)
    module = method.module.eval()
    module.hide = lambda normalised, valid: {
        name: torch.zeros_like(each[:, :1], dtype=torch.bool) for name, each in normalised.items() if each.ndim == 4
    }
    given = []
    model.fusion.register_forward_hook(lambda _, inputs, output: given.append(output[0].vector))
    with torch.no_grad():
        module(batch.inputs)
        model.features(batch.inputs)
    torch.testing.assert_close(*given)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_patch_of_which_a_modality_is_hidden_as_a_whole_keeps_the_others(store, values, strategy):
    method, model, batch = masked(store, values, strategy, hide=1)
    passed = {}
    for encoder, names in token_encoders(model):
        encoder.vision_transformer.blocks[0].register_forward_pre_hook(
            lambda _, given, names=tuple(names): passed.update({names: len(given[0])})
        )
    hidden = {}
    method.module.hide = lambda normalised, valid, draw=method.module.hide: (
        hidden.update(draw(normalised, valid)) or hidden
    )
    assert torch.isfinite(method.step(batch)[0])
    for names, rows in passed.items():
        wholly = torch.stack([hidden[name].flatten(1).all(1) for name in names]).all(0)
        assert rows == 8 - int(wholly.sum())
    if strategy == "early":
        assert passed == {("s1", "s2"): 8}


def test_nothing_visible_at_all_is_no_error(store, values):
    method, _, batch = masked(store, values)
    module = method.module
    module.hide = lambda normalised, valid: {
        name: torch.ones_like(each[:, :1], dtype=torch.bool) for name, each in normalised.items()
    }
    loss, _ = module(batch.inputs)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(decoder.hidden.grad.abs().sum() > 0 and decoder.nothing.grad is not None for decoder in module.decoders)


@pytest.mark.parametrize("together", [True, False])
def test_tokens_are_hidden_as_a_whole_and_the_same_number_in_each_patch(together):
    torch.manual_seed(0)
    options = PretrainOptions(method="masked", mask=0.5, hide=0.6)
    inputs = {"a": torch.zeros(500, 1, 64, 48), "b": torch.zeros(500, 2, 64, 48), "c": torch.zeros(500, 2)}
    hidden = draw_hidden_tokens(options, 16, together, inputs, {})
    whole = torch.stack([each.flatten(1).all(1) for each in hidden.values()], 1)
    assert whole.sum(1).max() == 1
    assert whole.float().mean(0).tolist() == pytest.approx([0.2] * 3, abs=0.05)
    tokens = hidden["a"].unfold(2, 16, 16).unfold(3, 16, 16).flatten(-2)
    assert torch.equal(tokens.all(-1), tokens.any(-1))
    assert (tokens.any(-1)[~whole[:, 0]].flatten(1).sum(1) == 6).all()
    neither = ~whole.any(1)
    assert torch.equal(hidden["a"][neither], hidden["b"][neither]) == together


def test_the_only_raster_of_an_early_encoder_is_not_hidden_as_a_whole():
    options = PretrainOptions(method="masked", hide=1)
    hidden = draw_hidden_tokens(options, 16, True, {"a": torch.zeros(50, 1, 64, 64), "c": torch.zeros(50, 2)}, {})
    assert not hidden["a"].flatten(1).all(1).any()
    assert hidden["c"].all()


@pytest.mark.parametrize("strategy", ["early", "late"])
def test_the_error_falls_and_every_weight_of_the_encoder_learns(store, values, strategy):
    method, model, batch = masked(store, values, strategy, hide=0.2)
    optimizer = torch.optim.AdamW(method.module.parameters(), lr=2e-3)
    losses = []
    for step in range(15):
        torch.manual_seed(0)
        loss, _ = method.step(batch)
        loss.backward()
        if not step:
            for encoder, _ in token_encoders(model):
                idle = [name for name, each in encoder.named_parameters() if each.grad is None or not each.grad.any()]
                assert idle == []
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_the_encoder_is_its_own_again_after_a_step(store, values):
    method, model, batch = masked(store, values)
    before = list(model.state_dict())
    method.step(batch)
    assert list(model.state_dict()) == before
    assert all(not encoder.vision_transformer.patch_drop._forward_hooks for encoder, _ in token_encoders(model))


@pytest.mark.parametrize("encoder", ["test_resnet", "swin_tiny_patch4_window7_224", "vit_tiny_r_s16_p8_224"])
def test_other_networks_see_zeros_in_place_of_hidden_pixels(encoder):
    assert RasterEncoder(encoder, 2).vision_transformer is None


def test_a_patch_of_one_token_is_hidden_by_blocks(planted_store, values):
    method, model, _ = masked(planted_store, values | {"data": {"store": str(planted_store.path)}}, block=4)
    assert token_side(model) is None
    assert type(method.module) is Reconstruction


class Interrupted(BaseException):
    """Stands for a kill at some step."""


def test_an_interrupted_pretraining_goes_on_to_the_same_bits_and_a_run_starts_from_it(values, recipe, tmp_path):
    def stop(done, total, words):
        if done == 1:
            raise Interrupted

    whole = recipes.pretrain(values, to=tmp_path / "whole")
    with pytest.raises(Interrupted):
        recipes.pretrain(values, to=tmp_path / "again", progress=stop)
    again = recipes.pretrain(tmp_path / "again" / "recipe.yaml", to=tmp_path / "again")
    for name in ("model/model.safetensors", "losses.csv", "evaluations.csv"):
        assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes()

    same = {name: values[name] for name in ("data", "inputs", "split", "fusion")}
    started = recipe | same | {"start": {"from": str(whole.folder)}}
    run = recipes.train(started, to=tmp_path / "run", overrides=["train.steps=1"])
    table = pd.read_csv(run.folder / "transfer.csv")
    assert table["tensor"].str.contains("encoders.s1.body.network.blocks.5").any()
    assert set(table.loc[table["status"] != "loaded", "part"]) == {"head of label"}


def test_hidden_tokens_are_chosen_by_the_method(store, values):
    method, _, _ = masked(store, values)
    assert type(method.module) is TokenReconstruction

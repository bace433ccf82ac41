"""Building models: seeds, specifications, predictions."""

import json
from dataclasses import replace

import pytest
import torch

from eofuse.errors import UsageError
from eofuse.kinds import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from eofuse.modalities import BEN_GE_MODALITIES, SENTINEL1, SENTINEL2
from eofuse.models.features import FeatureSizes
from eofuse.models.heads import HeadSpec, build_head
from eofuse.models.model import ModelSpec, build_model, count_parameters

PAIR = (SENTINEL2, SENTINEL1)


def test_a_seed_fixes_every_weight(make_spec):
    spec = make_spec(PAIR, strategy="late")
    first, second, other = (build_model(spec, seed=seed).state_dict() for seed in (7, 7, 8))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_seed_leaves_the_random_state_of_the_caller_alone(make_spec):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    build_model(make_spec(PAIR), seed=1)
    assert torch.equal(torch.rand(4), expected)


def test_a_specification_survives_json(make_spec):
    spec = make_spec(BEN_GE_MODALITIES, strategy="late", weights="shared", dropout=0.25)
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize("strategy", ["early", "decision"])
def test_probabilities_are_the_mean_over_the_heads(strategy, make_spec, make_inputs):
    model = build_model(make_spec(PAIR, strategy=strategy), seed=0)
    inputs = make_inputs(PAIR)
    predicted = model.predict(inputs)
    with torch.no_grad():
        logits = model.eval()(inputs)
    torch.testing.assert_close(predicted["zone"], logits["zone"].softmax(-1).mean(0))
    torch.testing.assert_close(predicted["land_cover"], logits["land_cover"].sigmoid().mean(0))
    torch.testing.assert_close(predicted["zone"].sum(1), torch.ones(3))


def test_probabilities_of_half_precision_logits_are_computed_in_full():
    head = build_head(HeadSpec(SINGLE_LABEL, ("a", "b", "c")), [FeatureSizes(vector=8)])
    assert head.predict(torch.randn(1, 4, 3).bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("kind", [SINGLE_LABEL, MULTI_LABEL])
def test_a_temperature_makes_probabilities_milder_and_keeps_their_order(kind):
    logits = torch.randn(1, 50, 3) * 4
    raw = build_head(HeadSpec(kind, ("a", "b", "c")), [FeatureSizes(vector=8)]).predict(logits)
    mild = build_head(HeadSpec(kind, ("a", "b", "c"), temperature=3.0), [FeatureSizes(vector=8)]).predict(logits)
    assert torch.equal(raw.argmax(1), mild.argmax(1))
    assert mild.max() < raw.max()
    expected = (logits[0] / 3).softmax(-1) if kind == SINGLE_LABEL else (logits[0] / 3).sigmoid()
    torch.testing.assert_close(mild, expected, atol=1e-4, rtol=1e-3)


def test_numbers_come_out_in_their_unit():
    head = build_head(HeadSpec(REGRESSION, ("a", "b"), (100.0, -3.0), (20.0, 0.5)), [FeatureSizes(vector=8)])
    assert head.predict(torch.tensor([[[1.0, 2.0]], [[0.0, 0.0]]])).tolist() == [[110.0, -2.5]]


def test_shares_of_a_composition_sum_to_one():
    head = build_head(HeadSpec(REGRESSION, ("a", "b", "c"), composition=True), [FeatureSizes(vector=8)])
    torch.testing.assert_close(head.predict(torch.randn(2, 5, 3)).sum(1), torch.ones(5))


def test_predicting_leaves_each_part_in_its_mode(make_spec, make_inputs):
    model = build_model(make_spec(PAIR), seed=0)
    model.fusion.encoder.eval()
    before = {name: module.training for name, module in model.named_modules()}
    statistics = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.predict(make_inputs(PAIR))
    assert {name: module.training for name, module in model.named_modules()} == before
    assert all(torch.equal(buffer, statistics[name]) for name, buffer in model.named_buffers())


def test_only_named_channels_are_needed(make_spec, make_inputs):
    modalities = (SENTINEL2.select(["B04", "B8A"]),)
    model = build_model(make_spec(modalities, strategy="single"), seed=0)
    assert model(make_inputs(modalities))["zone"].shape == (1, 3, 2)


def test_an_encoder_that_cannot_take_the_patches_is_refused(make_spec):
    with pytest.raises(UsageError, match="'mixer_s32_224' can't take patches of 64×64 pixels"):
        build_model(make_spec((SENTINEL1,), encoder="mixer_s32_224"), seed=0)


def test_parameters_that_are_frozen_are_not_counted(make_spec):
    model = build_model(make_spec((SENTINEL1,), strategy="single"), seed=0)
    before = count_parameters(model)
    model.heads[1].requires_grad_(False)
    width = model.fusion.sizes[0].vector
    assert before - count_parameters(model) == 2 * (width + 1)


def test_dropout_acts_in_training_only(make_spec, make_inputs):
    model = build_model(make_spec(PAIR, dropout=0.5), seed=0)
    features = model.eval().features(make_inputs(PAIR))
    head = model.heads[1]
    assert torch.equal(head(features, (64, 64)), head(features, (64, 64)))
    head.train()
    assert not torch.equal(head(features, (64, 64)), head(features, (64, 64)))


def test_two_rasters_of_different_size_are_refused(make_spec, make_inputs):
    model = build_model(make_spec(PAIR), seed=0)
    inputs = make_inputs(PAIR)
    inputs["s1"] = inputs["s1"][..., :32, :32]
    with pytest.raises(UsageError, match=r"s1: has 32×32 pixels where s2 has 64×64"):
        model(inputs)


def test_it_runs_under_autocast(make_spec, make_inputs):
    model = build_model(make_spec(BEN_GE_MODALITIES, strategy="late"), seed=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(make_inputs(BEN_GE_MODALITIES))
    assert logits["zone"].isfinite().all()


def test_statistics_are_part_of_the_weights(make_spec):
    spec = make_spec((SENTINEL1,), strategy="single")
    other = replace(spec, statistics=replace(spec.statistics, mean={"s1": [-10.0, -17.0]}))
    model = build_model(spec, seed=0)
    model.load_state_dict(build_model(other, seed=1).state_dict())
    assert model.normaliser.s1_mean.tolist() == [-10.0, -17.0]

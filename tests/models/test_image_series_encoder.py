"""Encoders of image series: order, padding and hidden pixels change nothing; every fusion takes them or says why not."""

from dataclasses import replace

import pytest
import torch

from eofuse.errors import UsageError
from eofuse.kinds import SEGMENTATION
from eofuse.modalities import SEASON, SENTINEL1
from eofuse.models.encoders import EncoderOptions, build_encoder, encoder_name, image_series
from eofuse.models.fusion import FUSIONS
from eofuse.models.model import HeadSpec, Model, build_model
from eofuse.models.temporal import TEMPORAL
from fake_source import SCENES

NUMBERED = replace(SCENES, dated=False)
each_temporal = pytest.mark.parametrize("temporal", list(TEMPORAL))


def with_maps(spec):
    return replace(spec, heads={"cover": HeadSpec(SEGMENTATION, ("a", "b", "c"), network="unet")})


@pytest.fixture
def model(make_spec):
    """A model with a vector or a map as output."""

    def make(temporal, pixels=False, modality=SCENES) -> Model:
        spec = make_spec([modality], 32, strategy="single", temporal=temporal)
        return build_model(with_maps(spec) if pixels else spec, seed=0).eval()

    return make


def output(model, inputs):
    with torch.no_grad():
        return next(iter(model(inputs).values()))[0]


def assert_same(model, inputs, changed):
    torch.testing.assert_close(output(model, changed), output(model, inputs), atol=1e-5, rtol=1e-5)


each_output = pytest.mark.parametrize("pixels", [False, True], ids=["vector", "map"])


@each_temporal
@each_output
def test_dates_in_another_order_with_their_times_change_nothing(model, make_inputs, temporal, pixels):
    inputs, order = make_inputs([SCENES], 32), torch.tensor([3, 0, 4, 1, 2])
    scenes = inputs["scenes"].view(torch.int16)[:, order].view(torch.uint16)
    assert_same(model(temporal, pixels), inputs, {"scenes": scenes, "scenes.times": inputs["scenes.times"][:, order]})


@each_temporal
@each_output
def test_what_fills_up_a_batch_changes_nothing(model, make_inputs, temporal, pixels):
    inputs = make_inputs([SCENES], 32)
    more = torch.full((3, 2, *inputs["scenes"].shape[2:]), 999, dtype=torch.uint16)
    longer = torch.cat([inputs["scenes"].view(torch.int16), more.view(torch.int16)], 1).view(torch.uint16)
    times = torch.cat([inputs["scenes.times"], torch.full((3, 2), torch.nan)], 1)
    assert_same(model(temporal, pixels), inputs, {"scenes": longer, "scenes.times": times})


@each_temporal
def test_a_date_of_zeros_is_data(model, make_inputs, temporal):
    inputs = make_inputs([SCENES], 32)
    inputs["scenes.times"] = 17_000 + 30 * torch.arange(5.0).expand(3, -1)
    zeros = inputs["scenes"].clone()
    zeros.view(torch.int16)[:, 2] = 0
    without = inputs["scenes.times"].clone()
    without[:, 2] = torch.nan
    black = output(model(temporal), {**inputs, "scenes": zeros})
    assert (black - output(model(temporal), {**inputs, "scenes.times": without})).abs().max() > 1e-4


@each_temporal
@each_output
def test_a_date_that_shows_no_pixel_counts_as_none(model, make_inputs, temporal, pixels):
    modality = replace(SCENES, nodata=0)
    inputs = make_inputs([modality], 32)
    inputs["scenes.times"] = 17_000 + 30 * torch.arange(5.0).expand(3, -1)
    inputs["scenes"].view(torch.int16)[:, 2] = 0
    without = inputs["scenes.times"].clone()
    without[:, 2] = torch.nan
    shown = model(temporal, pixels, modality)
    assert_same(shown, inputs, {**inputs, "scenes.times": without})


def test_only_attention_sees_when_a_date_was(model, make_inputs):
    inputs = make_inputs([SCENES], 32)
    later = {**inputs, "scenes.times": inputs["scenes.times"] * 1.002}
    assert_same(model("mean"), inputs, later)
    assert (output(model("attention"), later) - output(model("attention"), inputs)).abs().max() > 1e-4


def test_attention_takes_numbered_dates(model, make_inputs):
    inputs = make_inputs([NUMBERED], 32)
    inputs["scenes.times"] = torch.arange(5.0).expand(3, -1)
    assert output(model("attention", True, NUMBERED), inputs).isfinite().all()


@pytest.mark.parametrize("strategy", sorted(FUSIONS))
@each_output
def test_every_fusion_takes_them_or_says_why_not(make_spec, make_inputs, strategy, pixels):
    modalities = [SCENES] if strategy == "single" else [SCENES, SENTINEL1, SEASON]
    spec = make_spec(modalities, 32, strategy=strategy)
    spec = with_maps(spec) if pixels else spec
    if strategy in ("early", "middle"):
        with pytest.raises(UsageError, match=f"scenes: {strategy} fusion can't take a series of images"):
            build_model(spec)
        return
    model, inputs = build_model(spec, seed=0), make_inputs(modalities, 32)
    found = next(iter(model(inputs).values()))
    loss = sum(each.square().mean() for each in found)
    loss.backward()
    inner = next(each for each in model.fusion.encoders_inside().values() if each.names == ["scenes"])
    assert all(parameter.grad is not None for parameter in inner.parameters())


@pytest.mark.parametrize("dates", [0, 1])
@each_output
def test_none_or_one_date_in_a_batch_is_no_special_case_in_training(make_spec, make_inputs, dates, pixels):
    spec = make_spec([SCENES, SENTINEL1], 32, strategy="late", missing="token")
    model, inputs = build_model(with_maps(spec) if pixels else spec, seed=0), make_inputs([SCENES, SENTINEL1], 32)
    inputs["scenes.times"] = torch.full((3, 5), torch.nan)
    inputs["scenes.times"][0, :dates] = 17_000.0
    present = {"scenes": torch.tensor([dates > 0, False, True]), "s1": torch.ones(3, dtype=torch.bool)}
    for found in next(iter(model(inputs, present).values())):
        assert found.isfinite().all()


@each_output
def test_dates_are_encoded_some_at_a_time_in_evaluation_alike(model, make_inputs, monkeypatch, pixels):
    attentive, inputs = model("attention", pixels), make_inputs([SCENES], 32)
    expected = output(attentive, inputs)
    monkeypatch.setattr(image_series, "AT_ONCE", 2)
    torch.testing.assert_close(output(attentive, inputs), expected, atol=1e-5, rtol=1e-5)


def test_times_must_come_with_the_images(model, make_inputs):
    inputs = make_inputs([SCENES], 32)
    with pytest.raises(UsageError, match=r"scenes.times: its times are missing"):
        model("mean")({"scenes": inputs["scenes"]})


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "attention:test_resnet"),
        ({"temporal": "max", "encoder": "resnet18"}, "max:resnet18"),
        ({"encoders": {"scenes": "mean"}}, "mean:test_resnet"),
        ({"encoders": {"scenes": "resnet10t"}}, "attention:resnet10t"),
        ({"encoders": {"scenes": "max:resnet10t"}}, "max:resnet10t"),
    ],
)
def test_the_encoder_of_a_modality_has_two_names(options, name):
    assert encoder_name(SCENES, EncoderOptions(**options)) == name


def test_an_unknown_temporal_encoder_names_the_nearest():
    with pytest.raises(UsageError, match=r"unknown temporal encoder 'meen'.*mean"):
        build_encoder("meen:test_resnet", [SCENES])


def test_recipes_without_a_temporal_encoder_keep_their_identity():
    assert "temporal" not in EncoderOptions().model_dump()

"""Series encoders: what is not known changes nothing, whatever stands there and however long it is."""

from dataclasses import replace

import pytest
import torch
from fake_series import random_series
from hypothesis import given, settings
from hypothesis import strategies as st

from eofuse.modalities import Channel, Kind, Modality
from eofuse.models.encoders import build_encoder
from eofuse.models.normalisation import ChannelStatistics, Normaliser
from fake_source import GREENNESS

NUMBERED = replace(GREENNESS, dated=False)
STATISTICS = ChannelStatistics({"greenness": [0.2, -0.1]}, {"greenness": [0.5, 2.0]})
ENCODERS = {
    (name, modality.dated): build_encoder(name, [modality]).eval()
    for name in ("convolution", "transformer")
    for modality in (GREENNESS, NUMBERED)
}
each_encoder = pytest.mark.parametrize(("name", "dated"), list(ENCODERS), ids=str)
CONTENT = st.builds(lambda seed: random_series(GREENNESS, 4, torch.Generator().manual_seed(seed)), st.integers(0, 999))


def normalise(values, dated=True):
    modality = replace(GREENNESS, dated=dated, steps=values.shape[1])
    if not dated:
        values = values.clone()
        values[..., 0] = torch.arange(values.shape[1]).where(values[..., 0].isfinite(), torch.nan)
        modality = replace(modality, steps=6) if values.shape[1] == 6 else modality
    return Normaliser([modality], STATISTICS)({"greenness": values})["greenness"]


def encode(name, dated, values):
    with torch.no_grad():
        return ENCODERS[name, dated](values).vector


@each_encoder
@settings(max_examples=10)
@given(values=CONTENT, more=st.integers(1, 9))
def test_steps_that_do_not_exist_change_nothing(name, dated, values, more):
    normalised = normalise(values, dated)
    longer = torch.cat([normalised, torch.zeros(4, more, normalised.shape[2])], 1)
    torch.testing.assert_close(encode(name, dated, longer), encode(name, dated, normalised), atol=1e-5, rtol=1e-5)


@each_encoder
@settings(max_examples=10)
@given(values=CONTENT)
def test_the_order_of_the_batch_is_irrelevant(name, dated, values):
    normalised = normalise(values, dated)
    order = torch.tensor([2, 0, 3, 1])
    expected = encode(name, dated, normalised)[order]
    torch.testing.assert_close(encode(name, dated, normalised[order]), expected, atol=1e-5, rtol=1e-5)


@each_encoder
def test_the_order_of_the_steps_matters(name, dated):
    values = normalise(torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(1)), dated)
    turned = torch.cat([values[..., :-4], values.flip(1)[..., -4:]], -1)
    assert not torch.allclose(encode(name, dated, values), encode(name, dated, turned), atol=1e-3)


@each_encoder
def test_one_step_is_enough(name, dated):
    assert encode(name, dated, normalise(torch.ones(2, 6, 3), dated)[:, :1]).isfinite().all()


@each_encoder
def test_a_series_of_gaps_and_one_of_nothing_are_the_same_finite_vector(name, dated):
    values = torch.full((2, 6, 3), torch.nan)
    values[0, :, 0] = torch.arange(6) + 17_000.0
    gaps, nothing = encode(name, dated, normalise(values, dated))
    assert gaps.isfinite().all()
    assert torch.equal(gaps, nothing)


@each_encoder
def test_half_precision_gives_finite_vectors_and_gradients(name, dated):
    values = normalise(random_series(GREENNESS, 4, torch.Generator().manual_seed(3)), dated)
    values[0] = 0
    encoder = ENCODERS[name, dated]
    with torch.autocast("cpu", torch.bfloat16):
        vector = encoder(values).vector
    vector.float().square().sum().backward()
    assert vector.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())
    encoder.zero_grad()


@pytest.mark.parametrize(("steps", "blocks"), [(1, 1), (3, 1), (4, 2), (12, 3), (365, 6)])
def test_the_convolutions_reach_from_the_first_step_to_the_last(steps, blocks):
    modality = Modality("long", Kind.SERIES, (Channel("x"),), steps=steps)
    assert len(build_encoder("convolution", [modality]).blocks) == blocks

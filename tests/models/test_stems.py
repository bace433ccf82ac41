"""First layers are mapped by the names of their channels, whatever their order and number."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import conv2d

from eofuse.errors import UsageError
from eofuse.modalities import ELEVATION, SEASON, SENTINEL1, SENTINEL2, WORLDCOVER, Channel
from eofuse.models.parts import Column, columns_of
from eofuse.models.pretrained.stems import map_columns

L1C = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8a", "B9", "B10", "B11", "B12"]


def bands(*names: str) -> list[Column]:
    return [Column(None, Channel(name)) for name in names]


def kernel(channels: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(8, channels, 3, 3, generator=torch.Generator().manual_seed(seed)) / 10


@given(order=st.permutations(SENTINEL2.channel_names), source_order=st.permutations(L1C))
def test_thirteen_bands_to_twelve_in_any_order_give_what_the_source_gives_without_the_cirrus_band(order, source_order):
    source = kernel(13)
    mapped = map_columns(kernel(12, 1), columns_of(SENTINEL2.select(order)), source, bands(*source_order))
    image = {name: torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(i)) for i, name in enumerate(order)}
    position = SENTINEL2.channel_index
    seen = [
        torch.zeros(1, 16, 16) if name == "B10" else image[SENTINEL2.channel_names[position(name)]]
        for name in source_order
    ]
    ours = conv2d(torch.stack([image[name] for name in order], 1), mapped.weight)
    torch.testing.assert_close(ours, conv2d(torch.stack(seen, 1), source), atol=1e-5, rtol=0)
    assert mapped.filled == ()


def test_bands_that_the_weights_do_not_know_get_the_mean_and_equal_values_give_the_same_activation():
    source = kernel(3)
    mapped = map_columns(kernel(12, 1), columns_of(SENTINEL2), source, bands("B04", "B03", "B02"))
    torch.testing.assert_close(mapped.weight[:, SENTINEL2.channel_index("B04")], source[:, 0] * 3 / 12)
    torch.testing.assert_close(mapped.weight[:, SENTINEL2.channel_index("B11")], source.mean(1) * 3 / 12)
    torch.testing.assert_close(mapped.weight.sum(1), source.sum(1))
    assert len(mapped.filled) == 9


def test_channels_of_a_modality_that_the_weights_do_not_know_stay_fresh():
    fresh = kernel(15, 1)
    target = [*columns_of(SENTINEL2), *columns_of(SENTINEL1), *columns_of(ELEVATION)]
    mapped = map_columns(fresh, target, kernel(13), bands(*L1C))
    assert torch.equal(mapped.weight[:, 12:], fresh[:, 12:])


@pytest.mark.parametrize("modality", [SEASON, WORLDCOVER])
def test_no_mean_stands_for_an_unknown_number_or_category(modality):
    columns = columns_of(modality)
    fresh = kernel(len(columns), 1)
    mapped = map_columns(fresh, columns, kernel(1), columns[:1])
    assert torch.equal(mapped.weight[:, 1:], fresh[:, 1:])
    assert mapped.filled == ()


def test_channels_of_the_same_name_in_other_modalities_are_not_confused():
    other = [Column("s2_winter", channel) for channel in SENTINEL2.channels]
    assert map_columns(kernel(12, 1), columns_of(SENTINEL2), kernel(12), other).known == {}


def test_other_units_are_an_error():
    linear = [Column("s1", Channel(name, unit="linear power")) for name in ("VV", "VH")]
    with pytest.raises(UsageError, match=r"s1\.VV: is in dB here and in linear power"):
        map_columns(kernel(2, 1), columns_of(SENTINEL1), kernel(2), linear)

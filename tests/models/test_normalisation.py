"""Normalisation: physical units in one step, one-hot codes, and no silent guess."""

import math
from dataclasses import replace

import pytest
import torch

from eofuse.errors import UsageError
from eofuse.modalities import CLIMATE_ZONE, ELEVATION, SEASON, SENTINEL1, SENTINEL2, WORLDCOVER, Category
from eofuse.models.normalisation import ChannelStatistics, Normaliser
from fake_source import GREENNESS

BLUE_RED = SENTINEL2.select(["B02", "B04"])
STATISTICS = ChannelStatistics(
    mean={"s2": [0.1, 0.2], "s1": [-10.0, -16.0], "elevation": [300.0], "season": [0.5, 0.5]},
    std={"s2": [0.05, 0.1], "s1": [4.0, 5.0], "elevation": [200.0], "season": [0.25, 0.0]},
)


def normalise(modality, values):
    return Normaliser([modality], STATISTICS)({modality.name: values})[modality.name]


@pytest.mark.parametrize("dtype", [torch.uint16, torch.int32, torch.float32])
def test_statistics_are_in_physical_units(dtype):
    digital_numbers = torch.tensor([1500, 1000]).to(dtype).view(1, 2, 1, 1)
    assert normalise(BLUE_RED, digital_numbers).flatten().tolist() == pytest.approx([1.0, -1.0], abs=1e-5)


def test_large_unsigned_values_stay_positive():
    result = normalise(BLUE_RED, torch.tensor([60000, 60000]).to(torch.uint16).view(1, 2, 1, 1))
    assert result.flatten().tolist() == pytest.approx([118.0, 58.0], rel=1e-5)


def test_scale_and_offset_are_folded_in():
    baseline_4 = replace(BLUE_RED, offset=-0.1)
    result = normalise(baseline_4, torch.tensor([2500, 2000]).to(torch.uint16).view(1, 2, 1, 1))
    assert result.flatten().tolist() == pytest.approx([1.0, -1.0], abs=1e-5)


def test_it_equals_the_textbook_formula():
    values = torch.randint(1, 16000, (3, 2, 8, 8)).to(torch.uint16)
    mean, std = torch.tensor(STATISTICS.mean["s2"]), torch.tensor(STATISTICS.std["s2"])
    expected = (values.float() * 1e-4 - mean.view(1, 2, 1, 1)) / std.view(1, 2, 1, 1)
    torch.testing.assert_close(normalise(BLUE_RED, values), expected, atol=1e-5, rtol=1e-5)


def test_decibels_keep_their_fraction():
    result = normalise(SENTINEL1, torch.tensor([-15.62, -16.0]).view(1, 2, 1, 1))
    assert result.flatten()[0].item() == pytest.approx((-15.62 + 10) / 4)


def test_the_batch_is_not_changed():
    values = torch.full((1, 2, 2, 2), -12.0)
    normalise(SENTINEL1, values)
    assert (values == -12.0).all()


def test_a_constant_channel_becomes_its_distance_from_the_mean():
    assert normalise(SEASON, torch.tensor([[0.75, 0.5]])).tolist() == [[1.0, 0.0]]


def test_a_channel_that_is_constant_but_for_rounding_is_not_blown_up():
    statistics = ChannelStatistics({"elevation": [300.0]}, {"elevation": [1e-6]})
    result = Normaliser([ELEVATION], statistics)({"elevation": torch.full((1, 1, 1, 1), 302, dtype=torch.int16)})
    assert result["elevation"].item() == 2.0


def test_nodata_becomes_the_mean():
    values = torch.tensor([-32768, 500], dtype=torch.int16).view(1, 1, 1, 2)
    assert normalise(ELEVATION, values).flatten().tolist() == pytest.approx([0.0, 1.0])


@pytest.mark.parametrize("value", [math.nan, -math.inf, math.inf])
def test_values_that_are_no_numbers_become_the_mean(value):
    assert normalise(SENTINEL1, torch.tensor([value, -11.0]).view(1, 2, 1, 1)).flatten().tolist() == [0.0, 1.0]


def test_gradients_reach_the_values_but_not_through_nodata():
    values = torch.tensor([-32768.0, 500.0]).view(1, 1, 1, 2).requires_grad_()
    normalise(ELEVATION, values).sum().backward()
    assert values.grad.flatten().tolist() == pytest.approx([0.0, 1 / 200])


class TestCodes:
    def test_categories_become_one_hot_and_never_codes(self):
        codes = torch.tensor([category.code for category in CLIMATE_ZONE.categories], dtype=torch.uint8)
        assert torch.equal(normalise(CLIMATE_ZONE, codes), torch.eye(12))

    @pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
    def test_a_code_that_is_no_category_becomes_zeros(self, dtype):
        assert not normalise(CLIMATE_ZONE, torch.tensor([1, 255], dtype=dtype)).any()

    def test_categorical_rasters_become_one_hot_planes(self):
        codes = torch.tensor([[100, 95], [0, 10]], dtype=torch.uint8).view(1, 1, 2, 2)
        planes = normalise(WORLDCOVER, codes)
        assert planes.shape == (1, 11, 2, 2)
        assert planes.sum(1).tolist() == [[[1, 1], [0, 1]]]  # nodata has no plane
        assert planes[0, :, 0, 0].argmax() == 10
        assert planes[0, :, 0, 1].argmax() == 9
        assert planes[0, :, 1, 1].argmax() == 0

    def test_a_code_that_no_store_holds_is_refused(self):
        wrong = replace(CLIMATE_ZONE, categories=(Category(65_536, "beyond"),))
        with pytest.raises(UsageError, match="climate_zone: the code 65536"):
            Normaliser([wrong], STATISTICS)


class TestErrors:
    def test_statistics_are_never_guessed(self):
        with pytest.raises(UsageError, match="s1: there are no channel statistics"):
            Normaliser([SENTINEL1], ChannelStatistics({}, {}))

    def test_statistics_of_other_channels_are_refused(self):
        with pytest.raises(UsageError, match="s2: statistics of 2 channels for 12"):
            Normaliser([SENTINEL2], STATISTICS)

    @pytest.mark.parametrize(("mean", "std"), [(math.nan, 1.0), (0.0, -1.0), (0.0, math.inf)])
    def test_statistics_that_are_no_numbers_are_refused(self, mean, std):
        with pytest.raises(UsageError, match=r"elevation\.elevation"):
            Normaliser([ELEVATION], ChannelStatistics({"elevation": [mean]}, {"elevation": [std]}))

    def test_a_missing_modality_is_named(self):
        with pytest.raises(UsageError, match="s1: the model needs this input"):
            Normaliser([SENTINEL1], STATISTICS)({"s2": torch.zeros(1, 2, 4, 4)})

    def test_too_many_channels_are_told_which_are_expected(self):
        with pytest.raises(UsageError, match=r"expects \(B, 2, H, W\); give its channels in this order: VV, VH"):
            normalise(SENTINEL1, torch.zeros(1, 3, 4, 4))

    def test_codes_with_a_channel_axis_are_refused(self):
        with pytest.raises(UsageError, match=r"climate_zone: has the shape \(2, 1\)"):
            normalise(CLIMATE_ZONE, torch.zeros(2, 1, dtype=torch.uint8))


def test_statistics_survive_json():
    assert ChannelStatistics.from_dict(STATISTICS.to_dict()) == STATISTICS


def test_statistics_of_a_model_without_quantiles_are_read():
    old = {name: values for name, values in STATISTICS.to_dict().items() if name != "quantiles"}
    assert ChannelStatistics.from_dict(old) == STATISTICS


class TestSeries:
    statistics = ChannelStatistics({"greenness": [0.5, 1.0]}, {"greenness": [0.25, 2.0]})

    def given(self, *steps, dated=True):
        values = torch.full((1, 6, 3), math.nan)
        for step, numbers in enumerate(steps):
            values[0, step] = torch.tensor(numbers)
        modality = replace(GREENNESS, dated=dated)
        return Normaliser([modality], self.statistics)({"greenness": values})["greenness"][0]

    def test_a_step_is_its_time_its_numbers_and_what_is_known(self):
        days = 365.2425 * 40
        first, second = self.given((days, 1.0, 3.0), (days + 365.2425 / 4, math.nan, -1.0))[:2]
        assert first.tolist() == pytest.approx([0, 1, 0, 2, 1, 1, 1], abs=1e-3)
        assert second.tolist() == pytest.approx([1, 0, 0.25, 0, -1, 0, 1], abs=1e-3)

    def test_a_numbered_step_is_told_its_share_of_the_series(self):
        assert self.given((0, 0.5, 1), (5, 0.5, 1), dated=False)[:2, 0].tolist() == [0, 1]

    def test_steps_that_do_not_exist_are_zeros_whatever_stands_there(self):
        given = self.given((16_000, 1, 1), (math.nan, 7, 7))
        assert given.shape == (6, 7)
        assert not given[1:].any()

    def test_a_series_of_nothing_is_zeros(self):
        assert not self.given().any()

    def test_a_series_of_other_length_is_refused(self):
        with pytest.raises(UsageError, match=r"expects \(B, 6, 1 \+ 2\); give its channels in this order: ndvi, ndwi"):
            Normaliser([GREENNESS], self.statistics)({"greenness": torch.zeros(1, 5, 3)})

    def test_gradients_reach_numbers_but_not_through_gaps(self):
        values = torch.tensor([[[16_000, 1.0, math.nan]] * 6]).requires_grad_()
        Normaliser([GREENNESS], self.statistics)({"greenness": values})["greenness"].sum().backward()
        assert values.grad[0, 0, 1:].tolist() == [4, 0]

"""Modalities are matched by name, and described without loss."""

import json
from dataclasses import replace

import pytest

from eofuse.errors import UsageError
from eofuse.modalities import (
    BEN_GE_MODALITIES,
    CLIMATE_ZONE,
    SENTINEL1,
    SENTINEL2,
    WEATHER,
    WORLDCOVER,
    Modality,
    find_modality,
)
from fake_source import GREENNESS


@pytest.mark.parametrize("modality", [*BEN_GE_MODALITIES, GREENNESS], ids=lambda modality: modality.name)
def test_a_modality_survives_its_json(modality):
    assert Modality.from_dict(json.loads(json.dumps(modality.to_dict()))) == modality


@pytest.mark.parametrize(("alias", "name"), [("B1", "B01"), ("B8a", "B8A"), ("B2", "B02")])
def test_a_channel_is_found_by_its_alias(alias, name):
    assert SENTINEL2.channel_names[SENTINEL2.channel_index(alias)] == name


def test_an_unknown_channel_names_the_nearest():
    with pytest.raises(UsageError, match="unknown channel 'B13'"):
        SENTINEL2.channel_index("B13")


def test_selected_channels_keep_the_order_asked_for():
    assert SENTINEL1.select(["VH", "VV"]).channel_names == ("VH", "VV")


def test_a_categorical_modality_is_as_wide_as_its_categories():
    assert (WORLDCOVER.width, CLIMATE_ZONE.width, WEATHER.width) == (11, 12, 9)


def test_only_a_series_tells_of_steps_in_its_json():
    assert "steps" not in SENTINEL2.to_dict()
    assert GREENNESS.to_dict()["steps"] == 6


def test_of_a_series_a_model_sees_the_time_and_each_channel_with_a_flag():
    assert GREENNESS.width == 3 + 2 + 2
    assert replace(GREENNESS, dated=False).width == 1 + 2 + 2


def test_selecting_channels_of_a_series_keeps_its_steps():
    selected = GREENNESS.select(["ndwi"])
    assert (selected.shape((0, 0)), selected.width) == ((6, 2), 5)


@pytest.mark.parametrize("wrong", [{"steps": None}, {"steps": 0}, {"dtype": "int16"}])
def test_a_series_without_steps_or_of_integers_is_refused(wrong):
    with pytest.raises(UsageError, match="greenness: a series needs"):
        replace(GREENNESS, **wrong)


def test_worldcover_codes_are_in_legend_order_with_mangroves_before_moss():
    assert [category.code for category in WORLDCOVER.categories] == [10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100]


def test_an_unknown_modality_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'worldcover'"):
        find_modality("worldcovr", BEN_GE_MODALITIES)

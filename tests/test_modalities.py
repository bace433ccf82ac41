"""Modalities are matched by name, and described without loss."""

import json
from dataclasses import replace

import numpy as np
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
    class_colour,
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
    with pytest.raises(UsageError, match="did you mean 'B08'"):
        SENTINEL2.channel_index("b8")


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


def in_lab(colours, matrix=None):
    """sRGB colours (#rrggbb) in CIELAB, as seen through a linear simulation of colour blindness."""
    srgb = np.array([[int(colour[start : start + 2], 16) for start in (1, 3, 5)] for colour in colours]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    if matrix is not None:
        linear = np.clip(linear @ np.array(matrix).T, 0, 1)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = linear @ np.array(to_xyz).T / [0.95047, 1, 1.08883]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]


@pytest.mark.parametrize("eyes", [None, PROTANOPIA, DEUTERANOPIA], ids=["usual", "protanopia", "deuteranopia"])
def test_no_two_colours_of_classes_are_alike(eyes):
    lab = in_lab([class_colour(number) for number in range(24)], eyes)
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=2) + 1000 * np.eye(24)
    assert distances.min() > 14


def test_a_colour_makes_no_other_modality():
    first, *others = WORLDCOVER.categories
    assert replace(WORLDCOVER, categories=(replace(first, colour="#123456"), *others)) == WORLDCOVER

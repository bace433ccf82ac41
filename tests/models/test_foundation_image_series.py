"""Galileo on series of images: dates in its own mask, with their months; each series with dates of its own."""

from datetime import date

import pytest
import torch

from eofuse.errors import UsageError
from eofuse.kinds import KINDS
from eofuse.modalities import ELEVATION, MONTH, SENTINEL1, WEATHER, Channel, Kind, Modality
from eofuse.models.foundation import Sample, build_foundation
from eofuse.models.foundation.galileo import NORMALISATION, SPACE_TIME
from eofuse.models.fusion import FusionOptions
from eofuse.models.heads import HeadSpec
from eofuse.models.model import ModelSpec, build_model
from eofuse.models.normalisation import ChannelStatistics

BANDS = ("B02", "B03", "B04")


def season(name="season", bands=BANDS, unit="DN", steps=4, **more):
    channels = tuple(Channel(band, unit=unit) for band in bands)
    return Modality(name, Kind.IMAGE_SERIES, channels, steps=steps, **{"dated": True, "nodata": -1.0, **more})


RADAR = season("radar", ("VV", "VH"), "dB", nodata=None)


def model_of(modalities, strategy="single", pixels=False, **fusion):
    neutral = {each.name: [1.0] * len(each.channels) for each in modalities}
    joint = {"galileo:nano": [each.name for each in modalities if each.name != "weather"]}
    options = FusionOptions(strategy=strategy, **{"joint": joint, "foundation": {"patch": 4}, **fusion})
    kind, network = ("segmentation", "unet") if pixels else ("single_label", "")
    heads = {"label": HeadSpec(KINDS[kind], ("a", "b"), network=network)}
    spec = ModelSpec(tuple(modalities), options, heads, ChannelStatistics(neutral, neutral), (8, 8))
    return build_model(spec, seed=0).eval()


def days(*months):
    return [float((date(2020, month, 10) - date(1970, 1, 1)).days) for month in months]


def images(dates, channels=3, seed=0, low=1000):
    generator = torch.Generator().manual_seed(seed)
    return low + 500 * torch.rand(2, dates, channels, 8, 8, generator=generator)


@torch.inference_mode()
def test_dates_are_those_of_the_networks_own_series():
    model, stored = build_foundation("galileo"), images(2)
    names = ("B2", "B3", "B4")
    found = model.embed(Sample(dict(zip(names, stored.unbind(2), strict=True)), torch.tensor([[2, 6], [3, 9]])), 4)
    order = [name for group in SPACE_TIME.values() for name in group]
    values = {
        "space_time": torch.zeros(2, 8, 8, 2, 13),
        "space": torch.zeros(2, 8, 8, 16),
        "time": torch.zeros(2, 2, 6),
    }
    values["static"] = torch.zeros(2, 18)
    for position, name in enumerate(names):
        mean, deviation = NORMALISATION[name]
        plane = (stored[:, :, position] - mean + 2 * deviation) / (4 * deviation)
        values["space_time"][..., order.index(name)] = plane.movedim(1, 3)
    visible = {
        "space_time": torch.zeros(2, 2, 2, 2, 7, dtype=torch.bool),
        "space": torch.zeros(2, 2, 2, 3, dtype=torch.bool),
    }
    visible |= {"time": torch.zeros(2, 2, 3, dtype=torch.bool), "static": torch.zeros(2, 4, dtype=torch.bool)}
    visible["space_time"][..., list(SPACE_TIME).index("S2_RGB")] = True
    tokens = model.encoder(values, visible, torch.tensor([[2, 6], [3, 9]]), 4)["space_time"]
    expected = tokens[..., list(SPACE_TIME).index("S2_RGB"), :].flatten(1, 3).mean(1)
    torch.testing.assert_close(found.pooled, expected, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_one_date_is_what_a_raster_of_its_month_is():
    raster = Modality("s2", Kind.RASTER, tuple(Channel(band, unit="DN") for band in BANDS))
    stored = images(1)
    found = model_of([season()]).features({"season": stored, "season.times": torch.tensor([days(7)] * 2)})[0]
    expected = model_of([raster]).features({"s2": stored[:, 0], MONTH: torch.tensor([6, 6])})[0]
    torch.testing.assert_close(found.vector, expected.vector, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_dates_that_fill_up_a_batch_change_nothing_and_months_do():
    model, stored = model_of([season()]), images(3)
    times = torch.tensor([[*days(4, 7), torch.nan], days(4, 7, 9)])
    first = model.features({"season": stored, "season.times": times})[0].vector
    other = stored.clone()
    other[0, 2] = 9e9
    assert torch.equal(first, model.features({"season": other, "season.times": times})[0].vector)
    short = model.features({"season": stored[:1, :2], "season.times": times[:1, :2]})[0].vector
    torch.testing.assert_close(first[:1], short, atol=1e-5, rtol=0)
    later = torch.tensor([[*days(5, 8), torch.nan], days(4, 7, 9)])
    changed = model.features({"season": stored, "season.times": later})[0].vector
    assert (first - changed).abs().amax(1).gt(1e-4).tolist() == [True, False]


@torch.inference_mode()
def test_series_of_other_dates_stand_one_after_another():
    model = model_of([season(), RADAR, ELEVATION])
    inputs = {"season": images(2), "season.times": torch.tensor([days(4, 7)] * 2)}
    inputs |= {"radar": images(3, 2, low=-300) / 50, "radar.times": torch.tensor([days(3, 6, 9)] * 2)}
    inputs["elevation"] = torch.full((2, 1, 8, 8), 300, dtype=torch.int16)
    sample = model.fusion.encoder._sample(model.normalised(inputs))
    assert sample.months.tolist() == [[3, 6, 2, 5, 8]] * 2
    assert sample.values["B2"].shape == sample.values["VV"].shape == (2, 5, 8, 8)
    assert sample.values["B2"].isnan().all((0, 2, 3)).tolist() == [False, False, True, True, True]
    assert sample.values["elevation"].shape == (2, 8, 8)
    present = {
        "season": torch.ones(2, dtype=bool),
        "radar": torch.tensor([True, False]),
        "elevation": torch.ones(2, dtype=bool),
    }
    without = {**inputs, "radar.times": torch.tensor([days(3, 6, 9), [torch.nan] * 3])}
    found, expected = model.features(inputs, present)[0].vector, model.features(without)[0].vector
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_pixels_are_predicted_from_a_season_beside_other_encoders():
    model = model_of([season(), WEATHER], "late", pixels=True)
    inputs = {
        "season": images(2),
        "season.times": torch.tensor([days(4, 7)] * 2),
        "weather": torch.zeros(2, len(WEATHER.channels)),
    }
    logits = model(inputs)["label"]
    assert logits.shape == (1, 2, 2, 8, 8)
    logits.square().sum().backward()
    assert next(model.fusion.encoders["season"].network.parameters()).grad is not None


def test_too_many_dates_and_rasters_of_one_date_beside_them_are_refused():
    with pytest.raises(UsageError, match=r"Galileo takes 24 dates, and season and radar have up to 30.*one a month"):
        model_of([season(steps=15), season("radar", ("VV", "VH"), "dB", steps=15)])
    with pytest.raises(UsageError, match="'s1' has one date, and stands beside the series 'season'"):
        model_of([season(), SENTINEL1])
    with pytest.raises(UsageError, match=r"can't encode 'season' \(image_series\)"):
        model_of([season()], joint={"presto": ["season"]})

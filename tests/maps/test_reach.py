"""How far networks look, and maps that equal the whole scene in one pass where that is less than a window."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
import torch
from maps_scenes import HEADS, OPTICAL, STATISTICS, WEATHER, make_model, optical, write
from torch import nn

from eofuse.inference.ensemble import load_ensemble
from eofuse.maps.make import MapOptions, map_scenes
from eofuse.maps.reach import best_window, reach_of
from eofuse.models.artifact import load_model, save_model
from eofuse.models.encoders import ENCODERS, Encoder, prepare_rasters
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.fusion import FusionOptions
from eofuse.models.model import ModelSpec, build_model


class Local(Encoder):
    """Maps at strides 1 to 8 of pixels, each of which sees its neighbours only."""

    def __init__(self, modalities, pixels=False):
        super().__init__(modalities, pixels)
        self.first = nn.Conv2d(sum(modality.width for modality in modalities), 8, 3, padding=1)
        self.sizes = FeatureSizes(vector=8, maps=[8] * 4, strides=[1, 2, 4, 8])

    def forward(self, values):
        maps = [self.first(prepare_rasters(values, 8))]
        for _ in range(3):
            maps.append(nn.functional.avg_pool2d(maps[-1], 2))
        return Features(maps[-1].mean((2, 3)), maps, self.sizes.strides)


@pytest.fixture
def local_model(tmp_path, monkeypatch):
    monkeypatch.setitem(ENCODERS._things, "local", Local)
    heads = {name: replace(HEADS[name], network="unet", codes=(), colours=()) for name in ("cover", "height")}
    options = FusionOptions(strategy="single", encoder="local")
    spec = ModelSpec((OPTICAL,), options, heads, STATISTICS, (64, 64))
    return save_model(build_model(spec, seed=0), tmp_path / "local")


@pytest.mark.parametrize(("height", "width"), [(150, 333), (1, 200), (301, 7)])
def test_the_map_of_a_network_that_looks_near_equals_one_pass(local_model, tmp_path, height, width):
    values = optical(height, width)
    write(tmp_path / "optical.tif", values, nodata=0)
    options = MapOptions(probabilities=True)
    layers = {"optical": str(tmp_path / "optical.tif")}
    (done,) = map_scenes(local_model, None, tmp_path / "map.tif", layers=layers, options=options)
    assert done.exact
    whole = load_model(local_model).predict({"optical": torch.from_numpy(values)[None]})
    shares = rasterio.open(tmp_path / "map.cover.probabilities.tif").read() * 1e-4
    np.testing.assert_allclose(shares, whole["cover"][0].numpy(), atol=6e-5)  # they are kept in steps of 0.0001
    metres = rasterio.open(tmp_path / "map.height.tif").read(1)
    np.testing.assert_allclose(metres, whole["height"][0, 0].numpy(), rtol=3e-7)


def test_the_reach_of_a_network_that_looks_near_is_found(local_model):
    found = reach_of(load_ensemble([local_model]), 128)
    assert found.stride == 8
    assert 8 < found.radius < 32
    assert found.effective <= found.radius


def test_no_pixel_beyond_the_reach_changes_a_prediction(local_model):
    model, radius = load_model(local_model), reach_of(load_ensemble([local_model]), 128).radius
    values = torch.from_numpy(optical(128, 128))[None]
    before = model.predict({"optical": values})["height"][0, 0]
    for place in range(48, 56):
        changed = values.clone()
        changed[..., place, place] = 60_000
        rows, columns = torch.nonzero(model.predict({"optical": changed})["height"][0, 0] != before).T
        assert torch.maximum((rows - place).abs(), (columns - place).abs()).max() <= radius


def test_values_without_pixels_leave_the_reach_as_it_is(local_model, tmp_path):
    alone = load_model(local_model).spec
    options = FusionOptions(strategy="late", encoder="local")
    model = build_model(ModelSpec((OPTICAL, WEATHER), options, alone.heads, STATISTICS, (64, 64)), seed=0)
    found = reach_of(load_ensemble([save_model(model, tmp_path / "both")]), 128)
    assert 8 < found.radius < 32


def test_a_network_that_looks_everywhere_has_no_radius(tmp_path):
    model = load_ensemble([make_model(tmp_path / "model", "cover")])
    assert reach_of(model, 64).radius is None
    assert best_window(model) == 64

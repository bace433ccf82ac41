"""Encoders for rasters: any channels, any size, every pixel."""

import pytest
import torch

from eofuse.errors import UsageError
from eofuse.models.encoders import RasterEncoder

FAMILIES = [
    "test_resnet",
    "mobilenetv3_small_050",
    "test_efficientnet",
    "convnext_atto",
    "edgenext_xx_small",
    "swin_tiny_patch4_window7_224",
    "test_vit",
    "convmixer_768_32",
    "xception41",
    "hrnet_w18_small",
]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_gives_channels_first_maps_of_the_announced_sizes(name):
    encoder = RasterEncoder(name, 5).eval()
    with torch.no_grad():
        features = encoder(torch.randn(2, 5, 120, 120))
    assert features.vector.shape == (2, encoder.sizes.vector)
    assert [level.shape[1] for level in features.maps] == encoder.sizes.maps
    for level, stride in zip(features.maps, features.strides, strict=True):
        assert level.shape[2] == level.shape[3] >= 120 // stride


@pytest.mark.parametrize(
    "name", ["test_vit", "vit_tiny_patch16_224", "convnext_atto", "test_resnet", "swin_tiny_patch4_window7_224"]
)
@pytest.mark.parametrize("size", [120, 33])
def test_the_last_pixels_count(name, size):
    """Tokens of 16 pixels cover 112 of 120 pixels; the other 8 must be seen too."""
    encoder = RasterEncoder(name, 2).eval()
    rasters = torch.randn(1, 2, size, size)
    changed = rasters.clone()
    changed[:, :, -1, :] += 5
    changed[:, :, :, -1] += 5
    with torch.no_grad():
        assert not torch.equal(encoder(rasters).vector, encoder(changed).vector)


def test_an_unknown_name_is_told_the_nearest_networks():
    with pytest.raises(UsageError, match=r"unknown encoder 'resnet_18'; the nearest names: .*resnet18"):
        RasterEncoder("resnet_18", 3)


@pytest.mark.parametrize("name", ["hf-hub:timm/resnet18", "zzzzzz", ""])
def test_a_name_that_is_like_no_network_is_refused(name):
    with pytest.raises(UsageError, match="unknown encoder"):
        RasterEncoder(name, 3)


def test_taking_the_stem_changes_nothing_but_the_entrance():
    encoder = RasterEncoder("resnet10t", 3).eval()
    rasters = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        whole = encoder(rasters).vector
        stem = encoder.take_stem()
        assert torch.equal(encoder.encode(stem(rasters)).vector, whole)


def test_taking_the_stem_leaves_training_mode_and_running_statistics_alone():
    encoder = RasterEncoder("test_resnet", 3)
    stem = encoder.take_stem()
    assert stem.training
    assert all(module.training for module in encoder.modules())
    counts = [buffer for name, buffer in encoder.named_buffers() if name.endswith("num_batches_tracked")]
    assert counts
    assert not any(count.any() for count in counts)


def test_it_runs_under_autocast():
    encoder = RasterEncoder("test_resnet", 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = encoder(torch.randn(2, 3, 32, 32))
    assert features.vector.dtype == torch.bfloat16
    assert features.vector.isfinite().all()

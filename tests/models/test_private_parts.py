"""What eofuse uses of libraries beyond what they promise: a new version that lacks it fails here first, by name."""

import inspect
import logging
import tomllib
from pathlib import Path

import pytest
import timm
import torch
from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder
from segmentation_models_pytorch.decoders.fpn.decoder import Conv3x3GNReLU, FPNDecoder
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from timm.models import EfficientNetFeatures, FeatureListNet
from timm.models._features import FeatureGetterNet
from timm.models.vision_transformer import VisionTransformer
from torchvision.models.detection.fcos import FCOS
from torchvision.models.detection.retinanet import RetinaNet
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import MultiScaleRoIAlign


@pytest.mark.parametrize(
    ("part", "parameters"),
    [
        (UnetDecoder, ["encoder_channels", "decoder_channels", "n_blocks"]),
        (FPNDecoder, ["encoder_channels", "encoder_depth", "pyramid_channels", "segmentation_channels"]),
        (DeepLabV3PlusDecoder, ["encoder_channels", "encoder_depth", "out_channels", "atrous_rates", "output_stride"]),
        (Conv3x3GNReLU, ["in_channels", "out_channels", "upsample"]),
        (FCOS.compute_loss, ["targets", "head_outputs", "anchors", "num_anchors_per_level"]),
        (FCOS.postprocess_detections, ["head_outputs", "anchors", "image_shapes"]),
        (RetinaNet.compute_loss, ["targets", "head_outputs", "anchors"]),
        (RetinaNet.postprocess_detections, ["head_outputs", "anchors", "image_shapes"]),
        (RegionProposalNetwork.forward, ["images", "features", "targets"]),
        (RoIHeads.forward, ["features", "proposals", "image_shapes", "targets"]),
    ],
    ids=lambda part: getattr(part, "__qualname__", ""),
)
def test_parts_take_what_they_are_given(part, parameters):
    found = [name for name in inspect.signature(part).parameters if name != "self"]
    assert [name for name in parameters if name not in found] == []


def test_pooling_of_boxes_has_scales_and_a_mapping_of_levels_that_can_be_set():
    pooling = MultiScaleRoIAlign(["0"], 5, 2)
    assert (pooling.scales, pooling.map_levels) == (None, None)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("test_resnet", FeatureListNet), ("test_efficientnet", EfficientNetFeatures), ("test_vit", FeatureGetterNet)],
)
def test_networks_give_their_maps_in_the_ways_that_encoders_know(name, kind):
    network = timm.create_model(name, features_only=True)
    assert isinstance(network, kind)
    if kind is EfficientNetFeatures:
        assert network._stage_out_idx


def test_vision_transformers_drop_tokens_where_masked_pretraining_does():
    network = timm.create_model("test_vit", num_classes=0, dynamic_img_size=True)
    assert isinstance(network, VisionTransformer)
    passed = {}
    for part in (network.patch_embed, network.patch_drop, network.blocks[0]):
        part.register_forward_hook(lambda module, given, tokens: passed.update({module: tokens.flatten(1, -2).shape}))
    network.forward_features(torch.zeros(1, 3, 32, 32))
    assert list(passed) == [network.patch_embed, network.patch_drop, network.blocks[0]]
    tokens = passed[network.patch_embed][1]
    assert passed[network.patch_drop][1] == tokens + 1  # the class token is in, and so are the positions
    assert network.num_prefix_tokens == 1


def test_remarks_of_timm_come_from_the_logger_that_is_silenced():
    assert "timm.models._builder" in logging.Logger.manager.loggerDict


def test_libraries_with_such_parts_have_an_upper_guard():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    guarded = {entry.partition(">=")[0] for entry in project["dependencies"] if ",<" in entry}
    assert {"timm", "segmentation-models-pytorch", "torchvision"} <= guarded

"""Fusion for heads that look at pixels: exact maps, conditioned by scalars; and that it changes nothing for others."""

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from eofuse.errors import UsageError
from eofuse.kinds import SEGMENTATION
from eofuse.modalities import CLIMATE_ZONE, SEASON, SENTINEL1, SENTINEL2, WEATHER, Kind, Modality
from eofuse.models.fusion import Fusion, FusionOptions, build_fusion
from eofuse.models.fusion.base import ConditionMaps
from eofuse.models.heads.base import HeadSpec
from eofuse.models.heads.dense import DenseHead

STRATEGIES = {
    "early": {"strategy": "early"},
    "middle": {"strategy": "middle"},
    "late": {"strategy": "late"},
    "shared": {"strategy": "late", "weights": "shared"},
    "decision": {"strategy": "decision"},
}
MODALITIES = (SENTINEL2, SENTINEL1, SEASON, CLIMATE_ZONE)


def make_fusion(strategy: str, modalities: Sequence[Modality] = MODALITIES, pixels: bool = True, **options) -> Fusion:
    torch.manual_seed(0)
    return build_fusion(
        modalities, FusionOptions(**{"encoder": "test_resnet", **STRATEGIES[strategy], **options}), pixels
    )


def make_head(fusion: Fusion) -> DenseHead:
    return DenseHead(HeadSpec(SEGMENTATION, ("a", "b"), network="unet"), fusion.sizes)


def make_inputs(modalities: Sequence[Modality] = MODALITIES, size: int = 64, batch_size: int = 3) -> dict[str, Tensor]:
    """Normalised values."""
    generator = torch.Generator().manual_seed(1)
    return {
        modality.name: torch.randn(
            batch_size, modality.width, *([size, size] if modality.kind is Kind.RASTER else []), generator=generator
        )
        for modality in modalities
    }


@pytest.mark.parametrize("strategy", STRATEGIES)
class TestContract:
    def test_without_pixels_there_is_nothing_more(self, strategy):
        plain, pixels = make_fusion(strategy, pixels=False), make_fusion(strategy)
        assert not [name for name in plain.state_dict() if "conditioning" in name]
        own = pixels.state_dict()
        for name, values in plain.state_dict().items():
            assert torch.equal(own.pop(name), values)
        assert all(name.startswith("conditioning.") for name in own)
        assert bool(own) == (strategy in ("middle", "late", "shared"))

    def test_untrained_it_gives_the_same_features(self, strategy):
        inputs = make_inputs()
        plain, pixels = make_fusion(strategy, pixels=False)(inputs), make_fusion(strategy)(inputs)
        for before, after in zip(plain, pixels, strict=True):
            assert torch.equal(before.vector, after.vector)
            assert len(before.maps) == len(after.maps)
            assert all(torch.equal(level, other) for level, other in zip(before.maps, after.maps, strict=True))

    @pytest.mark.parametrize("encoder", ["test_resnet", "test_convnext", "test_vit", "test_efficientnet"])
    def test_maps_are_the_padded_rasters_divided_by_their_strides(self, strategy, encoder):
        if encoder == "test_vit" and strategy in ("middle", "shared"):
            with pytest.raises(UsageError, match="can't be cut"):
                make_fusion(strategy, encoder=encoder)
            return
        fusion = make_fusion(strategy, encoder=encoder)
        for features in fusion(make_inputs(size=120)):
            for level, stride in zip(features.maps, features.strides, strict=True):
                assert level.shape[-2:] == (128 // stride, 128 // stride)

    def test_scalars_reach_the_pixels(self, strategy):
        fusion = make_fusion(strategy)
        head = make_head(fusion)
        inputs = make_inputs()
        weights = torch.rand(64, 64)
        optimiser = torch.optim.SGD([*fusion.parameters(), *head.parameters()], 0.01)
        (head(fusion(inputs), (64, 64))[:, :, 0] * weights).sum().backward()  # conditioning begins with nothing
        optimiser.step()
        scalars = {name: inputs[name].requires_grad_() for name in ("season", "climate_zone")}
        logits = head(fusion(inputs), (64, 64))
        (logits[:, :, 0] * weights).sum().backward()
        for name, values in scalars.items():
            assert values.grad.any(), name

    def test_scalars_alone_have_no_maps(self, strategy):
        modalities = (SEASON, WEATHER)
        if strategy == "shared":
            with pytest.raises(UsageError, match="can't be shared"):
                make_fusion(strategy, modalities)
            return
        fusion = make_fusion(strategy, modalities)
        inputs = make_inputs(modalities)
        assert not [name for name in fusion.state_dict() if "conditioning" in name]
        logits = make_head(fusion)(fusion(inputs), (40, 30))
        assert torch.equal(logits, logits[..., :1, :1].expand_as(logits))

    def test_rasters_alone_are_not_conditioned(self, strategy):
        fusion = make_fusion(strategy, (SENTINEL2, SENTINEL1))
        assert not [name for name in fusion.state_dict() if "conditioning" in name]


@pytest.mark.parametrize("strategy", ["middle", "late"])
def test_what_only_pixels_and_scalars_together_tell_is_learnt(strategy):
    """A pixel's class is whether it is bright, but where the scalar is negative, whether it is dark."""
    modalities = (SENTINEL1, SEASON)
    fusion = make_fusion(strategy, modalities)
    head = make_head(fusion)
    optimiser = torch.optim.AdamW([*fusion.parameters(), *head.parameters()], 3e-3)
    generator = torch.Generator().manual_seed(0)

    def batch() -> tuple[dict[str, Tensor], Tensor]:
        bright = torch.rand(8, 1, 4, 4, generator=generator).repeat_interleave(8, 2).repeat_interleave(8, 3) > 0.5
        sign = (torch.rand(8, 2, generator=generator) > 0.5) * 2.0 - 1
        rasters = 2.0 * bright - 1 + 0.1 * torch.randn(8, 2, 32, 32, generator=generator)
        return {"s1": rasters, "season": sign}, (bright[:, 0] ^ (sign[:, 0] < 0)[:, None, None]).long()

    for _ in range(35):
        inputs, truth = batch()
        optimiser.zero_grad()
        F.cross_entropy(head(fusion(inputs), (32, 32))[0], truth).backward()
        optimiser.step()
    fusion.eval(), head.eval()
    inputs, truth = batch()
    with torch.no_grad():
        right = head.predict(head(fusion(inputs), (32, 32))).argmax(1) == truth
    assert right.float().mean() > 0.85


class TestConditionMaps:
    def test_each_level_is_scaled_and_shifted_by_a_patch_and_channel(self):
        layer = ConditionMaps([2], [3, 4])
        with torch.no_grad():
            layer.layer.weight.normal_(), layer.layer.bias.normal_()
        vector, maps = torch.randn(5, 2), [torch.randn(5, 3, 8, 8), torch.randn(5, 4, 4, 4)]
        scales, shifts = layer.layer(vector).chunk(2, 1)
        given = layer([vector], maps)
        torch.testing.assert_close(given[0][2, 1], maps[0][2, 1] * (1 + scales[2, 1]) + shifts[2, 1])
        torch.testing.assert_close(given[1][4, 3], maps[1][4, 3] * (1 + scales[4, 6]) + shifts[4, 6])

    def test_several_vectors_may_depend_on_each_other(self):
        assert any(isinstance(module, torch.nn.GELU) for module in ConditionMaps([2, 3], [4]).modules())

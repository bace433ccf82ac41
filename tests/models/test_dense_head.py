"""The contract of heads that tell something of every pixel: exact sizes, exact places, any pyramid."""

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from eofuse.errors import UsageError
from eofuse.kinds import PIXEL_REGRESSION, SEGMENTATION
from eofuse.models.encoders import RasterEncoder
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.heads.base import HeadSpec
from eofuse.models.heads.decoders import DECODERS
from eofuse.models.heads.dense import DenseHead
from eofuse.models.heads.pyramid import Pyramid

PYRAMIDS = {
    "residual network": ([8, 8, 12, 16, 24], [2, 4, 8, 16, 32]),
    "from stride 4": ([8, 12, 16, 24], [4, 8, 16, 32]),
    "from the pixels": ([8, 8, 8, 12, 16, 24], [1, 2, 4, 8, 16, 32]),
    "tokens of 16 pixels": ([16, 16, 16, 16], [16, 16, 16, 16]),
    "tokens of 14 pixels": ([16, 16, 16, 16], [14, 14, 14, 14]),
    "tokens in stages": ([8, 16, 16, 24], [8, 16, 16, 32]),
    "three coarse maps": ([8, 16, 24], [16, 32, 64]),
}
SIZES = [(120, 120), (64, 64), (48, 48), (33, 70)]
ENCODERS = ["test_resnet", "test_convnext", "test_efficientnet", "test_vit"]


def make_head(network: str, sizes: Sequence[FeatureSizes], dropout: float = 0.0, classes: str = "abc") -> DenseHead:
    torch.manual_seed(0)
    return DenseHead(HeadSpec(SEGMENTATION, tuple(classes), network=network), sizes, dropout)


def make_features(sizes: FeatureSizes, size: tuple[int, int], batch_size: int = 2) -> Features:
    """What a network that does not pad would give."""
    generator = torch.Generator().manual_seed(0)
    shapes = [[math.ceil(side / stride) for side in size] for stride in sizes.strides]
    maps = [
        torch.randn(batch_size, width, *shape, generator=generator)
        for width, shape in zip(sizes.maps, shapes, strict=True)
    ]
    return Features(torch.randn(batch_size, sizes.vector, generator=generator), maps, sizes.strides)


@pytest.mark.parametrize("network", DECODERS)
class TestNetworks:
    @pytest.mark.parametrize("pyramid", PYRAMIDS)
    def test_any_pyramid_gives_logits_of_exactly_the_size(self, network, pyramid):
        sizes = FeatureSizes(4, *PYRAMIDS[pyramid])
        head = make_head(network, [sizes])
        for size in SIZES:
            assert head([make_features(sizes, size)], size).shape == (1, 2, 3, *size)

    @pytest.mark.parametrize("encoder", ENCODERS)
    @pytest.mark.parametrize("size", [(120, 120), (48, 80)])
    def test_any_encoder_learns_in_every_parameter(self, network, encoder, size):
        encoder = RasterEncoder(encoder, 3, pixels=True)
        for parameter in encoder.parameters():
            if not parameter.any():
                nn.init.constant_(
                    parameter, 0.5
                )  # residual branches begin with zeros, through which no gradient passes
        head = make_head(network, [encoder.sizes])
        logits = head([encoder(torch.randn(2, 3, *size))], size)
        assert logits.shape == (1, 2, 3, *size)
        (logits.square() * torch.rand(logits.shape)).sum().backward()
        dead = [
            name for name, parameter in head.named_parameters() if parameter.grad is None or not parameter.grad.any()
        ]
        unused = "pyramid.layers.1." if network == "deeplabv3plus" else "none"  # DeepLabV3+ does without one level
        assert [name for name in dead if unused not in name] == []
        last = [name for name, parameter in encoder.named_parameters() if parameter.grad is None]
        assert [name for name in last if "norm" not in name] == []  # a token network's last norm serves its vector only

    @pytest.mark.parametrize("pyramid", ["residual network", "from stride 4"])
    def test_a_spot_stays_at_its_pixels(self, network, pyramid):
        """With flat kernels and no norms a decoder only blurs: the centre of what it makes of a spot is the spot's."""
        _, strides = PYRAMIDS[pyramid]
        sizes = FeatureSizes(1, [32] * len(strides), strides)
        head = make_head(network, [sizes], classes="a").eval()
        decoder = head.branches[0].decoder
        _flatten(decoder)
        _flatten(head.branches[0].last)
        if network == "deeplabv3plus":
            nn.init.zeros_(decoder.layers.aspp[0].convs[-1][1].weight)  # what is pooled over the patch has no place
        top, left, side = 128, 192, 416
        spot = torch.zeros(1, 1, side, side)
        spot[..., top : top + 32, left : left + 32] = 1.0
        maps = [F.avg_pool2d(spot, stride).expand(-1, 32, -1, -1) for stride in strides]
        with torch.no_grad():
            blurred = head([Features(torch.zeros(1, 1), maps, strides)], (side, side))[0, 0, 0]
        assert blurred[top + 15, left + 15] > 0
        rows, columns = blurred.sum(1), blurred.sum(0)
        places = torch.arange(side) + 0.5
        assert float((rows * places).sum() / rows.sum()) == pytest.approx(top + 16, abs=0.5)
        assert float((columns * places).sum() / columns.sum()) == pytest.approx(left + 16, abs=0.5)

    def test_it_runs_in_half_precision(self, network):
        encoder = RasterEncoder("test_resnet", 3, pixels=True)
        head = make_head(network, [encoder.sizes])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = head([encoder(torch.randn(2, 3, 48, 48))], (48, 48))
        logits.float().square().sum().backward()
        assert logits.isfinite().all()
        assert all(parameter.grad.isfinite().all() for parameter in head.parameters())

    def test_a_batch_of_one_patch_can_be_trained_on(self, network):
        sizes = FeatureSizes(4, *PYRAMIDS["residual network"])
        head = make_head(network, [sizes])
        head([make_features(sizes, (64, 64), batch_size=1)], (64, 64)).sum().backward()

    def test_its_size_is_in_proportion_to_the_encoder(self, network):
        encoder = RasterEncoder("test_resnet", 14, pixels=True)
        weights = [
            sum(p.numel() for p in module.parameters()) for module in (make_head(network, [encoder.sizes]), encoder)
        ]
        assert weights[0] < 1.5 * weights[1]

    def test_dropout_is_for_training_only(self, network):
        sizes = FeatureSizes(4, *PYRAMIDS["residual network"])
        head, features = make_head(network, [sizes], dropout=0.5), [make_features(sizes, (64, 64))]
        assert not torch.equal(head(features, (64, 64)), head(features, (64, 64)))
        head.eval()
        assert torch.equal(head(features, (64, 64)), head(features, (64, 64)))

    def test_a_square_is_found_at_its_place_up_to_the_lower_right_edge(self, network):
        torch.manual_seed(1)
        encoder = RasterEncoder("test_resnet", 1, pixels=True)
        head = make_head(network, [encoder.sizes], classes="ab")
        optimiser = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], 3e-3)
        generator = torch.Generator().manual_seed(0)
        steps, count = (30, 3) if network == "fpn" else (24, 2)
        for _ in range(steps):
            rasters, truth = _squares(torch.randint(0, 97, (count, 3, 2), generator=generator), generator)
            loss = F.cross_entropy(head([encoder(rasters)], (120, 120))[0], truth)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        rasters, truth = _squares(torch.tensor([[[96, 96]], [[94, 31]], [[0, 0]], [[47, 93]]]), generator)
        encoder.eval(), head.eval()
        with torch.no_grad():
            found = head.predict(head([encoder(rasters)], (120, 120)))[:, 1] > 0.5
        common, either = (found & (truth == 1)).sum((1, 2)), (found | (truth == 1)).sum((1, 2))
        assert (common / either).min() > 0.65
        for mask, square in zip(found, truth, strict=True):
            torch.testing.assert_close(
                mask.nonzero().double().mean(0), square.nonzero().double().mean(0), atol=2, rtol=0
            )


def _flatten(module: nn.Module) -> None:
    for child in module.modules():
        for name, norm in list(child.named_children()):
            if isinstance(norm, nn.BatchNorm2d | nn.GroupNorm):
                setattr(child, name, nn.Identity())
        if isinstance(child, nn.Conv2d):
            nn.init.constant_(child.weight, 1 / child.weight[0].numel())
            if child.bias is not None:
                nn.init.zeros_(child.bias)


def _squares(corners: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noise of 120 pixels with brighter squares of 24 at corners (B, squares, 2), and where these are."""
    truth = torch.zeros(len(corners), 120, 120, dtype=torch.int64)
    for mask, places in zip(truth, corners.tolist(), strict=True):
        for top, left in places:
            mask[top : top + 24, left : left + 24] = 1
    noise = torch.randn(len(corners), 1, 120, 120, generator=generator)
    return 2.0 * truth[:, None] - 1 + 0.5 * noise, truth


class TestPyramid:
    @given(pyramid=st.sampled_from(sorted(PYRAMIDS)), size=st.tuples(st.integers(1, 200), st.integers(1, 200)))
    @settings(max_examples=40)
    def test_every_map_is_half_as_wide_as_the_one_before(self, pyramid, size):
        channels, strides = PYRAMIDS[pyramid]
        layer = Pyramid(channels, strides).eval()
        maps = layer(make_features(FeatureSizes(1, channels, strides), size).maps, size)
        assert len(maps) >= 4
        assert [level.shape[1] for level in maps] == layer.channels
        for finer, coarser in pairwise(maps):
            assert list(finer.shape[2:]) == [2 * side for side in coarser.shape[2:]]
        for level, stride in zip(maps, layer.strides, strict=True):
            assert all(cells * stride >= side for cells, side in zip(level.shape[2:], size, strict=True))

    def test_cells_stay_where_they_are_and_what_is_added_is_zero(self):
        channels, strides = PYRAMIDS["residual network"]
        features = make_features(FeatureSizes(1, channels, strides), (120, 90))
        for level, own in zip(Pyramid(channels, strides)(features.maps, (120, 90)), features.maps, strict=True):
            height, width = own.shape[2:]
            assert torch.equal(level[..., :height, :width], own)
            assert not level[..., height:, :].any()
            assert not level[..., width:].any()

    def test_an_exact_pyramid_passes_unchanged(self):
        channels, strides = PYRAMIDS["from stride 4"]
        maps = make_features(FeatureSizes(1, channels, strides), (96, 64)).maps
        assert all(level is own for level, own in zip(Pyramid(channels, strides)(maps, (96, 64)), maps, strict=True))


class TestSetsOfFeatures:
    def test_each_set_has_a_head_and_one_without_maps_says_the_same_everywhere(self):
        sizes = [FeatureSizes(4, *PYRAMIDS["residual network"]), FeatureSizes(5)]
        features = [make_features(sizes[0], (48, 40)), Features(torch.randn(2, 5))]
        logits = make_head("unet", sizes)(features, (48, 40))
        assert logits.shape == (2, 2, 3, 48, 40)
        assert torch.equal(logits[1], logits[1, :, :, :1, :1].expand(-1, -1, 48, 40))
        assert logits[0].std((2, 3)).min() > 0

    def test_a_network_that_does_not_exist_is_told_the_nearest(self):
        with pytest.raises(UsageError, match="unknown network 'unett' for pixels; did you mean 'unet'"):
            make_head("unett", [FeatureSizes(4, *PYRAMIDS["residual network"])])


class TestPredict:
    def head(self, kind=SEGMENTATION, classes=("a", "b"), **spec):
        return DenseHead(HeadSpec(kind, classes, **spec), [FeatureSizes(3)])

    def test_probabilities_are_the_mean_over_the_heads(self):
        logits = torch.randn(3, 2, 2, 4, 5)
        told = self.head().predict(logits)
        assert told.shape == (2, 2, 4, 5)
        torch.testing.assert_close(told, logits.softmax(2).mean(0))

    def test_temperature_acts_on_the_mean(self):
        logits = torch.randn(3, 2, 2, 4, 5)
        powers = logits.softmax(2).mean(0) ** (1 / 2.5)
        torch.testing.assert_close(self.head(temperature=2.5).predict(logits), powers / powers.sum(1, keepdim=True))

    def test_a_sure_pixel_stays_finite_at_any_temperature(self):
        logits = torch.tensor([1000.0, -1000.0]).view(1, 1, 2, 1, 1)
        told = self.head(temperature=3.0).predict(logits)
        torch.testing.assert_close(told.flatten(), torch.tensor([1.0, 0.0]), atol=1e-3, rtol=0)

    def test_numbers_come_in_their_unit(self):
        numbers = torch.randn(2, 3, 2, 4, 5)
        told = self.head(PIXEL_REGRESSION, mean=(100.0, -5.0), std=(20.0, 2.0)).predict(numbers)
        torch.testing.assert_close(told[:, 0], numbers[:, :, 0].mean(0) * 20 + 100)
        torch.testing.assert_close(told[:, 1], numbers[:, :, 1].mean(0) * 2 - 5)

    def test_shares_sum_to_one_at_every_pixel(self):
        told = self.head(PIXEL_REGRESSION, composition=True).predict(torch.randn(2, 3, 2, 4, 5))
        torch.testing.assert_close(told.sum(1), torch.ones(3, 4, 5))

    def test_half_precision_is_told_in_single(self):
        assert self.head().predict(torch.randn(1, 2, 2, 4, 5).bfloat16()).dtype == torch.float32

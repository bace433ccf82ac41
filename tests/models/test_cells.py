"""Rasters on a coarse grid of their own: every strategy takes them, at their place, or says that it can't."""

import pytest
import torch

from eofuse.config import parse_options
from eofuse.errors import UsageError
from eofuse.kinds import SEGMENTATION
from eofuse.modalities import SENTINEL1, SENTINEL2, WEATHER, Channel, Kind, Modality
from eofuse.models.features import FeatureSizes
from eofuse.models.fusion import FUSIONS, FusionOptions
from eofuse.models.fusion.per_modality import JoinedLevels
from eofuse.models.model import HeadSpec, ModelSpec, build_model

TOKENS = Modality("tokens", Kind.RASTER, tuple(Channel(f"{n:03d}") for n in range(6)), cell=8)
SIZE = 40  # five cells, and no multiple of the encoder's stride


def dense(make_spec, modalities, **fusion):
    spec = make_spec(modalities, patch_size=SIZE)
    options = parse_options(FusionOptions, {"encoder": "test_resnet", **fusion}, "fusion")
    heads = {"cover": HeadSpec(SEGMENTATION, ("a", "b", "c"), network="unet")}
    return build_model(ModelSpec(spec.modalities, options, heads, spec.statistics, spec.patch_size), seed=0)


@pytest.mark.parametrize("missing", ["exclude", "token"])
@pytest.mark.parametrize("strategy", [name for name in FUSIONS if name not in ("middle", "single")])
def test_pixels_are_predicted_from_cells_and_pixels_together(strategy, missing, make_spec, make_inputs):
    modalities = (TOKENS, SENTINEL1, WEATHER)
    model = dense(make_spec, modalities, strategy=strategy, missing=missing)
    inputs = make_inputs(modalities, size=SIZE, batch_size=3)
    present = {
        "tokens": torch.tensor([True, False, True]),
        "s1": torch.ones(3, dtype=bool),
        "weather": torch.ones(3, dtype=bool),
    }
    inputs["tokens"].requires_grad_()
    logits = model(inputs, present if missing == "token" else None)["cover"]
    assert logits.shape[1:] == (3, 3, SIZE, SIZE)
    assert torch.autograd.grad(logits.square().sum(), inputs["tokens"])[0].any()


@pytest.mark.parametrize("fusion", [{}, {"encoders": {"tokens": "test_resnet"}}, {"strategy": "early"}])
def test_pixels_are_predicted_from_cells_alone(fusion, make_spec, make_inputs):
    model = dense(make_spec, [TOKENS], **{"strategy": "single", **fusion})
    assert model(make_inputs([TOKENS], size=SIZE))["cover"].shape[-2:] == (SIZE, SIZE)


def test_cells_join_the_maps_at_their_place():
    sizes = {"coarse": FeatureSizes(1, [1], [8]), "fine": FeatureSizes(1, [2, 2], [4, 16])}
    joined = JoinedLevels(sizes, ["fine"])
    assert (joined.strides, joined.widths) == ([4, 16], [3, 2])
    cells = torch.zeros(1, 1, 4, 4)
    cells[0, 0, 1, 2] = 1
    level = joined.join({"coarse": [cells], "fine": [torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 2, 2)]})[0][0, 0]
    assert level[2:4, 4:6].sum() > level.sum() / 2
    assert level[2:4, 4:6].min() > level[:2].max()


def test_early_fusion_repeats_the_cells(make_spec, make_inputs):
    model = dense(make_spec, (SENTINEL1, TOKENS), strategy="early")
    normalised = model.normalised(make_inputs((SENTINEL1, TOKENS), size=SIZE))
    stack = model.fusion.stack(normalised)
    assert torch.equal(stack[:, 2:, ::8, ::8], normalised["tokens"])
    assert torch.equal(stack[:, 2:, 7::8, 7::8], normalised["tokens"])


@pytest.mark.parametrize("fusion", [{"strategy": "middle"}, {"strategy": "late", "weights": "shared"}])
def test_what_passes_rasters_at_one_resolution_refuses_cells(fusion, make_spec):
    with pytest.raises(UsageError, match=r"tokens: has cells of 8 × 8 pixels.*such as late"):
        dense(make_spec, (SENTINEL1, SENTINEL2, TOKENS), **fusion)


def test_rasters_that_cover_other_pixels_are_an_error(make_spec, make_inputs):
    model = dense(make_spec, (SENTINEL1, TOKENS), strategy="late")
    inputs = make_inputs((SENTINEL1, TOKENS), size=SIZE)
    with pytest.raises(UsageError, match="tokens: has 32×40 pixels where s1 has 40×40"):
        model({**inputs, "tokens": inputs["tokens"][:, :, 1:]})


def test_only_rasters_of_numbers_have_cells():
    with pytest.raises(UsageError, match="are for rasters of numbers"):
        Modality("v", Kind.VECTOR, (Channel("a"),), cell=8)

"""One geometry for all grids: what is done to pixels is done to the cells that cover them."""

import numpy as np
import pytest
import torch

from eofuse.data.loading import Batch
from eofuse.kinds import SEGMENTATION
from eofuse.learning.augment import AugmentOptions, make_augmentation
from eofuse.modalities import Channel, Kind, Modality

CELL = 4
PIXELS = Modality("pixels", Kind.RASTER, (Channel("a"),))
CELLS = Modality("cells", Kind.RASTER, (Channel("a"),), cell=CELL)
MODALITIES = {"cells": CELLS, "pixels": PIXELS}


def in_cells(values):
    return torch.nn.functional.avg_pool2d(values, CELL)


def batch(values):
    everywhere = torch.ones(len(values), dtype=torch.bool)
    inputs = {"cells": in_cells(values), "pixels": values}
    truth = {"cover": torch.zeros(len(values), *values.shape[-2:], dtype=torch.uint8)}
    return Batch(np.arange(len(values)), inputs, dict.fromkeys(inputs, everywhere), truth, {"cover": everywhere})


def augmented(values, device=None, **options):
    augment = make_augmentation(AugmentOptions(**options), MODALITIES, {"cover": SEGMENTATION})
    return augment(batch(values), torch.Generator().manual_seed(1))


@pytest.fixture(params=[True, False], ids=["looped", "in one kernel"])
def _looped(request, monkeypatch):
    for module in ("geometry", "dropping", "patches"):
        monkeypatch.setattr(f"eofuse.learning.augment.{module}.is_looped", lambda device: request.param)


@pytest.mark.usefixtures("_looped")
def test_turns_are_those_of_the_pixels():
    found = augmented(torch.randn(16, 1, 24, 24), turns=True).inputs
    torch.testing.assert_close(found["cells"], in_cells(found["pixels"]))


def test_crops_lie_where_those_of_the_pixels_do():
    ramp = torch.arange(64.0).expand(8, 1, 64, -1) + 100 * torch.arange(64.0)[:, None]
    found = augmented(ramp, crop=0.5, resampled=1.0).inputs
    inner = (..., slice(3, -3), slice(3, -3))  # at the rims, the next cell is missing to interpolate
    torch.testing.assert_close(found["cells"][inner], in_cells(found["pixels"])[inner], atol=2e-2, rtol=0)


@pytest.mark.usefixtures("_looped")
def test_a_cell_is_hidden_with_any_of_its_pixels():
    found = augmented(torch.randn(16, 1, 24, 24), cut_out=0.4).inputs
    hidden = found["pixels"].isnan().float()
    assert torch.equal(found["cells"].isnan(), torch.nn.functional.max_pool2d(hidden, CELL) > 0)
    assert hidden.any()


def test_a_part_of_another_patch_is_one_of_whole_cells():
    found = augmented(torch.randn(16, 1, 24, 24), cutmix=1.0).inputs
    torch.testing.assert_close(found["cells"], in_cells(found["pixels"]))

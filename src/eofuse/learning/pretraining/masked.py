"""`Masked`: blocks and whole modalities are hidden and reconstructed from what is left.

Masked autoencoding across modalities after MultiMAE (Bachmann et al. 2022), with hidden pixels left in place as in SimMIM (Xie et al.
2022), which convolutional networks and vision transformers can both take.
"""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from eofuse.data.loading import Batch
from eofuse.errors import UsageError
from eofuse.learning.pretraining.options import PretrainingOptions, PretrainOptions
from eofuse.learning.pretraining.preparation import Unlabelled
from eofuse.learning.pretraining.reconstruction import Reconstruction
from eofuse.learning.pretraining.views import make_view
from eofuse.models.model import Model


class Masked:
    """Reconstructs hidden blocks, drawn for each raster by itself, and hidden modalities.

    Args:
        model: whose encoders learn.
        data: the patches.
        options: how much is hidden.

    Raises:
        UsageError: if no input is a raster, or a block covers the whole patch.
    """

    def __init__(self, model: Model, data: Unlabelled, options: PretrainingOptions) -> None:
        self.module: nn.Module = Reconstruction(model, partial(draw_hidden, options.pretrain))
        if 2 * options.pretrain.block > min(model.spec.patch_size):
            found = f"blocks of {options.pretrain.block} pixels are more than half of a patch"
            fix = f"use {min(model.spec.patch_size) // 8 or 1}"
            raise UsageError(found, where="pretrain.block", fix=fix)
        self.view = make_view(options, model.spec.modalities)

    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean error over the modalities, and that of each."""
        loss, parts = self.module(self.view(batch).inputs)
        return loss, parts


def draw_hidden(options: PretrainOptions, normalised: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is hidden: in each raster a share of the blocks, and of some patches one modality as a whole."""
    hidden = {}
    for name, values in normalised.items():
        if values.ndim == 4:
            hidden[name] = draw_blocks(values, options.mask, options.block)
        elif options.hide and values.ndim == 2:
            hidden[name] = torch.zeros(len(values), 1, dtype=torch.bool, device=values.device)
    if len(hidden) < 2:
        return hidden
    anyone = next(iter(hidden.values()))
    some = torch.rand(len(anyone), device=anyone.device) < options.hide
    chosen = torch.randint(len(hidden), (len(anyone),), device=anyone.device)
    for number, (name, blocks) in enumerate(hidden.items()):
        whole = some & (chosen == number)
        hidden[name] = blocks | whole.view(-1, *(1,) * (blocks.ndim - 1))
    return hidden


def draw_blocks(rasters: Tensor, share: float, block: int) -> Tensor:
    """Hidden blocks (B, 1, H, W) of rasters: of each patch the same number of blocks, at least one."""
    batch, _, height, width = rasters.shape
    rows, columns = -(-height // block), -(-width // block)
    count = min(max(1, round(share * rows * columns)), rows * columns - 1)
    order = torch.rand(batch, rows * columns, device=rasters.device).argsort(1)
    cells = (order < count).view(batch, 1, rows, columns)
    large = cells.repeat_interleave(block, 2).repeat_interleave(block, 3)
    return large[..., :height, :width]

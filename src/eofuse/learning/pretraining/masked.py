"""`Masked`: blocks and whole modalities are hidden and reconstructed from what is left.

Masked autoencoding across modalities after MultiMAE (Bachmann et al. 2022). In vision transformers a block is a token, and hidden
tokens are dropped as in MAE (He et al. 2022, see `tokens`); other networks see zeros in place of hidden pixels, as in SimMIM (Xie et
al. 2022).
"""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from eofuse.errors import UsageError
from eofuse.learning.pretraining.options import METHODS, PretrainingOptions, PretrainOptions
from eofuse.learning.pretraining.preparation import Unlabelled
from eofuse.learning.pretraining.reconstruction import Reconstructing, Reconstruction
from eofuse.learning.pretraining.tokens import TokenReconstruction, token_encoders, token_side
from eofuse.learning.pretraining.views import make_view
from eofuse.models.model import Model


class MaskedOptions(PretrainOptions):
    """Options of `Masked`.

    Attributes:
        mask: share of the blocks of each raster that are hidden.
        block: side of a block in pixels; of vision transformers a block is a token.
        hide: share of the patches of which one modality is hidden as a whole.
    """

    mask: float = Field(default=0.75, gt=0, lt=1)
    block: int = Field(default=12, ge=1)
    hide: float = Field(default=0.5, ge=0, le=1)


@METHODS.register("masked")
class Masked(Reconstructing):
    """Reconstructs hidden blocks, drawn for each raster by itself (but see `draw_hidden_tokens`), and hidden modalities.

    Raises:
        UsageError: if no input is a raster, or a block covers more than half of a patch.
    """

    Options = MaskedOptions

    def __init__(self, model: Model, data: Unlabelled, options: PretrainingOptions) -> None:
        own = options.pretrain
        assert isinstance(own, MaskedOptions)
        self.module: nn.Module
        self.view = make_view(options, model.spec.modalities)
        side = token_side(model)
        if side is not None:
            together = any(len(encoder.modalities) > 1 for encoder, _ in token_encoders(model))
            self.module = TokenReconstruction(model, partial(draw_hidden_tokens, own, side, together))
            return
        self.module = Reconstruction(model, partial(draw_hidden, own))
        if 2 * own.block > min(model.spec.patch_size):
            found = f"blocks of {own.block} pixels are more than half of a patch"
            fix = f"use {min(model.spec.patch_size) // 8 or 1}"
            raise UsageError(found, where="pretrain.block", fix=fix)


def draw_hidden(
    options: MaskedOptions, normalised: Mapping[str, Tensor], valid: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """What is hidden: in each raster a share of the blocks that hold data, and of some patches one modality as a whole."""
    hidden = {}
    for name, values in normalised.items():
        if values.ndim == 4:
            hidden[name] = draw_blocks(values, options.mask, options.block, valid.get(name))
        elif options.hide and values.ndim == 2:
            hidden[name] = torch.zeros(len(values), 1, dtype=torch.bool, device=values.device)
    return hide_modalities(hidden, list(hidden), options.hide, valid) if len(hidden) > 1 else hidden


def draw_hidden_tokens(
    options: MaskedOptions,
    side: int,
    together: bool,
    normalised: Mapping[str, Tensor],
    valid: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """What is hidden: in each raster a share of the tokens, and of some patches one modality as a whole.

    As many tokens are hidden of each patch, whether they hold data or not: transformers take batches of one length.

    Args:
        options: how much is hidden.
        side: of a token in pixels.
        together: whether a token holds the pixels of all rasters: the same tokens are then hidden in all of them, and the only
            raster is not hidden as a whole, as no token would be left.
        normalised: the modalities.
        valid: which of their values are data, where not all are.
    """
    rasters = [name for name, values in normalised.items() if values.ndim == 4]
    scalars = [name for name, values in normalised.items() if values.ndim == 2] if options.hide else []
    if together:
        hidden = dict.fromkeys(rasters, draw_blocks(normalised[rasters[0]], options.mask, side))
    else:
        hidden = {name: draw_blocks(normalised[name], options.mask, side) for name in rasters}
    like = hidden[rasters[0]]
    hidden |= {name: like.new_zeros(len(like), 1) for name in scalars}
    candidates = scalars if together and len(rasters) == 1 else rasters + scalars
    return hide_modalities(hidden, candidates, options.hide, valid) if len(hidden) > 1 else hidden


def hide_modalities(
    hidden: Mapping[str, Tensor], candidates: Sequence[str], share: float, valid: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Hides, in a share of the patches, one of the candidates as a whole, besides what is hidden already.

    Of patches where some of them hold no data, it is one of the others, and none where there is but one.
    """
    like = hidden[candidates[0]]
    some = torch.rand(len(like), device=like.device) < share
    chosen = torch.randint(len(candidates), (len(like),), device=like.device)
    if any(name in valid for name in candidates):
        everywhere = torch.ones(len(like), dtype=torch.bool, device=like.device)
        holds = torch.stack([valid[name].flatten(1).any(1) if name in valid else everywhere for name in candidates], 1)
        instead = torch.rand(holds.shape, device=like.device).masked_fill(~holds, -1).argmax(1)
        chosen = torch.where(holds.all(1), chosen, instead)
        some = some & (holds.sum(1) > 1)
    changed = dict(hidden)
    for number, name in enumerate(candidates):
        whole = some & (chosen == number)
        changed[name] = hidden[name] | whole.view(-1, *(1,) * (hidden[name].ndim - 1))
    return changed


def draw_blocks(rasters: Tensor, share: float, block: int, valid: Tensor | None = None) -> Tensor:
    """Hidden blocks (B, 1, H, W) of rasters: of each patch the same share of the blocks that hold data, at least one of two.

    Values that are not `valid`, (B, 1 or C, H, W) bool, are no data.
    """
    batch, _, height, width = rasters.shape
    rows, columns = -(-height // block), -(-width // block)
    count = min(max(1, round(share * rows * columns)), rows * columns - 1)
    drawn = torch.rand(batch, rows * columns, device=rasters.device)
    hidden = drawn.argsort(1) < count
    if valid is not None:
        pixels = valid.any(1, keepdim=True).float()
        holds = F.max_pool2d(pixels, block, ceil_mode=True).flatten(1) > 0
        found = holds.sum(1, keepdim=True)
        counts = (share * found).round().clamp(min=1).minimum(found - 1)
        order = drawn.masked_fill(~holds, 2).argsort(1).argsort(1)
        hidden = torch.where(holds.all(1, keepdim=True), hidden, order < counts)
    cells = hidden.view(batch, 1, rows, columns)
    large = cells.repeat_interleave(block, 2).repeat_interleave(block, 3)
    return large[..., :height, :width]

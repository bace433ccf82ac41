"""`TokenReconstruction`: vision transformers see the tokens that are not hidden, and no others, for `masked`.

Masked autoencoders after He et al. (2022, arXiv:2111.06377): hidden tokens are dropped before the blocks, and a light decoder, thrown
away at the end, puts the whole grid back. From its maps the pixels of all modalities are predicted as in `Reconstruction`.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from eofuse.learning.pretraining.reconstruction import Hide, Reconstruction
from eofuse.modalities import Kind
from eofuse.models.encoders import RasterEncoder
from eofuse.models.features import Features
from eofuse.models.model import Model

DECODER_BLOCKS = 2


class TokenReconstruction(Reconstruction):
    """Reconstructs what is hidden from the visible tokens of vision transformers.

    Args:
        model: whose encoders learn, all of them with tokens of one side (see `token_side`).
        hide: chooses what is hidden, in rasters whole tokens: of each patch the same number, or all. An encoder of several
            rasters drops those that are hidden in all of them, the same number of each patch.

    Raises:
        UsageError: if no input is a raster.
    """

    def __init__(self, model: Model, hide: Hide) -> None:
        super().__init__(model, hide)
        self.decoders = nn.ModuleList(TokenDecoder(encoder) for encoder, _ in token_encoders(model))

    def encode(self, padded: Mapping[str, Tensor], hidden: Mapping[str, Tensor]) -> list[Features]:
        """Features of what is visible; maps hold the whole grid of tokens, from the decoders."""
        with ExitStack() as stack:
            for (encoder, rasters), decoder in zip(token_encoders(self.model), self.decoders, strict=True):
                assert isinstance(decoder, TokenDecoder)
                dropped = _hidden_tokens(torch.cat([hidden[name] for name in rasters], 1), encoder.sizes.strides[-1])
                stack.enter_context(encoder.answering(VisibleTokens(encoder, decoder, dropped)))
            return super().encode(padded, hidden)


class VisibleTokens(nn.Module):
    """Stands for the body of an encoder: its network over the visible tokens, and the decoder."""

    def __init__(self, encoder: RasterEncoder, decoder: "TokenDecoder", dropped: Tensor) -> None:
        super().__init__()
        self.network: Any = encoder.vision_transformer
        self.decoder = decoder
        self.levels = len(encoder.sizes.maps)
        self.dropped = dropped

    def forward(self, rasters: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Vectors of the visible tokens, and decoded maps (the same one at each level), of rasters of whole tokens."""
        visible = ~self.dropped.flatten(1)
        rows = visible.any(1).nonzero()[:, 0]
        count, *sides = self.dropped.shape
        vector, grid = self.decoder.unseen(count, sides)
        if len(rows):
            kept = visible[rows].nonzero()[:, 1].view(len(rows), -1)
            last = encode_visible(self.network, rasters[rows], kept)
            vector[rows] = self.network.forward_head(last, pre_logits=True).to(vector)
            tokens = self.decoder.begin(last[:, self.network.num_prefix_tokens :])
            grid[rows[:, None], kept] = tokens.to(grid)
        decoded = self.decoder(grid, sides)
        return vector, [decoded] * self.levels


class TokenDecoder(nn.Module):
    """Lets the tokens of the whole grid, a learned one where they were hidden, attend to each other.

    A patch of which nothing is visible has learned tokens only, which differ by their places, and a learned vector.

    Attributes:
        begin: from the encoder's tokens to those of the grid.
    """

    def __init__(self, encoder: RasterEncoder) -> None:
        super().__init__()
        network: Any = encoder.vision_transformer
        width = encoder.sizes.maps[-1]
        self.hidden = nn.Parameter(torch.zeros(width))
        self.nothing = nn.Parameter(torch.zeros(encoder.sizes.vector))
        self.begin = nn.Linear(network.embed_dim, width)
        norm: Any = partial(nn.LayerNorm, eps=1e-6)
        heads = network.blocks[0].attn.num_heads
        self.blocks = nn.Sequential(
            *(Block(width, heads, mlp_ratio=2, qkv_bias=True, norm_layer=norm) for _ in range(DECODER_BLOCKS))
        )
        self.norm = norm(width)
        nn.init.normal_(self.hidden, std=0.02)

    def unseen(self, count: int, sides: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Vectors (B, D) and grids (B, h × w, C) of `count` patches of which nothing is visible; `sides` are h and w."""
        height, width = sides
        return self.nothing.expand(count, -1).clone(), self.hidden.expand(count, height * width, -1).clone()

    def forward(self, grid: Tensor, sides: Sequence[int]) -> Tensor:
        """The map (B, C, h, w) of tokens (B, h × w, C); `sides` are h and w."""
        places = build_sincos2d_pos_embed(list(sides), grid.shape[2], device=grid.device).to(grid)
        decoded: Tensor = self.norm(self.blocks(grid + places))
        return decoded.transpose(1, 2).reshape(*decoded.shape[::2], *sides)


def encode_visible(network: VisionTransformer, rasters: Tensor, kept: Tensor) -> Tensor:
    """The last tokens (B, prefix + N, C), normalised, when only some of them and those that stand for no place pass the blocks.

    Args:
        network: the vision transformer.
        rasters: (B, C, H, W).
        kept: positions (B, N) of the visible tokens in the grid.
    """
    prefix = network.num_prefix_tokens
    rows = torch.arange(len(kept), device=kept.device)[:, None]

    def drop(module: nn.Module, given: tuple[Tensor], tokens: Tensor) -> Tensor:
        return torch.cat([tokens[:, :prefix], tokens[:, prefix:][rows, kept]], 1)

    handle = network.patch_drop.register_forward_hook(drop)  # timm runs it after it has added the positions
    try:
        last: Tensor = network.forward_features(rasters)
    finally:
        handle.remove()
    return last


def token_encoders(model: Model) -> list[tuple[RasterEncoder, list[str]]]:
    """The encoders that can do without hidden tokens, and the names of the rasters of each."""
    encoders = model.fusion.encoders_inside().values()
    return [
        (each, [modality.name for modality in each.modalities if modality.kind is Kind.RASTER])
        for each in encoders
        if isinstance(each, RasterEncoder) and each.vision_transformer is not None and each.modalities
    ]


def token_side(model: Model) -> int | None:
    """The side in pixels of the tokens of its rasters; None if they are not tokens that can be dropped, or a patch is only one."""
    sides = {encoder.sizes.strides[-1] for encoder, _ in token_encoders(model)}
    return next((side for side in sides if max(model.spec.patch_size) > side), None)


def _hidden_tokens(hidden: Tensor, side: int) -> Tensor:
    """Tokens (B, h, w) of which all pixels are hidden in all of the rasters, (B, rasters, H, W)."""
    everywhere = hidden.all(1, keepdim=True).float()
    below, right = -hidden.shape[-2] % side, -hidden.shape[-1] % side
    padded = F.pad(everywhere, (0, right, 0, below), value=1.0)
    return -F.max_pool2d(-padded, side)[:, 0] > 0

"""`Attention`: an encoder for each modality; their vectors are tokens that attend to each other."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from eofuse.models.fusion.base import FUSIONS
from eofuse.models.fusion.missing import Present
from eofuse.models.fusion.per_modality import JoinedByModule

HEADS = 4
BLOCKS = 2


class _AttendModalities(nn.Module):
    """Two transformer blocks over one token a modality and one for the patch, whose output is taken."""

    def __init__(self, widths: Mapping[str, int]) -> None:
        super().__init__()
        self.width = -(-max(widths.values()) // HEADS) * HEADS
        self.projections = nn.ModuleDict({name: nn.Linear(width, self.width) for name, width in widths.items()})
        self.patch = nn.Parameter(torch.zeros(self.width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                self.width, HEADS, 2 * self.width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(BLOCKS)
        )
        self.norm = nn.LayerNorm(self.width)

    def forward(self, vectors: Mapping[str, Tensor], present: Present | None) -> Tensor:
        """One (B, width) vector from the vectors (B, D) of the modalities; those not present (B,) are not attended to."""
        tokens = [self.projections[name](vector) for name, vector in vectors.items()]
        x = torch.stack([self.patch.to(tokens[0]).expand_as(tokens[0]), *tokens], 1)
        hidden = None
        if present is not None:
            absent = torch.stack([~present[name] for name in vectors], 1)
            hidden = torch.cat([torch.zeros_like(absent[:, :1]), absent], 1)
        for block in self.blocks:
            x = block(x, src_key_padding_mask=hidden)
        vector: Tensor = self.norm(x[:, 0])
        return vector


@FUSIONS.register("attention")
class Attention(JoinedByModule):
    """Encodes each modality, and lets a token that stands for the patch attend to one token a modality.

    Transformer blocks (Vaswani et al. 2017, arXiv:1706.03762) over the modalities, as between sensors in OmniSat (Astruc et al. 2024,
    arXiv:2404.08351). Maps of rasters are concatenated as in `Late`. A modality that a patch lacks is not attended to, or with
    `missing: token` is a learned vector.
    """

    join_type = _AttendModalities

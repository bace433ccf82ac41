"""`Gated`: an encoder for each modality; gates say how much of each enters the sum."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from eofuse.models.fusion.base import FUSIONS
from eofuse.models.fusion.missing import Present
from eofuse.models.fusion.per_modality import JoinedByModule


class _GatedSum(nn.Module):
    """Sum of the projected vectors, tanh(Wx), each value times its gate, sigmoid(V[x, y, …])."""

    def __init__(self, widths: Mapping[str, int]) -> None:
        super().__init__()
        self.width = max(widths.values())
        self.projections = nn.ModuleDict({name: nn.Linear(width, self.width) for name, width in widths.items()})
        self.gates = nn.ModuleDict({name: nn.Linear(sum(widths.values()), self.width) for name in widths})

    def forward(self, vectors: Mapping[str, Tensor], present: Present | None) -> Tensor:
        """One (B, width) vector from the vectors (B, D) of the modalities; those not present (B,) count as zeros."""
        if present is not None:
            vectors = {name: vector * present[name][:, None] for name, vector in vectors.items()}
        everything = torch.cat(list(vectors.values()), 1)
        terms = []
        for name, vector in vectors.items():
            term = torch.sigmoid(self.gates[name](everything)) * torch.tanh(self.projections[name](vector))
            terms.append(term if present is None else term * present[name][:, None])
        return torch.stack(terms).sum(0)


@FUSIONS.register("gated")
class Gated(JoinedByModule):
    """Encodes each modality and adds up the projected vectors, each value by a gate that sees all of them.

    The gated multimodal unit of Arevalo et al. (2017, arXiv:1702.01992). Maps of rasters are concatenated as in `Late`. A modality
    that a patch lacks has a closed gate, or with `missing: token` a learned vector.
    """

    join_type = _GatedSum

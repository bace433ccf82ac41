"""`Projected`: a model whose vectors pass a projection head each, for two views of the same patches."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from eofuse.models.model import Model


class Projected(nn.Module):
    """Projects the vectors of two views, which pass the model in one batch, so that batch norm sees both.

    Args:
        model: whose fused vectors are projected.
        heads: a projection head for each set of features: one, but with decision fusion one a modality.
    """

    def __init__(self, model: Model, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.model = model
        self.heads = nn.ModuleList(heads)

    def forward(self, first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Projections (B, width) of both views, for each set of features.

        Args:
            first: a view in native dtype, by modality name.
            second: another view of the same patches in the same order.
        """
        both = {name: torch.cat([values, second[name]]) for name, values in first.items()}
        projected = []
        for head, features in zip(self.heads, self.model.features(both), strict=True):
            one, other = head(features.vector).chunk(2)
            projected.append((one, other))
        return projected

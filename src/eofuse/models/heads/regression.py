"""`RegressionHead`: numbers from feature vectors."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eofuse.models.features import Features, FeatureSizes
from eofuse.models.heads.base import HEADS, Head, HeadSpec, mean_of_heads


@HEADS.register("regression")
class RegressionHead(Head):
    """A linear layer on the vector of each set of features; its numbers are standardised, or logits of shares.

    Args:
        spec: the numbers, with their mean and deviation.
        sizes: of each set of features.
        dropout: share of the vector's values set to zero in training.
    """

    def __init__(self, spec: HeadSpec, sizes: Sequence[FeatureSizes], dropout: float = 0.0) -> None:
        super().__init__(spec)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(nn.Linear(size.vector, len(spec.classes)) for size in sizes)
        self.register_buffer("mean", torch.tensor(spec.mean), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std), persistent=False)

    def forward(self, features: Sequence[Features], size: tuple[int, int], truth: Tensor | None = None) -> Tensor:
        """Standardised numbers (heads, B, D), one head a set of features; logits of the shares of a composition."""
        pairs = zip(self.layers, features, strict=True)
        return torch.stack([layer(self.dropout(feature.vector)) for layer, feature in pairs])

    def predict(self, output: Tensor, counted: Tensor | None = None) -> Tensor:
        """Numbers in their unit (B, D): the mean over the heads; shares sum to 1."""
        if self.spec.composition:
            return mean_of_heads(output.float().softmax(-1), counted)
        return mean_of_heads(output.float(), counted) * self.get_buffer("std") + self.get_buffer("mean")

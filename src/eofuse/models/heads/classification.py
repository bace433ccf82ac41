"""`ClassificationHead`: class logits from feature vectors."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eofuse.models.features import Features


class ClassificationHead(nn.Module):
    """A linear layer on the vector of each set of features.

    Args:
        widths: length of the vector of each set.
        classes: number of classes.
        dropout: share of the vector's values set to zero in training.
    """

    def __init__(self, widths: Sequence[int], classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(nn.Linear(width, classes) for width in widths)

    def forward(self, features: Sequence[Features]) -> Tensor:
        """Logits (heads, B, K), one head a set of features."""
        pairs = zip(self.layers, features, strict=True)
        return torch.stack([layer(self.dropout(feature.vector)) for layer, feature in pairs])

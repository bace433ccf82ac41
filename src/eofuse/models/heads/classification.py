"""`ClassificationHead`: class logits from feature vectors."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eofuse.models.features import Features, FeatureSizes
from eofuse.models.heads.base import HEADS, Head, HeadSpec, mean_of_heads


@HEADS.register("classification")
class ClassificationHead(Head):
    """A linear layer on the vector of each set of features.

    Args:
        spec: the classes; one a patch, or any number.
        sizes: of each set of features.
        dropout: share of the vector's values set to zero in training.
    """

    def __init__(self, spec: HeadSpec, sizes: Sequence[FeatureSizes], dropout: float = 0.0) -> None:
        super().__init__(spec)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(nn.Linear(size.vector, len(spec.classes)) for size in sizes)

    def forward(self, features: Sequence[Features], size: tuple[int, int], truth: Tensor | None = None) -> Tensor:
        """Logits (heads, B, K), one head a set of features."""
        pairs = zip(self.layers, features, strict=True)
        return torch.stack([layer(self.dropout(feature.vector)) for layer, feature in pairs])

    def predict(self, output: Tensor, counted: Tensor | None = None) -> Tensor:
        """Probabilities (B, K): the mean over the heads of their softmax or sigmoid, at the head's temperature."""
        if self.spec.kind.has_several:
            probabilities = mean_of_heads(output.float().sigmoid(), counted)
            if self.spec.temperature != 1:
                return (probabilities.logit(eps=1e-7) / self.spec.temperature).sigmoid()
            return probabilities
        probabilities = mean_of_heads(output.float().softmax(-1), counted)
        if self.spec.temperature != 1:
            return (probabilities.clamp(min=1e-12).log() / self.spec.temperature).softmax(-1)
        return probabilities

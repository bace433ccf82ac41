"""Heads on feature vectors: `ClassificationHead` for classes, `RegressionHead` for numbers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eofuse.models.features import Features, FeatureSizes
from eofuse.models.heads.base import HEADS, Head, HeadSpec, at_temperature, mean_of_heads


class VectorHead(Head):
    """A linear layer on the vector of each set of features."""

    def __init__(self, spec: HeadSpec, sizes: Sequence[FeatureSizes], dropout: float = 0.0) -> None:
        super().__init__(spec)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(nn.Linear(size.vector, len(spec.classes)) for size in sizes)

    def forward(self, features: Sequence[Features], size: tuple[int, int], truth: Tensor | None = None) -> Tensor:
        """Logits (heads, B, K) or standardised numbers (heads, B, D), one head a set of features."""
        pairs = zip(self.layers, features, strict=True)
        if self.training:
            return torch.stack([layer(self.dropout(feature.vector)) for layer, feature in pairs])
        device, dtype = features[0].vector.device.type, next(self.parameters()).dtype
        with torch.autocast(device, enabled=False):  # bfloat16 has too few digits to rank patches by
            return torch.stack([layer(feature.vector.to(dtype)) for layer, feature in pairs])


@HEADS.register("classification")
class ClassificationHead(VectorHead):
    """Logits of classes: one a patch, or any number."""

    def predict(self, output: Tensor, counted: Tensor | None = None) -> Tensor:
        """Probabilities (B, K): the mean over the heads of their softmax or sigmoid, at the head's temperature."""
        return predict_classes(self.spec, output, counted)


@HEADS.register("regression")
class RegressionHead(VectorHead):
    """Standardised numbers, or logits of the shares of a composition."""

    def __init__(self, spec: HeadSpec, sizes: Sequence[FeatureSizes], dropout: float = 0.0) -> None:
        super().__init__(spec, sizes, dropout)
        self.register_buffer("mean", torch.tensor(spec.mean), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std), persistent=False)

    def predict(self, output: Tensor, counted: Tensor | None = None) -> Tensor:
        """Numbers in their unit (B, D): the mean over the heads; shares sum to 1."""
        if self.spec.composition:
            return mean_of_heads(output.float().softmax(-1), counted)
        return mean_of_heads(output.float(), counted) * self.get_buffer("std") + self.get_buffer("mean")


def predict_classes(spec: HeadSpec, output: Tensor, counted: Tensor | None) -> Tensor:
    """Probabilities (B, K) of logits (heads, B, K), as `ClassificationHead.predict` gives them."""
    if not spec.kind.has_several:
        return at_temperature(mean_of_heads(output.float().softmax(-1), counted), spec.temperature)
    probabilities = mean_of_heads(output.float().sigmoid(), counted)
    if spec.temperature != 1:
        return (probabilities.logit(eps=1e-7) / spec.temperature).sigmoid()
    return probabilities


def predict_numbers(spec: HeadSpec, output: Tensor, counted: Tensor | None) -> Tensor:
    """Numbers (B, D) in their unit of standardised ones (heads, B, D), as `RegressionHead.predict` gives them."""
    if spec.composition:
        return mean_of_heads(output.float().softmax(-1), counted)
    mean, std = (output.new_tensor(each, dtype=torch.float32) for each in (spec.mean, spec.std))
    return mean_of_heads(output.float(), counted) * std + mean

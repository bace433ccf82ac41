"""`DenseHead`: classes or numbers of every pixel, by a decoder over the pyramid of maps."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eofuse.errors import UsageError, did_you_mean
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.heads.base import HEADS, Head, HeadSpec, at_temperature, mean_of_heads
from eofuse.models.heads.decoders import DECODERS, enlarge
from eofuse.models.heads.pyramid import Pyramid


@HEADS.register("dense")
class DenseHead(Head):
    """A decoder for each set of features with maps, a linear layer for each without; one output channel a class or number.

    Args:
        spec: what it predicts; `network` names the decoder.
        sizes: of each set of features.
        dropout: share of the channels before the last layer that are set to zero in training.

    Raises:
        UsageError: if there is no decoder of that name.
    """

    def __init__(self, spec: HeadSpec, sizes: Sequence[FeatureSizes], dropout: float = 0.0) -> None:
        super().__init__(spec)
        outputs = len(spec.classes)
        self.branches = nn.ModuleList(
            _MapBranch(size, spec.network, outputs, dropout) if size.maps else _VectorBranch(size, outputs, dropout)
            for size in sizes
        )
        self.to(memory_format=torch.channels_last)

    def forward(self, features: Sequence[Features], size: tuple[int, int], truth: Tensor | None = None) -> Tensor:
        """Logits (heads, B, K, H, W) or standardised numbers (heads, B, D, H, W), one head a set of features.

        A set without maps gives the same at every pixel.
        """
        return torch.stack([branch(given, size) for branch, given in zip(self.branches, features, strict=True)])

    def predict(self, output: Tensor, counted: Tensor | None = None) -> Tensor:
        """Probabilities (B, K, H, W), or numbers in their unit (B, D, H, W)."""
        values = output.float()
        if not self.spec.kind.is_numbers:
            return at_temperature(mean_of_heads(values.softmax(2), counted), self.spec.temperature)
        if self.spec.composition:
            return mean_of_heads(values.softmax(2), counted)
        mean, std = (values.new_tensor(each).view(-1, 1, 1) for each in (self.spec.mean, self.spec.std))
        return mean_of_heads(values, counted) * std + mean


class _MapBranch(nn.Module):
    """Decodes the maps of one set of features."""

    def __init__(self, sizes: FeatureSizes, network: str, outputs: int, dropout: float) -> None:
        super().__init__()
        if network not in DECODERS:
            raise UsageError(f"unknown network '{network}' for pixels", fix=did_you_mean(network, DECODERS))
        self.pyramid = Pyramid(sizes.maps, sizes.strides)
        self.decoder = DECODERS[network](self.pyramid.channels, self.pyramid.strides)
        self.dropout = nn.Dropout2d(dropout)
        self.last = nn.Conv2d(self.decoder.out_channels, outputs, 1)

    def forward(self, features: Features, size: tuple[int, int]) -> Tensor:
        logits: Tensor = self.last(self.dropout(self.decoder(self.pyramid(features.maps, size))))
        coarsest = self.pyramid.strides[-1]
        padded = [round(math.ceil(side / coarsest) * coarsest) for side in size]
        if list(logits.shape[-2:]) != padded:
            logits = enlarge(logits, padded)
        return logits[..., : size[0], : size[1]]


class _VectorBranch(nn.Module):
    """Predicts the same of every pixel, from the vector of one set of features."""

    def __init__(self, sizes: FeatureSizes, outputs: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(sizes.vector, outputs)

    def forward(self, features: Features, size: tuple[int, int]) -> Tensor:
        logits: Tensor = self.last(self.dropout(features.vector))
        return logits[:, :, None, None].expand(-1, -1, *size)

"""`VectorEncoder`: a small multilayer perceptron for numbers per patch and one-hot categories."""

from torch import Tensor, nn

from eofuse.models.features import Features, FeatureSizes

WIDTH = 64
"""Length of the vector that a `VectorEncoder` gives."""


class VectorEncoder(nn.Module):
    """Encodes (B, C) values with one hidden layer.

    Args:
        in_channels: number of values a patch.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_channels, WIDTH), nn.LayerNorm(WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH)
        )
        self.sizes = FeatureSizes(vector=WIDTH)

    def forward(self, values: Tensor) -> Features:
        """Features of (B, C) normalised values: a (B, 64) vector and no maps."""
        return Features(vector=self.layers(values))

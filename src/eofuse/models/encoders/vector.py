"""`VectorEncoder`: a small multilayer perceptron for numbers per patch and one-hot categories."""

from collections.abc import Sequence

from torch import Tensor, nn

from eofuse.modalities import Kind, Modality
from eofuse.models.encoders.base import ENCODERS, Encoder
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.parts import Part, tensors_of

WIDTH = 64
"""Length of the vector that a `VectorEncoder` gives."""


@ENCODERS.register("perceptron")
class VectorEncoder(Encoder):
    """Encodes (B, C) values with one hidden layer."""

    kinds = (Kind.VECTOR, Kind.CATEGORY)

    def __init__(self, modalities: Sequence[Modality], pixels: bool = False) -> None:
        super().__init__(modalities, pixels)
        width = sum(modality.width for modality in modalities)
        self.layers = nn.Sequential(nn.Linear(width, WIDTH), nn.LayerNorm(WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.sizes = FeatureSizes(vector=WIDTH)

    def forward(self, values: Tensor) -> Features:
        """Features of (B, C) normalised values: a (B, 64) vector and no maps."""
        return Features(vector=self.layers(values))

    def parts(self, path: str) -> list[Part]:
        """Itself, whose first layer is put together by the names of its inputs."""
        return [Part(path, "vector", tensors_of(self, path), self.columns, "layers.0.weight")]

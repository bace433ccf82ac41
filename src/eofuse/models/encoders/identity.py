"""`Identity`: numbers a patch as they are, standardised; for heads that are fitted, and vectors of frozen models."""

from collections.abc import Sequence

from torch import Tensor

from eofuse.modalities import Kind, Modality
from eofuse.models.encoders.base import ENCODERS, Encoder
from eofuse.models.features import Features, FeatureSizes


@ENCODERS.register("identity")
class Identity(Encoder):
    """Gives vectors and one-hot categories as they come, without weights."""

    kinds = (Kind.VECTOR, Kind.CATEGORY)

    def __init__(self, modalities: Sequence[Modality], pixels: bool = False) -> None:
        super().__init__(modalities, pixels)
        self.sizes = FeatureSizes(vector=sum(modality.width for modality in modalities))

    def forward(self, values: Tensor) -> Features:
        """Features of (B, C) normalised values: the same, and no maps."""
        return Features(vector=values)

"""`Identity`, `Concatenated`: numbers a patch as they are, standardised; for heads that are fitted, and vectors of frozen models."""

from collections.abc import Mapping, Sequence

import torch
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


@ENCODERS.register("concatenated")
class Concatenated(Identity):
    """Gives several vectors and one-hot categories as they come, one after another, so that one head sees all of them."""

    @classmethod
    def accepts(cls, modalities: Sequence[Modality]) -> bool:
        """Any number of vectors and categories."""
        return all(modality.kind in cls.kinds for modality in modalities)

    def features(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> Features:
        """Features of all of its modalities; zeros, which is the mean, of those that a patch lacks."""
        return Features(vector=torch.cat([inputs[name] for name in self.names], 1))

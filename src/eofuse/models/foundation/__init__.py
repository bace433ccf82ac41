"""Foundation models: pretrained networks of several sensors, whose vectors become modalities (`eofuse embed`)."""

from eofuse.models.foundation.base import (
    FOUNDATIONS,
    PIXEL_M,
    FoundationModel,
    GroupMeans,
    InputChannel,
    Sample,
    build_foundation,
)

__all__ = ["FOUNDATIONS", "PIXEL_M", "FoundationModel", "GroupMeans", "InputChannel", "Sample", "build_foundation"]

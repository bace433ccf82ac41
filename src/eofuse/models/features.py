"""What encoders and fusion strategies give to the heads: `Features`, and its sizes, `FeatureSizes`."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class FeatureSizes:
    """Channel counts of `Features`, known before anything is computed.

    Attributes:
        vector: length of the vector.
        maps: channels of each map.
        strides: input pixels per map pixel, for each map.
    """

    vector: int
    maps: list[int] = field(default_factory=list)
    strides: list[int] = field(default_factory=list)


@dataclass
class Features:
    """What is known about each patch of a batch.

    Attributes:
        vector: (B, D), one vector a patch.
        maps: (B, C, h, w) each, the finest first; empty where the inputs have no pixels.
        strides: input pixels per map pixel, for each map.
    """

    vector: Tensor
    maps: list[Tensor] = field(default_factory=list)
    strides: list[int] = field(default_factory=list)

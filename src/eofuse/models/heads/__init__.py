"""Heads: `Features` in, one target's output; a file a sort of head. `HEADS` names them; a kind of task says which it wants."""

from collections.abc import Sequence

from eofuse.models.features import FeatureSizes
from eofuse.models.heads.base import HEADS, Head, HeadSpec
from eofuse.models.heads.fitted import FITTED_HEADS, NETWORK

__all__ = ["FITTED_HEADS", "HEADS", "NETWORK", "Head", "HeadSpec", "build_head"]


def build_head(spec: HeadSpec, sizes: Sequence[FeatureSizes], dropout: float = 0.0) -> Head:
    """An untrained head.

    Args:
        spec: what it predicts.
        sizes: of the features that it takes.
        dropout: share of the features' values that it does not see in training.

    Raises:
        UsageError: if the head does not fit the features.
    """
    own = FITTED_HEADS[spec.fitted].head if spec.fitted else ""
    return HEADS[own or spec.kind.head](spec, sizes, dropout)

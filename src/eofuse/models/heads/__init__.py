"""Heads: `Features` in, one target's output; a file a sort of head. `HEADS` names them by kind."""

from collections.abc import Sequence

from eofuse.models.features import FeatureSizes
from eofuse.models.heads.base import PIXEL_KINDS, Head, HeadKind, HeadSpec
from eofuse.models.heads.classification import ClassificationHead
from eofuse.models.heads.dense import DenseHead
from eofuse.models.heads.detection import DetectionHead
from eofuse.models.heads.regression import RegressionHead

__all__ = ["HEADS", "PIXEL_KINDS", "Head", "HeadKind", "HeadSpec", "build_head"]

HEADS: dict[HeadKind, type[ClassificationHead | RegressionHead | DenseHead | DetectionHead]] = {
    "single_label": ClassificationHead,
    "multi_label": ClassificationHead,
    "regression": RegressionHead,
    "segmentation": DenseHead,
    "pixel_regression": DenseHead,
    "detection": DetectionHead,
}


def build_head(spec: HeadSpec, sizes: Sequence[FeatureSizes], dropout: float = 0.0) -> Head:
    """An untrained head.

    Args:
        spec: what it tells.
        sizes: of the features that it gets.
        dropout: share of the features' values that it does not see in training.

    Raises:
        UsageError: if the head does not fit the features.
    """
    return HEADS[spec.kind](spec, sizes, dropout)

"""What every fusion strategy is (`Fusion`), what it is told (`FusionOptions`), and what joins vectors and maps."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from eofuse.errors import UsageError
from eofuse.modalities import Kind, Modality
from eofuse.models.encoders import EncoderOptions
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.fusion.absence import Present

Strategy = Literal["single", "early", "middle", "late", "decision", "gated", "attention", "film"]


class FusionOptions(EncoderOptions):
    """How modalities are fused, and which encoders they have.

    Attributes:
        strategy: where the modalities meet: `single` has one; `early` joins the channels before one encoder; `middle`
            joins maps inside the encoder; `late` joins the vectors of an encoder each; `decision` averages predictions; `gated` adds
            up the vectors by gates; `attention` lets them attend to each other; `film` lets vectors and categories condition the
            encoders of the others.
        weights: for late fusion: `separate` encoders, or a first layer each and one `shared` trunk.
        stage: for middle fusion: the encoder's stage, counted from 1, after which the maps are joined.
        dropout: share of the feature vectors' values that the heads do not see in training.
        missing: patches that lack some of the modalities are left out (`exclude`), or used, with a learned `token` in place of what
            they lack.

    Raises:
        UsageError: if weights are to be shared by another strategy than late fusion.
    """

    strategy: Strategy = "early"
    weights: Literal["separate", "shared"] = "separate"
    stage: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    missing: Literal["exclude", "token"] = "exclude"

    @model_validator(mode="after")
    def _only_late_fusion_shares_weights(self) -> "FusionOptions":
        if self.weights == "shared" and self.strategy != "late":
            raise UsageError(
                f"weights can't be shared in {self.strategy} fusion",
                where="fusion.weights",
                fix="use strategy: late, or weights: separate",
            )
        return self


class Fusion(nn.Module, ABC):
    """Turns normalised modalities into features, and owns the encoders.

    Args:
        modalities: what is fused.
        options: how.
        pixels: whether a head looks at the maps: the sides of the maps are then those of the padded raster divided by
            their strides, and numbers and categories that are joined to the vector only condition the maps, too.

    Attributes:
        sizes: of the features that `forward` gives, in order.
    """

    sizes: list[FeatureSizes]

    @abstractmethod
    def __init__(self, modalities: Sequence[Modality], options: FusionOptions, pixels: bool = False) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, inputs: Mapping[str, Tensor], present: Present | None = None) -> list[Features]:
        """Features of normalised modalities.

        Args:
            inputs: by modality name, (B, C, H, W) for rasters, (B, C) for vectors and one-hot categories, (B, T, C) for series.
            present: by modality name, the patches that have it, (B,) bool; None where all have all. Only looked at with
                `missing: token`.
        """

    def counted(self, present: Present | None) -> Tensor | None:
        """Which sets of features decide on which patches, (sets, B) bool; None for all on all.

        Args:
            present: as in `forward`.
        """
        return None


def split_kinds(modalities: Sequence[Modality]) -> tuple[list[Modality], list[Modality]]:
    """The modalities with pixels, and those without."""
    rasters = [modality for modality in modalities if modality.kind is Kind.RASTER]
    return rasters, [modality for modality in modalities if modality.kind is not Kind.RASTER]


class JoinVectors(nn.Module):
    """Joins vectors through a hidden layer, without which no head could see how they depend on each other.

    Args:
        widths: lengths of the vectors.
        told: length of one more vector, of flags that say what is present; 0 for none.

    Attributes:
        width: length of the joined vector, the largest of `widths`.
    """

    def __init__(self, widths: Sequence[int], told: int = 0) -> None:
        super().__init__()
        self.width = max(widths)
        self.layers: nn.Module = nn.Identity()
        if len(widths) > 1 or told:
            self.layers = nn.Sequential(nn.Linear(sum(widths) + told, self.width), nn.LayerNorm(self.width), nn.GELU())

    def forward(self, vectors: Sequence[Tensor]) -> Tensor:
        """One (B, width) vector from several (B, D); a single one passes unchanged."""
        joined: Tensor = self.layers(torch.cat(list(vectors), 1))
        return joined


def concatenate_maps(features: Sequence[Features]) -> list[Tensor]:
    """Maps of several pyramids of the same strides, concatenated level by level."""
    return [torch.cat(level, 1) for level in zip(*(feature.maps for feature in features), strict=True)]


def concatenated_sizes(vector: int, sizes: Sequence[FeatureSizes]) -> FeatureSizes:
    """Sizes of a vector with the concatenated maps of several pyramids."""
    widths = [sum(level) for level in zip(*(size.maps for size in sizes), strict=True)]
    return FeatureSizes(vector, widths, list(sizes[0].strides) if sizes else [])

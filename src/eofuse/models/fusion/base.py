"""What every fusion strategy is (`Fusion`, named in `FUSIONS`), its options (`FusionOptions`), and what joins vectors and maps."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import AfterValidator, Field, model_validator
from torch import Tensor, nn

from eofuse.config import Choice
from eofuse.errors import UsageError
from eofuse.modalities import Kind, Modality
from eofuse.models.encoders import Encoder, EncoderOptions
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.fusion.missing import Present
from eofuse.models.parts import HasParts, Part, numbered_columns, presence_columns, tensors_of
from eofuse.registry import Registry

FUSIONS: Registry["type[Fusion]"] = Registry("fusion strategy", "eofuse.fusion", "eofuse.models.fusion")
"""Every strategy by its name in recipes."""


class FusionOptions(Choice, EncoderOptions):
    """How modalities are fused, and which encoders they have. A strategy may have more in `Options` of its own.

    Attributes:
        strategy: where the modalities meet, a name of `FUSIONS`.
        weights: `separate` encoders, or a first layer each and one `shared` trunk, for strategies that share weights.
        stage: the encoder's stage, counted from 1, after which maps are joined, for strategies that join them inside the encoder.
        dropout: share of the feature vectors' values that the heads do not see in training.
        missing: patches that lack some of the modalities are left out (`exclude`), or used, with a learned `token` in place of what
            they lack.

    Raises:
        UsageError: if weights are to be shared by a strategy that does not share them.
    """

    chooser = "strategy"
    choices = FUSIONS

    strategy: Annotated[str, AfterValidator(FUSIONS.check)] = "early"
    weights: Literal["separate", "shared"] = "separate"
    stage: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    missing: Literal["exclude", "token"] = "exclude"

    @model_validator(mode="after")
    def _shared_by_strategies_that_can(self) -> "FusionOptions":
        if self.weights == "shared" and not FUSIONS[self.strategy].shares_weights:
            sharing = " or ".join(name for name, strategy in FUSIONS.items() if strategy.shares_weights)
            what = f"weights can't be shared in {self.strategy} fusion"
            raise UsageError(what, where="fusion.weights", fix=f"use strategy: {sharing}, or weights: separate")
        return self


class Fusion(nn.Module, ABC):
    """Turns normalised modalities into features, and owns the encoders.

    Args:
        modalities: what is fused.
        options: how.
        pixels: whether a head looks at the maps: the sides of the maps are then those of the padded raster divided by
            their strides, and numbers and categories that are joined to the vector only condition the maps, too.

    Attributes:
        Options: its options; a strategy with options of its own has a subclass of `FusionOptions` here.
        shares_weights: whether it can have `weights: shared`.
        modalities: what is fused.
        options: how.
        sizes: of the features that `forward` gives, in order.
        tokens: what stands for missing modalities; `missing: token` is refused where there are none.
    """

    Options: ClassVar[type[FusionOptions]] = FusionOptions
    shares_weights: ClassVar[bool] = False
    sizes: list[FeatureSizes]

    @abstractmethod
    def __init__(self, modalities: Sequence[Modality], options: FusionOptions, pixels: bool = False) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        self.options = options

    @abstractmethod
    def forward(self, inputs: Mapping[str, Tensor], present: Present | None = None) -> list[Features]:
        """Features of normalised modalities.

        Args:
            inputs: by modality name, (B, C, H, W) for rasters, (B, C) for vectors and one-hot categories, (B, T, C) for series,
                (B, T, C, H, W) for image series with features of their times beside them; and what stands beside modalities
                (`eofuse.modalities.is_context`).
            present: by modality name, the patches that have it, (B,) bool; None where all have all. Only looked at with
                `missing: token`.
        """

    @classmethod
    def title(cls, options: FusionOptions) -> str:
        """What it is called in reports."""
        return options.strategy

    @classmethod
    def takes_pieces(cls, modalities: Sequence[Modality]) -> bool:
        """Whether numbers can come in pieces (`numbers: piecewise`)."""
        return True

    def counted(self, present: Present | None) -> Tensor | None:
        """Which sets of features decide on which patches, (sets, B) bool; None for all on all.

        Args:
            present: as in `forward`.
        """
        return None

    def encoders_inside(self) -> dict[str, Encoder]:
        """The encoders by their names in the fusion, in order."""
        return dict(_outermost(self, Encoder))

    def parts(self) -> list[Part]:
        """What it consists of, for transfer: its encoders, and whatever else it has, which only the same fusion can start from."""
        owners = _outermost(self, HasParts)
        parts = [part for path, module in owners for part in module.parts(path)]
        covered = {tensor for part in parts for tensor in part.tensors.values()}
        others: dict[str, dict[str, str]] = {}
        for tensor in self.state_dict():
            if tensor not in covered:
                child, _, name = tensor.partition(".")
                others.setdefault(child, {})[name or child] = tensor
        return parts + [Part(child, child, others[child], identity=self.identity) for child in sorted(others)]

    @property
    def identity(self) -> Hashable:
        """What must be equal for a part to be taken from another model that has no names for its inputs."""
        names = tuple(modality.name for modality in self.modalities)
        return self.options.model_copy(update={"dropout": 0.0}), names


def _outermost(module: nn.Module, kind: type, path: str = "") -> list[tuple[str, Any]]:
    """Modules of a kind within a module, with their names, but for those inside one of them."""
    found: list[tuple[str, Any]] = []
    for name, child in module.named_children():
        inner = f"{path}{name}"
        found += [(inner, child)] if isinstance(child, kind) else _outermost(child, kind, f"{inner}.")
    return found


def split_kinds(modalities: Sequence[Modality]) -> tuple[list[Modality], list[Modality]]:
    """The modalities with pixels, and those without."""
    rasters = [modality for modality in modalities if modality.kind is Kind.RASTER]
    return rasters, [modality for modality in modalities if modality.kind is not Kind.RASTER]


def refuse_image_series(modalities: Sequence[Modality], strategy: str, why: str) -> None:
    """Raises a `UsageError` if one of the modalities is an image series.

    Args:
        modalities: what is to be fused.
        strategy: by its name.
        why: the strategy can't take them.
    """
    for modality in modalities:
        if modality.kind is Kind.IMAGE_SERIES:
            what = f"{strategy} fusion can't take a series of images ({why})"
            fix = "use a strategy with an encoder for each modality, such as late"
            raise UsageError(what, where=modality.name, fix=fix)


def refuse_cells(modalities: Sequence[Modality], why: str) -> None:
    """Raises a `UsageError` if one of the modalities has a coarse grid of its own, which can't be taken, and why."""
    for modality in modalities:
        if modality.cell > 1:
            what = f"has cells of {modality.cell} × {modality.cell} pixels, and {why}"
            fix = "use a strategy with an encoder for each modality, such as late"
            raise UsageError(what, where=modality.name, fix=fix)


class JoinVectors(nn.Module):
    """Joins vectors through a hidden layer, without which no head could see how they depend on each other.

    Args:
        widths: lengths of the vectors.
        flags: length of one more vector, of flags that say what is present; 0 for none.

    Attributes:
        width: length of the joined vector, the largest of `widths`.
    """

    def __init__(self, widths: Sequence[int], flags: int = 0) -> None:
        super().__init__()
        self.width = max(widths)
        self.layers: nn.Module = nn.Identity()
        if len(widths) > 1 or flags:
            self.layers = nn.Sequential(nn.Linear(sum(widths) + flags, self.width), nn.LayerNorm(self.width), nn.GELU())

    def forward(self, vectors: Sequence[Tensor]) -> Tensor:
        """One (B, width) vector from several (B, D); a single one passes unchanged."""
        joined: Tensor = self.layers(torch.cat(list(vectors), 1))
        return joined


class JoinByName(JoinVectors):
    """Joins vectors that have names, by which a transfer finds the columns of each.

    Args:
        kind: of the part that it is: others of this kind can start from it.
        widths: lengths of the vectors, by whose they are.
        flags: names of the modalities of which one more vector says which are present; empty for none.
    """

    def __init__(self, kind: str, widths: Mapping[str, int], flags: Sequence[str] = ()) -> None:
        super().__init__(list(widths.values()), len(flags))
        self.kind = kind
        self.columns = numbered_columns(widths) + presence_columns(flags)

    def parts(self, path: str) -> list[Part]:
        """Itself, unless it has nothing to join."""
        tensors = tensors_of(self, path)
        return [Part(path, self.kind, tensors, self.columns, "layers.0.weight")] if tensors else []


def common_levels(sizes: Sequence[FeatureSizes]) -> list[list[int]]:
    """Levels of each pyramid that are concatenated: all where strides are the same, else the deepest of each stride that all have."""
    if all(size.strides == sizes[0].strides for size in sizes):
        return [list(range(len(size.strides))) for size in sizes]
    deepest = [{stride: level for level, stride in enumerate(size.strides)} for size in sizes]
    common = sorted(set.intersection(*map(set, deepest)))
    return [[levels[stride] for stride in common] for levels in deepest]


class ConditionMaps(nn.Module):
    """Scales and shifts each channel of each map by the vectors (FiLM, Perez et al. 2018).

    Untrained it leaves the maps as they are.
    """

    def __init__(self, widths: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        self.channels = list(channels)
        self.join = JoinVectors(widths)
        self.layer = nn.Linear(self.join.width, 2 * sum(channels))
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, vectors: Sequence[Tensor], maps: Sequence[Tensor]) -> list[Tensor]:
        """The maps (B, C, h, w), conditioned by the vectors (B, D) of the same patches."""
        return [modulate(level, *change) for level, change in zip(maps, self.modulation(vectors), strict=True)]

    def modulation(self, vectors: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Scale and shift (B, C) of each map, by the vectors (B, D) of the patches."""
        scales, shifts = self.layer(self.join(vectors)).chunk(2, 1)
        return list(zip(scales.split(self.channels, 1), shifts.split(self.channels, 1), strict=True))


def modulate(values: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Values (B, C, …), each channel of a patch multiplied by 1 + scale (B, C) and shifted (B, C)."""
    shape = (*scale.shape, *(1 for _ in values.shape[2:]))
    return values * (1 + scale.view(shape)) + shift.view(shape)

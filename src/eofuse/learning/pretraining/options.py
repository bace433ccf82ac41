"""What a pretraining is told: `PretrainingOptions`, its recipe, and in it `PretrainOptions`, the method."""

from typing import Literal

from pydantic import Field, model_validator

from eofuse.config import Options
from eofuse.learning.augment import AugmentOptions
from eofuse.learning.options import LearningOptions

MethodName = Literal["simclr", "vicreg", "cross_modal", "masked", "clusters", "inpainting"]

USERS: dict[str, tuple[MethodName, ...]] = {
    "temperature": ("simclr", "cross_modal"),
    "width": ("simclr", "vicreg", "cross_modal"),
    "mask": ("masked",),
    "block": ("masked",),
    "hide": ("masked",),
    "clusters": ("clusters",),
    "hole": ("inpainting",),
}
"""The methods that use an option, for those that not all use."""


class PretrainOptions(Options):
    """How encoders learn without labels.

    Attributes:
        method: `simclr` and `vicreg`: two views of a patch have similar vectors; `cross_modal`: the modalities of a patch have
            similar vectors; `masked`: hidden blocks and modalities are reconstructed; `clusters`: the region of the Earth is
            told; `inpainting`: the middle of the patch is reconstructed.
        monitor: target by whose labels nearest neighbours are scored on validation patches, for people to watch.
        temperature: of the contrastive loss.
        width: length of the projections that are compared; VICReg compares four times that.
        mask: share of the blocks of each raster that are hidden.
        block: side of a block in pixels; of vision transformers a block is a token.
        hide: share of the patches of which one modality is hidden as a whole.
        clusters: number of regions.
        hole: side of the hidden middle, as a share of the patch's side.
    """

    method: MethodName
    monitor: str | None = None
    temperature: float = Field(default=0.1, ge=0.01)
    width: int = Field(default=128, ge=2)
    mask: float = Field(default=0.75, gt=0, lt=1)
    block: int = Field(default=12, ge=1)
    hide: float = Field(default=0.5, ge=0, le=1)
    clusters: int = Field(default=20, ge=2)
    hole: float = Field(default=0.5, gt=0, lt=1)

    @model_validator(mode="after")
    def _no_option_of_another_method(self) -> "PretrainOptions":
        for name, users in USERS.items():
            changed = getattr(self, name) != type(self).model_fields[name].default
            if changed and self.method not in users:
                raise ValueError(f"'{name}' is for {' and '.join(users)}, not for {self.method}")
        return self


class PretrainingOptions(LearningOptions):
    """Everything that a pretraining depends on: its recipe.

    Attributes:
        pretrain: the method.
        augment: how patches are changed at random; by default `strong` for methods that compare two views, else `light`.
    """

    pretrain: PretrainOptions
    augment: AugmentOptions | None = None

"""The options of a pretraining: `PretrainingOptions`, its recipe, and in it `PretrainOptions`, the method of `METHODS`."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, SerializeAsAny, SerializerFunctionWrapHandler, model_serializer, model_validator

from eofuse.config import Choice
from eofuse.learning.augment import AugmentOptions
from eofuse.learning.options import LearningOptions
from eofuse.registry import Registry

if TYPE_CHECKING:
    from eofuse.learning.pretraining.base import Method

METHODS: Registry["type[Method]"] = Registry("pretraining method", "eofuse.pretraining", "eofuse.learning.pretraining")
"""Every method by its name in recipes."""

IN_EVERY_RECIPE = {
    "temperature": 0.1,
    "width": 128,
    "mask": 0.75,
    "block": 12,
    "hide": 0.5,
    "clusters": 20,
    "hole": 0.5,
}
"""Options that complete recipes have whatever their method: the first methods had them in common, and hashes of recipes name runs."""


class PretrainOptions(Choice):
    """How encoders learn without labels. Each method has more in `Options` of its own.

    Attributes:
        method: a name of `METHODS`.
        monitor: target by whose labels nearest neighbours are scored on validation patches, for people to watch.
    """

    chooser = "method"
    choices = METHODS

    method: Annotated[str, AfterValidator(METHODS.check)]
    monitor: str | None = None

    @model_serializer(mode="wrap")
    def _complete(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        own: dict[str, Any] = handler(self)
        return own | {name: value for name, value in IN_EVERY_RECIPE.items() if name not in own}


class PretrainingOptions(LearningOptions):
    """Everything that a pretraining depends on: its recipe.

    Attributes:
        pretrain: the method.
        augment: how patches are changed at random; by default `strong` for methods that compare two views, else `light`.
    """

    pretrain: SerializeAsAny[PretrainOptions]
    augment: AugmentOptions | None = None

    @model_validator(mode="after")
    def _whole_batches(self) -> "PretrainingOptions":
        if self.train.accumulate > 1:
            raise ValueError(
                "a pretraining compares the patches of whole batches: use train.devices, not train.accumulate"
            )
        return self

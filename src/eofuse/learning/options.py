"""The options of a run: `DataOptions`, `LearningOptions`, which every recipe has, and `RunOptions`."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from eofuse.config import Options
from eofuse.data.splits import SplitOptions
from eofuse.data.splits.subsets import LabelOptions
from eofuse.data.store.gaps import EmptyBands
from eofuse.learning.augment import AugmentOptions
from eofuse.learning.loop import TrainOptions
from eofuse.learning.semi_supervised import UnlabelledOptions
from eofuse.learning.transfer import StartOptions
from eofuse.models.foundation import FOUNDATIONS
from eofuse.models.fusion import FusionOptions
from eofuse.tasks import TaskOptions


class DataOptions(Options):
    """Which data.

    Attributes:
        store: path of the packed store.
        crop: side in pixels of the square in the middle of each patch that is used; the whole patch by default.
        require: modalities that a patch must have, besides the inputs (`s1|s2`: one of them), with their channels where not all
            are meant (`s2.B02+B03`); a study needs it to use the same patches for all.
        exclude: columns of the index that are true for patches to be left out, as `cloud_or_shadow` and `seasonal_snow`.
        empty_bands: whether a patch in which a band holds no value lacks that modality (`absent`), or has it all the same (`keep`).
    """

    store: str
    crop: int | None = Field(default=None, ge=8)
    require: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    empty_bands: EmptyBands = "keep"


class LearningOptions(Options):
    """What every recipe has, with labels or without.

    Attributes:
        name: a few words, for people.
        data: which data.
        inputs: modalities that the model sees; as a mapping, with the channels of each (null for all).
        split: how patches are divided.
        fusion: how modalities are joined, and by which encoder.
        train: how it is trained.
        seed: fixes initial weights, order and randomness.
    """

    name: str = "run"
    data: DataOptions
    inputs: dict[str, list[str] | None]
    split: SplitOptions = SplitOptions()
    fusion: SerializeAsAny[FusionOptions] = FusionOptions()
    train: TrainOptions = TrainOptions()
    seed: int = Field(default=0, ge=0, lt=2**32)

    @field_validator("inputs", mode="before")
    @classmethod
    def _as_mapping(cls, value: Any) -> Any:
        if isinstance(value, list):
            if len(set(map(str, value))) < len(value):
                raise ValueError("a modality is named twice")
            return {str(name): None for name in value}
        return value

    @field_validator("inputs")
    @classmethod
    def _not_empty(cls, value: dict[str, list[str] | None]) -> dict[str, list[str] | None]:
        if not value:
            raise ValueError("name at least one modality")
        return value


class RunOptions(LearningOptions):
    """Everything that a run depends on: its recipe.

    Attributes:
        labels: how many of the training patches are labelled.
        augment: how training patches are changed at random: a preset, or single operations.
        unlabelled: how the other training patches are learned from; not at all without it.
        start: trained weights from which the run starts, and how it goes on; untrained without it.
        refit: whether the model is trained once more when validation has chosen, on training and validation patches together.
        task: what is learned.
        tasks: in place of `task`, several targets that are learned at once on the same features, by name.
        weighting: how the losses of several tasks become one: by weights in the recipe, `uncertainty` (Kendall et al. 2018) or
            `gradient_norm` (the same norm of each loss's gradient on the shared encoders).
    """

    labels: LabelOptions = LabelOptions()
    augment: AugmentOptions = AugmentOptions()
    unlabelled: UnlabelledOptions | None = None
    start: StartOptions | None = None
    refit: bool = False
    task: TaskOptions | None = None
    tasks: dict[str, TaskOptions] | None = None
    weighting: Literal["fixed", "uncertainty", "gradient_norm"] = "fixed"

    @model_validator(mode="before")
    @classmethod
    def _probe_foundation_models(cls, values: Any) -> Any:
        """Published weights of foundation models stay as they are, where nothing else is said."""
        start = values.get("start") if isinstance(values, dict) else None
        if not isinstance(start, dict) or "mode" in start or not _names_foundation(values.get("fusion")):
            return values
        return {**values, "start": {**start, "mode": "linear_probe"}}

    @field_validator("tasks", mode="before")
    @classmethod
    def _name_targets(cls, value: Any) -> Any:
        if isinstance(value, dict):
            named = {name: {} if options is None else options for name, options in value.items()}
            return {
                name: {"target": name, **options} if isinstance(options, dict) else options
                for name, options in named.items()
            }
        return value

    @model_validator(mode="after")
    def _one_or_several(self) -> "RunOptions":
        if (self.task is None) == (not self.tasks):
            both = "task and tasks are both given: take one away (task=null)"
            raise ValueError("give task, or tasks with a target or more" if self.task is None else both)
        for name, options in (self.tasks or {}).items():
            if options.target != name:
                raise ValueError(f"tasks.{name} has the target '{options.target}'; name it once")
        if self.weighting != "fixed" and len(self.targets) == 1:
            raise ValueError("weighting is for several tasks")
        if self.refit and not (self.labels.is_all and self.labels.order is None):
            raise ValueError("refit adds the labels of validation to those of labels.amount or order: choose one")
        if sum(options.balance == "sampling" for options in self.targets) > 1:
            raise ValueError("only one of several tasks can be balanced by sampling")
        return self

    @model_validator(mode="after")
    def _parts_that_add_up(self) -> "RunOptions":
        if self.train.accumulate == 1:
            return self
        if any("dice" in options.loss for options in self.targets):
            raise ValueError(
                "the dice of a batch is no sum over parts of it: use train.devices, or cross_entropy or focal"
            )
        if self.weighting != "fixed":
            raise ValueError(
                f"weighting by {self.weighting} looks at whole batches: use train.devices, or weighting: fixed"
            )
        if self.unlabelled is not None:
            raise ValueError("pseudo-labels come with whole batches: leave out train.accumulate")
        return self

    @property
    def drops_modalities(self) -> bool:
        """Whether patches lose modalities in training, in the labelled ones or in the strong views of the others."""
        views = [self.augment, *([self.unlabelled.strong] if self.unlabelled is not None else [])]
        return any(view.drop_modalities > 0 for view in views)

    @property
    def targets(self) -> list[TaskOptions]:
        """What is learned: one task or several."""
        return [self.task] if self.task is not None else list((self.tasks or {}).values())


def _names_foundation(fusion: Any) -> bool:
    """Whether the options of a fusion, read or not, name a foundation model as an encoder."""
    given: Mapping[str, Any] = fusion if isinstance(fusion, Mapping) else {}
    if isinstance(fusion, FusionOptions):
        given = fusion.model_dump()
    joint, own = given.get("joint"), given.get("encoders")
    named = [given.get("encoder"), *(joint if isinstance(joint, Mapping) else ())]
    named += list(own.values()) if isinstance(own, Mapping) else []
    return any(str(name).partition(":")[0] in FOUNDATIONS for name in named)

"""`Method`: what every pretraining method is."""

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from eofuse.data.loading import Batch
from eofuse.learning.pretraining.options import PretrainingOptions, PretrainOptions
from eofuse.learning.pretraining.preparation import Unlabelled
from eofuse.models.model import Model
from eofuse.tasks.objective import Objective


class Method(Objective):
    """A loss on patches without labels, by which the encoders of a model learn.

    Its `module` holds the model, and all else that it trains or remembers: the checkpoint is that module's state.

    Args:
        model: whose encoders learn.
        data: the patches.
        options: the recipe.

    Attributes:
        Options: its options; a method with options of its own has a subclass of `PretrainOptions` here.
        learns_from_two_inputs: whether it learns from patches that lack inputs, but for two, where absent ones have tokens.
    """

    Options: ClassVar[type[PretrainOptions]] = PretrainOptions
    learns_from_two_inputs: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, model: Model, data: Unlabelled, options: PretrainingOptions) -> None: ...

    def pairs(self, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        """Projections (B, width) that ought to find each other among those of other patches, by name; none by default.

        They are for people to watch (see `Monitor`), of patches without augmentation.
        """
        return {}

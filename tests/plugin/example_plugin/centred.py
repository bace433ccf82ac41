"""`Centred`: a pretraining method that remembers something from step to step."""

import torch
from torch import Tensor, nn

from eofuse.data.loading import Batch
from eofuse.learning.pretraining import METHODS, Method, PretrainingOptions, PretrainOptions
from eofuse.learning.pretraining.preparation import Unlabelled
from eofuse.models.model import Model


class CentredOptions(PretrainOptions):
    """Options of `Centred`.

    Attributes:
        keep: share of the centre that a step leaves.
    """

    keep: float = 0.9


class _AroundCentre(nn.Module):
    """A model, and the centre of its vectors."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("centre", torch.zeros(model.fusion.sizes[0].vector))
        self.register_buffer("latest", torch.zeros(model.fusion.sizes[0].vector))

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        vectors = self.model.features(inputs)[0].vector
        if self.training:
            self.latest.copy_(vectors.detach().mean(0))
        return (1 - (vectors - self.centre).var(0)).relu().mean()


@METHODS.register("example_centred")
class Centred(Method):
    """The vectors spread around their moving average."""

    Options = CentredOptions

    def __init__(self, model: Model, data: Unlabelled, options: PretrainingOptions) -> None:
        self.around = _AroundCentre(model)
        self.module = self.around
        self.keep = options.pretrain.keep

    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """How far the variance of each number is below 1."""
        return self.module(batch.inputs), {}

    def after_step(self, step: int) -> None:
        """Moves the centre."""
        self.around.centre.lerp_(self.around.latest, 1 - self.keep)

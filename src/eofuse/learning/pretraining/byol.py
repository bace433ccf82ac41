"""`BYOL`: one view of a patch predicts what a moving average makes of another one (Grill et al. 2020, arXiv:2006.07733)."""

import copy

import torch
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules.heads import BYOLPredictionHead, BYOLProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.utils.scheduler import cosine_schedule
from pydantic import Field
from torch import Tensor, nn

from eofuse import ranks
from eofuse.data.loading import Batch
from eofuse.learning.pretraining.options import METHODS, PretrainingOptions
from eofuse.learning.pretraining.preparation import Unlabelled
from eofuse.learning.pretraining.projection import Projected, ProjectionOptions, TwoViews, View
from eofuse.models.model import Model

EXPANSION = 4
"""Hidden units of the heads in units of `pretrain.width`."""


class BYOLOptions(ProjectionOptions):
    """Options of `BYOL`.

    Attributes:
        momentum: share of the teacher's weights that a step leaves at first; it rises along a cosine to 1.
    """

    momentum: float = Field(default=0.99, ge=0, lt=1)


@METHODS.register("byol")
class BYOL(TwoViews):
    """Predicts the teacher's projection of one view from the student's of the other, without contrast to other patches.

    The student is the model. The teacher is a moving average of it, through which no gradient passes.
    """

    Options = BYOLOptions

    def __init__(self, model: Model, data: Unlabelled, options: PretrainingOptions) -> None:
        own = options.pretrain
        assert isinstance(own, BYOLOptions)
        self.pair = _StudentAndTeacher(model, own.width)
        super().__init__(self.pair, options, model.spec.modalities)
        self.momentum, self.steps = own.momentum, options.train.budget(len(data.rows["train"]))

    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared distance of predictions to projections, both of length 1: from 0 to 4."""
        return ranks.mean_loss(self.compare(batch), len(batch)), {}

    def after_step(self, step: int) -> None:
        """Moves the teacher towards the student."""
        momentum = cosine_schedule(min(step, self.steps) - 1, self.steps, self.momentum, 1.0)
        update_momentum(self.pair.student, self.pair.teacher, momentum)


class _StudentAndTeacher(nn.Module):
    """The student, its predictions, and the teacher."""

    def __init__(self, model: Model, width: int) -> None:
        super().__init__()
        hidden = EXPANSION * width
        heads = [BYOLProjectionHead(size.vector, hidden, width) for size in model.fusion.sizes]
        self.student = Projected(model, heads)
        self.predictors = nn.ModuleList(BYOLPredictionHead(width, hidden, width) for _ in heads)
        self.teacher = copy.deepcopy(self.student)
        deactivate_requires_grad(self.teacher)
        self.likeness = NegativeCosineSimilarity()

    def forward(self, first: View, second: View) -> Tensor:
        """The mean distance over the sets of features, each view predicting the other one."""
        with torch.no_grad():
            targets = self.teacher(first, second)
        losses = []
        for predictor, projections, (one, other) in zip(
            self.predictors, self.student(first, second), targets, strict=True
        ):
            predicted_other, predicted_one = predictor(torch.cat(projections)).chunk(2)
            likeness = (self.likeness(predicted_other, other) + self.likeness(predicted_one, one)) / 2
            losses.append(2 + 2 * likeness)
        return torch.stack(losses).mean()

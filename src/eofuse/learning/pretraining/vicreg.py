"""`VICReg`: two views of a patch are alike, and every number of the vectors varies in its own way (Bardes et al. 2022)."""

import torch
from lightly.loss.vicreg_loss import covariance_loss, invariance_loss, variance_loss
from lightly.models.modules.heads import VICRegProjectionHead
from torch import Tensor

from eofuse.data.loading import Batch
from eofuse.learning.pretraining.options import METHODS, PretrainingOptions
from eofuse.learning.pretraining.preparation import Unlabelled
from eofuse.learning.pretraining.projection import Projected, ProjectionOptions, TwoViews, gathered_pairs
from eofuse.models.model import Model

WEIGHTS = {"invariance": 25.0, "variance": 25.0, "covariance": 1.0}
"""Of the three terms, those of the paper."""

EXPANSION = 4
"""Length of the projections in units of `pretrain.width`: without negatives, they have to be longer than those of SimCLR."""


@METHODS.register("vicreg")
class VICReg(TwoViews):
    """Brings the projected vectors of two views together without contrasting them with others.

    Three terms: the two are alike (invariance), each of their numbers varies over the batch (variance), and no two numbers
    vary together (covariance).
    """

    Options = ProjectionOptions

    def __init__(self, model: Model, data: Unlabelled, options: PretrainingOptions) -> None:
        own = options.pretrain
        assert isinstance(own, ProjectionOptions)
        width = EXPANSION * own.width
        heads = [VICRegProjectionHead(size.vector, width, width) for size in model.fusion.sizes]
        super().__init__(Projected(model, heads), options, model.spec.modalities)

    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the three terms, and each of them."""
        pairs = gathered_pairs(self.compare(batch))
        terms = [
            {
                "invariance": invariance_loss(one, other),
                "variance": (variance_loss(one) + variance_loss(other)) / 2,
                "covariance": covariance_loss(one) + covariance_loss(other),
            }
            for one, other in pairs
        ]
        means = {name: torch.stack([term[name] for term in terms]).mean() for name in WEIGHTS}
        loss = torch.stack([weight * means[name] for name, weight in WEIGHTS.items()]).sum()
        return loss, {name: value.detach() for name, value in means.items()}

"""`SimCLR`: two views of a patch are alike, other patches are not (Chen et al. 2020)."""

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules.heads import SimCLRProjectionHead
from torch import Tensor

from eofuse.data.loading import Batch
from eofuse.learning.pretraining.options import METHODS, PretrainingOptions
from eofuse.learning.pretraining.preparation import Unlabelled
from eofuse.learning.pretraining.projection import ContrastOptions, Projected, TwoViews, gathered_pairs
from eofuse.models.model import Model


@METHODS.register("simclr")
class SimCLR(TwoViews):
    """Contrasts the projected vectors of two views of each patch with those of all other patches of the batch."""

    Options = ContrastOptions

    def __init__(self, model: Model, data: Unlabelled, options: PretrainingOptions) -> None:
        own = options.pretrain
        assert isinstance(own, ContrastOptions)
        heads = [SimCLRProjectionHead(size.vector, size.vector, own.width) for size in model.fusion.sizes]
        super().__init__(Projected(model, heads), options, model.spec.modalities)
        self.loss = NTXentLoss(temperature=own.temperature)

    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The contrastive loss of a batch; of several processes, of the patches of all."""
        pairs = gathered_pairs(self.compare(batch))
        return torch.stack([self.loss(one, other) for one, other in pairs]).mean(), {}

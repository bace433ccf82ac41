"""`CrossModal`: the modalities of a patch are alike, those of other patches are not.

After the contrastive Sentinel-1 and Sentinel-2 pretraining of Scheibenreif et al. (2022, CVPR Workshops), for any pair of modalities.
The layer that joins the vectors in late fusion learns too: the joined vector is contrasted with that of each modality, as in geometric
multimodal contrastive learning (Poklukar et al. 2022, ICML).
"""

from collections.abc import Mapping
from itertools import combinations

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules.heads import SimCLRProjectionHead
from torch import Tensor, nn

from eofuse import ranks
from eofuse.data.loading import Batch
from eofuse.errors import UsageError
from eofuse.learning.pretraining.base import Method
from eofuse.learning.pretraining.options import METHODS, PretrainingOptions
from eofuse.learning.pretraining.preparation import Unlabelled
from eofuse.learning.pretraining.projection import ContrastOptions
from eofuse.learning.pretraining.views import make_view
from eofuse.modalities import TIMES
from eofuse.models.fusion.per_modality import PerModality
from eofuse.models.model import Model


@METHODS.register("cross_modal")
class CrossModal(Method):
    """Contrasts the projected vectors of each pair of modalities, each seen in a view of its own.

    Raises:
        UsageError: if there is only one input, or the fusion has no encoder for each modality.
    """

    Options = ContrastOptions
    learns_from_two_inputs = True

    def __init__(self, model: Model, data: Unlabelled, options: PretrainingOptions) -> None:
        own = options.pretrain
        assert isinstance(own, ContrastOptions)
        if len(model.spec.modalities) < 2:
            fix = "name two or more"
            raise UsageError("cross-modal pretraining compares modalities, here is one", where="inputs", fix=fix)
        self.module: nn.Module = _PerModality(model, own.width)
        self.by_encoder = _fusion(model).by_encoder
        self.views = {modality.name: make_view(options, [modality]) for modality in model.spec.modalities}
        self.loss = NTXentLoss(temperature=own.temperature)

    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean contrastive loss over the pairs of modalities plus, in late fusion, that of the joined vector to each modality.

        Patches take part in the pairs of which they have both. Logged are the loss of each pair and, as `joined`, the mean of the
        others.
        """
        inputs: dict[str, Tensor] = {}
        for name, view in self.views.items():
            seen = view(batch)
            inputs |= {key: seen.inputs[key] for key in seen.inputs if key.removesuffix(TIMES) == name}
        present = {name: batch.present[name] for name in self.views}
        projected, joined = self.module(inputs, present)
        present = self.by_encoder(present)
        losses = {
            f"{one}-{other}": self._contrast(projected[one], projected[other], present[one] & present[other])
            for one, other in combinations(projected, 2)
        }
        loss = torch.stack(list(losses.values())).mean()
        if joined is not None:
            several = torch.stack(list(present.values())).sum(0) > 1
            to_each = [self._contrast(joined, projected[name].detach(), present[name] & several) for name in projected]
            losses["joined"] = torch.stack(to_each).mean()
            loss = loss + losses["joined"]
        return loss, {name: value.detach() for name, value in losses.items()} if len(losses) > 1 else {}

    def pairs(self, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        """The projections of each pair of modalities."""
        inputs = {key: values for key, values in batch.inputs.items() if key.removesuffix(TIMES) in self.views}
        present = {name: batch.present[name] for name in self.views}
        projected, _ = self.module(inputs, present)
        return {f"{one}-{other}": (projected[one], projected[other]) for one, other in combinations(projected, 2)}

    def _contrast(self, one: Tensor, other: Tensor, chosen: Tensor) -> Tensor:
        """The contrastive loss of some of the patches, of all processes that train together; 0 if there are fewer than two."""
        if ranks.are_together():
            one, other, chosen = ranks.gathered(one), ranks.gathered(other), ranks.gathered(chosen.to(torch.uint8)) > 0
        if chosen.sum() < 2:
            return 0 * (one.sum() + other.sum())
        loss: Tensor = self.loss(one, other) if bool(chosen.all()) else self.loss(one[chosen], other[chosen])
        return loss


class _PerModality(nn.Module):
    """Encodes each modality by itself and projects its vector, and what late fusion joins of them.

    The encoders learn from the pairs alone: no gradient reaches them through the joined vector, which sees every modality and could
    recognise a patch by the noise of one.
    """

    def __init__(self, model: Model, width: int) -> None:
        super().__init__()
        self.model = model
        fusion = _fusion(model)
        self.heads = nn.ModuleDict(
            {name: SimCLRProjectionHead(size, size, width) for name, size in fusion.widths.items()}
        )
        self.joined: nn.Module | None = None
        if joined := fusion.joined_width:
            self.joined = SimCLRProjectionHead(joined, joined, width)

    def forward(
        self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """Projections (B, width) of a batch in native dtype: by modality name, and of the joined vector if there is one."""
        fusion = _fusion(self.model)
        features = fusion.encode(self.model.normaliser(inputs), present)
        encoded = fusion.by_encoder(present)
        projected = {name: _project(head, features[name].vector, encoded[name]) for name, head in self.heads.items()}
        if self.joined is None:
            return projected, None
        vectors = {name: self._held(each.vector, encoded[name]) for name, each in features.items()}
        return projected, self.joined(fusion.join_vectors(vectors, present))

    @staticmethod
    def _held(vector: Tensor, present: Tensor) -> Tensor:
        """A vector that passes gradients on only where it stands for what is absent."""
        return vector.detach() if bool(present.all()) else torch.where(present[:, None], vector.detach(), vector)


def _project(head: nn.Module, vectors: Tensor, present: Tensor) -> Tensor:
    """Projections (B, width) of the vectors that are present, zeros for the others, which batch normalisation does not see.

    Where fewer than two are present, nothing is contrasted, and all are projected.
    """
    rows = present.nonzero()[:, 0]
    if len(rows) < 2 or len(rows) == len(present):
        everything: Tensor = head(vectors)
        return everything
    some: Tensor = head(vectors[rows])
    return some.new_zeros(len(vectors), some.shape[1]).index_copy(0, rows, some)


def _fusion(model: Model) -> PerModality:
    """The fusion of a model, which must have an encoder for each modality."""
    if not isinstance(model.fusion, PerModality):
        raise UsageError(
            f"cross-modal pretraining needs an encoder a modality, which {model.spec.fusion.strategy} fusion has not",
            where="fusion.strategy",
            fix="use late or decision",
        )
    return model.fusion

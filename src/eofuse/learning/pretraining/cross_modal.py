"""`CrossModal`: the modalities of a patch are alike, those of other patches are not.

After the contrastive Sentinel-1 and Sentinel-2 pretraining of Scheibenreif et al. (2022, CVPR Workshops), for any pair of modalities.
"""

from collections.abc import Mapping
from itertools import combinations

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules.heads import SimCLRProjectionHead
from torch import Tensor, nn

from eofuse.data.loading import Batch
from eofuse.errors import UsageError
from eofuse.learning.pretraining.options import PretrainingOptions
from eofuse.learning.pretraining.preparation import Unlabelled
from eofuse.learning.pretraining.views import make_view
from eofuse.models.encoders import RasterEncoder, VectorEncoder
from eofuse.models.features import Features
from eofuse.models.fusion.decision import Decision
from eofuse.models.fusion.late import Late
from eofuse.models.model import Model


class CrossModal:
    """Contrasts the projected vectors of each pair of modalities, each seen in a view of its own.

    Args:
        model: whose encoders learn; it has one for each modality.
        data: the patches.
        options: temperature, and width of the projections.

    Raises:
        UsageError: if there is only one input, or the fusion has no encoder for each modality.
    """

    def __init__(self, model: Model, data: Unlabelled, options: PretrainingOptions) -> None:
        if len(model.spec.modalities) < 2:
            fix = "name two or more"
            raise UsageError("cross-modal pretraining compares modalities, here is one", where="inputs", fix=fix)
        self.module: nn.Module = _PerModality(model, options.pretrain.width)
        self.views = {modality.name: make_view(options, [modality]) for modality in model.spec.modalities}
        self.loss = NTXentLoss(temperature=options.pretrain.temperature)

    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean contrastive loss over the pairs of modalities, and that of each pair."""
        projected = self.module({name: view(batch).inputs[name] for name, view in self.views.items()})
        losses = {
            f"{one}-{other}": self.loss(projected[one], projected[other]) for one, other in combinations(self.views, 2)
        }
        parts = {pair: value.detach() for pair, value in losses.items()} if len(losses) > 1 else {}
        return torch.stack(list(losses.values())).mean(), parts


class _PerModality(nn.Module):
    """Encodes each modality by itself and projects its vector."""

    def __init__(self, model: Model, width: int) -> None:
        super().__init__()
        self.model = model
        sizes = _vector_sizes(model)
        self.heads = nn.ModuleDict({name: SimCLRProjectionHead(size, size, width) for name, size in sizes.items()})

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Projections (B, width) by modality name, of a batch in native dtype."""
        features = _encode(self.model, inputs)
        return {name: head(features[name].vector) for name, head in self.heads.items()}


def _vector_sizes(model: Model) -> dict[str, int]:
    """Length of the vector of each modality.

    Raises:
        UsageError: if the fusion has no encoder for each modality.
    """
    fusion = model.fusion
    if not isinstance(fusion, Late | Decision):
        strategy = model.spec.fusion.strategy
        raise UsageError(
            f"cross-modal pretraining needs an encoder for each modality, which {strategy} fusion has not",
            where="fusion.strategy",
            fix="use late or decision",
        )
    sizes = {}
    for name, encoder in fusion.encoders.items():
        assert isinstance(encoder, RasterEncoder | VectorEncoder)
        sizes[name] = encoder.sizes.vector
    if isinstance(fusion, Late) and fusion.trunk is not None:
        sizes |= dict.fromkeys(fusion.rasters, fusion.trunk.encoder.sizes.vector)
    return sizes


def _encode(model: Model, inputs: Mapping[str, Tensor]) -> dict[str, Features]:
    fusion, normalised = model.fusion, model.normaliser(inputs)
    assert isinstance(fusion, Late | Decision)
    features: dict[str, Features] = {name: encoder(normalised[name]) for name, encoder in fusion.encoders.items()}
    if isinstance(fusion, Late) and fusion.trunk is not None:
        features |= fusion.trunk(normalised)
    return features

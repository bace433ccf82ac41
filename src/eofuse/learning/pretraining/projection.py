"""`Projected`: a model whose vectors pass a projection head each, for two views of the same patches; and options of projections."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from eofuse import ranks
from eofuse.data.loading import Batch
from eofuse.learning.pretraining.base import Method
from eofuse.learning.pretraining.options import PretrainingOptions, PretrainOptions
from eofuse.learning.pretraining.views import make_one_of_two_views
from eofuse.modalities import Modality
from eofuse.models.model import Model

View = tuple[Mapping[str, Tensor], Mapping[str, Tensor]]
"""Inputs in native dtype, and which patches have them, (B,): both by modality name."""


class ProjectionOptions(PretrainOptions):
    """Options of methods that compare projections.

    Attributes:
        width: length of the projections.
    """

    width: int = Field(default=128, ge=2)


class ContrastOptions(ProjectionOptions):
    """Options of methods that contrast projections with those of other patches.

    Attributes:
        temperature: of the contrastive loss.
    """

    temperature: float = Field(default=0.1, ge=0.01)


class Projected(nn.Module):
    """Projects the vectors of two views, which pass the model in one batch, so that batch norm sees both.

    There is a head for each set of features: one, but with decision fusion one a modality.
    """

    def __init__(self, model: Model, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.model = model
        self.heads = nn.ModuleList(heads)

    def forward(self, first: View, second: View) -> list[tuple[Tensor, Tensor]]:
        """Projections (B, width) of both views, for each set of features."""
        inputs, present = (
            {name: torch.cat([values, other[name]]) for name, values in one.items()}
            for one, other in zip(first, second, strict=True)
        )
        projected = []
        for head, features in zip(self.heads, self.model.features(inputs, present), strict=True):
            one, other = head(features.vector).chunk(2)
            projected.append((one, other))
        return projected


def gathered_pairs(pairs: Iterable[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Projections of both views, for each set of features, of the patches of all processes that train together."""
    return [(ranks.gathered(one), ranks.gathered(other)) for one, other in pairs]


class TwoViews(Method):
    """A method whose module takes two random views of the same patches."""

    def __init__(self, module: nn.Module, options: PretrainingOptions, modalities: Iterable[Modality]) -> None:
        self.module = module
        self.view = make_one_of_two_views(options, modalities)

    def compare(self, batch: Batch) -> Any:
        """What the module makes of two views of a batch."""
        first, second = self.view(batch), self.view(batch)
        return self.module((first.inputs, first.present), (second.inputs, second.present))

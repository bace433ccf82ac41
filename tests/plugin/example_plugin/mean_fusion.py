"""`MeanFusion`: a fusion strategy, with an option of its own."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from eofuse.modalities import Modality
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.fusion import FUSIONS, FusionOptions, Present
from eofuse.models.fusion.per_modality import PerModality


class MeanOptions(FusionOptions):
    """Options of `MeanFusion`.

    Attributes:
        joint_width: length of the projected vectors.
    """

    joint_width: int = 16


@FUSIONS.register("example_mean")
class MeanFusion(PerModality):
    """The mean of the projected vectors of the modalities."""

    Options = MeanOptions

    def __init__(self, modalities: Sequence[Modality], options: MeanOptions, pixels: bool = False) -> None:
        super().__init__(modalities, options, pixels)
        width = options.joint_width
        self.projections = nn.ModuleDict({name: nn.Linear(size, width) for name, size in self.widths.items()})
        self.condition_maps()
        self.sizes = [FeatureSizes(width, self.maps, self.strides)]

    def forward(self, inputs: Mapping[str, Tensor], present: Present | None = None) -> list[Features]:
        """Features of all modalities together."""
        features = self.encode(inputs, present)
        vectors = [projection(features[name].vector) for name, projection in self.projections.items()]
        return [Features(torch.stack(vectors).mean(0), self.join_maps(features), self.strides)]

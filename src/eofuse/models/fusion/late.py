"""`Late`: an encoder for each modality, whose vectors are joined through a hidden layer."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from eofuse.modalities import Modality
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.fusion.base import FUSIONS, FusionOptions, JoinByName
from eofuse.models.fusion.missing import Present, presence
from eofuse.models.fusion.per_modality import PerModality


@FUSIONS.register("late")
class Late(PerModality):
    """Encodes each modality and joins the vectors; the maps of the rasters are concatenated level by level.

    Where a head looks at pixels, numbers and categories condition the maps. With `missing: token`, the join takes flags of the
    modalities that are present.

    Raises:
        UsageError: if weights are to be shared by fewer than two rasters, or the encoder's first layer can't be taken.
    """

    shares_weights = True

    def __init__(self, modalities: Sequence[Modality], options: FusionOptions, pixels: bool = False) -> None:
        super().__init__(modalities, options, pixels)
        self.join = JoinByName("late.join", self.widths, self.flags)
        self.condition_maps()
        self.sizes = [FeatureSizes(self.join.width, self.maps, self.strides)]

    @classmethod
    def title(cls, options: FusionOptions) -> str:
        """What it is called in reports."""
        return f"{options.strategy} ({options.weights})"

    @property
    def joined_width(self) -> int:
        """Length of the joined vector."""
        return self.join.width

    def forward(self, inputs: Mapping[str, Tensor], present: Present | None = None) -> list[Features]:
        """Features of all modalities together."""
        features = self.encode(inputs, present)
        vector = self.join_vectors({name: each.vector for name, each in features.items()}, present)
        return [Features(vector, self.join_maps(features), self.strides)]

    def join_vectors(self, vectors: Mapping[str, Tensor], present: Present | None) -> Tensor:
        """One (B, width) vector from those of all modalities, (B, D) by name."""
        parts = [vectors[name] for name in self.order]
        if self.flags:
            parts.append(presence(present, self.flags, parts[0]))
        joined: Tensor = self.join(parts)
        return joined

"""`Decision`: an encoder and a head for each modality; their predictions are averaged."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from eofuse.modalities import Modality
from eofuse.models.encoders import build_encoder
from eofuse.models.features import Features
from eofuse.models.fusion.base import Fusion, FusionOptions


class Decision(Fusion):
    """Encodes each modality and keeps the features apart, one set a modality.

    Each set has its own head, so what only two modalities together tell can't be learnt; at the pixels, a modality
    without any predicts the same everywhere.
    """

    def __init__(self, modalities: Sequence[Modality], options: FusionOptions, pixels: bool = False) -> None:
        super().__init__(modalities, options, pixels)
        encoders = {modality.name: build_encoder(modality, options.encoder, pixels) for modality in modalities}
        self.encoders = nn.ModuleDict(encoders)
        self.sizes = [encoder.sizes for encoder in encoders.values()]

    def forward(self, inputs: Mapping[str, Tensor]) -> list[Features]:
        """Features of each modality, in the order of the modalities."""
        return [encoder(inputs[name]) for name, encoder in self.encoders.items()]

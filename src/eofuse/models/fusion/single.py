"""`Single`: one modality, no fusion; the baseline of every comparison."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from eofuse.errors import UsageError
from eofuse.modalities import Modality
from eofuse.models.encoders import build_encoder, encoder_name
from eofuse.models.features import Features
from eofuse.models.fusion.base import FUSIONS, Fusion, FusionOptions
from eofuse.models.fusion.missing import Present, Tokens, encode_present


@FUSIONS.register("single")
class Single(Fusion):
    """Encodes the only modality.

    Raises:
        UsageError: if there is not exactly one modality.
    """

    def __init__(self, modalities: Sequence[Modality], options: FusionOptions, pixels: bool = False) -> None:
        super().__init__(modalities, options, pixels)
        if len(modalities) != 1:
            names = ", ".join(modality.name for modality in modalities)
            what = f"the strategy 'single' takes one modality, not {len(modalities)} ({names})"
            fix = "name one input, or choose a strategy of several"
            raise UsageError(what, where="fusion.strategy", fix=fix)
        self.encoder = build_encoder(encoder_name(modalities[0], options), modalities, pixels)
        self.sizes = [self.encoder.sizes]
        self.tokens = Tokens({modalities[0].name: self.encoder.sizes}) if options.missing == "token" else None
        self.pixels = pixels

    def forward(self, inputs: Mapping[str, Tensor], present: Present | None = None) -> list[Features]:
        """Features of the one modality; a token where it is absent."""
        return [encode_present(self.encoder, inputs, present, self.tokens, self.pixels)]

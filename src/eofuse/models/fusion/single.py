"""`Single`: one modality, no fusion; the baseline of every comparison."""

from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor

from eofuse.errors import UsageError
from eofuse.modalities import Modality
from eofuse.models.encoders import RasterEncoder, build_encoder
from eofuse.models.features import Features
from eofuse.models.fusion.absence import Present, Tokens, encode_rows, padded_size
from eofuse.models.fusion.base import Fusion, FusionOptions


class Single(Fusion):
    """Encodes the only modality.

    Raises:
        UsageError: if there is not exactly one modality.
    """

    def __init__(self, modalities: Sequence[Modality], options: FusionOptions, pixels: bool = False) -> None:
        super().__init__(modalities, options, pixels)
        if len(modalities) != 1:
            names = ", ".join(modality.name for modality in modalities)
            raise UsageError(
                f"the strategy 'single' takes one modality, not {len(modalities)} ({names})",
                where="fusion.strategy",
                fix="name one input, or choose early, middle, late or decision",
            )
        self.modality = modalities[0].name
        self.encoder = build_encoder(modalities[0], options, pixels)
        self.sizes = [self.encoder.sizes]
        self.tokens = Tokens({self.modality: self.encoder.sizes}) if options.missing == "token" else None
        self.pad_to = self.encoder.pad_to if pixels and isinstance(self.encoder, RasterEncoder) else None

    def forward(self, inputs: Mapping[str, Tensor], present: Present | None = None) -> list[Features]:
        """Features of the one modality; a token where it is absent."""
        values = inputs[self.modality]
        if present is None or self.tokens is None:
            return [self.encoder(values)]
        size = None if self.pad_to is None else padded_size(values, self.pad_to)
        encode = partial(encode_rows, self.encoder, values)
        return [self.tokens.encode(self.modality, encode, present[self.modality], size)]

"""`Single`: one modality, or several with one encoder together; no fusion, the baseline of every comparison."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from eofuse.errors import UsageError
from eofuse.modalities import Modality
from eofuse.models.encoders import build_encoders
from eofuse.models.features import Features
from eofuse.models.fusion.base import FUSIONS, Fusion, FusionOptions
from eofuse.models.fusion.missing import Present, Tokens, encode_present


@FUSIONS.register("single")
class Single(Fusion):
    """Encodes the only modality, or those that one encoder takes together (`fusion.joint`).

    Raises:
        UsageError: if there is not exactly one modality or encoder.
    """

    def __init__(self, modalities: Sequence[Modality], options: FusionOptions, pixels: bool = False) -> None:
        super().__init__(modalities, options, pixels)
        joint = {name for group in (options.joint or {}).values() for name in group}
        if len(modalities) != 1 and not joint.issuperset(modality.name for modality in modalities):
            names = ", ".join(modality.name for modality in modalities)
            what = f"the strategy 'single' takes one modality, not {len(modalities)} ({names})"
            fix = "name one input, or choose a strategy of several"
            raise UsageError(what, where="fusion.strategy", fix=fix)
        encoders = build_encoders(modalities, options, pixels)
        if len(encoders) > 1:
            what = f"the strategy 'single' takes one encoder, not {len(encoders)} ({', '.join(encoders)})"
            raise UsageError(what, where="fusion.joint", fix="name one, or choose a strategy of several")
        ((name, self.encoder),) = encoders.items()
        self.sizes = [self.encoder.sizes]
        self.tokens = Tokens({name: self.encoder.sizes}) if options.missing == "token" else None
        self.pixels = pixels

    def forward(self, inputs: Mapping[str, Tensor], present: Present | None = None) -> list[Features]:
        """Features of the one modality; a token where it is absent."""
        return [encode_present(self.encoder, inputs, present, self.tokens, self.pixels)]

"""Fusion: several normalised modalities in, `Features` out. `FUSIONS` names the strategies, a file each."""

from collections.abc import Sequence

from eofuse.errors import UsageError, did_you_mean
from eofuse.modalities import Modality
from eofuse.models.fusion.absence import Present
from eofuse.models.fusion.base import FUSIONS, Fusion, FusionOptions

__all__ = ["FUSIONS", "Fusion", "FusionOptions", "Present", "build_fusion"]


def build_fusion(modalities: Sequence[Modality], options: FusionOptions, pixels: bool = False) -> Fusion:
    """The fusion of these modalities, untrained.

    Args:
        modalities: what is fused.
        options: how.
        pixels: whether a head looks at the maps, see `Fusion`.

    Raises:
        UsageError: if there is no modality, or the strategy or encoders do not fit them.
    """
    if not modalities:
        raise UsageError("a model needs at least one modality", fix="name the inputs")
    fusion = FUSIONS[options.strategy](modalities, options, pixels)
    for name, wanted in (options.encoders or {}).items():
        if name not in {modality.name for modality in modalities}:
            fix = did_you_mean(name, [modality.name for modality in modalities])
            raise UsageError(f"'{name}' is no input", where="fusion.encoders", fix=fix)
        encoders = [each for each in fusion.encoders_inside().values() if name in each.names]
        if [each.name for each in encoders] != [wanted]:
            fix = "use fusion.encoder, or a strategy with an encoder for each modality, such as late"
            raise UsageError(
                f"{options.strategy} fusion has no own encoder for '{name}'", where="fusion.encoders", fix=fix
            )
    return fusion

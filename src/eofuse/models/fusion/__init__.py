"""Fusion: several normalised modalities in, `Features` out. `FUSIONS` names the strategies, a file each."""

from collections.abc import Sequence

from eofuse.errors import UsageError
from eofuse.modalities import Modality
from eofuse.models.encoders import encoder_name
from eofuse.models.fusion.base import FUSIONS, Fusion, FusionOptions
from eofuse.models.fusion.missing import Present

__all__ = ["FUSIONS", "Fusion", "FusionOptions", "Present", "build_fusion"]


def build_fusion(modalities: Sequence[Modality], options: FusionOptions, pixels: bool = False) -> Fusion:
    """The fusion of these modalities, untrained.

    Args:
        modalities: what is fused.
        options: how.
        pixels: whether a head looks at the maps, see `Fusion`.

    Raises:
        UsageError: if there is no modality, or the strategy or encoders do not fit them, the options or the heads.
    """
    if not modalities:
        raise UsageError("a model needs at least one modality", fix="name the inputs")
    fusion = FUSIONS[options.strategy](modalities, options, pixels)
    if (
        options.missing == "token" and getattr(fusion, "tokens", None) is None
    ):  # else what is absent would be a silent zero
        what = f"{options.strategy} fusion has nothing that stands for missing modalities"
        raise UsageError(what, where="fusion.missing", fix="use missing: exclude, or another strategy")
    has_rasters = any(modality.has_pixels for modality in modalities)
    if pixels and has_rasters and not any(sizes.maps for sizes in fusion.sizes):
        what = f"{options.strategy} fusion makes no maps, and the target is of pixels"
        raise UsageError(what, where="fusion.strategy", fix="use another strategy or encoder")
    found = {name: encoder.name for encoder in fusion.encoders_inside().values() for name in encoder.names}
    for modality in modalities:
        chosen = options.encoder_of(modality.name) is not None
        if chosen and found.get(modality.name) != encoder_name(modality, options):
            what = f"{options.strategy} fusion has no own encoder for '{modality.name}'"
            is_own = modality.name in (options.encoders or {})
            fix = "a strategy with an encoder for each modality, such as late"
            fix = f"use fusion.encoder, or {fix}" if is_own else f"use {fix}, or take '{modality.name}' out"
            raise UsageError(what, where="fusion.encoders" if is_own else "fusion.joint", fix=fix)
    return fusion

"""Fusion: several normalised modalities in, `Features` out. `FUSIONS` names the strategies, a file each."""

from collections.abc import Sequence

from eofuse.errors import UsageError
from eofuse.modalities import Modality
from eofuse.models.fusion.absence import Present
from eofuse.models.fusion.attention import Attention
from eofuse.models.fusion.base import Fusion, FusionOptions
from eofuse.models.fusion.decision import Decision
from eofuse.models.fusion.early import Early
from eofuse.models.fusion.film import Film
from eofuse.models.fusion.gated import Gated
from eofuse.models.fusion.late import Late
from eofuse.models.fusion.middle import Middle
from eofuse.models.fusion.single import Single

__all__ = ["FUSIONS", "Fusion", "FusionOptions", "Present", "build_fusion"]

FUSIONS: dict[str, type[Fusion]] = {
    "single": Single,
    "early": Early,
    "middle": Middle,
    "late": Late,
    "decision": Decision,
    "gated": Gated,
    "attention": Attention,
    "film": Film,
}
"""Every strategy by its name in recipes."""


def build_fusion(modalities: Sequence[Modality], options: FusionOptions, pixels: bool = False) -> Fusion:
    """The fusion of these modalities, untrained.

    Args:
        modalities: what is fused.
        options: how.
        pixels: whether a head looks at the maps, see `Fusion`.

    Raises:
        UsageError: if there is no modality, or the strategy or encoder does not fit them.
    """
    if not modalities:
        raise UsageError("a model needs at least one modality", fix="name the inputs")
    return FUSIONS[options.strategy](modalities, options, pixels)

"""Encoders: one or several modalities in, `Features` out. `ENCODERS` names them; `build_encoders` builds those of a model."""

from collections.abc import Sequence

from eofuse.errors import UsageError, did_you_mean
from eofuse.modalities import Kind, Modality
from eofuse.models.encoders.base import ENCODERS, Encoder
from eofuse.models.encoders.options import EncoderOptions
from eofuse.models.encoders.raster import DEFAULT_ENCODER, RasterEncoder, first_convolution, prepare_rasters
from eofuse.models.encoders.series import SeriesEncoder
from eofuse.models.encoders.vector import VectorEncoder

__all__ = [
    "DEFAULT_ENCODER",
    "ENCODERS",
    "Encoder",
    "EncoderOptions",
    "RasterEncoder",
    "SeriesEncoder",
    "VectorEncoder",
    "build_encoder",
    "build_encoders",
    "encoder_name",
    "first_convolution",
    "prepare_rasters",
]


def encoder_name(modality: Modality, options: EncoderOptions) -> str:
    """Name of the encoder of a modality."""
    of_kind = {Kind.RASTER: options.encoder, Kind.SERIES: options.series}
    return (options.encoders or {}).get(modality.name) or of_kind.get(modality.kind, "perceptron")


def build_encoders(modalities: Sequence[Modality], options: EncoderOptions, pixels: bool = False) -> dict[str, Encoder]:
    """The encoders of these modalities, by the names of the modalities, those of one encoder with `+` between.

    Modalities have one encoder together where they have the same, and it accepts them together.

    Args:
        modalities: what is encoded, as the normaliser gives it; a categorical raster comes as one-hot planes.
        options: which networks.
        pixels: whether the maps are looked at, as in `Encoder`.

    Raises:
        UsageError: if there is no such encoder, or it does not accept the modality.
    """
    names = {modality.name: encoder_name(modality, options) for modality in modalities}
    groups = []
    for modality in modalities:
        together = [other for other in modalities if names[other.name] == names[modality.name]]
        encoder = ENCODERS.get(names[modality.name], RasterEncoder)
        group = together if encoder.accepts(together) else [modality]
        if group not in groups:
            groups.append(group)
    return {
        "+".join(each.name for each in group): build_encoder(names[group[0].name], group, pixels) for group in groups
    }


def build_encoder(name: str, modalities: Sequence[Modality], pixels: bool = False) -> Encoder:
    """One encoder, untrained.

    Args:
        name: of `ENCODERS`, or for a raster a timm name.
        modalities: one, or several that it accepts together.
        pixels: whether the maps are looked at, as in `Encoder`.

    Raises:
        UsageError: if there is no such encoder, or it does not accept the modalities.
    """
    titles = " and ".join(f"'{modality.name}' ({modality.kind})" for modality in modalities)
    if name in ENCODERS:
        if ENCODERS[name].accepts(modalities):
            encoder = ENCODERS[name](modalities, pixels)
            encoder.name = name
            return encoder
        fitting = [other for other, encoder in ENCODERS.items() if encoder.accepts(modalities)]
        fix = did_you_mean(name, fitting) if fitting else "choose a timm name"
        raise UsageError(f"the encoder '{name}' can't encode {titles}", where="fusion.encoders", fix=fix)
    if not RasterEncoder.accepts(modalities):
        fix = did_you_mean(name, ENCODERS)
        raise UsageError(f"no encoder '{name}' for {titles}", where="fusion.encoders", fix=fix)
    return RasterEncoder(name, modalities[0].width, pixels, modalities=modalities)

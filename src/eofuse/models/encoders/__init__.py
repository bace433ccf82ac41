"""Encoders: one or several modalities in, `Features` out. `ENCODERS` names them; `build_encoders` builds those of a model."""

from collections.abc import Sequence

from eofuse.errors import UsageError, did_you_mean
from eofuse.modalities import CONTEXT, Kind, Modality
from eofuse.models.encoders.base import ENCODERS, Encoder
from eofuse.models.encoders.cells import CELLS
from eofuse.models.encoders.image_series import ImageSeriesEncoder, image_of
from eofuse.models.encoders.options import EncoderOptions
from eofuse.models.encoders.raster import DEFAULT_ENCODER, RasterEncoder, first_convolution, prepare_rasters
from eofuse.models.encoders.series import SeriesEncoder
from eofuse.models.encoders.vector import VectorEncoder
from eofuse.models.temporal import TEMPORAL

__all__ = [
    "DEFAULT_ENCODER",
    "ENCODERS",
    "Encoder",
    "EncoderOptions",
    "ImageSeriesEncoder",
    "RasterEncoder",
    "SeriesEncoder",
    "VectorEncoder",
    "build_encoder",
    "build_encoders",
    "context_of",
    "encoder_name",
    "encoder_type",
    "first_convolution",
    "prepare_rasters",
]


def encoder_name(modality: Modality, options: EncoderOptions) -> str:
    """Name of the encoder of a modality; of an image series, of both of its encoders, as `attention:resnet18`."""
    of_kind = {
        Kind.RASTER: options.encoder if modality.cell == 1 else CELLS,
        Kind.SERIES: options.series,
        Kind.IMAGE_SERIES: options.temporal,
    }
    name = options.encoder_of(modality.name) or of_kind.get(modality.kind, "perceptron")
    if modality.kind is not Kind.IMAGE_SERIES or name.partition(":")[0] in ENCODERS:
        return name
    if name in TEMPORAL:
        return f"{name}:{options.encoder}"
    return name if ":" in name else f"{options.temporal}:{name}"


def encoder_type(name: str) -> type[Encoder] | None:
    """The class of an encoder by `name` or `name:size`; None of a name of timm.

    Raises:
        UsageError: if it has no such size.
    """
    kind, _, size = name.partition(":")
    encoder = ENCODERS.get(kind)
    return encoder.of_size(size) if encoder is not None and size else encoder


def context_of(modalities: Sequence[Modality], options: EncoderOptions) -> tuple[str, ...]:
    """What the encoders of these modalities take beside them, some of `eofuse.modalities.CONTEXT`."""
    found = {encoder_type(encoder_name(modality, options)) for modality in modalities}
    wanted = {name for encoder in found if encoder is not None for name in encoder.takes(options)}
    return tuple(name for name in CONTEXT if name in wanted)


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
    joint = [name for group in (options.joint or {}).values() for name in group]
    for modality in modalities:
        together = [other for other in modalities if names[other.name] == names[modality.name]]
        encoder = encoder_type(names[modality.name]) or RasterEncoder
        group = together if modality.name in joint or encoder.accepts(together) else [modality]
        if group not in groups:
            groups.append(group)
    return {
        "+".join(each.name for each in group): build_encoder(names[group[0].name], group, pixels, options)
        for group in groups
    }


def build_encoder(
    name: str, modalities: Sequence[Modality], pixels: bool = False, options: EncoderOptions | None = None
) -> Encoder:
    """One encoder, untrained.

    Args:
        name: of `ENCODERS`, or for a raster a timm name; for an image series also the names of a temporal encoder and of one for
            rasters, with `:` between.
        modalities: one, or several that it accepts together.
        pixels: whether the maps are looked at, as in `Encoder`.
        options: of the encoders of the model.

    Raises:
        UsageError: if there is no such encoder, or it does not accept the modalities.
    """
    temporal, _, image = name.partition(":")
    if image and ImageSeriesEncoder.accepts(modalities) and temporal not in ENCODERS:
        if temporal not in TEMPORAL:
            what = f"unknown temporal encoder '{temporal}'"
            raise UsageError(what, where="fusion.encoders", fix=did_you_mean(temporal, TEMPORAL))
        encoder = build_encoder(image, [image_of(modalities[0])], pixels, options)
        if encoder.takes_gaps:
            what = f"the encoder '{image}' can't encode the dates of a series one by one"
            raise UsageError(what, where=f"fusion.encoders.{modalities[0].name}", fix="choose a timm name")
        return ImageSeriesEncoder(modalities, temporal, encoder, pixels)
    titles = " and ".join(f"'{modality.name}' ({modality.kind})" for modality in modalities)
    found = encoder_type(name)
    if found is not None:
        if found.accepts(modalities):
            encoder = found.make(modalities, pixels, options or EncoderOptions())
            encoder.name = name
            return encoder
        if found.knows():
            raise UsageError(f"the encoder '{name}' can't encode {titles}; it knows {found.knows()}", where="fusion")
        fitting = [other for other, each in ENCODERS.items() if each.accepts(modalities) and not each.knows()]
        if RasterEncoder.accepts(modalities):
            fix = "choose a timm name" + f", or {' or '.join(fitting)}" * bool(fitting)
        else:
            fix = did_you_mean(name, fitting)
        raise UsageError(f"the encoder '{name}' can't encode {titles}", where="fusion.encoders", fix=fix)
    if not RasterEncoder.accepts(modalities):
        fix = did_you_mean(name, ENCODERS)
        raise UsageError(f"no encoder '{name}' for {titles}", where="fusion.encoders", fix=fix)
    return RasterEncoder(name, modalities[0].width, pixels, modalities=modalities)

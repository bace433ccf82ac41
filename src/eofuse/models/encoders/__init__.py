"""Encoders: one modality in, `Features` out. `build_encoder` picks the one for a modality's kind."""

from eofuse.modalities import Kind, Modality
from eofuse.models.encoders.options import EncoderOptions
from eofuse.models.encoders.raster import DEFAULT_ENCODER, RasterEncoder, first_convolution, prepare_rasters
from eofuse.models.encoders.series import SERIES_ENCODERS, SeriesEncoder
from eofuse.models.encoders.vector import VectorEncoder

__all__ = [
    "DEFAULT_ENCODER",
    "Encoder",
    "EncoderOptions",
    "RasterEncoder",
    "SeriesEncoder",
    "VectorEncoder",
    "build_encoder",
    "first_convolution",
    "prepare_rasters",
]

Encoder = RasterEncoder | SeriesEncoder | VectorEncoder


def build_encoder(modality: Modality, options: EncoderOptions, pixels: bool = False) -> Encoder:
    """An encoder for the normalised values of a modality.

    Args:
        modality: what is encoded, as the normaliser gives it; a categorical raster comes as one-hot planes.
        options: which networks.
        pixels: whether the maps are looked at, as in `RasterEncoder`.

    Raises:
        UsageError: if timm has no network of that name.
    """
    if modality.kind is Kind.RASTER:
        return RasterEncoder(options.encoder, modality.width, pixels)
    if modality.kind is Kind.SERIES:
        return SERIES_ENCODERS[options.series](modality)
    return VectorEncoder(modality.width)

"""Encoders: one modality in, `Features` out. `build_encoder` picks the one for a modality's kind."""

from eofuse.modalities import Kind, Modality
from eofuse.models.encoders.raster import DEFAULT_ENCODER, RasterEncoder, first_convolution, prepare_rasters
from eofuse.models.encoders.vector import VectorEncoder

__all__ = [
    "DEFAULT_ENCODER",
    "Encoder",
    "RasterEncoder",
    "VectorEncoder",
    "build_encoder",
    "first_convolution",
    "prepare_rasters",
]

Encoder = RasterEncoder | VectorEncoder


def build_encoder(modality: Modality, raster_encoder: str, pixels: bool = False) -> Encoder:
    """An encoder for the normalised values of a modality.

    Args:
        modality: what is encoded; a categorical raster comes as one-hot planes.
        raster_encoder: timm name of the network for rasters.
        pixels: whether the maps are looked at, as in `RasterEncoder`.

    Raises:
        UsageError: if timm has no network of that name.
    """
    if modality.kind is Kind.RASTER:
        return RasterEncoder(raster_encoder, modality.width, pixels)
    return VectorEncoder(modality.width)

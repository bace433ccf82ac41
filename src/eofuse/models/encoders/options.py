"""`EncoderOptions`: which encoders a model has."""

from typing import Literal

from eofuse.config import Options
from eofuse.models.encoders.raster import DEFAULT_ENCODER


class EncoderOptions(Options):
    """Which encoders a model has.

    Attributes:
        encoder: timm name of the network for rasters.
        series: network for series: temporal `convolution`, or a small `transformer`.
        numbers: what encoders see of vectors and series: standardised values (`linear`), or these in pieces between quantiles of the
            training patches (`piecewise`, Gorishniy et al. 2022). Planes of early fusion are always linear.
    """

    encoder: str = DEFAULT_ENCODER
    series: Literal["convolution", "transformer"] = "convolution"
    numbers: Literal["linear", "piecewise"] = "linear"

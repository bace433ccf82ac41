"""`EncoderOptions`: which encoders a model has."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, SerializerFunctionWrapHandler, model_serializer

from eofuse.config import Options
from eofuse.models.encoders.base import ENCODERS
from eofuse.models.encoders.raster import DEFAULT_ENCODER


class EncoderOptions(Options):
    """Which encoders a model has.

    Attributes:
        encoder: of rasters: a name of `ENCODERS`, or a timm name.
        encoders: by modality, where some have another one; those of modalities that are no inputs have no effect.
        series: of series.
        numbers: what encoders see of vectors and series: standardised values (`linear`), or these in pieces between quantiles of the
            training patches (`piecewise`, Gorishniy et al. 2022). Planes of early fusion are always linear.
    """

    encoder: str = DEFAULT_ENCODER
    encoders: dict[str, str] | None = None
    series: Annotated[str, AfterValidator(ENCODERS.check)] = "convolution"
    numbers: Literal["linear", "piecewise"] = "linear"

    @property
    def encoder_words(self) -> str:
        """The encoders of rasters, for people."""
        return ", ".join([self.encoder, *(f"{name}: {encoder}" for name, encoder in (self.encoders or {}).items())])

    @model_serializer(mode="wrap")
    def _without_what_is_not_chosen(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Recipes without `encoders` have the identity that they had before there was this option."""
        values: dict[str, Any] = handler(self)
        return {name: value for name, value in values.items() if (name, value) != ("encoders", None)}

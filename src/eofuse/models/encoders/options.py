"""`EncoderOptions`: which encoders a model has."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from eofuse.config import Options
from eofuse.errors import UsageError
from eofuse.models.encoders.base import ENCODERS
from eofuse.models.encoders.raster import DEFAULT_ENCODER
from eofuse.models.temporal import TEMPORAL


class FoundationOptions(Options):
    """How pretrained models of several sensors are used as encoders.

    Attributes:
        patch: side of a token in pixels.
        pool: `mean` of all tokens, or one mean a group of channels (`groups`).
        month: 1 to 12, of patches without a date; hidden by default.
        place: whether they see longitude and latitude, by which they can recognise a site.
        units: of a modality (`s2`) or one of its channels (`s2.B04`), where the data name none or the wrong one.
        pixel_m: side of a pixel in metres; that of the data by default.
    """

    patch: int = Field(default=8, ge=1)
    pool: Literal["mean", "groups"] = "mean"
    month: int | None = Field(default=None, ge=1, le=12)
    place: bool = False
    units: dict[str, str] = Field(default_factory=dict)
    pixel_m: float | None = Field(default=None, gt=0)


class EncoderOptions(Options):
    """Which encoders a model has.

    Attributes:
        encoder: of rasters, and of each date of image series: a name of `ENCODERS`, or a timm name. Rasters with cells have `cells`.
        encoders: by modality, where some have another one; those of modalities that are no inputs have no effect.
        series: of series.
        temporal: of image series, over what `encoder` gives for each date: a name of `TEMPORAL`.
        numbers: what encoders see of vectors and series: standardised values (`linear`), or these in pieces between quantiles of the
            training patches (`piecewise`, Gorishniy et al. 2022). Planes of early fusion are always linear.
        joint: by encoder, modalities that it takes together: `{galileo:nano: [s2, s1]}`; those that are no inputs have no effect.
        foundation: how pretrained models of several sensors are used.
    """

    encoder: str = DEFAULT_ENCODER
    encoders: dict[str, str] | None = None
    series: Annotated[str, AfterValidator(ENCODERS.check)] = "convolution"
    temporal: Annotated[str, AfterValidator(TEMPORAL.check)] = "attention"
    numbers: Literal["linear", "piecewise"] = "linear"
    joint: dict[str, list[str]] | None = None
    foundation: FoundationOptions = FoundationOptions()

    @model_validator(mode="after")
    def _one_encoder_each(self) -> "EncoderOptions":
        twice = sorted({name for name in self.named if self.named.count(name) > 1})
        if twice:
            raise UsageError(f"'{twice[0]}' has two encoders", where="fusion.joint", fix="name it once")
        return self

    def encoder_of(self, modality: str) -> str | None:
        """The encoder that is named for a modality; None where it has that of its kind."""
        together = (name for name, group in (self.joint or {}).items() if modality in group)
        return (self.encoders or {}).get(modality) or next(together, None)

    @property
    def named(self) -> list[str]:
        """The modalities for which an encoder is named."""
        return [*(self.encoders or {}), *(name for group in (self.joint or {}).values() for name in group)]

    @property
    def encoder_words(self) -> str:
        """The encoders of rasters, for people."""
        joint = (f"{' + '.join(group)}: {encoder}" for encoder, group in (self.joint or {}).items())
        own = (f"{name}: {encoder}" for name, encoder in (self.encoders or {}).items())
        return ", ".join([self.encoder, *own, *joint])

    @model_serializer(mode="wrap")
    def _without_what_is_not_chosen(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Recipes without these options have the identity that they had before there were any."""
        values: dict[str, Any] = handler(self)
        foundation = FoundationOptions().model_dump()
        unchosen = {"encoders": None, "temporal": "attention", "joint": None, "foundation": foundation}
        return {name: value for name, value in values.items() if name not in unchosen or value != unchosen[name]}

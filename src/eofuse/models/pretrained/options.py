"""`WeightOptions`: what a recipe may say of weights that do not say it themselves."""

import math
from collections.abc import Sequence

from pydantic import model_validator

from eofuse.config import Options
from eofuse.errors import UsageError
from eofuse.modalities import Channel


class WeightOptions(Options):
    """What weights mean, in place of what their source says.

    Attributes:
        file: a local file of the weights of a timm or torchgeo name, in place of the download.
        bands: names of the channels of the first layer, in order.
        mean: of each band, by which the inputs were normalised, in physical units.
        std: deviation of each band.
        prefix: of the names of the tensors that are wanted, where a file holds several networks.
        non_commercial: whether the use is not commercial, so that weights whose licence wants it so can be taken.
    """

    file: str | None = None
    bands: list[str] | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    prefix: str | None = None
    non_commercial: bool = False

    @model_validator(mode="after")
    def _both_or_none(self) -> "WeightOptions":
        if (self.mean is None) != (self.std is None):
            raise ValueError("give mean and std, or neither")
        if not all(map(math.isfinite, [*(self.mean or []), *(self.std or [])])) or min(self.std or [1.0]) <= 0:
            raise ValueError("mean and std must be finite, and std above 0")
        return self

    def channels(self, known: Sequence[Channel] | None, title: str) -> list[Channel]:
        """The bands named here, or those that the source names.

        Raises:
            UsageError: if neither names any.
        """
        if self.bands is not None:
            return [Channel(name) for name in self.bands]
        if known is None:
            raise UsageError("does not say what its channels are", where=title, fix="name them in order as start.bands")
        return list(known)

    def normalisation(
        self, bands: Sequence[Channel], known: Sequence[tuple[float, float]] | None = None
    ) -> list[tuple[float, float]] | None:
        """Mean and deviation of each band: those given here, or those that the source names.

        Raises:
            UsageError: if they are not as many as the bands.
        """
        if self.mean is not None and self.std is not None:
            if not len(self.mean) == len(self.std) == len(bands):
                found = f"{len(self.mean)} means and {len(self.std)} deviations for {len(bands)} bands"
                raise UsageError(found, where="start.mean", fix="give one of each a band")
            return list(zip(self.mean, self.std, strict=True))
        others = self.bands is not None and known is not None and len(known) != len(bands)
        return None if known is None or others else list(known)

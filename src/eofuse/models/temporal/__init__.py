"""Temporal encoders: features of each date of an image series in, those of the whole series out. `TEMPORAL` names them."""

from eofuse.models.temporal.base import TEMPORAL, Dates, TemporalEncoder

__all__ = ["TEMPORAL", "Dates", "TemporalEncoder"]

"""Series of one patch, (steps, 1 + channels) with the time first: `require_series` checks one, `known_values` reads many."""

import numpy as np
import numpy.typing as npt

from eofuse.errors import DataError
from eofuse.modalities import Modality

Values = npt.NDArray[np.floating]


def require_series(modality: Modality, values: Values, where: str) -> None:
    """Raises a `DataError` unless a series is one.

    Args:
        modality: what it should be.
        values: (steps, 1 + channels): steps with rising times, then those that don't exist.
        where: which patch it is of, "" where that is said elsewhere.
    """
    where = f"{where}, {modality.name}" if where else modality.name
    expected = modality.shape((0, 0))
    if values.shape != expected:
        found = f"has the shape {values.shape} where {expected} is expected"
        raise DataError(found, where=where, fix="give each step its time, then a number a channel")
    exists = np.isfinite(values[:, 0])
    count = int(exists.sum())
    if not exists[:count].all():
        step = int(np.flatnonzero(~exists)[0]) + 1
        raise DataError(f"step {step} of {count + 1} has no time", where=where, fix="put steps without a time last")
    rise = np.diff(values[:count, 0])
    if (rise <= 0).any():
        step = int(np.flatnonzero(rise <= 0)[0]) + 2
        raise DataError(
            f"the time of step {step} is not after that of step {step - 1}", where=where, fix="sort by time"
        )


def known_values(values: Values) -> Values:
    """The channels of series, NaN in steps that don't exist: (patches, steps, channels) of (patches, steps, 1 + channels)."""
    found: Values = np.where(np.isfinite(values[..., :1]), values[..., 1:], np.nan).astype(np.float32)
    return found

"""When and where the patches of a store were seen, as models take it: `months_of`, `places_of`, and their pixels, `pixel_m_of`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.store.georeference import has_grid
from eofuse.modalities import MONTH, PLACE

TIMES = ("time_s2", "time", "time_s1")
"""Columns of an index with dates; the first that a patch has counts."""


def months_of(index: pd.DataFrame) -> npt.NDArray[np.int64]:
    """(patches,) months from 0, of the first date that the index names for a patch; −1 where it names none."""
    months = pd.Series(np.nan, index=index.index)
    for column in TIMES:
        if column in index:
            dates = pd.to_datetime(index[column], errors="coerce", utc=True, format="ISO8601")
            months = months.fillna(dates.dt.month.astype(float))
    return np.asarray(months.fillna(0), dtype=np.int64) - 1


def places_of(index: pd.DataFrame) -> npt.NDArray[np.float32]:
    """(patches, 2) longitude and latitude in degrees, NaN where they are not known."""
    return index[["lon", "lat"]].to_numpy(dtype=np.float32)


def pixel_m_of(index: pd.DataFrame) -> float | None:
    """Side of the rasters' pixels in metres, by their grids; None where these are in degrees or not known."""
    sides = index.loc[has_grid(index), "grid_a"].abs()
    return float(sides.median()) if len(sides) and float(sides.median()) > 0.5 else None


def context_of_patches(index: pd.DataFrame, names: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
    """What models take beside modalities, by its name in `eofuse.modalities.CONTEXT`, a row a patch."""
    known: dict[str, Callable[[pd.DataFrame], npt.NDArray[Any]]] = {MONTH: months_of, PLACE: places_of}
    return {name: known[name](index) for name in names}

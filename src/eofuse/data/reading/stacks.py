"""The dates that go with a file of images of several dates.

`bands_of_date` takes one date of such a file, `read_dates` reads a file of dates.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from eofuse.data.reading.rasters import RasterFile
from eofuse.data.reading.tables import to_times
from eofuse.errors import DataError
from eofuse.limits import TEXT


def bands_of_date(file: RasterFile, date: int, dates: int, where: str) -> RasterFile:
    """A stack as if it held one of its dates only.

    Raises:
        DataError: if its bands are no multiple of the dates.
    """
    channels, rest = divmod(len(file.bands), dates)
    if rest or not channels:
        found = f"has {len(file.bands)} bands, which can't be those of {dates} dates"
        raise DataError(found, where=where, fix="give as many dates as the file holds")
    return replace(file, bands=file.bands[date * channels : (date + 1) * channels])


def read_dates(path: Path, where: str) -> list[str]:
    """Dates in a JSON list, or a text file with one a line.

    Raises:
        DataError: if it can't be read.
    """
    try:
        TEXT.check(path.stat().st_size, "is", where)
        text = path.read_text(encoding="utf-8-sig")
        listed = json.loads(text) if path.suffix == ".json" else text.split()
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"can't be read: {error}", where=where, fix="write a date a line, or a JSON list") from None
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise DataError("is no list of dates", where=where, fix='write ["2024-04-03", "2024-05-11"]')
    return listed


def days_of(dates: list[str], where: str) -> list[float]:
    """Dates as days since 1970.

    Raises:
        DataError: if one is no date, or they do not rise.
    """
    times = to_times(pd.Series(dates, dtype="string"))
    if times.isna().any() or not len(times):
        wrong = dates[int(np.flatnonzero(times.isna())[0])] if len(times) else "nothing"
        raise DataError(f"'{wrong}' is no date", where=where, fix="write it as 2024-06-30")
    days = ((times - pd.Timestamp(1970, 1, 1, tz="UTC")) / pd.Timedelta(days=1)).to_numpy(dtype=np.float64)
    if (np.diff(days) <= 0).any():
        number = int(np.flatnonzero(np.diff(days) <= 0)[0])
        what = f"the dates do not rise: {dates[number + 1]} comes after {dates[number]}"
        raise DataError(what, where=where, fix="sort them, and the images with them")
    found: list[float] = days.tolist()
    return found

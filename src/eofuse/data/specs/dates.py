"""Dates in the paths of files: `{date}` in a pattern stands for one, `dates_of` finds all, and `choose_date` takes one by a rule."""

import glob
import os
import re
from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from itertools import takewhile
from pathlib import Path

from eofuse.errors import DataError

MARK = "{date}"
ALL = "all"
"""The rule of a series of images, which takes every date."""

RULES = ("first", "last", "nearest")
"""Rules besides a day: the earliest date, the latest, and the nearest to that of the reference."""

WRITTEN = r"\d{4}-?\d{2}-?\d{2}(?:[T_]?\d{6})?"
"""20230715, 2023-07-15 or 20230715T104031."""


def day_of(text: str) -> datetime | None:
    """The date that is written in a text; None if it is none."""
    digits = re.sub(r"\D", "", text)
    try:
        return datetime.strptime(digits, "%Y%m%d%H%M%S"[: 6 if len(digits) == 8 else None])
    except ValueError:
        return None


def day_within(text: str) -> datetime | None:
    """The first date within a text, such as the name of a file; None if it holds none."""
    found = (day_of(match) for match in re.findall(rf"(?<!\d){WRITTEN}(?!\d)", text))
    return next((day for day in found if day is not None), None)


def wildcard(pattern: str, *marks: str) -> str:
    """A pattern for `glob`, in which anything may stand for the marks."""
    for mark in marks:
        pattern = pattern.replace(mark, "\0")
    return re.sub(r"\*+", "*", "*".join(glob.escape(part) for part in pattern.split("\0")))


def dates_of(root: Path, patterns: Sequence[str]) -> dict[datetime, str]:
    """Every date for which all files are there, as it stands in their paths, the earliest first.

    Args:
        root: folder to which the patterns are relative.
        patterns: of all files of a scene or sample, with `{date}`.
    """
    first, *rest = (re.escape(part) for part in patterns[0].split(MARK))
    expression = re.compile(first + f"(?P<date>{WRITTEN})" + "(?P=date)".join(rest))
    dates: dict[datetime, str] = {}
    for path in _candidates(root, patterns[0]):
        match = expression.fullmatch(path)
        day = day_of(match["date"]) if match else None
        if match and day and all((root / each.replace(MARK, match["date"])).is_file() for each in patterns):
            dates.setdefault(day, match["date"])
    return dict(sorted(dates.items()))


def days_since_1970(day: datetime) -> float:
    """A date as the time of a step (see `eofuse.modalities`)."""
    return (day - datetime(1970, 1, 1)).total_seconds() / 86_400


def _candidates(root: Path, pattern: str) -> list[str]:
    """Paths that may be like a pattern, relative to a folder, in order; a folder of many files is listed once."""
    folder, _, name = pattern.rpartition("/")
    if MARK in folder:
        return sorted(path.relative_to(root).as_posix() for path in root.glob(wildcard(pattern, MARK)))
    try:
        changed = os.stat(root / folder).st_mtime_ns  # noqa: PTH116 (of a folder, once a pattern)
    except OSError:
        return []
    names, start = _listed(str(root / folder), changed), name.partition(MARK)[0]
    found = takewhile(lambda each: each.startswith(start), names[bisect_left(names, start) :])
    return [f"{folder}/{each}" if folder else each for each in found]


@lru_cache(maxsize=4)
def _listed(folder: str, changed: int) -> list[str]:
    """The sorted names in a folder that was changed last at a time."""
    return sorted(os.listdir(folder))  # noqa: PTH208 (names, of perhaps many files)


def choose_date(
    root: Path, patterns: Sequence[str], rule: str, reference: datetime | None, where: str
) -> tuple[str, datetime] | None:
    """The date of which a scene takes its files.

    Args:
        root: folder to which the patterns are relative.
        patterns: of all files of the scene, with `{date}`; a date for which one is missing does not count.
        rule: one of `RULES`, or a day to which the nearest date is taken; of two, the earlier.
        reference: date of the scene's reference.
        where: for messages.

    Returns:
        The date as it stands in the paths, and its meaning; None if there is no file of any date.

    Raises:
        DataError: if the rule needs the date of the reference, which is not known.
    """
    dates = dates_of(root, patterns)
    if not dates:
        return None
    chosen = nearest_date(list(dates), rule, reference, where)
    return dates[chosen], chosen


def nearest_date(dates: Sequence[datetime], rule: str, reference: datetime | None, where: str) -> datetime:
    """One of some dates, by a rule; see `choose_date`."""
    if rule in ("first", "last"):
        return min(dates) if rule == "first" else max(dates)
    wanted = reference if rule == "nearest" else day_of(rule)
    if wanted is None:
        what = "the nearest date is wanted, and the files of the reference name none"
        raise DataError(what, where=where, fix="name a day: date: 2023-07-15, or first or last")
    return min(dates, key=lambda day: (abs(day.date() - wanted.date()), abs(day - wanted), day))

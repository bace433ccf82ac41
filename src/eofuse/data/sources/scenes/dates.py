"""Which of several dates a scene takes of a modality: `{date}` in the path of its files, and a rule (`choose_date`)."""

import glob
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from eofuse.errors import DataError

MARK = "{date}"
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
    first, *rest = (re.escape(part) for part in patterns[0].split(MARK))
    expression = re.compile(first + f"(?P<date>{WRITTEN})" + "(?P=date)".join(rest))
    dates: dict[datetime, str] = {}
    for path in sorted(root.glob(wildcard(patterns[0], MARK))):
        match = expression.fullmatch(path.relative_to(root).as_posix())
        day = day_of(match["date"]) if match else None
        if match and day and all((root / each.replace(MARK, match["date"])).is_file() for each in patterns):
            dates.setdefault(day, match["date"])
    if not dates:
        return None
    if rule in ("first", "last"):
        chosen = min(dates) if rule == "first" else max(dates)
        return dates[chosen], chosen
    wanted = reference if rule == "nearest" else day_of(rule)
    if wanted is None:
        what = "the nearest date is wanted, and the files of the reference name none"
        raise DataError(what, where=where, fix="name a day: date: 2023-07-15, or first or last")
    chosen = min(dates, key=lambda day: (abs(day.date() - wanted.date()), abs(day - wanted), day))
    return dates[chosen], chosen

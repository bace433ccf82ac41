"""The errors that eofuse raises on purpose: what is wrong, where, and what to do.

`EofuseError` is their base; `UsageError` is a misuse (a wrong option, key or argument; exit code 2) and `DataError` is bad
data (a missing band, a damaged file; exit code 1). `did_you_mean` finds the nearest valid name.
"""

import difflib
from collections.abc import Iterable

MOST_NAMES = 15


class EofuseError(Exception):
    """An error with a message for people: what, where and what to do.

    Args:
        what: what is wrong, in a few words.
        where: the file, patch, band, column or key in which it was found.
        fix: what to do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: object = None, fix: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.fix = fix
        super().__init__(what, self.where, fix)

    def __reduce__(self) -> tuple[object, ...]:  # keyword-only arguments do not survive pickling by default
        return _rebuild, (type(self), self.what, self.where, self.fix)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f"; {self.fix}" if self.fix else ""
        return f"{place}{self.what}{advice}"


def _rebuild(kind: type[EofuseError], what: str, where: str | None, fix: str | None) -> EofuseError:
    return kind(what, where=where, fix=fix)


class UsageError(EofuseError):
    """The caller asked for something that does not exist or does not fit: exit code 2."""

    exit_code = 2


class DataError(EofuseError):
    """The data are not what they should be: exit code 1."""

    exit_code = 1


def did_you_mean(name: object, valid: Iterable[str]) -> str:
    """Gives `did you mean 'x'?` for the nearest valid name, else the list of valid ones."""
    names = sorted(valid)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    if not names:
        return "there are no valid names here"
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"valid: {', '.join(names[:MOST_NAMES])}{more}"

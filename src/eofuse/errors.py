"""The errors that eofuse raises on purpose: what is wrong, where, and what to do.

`EofuseError` is their base; `UsageError` is a misuse (a wrong option, key or argument; exit code 2) and `DataError` is bad
data (a missing band, a damaged file; exit code 1). `did_you_mean` finds the nearest valid name. `explain` puts what the system or
a library raised into such words.
"""

import difflib
import errno
import heapq
import os
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence

MOST_NAMES = 15
"""Valid names that a message lists."""

MOST_COMPARED = 5000
"""Names that are all compared with a wrong one letter by letter, at some 20 µs each."""

NEIGHBOURS = 100
"""Of more names, those on either side of the wrong one that are compared, among those that begin or end alike."""


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
    """Gives `did you mean 'x'?` for the nearest valid name, else the list of valid ones; of any number in well under a second."""
    names, text = [each for each in valid if str(each).strip()], str(name)
    near = difflib.get_close_matches(text, _likely(text, names), n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    if not names:
        return "there are no valid names here"
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"valid: {', '.join(heapq.nsmallest(MOST_NAMES, names))}{more}"


def _likely(name: str, names: Sequence[str]) -> list[str]:
    """The names that are compared letter by letter, sorted: all, or of very many those that begin or end like the name."""
    if len(names) <= MOST_COMPARED:
        return sorted(names)
    middle = (len(name) + 1) // 2
    begin = sorted(each for each in names if each.startswith(name[:middle]))
    end = sorted((each for each in names if each.endswith(name[middle:])), key=lambda each: each[::-1])
    near = _around(begin, bisect_left(begin, name))
    near |= _around(end, bisect_left(end, name[::-1], key=lambda each: each[::-1]))
    return sorted(near)


def _around(names: Sequence[str], place: int) -> set[str]:
    return set(names[max(0, place - NEIGHBOURS) : place + NEIGHBOURS])


_FIXES = {
    errno.ENOSPC: "free some space and run the same command again",
    errno.EDQUOT: "free some of your quota and run the same command again",
    errno.EACCES: "change its permissions, or name another path",
    errno.EPERM: "change its permissions, or name another path",
    errno.EROFS: "name a place that can be written",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.ENFILE: "close other programs: the system has too many open files",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path: a file stands where a folder should",
    errno.EISDIR: "check the path: a folder stands where a file should",
    errno.EEXIST: "move it away, or name another path",
    errno.EIO: "check the disk",
}


_FILES_OF = {
    "pyarrow": "a Parquet table",
    "rasterio": "a raster",
    "pyproj": "a coordinate reference system",
    "safetensors": "a file of weights",
    "safetensors_rust": "a file of weights",
    "shapely": "a geometry",
}
"""Library → what it reads, for its errors that nobody has put into words where they arise."""


def explain(error: BaseException) -> EofuseError:
    """What an error of the system or of a library means, as an `EofuseError`; one that nobody expected is called a defect."""
    if isinstance(error, EofuseError):
        return error
    words = str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in words:
        fix = "use smaller batches or patches, or fewer workers, or a machine with more memory"
        return DataError("the memory is not enough", fix=fix)
    library = _FILES_OF.get(type(error).__module__.partition(".")[0])
    if library is not None and not isinstance(error, OSError):
        fix = "find the file with `eofuse check`, and fetch or write it again"
        return DataError(f"{library} can't be read: {words or type(error).__name__}", fix=fix)
    if isinstance(error, OSError):
        written = re.search(r"\[errno (\d+)\]", words, re.IGNORECASE)  # some libraries keep the number in the text only
        number = error.errno or (int(written[1]) if written else None)
        places = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
        what = os.strerror(number) if number else words or type(error).__name__
        return DataError(what[:1].lower() + what[1:], where=" → ".join(places) or None, fix=_FIXES.get(number or 0))
    if isinstance(error, RecursionError):
        return DataError("something is nested too deeply", fix="flatten the file that is read")
    fix = "this is a defect of eofuse: please report it, with what EOFUSE_TRACEBACK=1 shows"
    return EofuseError(f"{type(error).__name__}: {words}" if words else type(error).__name__, fix=fix)

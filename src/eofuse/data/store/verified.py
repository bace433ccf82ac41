"""Remembers which files of a store were compared with their checksums, so that each is compared once: `verify_once`.

A file counts as compared as long as size, times and inode are those that it had then. What is remembered lies in the user's cache
(`$XDG_CACHE_HOME/eofuse/verified`, or `~/.cache`), so that a store which can't be written is remembered too, and a copy of a store
is compared anew.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from eofuse.data.problems import Problem
from eofuse.files import write_text

SKIP = "EOFUSE_VERIFY"
"""Variable of the environment that turns the comparison off by the value 0."""

YOUNG_NS = 2 * 10**9
"""A file that was changed so shortly ago may be changed again without another time, on systems that keep whole seconds."""

MUCH_BYTES = 5e9
"""Size from which it is said that files are compared."""

Stamp = tuple[int, int, int, int]
"""Size, times of the last change of content and of status in ns, and inode of a file."""

_logger = logging.getLogger(__name__)
_of_this_process: dict[Path, dict[str, Any]] = {}
"""What this process has compared, by store: it is enough where nothing can be written."""


def verify_once(
    folder: Path, files: Mapping[str, str], compare: Callable[[Mapping[str, str]], list[Problem]]
) -> list[Problem]:
    """Compares files with their checksums, but for those that were compared before and have not changed since.

    Args:
        folder: of the store.
        files: checksums by path in the folder.
        compare: gives what is wrong with some of them.
    """
    folder = folder.resolve()
    now = time.time_ns()
    before = {file: _stamp(folder / file) for file in files}
    known = _recall(folder)
    due = {file: checksum for file, checksum in files.items() if known.get(file) != _entry(checksum, before[file])}
    if not due:
        return []
    size = sum(stamp[0] for file in due if (stamp := before[file]))
    if size > MUCH_BYTES:
        _logger.warning("comparing %.0f GB of %s with their checksums, once (%s=0 skips it)", size / 1e9, folder, SKIP)
    problems = compare(due)
    wrong = {problem.where for problem in problems}
    for file, checksum in due.items():
        stamp = _stamp(folder / file)
        old = stamp is not None and max(stamp[1:3]) < now - YOUNG_NS
        if file not in wrong and old and stamp == before[file]:
            known[file] = _entry(checksum, stamp)
    _remember(folder, {file: known[file] for file in files if file in known})
    return problems


def skipped() -> bool:
    """Whether the user wants no comparison."""
    return os.environ.get(SKIP) == "0"


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _entry(checksum: str, stamp: Stamp | None) -> list[Any]:
    return [checksum, *(stamp or ())]


def _file(folder: Path) -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "eofuse", "verified", hashlib.sha256(os.fsencode(folder)).hexdigest()[:32] + ".json")


def _recall(folder: Path) -> dict[str, Any]:
    known = dict(_of_this_process.get(folder, {}))
    with suppress(OSError, ValueError, RuntimeError, TypeError, KeyError, RecursionError):
        known |= json.loads(_file(folder).read_text(encoding="utf-8"))["files"]
    return known


def _remember(folder: Path, known: dict[str, Any]) -> None:
    _of_this_process[folder] = known
    with suppress(OSError, RuntimeError):  # no home, or one that can't be written
        write_text(_file(folder), json.dumps({"store": str(folder), "files": known}))

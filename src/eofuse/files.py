"""Files that are never half-written and outlast a power cut, digests of them, and JSON that can't fill the memory."""

import ctypes
import hashlib
import json
import os
import platform
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from eofuse.errors import DataError
from eofuse.limits import JSON
from eofuse.words import is_control

LONGEST_NAME = 200
"""Bytes of a name of a file, which leaves room for endings and marks within the 255 that systems allow."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder that takes the place of `path` when the block ends without an error.

    The content is on the disk before the name is, and both are when the block has ended. The file gets the permissions that new
    files get, whatever wrote it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for abandoned in _abandoned_in(path.parent.resolve()).pop(path.name, ()):
        abandoned.unlink(missing_ok=True)
    temporary = temporary_of(path)
    try:
        with naming(path):
            temporary.touch()
            mode = temporary.stat().st_mode
            yield temporary
            temporary.chmod(mode)
            synchronise(temporary)
            temporary.replace(path)
            synchronise(path.parent)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An error of the system that names no file, such as that of a full disk, names this one."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def synchronise(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def exchange(first: Path, second: Path) -> bool:
    """Swaps the names of two folders in one step, so that neither is ever missing.

    Gives false, and does nothing, where the system can't (it takes the renameat2 of Linux).
    """
    if sys.platform != "linux":
        return False
    swap = getattr(ctypes.CDLL(None), "renameat2", None)
    here, in_exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of <fcntl.h> and <linux/fs.h>
    return swap is not None and swap(here, os.fsencode(first), here, os.fsencode(second), in_exchange) == 0


def file_name(name: str) -> str:
    """A name of any characters as the name of a file; long ones end in a digest."""
    quoted = quote(name, safe=" ")
    return shortened(quoted if quoted.strip(".") else quoted.replace(".", "%2E") or "%")


def shortened(name: str) -> str:
    """A name of ASCII letters that is no longer than `LONGEST_NAME`; a long one ends in a digest."""
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(unquote(name).encode()).hexdigest()[:16]
    return f"{name[: LONGEST_NAME - len(digest) - 1]}-{digest}"


def folder_name(name: str) -> str:
    """A name as that of a folder below another one: as it is, or as a file's where it would lead elsewhere or is too long."""
    is_plain = name.strip(".") and not any(is_control(letter) or letter in "/\\\n" for letter in name)
    return name if is_plain and len(name.encode()) <= LONGEST_NAME else file_name(name)


_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?:(?P<host>[0-9a-f]{8})-)?(?P<process>\d+)\.tmp", re.DOTALL)


def temporary_of(path: Path) -> Path:
    """The path at which this process writes what shall take the place of `path`."""
    return path.with_name(f".{path.name}.{_host()}-{os.getpid()}.tmp")


def remove_temporaries(folder: Path) -> None:
    """Removes what processes that were killed while they wrote left behind, in a folder that no other process writes, and below it."""
    for path in folder.rglob(".*.tmp"):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


@cache
def _abandoned_in(folder: Path) -> dict[str, list[Path]]:
    """By name of a file, what processes of this machine that are no more wrote beside it; listed once, for folders with many files."""
    found = defaultdict(list)
    for path in folder.glob(".*.tmp"):
        parts = _TEMPORARY.fullmatch(path.name)
        if parts and parts["host"] == _host() and not _is_running(int(parts["process"])):
            found[parts["name"]].append(path)
    return found


@cache
def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _is_running(process: int) -> bool:
    if os.name != "posix":
        return True  # there, to look is to kill
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing, or only what a process that was killed while it wrote left behind."""
    return all(_TEMPORARY.fullmatch(path.name) for path in folder.iterdir())


def write_text(path: Path, text: str) -> None:
    """Writes text so that the file is either the old one or the whole new one."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: str | os.PathLike[str]) -> Any:
    """The value in a JSON file.

    Raises:
        OSError: if it can't be read.
        ValueError: if it is no JSON in UTF-8, too deeply nested, or holds a whole number beyond 64 bits or half of a character.
        DataError: if it is larger than `eofuse.limits.JSON` allows.
    """
    return parse_json(JSON.read(Path(path)))


def read_object(path: str | os.PathLike[str], fix: str) -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        path: the file.
        fix: what to do if it can't be read.

    Raises:
        DataError: if it can't be read, holds something else, or is larger than `eofuse.limits.JSON` allows.
    """
    try:
        value = read_json(path)
    except OSError as error:
        raise DataError(f"can't be read: {error.strerror}", where=path, fix=fix) from error
    except ValueError as error:
        raise DataError(f"is not valid JSON: {error}", where=path, fix=fix) from error
    if not isinstance(value, dict):
        raise DataError("holds no JSON object", where=path, fix=fix)
    return value


def parse_json(text: str) -> Any:
    """The value of a JSON text; a `ValueError` says what is wrong with it, as in `read_json`."""
    try:
        value = json.loads(text, parse_int=_whole_number)
        if "\\ud" in text.lower():  # halves of characters are written so; they can't be encoded
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def _whole_number(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= int(text) < 2**64:
        raise ValueError(f"a whole number of {len(text.lstrip('-'))} digits is too large")
    return int(text)


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

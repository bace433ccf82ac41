"""Brings files from web addresses: whole, checked against their published checksums, and on from where a broken try stopped.

This is the standard library and not pooch, since pooch 1.9 always starts anew.
"""

import errno
import hashlib
import http.client
import re
import shutil
import urllib.error
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from eofuse.data.web import blocks, open_url, retrying
from eofuse.errors import DataError, UsageError
from eofuse.files import LONGEST_NAME
from eofuse.progress import Progress
from eofuse.words import is_control

PAUSES_SECONDS = (1.0, 5.0, 15.0)
"""Before the second, third and fourth try."""

PART = ".part"
"""Ending of a file that has not come whole."""

_RESUMES = "check the connection and run the same again: it resumes where it stopped"

_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
"""How many a checksum has, by its kind."""

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class RemoteFile:
    """A file as published.

    Attributes:
        key: its path within what is downloaded.
        size: bytes.
        checksum: `algorithm:hexadecimal digits`.
        url: its address.
    """

    key: str
    size: int
    checksum: str
    url: str


def remote_file(key: Any, size: Any, checksum: Any, url: Any, reserved: Sequence[str]) -> RemoteFile:
    """A file of a description from elsewhere.

    Args:
        key: its path; this and the following as in `RemoteFile`.
        size: bytes.
        checksum: algorithm and digits.
        url: its address.
        reserved: names that it can't have.

    Raises:
        ValueError: if one of them can't be trusted.
        UsageError: if the address is none of the web.
    """
    if not is_safe(key) or key.endswith(PART) or key.partition("/")[0] in reserved:
        raise ValueError(f"a file of the name {str(key)[:80]!r}")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ValueError(f"a file of the size {size!r}")
    algorithm, _, digits = checksum.partition(":")
    if len(digits) != _DIGITS.get(algorithm) or not re.fullmatch("[0-9a-f]*", digits):
        raise ValueError(f"a file of the checksum {checksum[:80]!r}")
    return RemoteFile(key, size, checksum, web_address(url))


def is_safe(key: Any) -> bool:
    """Whether a path from elsewhere stays in its folder, on every system."""
    if not isinstance(key, str) or not key or any(letter in "\\:\n" or is_control(letter) for letter in key):
        return False
    parts = PurePosixPath(key).parts
    return "/".join(parts) == key and not any(
        part in ("..", "/") or len(part.encode()) > LONGEST_NAME for part in parts
    )


def is_address(name: str) -> bool:
    """Whether a name is an address."""
    return "://" in name


def web_address(url: str) -> str:
    """The address itself; other kinds (`file:`, `ftp:`) are refused."""
    with suppress(ValueError):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname:
            return url
    raise UsageError("is not an address of the web", where=url, fix="give one that starts with https://")


def check_disk(files: Sequence[RemoteFile], archives: Sequence[RemoteFile], work: Path) -> None:
    """Room for what is still to come, and for the content of archives, which takes at least their size."""
    have = sum(_size(work / file.key) + _size(_part(work / file.key)) for file in files)
    need = max(0, sum(file.size for file in files) - have)
    need += sum(file.size for file in archives)
    free = shutil.disk_usage(work).free
    if need > free:
        what = f"needs at least {need / 1e9:.1f} GB of disk space, {free / 1e9:.1f} GB are free"
        raise DataError(what, where=work.parent, fix="make room or give a folder on another disk")


def fetch(file: RemoteFile, work: Path, progress: Progress | None) -> None:
    """Brings one file into the work folder, whole and checked."""
    target, part = work / file.key, _part(work / file.key)
    with writing_to(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_file() and _agrees(target, file):
        return
    insisting(lambda: _transfer(file, part, progress), file.url)
    if not _agrees(part, file):
        part.unlink()
        what = f"the checksum does not agree with the published one ({file.checksum}); the file was deleted"
        raise DataError(what, where=file.url, fix="run the same again: it starts this file anew")
    with writing_to(target):
        part.replace(target)


def _transfer(file: RemoteFile, part: Path, progress: Progress | None) -> None:
    """Appends to the partial file what it lacks; a `ConnectionError` if the connection ends early."""
    have = _size(part)
    if have > file.size:
        part.unlink()
        have = 0
    headers = {"Range": f"bytes={have}-"} if 0 < have < file.size else {}
    if have < file.size or not part.exists():
        try:
            opened = open_url(file.url, headers)
        except urllib.error.HTTPError as error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and headers:
                part.unlink()
                raise ConnectionError("the server does not have the rest of the file") from error
            raise
        with opened as response:
            if headers and not _continues(response, have, file.size):
                if response.status == http.client.PARTIAL_CONTENT:
                    part.unlink()  # so that the next try asks for the whole file
                    raise ConnectionError("the server sent another part of the file than was asked for")
                have = 0  # the server ignores ranges and sends the whole file
            have = _receive(response, file, part, have, progress)
    if have < file.size:
        raise ConnectionError(f"the connection ended after {have} of {file.size} bytes")


def _receive(
    response: http.client.HTTPResponse, file: RemoteFile, part: Path, have: int, progress: Progress | None
) -> int:
    """Writes a response behind the bytes that are there; gives the new size."""
    with writing_to(part):
        output = part.open("ab" if have else "wb")
    with output:
        for block in blocks(response):
            with writing_to(part):
                output.write(block)
            have += len(block)
            if have > file.size:
                output.truncate(0)
                what = "the server sent more bytes than the file has"
                raise DataError(what, where=file.url, fix="run the same again")
            if progress:
                progress(have, file.size, file.key)
    return have


def _continues(response: http.client.HTTPResponse, have: int, size: int) -> bool:
    """Whether a response is the rest of a file behind the bytes that are there."""
    given = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", ""))
    if response.status != http.client.PARTIAL_CONTENT or not given:
        return False
    return int(given[1]) == have and int(given[2]) < size and given[3] in ("*", str(size))


def insisting(action: Callable[[], _Result], url: str) -> _Result:
    """Does what the network may interrupt, several times if need be; see `eofuse.data.web.retrying`."""
    return retrying(action, url, PAUSES_SECONDS, "the download broke off", _RESUMES)


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turns a failure to write a path into a message."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError("the disk is full", where=path, fix="make room and run the same again") from None
        raise DataError(f"can't be written: {error}", where=path, fix="check the folder") from None


def _agrees(path: Path, file: RemoteFile) -> bool:
    algorithm, _, digest = file.checksum.partition(":")
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest() == digest


def _part(path: Path) -> Path:
    return path.with_name(path.name + PART)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0

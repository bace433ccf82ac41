"""Downloads published data sets: `download` fetches one by name, `is_downloaded` says whether it is there.

Sizes, checksums and addresses come from the record's page in the archive's programming interface at run time; only the
record numbers stand here (`RECORDS`). A broken download resumes where it stopped (HTTP ranges, which is why this is the
standard library and not pooch: pooch 1.9 always starts anew), every file is checked against its published checksum, and
archives are unpacked beside the destination, which appears whole or not at all.
"""

import bz2
import errno
import gzip
import hashlib
import http.client
import io
import json
import logging
import lzma
import os
import re
import shutil
import stat
import tarfile
import urllib.error
import urllib.parse
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar

from eofuse.data.web import BLOCK, blocks, open_url, read_json, retrying
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.files import LONGEST_NAME, parse_json, write_text
from eofuse.limits import ARCHIVE
from eofuse.locks import writing
from eofuse.progress import Progress
from eofuse.words import is_control

RECORDS = {"ben-ge-800": 12941231, "ben-ge-8k": 8121208}
"""Data set → record number in the archive (Zenodo)."""

MOST_PACKED = 100
"""Times that the content of an archive may be larger than the archive; `eofuse.limits.ARCHIVE` is always allowed."""

HEAD = 512
"""Bytes that every file of an archive counts besides its content."""

_MARKER = "download.json"  # in a finished folder: which files it came from
_UNPACKED = "unpacked"
_PAUSES_SECONDS = (1.0, 5.0, 15.0)  # before the second, third and fourth try
_ARCHIVES = (".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tar.xz", ".zip")
_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".tgz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_RESUMES = "check the connection and run the same again: it resumes where it stopped"

_CHECKSUMS = ("md5", "sha1", "sha256", "sha512")
_DAMAGES = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError)
"""What libraries raise for damaged archives; a `RuntimeError` is an encrypted one."""

_logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class _File:
    """A file of a record, as published."""

    key: str
    size: int
    checksum: str  # algorithm:hexadecimal digits
    url: str


def is_downloaded(name: str, to: str | Path) -> bool:
    """Whether `download(name, to)` has finished before.

    Raises:
        UsageError: if no data set has this name.
    """
    _record_of(name)
    return (Path(to) / name / _MARKER).is_file()


def download(name: str, to: str | Path, base_url: str = "https://zenodo.org", progress: Progress | None = None) -> Path:
    """Downloads a data set, checks it and unpacks it.

    Done work is not repeated: a data set that is there is returned at once (and the log says so), and whole or partial
    files of an earlier try, which stay in `<to>/<name>.download`, are used.

    Args:
        name: one of `RECORDS`.
        to: the folder in which the folder `name` will stand; made if missing.
        base_url: the archive's address, for mirrors.
        progress: called while files arrive.

    Returns:
        The folder of the data set, `<to>/<name>`.

    Raises:
        UsageError: if no data set has this name, the address is no web address, or another folder is in the way.
        DataError: if the network fails, a checksum does not agree, an archive is damaged or would write outside its
            folder, or the disk is too small.
    """
    record = _record_of(name)
    with _writing(Path(to)), writing(Path(to) / name):
        return _download(name, record, Path(to), base_url, progress)


def _download(name: str, record: int, to: Path, base_url: str, progress: Progress | None) -> Path:
    folder, work = to / name, to / f"{name}.download"
    if is_downloaded(name, to):
        _logger.info("%s is already there: %s", name, folder)
        shutil.rmtree(work, ignore_errors=True)
        return folder
    with _writing(folder):
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            fix = "use it as it is, move it, or give another folder"
            raise UsageError("is in the way: it was not downloaded by this command", where=folder, fix=fix)
        work.mkdir(parents=True, exist_ok=True)
    files = _published_files(f"{_web_address(base_url).rstrip('/')}/api/records/{record}")
    _check_disk(files, work)
    for file in files:
        _fetch(file, work, progress)
    unpacked = _unpack_all(files, work)
    with _writing(folder):
        provenance = {"name": name, "record": record, "files": [asdict(file) for file in files]}
        write_text(unpacked / _MARKER, json.dumps(provenance, indent=1) + "\n")
        if folder.exists():
            folder.rmdir()
        unpacked.rename(folder)
    shutil.rmtree(work, ignore_errors=True)
    _logger.info("%s is complete: %s", name, folder)
    return folder


def _record_of(name: str) -> int:
    if name not in RECORDS:
        raise UsageError(f"no data set is called '{name}'", fix=did_you_mean(name, RECORDS))
    return RECORDS[name]


def _web_address(url: str) -> str:
    """The address itself; other kinds (`file:`, `ftp:`) are refused."""
    with suppress(ValueError):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname:
            return url
    raise UsageError("is not an address of the web", where=url, fix="give one that starts with https://")


def _published_files(url: str) -> list[_File]:
    """What the record says of its files."""
    content = _retrying(lambda: read_json(url, "the record's description has more than"), url)
    try:
        files = [_published_file(entry) for entry in parse_json(content.decode())["files"]]
        twice = [key for key, count in Counter(file.key for file in files).items() if count > 1]
        if twice:
            raise ValueError(f"two files of the name {twice[0]!r}")
    except (ValueError, LookupError, TypeError, AttributeError, UsageError) as error:
        what = f"the record's description is not understood ({error})"
        raise DataError(what, where=url, fix="check the address") from None
    if not files:
        raise DataError("the record has no files", where=url)
    return files


def _published_file(entry: Any) -> _File:
    key, size, checksum, links = entry["key"], entry["size"], entry["checksum"], entry["links"]
    algorithm = checksum.partition(":")[0]
    is_name = isinstance(key, str) and key not in ("", "..", _MARKER, _UNPACKED) and PurePosixPath(key).name == key
    if not is_name or any(letter in "\\\n" or is_control(letter) for letter in key) or len(key.encode()) > LONGEST_NAME:
        raise ValueError(f"a file of the name {str(key)[:80]!r}")
    if not isinstance(size, int) or size < 0:
        raise ValueError(f"a file of the size {size!r}")
    if algorithm not in _CHECKSUMS:
        raise ValueError(f"a checksum of the kind {algorithm!r}")
    return _File(key, size, checksum, _web_address(links.get("self") or links["content"]))


def _check_disk(files: list[_File], work: Path) -> None:
    """Room for what is still to come, and for the archives' content, which takes at least their size."""
    have = sum(_size(work / file.key) + _size(_part(work / file.key)) for file in files)
    need = max(0, sum(file.size for file in files) - have)
    need += sum(file.size for file in files if file.key.endswith(_ARCHIVES))
    free = shutil.disk_usage(work).free
    if need > free:
        what = f"needs at least {need / 1e9:.1f} GB of disk space, {free / 1e9:.1f} GB are free"
        raise DataError(what, where=work.parent, fix="make room or give a folder on another disk")


def _fetch(file: _File, work: Path, progress: Progress | None) -> None:
    """Brings one file into the work folder, whole and checked."""
    target, part = work / file.key, _part(work / file.key)
    if target.is_file() and _agrees(target, file):
        return
    _retrying(lambda: _transfer(file, part, progress), file.url)
    if not _agrees(part, file):
        part.unlink()
        what = f"the checksum does not agree with the published one ({file.checksum}); the file was deleted"
        raise DataError(what, where=file.url, fix="run the same again: it starts this file anew")
    with _writing(target):
        part.replace(target)


def _transfer(file: _File, part: Path, progress: Progress | None) -> None:
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


def _receive(response: http.client.HTTPResponse, file: _File, part: Path, have: int, progress: Progress | None) -> int:
    """Writes a response behind the bytes that are there; gives the new size."""
    with _writing(part):
        output = part.open("ab" if have else "wb")
    with output:
        for block in blocks(response):
            with _writing(part):
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


def _retrying(action: Callable[[], _Result], url: str) -> _Result:
    return retrying(action, url, _PAUSES_SECONDS, "the download broke off", _RESUMES)


def _unpack_all(files: list[_File], work: Path) -> Path:
    """Unpacks a record's archives and puts its other files beside their content; gives the folder, or a single one in it."""
    unpacked = work / _UNPACKED
    with _writing(unpacked):
        shutil.rmtree(unpacked, ignore_errors=True)
        unpacked.mkdir()
        for file in files:
            if file.key.endswith(_ARCHIVES):
                _unpack(work / file.key, unpacked)
        visible = [path for path in unpacked.iterdir() if not path.name.startswith((".", "__MACOSX"))]
        root = visible[0] if len(visible) == 1 and visible[0].is_dir() else unpacked
        for file in files:
            if not file.key.endswith(_ARCHIVES):
                shutil.copyfile(work / file.key, root / file.key)
    return root


def _unpack(archive: Path, to: Path) -> None:
    """Unpacks files and folders; links, devices, places outside the folder and damage are a `DataError`."""
    size, packed = 0, archive.stat().st_size
    try:
        for name, content, length in _members(archive):
            size += length + HEAD
            if size > MOST_PACKED * packed:
                ARCHIVE.check(size, f"packs {MOST_PACKED} times or more and unpacks to", archive)
            member = PurePosixPath(name)
            if member.is_absolute() or ".." in member.parts or re.search(r"[\\\0]|^[A-Za-z]:", name):
                raise DataError(f"'{name}' lies outside the archive's folder", where=archive, fix="do not trust it")
            path = to.joinpath(*member.parts)
            if content is None:
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as output:
                shutil.copyfileobj(content, output, BLOCK)
    except _DAMAGES as error:
        raise DataError(f"the archive is damaged: {error}", where=archive, fix="delete it and run again") from None


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None, int]]:
    """Name, opened content and size of each file; name, None and 0 of each folder; links and devices are refused."""
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as zipped:
            for entry in zipped.infolist():
                if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise _not_a_file(entry.filename, archive)
                if entry.is_dir():
                    yield entry.filename, None, 0
                else:
                    with zipped.open(entry) as content:
                        yield entry.filename, content, entry.file_size
        return
    with _Unzipped(archive) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            if not (member.isfile() or member.isdir()):
                raise _not_a_file(member.name, archive)
            yield member.name, tar.extractfile(member), member.size


class _Unzipped(io.RawIOBase):
    """The content of a compressed file, read in pieces: a head of any size, which tarfile would take as a whole, is an error."""

    def __init__(self, path: Path) -> None:
        opener = next((each for ending, each in _OPENERS.items() if path.name.endswith(ending)), Path.open)
        self._file: IO[bytes] = opener(path, "rb")

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= BLOCK:
            raise tarfile.ReadError("a head is too large")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()


def _not_a_file(name: str, archive: Path) -> DataError:
    return DataError(f"'{name}' is neither a file nor a folder (a link?)", where=archive, fix="do not trust it")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns a failure to write into a message."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError("the disk is full", where=path, fix="make room and run the same again") from None
        raise DataError(f"can't be written: {error}", where=path, fix="check the folder") from None


def _agrees(path: Path, file: _File) -> bool:
    algorithm, _, digest = file.checksum.partition(":")
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest() == digest


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0

"""Unpacks downloaded archives without leaving their folder."""

import bz2
import gzip
import io
import lzma
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

from eofuse.data.download.transfer import RemoteFile, writing_to
from eofuse.data.web import BLOCK
from eofuse.errors import DataError
from eofuse.limits import ARCHIVE

ARCHIVES = (".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tar.xz", ".zip")
"""Endings of what is unpacked."""

UNPACKED = "unpacked"
"""The folder into which it is unpacked, beside the archives."""

MOST_PACKED = 100
"""Times that the content of an archive may be larger than the archive; `eofuse.limits.ARCHIVE` is always allowed."""

HEAD = 512
"""Bytes that every file of an archive counts besides its content."""

_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".tgz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_DAMAGES = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError)
"""What libraries raise for damaged archives; a `RuntimeError` is an encrypted one."""


def unpack_all(files: Sequence[RemoteFile], work: Path) -> Path:
    """Unpacks a record's archives and puts its other files beside their content; gives the folder, or a single one in it."""
    unpacked = work / UNPACKED
    with writing_to(unpacked):
        shutil.rmtree(unpacked, ignore_errors=True)
        unpacked.mkdir()
        for file in files:
            if file.key.endswith(ARCHIVES):
                _unpack(work / file.key, unpacked)
        visible = [path for path in unpacked.iterdir() if not path.name.startswith((".", "__MACOSX"))]
        root = visible[0] if len(visible) == 1 and visible[0].is_dir() else unpacked
        for file in files:
            if not file.key.endswith(ARCHIVES):
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

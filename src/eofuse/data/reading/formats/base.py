"""The registry of file formats: by the ending of a file's name, who looks at it and who opens it.

A format is one file in this package, or a module of another package that is named in the group `eofuse.formats`. Images that GDAL
reads are one (`images.py`); formats of arrays derive from `eofuse.data.reading.arrays.ArrayFormat`.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from eofuse.data.reading.addresses import is_virtual
from eofuse.data.reading.rasters import Part, RasterFile
from eofuse.errors import DataError
from eofuse.registry import Registry


class Image(Protocol):
    """An open file, of which windows can be read."""

    width: int
    height: int

    def read(self, bands: Sequence[int], window: Window) -> npt.NDArray[np.generic]:
        """Values as the file holds them, (bands, height, width) of a window within it; bands are numbered from 1."""


class FileFormat(ABC):
    """A format of files.

    Attributes:
        title: what such a file is, as "a NumPy array".
        suffixes: endings of the names of its files, in small letters.
        is_folder: whether a file of it is a folder.
        holds_arrays: whether a file may hold several arrays, or the values of many samples, of which a `Part` is wanted.
        is_table: whether a file is first of all a table, in whose cells the images are.
        tells_dates: whether a file may say of which dates its images are.
    """

    title: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    is_folder: ClassVar[bool] = False
    holds_arrays: ClassVar[bool] = False
    tells_dates: ClassVar[bool] = False
    is_table: ClassVar[bool] = False

    @abstractmethod
    def inspect(self, path: str, part: Part | None, where: str) -> RasterFile:
        """What a file says of the pixels that are wanted of it.

        Raises:
            DataError: if it is missing, can't be read or holds no pixels.
        """

    @abstractmethod
    def open(self, path: str, part: Part | None, where: str) -> Any:
        """An open file, a context manager: an `Image`, or what rasterio opens.

        Raises:
            DataError: if it is missing or can't be read.
        """


FILE_FORMATS: Registry[type[FileFormat]] = Registry("file format", "eofuse.formats", "eofuse.data.reading.formats")
"""Every format of files by its name."""


def format_of(path: str) -> FileFormat:
    """The format of a file by the ending of its name; that of images if no other has it."""
    name = path.lower().rstrip("/")
    found = (kind for kind in FILE_FORMATS.values() if name.endswith(kind.suffixes))
    return next(found, FILE_FORMATS["images"])()


def endings(*, arrays: bool | None = None, dated: bool | None = None) -> tuple[str, ...]:
    """Endings of all files but tables; if wanted, of formats that hold arrays or tell dates, or of those that don't."""
    kinds = [kind for kind in FILE_FORMATS.values() if not kind.is_table]
    kinds = [kind for kind in kinds if arrays is None or kind.holds_arrays is arrays]
    kinds = [kind for kind in kinds if dated is None or kind.tells_dates is dated]
    return tuple(suffix for kind in kinds for suffix in kind.suffixes)


def inspect_file(path: str, where: str, part: Part | None = None) -> RasterFile:
    """What a file of any format says of its pixels; see `FileFormat.inspect`."""
    return format_of(path).inspect(path, part, where)


def open_file(path: str, part: Part | None, where: str) -> Any:
    """A file of any format, open; see `FileFormat.open`."""
    return format_of(path).open(path, part, where)


def is_there(path: str) -> bool:
    """Whether there is a file, or a folder where the format is one; of addresses it is taken for granted."""
    return is_virtual(path) or os.path.isfile(path) or (format_of(path).is_folder and os.path.isdir(path))  # noqa: PTH112, PTH113 (speed)


def file_states(paths: Iterable[str]) -> dict[str, str]:
    """`file_state` of each path, in order; of an empty one, nothing."""
    return {path: file_state(path) for path in dict.fromkeys(paths) if path}


def file_state(path: str) -> str:
    """Size and time of the last change of a file; of a folder, of all files in it; of one at an address nothing.

    Raises:
        OSError: if it is not there.
    """
    if is_virtual(path):
        return "at an address"
    state = os.stat(path)  # noqa: PTH116 (a str, for speed)
    size, changed = state.st_size, state.st_mtime_ns
    if os.path.isdir(path):  # noqa: PTH112
        for parent, folders, names in os.walk(path):
            folders.sort()
            for name in names:
                state = os.stat(os.path.join(parent, name))  # noqa: PTH116, PTH118
                size, changed = size + state.st_size, max(changed, state.st_mtime_ns)
    return f"{size} {changed}"


def require(module: str, extra: str, where: str) -> Any:
    """A module that comes with an extra of eofuse.

    Raises:
        DataError: if it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        what = f"can't be read without {module.partition('.')[0]}, which is not installed"
        raise DataError(what, where=where, fix=f"pip install 'eofuse[{extra}]'") from None

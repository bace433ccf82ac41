"""NumPy arrays: `.npy`, which are mapped into memory, and `.npz`. Nothing is unpickled."""

import math
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from eofuse.data.reading.array_files import Array, ArrayFile, Variable
from eofuse.data.reading.arrays import ArrayFormat
from eofuse.data.reading.formats.base import FILE_FORMATS
from eofuse.limits import TABLE

ENDING = ".npy"


@FILE_FORMATS.register("numpy")
class NumpyArrays(ArrayFormat):
    """An `.npy` file with one array, or an `.npz` file with several by name."""

    title = "a NumPy array"
    suffixes = (ENDING, ".npz")

    def open_arrays(self, path: str, where: str) -> ArrayFile:
        """The array mapped into memory, or the archive."""
        with _of_python_2():
            return NumpyFile(path) if path.lower().endswith(ENDING) else NumpyArchive(path, where)


class NumpyFile(ArrayFile):
    """One array, which has no name."""

    def __init__(self, path: str) -> None:
        with Path(path).open("rb") as file:
            variable = _header(file, "")
        self.variables = {"": variable}
        self._array: Array = (
            np.empty(0) if not variable.is_numeric else np.load(path, mmap_mode="r", allow_pickle=False)
        )

    def read(self, name: str, index: tuple[int | slice, ...]) -> Array:
        """Values of the array."""
        return np.asarray(self._array[index])


class NumpyArchive(ArrayFile):
    """Arrays by name; one that is read stays in memory."""

    def __init__(self, path: str, where: str) -> None:
        self._path, self._where = path, where
        self.variables = {}
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(ENDING):
                    with archive.open(name) as file:
                        self.variables[name.removesuffix(ENDING)] = _header(file, name.removesuffix(ENDING))
        self._read: dict[str, Array] = {}

    def read(self, name: str, index: tuple[int | slice, ...]) -> Array:
        """Values of an array."""
        if name not in self._read:
            variable = self.variables[name]
            size = math.prod(variable.shape) * np.dtype(variable.dtype).itemsize
            TABLE.check(size, f"has the array {name}, which unpacks to", self._where)
            with _of_python_2(), np.load(self._path, allow_pickle=False) as archive:
                self._read = {name: archive[name]}
        return self._read[name][index]


@contextmanager
def _of_python_2() -> Iterator[None]:
    """Silences NumPy about files that Python 2 wrote: they are read like all others."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Reading `.npy` or `.npz` file required additional header parsing", UserWarning
        )
        yield


def _header(file: Any, name: str) -> Variable:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    kind = "object" if dtype.hasobject else str(dtype) if dtype.kind in "fiubc" else "text"
    return Variable(name, shape, kind, ("",) * len(shape))

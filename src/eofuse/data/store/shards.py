"""Files of arrays that are being written: their heads, what is put behind or cut off, and what a store that grows lends.

Whole shards of a store that grows serve the one that takes its place as hard links. A file of several names is never written: `own`
gives it a copy first.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eofuse.data.store.integrity import HEADER_BYTES
from eofuse.files import replacing


def lend(path: Path, to: Path, size: int) -> None:
    """Makes a file that begins as another: that very file where it is as long, a copy of its first bytes where it is longer.

    Args:
        path: the file that lends.
        to: the file to be made.
        size: its bytes.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    if path.stat().st_size == size:
        with suppress(OSError):  # on systems without hard links, and across disks
            os.link(path, to)
            return
    shutil.copyfile(path, to)
    os.truncate(to, size)


def own(path: Path) -> None:
    """Gives a path a file of its own, if other paths name the same one."""
    if path.stat().st_nlink > 1:
        with replacing(path) as temporary:
            shutil.copyfile(path, temporary)


def head_of(path: Path) -> bytes:
    """The head of an array, as its file has it."""
    with path.open("rb") as file:
        return file.read(HEADER_BYTES)


def cut_off(path: Path, size: int) -> None:
    """Cuts off what lies behind so many bytes."""
    if path.stat().st_size > size:
        own(path)
        os.truncate(path, size)


def extend(path: Path, rows: int, values: npt.NDArray[Any]) -> None:
    """Appends values to an array of so many rows; room for its head is left at its beginning."""
    if path.exists():
        own(path)
    with path.open("ab") as file:
        if rows == 0:
            file.write(bytes(HEADER_BYTES))
        file.write(np.ascontiguousarray(values).data)

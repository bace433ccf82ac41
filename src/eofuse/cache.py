"""What processes remember for one another in the user's cache (`$XDG_CACHE_HOME/eofuse`, or `~/.cache/eofuse`): arrays of a store.

What can't be written is not remembered, and what can't be read is computed again.
"""

import os
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eofuse.files import replacing

Array = npt.NDArray[Any]


def cache_folder() -> Path:
    """The folder; it need not be there."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "eofuse")


def remember(path: Path, *arrays: Array) -> None:
    """Keeps arrays."""
    with suppress(OSError, RuntimeError), replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, *arrays)


def recall(path: Path, length: int) -> tuple[Array, ...] | None:
    """Arrays that were kept, if they are whole and have so many rows; else None."""
    with suppress(OSError, ValueError, RuntimeError, zipfile.BadZipFile, KeyError, EOFError):
        with np.load(path, allow_pickle=False) as kept:
            arrays = tuple(kept[name] for name in kept.files)
        if arrays and all(len(array) == length for array in arrays):
            return arrays
    return None

"""Whether a store is what was written: sizes of arrays, checksums of files, digests of patches.

`verify` says what is damaged, `wrong_arrays` looks at sizes alone, `require_undamaged` at what was read of a patch.

A store keeps three sorts of digests. `store.json` holds the SHA-256 of every file, and a digest of its own values. The array
`patch_digests.npy` holds the digest of each patch of each raster and series, taken when the patch was read at its source; it
names the damaged patches of a damaged file.

`verify_once` remembers which files were compared with their checksums, so that each is compared once: a file counts as
compared as long as size, times and inode are those that it had then. What is remembered lies in the user's cache
(`$XDG_CACHE_HOME/eofuse/verified`, or `~/.cache`), so that a store which can't be written is remembered too, and a copy
of a store is compared anew.
"""

import hashlib
import io
import json
import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy_format

from eofuse.cache import cache_folder
from eofuse.data.problems import Problem
from eofuse.errors import DataError
from eofuse.files import sha256, write_text
from eofuse.processes import usable_cores
from eofuse.progress import Progress
from eofuse.words import counted, listed

if TYPE_CHECKING:
    from eofuse.data.store import Store

HEADER_BYTES = 128
"""Bytes of the head of every array that is written."""

PATCH_DIGESTS_FILE = "patch_digests.npy"

DIGEST_BYTES = 16
"""Bytes of a patch's digest: the first of the SHA-256 of its values as they are stored."""

BLOCK_BYTES = 4 * 1024**2
"""Bytes of an array that are compared at a time."""

FEW = 5
"""Damaged patches that a message names."""

FIX = "pack it again with --overwrite, or restore the file from a copy"

Digests = npt.NDArray[np.uint8]
"""(patches, modalities, `DIGEST_BYTES`), or without the axis of modalities."""

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

Item = TypeVar("Item")
Result = TypeVar("Result")


def patch_digest(values: npt.NDArray[np.generic]) -> Digests:
    """The digest of a patch's values in one modality, (`DIGEST_BYTES`,)."""
    return np.frombuffer(_short(np.ascontiguousarray(values).data), dtype=np.uint8)


def _short(content: Any) -> bytes:
    return hashlib.sha256(content).digest()[:DIGEST_BYTES]


def array_header(shape: tuple[int, ...], dtype: str) -> bytes:
    """The head of an `.npy` file of `HEADER_BYTES`."""
    head = io.BytesIO()
    npy_format.write_array_header_1_0(
        head, {"descr": npy_format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    )
    if head.tell() != HEADER_BYTES:
        raise AssertionError(f"npy header of {head.tell()} bytes")
    return head.getvalue()


def wrong_array(path: Path, shape: tuple[int, ...], dtype: str) -> str:
    """What keeps a file from being an array of this shape, judged by its head and its size; empty if nothing does.

    Only such a file can be mapped into memory: a map that reaches beyond the end of its file ends the process.
    """
    try:
        if not path.is_file():
            return "is missing"
        with path.open("rb") as file, warnings.catch_warnings(action="error"):  # numpy warns of heads that it mends
            version = npy_format.read_magic(file)
            read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
            found_shape, fortran, found_dtype = read(file)
            size, start = path.stat().st_size, file.tell()
    except OSError as error:
        return f"can't be read: {error.strerror or error}"
    except Exception:  # numpy parses the head as Python's literals, which fail in many ways
        return "is damaged: its head is no head of an array"
    expected = np.dtype(dtype)
    if fortran or (found_shape, found_dtype) != (shape, expected):
        return f"is damaged: its head says {found_dtype} {found_shape} instead of {expected} {shape}"
    missing = start + math.prod(shape) * expected.itemsize - size
    if missing:
        return f"is damaged: {abs(missing):,} bytes are {'missing' if missing > 0 else 'too many'}"
    return ""


def damaged_rows(path: Path, digests: Digests, row_bytes: int | Sequence[int], whole: Any = None) -> list[int]:
    """Rows of an array's file whose bytes are not those of their digests, read in one pass.

    Args:
        path: the file.
        digests: of its rows, (rows, `DIGEST_BYTES`).
        row_bytes: bytes of a row, or of each.
        whole: a hash that is updated with all bytes behind the head.
    """
    found = []
    with path.open("rb") as file:
        file.seek(HEADER_BYTES)
        if not isinstance(row_bytes, int):
            for row, (digest, size) in enumerate(zip(digests, row_bytes, strict=True)):
                content = file.read(size)
                if whole is not None:
                    whole.update(content)
                if _short(content) != digest.tobytes():
                    found.append(row)
            return found
        at_once = max(1, BLOCK_BYTES // row_bytes)
        for start in range(0, len(digests), at_once):
            expected = digests[start : start + at_once]
            block = memoryview(file.read(len(expected) * row_bytes))
            if whole is not None:
                whole.update(block)
            for row, digest in enumerate(expected):
                if _short(block[row * row_bytes : (row + 1) * row_bytes]) != digest.tobytes():
                    found.append(start + row)
    return found


def _difference(path: Path, expected: str) -> str:
    try:
        if not path.is_file():
            return "is missing"
        return "" if sha256(path) == expected else "has changed since it was written: its checksum differs"
    except OSError as error:
        return f"can't be read: {error.strerror or error}"


def side_by_side(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results in order, from one thread a core: for work that waits for the disk or for a hash."""
    pool = ThreadPoolExecutor(usable_cores())
    try:
        yield from pool.map(function, items)
    finally:
        pool.shutdown(cancel_futures=True)


def verify(store: "Store", files: Mapping[str, str], progress: Progress | None = None) -> list[Problem]:
    """An error for each of some files of a store that is missing or has changed, if only by a bit; damaged patches are named.

    Several files are read at a time.

    Args:
        store: opened by `eofuse.data.store.open_to_check`.
        files: their checksums.
        progress: called with (files done, files in all).
    """
    problems = wrong_arrays(store)
    damaged = {problem.where for problem in problems}
    rest = [file for file in files if file not in damaged]
    compared = []
    results = side_by_side(lambda file: _difference(store.path / file, files[file]), rest)
    for number, (file, what) in enumerate(zip(rest, results, strict=True), 1):
        if what:
            compared.append(Problem("error", what, file, fix=FIX))
        if progress:
            progress(number, len(rest))
    if PATCH_DIGESTS_FILE not in {*damaged, *(problem.where for problem in compared)}:
        compared = [_with_patches(store, problem) for problem in compared]
    return [*problems, *compared]


def wrong_arrays(store: "Store") -> list[Problem]:
    """An error for each array of a store that has not the shape or size that it should have; nothing is read but heads."""
    expected = {file: (shape, m.dtype) for m in store.arrays for file, shape in store.shards(m).items()}
    if PATCH_DIGESTS_FILE in store.files:
        expected[PATCH_DIGESTS_FILE] = (len(store), len(store.arrays), DIGEST_BYTES), "uint8"
    problems = []
    for file, (shape, dtype) in expected.items():
        what = wrong_array(store.path / file, shape, dtype)
        if not what and file not in store.files:
            what = "has no checksum in store.json"
        if what:
            problems.append(Problem("error", what, file, fix=FIX))
    return problems


def require_undamaged(store: "Store", row: int, values: Mapping[str, np.ndarray]) -> None:
    """Compares what was read of a patch with the digests that it had at its source.

    Args:
        store: that was read.
        row: of the patch.
        values: whole, by modality, as `Store.read` gives them.

    Raises:
        DataError: if they differ.
    """
    if store.digests is None:
        return
    for position, modality in enumerate(store.arrays):
        name = modality.name
        if name in values and patch_digest(values[name]).tobytes() != store.digests[row, position].tobytes():
            where = f"{store.path}, {name} of patch {store.index['patch_id'].iloc[row]}"
            raise DataError("has changed since it was written: its digest differs", where=where, fix=FIX)


def _with_patches(store: "Store", problem: Problem) -> Problem:
    """A problem of an array, with the names of the damaged patches."""
    for position, modality in enumerate(store.arrays):
        shards = store.shards(modality)
        if problem.where not in shards or store.digests is None:
            continue
        per_shard = store.rows_per_shard[modality.name]
        start = list(shards).index(problem.where) * per_shard
        digests = store.digests[start : start + per_shard, position]
        try:
            damaged = damaged_rows(store.path / problem.where, digests, store.row_bytes(modality, start))
        except OSError:
            return problem
        names = store.index["patch_id"].iloc[[start + row for row in damaged]].astype(str)
        found = f"{counted(len(damaged), 'patch', 'patches')}: {listed(names, FEW)}" if damaged else "in its head"
        return replace(problem, what=f"{problem.what} ({found})")
    return problem


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
    before = {file: stamp_of(folder / file) for file in files}
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
        stamp = stamp_of(folder / file)
        if file not in wrong and stamp is not None and is_settled(stamp, now) and stamp == before[file]:
            known[file] = _entry(checksum, stamp)
    _remember(folder, {file: known[file] for file in files if file in known})
    return problems


def skipped() -> bool:
    """Whether the user wants no comparison."""
    return os.environ.get(SKIP) == "0"


def is_settled(stamp: Stamp, now: int | None = None) -> bool:
    """Whether a file was last changed so long ago that another change would have another time."""
    return max(stamp[1:3]) < (time.time_ns() if now is None else now) - YOUNG_NS


def stamp_of(path: Path) -> Stamp | None:
    """Size, times and inode of a file, by which a change of it is seen; None where it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _entry(checksum: str, stamp: Stamp | None) -> list[Any]:
    return [checksum, *(stamp or ())]


def _file(folder: Path) -> Path:
    return Path(cache_folder(), "verified", hashlib.sha256(os.fsencode(folder)).hexdigest()[:32] + ".json")


def _recall(folder: Path) -> dict[str, Any]:
    known = dict(_of_this_process.get(folder, {}))
    with suppress(OSError, ValueError, RuntimeError, TypeError, KeyError, RecursionError):
        known |= json.loads(_file(folder).read_text(encoding="utf-8"))["files"]
    return known


def _remember(folder: Path, known: dict[str, Any]) -> None:
    _of_this_process[folder] = known
    with suppress(OSError, RuntimeError):  # no home, or one that can't be written
        write_text(_file(folder), json.dumps({"store": str(folder), "files": known}))

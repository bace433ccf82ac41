"""What is damaged in a store: `verify` compares its files with their checksums, `wrong_arrays` looks at sizes alone."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from eofuse.data.problems import Problem
from eofuse.data.store.integrity import (
    DIGEST_BYTES,
    FIX,
    PATCH_DIGESTS_FILE,
    compare,
    damaged_rows,
    patch_digest,
    wrong_array,
)
from eofuse.errors import DataError
from eofuse.progress import Progress
from eofuse.words import counted

if TYPE_CHECKING:
    from eofuse.data.store import Store

FEW = 5
"""Damaged patches that a message names."""


def verify(store: "Store", files: Mapping[str, str], progress: Progress | None = None) -> list[Problem]:
    """An error for each of some files of a store that is missing or has changed, if only by a bit; damaged patches are named.

    Args:
        store: opened by `eofuse.data.store.open_to_check`.
        files: their checksums.
        progress: called with (files done, files in all).
    """
    problems = {problem.where: problem for problem in wrong_arrays(store)}
    rest = {file: checksum for file, checksum in files.items() if file not in problems}
    compared = compare(store.path, rest, progress)
    if PATCH_DIGESTS_FILE not in {*problems, *(problem.where for problem in compared)}:
        compared = [_with_patches(store, problem) for problem in compared]
    return [*problems.values(), *compared]


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
        rows, *shape = shards[problem.where]
        start = list(shards).index(problem.where) * store.rows_per_shard[modality.name]
        digests = store.digests[start : start + rows, position]
        row_bytes = math.prod(shape) * np.dtype(modality.dtype).itemsize
        try:
            damaged = damaged_rows(store.path / problem.where, digests, row_bytes)
        except OSError:
            return problem
        names = store.index["patch_id"].iloc[[start + row for row in damaged[:FEW]]].astype(str)
        more = f" and {len(damaged) - FEW:,} more" if len(damaged) > FEW else ""
        found = f"{counted(len(damaged), 'patch', 'patches')}: {', '.join(names)}{more}" if damaged else "in its head"
        return replace(problem, what=f"{problem.what} ({found})")
    return problem

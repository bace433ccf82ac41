"""Which patch each run of a study used for what: `split.parquet` of the study, from those of its runs.

The columns are those of a run's table (see `eofuse.learning.split_table`), after a column for each of `variant`, `fold`, `seed` and
`n_labels` on which the parts depend. A pretraining has the variant `pretraining:NAME` and no labels.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from eofuse.files import replacing
from eofuse.learning.split_table import SPLIT_FILE, read_split

AXES = ("variant", "fold", "seed", "n_labels")

Key = tuple[Any, ...]


def write_study_split(runs: Sequence[tuple[Mapping[str, Any], Path]], folder: Path) -> None:
    """Writes the table into a study's folder.

    Args:
        runs: the value of each of `AXES` and the folder of every run with a table of its own.
        folder: of the study.
    """
    digests = {tuple(named[axis] for axis in AXES): _digest(path) for named, path in runs}
    folders = {tuple(named[axis] for axis in AXES): path for named, path in runs}
    needed = _needed_axes(digests)
    first: dict[Key, Path] = {}
    for key, path in folders.items():
        first.setdefault(tuple(key[position] for position in needed), path)
    with replacing(folder / SPLIT_FILE) as temporary:
        writer = None
        for key, path in first.items():
            table = read_split(path)
            for place, (position, value) in enumerate(zip(needed, key, strict=True)):
                table.insert(place, AXES[position], value)
            schema = None if writer is None else writer.schema
            arrow = pa.Table.from_pandas(table, schema=schema, preserve_index=False)
            if writer is None:
                writer = pq.ParquetWriter(temporary, _with_text(arrow.schema))
            writer.write_table(arrow.cast(writer.schema))
        if writer is not None:
            writer.close()


def _needed_axes(digests: Mapping[Key, str]) -> list[int]:
    """Positions of the axes that are needed so that runs which agree in them have the same parts."""
    needed = list(range(len(AXES)))
    for position in reversed(range(len(AXES))):
        without = [other for other in needed if other != position]
        found: dict[Key, set[str]] = {}
        for key, digest in digests.items():
            found.setdefault(tuple(key[other] for other in without), set()).add(digest)
        if all(len(each) == 1 for each in found.values()):
            needed = without
    return needed


def _digest(folder: Path) -> str:
    """Digest of the parts and reasons of a run."""
    table = read_split(folder)[["part", "reason"]]
    hashes = pd.util.hash_pandas_object(table, index=False)
    return hashlib.sha256(hashes.to_numpy().tobytes()).hexdigest()


def _with_text(schema: pa.Schema) -> pa.Schema:
    """The schema, with text in columns that are empty in the first table."""
    fields = [field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in schema]
    return pa.schema(fields, metadata=schema.metadata)

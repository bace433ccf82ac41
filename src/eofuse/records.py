"""Files that eofuse writes and reads back: JSON of a known shape, tables of known columns. Damage is one clear error.

`sealed` adds a digest to values that go into a JSON file, and `read_record` reads it; `write_table` and `read_table` are for Parquet
and CSV.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from eofuse.errors import DataError
from eofuse.files import read_json, replacing

SEAL = "digest"
"""Key under which the digest of all other keys stands."""

TABLE_SEAL = "eofuse.digest"
"""Key of a Parquet file under which the digest of the file stands, as it is with `BLANK` in its place."""

BLANK = "-" * 64

UNSEALED = {b"pandas", b"ARROW:schema", b"PANDAS_ATTRS"}
"""Keys that a Parquet file without a digest may have."""


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values with their digest; how a JSON file sets them out does not matter."""
    return {**values, SEAL: _digest(json.loads(json.dumps(values)))}


def seal_is_whole(values: Mapping[str, Any], unsealed: Iterable[str]) -> bool:
    """Whether the digest of values fits them.

    Args:
        values: as they were read.
        unsealed: keys that values without a digest may have.
    """
    if SEAL not in values:
        return set(values) <= set(unsealed)
    return bool(values[SEAL] == _digest(values))


def _digest(values: Mapping[str, Any]) -> str:
    content = {key: value for key, value in values.items() if key != SEAL}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_record(path: Path, shape: Any, fix: str) -> Any:
    """The values of a JSON file, without their digest.

    Args:
        path: the file.
        shape: type of the values, such as a pydantic model.
        fix: what to do if it is damaged.

    Raises:
        DataError: if it can't be read, has another shape, or does not fit its digest.
    """
    try:
        values = read_json(path)
    except OSError as error:
        raise DataError(f"can't be read: {error.strerror}", where=path, fix=fix) from None
    except ValueError as error:
        raise DataError(f"is damaged: {error}", where=path, fix=fix) from None
    is_by_target = isinstance(values, dict) and all(isinstance(value, dict) for value in values.values())
    if isinstance(values, dict) and SEAL in values and not is_by_target:  # a target may have the name
        if not seal_is_whole(values, ()):
            raise DataError("has changed since it was written: its digest differs", where=path, fix=fix)
        del values[SEAL]
    try:
        TypeAdapter(shape).validate_python(values, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        found = f"is damaged: {f'{key}: ' if key else ''}{message[0].lower()}{message[1:]}"
        raise DataError(f"lacks {key}" if first["type"] == "missing" else found, where=path, fix=fix) from None
    return values


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Writes a table as Parquet that holds a digest of the whole file, which `read_table` compares."""
    content = pa.BufferOutputStream()
    columns = pa.Table.from_pandas(table, preserve_index=False)
    with pq.ParquetWriter(content, columns.schema, write_page_checksum=True) as writer:
        writer.write_table(columns)
        writer.add_key_value_metadata({TABLE_SEAL: BLANK})
    blank = content.getvalue().to_pybytes()
    with replacing(path) as temporary:
        temporary.write_bytes(_with_digest(blank, BLANK, hashlib.sha256(blank).hexdigest()))


def _with_digest(content: bytes, old: str, new: str) -> bytes:
    """A Parquet file with another digest among the keys and values at its end."""
    place = content.index(old.encode(), content.rindex(TABLE_SEAL.encode()))
    return content[:place] + new.encode() + content[place + len(old) :]


def _check_digest(content: bytes) -> None:
    """Raises ValueError if a Parquet file has changed since `write_table`; files of others and of older versions have no digest."""
    values = pq.read_metadata(pa.BufferReader(content)).metadata or {}
    digest = values.get(TABLE_SEAL.encode(), b"").decode()
    if not digest and set(values) <= UNSEALED:
        return
    if not digest or hashlib.sha256(_with_digest(content, digest, BLANK)).hexdigest() != digest:
        raise ValueError("has changed since it was written: its digest differs")


def read_table(
    path: Path,
    fix: str,
    columns: Collection[str] = (),
    *,
    numbers: Sequence[str] = (),
    only: list[str] | None = None,
    empty_is_missing: bool = True,
) -> pd.DataFrame:
    """A table from a Parquet or CSV file.

    Args:
        path: the file.
        fix: what to do if it is damaged.
        columns: that it must have.
        numbers: columns that must hold numbers.
        only: columns that are read, all by default.
        empty_is_missing: whether words like an empty one stand for a missing value in CSV.

    Raises:
        DataError: if it is missing, damaged, or lacks a column.
    """
    if not path.is_file():
        raise DataError("the file is missing", where=path, fix=fix)
    try:
        if path.suffix == ".parquet":
            content = path.read_bytes()
            _check_digest(content)
            columns_read = pq.read_table(pa.BufferReader(content), columns=only, page_checksum_verification=True)
            table: pd.DataFrame = columns_read.to_pandas(types_mapper=_kept)
        else:
            table = pd.read_csv(path, usecols=only, keep_default_na=empty_is_missing)
    except Exception as error:  # what is damaged makes pandas and Arrow raise many kinds
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"is damaged: {reason}", where=path, fix=fix) from None
    missing = [name for name in (*columns, *numbers) if name not in table]
    if missing:
        raise DataError(f"lacks column {', '.join(missing)}", where=path, fix=fix)
    for name in numbers:
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise DataError(f"is damaged: column {name} holds something else than numbers", where=path, fix=fix)
    return table


def _kept(kind: pa.DataType) -> pd.ArrowDtype | None:
    """The type of columns that stay as Arrow has them: lists of records, which would be a dictionary each."""
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return pd.ArrowDtype(kind) if is_list and pa.types.is_struct(kind.value_type) else None

"""Opening a store: `open_store`, if it is what was written; `open_to_check` and `read_description` for what may be damaged."""

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import pandas as pd

from eofuse.data.doors import wrong_door
from eofuse.data.scenes import with_kinds
from eofuse.data.store.georeference import recovered
from eofuse.data.store.integrity import (
    FIX,
    PATCH_DIGESTS_FILE,
    is_settled,
    skipped,
    stamp_of,
    verify,
    verify_once,
    wrong_arrays,
)
from eofuse.data.store.store import IMAGE_SERIES_VERSION, INDEX_FILE, STORE_FILE, Store
from eofuse.errors import DataError, UsageError
from eofuse.files import read_json
from eofuse.records import SEAL, seal_is_whole

UNSEALED = (
    "format", "schema_version", "name", "simulated", "patches", "patch_size", "modalities", "rows_per_shard",
    "files", "fingerprint", "provenance",
)  # fmt: skip
"""Keys of a `store.json` that holds no digest of itself: an older version wrote it."""


def open_store(path: str | os.PathLike[str], *, verified: bool = True) -> Store:
    """Opens a packed store, if it is what was written.

    The description, the index and the sizes of all arrays are checked each time. The other files are compared with their checksums
    when they are opened for the first time, and again after they have changed (see `eofuse.data.store.integrity`).

    Args:
        path: of its folder.
        verified: whether files are compared with their checksums; never where the variable `EOFUSE_VERIFY` of the environment is 0.

    Raises:
        UsageError: if there is no such folder.
        DataError: if it is no store, damaged, or of a schema that this version doesn't read.
    """
    store = open_to_check(path)
    _require_whole(store, verified=verified)
    return store


def shared_store(path: str | os.PathLike[str]) -> Store:
    """As `open_store`, but the store that this process opened last, as long as its description and index are the same files.

    Arrays are compared as each time. For those who only read: its index is nobody's own.

    Raises:
        UsageError, DataError: as `open_store`.
    """
    folder = Path(path)
    stamps = [stamp_of(folder / file) for file in (STORE_FILE, INDEX_FILE)]
    key = os.fspath(folder), os.path.realpath(folder), tuple(stamps)
    store = _opened.get(key)
    if store is not None:
        _require_whole(store)
        return store
    store = open_store(folder)
    _opened.clear()
    if all(stamp is not None and is_settled(stamp) for stamp in stamps):
        _opened[key] = store
    return store


_opened: dict[tuple[str, str, tuple[Any, ...]], Store] = {}
"""What `shared_store` opened last, by folder and state of its files."""


def _require_whole(store: Store, *, verified: bool = True) -> None:
    """Raises a `DataError` if arrays have not their sizes, or files not their checksums, if these are to be compared."""
    problems = wrong_arrays(store)
    if not problems and verified and not skipped():
        files = {file: checksum for file, checksum in store.files.items() if file != INDEX_FILE}
        problems = verify_once(store.path, files, lambda due: verify(store, due))
    if problems:
        first = problems[0]
        more = f" (and {len(problems) - 1} more files: see `eofuse check`)" if len(problems) > 1 else ""
        raise DataError(first.what + more, where=store.path / first.where, fix=first.fix)


def open_to_check(path: str | os.PathLike[str]) -> Store:
    """Opens a store of which only description and index are known to be whole; `Store.verify` finds what else is damaged.

    Raises:
        UsageError: as `open_store`.
        DataError: if description or index are damaged, or of a schema that this version doesn't read.
    """
    folder = Path(path)
    if not folder.exists():
        raise UsageError("there is no such store", where=folder, fix="check the path")
    if not (folder / STORE_FILE).is_file():
        raise wrong_door(folder, "a store (no store.json)", "pack a folder into one with `eofuse pack DIR STORE`")
    description = read_description(folder)
    try:
        index = _read_index(folder, description["files"][INDEX_FILE])
        if description["schema_version"] < 3:
            index = with_kinds(recovered(index, tuple(description["patch_size"])), description["provenance"])
        store = Store(folder, description, index)
        if any(rows < 1 for rows in store.rows_per_shard.values()):
            raise ValueError("no rows in a shard")
        if len(index) == description["patches"]:
            wrong_arrays(store)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # what an older version wrote has no digest of its own: any value may be damaged
        raise DataError(f"can't be read: {error!r}", where=folder / STORE_FILE, fix=FIX) from None
    if len(index) != description["patches"]:
        found = f"{INDEX_FILE} has {len(index)} rows where {STORE_FILE} says {description['patches']}"
        raise DataError(found, where=folder, fix=FIX)
    return store


def read_description(folder: Path) -> dict[str, Any]:
    """The values of a store's `store.json`, as they were written.

    Raises:
        DataError: if they can't be read or have changed, or are of a schema that this version doesn't read.
    """
    file = folder / STORE_FILE
    try:
        description = read_json(file)
        version = description["schema_version"]
        newer = version > IMAGE_SERIES_VERSION
        readable = 1 <= version <= IMAGE_SERIES_VERSION
        sealed = SEAL in description or PATCH_DIGESTS_FILE not in description["files"]
        whole = sealed and seal_is_whole(description, UNSEALED)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"can't be read: {error}", where=file, fix=FIX) from None
    if not readable:
        found = f"has schema version {version}, this eofuse reads 1 to {IMAGE_SERIES_VERSION}"
        raise DataError(found, where=file, fix="update eofuse" if newer else "pack again")
    if not whole:
        raise DataError("has changed since it was written: its digest differs", where=file, fix=FIX)
    return dict(description)


def _read_index(folder: Path, checksum: str) -> pd.DataFrame:
    """The index, if its bytes are those of the checksum."""
    file = folder / INDEX_FILE
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"can't be read: {error.strerror}", where=file, fix=FIX) from None
    if hashlib.sha256(content).hexdigest() != checksum:
        raise DataError("has changed since it was written: its checksum differs", where=file, fix=FIX)
    return pd.read_parquet(io.BytesIO(content))

"""What a folder holds, as digests: two runs of one command make equal ones, but for times."""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

TIMES = {"seconds", "energy_joules", "patches_per_second", "digest", "datetime", "created"}
"""Keys and columns that say how long something took, which differ from run to run; and digests, which cover them."""

LEFT_OUT = ("tensorboard",)
"""Folders whose files have times in their names and records."""


def digests(folder: Path) -> dict[str, str]:
    """Digest of each file and empty folder below a folder, by its path; without times (see `TIMES`) and TensorBoard events."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if any(part in LEFT_OUT for part in name.parts):
            continue
        if path.is_file():
            found[str(name)] = hashlib.sha256(_content(path)).hexdigest()
        elif not any(path.iterdir()):
            found[f"{name}/"] = "empty"
    return found


def _content(path: Path) -> bytes:
    """The bytes of a file, without times; all of one that can't be read as what its name says."""
    try:
        return READERS.get(path.suffix, Path.read_bytes)(path)
    except Exception:  # of many libraries
        return path.read_bytes()


def difference(expected: Mapping[str, str], found: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Paths that should not be there, and those that are missing or of another content."""
    return sorted(found.keys() - expected.keys()), sorted(
        name for name, digest in expected.items() if found.get(name) != digest
    )


def _json(path: Path) -> bytes:
    return json.dumps(_without_times(json.loads(path.read_bytes()))).encode()


def _without_times(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: _without_times(value) for name, value in values.items() if name not in TIMES}
    return [_without_times(value) for value in values] if isinstance(values, list) else values


def _table(path: Path) -> bytes:
    table = pd.read_parquet(path)
    times = [name for name in table.columns if name in TIMES]
    return (
        path.read_bytes()
        if not times
        else pd.util.hash_pandas_object(table.drop(columns=times).astype(str)).to_numpy().tobytes()
    )


def _checkpoint(path: Path) -> bytes:
    """The tensors of a checkpoint; the pickle beside them holds the seconds so far."""
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as file:
        return b"".join(file.read(name) for name in sorted(file.namelist()) if "/data/" in name)


def _page(path: Path) -> bytes:
    """A report; its chapter about cost says how long everything took."""
    return re.sub(rb"[\d.,]+ (s|min|h|kJ|J|Wh|kWh|seconds|minutes)\b( \d+ (s|min)\b)?", b"", path.read_bytes())


READERS: Mapping[str, Callable[[Path], bytes]] = {
    ".json": _json,
    ".parquet": _table,
    ".pt": _checkpoint,
    ".html": _page,
}

"""The list of files of a published folder: `published.json`, with sizes and checksums, by which `eofuse download` fetches them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eofuse.files import parse_json, sha256, write_text

LISTING = "published.json"
FORMAT = "eofuse published 1"


@dataclass(frozen=True)
class Listed:
    """A file: its path within the folder, bytes, and hexadecimal digest."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Listing:
    """What is published.

    Attributes:
        name: of the folder that a download makes.
        files: all but the list itself.
        digest: SHA-256 of the list.
    """

    name: str
    files: Sequence[Listed]
    digest: str


def write_listing(folder: Path, name: str, form: str) -> None:
    """Writes the list of all files in a folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / LISTING)
    rows = [
        {"path": path.relative_to(folder).as_posix(), "size": path.stat().st_size, "sha256": sha256(path)}
        for path in paths
    ]
    head = json.dumps({"format": FORMAT, "name": name, "form": form}, ensure_ascii=False)[:-1]
    files = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in rows)
    write_text(folder / LISTING, f'{head}, "files": [\n  {files}\n]}}\n')


def parse_listing(content: bytes) -> Listing:
    """A list of files.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: if it is none.
    """
    found = parse_json(content.decode())
    if found["format"] != FORMAT:
        raise ValueError(f"the format {str(found['format'])[:80]!r}")
    files = [Listed(str(row["path"]), row["size"], str(row["sha256"])) for row in found["files"]]
    return Listing(str(found["name"]), files, hashlib.sha256(content).hexdigest())

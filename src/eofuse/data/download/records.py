"""Data sets of the archive (Zenodo) by name; sizes, checksums and addresses come from the record's page at run time."""

from collections import Counter
from typing import Any

from eofuse.data.download.transfer import RemoteFile, insisting, remote_file, web_address
from eofuse.data.web import read_json
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.files import parse_json

RECORDS = {"ben-ge-800": 12941231, "ben-ge-8k": 8121208}
"""Data set → record number in the archive (Zenodo)."""


def record_of(name: str) -> int:
    """The record of a data set.

    Raises:
        UsageError: if none has the name.
    """
    if name not in RECORDS:
        raise UsageError(f"no data set is called '{name}'", fix=did_you_mean(name, RECORDS))
    return RECORDS[name]


def files_of_record(record: int, base_url: str, reserved: tuple[str, ...]) -> list[RemoteFile]:
    """The files of a record, by the archive at an address.

    Raises:
        DataError: if the network fails, or the description is not understood.
        UsageError: if the address is none of the web.
    """
    url = f"{web_address(base_url).rstrip('/')}/api/records/{record}"
    content = insisting(lambda: read_json(url, "the record's description has more than"), url)
    try:
        files = [_file(entry, reserved) for entry in parse_json(content.decode())["files"]]
        twice = [key for key, count in Counter(file.key for file in files).items() if count > 1]
        if twice:
            raise ValueError(f"two files of the name {twice[0]!r}")
    except (ValueError, LookupError, TypeError, AttributeError, UsageError) as error:
        what = f"the record's description is not understood ({error})"
        raise DataError(what, where=url, fix="check the address") from None
    if not files:
        raise DataError("the record has no files", where=url)
    return files


def _file(entry: Any, reserved: tuple[str, ...]) -> RemoteFile:
    links = entry["links"]
    found = remote_file(entry["key"], entry["size"], entry["checksum"], links.get("self") or links["content"], reserved)
    if "/" in found.key:
        raise ValueError(f"a file of the name {found.key[:80]!r}")
    return found

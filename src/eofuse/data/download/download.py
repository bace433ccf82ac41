"""`download` fetches published data and checks every file; the destination appears whole or not at all."""

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eofuse.data.download.folders import files_of_folder
from eofuse.data.download.records import files_of_record, record_of
from eofuse.data.download.transfer import RemoteFile, check_disk, fetch, is_address, writing_to
from eofuse.data.download.unpack import ARCHIVES, UNPACKED, unpack_all
from eofuse.errors import DataError, UsageError
from eofuse.files import read_object, write_text
from eofuse.locks import writing
from eofuse.progress import Progress

MARKER = "download.json"
"""In a finished folder: which files it came from."""

RESERVED = (MARKER, UNPACKED)
"""Names that no published file may have."""

_logger = logging.getLogger(__name__)


def is_downloaded(name: str, to: str | Path) -> bool:
    """Whether `download(name, to)` has finished before.

    Raises:
        UsageError: if no data set has this name.
    """
    return _finished(name, Path(to)) is not None


def _finished(name: str, to: Path) -> Path | None:
    """The folder of what was downloaded before."""
    if not is_address(name):
        record_of(name)
        return to / name if (to / name / MARKER).is_file() else None
    return next((path.parent for path in to.glob(f"*/{MARKER}") if _origin(path).get("url") == name), None)


def _origin(marker: Path) -> dict[str, Any]:
    try:
        return read_object(marker, "remove the folder")
    except DataError:
        return {}


def download(name: str, to: str | Path, base_url: str = "https://zenodo.org", progress: Progress | None = None) -> Path:
    """Downloads a data set, or a folder that `eofuse publish` wrote, and checks it; archives of a data set are unpacked.

    Done work is not repeated: what is there is returned at once (and the log says so), and whole or partial
    files of an earlier try, which stay in `<to>/<name>.download`, are used.

    Args:
        name: one of `RECORDS`, or the address of a published folder.
        to: the folder in which its folder will stand; made if missing.
        base_url: the address of the data sets' archive, for mirrors.
        progress: called while files arrive.

    Returns:
        The folder: `<to>/<name>`, or the name that a published folder has.

    Raises:
        UsageError: if no data set has this name, the address is no web address, or another folder is in the way.
        DataError: if the network fails, a checksum does not agree, an archive is damaged or would write outside its
            folder, or the disk is too small.
    """
    to = Path(to)
    if not is_address(name):
        record = record_of(name)
        return _download(name, {"record": record}, lambda: files_of_record(record, base_url, RESERVED), to, progress)
    if done := _finished(name, to):
        return _is_there(name, done)
    published, files = files_of_folder(name, RESERVED)
    return _download(published, {"url": name}, lambda: files, to, progress)


def _download(
    name: str, origin: dict[str, Any], files_of: Callable[[], Sequence[RemoteFile]], to: Path, progress: Progress | None
) -> Path:
    """Brings files into the folder `name`, and says in it where they come from; archives of a record are unpacked."""
    folder, work = to / name, to / f"{name}.download"
    with writing_to(to), writing(folder):
        if (folder / MARKER).is_file() and origin.items() <= _origin(folder / MARKER).items():
            return _is_there(name, folder)
        with writing_to(folder):
            if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
                fix = "use it as it is, move it, or give another folder"
                raise UsageError("is in the way: it was not downloaded by this command", where=folder, fix=fix)
            work.mkdir(parents=True, exist_ok=True)
        files = files_of()
        is_record = "record" in origin
        check_disk(files, [file for file in files if is_record and file.key.endswith(ARCHIVES)], work)
        content = work if is_record else work / UNPACKED
        for file in files:
            fetch(file, content, progress)
        content = unpack_all(files, work) if is_record else _only(files, content)
        with writing_to(folder):
            provenance = {"name": name, **origin, "files": [asdict(file) for file in files]}
            write_text(content / MARKER, json.dumps(provenance, indent=1) + "\n")
            if folder.exists():
                folder.rmdir()
            content.rename(folder)
    shutil.rmtree(work, ignore_errors=True)
    _logger.info("%s is complete: %s", name, folder)
    return folder


def _only(files: Sequence[RemoteFile], content: Path) -> Path:
    """Removes what an earlier state of the published folder had; gives the folder."""
    wanted = {file.key for file in files}
    for path in [path for path in content.rglob("*") if path.is_file()]:
        if path.relative_to(content).as_posix() not in wanted:
            path.unlink()
    return content


def _is_there(name: str, folder: Path) -> Path:
    _logger.info("%s is already there: %s", name, folder)
    shutil.rmtree(folder.with_name(f"{folder.name}.download"), ignore_errors=True)
    return folder

"""A folder for others: it appears when it is whole, with `SHA256SUMS` and the list by which `eofuse download` fetches it."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eofuse.data.publish.listing import write_listing
from eofuse.errors import UsageError
from eofuse.files import sha256, write_text


@contextmanager
def published_folder(folder: Path, name: str, form: str) -> Iterator[Path]:
    """A folder to be filled, which gets its name at the end.

    Args:
        folder: its name.
        name: what a download of it is called.
        form: what it holds, as in `eofuse publish --as`.

    Raises:
        UsageError: if the folder exists.
    """
    if folder.exists():
        raise UsageError("exists already", where=folder, fix="remove it, or name another folder")
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        files = sorted(path for path in partial.rglob("*") if path.is_file())
        sums = "".join(f"{sha256(path)}  {path.relative_to(partial).as_posix()}\n" for path in files)
        write_text(partial / "SHA256SUMS", sums)
        write_listing(partial, re.sub(r"[^\w .-]+", "-", name)[:90].strip(" .-") or "published", form)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise

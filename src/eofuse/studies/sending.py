"""Jobs for other machines: `message` is what is sent (see `eofuse.studies.remote`), `settle` takes the answer."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eofuse import __version__
from eofuse.studies.executors import Ended, Job, Setting, outcome
from eofuse.studies.failures import Failure
from eofuse.studies.remote import PATIENCE_S


def message(job: Job, setting: Setting) -> dict[str, Any]:
    """What is sent: words only, so that nothing of it is executed."""
    return {
        "role": job.role,
        "folder": str(job.folder.resolve()),
        "fingerprint": setting.fingerprint,
        "study": str(setting.folder.resolve()),
        "token": setting.token,
        "directory": str(Path.cwd()),
        "version": __version__,
    }


def settle(job: Job, answered: Mapping[str, Any]) -> Ended:
    """What became of a job, once the files that it left are seen here: what is cached of a network's folder may be older.

    Raises:
        DataError: if no job of the study can be done any more.
    """
    failure = outcome(answered["answer"])
    until = time.monotonic() + PATIENCE_S
    while failure is None and not _shows(job.folder, answered["files"]):
        if time.monotonic() > until:
            failure = Failure("error", f"what {answered['host']} wrote to {job.folder} is not seen here")
        time.sleep(0.1)
    return Ended(job, failure, answered["host"])


def _shows(folder: Path, files: Mapping[str, int]) -> bool:
    found = {entry.name: entry.stat().st_size for entry in os.scandir(folder)}
    return all(found.get(name) == size for name, size in files.items())

"""Jobs on other machines that see the folders of a study: `message` is what is sent, `do` is called there, `settle` takes the answer.

Where a study has ended, or another process goes on with it, its jobs leave: the claim of the study has no holder, or another one.
Where its process was killed, they go on to their end.
"""

import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from typing import Any

from eofuse.studies import claims
from eofuse.studies.executors import Ended, Job, Setting, outcome
from eofuse.studies.failures import Failure

PATIENCE_S = 60.0
"""Seconds after which a file that was written elsewhere is seen here at the latest."""


def message(job: Job, setting: Setting) -> dict[str, Any]:
    """What is sent: words only, so that nothing of it is executed."""
    return {
        "role": job.role,
        "folder": str(job.folder.resolve()),
        "fingerprint": setting.fingerprint,
        "study": str(setting.folder.resolve()),
        "token": setting.token,
        "directory": str(Path.cwd()),
        "version": _version(),
    }


def do(sent: Mapping[str, Any]) -> dict[str, Any]:
    """Does a job; gives its machine, what a worker answers, and the names and sizes of the files that it left."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    host = os.environ.get("SLURMD_NODENAME") or platform.node()
    folder, study = Path(sent["folder"]), Path(sent["study"])
    if sent["version"] != _version():
        found = f"eofuse {sent['version']} began the study, and {host} has {_version()}"
        return {"host": host, "answer": {"ends": {"what": found, "where": None, "fix": "install one version on all"}}}
    if not _comes_to_be(folder):
        found = f"{host} does not see the folder {folder}; a study on a cluster lies where all its machines see it"
        return {"host": host, "answer": {"kind": "error", "why": found}}
    if Path(sent["directory"]).is_dir():
        os.chdir(sent["directory"])  # stores may have relative paths
    if not claims.is_held_by(study, sent["token"]):
        return {"host": host, "answer": {"kind": "ended", "why": "the study has ended"}}
    Thread(target=_leave_with, args=(study, sent["token"]), daemon=True).start()

    from eofuse.studies.worker import answer

    answered = answer({key: sent[key] for key in ("role", "folder", "fingerprint")})
    left = {file.name: file.stat().st_size for file in folder.iterdir() if file.is_file() and file.name[0] != "."}
    return {"host": host, "answer": answered, "files": left}


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


def _comes_to_be(folder: Path) -> bool:
    until = time.monotonic() + PATIENCE_S
    while not folder.is_dir():
        if time.monotonic() > until or not folder.parent.parent.is_dir():
            return False
        time.sleep(0.5)
    return True


def _leave_with(study: Path, token: str) -> None:
    """Ends this process when the study has ended, or another process goes on with it."""
    while claims.is_held_by(study, token):
        time.sleep(claims.BEAT_S)
    os._exit(1)


def _version() -> str:
    from eofuse import __version__

    return __version__

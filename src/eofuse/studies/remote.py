"""What is done on other machines that see the folders of a study: `do`, sent to Ray by its name, and `Submitted`, to Slurm.

Where a study has ended, or another process goes on with it, its jobs leave: the claim of the study has no holder, or another one.
Where its process was killed, they go on to their end. Importing this loads nothing heavy, so that a job of Slurm hears at once that
its time is over.
"""

import json
import os
import platform
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

from eofuse import __version__
from eofuse.files import write_text
from eofuse.studies import claims

PATIENCE_S = 60.0
"""Seconds after which a file that was written elsewhere is seen here at the latest."""


def do(sent: Mapping[str, Any]) -> dict[str, Any]:
    """Does a job; gives its machine, what a worker answers, and the names and sizes of the files that it left."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    host = os.environ.get("SLURMD_NODENAME") or platform.node()
    folder, study = Path(sent["folder"]), Path(sent["study"])
    if sent["version"] != __version__:
        found = f"eofuse {sent['version']} began the study, and {host} has {__version__}"
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


class Submitted:
    """The same as a job of submitit, which calls `checkpoint` before its time is over, and queues what that gives."""

    def __call__(self, sent: Mapping[str, Any]) -> None:
        """Does a job, and writes what it came to."""
        write_text(Path(sent["answer"]), json.dumps(do(sent)))

    def checkpoint(self, sent: Mapping[str, Any]) -> Any:
        """The job again: a run goes on from its own checkpoint."""
        return import_module("submitit").helpers.DelayedSubmission(self, sent)


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

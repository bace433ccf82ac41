"""The moments at which a command touches its files, numbered: `at_event` acts at one of them.

An event is an audit event of Python for a path below the folder of the case (open, rename, remove, mkdir, …), or a call of
`os.fsync` or `os.write`. They are the same in every run of a command, so that a case hits an exact boundary.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAMES = {
    "open",
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.truncate",
    "os.chmod",
    "os.link",
    "os.listdir",
    "os.scandir",
    "shutil.rmtree",
    "shutil.copyfile",
    "tempfile.mkstemp",
    "subprocess.Popen",
    "os.fork",
    "socket.connect",
}
"""Audit events that count; see the table of audit events in the documentation of Python."""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def at_event(act: Callable[[int, str, str], object], folder: Path, *, only_writing: bool = False) -> Callable[[], None]:
    """What a command does at first so that `act(number, name, path)` is called before each of its events.

    Args:
        act: called in the process of the command, not in those that it begins.
        folder: below which paths count; `os.fork` and such count always.
        only_writing: leave out events that change nothing.
    """

    def begin() -> None:
        own, counter, busy = os.getpid(), [0], [False]
        roots = (str(folder), str(folder.resolve()))

        def happened(name: str, path: str) -> None:
            if os.getpid() != own or busy[0]:
                return
            busy[0] = True
            try:
                counter[0] += 1
                act(counter[0], name, path)
            finally:
                busy[0] = False

        def hook(name: str, arguments: tuple[Any, ...]) -> None:
            if name not in NAMES or (only_writing and not _writes(name, arguments)):
                return
            path = arguments[0] if arguments else ""
            text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
            if name in ("os.fork", "subprocess.Popen", "socket.connect"):
                happened(name, "")
            elif text and (not Path(text).is_absolute() or text.startswith(roots)):
                happened(name, text)

        for name in ("fsync", "write"):
            setattr(os, name, _wrapped(getattr(os, name), f"os.{name}", happened))
        sys.addaudithook(hook)

    return begin


def _writes(name: str, arguments: tuple[Any, ...]) -> bool:
    if name == "open":
        return bool(arguments[2] & WRITING) if isinstance(arguments[2], int) else True
    return name not in ("os.listdir", "os.scandir", "socket.connect")


def _wrapped(function: Callable[..., Any], name: str, happened: Callable[[str, str], None]) -> Callable[..., Any]:
    def wrapped(*arguments: Any) -> Any:
        happened(name, "")
        return function(*arguments)

    return wrapped

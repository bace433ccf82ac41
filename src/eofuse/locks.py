"""One writer at a time: `writing` holds a store, run, study or download for this process, `reading` keeps writers away from it.

`writes` is `writing` as a decorator. `remove_locks` takes away those that dead processes left behind.

A lock is a file `.<name>.lock` beside what it holds, locked by the system, so that it ends with its process, however that ends. It
says who holds it. The library filelock empties the file before it has the lock, and with it the holder's name; hence this one.
"""

import inspect
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import ParamSpec, TypeVar

from eofuse.errors import UsageError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_NOTHING: Mapping[Path, bool] = MappingProxyType({})
_held: ContextVar[Mapping[Path, bool]] = ContextVar("_held", default=_NOTHING)
"""What this thread of work holds: path → whether it writes."""

PAUSE_S = 0.05
"""Time between two tries of a patient writer."""

NAMING_S = 0.3
"""Time in which a new holder has written its name."""

_descriptors: set[int] = set()
"""Open lock files of this process, which its forks must not keep."""


class HeldError(UsageError):
    """Another process, or another thread of this one, is at work on it."""


@contextmanager
def writing(path: Path, patience_s: float = 0) -> Iterator[None]:
    """Holds a file or folder, which need not exist yet, against all other writers and careful readers until the block ends.

    Blocks within this one may hold it again.

    Args:
        path: what is held.
        patience_s: seconds to wait for another process that holds it.

    Raises:
        HeldError: if another process, or another thread of this one, holds it; the message names the process.
    """
    with _holding(path, write=True, patience_s=patience_s):
        yield


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Keeps writers away from a file or folder until the block ends; others may read it meanwhile.

    Nothing is held in a folder in which this process may not write.

    Raises:
        HeldError: if a process that writes it holds it.
    """
    with _holding(path, write=False):
        yield


def remove_locks(folder: Path) -> None:
    """Removes the locks of dead processes in a folder and below it."""
    for file in folder.rglob(".*.lock"):
        path = file.with_name(file.name[1 : -len(".lock")])
        with suppress(UsageError), writing(path):
            pass


def writes(argument: str) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """The decorated function holds the path in one of its arguments while it runs; see `writing`."""

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        signature = inspect.signature(function)

        @wraps(function)
        def held(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            with writing(Path(signature.bind(*args, **kwargs).arguments[argument])):
                return function(*args, **kwargs)

        return held

    return decorate


@contextmanager
def _holding(path: Path, *, write: bool, patience_s: float = 0) -> Iterator[None]:
    path = path.resolve()
    held = _held.get()
    if path in held:
        if write and not held[path]:
            raise UsageError("is read and written by one command", where=path, fix="name another place to write")
        yield
        return
    try:
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(path, write, time.monotonic() + patience_s)
    except OSError:
        if write:
            raise
        yield
        return
    token = _held.set({**held, path: write})
    try:
        yield
    finally:
        _held.reset(token)
        _release(descriptor, _lock_file(path), write)


def _lock_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _acquire(path: Path, write: bool, until: float) -> int:
    """The descriptor of the lock file, locked."""
    file = _lock_file(path)
    named = time.monotonic() + NAMING_S
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        _descriptors.add(descriptor)
        if not _try_to_lock(descriptor, write):
            holder = os.pread(descriptor, 4096, 0) if hasattr(os, "pread") else b""
            _close(descriptor)
            if time.monotonic() < (until if holder else max(until, named)):
                time.sleep(PAUSE_S)
                continue
            found = f"another process is at work on it{who_holds(holder)}"
            raise HeldError(found, where=path, fix="wait until it is done, or stop it")
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                break
        _close(descriptor)  # its last holder removed it in between
    if write:
        holder = json.dumps(
            {"process": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        ).encode()
        os.ftruncate(descriptor, 0)
        os.write(descriptor, holder)
    return descriptor


def who_holds(holder: bytes) -> str:
    """In words, from what a lock or claim says: process, host and since when; nothing if it says nothing."""
    try:
        facts = json.loads(holder)
        return f": process {facts['process']:d} on {facts['host']}, since {facts['since']}"
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""


def _release(descriptor: int, file: Path, write: bool) -> None:
    if descriptor not in _descriptors:  # a fork
        return
    if write or _try_to_lock(descriptor, write=True):  # no other reader
        with suppress(OSError):
            file.unlink()
    _close(descriptor)


def _close(descriptor: int) -> None:
    _descriptors.discard(descriptor)
    os.close(descriptor)


def _try_to_lock(descriptor: int, write: bool) -> bool:
    if find_spec("fcntl") is not None:
        import fcntl

        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if write else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # behind the text, which others may read
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
    return True


def _let_go() -> None:
    """A fork keeps no lock of its parent alive."""
    _held.set(_NOTHING)
    for descriptor in list(_descriptors):
        _close(descriptor)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)

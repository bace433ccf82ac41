"""Claims: who is at work on a folder, where machines share a file system whose locks may not reach from one to the other.

A claim is a file `.<name>.claim` beside what it holds. Only one process can make it (`O_EXCL`, on NFS too). It names its holder,
who touches it every `BEAT_S` seconds. The claim of a process that died is taken over: at once on the machine where it ran, elsewhere
when it was not touched for `LOST_S` seconds by the clock of who waits, so that clocks need not agree. A holder that was taken for
dead, since its machine had stopped for a while, finds at its next touch that the claim is another's, and leaves.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

from eofuse.files import parse_json
from eofuse.locks import HeldError, who_holds

BEAT_S = 10.0
"""Seconds between two touches."""

LOST_S = 60.0
"""Seconds without a touch after which a holder on another machine is taken for dead."""

NAMING_S = 1.0
"""Seconds in which a new holder has written who it is."""

PAUSE_S = 0.1
"""Seconds between two looks at a claim for which somebody waits."""

LONGEST = 4096
"""Bytes of a claim that are read; a longer one is damaged, and names nobody."""


@dataclass(frozen=True)
class Claim:
    """A claim of this process.

    Attributes:
        path: what it holds.
        token: a word of its own, by which others know it.
    """

    path: Path
    token: str

    def is_held(self) -> bool:
        """Whether it is still this one's; also if nobody can say, as the file system does not answer."""
        return is_held_by(self.path, self.token)


@contextmanager
def claimed(
    path: Path,
    patience_s: float = 0,
    leave: Callable[[], object] | None = None,
    waiting: Callable[[str], object] | None = None,
) -> Iterator[Claim]:
    """Holds a file or folder against processes of all machines until the block ends.

    Args:
        path: what is held; the folder that it is in is made.
        patience_s: seconds to wait for another process that holds it and lives.
        leave: called in a thread when the claim was lost to another process.
        waiting: called with words when it is not known at once whether the holder lives.

    Raises:
        HeldError: if another process holds it; the message names it. To know that it lives may take `BEAT_S`, that it does
            not, `LOST_S`.
    """
    claim = _acquire(path.resolve(), patience_s, waiting)
    over = Event()

    def beat() -> None:
        while not over.wait(BEAT_S):
            if claim.is_held():
                with suppress(OSError):
                    os.utime(_file(claim.path))
            elif leave is not None and not over.is_set():
                leave()
                return

    beating = Thread(target=beat, daemon=True)
    beating.start()
    try:
        yield claim
    finally:
        over.set()
        beating.join()
        release(claim)


def release(claim: Claim) -> None:
    """Gives a claim back."""
    if claim.is_held():
        with suppress(OSError):
            _file(claim.path).unlink()


def is_held_by(path: Path, token: str) -> bool:
    """Whether a claim is one's with this token; also if nobody can say, as the file system does not answer."""
    for last in (False, True):
        try:
            holder, _ = _look(path)
        except OSError:
            return True
        if holder is not None and holder.get("token") == token:
            return True
        if not last:
            time.sleep(min(1.0, BEAT_S))  # somebody may be putting it back
    return False


def remove_claims(folder: Path) -> None:
    """Removes all claims of what is directly in a folder."""
    for file in folder.glob(".*.claim"):
        file.unlink(missing_ok=True)


def _file(path: Path) -> Path:
    return path.with_name(f".{path.name}.claim")


def _acquire(path: Path, patience_s: float, waiting: Callable[[str], object] | None) -> Claim:
    file, claim = _file(path), Claim(path, uuid4().hex)
    me = {**_this_process(), "since": time.strftime("%Y-%m-%d %H:%M:%S"), "token": claim.token}
    path.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + patience_s
    seen: tuple[dict[str, Any] | None, int] | None = None
    changed = time.monotonic()
    while True:
        try:
            descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            pass
        else:
            with os.fdopen(descriptor, "w") as writer:
                json.dump(me, writer)
            return claim
        found = _look(path)
        now = time.monotonic()
        first, moved = seen is None, found != seen
        if moved:
            seen, changed = found, now
        holder = found[0]
        if found == (None, 0):
            continue  # released in between
        here = _is_alive(holder)
        if here is False or now - changed > LOST_S:
            _take_away(file, holder)
        elif now > until and (here or (moved and not first)):
            words = who_holds(json.dumps(holder).encode())
            raise HeldError(
                f"another process is at work on it{words}", where=path, fix="wait until it is done, or stop it"
            )
        else:
            if waiting is not None and not here and (holder is not None or now - changed > NAMING_S):
                waiting(f"looking for {LOST_S:.0f} s whether this one lives{who_holds(json.dumps(holder).encode())}")
                waiting = None
            time.sleep(PAUSE_S)


def _look(path: Path) -> tuple[dict[str, Any] | None, int]:
    """What a claim says, and when it was touched last, by the clock of the file system; `(None, 0)` if there is none.

    A file is opened for it, since NFS looks at the server then.
    """
    try:
        with _file(path).open("rb") as reader:
            touched = os.fstat(reader.fileno()).st_mtime_ns
            text = reader.read(LONGEST)
    except FileNotFoundError:
        return None, 0
    return _holder(text), touched


def _holder(text: bytes) -> dict[str, Any] | None:
    """Who holds it, by what a claim says; nothing if that is damaged."""
    try:
        found = parse_json(text.decode())
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _take_away(file: Path, dead: dict[str, Any] | None) -> None:
    """Removes the claim of a dead process, but puts it back if another one was quicker and it is that one's by now."""
    aside = file.with_name(f"{file.name}.{uuid4().hex}")
    try:
        file.rename(aside)
    except FileNotFoundError:
        return
    with aside.open("rb") as reader:
        holder = _holder(reader.read(LONGEST))
    if holder != dead:
        with suppress(OSError):
            os.link(aside, file)
    aside.unlink()


def _is_alive(holder: dict[str, Any] | None) -> bool | None:
    """Whether a holder lives; nothing if it is on another machine or says nothing."""
    if os.name != "posix" or holder is None or holder.get("machine") != _machine():
        return None
    started = _start_of(holder.get("process"))
    return started is not None and started == holder.get("started")


def _this_process() -> dict[str, Any]:
    own = os.getpid()
    return {"process": own, "host": platform.node(), "machine": _machine(), "started": _start_of(own)}


@cache
def _machine() -> str:
    """Where process numbers mean the same: a machine since it was started, or a container of it."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _start_of(process: Any) -> str | None:
    """When a process of this machine was started, in whatever units; nothing if it is no more."""
    if not isinstance(process, int):
        return None
    try:
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None if Path("/proc/self/stat").exists() or not _runs(process) else "unknown"
    return None if words[0] in "ZX" else words[19]


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True

"""Commands in processes of their own, forked from this one, which has imported everything that they need."""

import codecs
import ctypes
import importlib
import os
import pickle
import pkgutil
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import IO, ClassVar, TypeVar

LIMIT_S = 20.0
"""Seconds after which a command counts as hanging."""

GRACE_S = 5.0
"""Seconds that processes have to end after the one that began them."""

VIRTUAL_BYTES = 16 * 1024**3
"""Address space that a command may have beyond that with which it begins, for the sake of the machine."""


COMPANIONS: set[int] = set()
"""Processes of the harness itself, which live as long as it does."""

Result = TypeVar("Result")


def preload() -> None:
    """Imports all of eofuse, and adopts the processes that commands leave behind."""
    package = importlib.import_module("eofuse")
    for module in pkgutil.walk_packages(package.__path__, "eofuse."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    codecs.lookup("utf-8-sig")  # found later only by those who may read the folder of Python
    subreaper = 36  # PR_SET_CHILD_SUBREAPER of <linux/prctl.h>
    if ctypes.CDLL(None).prctl(subreaper, 1, 0, 0, 0) != 0:
        raise OSError("this system does not hand over the processes that commands leave behind")


@dataclass(frozen=True)
class Ended:
    """What became of a command.

    Attributes:
        argv: its words.
        status: its exit code, or minus the signal that ended it.
        output: what it printed.
        error: what it printed on the error stream.
        seconds: how long it took.
        memory: bytes at its peak, beyond those with which it began.
        hung: whether it was killed because it took too long.
    """

    argv: tuple[str, ...]
    status: int
    output: str
    error: str
    seconds: float
    memory: int
    hung: bool


class Command:
    """A command that runs.

    Args:
        argv: its words, without `eofuse`.
        folder: where it runs.
        before: called in its process at first.
        output: where its output goes, by default into a file that is read at the end.

    Attributes:
        patience: times longer that all commands may take, on a machine that has other work.
    """

    patience: ClassVar[float] = 1.0

    def __init__(
        self,
        argv: Sequence[str | Path],
        folder: Path,
        before: Callable[[], object] | None = None,
        output: IO[bytes] | None = None,
    ) -> None:
        self.argv = tuple(map(str, argv))
        self._output, self._error = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115, closed by wait
        self._rss = _resident_bytes()
        self._started = time.monotonic()
        limit = _virtual_bytes() + VIRTUAL_BYTES  # here: its own opening of files may be refused from the first on
        self.pid = os.fork()
        if self.pid == 0:
            _become(self.argv, folder, before, limit, output or self._output, self._error)
        self._pidfd = os.pidfd_open(self.pid)

    def has_ended(self, within_s: float = 0) -> bool:
        """Whether it ends within so many seconds."""
        return bool(select.select([self._pidfd], [], [], max(0.0, within_s))[0])

    def send(self, number: int) -> None:
        """Sends it a signal."""
        signal.pidfd_send_signal(self._pidfd, number)

    def wait(self, limit_s: float = LIMIT_S) -> Ended:
        """Waits for its end; kills it when that takes too long."""
        hung = not self.has_ended(self._started + self.patience * limit_s - time.monotonic())
        if hung:
            self.send(signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        seconds = time.monotonic() - self._started
        os.close(self._pidfd)
        output, error = (_read(file) for file in (self._output, self._error))
        memory = max(0, usage.ru_maxrss * 1024 - self._rss)
        return Ended(self.argv, os.waitstatus_to_exitcode(status), output, error, seconds, memory, hung)


def eofuse(
    argv: Sequence[str | Path],
    folder: Path,
    before: Callable[[], object] | None = None,
    *,
    limit_s: float = LIMIT_S,
    output: IO[bytes] | None = None,
) -> Ended:
    """Runs a command to its end; see `Command`."""
    return Command(argv, folder, before, output).wait(limit_s)


def in_fork(function: Callable[[], Result]) -> Result:
    """What a function gives in a process of its own: libraries that begin threads must not do so in this one."""
    with tempfile.TemporaryFile() as file:
        pid = os.fork()
        if pid == 0:
            try:
                file.write(pickle.dumps(function()))
                file.flush()
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        file.seek(0)
        result: Result = pickle.loads(file.read())
        return result


def survivors() -> list[str]:
    """The processes that commands left behind and that do not end by themselves; they are killed."""
    limit = time.monotonic() + Command.patience * GRACE_S
    while alive := _living():
        if time.monotonic() > limit:
            break
        time.sleep(0.01)
    words = [f"process {pid} {_command_line(pid)}" for pid in alive]
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return words


def _become(
    argv: tuple[str, ...],
    folder: Path,
    before: Callable[[], object] | None,
    limit: int,
    output: IO[bytes],
    error: IO[bytes],
) -> None:
    """Runs a command in this process, as the program does, within so many bytes of addresses, and ends it."""
    status = 1
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # until `main` takes it, Ctrl-C ends the process as it ends Python's start
    try:
        os.setsid()
        os.chdir(folder)
        with Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(error.fileno(), 2)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False, buffering=1)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        from eofuse.cli import main
        from eofuse.learning import launching
        from eofuse.studies.executors import local

        local.start = launching.start = _start

        if before is not None:
            before()
        status = main(argv)
        if sys.stdout is not None:
            sys.stdout.flush()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stderr.flush()
        os._exit(status)


def processes_of_a_user() -> None:
    """Called before a command: its processes are those that users have, not forks of this one."""
    from eofuse import forking
    from eofuse.learning import launching
    from eofuse.studies.executors import local

    local.start = launching.start = forking.start


def _start(module: str, arguments: Sequence[str] = (), env: Mapping[str, str] | None = None) -> "_Fork":
    """Begins a process as `eofuse.forking.start` does, but as a fork of this one, in place of a server that imports everything."""
    (takes, asks), (answers, gives) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setsid()
            for number in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            os.dup2(takes, 0)
            os.dup2(gives, 1)
            for descriptor in (takes, asks, answers, gives):
                os.close(descriptor)
            sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w", closefd=False)
            sys.argv = ["", *arguments]
            os.environ |= env or {}
            importlib.import_module(module).main()
            status = 0
        finally:
            os._exit(status)
    os.close(takes)
    os.close(gives)
    return _Fork(pid, os.fdopen(asks, "w"), os.fdopen(answers))


class _Fork(SimpleNamespace):
    """What a study and a training need of a process."""

    def __init__(self, pid: int, stdin: IO[str], stdout: IO[str]) -> None:
        super().__init__(pid=pid, stdin=stdin, stdout=stdout, returncode=None)

    def poll(self) -> int | None:
        return self._ended(os.WNOHANG)

    def wait(self) -> int | None:
        return self._ended(0)

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def _ended(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode


def descendants(pid: int) -> list[int]:
    """Processes that another one has begun, and those that these have."""
    parents = _parents()
    found = [pid]
    for each in found:
        found += sorted(child for child, parent in parents.items() if parent == each)
    return found[1:]


def _parents() -> dict[int, int]:
    """The parent of each process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            found[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def _living() -> list[int]:
    """Processes of which this one is the parent; those that have ended are taken off the list of the system."""
    own = [pid for pid, parent in _parents().items() if parent == os.getpid() and pid not in COMPANIONS]
    return [pid for pid in own if os.waitpid(pid, os.WNOHANG)[0] == 0]


def _command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()


def _pages(column: int) -> int:
    return int(Path("/proc/self/statm").read_text().split()[column]) * resource.getpagesize()


def _virtual_bytes() -> int:
    return _pages(0)


def _resident_bytes() -> int:
    return _pages(1)


def _read(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read(1 << 20).decode("utf-8", "replace")

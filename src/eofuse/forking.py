"""Processes that begin with everything imported: `start`.

What trains imports for seconds, mostly PyTorch. On Linux a server (`python -m eofuse.forking`) does so once for this process, and
forks for every process that is started. It has one thread, no data and no device, so that a fork is safe; if a library did begin a
thread, the process is executed anew in place of forked. The server and all its processes see a closed socket or pipe when this
process ends, however that is, and end as well. Elsewhere processes are plain subprocesses.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any, Protocol

FORKS: bool = sys.platform == "linux"
"""Whether a server forks."""
READ_WHEN_IMPORTED = ("GOMP", "KMP", "LD_", "MALLOC", "MKL", "OMP", "OPENBLAS", "PYTHON", "TORCH")
"""Beginnings of the variables that a process can't change once it has imported: each setting of them has a server of its own."""

BEFOREHAND = ("timm",)
"""What the processes import when they build a network."""

PR_SET_PDEATHSIG = 1
"""Of <linux/prctl.h>: the signal that a process gets when its parent ends."""

FORKED_WELL = "jemalloc_bg_thd"
"""The thread of Arrow's allocator, which begins it again in a fork by itself."""


class Process(Protocol):
    """What is used of `subprocess.Popen`, with lines of text in and out."""

    stdin: IO[str] | None
    stdout: IO[str] | None
    returncode: int | Any

    def poll(self) -> int | None:
        """The exit status if the process has ended; of a signal, its negative number."""

    def wait(self) -> int:
        """Waits for its end; the exit status."""

    def kill(self) -> None:
        """Ends it now."""


def start(module: str, arguments: Sequence[str], env: Mapping[str, str]) -> Process:
    """Starts `python -m module arguments` in a session of its own, with pipes for its input and output.

    Args:
        module: with a `main` without parameters, which reads `sys.argv`.
        arguments: of the command line.
        env: its environment.
    """
    if FORKS:
        found = _server(env).start(module, arguments, env)
        return found if found.pid else _server(env).start(module, arguments, env)  # the server had been killed
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([*_command(module), *arguments], env=env, start_new_session=True, **pipes)


class Forked:
    """A process that the server forked, as `Process` has it."""

    def __init__(self, pid: int, stdin: IO[str], stdout: IO[str], status: IO[str]) -> None:
        self.pid = pid
        self.stdin: IO[str] | None = stdin
        self.stdout: IO[str] | None = stdout
        self.returncode: int | None = None
        self._status = status
        self._one = threading.Lock()

    def poll(self) -> int | None:
        """See `Process`."""
        if self._one.acquire(blocking=False):  # else another thread waits for its end
            try:
                if self.returncode is None and select.select([self._status], [], [], 0)[0]:
                    self._read()
            finally:
                self._one.release()
        return self.returncode

    def wait(self) -> int:
        """See `Process`."""
        with self._one:
            if self.returncode is None:
                self._read()
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        """See `Process`."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it ended just now
                os.kill(self.pid, signal.SIGKILL)

    def _read(self) -> None:
        with self._status:
            said = self._status.read()
        self.returncode = int(said) if said else -signal.SIGKILL  # nothing: the server was killed, and it with it


class _Server:
    """The side of the process that starts others."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.socket, theirs = socket.socketpair()
        self.owner = os.getpid()
        self._one = threading.Lock()
        with theirs:
            command = [*_command(__name__), str(theirs.fileno())]
            self.process = subprocess.Popen(
                command,
                env=env,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    @property
    def serves(self) -> bool:
        """Whether it can be asked: it lives, and is this process's own."""
        return self.owner == os.getpid() and self.socket.fileno() >= 0 and self.process.poll() is None

    def start(self, module: str, arguments: Sequence[str], env: Mapping[str, str]) -> Forked:
        """See the function `start`."""
        request = {"module": module, "arguments": list(arguments), "env": dict(env), "directory": str(Path.cwd())}
        with ExitStack() as theirs, ExitStack() as ours:
            pipes = [os.pipe() for _ in range(4)]
            mine = [
                os.fdopen(pipes[0][1], "w"),
                os.fdopen(pipes[1][1], "w"),
                *(os.fdopen(each[0]) for each in pipes[2:]),
            ]
            sent = [pipes[0][0], pipes[1][0], pipes[2][1], pipes[3][1]]
            for each in mine:
                ours.callback(each.close)
            for number in sent:
                theirs.callback(os.close, number)
            words, stdin, stdout, status = mine
            with self._one:
                try:
                    socket.send_fds(self.socket, [b"\n"], [sent[0], sent[1], sent[2], 2, sent[3]])
                    theirs.close()
                    with words:
                        json.dump(request, words)
                    pid = int(self.socket.recv(32) or 0)
                except OSError:
                    pid = 0
                except BaseException:  # Ctrl-C: what the server answers now would be taken for another answer
                    self.end()
                    raise
                if pid == 0:  # the server was killed
                    self.end()
            ours.pop_all()
        return Forked(pid, stdin, stdout, status)

    def end(self) -> None:
        """Ends the server; nothing where the process is a fork of the one that started it."""
        if self.owner == os.getpid():
            self.socket.close()
            self.process.kill()
            self.process.wait()


_servers: dict[tuple[tuple[str, str], ...], _Server] = {}
_one_at_a_time = threading.Lock()


def _server(env: Mapping[str, str]) -> _Server:
    """The server for an environment, which is started if there is none."""
    key = tuple(sorted(pair for pair in env.items() if pair[0].startswith(READ_WHEN_IMPORTED)))
    with _one_at_a_time:
        found = _servers.get(key)
        if found is None or not found.serves:
            found = _servers[key] = _Server(env)
            atexit.register(found.end)
        return found


def _command(module: str) -> list[str]:
    return [sys.executable, "-m", module]


def main() -> None:
    """The server: imports, forks when asked, and says how each process ended."""
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    statuses: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _say_who_ended(statuses)
        if control.fileno() not in ready:
            continue
        asked, files, _, _ = socket.recv_fds(control, 1, 5)
        if not asked:
            os._exit(0)  # the process that it serves is gone
        with os.fdopen(files.pop(0)) as words:
            request = json.load(words)
        with suppress(Exception):  # else the process says why it can't be imported
            for name in (request["module"], *BEFOREHAND):
                importlib.import_module(name)
        gc.collect()
        gc.freeze()  # what is there stays shared with the processes
        threads = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
        has_threads = len([name for name in threads if name != FORKED_WELL]) > 1
        server, pid = os.getpid(), os.fork()
        if pid == 0:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # nobody else would know how it ended
            if os.getppid() != server:
                os._exit(1)
            signal.set_wakeup_fd(-1)
            for each in (control.fileno(), woken, wake, files.pop(), *statuses.values()):
                os.close(each)
            _become(request, files)
            if has_threads:
                command = [*_command(request["module"]), *request["arguments"]]
                os.execve(command[0], command, request["env"])
            sys.exit(importlib.import_module(request["module"]).main())
        statuses[pid] = files.pop()
        for each in files:
            os.close(each)
        with suppress(OSError):  # the process that it serves is gone, as it sees at once
            control.send(str(pid).encode())


def _say_who_ended(statuses: dict[int, int]) -> None:
    while statuses:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with os.fdopen(statuses.pop(pid), "w") as told:
            told.write(str(os.waitstatus_to_exitcode(status)))


def _become(request: Mapping[str, Any], files: Sequence[int]) -> None:
    """Gives a fork what the process that was asked for is to have: its own session, pipes, signals, variables and words."""
    os.setsid()
    for number, each in enumerate(files):
        os.dup2(each, number)
        os.close(each)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(request["env"])
    began = str(Path.cwd())
    os.chdir(request["directory"])
    if sys.path[0] == began:  # as `python -m` has it
        sys.path[0] = request["directory"]
    sys.argv = [request["module"], *request["arguments"]]


if __name__ == "__main__":
    main()

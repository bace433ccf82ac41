"""Processes that tests kill: forks of this one, which has imported everything that they need."""

import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path

WAIT_S = 120


def forked(function: Callable[..., object], *arguments: object) -> ForkProcess:
    """A process that calls `function(*arguments)`; it has been started."""
    process = get_context("fork").Process(target=function, args=arguments)
    process.start()
    return process


def kill_when(process: ForkProcess, is_time: Callable[[], bool]) -> None:
    """kill −9 of a process as soon as `is_time()`, which must come before it ends."""
    deadline = time.monotonic() + WAIT_S
    while not is_time():
        assert process.is_alive(), "it ended too early"
        assert time.monotonic() < deadline, "it did not get there"
        time.sleep(0.01)
    process.kill()
    process.join()


def lines(path: Path) -> int:
    """Lines of a file that the process writes; none before there is one."""
    return len(path.read_text().splitlines()) if path.exists() else 0

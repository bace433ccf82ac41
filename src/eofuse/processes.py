"""Work spread over processes that end with this one, however it ends: `in_processes`."""

import ctypes
import gc
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from eofuse.errors import DataError

AHEAD = 3
"""Jobs a process that are begun before their results are taken."""

Shared = TypeVar("Shared")
Job = TypeVar("Job")
Result = TypeVar("Result")


def usable_cores() -> int:
    """Cores that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> None:
    """Returns the memory of arrays that are gone to the system.

    The allocator of Linux (glibc) keeps it for later ones, which seldom fit into its pieces, so that long work would take ever more.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def in_processes(
    function: Callable[[Shared, Job], Result],
    shared: Shared,
    jobs: Sequence[Job],
    workers: int,
    *,
    where: object,
    fix: str = "run the same command again, with fewer workers if memory was short",
) -> Iterator[Result]:
    """Yields `function(shared, job)` of each job in order; each process uses one thread for linear algebra.

    Args:
        function: of a module, so that it can be sent to another process.
        shared: sent to each process once.
        jobs: what differs from call to call.
        workers: processes; with one, or one job, the work is done in this process.
        where: what the work is about, for the error.
        fix: what to do when a process is killed.

    Raises:
        DataError: if a process is killed from outside; errors of `function` come as they are.
    """
    if workers == 1 or len(jobs) <= 1:
        with threadpool_limits(1):
            for job in jobs:
                yield function(shared, job)
        return
    context = get_context("fork" if sys.platform == "linux" else "spawn")  # a fork is not safe on macOS
    count = min(workers, len(jobs))
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(function, shared))
    waiting: deque[Future[Result]] = deque()
    try:
        for job in jobs:
            waiting.append(pool.submit(_do, job))
            if len(waiting) >= AHEAD * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise DataError("a process that worked on it was killed", where=where, fix=fix) from None
    finally:
        pool.shutdown(cancel_futures=True)  # to its end: a thread that is left would meet closed files when Python ends


_function: Callable[[Any, Any], Any] | None = None
_shared: Any = None


def _begin(function: Callable[[Any, Any], Any], shared: object) -> None:
    """Keeps what all jobs share; leaves Ctrl-C to the parent, and ends when the parent does."""
    global _function, _shared
    gc.freeze()  # what the parent left to be collected may wait for a thread that a fork lacks, and memory stays shared
    _function, _shared = function, shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threadpool_limits(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _do(job: object) -> Any:
    assert _function is not None
    return _function(_shared, job)

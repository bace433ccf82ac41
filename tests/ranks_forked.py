"""Processes that train together in tests: forks of this one, which has imported everything that they need."""

import os
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any

from torch.distributed import TCPStore

from eofuse import ranks

WAIT_S = 60


class EndedError(Exception):
    """A process ended without a result; its exit code is the argument."""


def in_ranks(function: Callable[..., Any], *arguments: object, count: int = 2) -> list[Any]:
    """What `function(*arguments)` gives in each of several processes that have joined; what it raised, or `EndedError`, as it is."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    known = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "WORLD_SIZE": str(count),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    context = get_context("fork")
    processes, pipes, results = [], [], []
    for rank in range(count):
        here, there = context.Pipe()
        own = {**known, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        processes.append(context.Process(target=_one, args=(own, there, function, arguments)))
        processes[-1].start()
        there.close()
        pipes.append(here)
    for pipe, process in zip(pipes, processes, strict=True):
        try:
            results.append(pipe.recv() if wait([pipe], WAIT_S) else EndedError("it hangs"))
        except EOFError:
            process.join()
            results.append(EndedError(process.exitcode))
        process.kill()
        process.join()
    return results


def _one(known: dict[str, str], pipe: Connection, function: Callable[..., Any], arguments: tuple[object, ...]) -> None:
    os.environ |= known
    try:
        with ranks.joined(ranks.launched()):
            result = function(*arguments)
    except Exception as error:
        traceback.print_exc()
        result = error
    pipe.send(result)

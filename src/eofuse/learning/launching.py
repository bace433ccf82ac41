"""Begins the processes of a training on this machine, where no launcher did: `train_in_processes`.

Each is `eofuse.learning.launching` with the variables that torchrun sets, so that there is one way to train
together. They write lines of JSON to this process, which trains nothing itself: progress, and why one failed. When one ends before
its time, all are ended; when this process ends, however that is, they end as well.
"""

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from eofuse import ranks
from eofuse.errors import DataError, EofuseError, UsageError, explain
from eofuse.forking import Process, start
from eofuse.learning.logs import Logs
from eofuse.learning.options import LearningOptions, RunOptions
from eofuse.learning.pretraining import PretrainingOptions
from eofuse.learning.pretraining.run import is_pretraining, train_pretraining
from eofuse.learning.run import read_recipe, refit_run, train_run
from eofuse.progress import Progress

LAST_WORDS_S = 5
"""Time in which processes may still say why one of them ended."""


def train_folder(folder: Path, progress: Progress | None = None, logs: Logs | None = None) -> None:
    """What processes that train together do: the training of a run, again with `refit`, or a pretraining.

    Args:
        folder: of the run or pretraining.
        progress: called with (steps done, steps in all, a few words).
        logs: where its curves are passed on to.
    """
    if is_pretraining(folder):
        train_pretraining(folder, progress, logs=logs)
        return
    train_run(folder, progress, logs=logs)
    refit_run(folder, progress)


def train_in_processes(folder: Path, options: LearningOptions, count: int, progress: Progress | None = None) -> None:
    """`train_folder` by several processes on this machine.

    Args:
        folder: with its recipe; this process holds it.
        options: the recipe.
        count: how many.
        progress: called with (steps done, steps in all, a few words).

    Raises:
        EofuseError: what one of them raised; a `DataError` if one was killed.
    """
    heard: SimpleQueue[tuple[int, dict[str, Any]]] = SimpleQueue()
    with _processes(folder, options.train.thread_count, count) as processes:
        for rank, process in enumerate(processes):
            threading.Thread(target=_listen, args=(rank, process, heard), daemon=True).start()
        done: set[int] = set()
        while len(done) < count:
            rank, said = heard.get()
            if "steps" in said and progress:
                progress(*said["steps"])
            elif "failed" in said or said.get("ended"):
                raise _reason(rank, said, heard, count)
            elif "ended" in said:
                done.add(rank)


@contextmanager
def _processes(folder: Path, threads: int, count: int) -> Iterator[list[Process]]:
    """The processes, which end with the block; this one holds the store through which they meet."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "WORLD_SIZE": str(count),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
    }
    if sys.platform == "linux":
        shared.setdefault("GLOO_SOCKET_IFNAME", "lo")  # they are all here
    processes: list[Process] = []
    try:
        for rank in range(count):
            env = {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            processes.append(start("eofuse.learning.launching", [str(folder)], env))
        yield processes
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
            assert process.stdin
            process.stdin.close()


def _listen(rank: int, process: Process, heard: "SimpleQueue[tuple[int, dict[str, Any]]]") -> None:
    """Passes on what a process says, and how it ends."""
    assert process.stdout
    with process.stdout as lines:
        for line in lines:
            heard.put((rank, json.loads(line)))
    heard.put((rank, {"ended": process.wait()}))


def _reason(
    rank: int, said: dict[str, Any], heard: "SimpleQueue[tuple[int, dict[str, Any]]]", count: int
) -> EofuseError:
    """Why the training ended: the error of a process, before the end of one by a signal, before that of those that were left alone."""
    found, until = [(rank, said)], time.monotonic() + LAST_WORDS_S
    while not any("failed" in each and not each["lost"] for _, each in found) and time.monotonic() < until:
        try:
            found.append(heard.get(timeout=max(0.0, until - time.monotonic())))
        except Empty:
            break
        if sum("ended" in each for _, each in found) == count:
            break
    errors = [each for _, each in found if "failed" in each]
    for each in sorted(errors, key=lambda each: bool(each["lost"])):
        if not each["lost"]:
            kinds = {"UsageError": UsageError, "EofuseError": EofuseError}
            error: EofuseError = kinds.get(each["kind"], DataError)(**each["failed"])
            return error
    ended = [(number, each["ended"]) for number, each in found if each.get("ended")]
    number, code = min(ended, key=lambda end: end[1], default=(rank, 1))  # signals are negative
    cause = "was killed" if code == -signal.SIGKILL else f"ended by signal {-code}" if code < 0 else "ended"
    fix = "what is done is kept: run the same command again; with smaller batches if memory was short"
    return DataError(f"process {number + 1} of {count} {cause}", where="train.devices", fix=fix)


def _recipe(folder: Path) -> LearningOptions:
    return read_recipe(folder, PretrainingOptions if is_pretraining(folder) else RunOptions)


def main() -> None:
    """Does the work of one process, and says how it goes."""

    def end_with_parent() -> None:
        sys.stdin.read()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing else may write between the answers

    def say(words: dict[str, Any]) -> None:
        answers.write(json.dumps(words) + "\n")
        answers.flush()

    place, folder = ranks.launched(), Path(sys.argv[1])
    progress = (lambda *steps: say({"steps": steps})) if place is None or place.rank == 0 else None
    try:
        with ranks.joined(place), Logs(folder, _recipe(folder)) as logs:
            train_folder(folder, progress, logs)
    except Exception as error:
        found = explain(error)
        if type(found) is EofuseError:
            traceback.print_exc()  # nobody expected it
        words = {"what": found.what, "where": found.where, "fix": found.fix}
        kind = "UsageError" if isinstance(found, UsageError) else type(found).__name__
        say({"failed": words, "kind": kind, "lost": isinstance(error, ranks.LostError)})
        os._exit(1)


if __name__ == "__main__":
    main()

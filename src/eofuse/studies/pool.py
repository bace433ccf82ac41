"""A few processes that run cells, as many at a time as there are cores; they end with the study, however it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any

from eofuse.errors import DataError
from eofuse.studies.failures import Failure

Job = tuple[str, Path]

COMMAND = [sys.executable, "-m", "eofuse.studies.worker"]


class Worker:
    """One process, given one job at a time (see `eofuse.studies.worker`).

    Args:
        threads: of its linear algebra.
        card: the CUDA device that it sees, as the only one; all of them by default.
    """

    def __init__(self, threads: int, card: str | None = None) -> None:
        self.card = card
        own = {} if card is None else {"CUDA_VISIBLE_DEVICES": card}
        self.process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "CUBLAS_WORKSPACE_CONFIG": ":4096:8", **own},
            start_new_session=True,  # Ctrl-C is for the study, which ends its processes
        )

    @property
    def has_ended(self) -> bool:
        """Whether its process is no more."""
        return self.process.poll() is not None

    def run(self, role: str, folder: Path, fingerprint: str) -> Failure | None:
        """Runs a cell; gives why it failed, if it did.

        Raises:
            DataError: if no cell of the study can be run any more.
        """
        assert self.process.stdin
        assert self.process.stdout
        try:
            self.process.stdin.write(
                json.dumps({"role": role, "folder": str(folder), "fingerprint": fingerprint}) + "\n"
            )
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.process.wait()
            return Failure("ended", f"its process ended{_cause(self.process.returncode)}")
        return outcome(json.loads(line))


def outcome(answer: Mapping[str, Any]) -> Failure | None:
    """Why a cell failed, if it did, from what a worker answers (see `eofuse.studies.worker.answer`).

    Raises:
        DataError: if no cell of the study can be run any more.
    """
    if "ends" in answer:
        raise DataError(**answer["ends"])
    return Failure(**answer) if answer else None


def _cause(code: int) -> str:
    if code == -signal.SIGKILL:
        return " (killed: with fewer --workers there is more memory for each)"
    return f" (signal {-code})" if code < 0 else f" (exit {code})"


class Pool:
    """Processes for the cells of a study; use it in a `with` block, at whose end they end.

    Args:
        workers: processes at a time.
        threads: of each.
        fingerprint: of the store.
        cards: CUDA devices that the processes see in turn, one each; all of them by default.
    """

    def __init__(self, workers: int, threads: int, fingerprint: str, cards: Sequence[str] = ()) -> None:
        self.cards = list(cards)
        self.threads = threads
        self.fingerprint = fingerprint
        self._workers: list[Worker] = []
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        self._count = workers
        self._stopping = False

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.wait()
            for pipe in (worker.process.stdin, worker.process.stdout):
                if pipe:
                    pipe.close()

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Failure | None]]:
        """Runs jobs; gives each when it is done, with why it failed, if it did.

        Raises:
            DataError: if no job can be run any more.
        """
        while sum(not worker.has_ended for worker in self._workers) < min(self._count, len(jobs)):
            self._idle.put(self._start())
        with ThreadPoolExecutor(self._count) as threads:
            waiting = [threads.submit(self._run, job) for job in jobs]
            try:
                for finished in as_completed(waiting):
                    yield finished.result()
            except BaseException:
                self._stopping = True
                threads.shutdown(wait=False, cancel_futures=True)
                for worker in self._workers:
                    worker.process.kill()  # lets the threads that wait for them end
                raise

    def _run(self, job: Job) -> tuple[Job, Failure | None]:
        worker = self._idle.get()
        try:
            return job, worker.run(*job, self.fingerprint)
        finally:
            self._idle.put(self._start() if worker.has_ended and not self._stopping else worker)

    def _start(self) -> Worker:
        if self.cards:
            running = [worker.card for worker in self._workers if not worker.has_ended]
            card = min(self.cards, key=running.count)
            self._workers.append(Worker(self.threads, card))
        else:
            self._workers.append(Worker(self.threads))
        return self._workers[-1]

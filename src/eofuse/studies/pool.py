"""A few processes that run cells, as many at a time as there are cores; they end with the study, however it ends."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType

from eofuse.errors import DataError, UsageError

Job = tuple[str, Path]


class Worker:
    """One process, given one job at a time (see `eofuse.studies.worker`)."""

    def __init__(self, threads: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "eofuse.studies.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "CUBLAS_WORKSPACE_CONFIG": ":4096:8"},
            start_new_session=True,  # Ctrl-C is for the study, which ends its processes
        )

    def run(self, role: str, folder: Path, fingerprint: str) -> None:
        """Has a cell run in a folder; raises what went wrong there."""
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
            fix = "its messages stand above, if it had any; run it again to go on, with fewer --workers if memory was short"
            raise DataError("a process of the study ended", where=folder, fix=fix)
        answer = json.loads(line)
        if answer:
            kind = DataError if answer["error"] == "data" else UsageError
            raise kind(answer["what"], where=answer["where"], fix=answer["fix"])


class Pool:
    """Processes for the cells of a study; use it in a `with` block, at whose end they end.

    Args:
        workers: how many.
        threads: of each.
        fingerprint: of the study's store.
    """

    def __init__(self, workers: int, threads: int, fingerprint: str) -> None:
        self.threads = threads
        self.fingerprint = fingerprint
        self._workers: list[Worker] = []
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        self._count = workers

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

    def run(self, jobs: Sequence[Job]) -> Iterator[Job]:
        """Runs jobs; gives each when it is done."""
        while len(self._workers) < min(self._count, len(jobs)):
            self._workers.append(Worker(self.threads))
            self._idle.put(self._workers[-1])
        with ThreadPoolExecutor(self._count) as threads:
            waiting = [threads.submit(self._run, job) for job in jobs]
            try:
                for finished in as_completed(waiting):
                    yield finished.result()
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                for worker in self._workers:
                    worker.process.kill()  # lets the threads that wait for them end
                raise

    def _run(self, job: Job) -> Job:
        worker = self._idle.get()
        try:
            worker.run(*job, self.fingerprint)
        finally:
            self._idle.put(worker)
        return job

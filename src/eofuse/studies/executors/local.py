"""The processes of this machine: as many at a time as there are cores, or a few a CUDA device."""

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from eofuse.forking import start
from eofuse.studies.cards import cards_for, workers_on
from eofuse.studies.executors import EXECUTORS, Ended, Executor, Job, Resources, Setting, outcome
from eofuse.studies.failures import Failure


class Worker:
    """One process, given one job at a time (see `eofuse.studies.worker`).

    Args:
        threads: of its linear algebra.
        card: the CUDA device that it sees, as the only one; all of them by default.
    """

    def __init__(self, threads: int, card: str | None = None) -> None:
        self.card = card
        own = {} if card is None else {"CUDA_VISIBLE_DEVICES": card}
        env = {**os.environ, "OMP_NUM_THREADS": str(threads), "CUBLAS_WORKSPACE_CONFIG": ":4096:8", **own}
        self.process = start("eofuse.studies.worker", [], env)

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


def _cause(code: int) -> str:
    if code == -signal.SIGKILL:
        return " (killed: with fewer --workers there is more memory for each)"
    return f" (signal {-code})" if code < 0 else f" (exit {code})"


@EXECUTORS.register("local")
class Local(Executor):
    """Processes of this machine, which end with the study, however it ends; on CUDA devices, each sees one of them."""

    def __init__(self, setting: Setting, options: Resources) -> None:
        self.setting = setting
        self.cards = cards_for(setting.training)
        self.places = setting.workers or self._at_a_time()
        self._workers: list[Worker] = []
        self._idle: list[Worker] = []
        self._waiting: list[Thread] = []
        self._ended: SimpleQueue[Ended | Exception] = SimpleQueue()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Gives each job to a process that has none, or to a new one."""
        for job in jobs:
            self._idle = [worker for worker in self._idle if not worker.has_ended]
            worker = self._idle.pop() if self._idle else self._start()
            self._waiting = [thread for thread in self._waiting if thread.is_alive()]
            self._waiting.append(Thread(target=self._run, args=(worker, job), daemon=True))
            self._waiting[-1].start()

    def _run(self, worker: Worker, job: Job) -> None:
        try:
            failure = worker.run(job.role, job.folder, self.setting.fingerprint)
        except Exception as error:  # raised where it is waited for
            self._ended.put(error)
            return
        self._idle.append(worker)
        self._ended.put(Ended(job, failure))

    def wait(self) -> list[Ended]:
        """Waits for one job."""
        found = self._ended.get()
        if isinstance(found, Exception):
            raise found
        return [found]

    def close(self) -> None:
        """Kills the processes, and waits until they are no more."""
        for worker in self._workers:
            worker.process.kill()  # lets the threads that wait for them end
        for thread in self._waiting:
            thread.join()
        for worker in self._workers:
            worker.process.wait()
            for pipe in (worker.process.stdin, worker.process.stdout):
                if pipe:
                    pipe.close()

    def _start(self) -> Worker:
        if self.cards:
            running = [worker.card for worker in self._workers if not worker.has_ended]
            card = min(self.cards, key=running.count)
            self._workers.append(Worker(self.setting.threads, card))
        else:
            self._workers.append(Worker(self.setting.threads))
        return self._workers[-1]

    def _at_a_time(self) -> int:
        """As many as there are cores for, or room on the CUDA devices; one on a device that the recipe names."""
        if self.cards:
            return workers_on(self.cards, self.setting.threads)
        cores = os.cpu_count() or 1
        is_named = self.setting.training[0].device not in ("auto", "cpu")
        return 1 if is_named else max(1, cores // self.setting.threads)

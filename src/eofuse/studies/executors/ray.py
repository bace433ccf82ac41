"""Tasks of Ray, on this machine or on a cluster of Ray."""

import os
import random
import signal
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from pydantic import Field

from eofuse.errors import DataError, UsageError
from eofuse.studies.cards import RUNS_A_CARD
from eofuse.studies.executors import EXECUTORS, Ended, Executor, Job, Resources, Setting
from eofuse.studies.failures import Failure
from eofuse.studies.remote import do
from eofuse.studies.sending import message, settle

MOST_AT_A_TIME = 1000
"""Tasks that Ray is given at a time, unless the user says; it begins as many as it has room for."""


ANSWER_S = 10.0
"""Seconds in which a cluster must let itself be reached: Ray would try for many minutes."""

MOST_LETTERS = 300
"""Of an error of Ray that a message quotes."""


class RayResources(Resources):
    """What is asked of Ray.

    Attributes:
        address: of a cluster that runs (`auto`, `HOST:6379`); this machine alone by default.
        cpus: that Ray counts for a run; by default the recipe's number of threads.
        gpus: that Ray counts for a run, of which a part is possible; by default a quarter of one where there are any and the recipe
            does not say `device: cpu`.
        memory_gb: that Ray counts for a run; not counted by default.
    """

    address: str | None = None
    cpus: float | None = Field(default=None, gt=0)
    gpus: float | None = Field(default=None, ge=0)
    memory_gb: float | None = Field(default=None, gt=0)


@EXECUTORS.register("ray")
class OnRay(Executor):
    """Tasks of Ray; a cluster that was started for the study ends with it."""

    Options = RayResources
    library = extra = "ray"
    is_cluster = True

    def __init__(self, setting: Setting, options: RayResources) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self.ray: Any = import_module("ray")
        self.setting = setting
        self.places = setting.workers or MOST_AT_A_TIME
        self.cpus = setting.threads if options.cpus is None else options.cpus
        self.is_own = not self.ray.is_initialized()
        if self.is_own:
            self._start(options)
        wants: dict[str, Any] = {"num_cpus": self.cpus, "num_gpus": self._gpus(options), "max_retries": 0}
        if options.memory_gb is not None:
            wants["memory"] = options.memory_gb * 2**30
        self.task = self.ray.remote(**wants)(do)
        self.running: dict[Any, Job] = {}

    def _start(self, options: RayResources) -> None:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            if options.address is None:
                cores = max(self.cpus * (self.setting.workers or 0), os.cpu_count() or 1)
                self.ray.init("local", num_cpus=int(cores), include_dashboard=False, **quiet)
            else:
                _refuse_silence(options.address)
                self.ray.init(options.address, **quiet)
        except (OSError, RuntimeError, ValueError, self.ray.exceptions.RayError) as error:
            fix = (
                "start one by `ray start --head`, see that its token is here (RAY_AUTH_MODE), or leave out the address"
            )
            words = " ".join(str(error).split()) or type(error).__name__
            found = f"no cluster of Ray answers: {words[:MOST_LETTERS]}"
            raise UsageError(found, where=options.address or "this machine", fix=fix) from error
        finally:
            if threading.current_thread() is threading.main_thread():
                for number, handler in handlers.items():
                    signal.signal(number, handler)  # Ray takes them

    def _gpus(self, options: RayResources) -> float:
        if options.gpus is not None:
            return options.gpus
        on_cpus = self.setting.training[0].device == "cpu"
        return 0 if on_cpus or not self.ray.cluster_resources().get("GPU") else 1 / RUNS_A_CARD

    def submit(self, jobs: Sequence[Job]) -> None:
        """Begins a task each; one that failed before goes to another machine if there is one."""
        for job in jobs:
            task = self.task
            if job.avoid is not None and (node := self._node_beside(job.avoid)):
                strategy = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=True)
                task = task.options(scheduling_strategy=strategy)
            self.running[task.remote(message(job, self.setting))] = job

    def _node_beside(self, host: str) -> str | None:
        nodes = [node for node in self.ray.nodes() if node["Alive"] and node["NodeManagerHostname"] != host]
        return random.choice(nodes)["NodeID"] if nodes else None

    def wait(self) -> list[Ended]:
        """Waits for a task."""
        ready: list[Any] = []
        while not ready:
            ready, _ = self.ray.wait(list(self.running), timeout=1)
        return [self._ended(each) for each in ready]

    def _ended(self, reference: Any) -> Ended:
        job = self.running.pop(reference)
        errors = self.ray.exceptions
        try:
            answered = self.ray.get(reference)
        except errors.RayTaskError as error:  # raised before the run began
            cause = str(error.cause or error).splitlines()[0]
            raise DataError(f"a machine of Ray can't run eofuse: {cause}", fix="install eofuse there, too") from error
        except errors.RayError as error:
            why = type(error).__name__
            if isinstance(error, errors.OutOfMemoryError):
                why = "the memory of its machine was used up; give --resources memory_gb=…"
            elif isinstance(error, errors.WorkerCrashedError):
                why = "it was killed, or crashed"
            return Ended(job, Failure("ended", f"its process ended ({why})"))
        return settle(job, answered)

    def close(self) -> None:
        """Cancels what runs, and ends the cluster if it was started for the study."""
        for reference in self.running:
            with suppress(Exception):
                self.ray.cancel(reference, force=True)
        if self.is_own:
            self.ray.shutdown()


def _refuse_silence(address: str) -> None:
    """Raises an `OSError` if nothing listens at `HOST:PORT`."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S).close()

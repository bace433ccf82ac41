"""Jobs of Slurm, those that can be begun together as an array, by submitit.

A job that comes to its time limit, or is preempted, is queued again and goes on from its last checkpoint. What it came to, a job
writes as JSON; the pickles that submitit writes beside are read by the jobs themselves alone.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from pydantic import Field

from eofuse.errors import UsageError
from eofuse.files import read_json
from eofuse.studies.executors import EXECUTORS, Ended, Executor, Job, Resources, Setting
from eofuse.studies.failures import Failure
from eofuse.studies.remote import Submitted
from eofuse.studies.sending import message, settle

MOST_AT_A_TIME = 1000
"""Jobs that Slurm has at a time, unless the user says; it usually takes no larger arrays."""

MOST_TIMEOUTS = 20
"""How often a job is queued again after its time limit."""

LOOK_S = {"slurm": 2.0, "local": 0.1}
"""Seconds between two looks for what jobs wrote."""

STATES_S = 30.0
"""Seconds between two questions to Slurm how its jobs are."""


class SlurmResources(Resources):
    """What is asked of Slurm for each run.

    Attributes:
        partition: in which it is queued; that of the cluster by default.
        account: that pays.
        qos: quality of service.
        constraint: what its machine must have.
        hours: its time limit, after which it is queued again and goes on.
        cpus: cores; by default the recipe's number of threads.
        gpus: cards; by default one where the recipe says `device: cuda`, else none.
        memory_gb: memory.
        cluster: `slurm`, or `local` for processes of this machine, to try it without one.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    hours: float = Field(default=4.0, gt=0)
    cpus: int | None = Field(default=None, ge=1)
    gpus: int | None = Field(default=None, ge=0)
    memory_gb: float | None = Field(default=None, gt=0)
    cluster: Literal["slurm", "local"] = "slurm"


@EXECUTORS.register("slurm")
class OnSlurm(Executor):
    """Jobs of Slurm, which are cancelled when the study is ended."""

    Options = SlurmResources
    library, extra = "submitit", "slurm"
    is_cluster = True

    def __init__(self, setting: Setting, options: SlurmResources) -> None:
        self.submitit: Any = import_module("submitit")
        self.setting, self.options = setting, options
        self.is_local = options.cluster == "local"
        self.places = setting.workers or ((os.cpu_count() or 1) if self.is_local else MOST_AT_A_TIME)
        self.folder = setting.folder.resolve() / "jobs"
        self.running: dict[str, tuple[Job, Any]] = {}
        self.asked = time.monotonic()
        self.leaves_logs = False
        self._executor()

    def _executor(self, exclude: str | None = None) -> Any:
        options = self.options
        limits = {"slurm_max_num_timeout": MOST_TIMEOUTS, "local_max_num_timeout": MOST_TIMEOUTS}
        try:
            executor = self.submitit.AutoExecutor(self.folder, cluster=options.cluster, **limits)
        except RuntimeError as error:  # there is no srun
            fix = "run it where `sbatch` is, or try it here with --resources cluster=local"
            raise UsageError("this machine has no Slurm", where="--on slurm", fix=fix) from error
        on_card = self.setting.training[0].device.startswith("cuda")
        executor.update_parameters(
            name="eofuse",
            timeout_min=max(1, round(60 * options.hours)),
            cpus_per_task=options.cpus or self.setting.threads,
            gpus_per_node=int(on_card) if options.gpus is None else options.gpus,
            mem_gb=options.memory_gb,
            stderr_to_stdout=True,
            slurm_partition=options.partition,
            slurm_account=options.account,
            slurm_qos=options.qos,
            slurm_constraint=options.constraint,
            slurm_exclude=exclude,
            slurm_array_parallelism=self.places,
        )
        return executor

    def submit(self, jobs: Sequence[Job]) -> None:
        """Queues jobs as an array; those that failed before by themselves, not for the machine that failed."""
        for avoided in dict.fromkeys(job.avoid for job in jobs):
            together = [job for job in jobs if job.avoid == avoided]
            names = [uuid4().hex for _ in together]
            sent = [
                {**message(job, self.setting), "answer": str(self._answers / f"{name}.json")}
                for job, name in zip(together, names, strict=True)
            ]
            try:
                with _silent_children() if self.is_local else nullcontext():
                    queued = self._executor(avoided).map_array(Submitted(), sent)
            except self.submitit.core.utils.FailedJobError as error:
                words = [line.strip() for line in str(error).splitlines() if line.strip()]
                why = next((line for line in words if "error" in line.lower()), words[-1] if words else "")
                raise UsageError(f"Slurm takes no job: {why}", where="--resources (--on slurm)") from error
            for job, name, each in zip(together, names, queued, strict=True):
                self.running[name] = job, each

    @property
    def _answers(self) -> Path:
        return self.folder / "answers"

    def wait(self) -> list[Ended]:
        """Looks for answers, and now and then for jobs that ended without one."""
        while True:
            found = [self._answered(name) for name in self._written()]
            if not found and (over := [name for name, (_, job) in self.running.items() if self._is_over(job)]):
                if not self.is_local:
                    time.sleep(LOOK_S["slurm"])  # what they wrote may be seen later
                written = self._written()
                found = [self._answered(name) if name in written else self._lost(name) for name in over]
            if found:
                return found
            self._ask()
            time.sleep(LOOK_S[self.options.cluster])

    def _written(self) -> list[str]:
        names = [entry.name for entry in os.scandir(self._answers)] if self._answers.is_dir() else []
        return [name.removesuffix(".json") for name in names if name.removesuffix(".json") in self.running]

    def _answered(self, name: str) -> Ended:
        job, queued = self.running.pop(name)
        ended = settle(job, read_json(self._answers / f"{name}.json"))
        return ended if ended.failure is None else self._with_log(ended, queued)

    def _lost(self, name: str) -> Ended:
        job, queued = self.running.pop(name)
        state, host = "it was killed, or crashed", None
        if not self.is_local:
            known = queued.watcher.get_info(queued.job_id, mode="cache")
            state, host = f"Slurm says {known.get('State', 'nothing')}", known.get("NodeList")
        return self._with_log(Ended(job, Failure("ended", f"its process ended ({state})"), host), queued)

    def _with_log(self, ended: Ended, queued: Any) -> Ended:
        assert ended.failure is not None
        self.leaves_logs = True
        why = f"{ended.failure.why}; log: {Path(queued.paths.stdout).relative_to(self.folder.parent)}"
        return Ended(ended.job, Failure(ended.failure.kind, why), ended.host)

    def _is_over(self, queued: Any) -> bool:
        if self.is_local:
            return bool(queued.done())
        return bool(queued.watcher.is_done(queued.job_id, mode="cache"))

    def _ask(self) -> None:
        """Asks Slurm for all jobs at once."""
        if self.is_local or time.monotonic() - self.asked < STATES_S or not self.running:
            return
        self.asked = time.monotonic()
        next(iter(self.running.values()))[1].watcher.update()

    def close(self) -> None:
        """Cancels the jobs that are queued or run; logs of those that failed are kept."""
        if self.is_local:
            for _, queued in self.running.values():
                with suppress(OSError):
                    queued.cancel()
            for _, queued in self.running.values():
                queued._process.wait()
        elif self.running:
            arrays = sorted({queued.job_id.partition("_")[0] for _, queued in self.running.values()})
            with suppress(OSError):
                subprocess.run(["scancel", *arrays], check=False, capture_output=True)
        if not self.leaves_logs:
            shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def _silent_children() -> Iterator[None]:
    """Lets processes that begin in the block have no error stream: those in which submitit watches jobs say how they are ended."""
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)

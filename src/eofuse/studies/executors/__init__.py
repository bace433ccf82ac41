"""Where the runs of a study are done: `EXECUTORS`, a file each; other packages add theirs by the entry points `eofuse.executors`.

An `Executor` takes jobs, gives those that have ended, and ends what still runs when it is closed. In which order jobs are done, and
what is tried again, is for `eofuse.studies.schedule`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from eofuse.config import Options, apply_overrides, parse_options, read_yaml
from eofuse.errors import DataError, UsageError
from eofuse.learning.loop import TrainOptions
from eofuse.registry import Registry
from eofuse.studies.failures import Failure


@dataclass(frozen=True)
class Job:
    """One thing to do in one folder.

    Attributes:
        role: what is to be done (see `eofuse.studies.worker.run_cell`).
        folder: of the run.
        avoid: the machine that failed at it before.
    """

    role: str
    folder: Path
    avoid: str | None = None

    @property
    def key(self) -> tuple[str, Path]:
        """What is done where; a twin that begins with random weights is trained and tested as a variant is."""
        return "variant" if self.role == "random_twin" else self.role, self.folder


@dataclass(frozen=True)
class Ended:
    """A job that is over.

    Attributes:
        job: which.
        failure: why it failed, if it did.
        host: the machine that did it, where that is known.
    """

    job: Job
    failure: Failure | None
    host: str | None = None


@dataclass(frozen=True)
class Setting:
    """What an executor must know of a study.

    Attributes:
        folder: of the study.
        fingerprint: of the store.
        training: of the variants, that of the baseline first.
        token: of the claim of the study (see `eofuse.studies.claims`).
        workers: jobs at a time, if the user says.
    """

    folder: Path
    fingerprint: str
    training: Sequence[TrainOptions]
    token: str = ""
    workers: int | None = None

    @property
    def threads(self) -> int:
        """Of each job."""
        return self.training[0].thread_count

    def message(self, job: Job) -> dict[str, Any]:
        """A job as a worker reads it, in values of JSON."""
        return {"role": job.role, "folder": str(job.folder), "fingerprint": self.fingerprint}


class Resources(Options):
    """What an executor can be asked for; each has its own."""


class Executor(ABC):
    """Does jobs of a study; use it in a `with` block, at whose end those that still run are ended.

    Attributes:
        Options: what can be asked of it.
        library: that it needs, if it needs one.
        extra: of eofuse with which that is installed.
        is_cluster: whether a job that failed may succeed on another machine.
        places: jobs that it takes at a time.
    """

    Options: ClassVar[type[Resources]] = Resources
    library: ClassVar[str | None] = None
    extra: ClassVar[str | None] = None
    is_cluster: ClassVar[bool] = False
    places: int

    @classmethod
    def check(cls) -> None:
        """Raises a `UsageError` if its library is missing."""
        if cls.library is not None and find_spec(cls.library) is None:
            found = f"studies there need the package {cls.library}"
            raise UsageError(found, where=f"--on {cls.extra}", fix=f"pip install 'eofuse[{cls.extra}]'")

    @abstractmethod
    def __init__(self, setting: Setting, options: Any) -> None: ...

    @abstractmethod
    def submit(self, jobs: Sequence[Job]) -> None:
        """Takes jobs, no more than there are places."""

    @abstractmethod
    def wait(self) -> list[Ended]:
        """Waits until a job has ended; gives all that have.

        Raises:
            DataError: if no job of the study can be done any more.
        """

    @abstractmethod
    def close(self) -> None:
        """Ends the jobs that run, and what else there is of it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


EXECUTORS: Registry[type[Executor]] = Registry("place for studies", "eofuse.executors", __name__)


def read_resources(on: str, resources: str | Mapping[str, Any] | None = None) -> Resources:
    """What is asked of an executor, from a mapping, words `key=value,key=value` or the path of a YAML file.

    Raises:
        UsageError: if there is no such executor, it can't be used here, or has no such option.
    """
    executor = EXECUTORS[on]
    executor.check()
    where = f"--resources (--on {on})"
    if isinstance(resources, str) and Path(resources).suffix in (".yaml", ".yml"):
        where, resources = resources, read_yaml(Path(resources))
    elif isinstance(resources, str):
        words = resources.split(",")
        if wrong := [word for word in words if not word.partition("=")[2]]:
            fix = "write key=value,key=value, or name a .yaml file"
            raise UsageError(f"'{wrong[0]}' is no key with a value", where=where, fix=fix)
        resources = apply_overrides({}, words)
    return parse_options(executor.Options, resources or {}, where)


def outcome(answer: Mapping[str, Any]) -> Failure | None:
    """Why a job failed, if it did, from what a worker answers (see `eofuse.studies.worker.answer`).

    Raises:
        DataError: if no job of the study can be done any more.
    """
    if "ends" in answer:
        raise DataError(**answer["ends"])
    return Failure(**answer) if answer else None

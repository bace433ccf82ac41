"""Where runs can be followed beside their folder: `LOGGERS`, a file each; other packages add theirs by `eofuse.loggers`.

A `RunLogger` passes on the numbers of one run. What is passed on when, and that a logger that fails costs the run nothing, is for
`eofuse.learning.logs`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar, Literal

from eofuse.errors import UsageError
from eofuse.registry import Registry

Status = Literal["finished", "failed", "interrupted", "unfinished"]


@dataclass(frozen=True)
class LoggedRun:
    """What a logger gets of a run at its beginning.

    Attributes:
        name: a few words, for people.
        study: the study that it is of, if it is of one.
        facts: its folder, the fingerprint of its store, the version of eofuse.
        options: its recipe, in values of JSON.
    """

    name: str
    study: str | None
    facts: Mapping[str, str]
    options: Mapping[str, Any]

    @property
    def group(self) -> str:
        """What runs stand under that people compare."""
        return self.study or "eofuse"


class RunLogger(ABC):
    """Passes on the numbers of one run to where people look at many.

    Whatever its methods raise becomes a warning, and the run goes on without it.

    Attributes:
        library: that it needs.
        extra: of eofuse with which that is installed, if there is one.
        place: by what the logged run is found again; the same for one that is gone on with.
    """

    library: ClassVar[str]
    extra: ClassVar[str | None] = None
    place: dict[str, str]

    @classmethod
    def check(cls) -> None:
        """Raises a `UsageError` if its library is missing."""
        if find_spec(cls.library) is None:
            package = f"'eofuse[{cls.extra}]'" if cls.extra else cls.library
            what = f"the package {cls.library} is not installed"
            raise UsageError(what, where="train.loggers", fix=f"pip install {package}")

    @abstractmethod
    def __init__(self, run: LoggedRun, before: Mapping[str, str] | None) -> None:
        """Begins a logged run.

        Args:
            run: of what.
            before: the `place` of one that was begun, which is gone on with under this name if it is still there.
        """

    @abstractmethod
    def log(self, values: Mapping[str, float], step: int) -> None:
        """Passes on finite numbers by name, such as `validation/accuracy`, with the step of the optimiser."""

    @abstractmethod
    def end(self, scores: Mapping[str, float], step: int) -> None:
        """Passes on the scores on test patches, after the last step."""

    @abstractmethod
    def close(self, status: Status) -> None:
        """Leaves the logged run; one that is not finished may be gone on with."""


LOGGERS: Registry[type[RunLogger]] = Registry("logger", "eofuse.loggers", __name__)

"""What is wrong with a dataset, as a value: collected while indexing and checking instead of raised one by one."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from eofuse.errors import DataError

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """One finding about a dataset.

    Attributes:
        severity: "error" if the patch or table can't be used as it is, "warning" if it only looks odd.
        what: what is wrong, in a few words.
        where: the file, table and column, or band in which it was found.
        patch_id: the patch it concerns, None if it concerns the whole dataset.
        fix: what to do about it.
    """

    severity: Severity
    what: str
    where: str
    patch_id: str | None = None
    fix: str = ""

    def __str__(self) -> str:
        patch = f"patch {self.patch_id}: " if self.patch_id and self.patch_id not in self.where else ""
        advice = f"; {self.fix}" if self.fix else ""
        return f"{self.severity}: {patch}{self.where}: {self.what}{advice}"

    @classmethod
    def from_error(cls, error: DataError, patch_id: str | None = None) -> "Problem":
        """The error-level problem that says what a `DataError` says."""
        return cls("error", error.what, error.where or "", patch_id, error.fix or "")


def errors_first(problems: Iterable[Problem]) -> list[Problem]:
    """The problems with errors before warnings, otherwise in the order given."""
    return sorted(problems, key=lambda problem: problem.severity != "error")

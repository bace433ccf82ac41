"""What is wrong with a dataset, as a value: collected while indexing and checking instead of raised one by one."""

import re
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


class Problems(list[Problem]):
    """Problems in the order in which they are found."""

    def error(self, what: str, where: object, patch_id: str | None = None, fix: str = "") -> None:
        """Adds an error; see `Problem`."""
        self.append(Problem("error", what, str(where), patch_id, fix))

    def warn(self, what: str, where: object, patch_id: str | None = None, fix: str = "") -> None:
        """Adds a warning; see `Problem`."""
        self.append(Problem("warning", what, str(where), patch_id, fix))


def errors_first(problems: Iterable[Problem]) -> list[Problem]:
    """The problems with errors before warnings, otherwise in the order given."""
    return sorted(problems, key=lambda problem: problem.severity != "error")


FEW_ALIKE = 3
"""Problems alike that are shown one by one."""


def problem_lines(problems: Iterable[Problem]) -> list[tuple[Severity, str]]:
    """The problems as lines for people, with their severity: many that differ only in patch and numbers are one line.

    Errors come before warnings, otherwise each line is where its first problem was.
    """
    alike: dict[tuple[str, ...], list[Problem]] = {}
    for problem in errors_first(problems):
        alike.setdefault(_kind(problem), []).append(problem)
    lines: list[tuple[Severity, str]] = []
    for found in alike.values():
        if len(found) <= FEW_ALIKE or not found[0].patch_id:
            lines += [(problem.severity, str(problem)) for problem in found]
        else:
            lines.append((found[0].severity, _together(found)))
    return lines


def _kind(problem: Problem) -> tuple[str, ...]:
    """What problems alike have in common."""
    patch = problem.patch_id or ""
    texts = (problem.where, problem.what, problem.fix)
    without = (text.replace(patch, "…") if patch else text for text in texts)
    where, what, fix = without
    where = re.sub(r"\brow [0-9]+", "row …", where)
    return problem.severity, where, re.sub(r"[-+]?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?", "…", what), fix


def _together(problems: list[Problem]) -> str:
    first = problems[0]
    examples = ", ".join(str(problem.patch_id) for problem in problems[:FEW_ALIKE])
    differ = " (of the first)" if len({problem.what for problem in problems}) > 1 else ""
    advice = f"; {first.fix}" if first.fix else ""
    return f"{first.severity}: {first.where}: {first.what}{differ}, in {len(problems)} patches: {examples}, …{advice}"

"""A case, its outcome, and the world in which it is tried."""

import random
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from .commands import Ended, survivors

Kind = Literal[
    "clean",
    "accepted",
    "traceback",
    "unclear",
    "crash",
    "hang",
    "memory",
    "wrong",
    "stuck",
    "leftovers",
    "alive",
]
"""What becomes of a case, by its first failing: `clean` is one clear error, `accepted` a right result; the others are defects.

`unclear`: no message or exit code of ours; `wrong`: another result than that of an undisturbed command, without a word; `stuck`: the
repetition fails; `leftovers`: files that nobody needs any more; `alive`: processes that live on.
"""

KINDS: tuple[Kind, ...] = get_args(Kind)
GOOD = ("clean", "accepted")

MEMORY_LIMIT = 2 * 1024**3
"""Bytes that a command may need beyond those with which it begins."""


@dataclass(frozen=True)
class Case:
    """One case of a harness: the same seed and number make the same case."""

    seed: int
    number: int

    @cached_property
    def random(self) -> random.Random:
        """The source of everything random in it."""
        return random.Random(f"{self.seed}-{self.number}")


@dataclass(frozen=True)
class Outcome:
    """What became of a case, a line that says what was tried and found, and words that are counted over all cases."""

    kind: Kind
    words: str
    tags: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether it is what a user may expect."""
        return self.kind in GOOD


class World:
    """A scratch folder with the inputs that cases share.

    Attributes:
        root: the folder.
        commands: those that are tried, all if there are none.
        targets: what is spoilt, everything if there are none.
        kept: what harnesses keep from case to case, by name.
    """

    def __init__(self, root: Path, commands: Sequence[str] = (), targets: Sequence[str] = ()) -> None:
        self.root, self.commands, self.targets = root.resolve(), commands, targets
        self.root.mkdir(parents=True, exist_ok=True)
        self.kept: dict[str, Any] = {}

    def folder(self) -> Path:
        """The folder of a case, empty; always the same one, so that paths in results are the same."""
        folder = self.root / "case"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def made(self, name: str, make: Callable[[Path], object]) -> Path:
        """The path `name`, made by `make(path)` the first time; nobody changes it."""
        path = self.root / "made" / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            make(path)
        return path


def judge(ended: Ended, words: str = "") -> Outcome:
    """The outcome of a single command that was not killed: it succeeds, or ends with one clear error."""
    said = f"{words or ' '.join(ended.argv)}: {ended.status}, {ended.error.strip()[-600:]}"
    if alive := survivors():
        return Outcome("alive", f"{said}: {', '.join(alive)}")
    if ended.hung:
        return Outcome("hang", f"{said} ({ended.seconds:.0f} s)")
    if "Traceback (most recent call last)" in ended.error + ended.output or "a defect of eofuse" in ended.error:
        return Outcome("traceback", said)
    if ended.status < 0:
        return Outcome("crash", said)
    if ended.memory > MEMORY_LIMIT:
        return Outcome("memory", f"{said} ({ended.memory / 1e9:.1f} GB)")
    if ended.status == 0:
        return Outcome("accepted", said)
    if ended.status in (1, 2) and is_clear(ended.error):
        return Outcome("clean", said)
    return Outcome("unclear", said)


def is_clear(error: str) -> bool:
    """Whether what was printed on the error stream ends in one message of ours."""
    messages = [line for line in error.splitlines() if re.match(r"eofuse( [a-z]+)?: ", line)]
    return len(messages) == 1 and error.rstrip().splitlines()[-1] == messages[0]

"""Faults: the system refuses something at any moment of a writing command, which ends with one clear error; again, it succeeds.

What is refused: space, permissions, reading, memory, open files; at an event of its files (see `events`) or at a system call (where
strace is installed). And what surrounds a command: outputs that take nothing, terminals without characters, long names, many ranks.
"""

import errno
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from .cases import Case, Outcome, World, judge
from .commands import Ended, eofuse, in_fork, survivors
from .events import at_event
from .kills import measured, nth, traced
from .trees import difference, digests
from .writing import WRITERS, Writer, drawn, reference

REFUSALS = ["ENOSPC", "ENOSPC", "EACCES", "EROFS", "EIO", "EDQUOT", "EMFILE", "EPERM"]

CALLS_THAT_FAIL = {
    "ENOSPC": "write,pwrite64,openat,mkdir,ftruncate,fsync",
    "EDQUOT": "write,pwrite64,openat,mkdir",
    "EACCES": "openat,mkdir,rename,unlink",
    "EPERM": "openat,mkdir,rename,unlink,fchmodat,chmod",
    "EROFS": "openat,mkdir,rename,unlink",
    "EIO": "read,pread64,write,pwrite64,fsync,openat",
    "EMFILE": "openat,pipe2",
    "ENOMEM": "mmap",
}
"""Error → system calls that give it."""


def run(case: Case, world: World) -> Outcome:
    """Does a command in bad conditions, and again in good ones."""
    draw = case.random
    name = drawn(draw, world)
    way = draw.choice([_refused_event, _refused_event, _refused_call, _full, _surroundings, _surroundings])
    return fault(name, way, case, world)


def fault(
    name: str, way: Callable[[str, Writer, Path, Case, World], tuple[Ended, str]], case: Case, world: World
) -> Outcome:
    """Does this command in conditions of this kind."""
    writer = WRITERS[name]
    expected = reference(name, world)
    measured(name, world)
    folder = writer.folder(world)
    ended, said = way(name, writer, folder, case, world)
    said, tags = f"{name}; {said}: {ended.status}", (way.__name__.strip("_"), *["failed"] * (ended.status != 0))
    first = judge(ended, said)
    if way is _surroundings and "| true" in said and ended.status == 1 and not ended.error:
        first = Outcome("clean", said)  # who takes no output wants no words
    if way is _refused_call and "at write " in said and "+: " in said and ended.status == 1 and not ended.error:
        first = Outcome("clean", said)  # words are written, too
    if not first.is_good:
        return Outcome(first.kind, first.words, tags)
    if writer.opens and (folder / "out").exists():
        opened = eofuse(writer.opens, folder)
        if opened.status != 0:
            return Outcome(
                "wrong", f"{said}; then {' '.join(writer.opens)}: {opened.output[-300:]}{opened.error}", tags
            )
    again = writer.run(world, folder)
    if not writer.is_done(again):
        return Outcome("stuck", f"{said} {ended.error.strip()}; then: {again.status} {again.error[-500:]}", tags)
    if alive := survivors():
        return Outcome("alive", f"{said}: {', '.join(alive)}", tags)
    left, wrong = difference(expected, in_fork(lambda: digests(folder)))
    if wrong:
        return Outcome("wrong", f"{said} {ended.error.strip()}; then other content in {', '.join(wrong)}", tags)
    if left:
        return Outcome("leftovers", f"{said} {ended.error.strip()}; then {', '.join(left)}", tags)
    return Outcome(first.kind, first.words, tags)


def _refused_event(name: str, writer: Writer, folder: Path, case: Case, world: World) -> tuple[Ended, str]:
    """One event that changes files fails, and perhaps all after it."""
    draw = case.random
    wanted = 1 + int(draw.random() * measured(name, world).writing_events)
    number, on = getattr(errno, draw.choice(REFUSALS)), draw.random() < 0.5
    with tempfile.NamedTemporaryFile() as file:

        def act(event: int, what: str, path: str) -> None:
            if event == wanted or (on and event > wanted):
                if event == wanted:
                    os.pwrite(file.fileno(), f"{what} {path}".encode(), 0)
                raise OSError(number, os.strerror(number), *[path] * bool(path))

        ended = eofuse(writer.words(world), folder, at_event(act, folder, only_writing=True), limit_s=writer.limit_s)
        said = f"{errno.errorcode[number]} {'from' if on else 'at'} event {wanted} ({Path(file.name).read_text()})"
    return ended, said


def _refused_call(name: str, writer: Writer, folder: Path, case: Case, world: World) -> tuple[Ended, str]:
    """A system call fails, and perhaps all of its name after it; an event, where strace is not installed."""
    draw = case.random
    if not shutil.which("strace"):
        return _refused_event(name, writer, folder, case, world)
    error = draw.choice(list(CALLS_THAT_FAIL))
    counts = {
        call: count for call, count in measured(name, world).calls.items() if call in CALLS_THAT_FAIL[error].split(",")
    }
    call, wanted = nth(counts, int(draw.random() * sum(counts.values()))) if counts else ("openat", 1)
    on = "+" if draw.random() < 0.5 else ""
    options = ["-e", f"inject={call}:error={error}:when={wanted}{on}", "-o", os.devnull]
    ended = traced(writer.words(world), folder, options).wait(writer.limit_s)
    return ended, f"{error} at {call} {wanted}{on}"


def _full(name: str, writer: Writer, folder: Path, case: Case, world: World) -> tuple[Ended, str]:
    """No file may be larger than some size."""
    size = int(2 ** case.random.uniform(12, 21))

    def before() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return eofuse(writer.words(world), folder, before, limit_s=writer.limit_s), f"files of at most {size} bytes"


def _surroundings(name: str, writer: Writer, folder: Path, case: Case, world: World) -> tuple[Ended, str]:
    """Outputs, terminals and names that are not what they mostly are."""
    draw = case.random
    words = writer.words(world)
    choice = draw.choice(
        ["full", "closed", "gone", "silent", "ascii", "narrow", "long", "ranks", "few files", "read-only"]
    )
    before: Callable[[], object] | None = None
    if choice == "full":
        with Path("/dev/full").open("wb") as full:
            return eofuse(words, folder, output=full, limit_s=writer.limit_s), "> /dev/full"
    if choice == "closed":
        read, write = os.pipe()
        os.close(read)
        with os.fdopen(write, "wb") as pipe:
            return eofuse(words, folder, output=pipe, limit_s=writer.limit_s), "| true"
    if choice == "gone":

        def before() -> None:  # as Python begins with `>&-`
            os.close(1)
            sys.stdout = None  # type: ignore[assignment]

    elif choice == "silent":
        before = lambda: os.dup2(os.open("/dev/full", os.O_WRONLY), 2)  # noqa: E731
    elif choice == "ascii":

        def before() -> None:
            sys.stdout.reconfigure(encoding="ascii", errors="strict")
            sys.stderr.reconfigure(encoding="ascii", errors="strict")

    elif choice == "narrow":

        def before() -> None:
            os.environ |= {"COLUMNS": "5", "TERM": "dumb", "LANG": "C", "LC_ALL": "C"}

    elif choice == "long":
        words = [draw.choice(["x", "é"]) * draw.choice([256, 5000]) if word == "out" else word for word in words]
    elif choice == "ranks":

        def before() -> None:
            os.environ |= {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost"}

    elif choice == "few files":

        def before() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (12, 12))

    elif choice == "read-only":
        mode = folder.stat().st_mode

        def before() -> None:
            for path in (folder, *folder.rglob("*")):
                path.chmod(0o555 if path.is_dir() else 0o444)
            os.setuid(65534)

        ended = eofuse(words, folder, before if os.getuid() == 0 else None, limit_s=writer.limit_s)
        for path in (folder, *folder.rglob("*")):
            path.chmod(mode if path.is_dir() else 0o644)
        return ended, choice
    return eofuse(words, folder, before, limit_s=writer.limit_s), choice

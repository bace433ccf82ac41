"""Kills: a writing command is ended at any moment, once or twice, and done again; it must come to the same bits.

Moments are events of its files (see `events`), system calls (where strace is installed) and times, of the command or of a process
that it began. After each kill no process lives
on, and what a reader had before is still whole. At the end the folder holds what it holds after an undisturbed run, and nothing else.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .cases import Case, Outcome, World, is_clear
from .commands import Command, Ended, descendants, eofuse, in_fork, processes_of_a_user, survivors
from .events import at_event
from .trees import difference, digests
from .writing import WRITERS, Writer, drawn, reference

SIGNALS = [signal.SIGKILL] * 7 + [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
CALLS = (
    "write,pwrite64,openat,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,ftruncate,fsync,close,fchmod"
)
"""System calls at which a command is killed, or which fail."""

READING = ("read", "pread64", "mmap", "pipe2")
"""Those of them that change no file."""

PART_ENDED = r"that worked on it was killed|process ended \(|process \d of \d (was killed|ended by signal)"
"""What a command says when one of its processes got the signal."""


@dataclass(frozen=True)
class Measured:
    """An undisturbed run: its events, those of them that change files, how often it makes which system call, and seconds."""

    events: int
    writing_events: int
    calls: Mapping[str, int]
    seconds: float


def run(case: Case, world: World) -> Outcome:
    """Kills a command once or twice, and does it again."""
    return kill(drawn(case.random, world), case, world)


def kill(name: str, case: Case, world: World) -> Outcome:
    """Kills this command."""
    draw, writer = case.random, WRITERS[name]
    expected, undisturbed = reference(name, world), measured(name, world)
    folder = writer.folder(world)
    argv, said, killed = writer.words(world), name, 0
    for _ in range(draw.choice([1, 1, 2])):
        number = draw.choice(SIGNALS)
        way = draw.choice([_at_event, _at_event, _at_call, _at_time, _in_a_part])
        ended, when = way(argv, folder, undisturbed, number, draw.random())
        said += f"; {number.name} {when}: {ended.status}"
        if writer.once and writer.is_done(ended):
            break
        if outcome := _wrong_end(ended, number, said):
            return outcome
        killed += ended.status != 0
        if writer.opens and (folder / "out").exists():
            opened = eofuse(writer.opens, folder)
            if opened.status != 0:
                return Outcome("wrong", f"{said}; then {' '.join(writer.opens)}: {opened.output[-300:]}{opened.error}")
        if writer.resumes and (folder / writer.resumes / "recipe.yaml").exists() and draw.random() < 0.5:
            argv = ["resume", writer.resumes]
    ended = eofuse(argv, folder, limit_s=writer.limit_s)
    said = f"{said}; then {argv[0]}: {ended.status}"
    tags = (name, *["kills"] * killed)
    if not writer.is_done(ended):
        return Outcome("hang" if ended.hung else "stuck", f"{said} {ended.error[-500:]}", tags)
    if alive := survivors():
        return Outcome("alive", f"{said}: {', '.join(alive)}", tags)
    left, wrong = difference(expected, in_fork(lambda: digests(folder)))
    if wrong:
        return Outcome("wrong", f"{said}: other content in {', '.join(wrong)}", tags)
    if left:
        return Outcome("leftovers", f"{said}: {', '.join(left)}", tags)
    return Outcome("accepted", said, tags)


def _wrong_end(ended: Ended, number: int, said: str) -> Outcome | None:
    """What is wrong with the end of a command that got a signal, if anything is."""
    if alive := survivors():
        return Outcome("alive", f"{said}: {', '.join(alive)}")
    if ended.hung:
        return Outcome("hang", said)
    if "Traceback (most recent call last)" in ended.error + ended.output or "a defect of eofuse" in ended.error:
        return Outcome("traceback", f"{said}: {ended.error[-1500:]}")
    if ended.status == 1 and re.search(PART_ENDED, ended.error):
        return None  # the signal met another process of the command
    if ended.status not in (0, -number, 128 + number):
        return Outcome("crash" if ended.status < 0 else "unclear", f"{said}: {ended.error[-500:]}")
    if ended.status > 0 and not is_clear(ended.error):
        return Outcome("unclear", f"{said}: {ended.error[-500:]}")
    return None


def measured(name: str, world: World) -> Measured:
    kept: dict[str, Measured] = world.kept.setdefault("measured", {})
    if name not in kept:
        writer = WRITERS[name]
        folder = writer.folder(world)
        writing_events = _count(writer, folder, world, only_writing=True)[0]
        folder = writer.folder(world)
        events, seconds = _count(writer, folder, world, only_writing=False)
        calls: Counter[str] = Counter()
        if shutil.which("strace"):
            folder = writer.folder(world)
            with tempfile.NamedTemporaryFile() as file:
                command = traced(writer.words(world), folder, ["-e", f"trace={CALLS}", "-o", file.name])
                command.wait(300)
                lines = Path(file.name).read_text(errors="replace")
            calls.update(re.findall(rf"^{command.pid} +(\w+)\(", lines, re.MULTILINE))
        kept[name] = Measured(events, writing_events, calls, seconds)
    return kept[name]


def _count(writer: Writer, folder: Path, world: World, *, only_writing: bool) -> tuple[int, float]:
    """Number of events of a command, and its seconds."""
    with tempfile.NamedTemporaryFile() as file:

        def note(number: int, name: str, path: str) -> None:
            os.pwrite(file.fileno(), str(number).encode(), 0)

        ended = writer.run(world, folder, at_event(note, folder, only_writing=only_writing))
        return int(Path(file.name).read_text()), ended.seconds


def _at_event(
    argv: list[str], folder: Path, undisturbed: Measured, number: signal.Signals, where: float
) -> tuple[Ended, str]:
    """Ends a command before one of its events."""
    wanted = 1 + int(where * undisturbed.events)
    with tempfile.NamedTemporaryFile() as file:

        def act(event: int, name: str, path: str) -> None:
            if event == wanted:
                os.pwrite(file.fileno(), f"{name} {path}".encode(), 0)
                os.kill(os.getpid(), number)

        ended = eofuse(argv, folder, at_event(act, folder), limit_s=120)
        return ended, f"before event {wanted} ({Path(file.name).read_text()})"


def _at_call(
    argv: list[str], folder: Path, undisturbed: Measured, number: signal.Signals, where: float
) -> tuple[Ended, str]:
    """Ends a command at one of its system calls; at a time, where strace is not installed."""
    if not undisturbed.calls:
        return _at_time(argv, folder, undisturbed, number, where)
    counts = {name: count for name, count in undisturbed.calls.items() if name not in READING}
    name, wanted = nth(counts, int(where * sum(counts.values())))
    options = ["-e", f"inject={name}:signal={number.name}:when={wanted}", "-o", os.devnull]
    return traced(argv, folder, options).wait(120), f"at {name} {wanted}"


def nth(counts: Mapping[str, int], number: int) -> tuple[str, int]:
    """A call of those that were counted, as its name and its number among those of the name, from 1."""
    for name, count in counts.items():
        if number < count:
            return name, number + 1
        number -= count
    raise ValueError("beyond the last call")


def traced(argv: list[str], folder: Path, options: list[str]) -> Command:
    """A command that strace follows from its begin."""
    (waits, ready), (begin, go) = os.pipe(), os.pipe()
    command = Command(argv, folder, lambda: (os.write(ready, b"x"), os.read(begin, 1)))
    os.read(waits, 1)  # what comes before is not the command's own
    tracer = subprocess.Popen(["strace", "-f", "-qq", *options, "-p", str(command.pid)], stderr=subprocess.DEVNULL)
    while "TracerPid:\t0" in Path(f"/proc/{command.pid}/status").read_text() and tracer.poll() is None:
        time.sleep(0.002)
    os.write(go, b"x")
    for descriptor in (waits, ready, begin, go):
        os.close(descriptor)
    return command


def _at_time(
    argv: list[str], folder: Path, undisturbed: Measured, number: signal.Signals, where: float
) -> tuple[Ended, str]:
    """Ends a command after some time; Ctrl-C reaches all its processes."""
    seconds = where * undisturbed.seconds
    command = Command(argv, folder)
    if not command.has_ended(seconds):
        with suppress(ProcessLookupError):  # it ended in between, or is no group yet
            if number == signal.SIGINT:
                os.killpg(command.pid, number)
            else:
                command.send(number)
    return command.wait(120), f"after {seconds:.2f} s"


def _in_a_part(
    argv: list[str], folder: Path, undisturbed: Measured, number: signal.Signals, where: float
) -> tuple[Ended, str]:
    """Ends one of the processes that a command has begun after some time; the command, while it has none."""
    seconds = where * 2 * undisturbed.seconds  # which was measured without the server that imports everything
    command = Command(argv, folder, processes_of_a_user)
    parts: list[int] = []
    if not command.has_ended(seconds):
        parts = descendants(command.pid) or [command.pid]
        with suppress(ProcessLookupError):
            os.kill(parts[int(where * 1000) % len(parts)], number)
    return command.wait(120), f"in one of {len(parts)} processes after {seconds:.2f} s"

"""Writers: two or four commands write one store, run, study or download at the same time; one wins, the others say who holds it.

The winner keeps its lock until the others have tried to take it. At the end the folder holds what the winner makes alone.
"""

import os
import re
import time

from .cases import Case, Outcome, World, is_clear
from .commands import Command, Ended, in_fork, survivors
from .trees import difference, digests
from .writing import WRITERS, drawn, reference, wanted

HELD_S = 0.4
"""Seconds that the winner waits with its lock, in which the others try to take it."""

HELD = re.compile(r"another process is at work on it: process (\d+) on \S+, since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d")

INTO_STORE = ["pack", "pack in processes", "cut", "merge", "subset"]
ALONE = [
    *["simulate", "append", "merge over another", "pack over another", "collect", "embed", "map", "area"],
    *["download", "download a folder", "publish", "publish as a store", "publish a model"],
    *["train", "train in ranks", "pretrain", "study"],
]
"""Commands that take the lock of what they write."""


def run(case: Case, world: World) -> Outcome:
    """Lets two or four commands write one thing."""
    draw = case.random
    count = draw.choice([2, 2, 4])
    if draw.random() < 0.4 and wanted(world, INTO_STORE):
        names = [drawn(draw, world, INTO_STORE) for _ in range(count)]
    else:
        names = [drawn(draw, world, [*INTO_STORE, *ALONE])] * count
    expected = {name: reference(name, world) for name in names}
    folder = WRITERS[names[0]].folder(world)
    words = [WRITERS[name].words(world) for name in names]
    starts = [draw.choice([0, 0, 0.05, 0.2]) for _ in names]
    commands = []
    for argv, start in zip(words, starts, strict=True):
        commands.append(Command(argv, folder, lambda start=start: _slow(start)))
    ended = [command.wait(max(WRITERS[name].limit_s for name in names)) for command in commands]
    said = "; ".join(f"{name}: {each.status}" for name, each in zip(names, ended, strict=True))
    tags = (f"{count} writers",)
    if alive := survivors():
        return Outcome("alive", f"{said}: {', '.join(alive)}", tags)
    if any(each.hung for each in ended):
        return Outcome("hang", said, tags)
    winners = [place for place, each in enumerate(ended) if each.status == 0 and "is there already" not in each.output]
    if len(winners) != 1:
        return Outcome("wrong", f"{said}: {len(winners)} winners; {_errors(ended)}", tags)
    pids = [command.pid for command in commands]
    for name, each in zip(names, ended, strict=True):
        found = HELD.search(each.error)
        told = found and int(found[1]) in pids and is_clear(each.error)
        if not told and not WRITERS[name].is_done(each):
            return Outcome("unclear", f"{said}: {each.error[-500:]}", tags)
    left, wrong = difference(expected[names[winners[0]]], in_fork(lambda: digests(folder)))
    if wrong:
        return Outcome("wrong", f"{said}: other content in {', '.join(wrong)}", tags)
    if left:
        return Outcome("leftovers", f"{said}: {', '.join(left)}", tags)
    return Outcome("accepted", said, tags)


def _slow(start_s: float) -> None:
    """Waits a moment, and then waits with the first lock that this process gets, so that the others find it held."""
    write, waited = os.write, [False]

    def slow(descriptor: int, content: bytes) -> int:
        count = write(descriptor, content)
        if content.startswith(b'{"process": ') and not waited[0]:
            waited[0] = True
            time.sleep(HELD_S)
        return count

    os.write = slow
    time.sleep(start_s)


def _errors(ended: list[Ended]) -> str:
    return " | ".join(each.error.strip()[-300:] for each in ended)

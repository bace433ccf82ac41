"""Runs cases of the harnesses and prints a table of what became of them; see `tests.robustness`."""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # a fork loses threads
os.environ["MPLBACKEND"] = "Agg"

from . import faults, fuzz, kills, writers
from .cases import GOOD, KINDS, Case, Outcome, World
from .commands import Command, preload

HARNESSES: Mapping[str, Callable[[Case, World], Outcome]] = {
    "kills": kills.run,
    "writers": writers.run,
    "faults": faults.run,
    "fuzz": fuzz.run,
}
SHARES = {"kills": 10, "writers": 2, "faults": 8, "fuzz": 80}
"""Percent of the cases that each harness gets."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the cases; returns 1 if anything bad was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.robustness", description=__doc__)
    parser.add_argument("--cases", type=int, default=100, help="how many, over all harnesses (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="of the cases (default: 0)")
    parser.add_argument("--only", choices=HARNESSES, help="one harness")
    parser.add_argument("--first", type=int, default=0, help="number of the first case (default: 0)")
    parser.add_argument("--case", type=int, help="one case of a harness, by its number")
    parser.add_argument("--counts", metavar="NAME=N,…", help="cases of each harness, in place of --cases")
    parser.add_argument(
        "--commands",
        metavar="NAME,…",
        help="commands that are killed, raced and failed, by first word or by writing.py (default: all)",
    )
    parser.add_argument("--targets", metavar="NAME,…", help="what is spoilt, by fuzz_targets.py (default: everything)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the counts as well")
    parser.add_argument("--minutes", type=float, help="begin no case after so many minutes")
    parser.add_argument(
        "--patience",
        type=float,
        default=1.0,
        help="times longer that commands may take, beside other work (default: 1)",
    )
    parser.add_argument("--scratch", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--verbose", action="store_true", help="a line a case")
    arguments = parser.parse_args(argv)
    if arguments.case is not None and not arguments.only:
        parser.error("--case needs --only")
    sys.stdout.reconfigure(errors="backslashreplace")  # what is tried may be no text
    Command.patience = arguments.patience
    preload()
    with tempfile.TemporaryDirectory(prefix="eofuse-robustness-") as temporary:
        commands, targets = (words.split(",") if words else [] for words in (arguments.commands, arguments.targets))
        world = World(arguments.scratch or Path(temporary), commands, targets)
        found = _run(arguments, world)
    _print_table(found)
    if arguments.json:
        arguments.json.write_text(json.dumps(found))
    return int(any(kind not in GOOD for counts in found.values() for kind in counts))


def _run(arguments: argparse.Namespace, world: World) -> dict[str, Counter[str]]:
    """Counts of the outcomes by harness."""
    found: dict[str, Counter[str]] = {}
    counts = {name: max(1, round(arguments.cases * share / 100)) for name, share in SHARES.items()}
    if arguments.only:
        counts = {arguments.only: arguments.cases}
    elif arguments.counts:
        counts = {name: int(count) for name, _, count in (word.partition("=") for word in arguments.counts.split(","))}
    more = f" --commands '{arguments.commands}'" if arguments.commands else ""
    more += f" --targets '{arguments.targets}'" if arguments.targets else ""
    until = time.monotonic() + 60 * (arguments.minutes or 1e9)
    for name, run in HARNESSES.items():
        if arguments.only not in (None, name) or name not in counts:
            continue
        numbers = range(arguments.first, counts[name])
        found[name], tags = Counter(), Counter[str]()
        for number in numbers if arguments.case is None else [arguments.case]:
            if time.monotonic() > until:
                break
            outcome = run(Case(arguments.seed, number), world)
            found[name][outcome.kind] += 1
            tags.update(outcome.tags)
            if not outcome.is_good or arguments.verbose or arguments.case is not None:
                repeat = f"python -m tests.robustness --only {name} --seed {arguments.seed} --case {number}{more}"
                print(f"{outcome.kind}: {outcome.words}\n    {repeat}", flush=True)
        if tags:
            print(f"{name}: {', '.join(f'{count} × {tag}' for tag, count in sorted(tags.items()))}", flush=True)
    return found


def _print_table(found: Mapping[str, Counter[str]]) -> None:
    kinds = [kind for kind in KINDS if kind in GOOD or any(kind in counts for counts in found.values())]
    print("".join(f"{word:>12}" for word in ("", "cases", *kinds)))
    for name, counts in found.items():
        print("".join(f"{word:>12}" for word in (name, counts.total(), *(counts[kind] for kind in kinds))))


if __name__ == "__main__":
    sys.exit(main())

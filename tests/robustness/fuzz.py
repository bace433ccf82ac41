"""Spoilt input: every kind of file that a command reads, changed by values, words, heads or bytes.

A case spoils one file of one `Target` and runs one of its commands, which has to refuse it with one clear error, or to give what
it gives for a sound file where the file holds results of ours.
"""

import json
import os
import random
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from . import hostile_downloads
from .cases import Case, Outcome, World, judge
from .commands import LIMIT_S, Ended, eofuse, in_fork, survivors
from .fuzz_inputs import own_input
from .fuzz_targets import TARGETS, Target
from .mutations import change_file
from .trees import digests

DOWNLOADS = {"download": hostile_downloads.run, "download of a folder": hostile_downloads.run_folder}
"""Targets whose files come from a server."""

LIMIT_OF_TRAINING_S = 60.0
"""Seconds after which a command hangs that trains in earnest."""


def run(case: Case, world: World) -> Outcome:
    """One case."""
    names = [name for name in TARGETS if not world.targets or name in world.targets]
    name = case.random.choices(names, [TARGETS[name].weight for name in names])[0]
    if name in DOWNLOADS:
        return DOWNLOADS[name](case, world)
    target = TARGETS[name]
    command = case.random.choice(target.commands)
    sound = _sound(name, command, world)
    folder = _begin(target, world)
    paths = sorted(folder.glob(case.random.choice(target.files)))
    path = case.random.choice([each for each in paths if each.is_file()] or [folder / target.files[0]])
    words = f"{name}, {path.relative_to(folder)}"
    before, is_set_out_anew = None, False
    if target.rewrite is not None:
        rewrite, seed = target.rewrite, case.random.random()
        _own(path)

        def before() -> None:
            print(rewrite(path, random.Random(seed)))
    else:
        content = path.read_bytes() if path.is_file() else b""
        changed, what = change_file(content, path.suffix, case.random)
        path.unlink(missing_ok=True)
        path.write_bytes(changed)
        words += f" ({what})"
        is_set_out_anew = path.suffix == ".json" and _holds_the_same(changed, content)  # a copy has other bytes
        if changed == content:
            return Outcome("accepted", f"{words}: nothing changed")
    limit_s = LIMIT_S if not target.trains else LIMIT_OF_TRAINING_S
    ended = eofuse(_words(command, world), folder, lambda: _before(target, before), limit_s=limit_s)
    outcome = judge(ended, f"{words}: {' '.join(command)}{_first_line(ended) if before else ''}")
    if outcome.kind == "unclear" and command[0] == "check" and ended.status == 1 and not ended.error.strip():
        return Outcome("clean", outcome.words)  # it prints its findings
    is_compared = target.strict and not (is_set_out_anew and command[0] == "publish")
    if outcome.kind == "accepted" and is_compared and _results(target, folder, ended) != sound:
        return Outcome("wrong", outcome.words + _first_difference(sound, _results(target, folder, ended)))
    return outcome


def _holds_the_same(changed: bytes, content: bytes) -> bool:
    """Whether two JSON files hold the same values."""
    try:
        return json.dumps(json.loads(changed), sort_keys=True) == json.dumps(json.loads(content), sort_keys=True)
    except (ValueError, RecursionError):
        return False


def _before(target: Target, rewrite: Callable[[], None] | None = None) -> None:
    """What happens in the process of a command at first: trainings and exports are only begun, as they would take long."""
    from eofuse import recipe
    from eofuse.export import write
    from eofuse.studies import claims

    def enough(*_: object, **__: object) -> None:
        os._exit(0)

    claims.LOST_S = 0.5  # in place of a minute
    if not target.trains:
        recipe.start_run = enough  # type: ignore[assignment]
        recipe.run_study = enough  # type: ignore[assignment]
    write.write_graph = enough  # type: ignore[assignment]
    if rewrite is not None:
        rewrite()


def _begin(target: Target, world: World) -> Path:
    """A folder with the inputs of a target, whose files are those of all cases until they are spoilt."""
    sources = [own_input(world, name) for name in target.inputs]
    folder = world.folder()
    for source, name in zip(sources, target.inputs, strict=True):
        if source.is_dir():
            shutil.copytree(source, folder / name, copy_function=os.link)
        else:
            shutil.copyfile(source, folder / name)
    return folder


def _own(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def _words(command: Sequence[str], world: World) -> list[str]:
    return [str(own_input(world, word[1:-1])) if word.startswith("{") else word for word in command]


def _sound(name: str, command: Sequence[str], world: World) -> list[tuple[str, bytes]]:
    """What a command prints and writes where nothing is spoilt."""
    target = TARGETS[name]
    if not target.strict:
        return []
    kept: dict[tuple[str, Sequence[str]], list[tuple[str, bytes]]] = world.kept.setdefault("sound", {})
    if (name, command) not in kept:
        folder = _begin(target, world)
        ended = eofuse(_words(command, world), folder, lambda: _before(target), limit_s=300)
        if ended.status != 0 or survivors():
            raise AssertionError(f"{' '.join(command)}: {ended.status}\n{ended.output}\n{ended.error}")
        kept[name, command] = _results(target, folder, ended)
    return kept[name, command]


def _results(target: Target, folder: Path, ended: Ended) -> list[tuple[str, bytes]]:
    files = [folder / name for name in target.results]
    found = [("output", ended.output.encode())] if not target.trains else []
    found += [(file.name, file.read_bytes()) for file in files if file.is_file()]
    whole = [folder / name for name in target.results if (folder / name).is_dir()]
    return found + [
        (name, digest.encode()) for each in whole for name, digest in in_fork(partial(digests, each)).items()
    ]


def _first_difference(sound: Sequence[tuple[str, bytes]], found: Sequence[tuple[str, bytes]]) -> str:
    name = next((name for (name, right), (_, other) in zip(sound, found, strict=False) if right != other), "a file")
    return f"\n    {name} differs"


def _first_line(ended: Ended) -> str:
    return f" ({ended.output.splitlines()[0]})" if ended.output else ""

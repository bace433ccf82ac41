"""Spoilt input: every kind of file that a command reads, changed by values, words, heads or bytes.

A case spoils one file of one `Target` and runs one of its commands, which has to refuse it with one clear error, or to give what
it gives for a sound file where the file holds results of ours.
"""

import os
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import hostile_downloads
from .cases import Case, Outcome, World, judge
from .commands import Ended, eofuse, survivors
from .fuzz_inputs import SHAPES, own_input
from .mutations import change_file
from .spoilt_rasters import spoil_raster, spoil_table

ONE = ("--workers", "1")


@dataclass(frozen=True)
class Target:
    """Files that are spoilt, and commands that read them.

    Attributes:
        inputs: names of inputs, which stand in the folder of the case.
        files: patterns of the files to be spoilt; one is drawn first, then a file.
        commands: words; `{…}` stands for the path of an input that is sound.
        strict: patterns of files whose damage must be found, or change nothing.
        results: files that a command writes, which are compared then beside what it prints.
        rewrite: writes a file anew in the process of the command, in place of a change of its bytes.
        weight: how often it is tried.
    """

    inputs: Sequence[str]
    files: Sequence[str]
    commands: Sequence[Sequence[str]]
    strict: Sequence[str] = ()
    results: Sequence[str] = ()
    rewrite: Callable[[Path, random.Random], str] | None = None
    weight: int = 10


STORE = ("store.json", "index.parquet", "*/*.npy")
TARGETS: Mapping[str, Target] = {
    "recipe": Target(
        ["run.yaml"],
        ["run.yaml"],
        [("train", "run.yaml", "--to", "out"), ("pretrain", "run.yaml", "--to", "out")],
        weight=12,
    ),
    "recipe of boxes": Target(["boxes.yaml"], ["boxes.yaml"], [("train", "boxes.yaml", "--to", "out")], weight=4),
    "recipe of a pretraining": Target(
        ["pretraining.yaml"], ["pretraining.yaml"], [("pretrain", "pretraining.yaml", "--to", "out")], weight=4
    ),
    "recipe of a study": Target(
        ["study.yaml"], ["study.yaml"], [("study", "study.yaml", "--to", "out", *ONE)], weight=10
    ),
    "spec of scenes": Target(
        ["scenes"], ["scenes/scenes.yaml"], [("cut", "scenes/scenes.yaml", "out", "--size", "40", *ONE)], weight=10
    ),
    "spec of a table": Target(
        ["table"],
        ["table/table.yaml"],
        [("pack", "table/table.yaml", "out", *ONE), ("check", "table/table.yaml", *ONE)],
        weight=12,
    ),
    "table": Target(
        ["table"],
        ["table/plots.csv"],
        [
            ("pack", "table/table.yaml", "out", *ONE),
            ("pack", "table/table.yaml", "out", "--skip-bad", *ONE),
            ("check", "table/table.yaml", *ONE),
            ("init", "table/plots.csv", "-o", "spec.yaml"),
        ],
        weight=14,
    ),
    "table as Parquet": Target(
        ["table"],
        ["table/plots.parquet"],
        [
            ("pack", "table/parquet.yaml", "out", *ONE),
            ("check", "table/parquet.yaml", *ONE),
            ("init", "table/plots.parquet", "-o", "spec.yaml"),
        ],
        weight=8,
    ),
    "values of a table as Parquet": Target(
        ["table"],
        ["table/plots.parquet"],
        [("pack", "table/parquet.yaml", "out", *ONE), ("init", "table/plots.parquet", "-o", "spec.yaml")],
        rewrite=spoil_table,
        weight=6,
    ),
    "rasters of a table": Target(
        ["table"],
        ["table/optical/*"],
        [
            ("pack", "table/table.yaml", "out", *ONE),
            ("check", "table/table.yaml", *ONE),
            ("init", "table/optical", "-o", "spec.yaml"),
        ],
        weight=10,
    ),
    "other rasters of a table": Target(
        ["table"],
        ["table/optical/*.tif"],
        [("pack", "table/table.yaml", "out", *ONE), ("init", "table/optical", "-o", "spec.yaml")],
        rewrite=spoil_raster,
        weight=8,
    ),
    "rasters of scenes": Target(
        ["scenes"], ["scenes/*.tif"], [("cut", "scenes/scenes.yaml", "out", "--size", "40", *ONE)], weight=10
    ),
    "other rasters of scenes": Target(
        ["scenes"],
        ["scenes/*.tif"],
        [("cut", "scenes/scenes.yaml", "out", "--size", "40", *ONE)],
        rewrite=spoil_raster,
        weight=8,
    ),
    "polygons": Target(
        ["scenes"], ["scenes/fields.geojson"], [("cut", "scenes/scenes.yaml", "out", "--size", "40", *ONE)], weight=10
    ),
    **{
        f"polygons as {suffix}": Target(
            ["scenes"],
            [f"scenes/fields.{ending}" for ending in ((suffix, "dbf", "shx", "prj") if suffix == "shp" else (suffix,))],
            [("cut", f"scenes/{suffix}.yaml", "out", "--size", "40", *ONE)],
            weight=3,
        )
        for suffix in SHAPES
    },
    "map of classes": Target(
        ["maps"],
        ["maps/map*.tif", "maps/points.design.json"],
        [
            ("sample", "maps/map.tif", "-n", "40", "-o", "p.csv"),
            ("area", "maps/map.tif", "maps/points.geojson", "-o", "out"),
        ],
        weight=6,
    ),
    "labelled points": Target(
        ["maps"],
        ["maps/points.gpkg", "maps/points.csv", "maps/points.geojson"],
        [("area", "maps/map.tif", f"maps/points.{suffix}", "-o", "out") for suffix in ("gpkg", "csv", "geojson")],
        weight=6,
    ),
    "boxes": Target(
        ["boxes.yaml", "boxes.json", "boxes.geojson"],
        ["boxes.json", "boxes.geojson"],
        [
            ("train", "boxes.yaml", "task.file=boxes.json", "--to", "out"),
            ("train", "boxes.yaml", "task.file=boxes.geojson", "--to", "out"),
        ],
        weight=8,
    ),
    "annotation order": Target(
        ["run.yaml", "order.csv"],
        ["order.csv"],
        [("train", "run.yaml", "labels.order=order.csv", "labels.amount=0.9", "--to", "out")],
        weight=3,
    ),
    "ben-ge folder": Target(
        ["b"],
        ["b/*.csv", "b/splits/*.csv", "b/*/*/*.json", "b/*/*/*.tif", "b/*/*.tif", "b/simulation.json"],
        [("pack", "b", "out", *ONE), ("pack", "b", "out", "--skip-bad", *ONE), ("check", "b", *ONE)],
        weight=12,
    ),
    "store": Target(
        ["a.store"],
        [f"a.store/{pattern}" for pattern in STORE],
        [
            ("check", "a.store", *ONE),
            ("describe", "a.store"),
            ("describe", "a.store"),
            ("subset", "a.store", "-o", "out", "-n", "3"),
            ("merge", "a.store", "{b.store}", "-o", "out"),
            ("train", "{run.yaml}", "--store", "a.store", "--to", "out"),
            ("predict", "{run}", "a.store", "-o", "predictions.parquet"),
        ],
        strict=["*"],
        results=["out/index.parquet", "predictions.parquet"],
        weight=16,
    ),
    "model": Target(
        ["run"],
        ["run/model/*"],
        [("predict", "run", "{b.store}", "-o", "predictions.parquet"), ("evaluate", "run")],
        strict=["*"],
        results=["predictions.parquet"],
        weight=8,
    ),
    "weights": Target(
        ["run", "start.yaml"],
        ["run/model/*"],
        [("train", "start.yaml", "--to", "out")],
        weight=4,
    ),
    "run": Target(
        ["run"],
        ["run/*.*", "run/*/*.*"],
        [
            ("predict", "run", "{b.store}", "-o", "predictions.csv"),
            ("evaluate", "run"),
            ("resume", "run"),
            ("attribute", "run", "--repeats", "1"),
            ("suggest", "run", "{a.store}", "-n", "3", "-o", "out"),
        ],
        weight=10,
    ),
    "study": Target(
        ["study"],
        ["study/*.*", "study/*/*.*", "study/cells/*/*.*", "study/cells/*/*/*.*"],
        [("report", "study"), *[("predict", "study", "{b.store}", "-o", "predictions.csv")] * 3],
        weight=8,
    ),
    "download": Target([], [], [("download", "ben-ge-800", "--base-url", "{address}")], weight=10),
}


def run(case: Case, world: World) -> Outcome:
    """One case."""
    name = case.random.choices(list(TARGETS), [target.weight for target in TARGETS.values()])[0]
    if name == "download":
        return hostile_downloads.run(case, world)
    target = TARGETS[name]
    command = case.random.choice(target.commands)
    sound = _sound(name, command, world)
    folder = _begin(target, world)
    paths = sorted(folder.glob(case.random.choice(target.files)))
    path = case.random.choice([each for each in paths if each.is_file()] or [folder / target.files[0]])
    words = f"{name}, {path.relative_to(folder)}"
    before = None
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
        if changed == content:
            return Outcome("accepted", f"{words}: nothing changed")
    ended = eofuse(_words(command, world), folder, lambda: _before(before))
    outcome = judge(ended, f"{words}: {' '.join(command)}{_first_line(ended) if before else ''}")
    if outcome.kind == "unclear" and command[0] == "check" and ended.status == 1 and not ended.error.strip():
        return Outcome("clean", outcome.words)  # it prints its findings
    if outcome.kind == "accepted" and target.strict and _results(target, folder, ended) != sound:
        return Outcome("wrong", outcome.words + _first_difference(sound, _results(target, folder, ended)))
    return outcome


def _before(rewrite: Callable[[], None] | None) -> None:
    """What happens in the process of a command at first: a training is only begun, as it would take long."""
    from eofuse import recipe

    def enough(*_: object, **__: object) -> None:
        os._exit(0)

    recipe.start_run = enough  # type: ignore[assignment]
    recipe.run_study = enough  # type: ignore[assignment]
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
        ended = eofuse(_words(command, world), folder, lambda: _before(None))
        if ended.status != 0 or survivors():
            raise AssertionError(f"{' '.join(command)}: {ended.status}\n{ended.output}\n{ended.error}")
        kept[name, command] = _results(target, folder, ended)
    return kept[name, command]


def _results(target: Target, folder: Path, ended: Ended) -> list[tuple[str, bytes]]:
    files = [folder / name for name in target.results]
    return [("output", ended.output.encode()), *((file.name, file.read_bytes()) for file in files if file.is_file())]


def _first_difference(sound: Sequence[tuple[str, bytes]], found: Sequence[tuple[str, bytes]]) -> str:
    name = next((name for (name, right), (_, other) in zip(sound, found, strict=False) if right != other), "a file")
    return f"\n    {name} differs"


def _first_line(ended: Ended) -> str:
    return f" ({ended.output.splitlines()[0]})" if ended.output else ""

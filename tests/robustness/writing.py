"""The commands that write: what each needs, makes, and makes again; `WRITERS`."""

import random
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .cases import World
from .commands import Ended, eofuse, in_fork, survivors
from .fuzz_inputs import own_input
from .inputs import made
from .site import site
from .trees import digests


@dataclass(frozen=True)
class Writer:
    """A command that writes into the folder in which it runs.

    Attributes:
        argv: its words; `{a.store}` stands for the path of an input.
        begins_with: name → input that is copied into the folder under that name at first.
        resumes: the folder that `eofuse resume` takes, where there is one.
        opens: words of a command that reads what was in the folder at first, and must be able to at any time.
        once: whether it refuses to write what is there already.
        weight: how often it is tried.
        limit_s: seconds that it may take.
    """

    argv: Sequence[str]
    begins_with: tuple[tuple[str, str], ...] = ()
    resumes: str | None = None
    opens: Sequence[str] = ()
    once: bool = False
    weight: int = 4
    limit_s: float = 60.0

    def words(self, world: World) -> list[str]:
        """The command, with the paths of its inputs, which are made where they are missing."""
        return [re.sub(r"^\{(.+?)\}", lambda found: _input(found[1], world), word) for word in self.argv]

    def folder(self, world: World) -> Path:
        """A folder in which it can begin."""
        sources = [(name, made(world, source)) for name, source in self.begins_with]
        folder = world.folder()
        for name, source in sources:
            shutil.copytree(source, folder / name)
        return folder

    def run(self, world: World, folder: Path, before: Callable[[], object] | None = None) -> Ended:
        """Runs it to its end."""
        return eofuse(self.words(world), folder, before, limit_s=self.limit_s)

    def is_done(self, ended: Ended) -> bool:
        """Whether what it makes is there after its end."""
        return ended.status == 0 or (self.once and ended.status == 2 and "exists already" in ended.error)


RANKS = ("train.devices=2", "train.device=cpu")
"""Two processes that train one model together."""

WRITERS: dict[str, Writer] = {
    "simulate": Writer(["simulate", "out", "--patches", "6", "--scenes", "2", "--seed", "3", "--workers", "2"]),
    "pack": Writer(["pack", "{a}", "out", "--workers", "1"], weight=8),
    "pack in processes": Writer(["pack", "{a}", "out", "--workers", "2"]),
    "pack over another": Writer(
        ["pack", "{a}", "out", "--overwrite", "--workers", "1"], (("out", "b.store"),), opens=["check", "out"]
    ),
    "cut": Writer(["cut", "{scenes.yaml}", "out", "--size", "40", "--workers", "1"], weight=8),
    "cut in processes": Writer(["cut", "{scenes.yaml}", "out", "--size", "40", "--workers", "2"]),
    "merge": Writer(["merge", "{a.store}", "{b.store}", "-o", "out"], weight=6),
    "merge over another": Writer(
        ["merge", "{a.store}", "{b.store}", "-o", "out", "--overwrite"], (("out", "b.store"),), opens=["check", "out"]
    ),
    "append": Writer(["append", "out", "{a.store}"], (("out", "b.store"),), opens=["check", "out"], weight=12),
    "subset": Writer(["subset", "{a.store}", "-o", "out", "-n", "7"], weight=8),
    "download": Writer(["download", "ben-ge-800", "--base-url", "{site}"], weight=8),
    "download a folder": Writer(["download", "{site}/fields"], weight=6),
    "collect": Writer(["collect", "{catalogue}/collect.yaml", "out"], weight=8),
    "collect masks": Writer(["collect", "{catalogue}/masks.yaml", "out"]),
    "pack arrays": Writer(["pack", "{arrays}/spec.yaml", "out", "--workers", "2"]),
    "publish": Writer(["publish", "{a.store}", "out", "--as", "geotiff"], once=True, weight=4),
    "publish as WebDataset": Writer(["publish", "{a.store}", "out", "--as", "webdataset"], once=True, weight=3),
    "publish as Parquet": Writer(["publish", "{a.store}", "out", "--as", "parquet"], once=True, weight=3),
    "publish as a store": Writer(["publish", "{a.store}", "out", "--as", "store"], once=True, weight=2),
    "publish a model": Writer(["publish", "{run}", "out", "--as", "model"], once=True, weight=4),
    "sample": Writer(["sample", "{maps of classes}/map.tif", "-n", "40", "-o", "points.gpkg"], weight=3),
    "area": Writer(["area", "{maps of classes}/map.tif", "{maps of classes}/points.geojson", "-o", "out"], weight=3),
    "export": Writer(["export", "{run}", "model.onnx"], weight=1),
    "export for torch": Writer(["export", "{run}", "model.pt2"], weight=1),
    "card": Writer(["card", "{run}", "-o", "card.md"], weight=1),
    "init": Writer(["init", "{table/plots.csv}", "-o", "spec.yaml"], weight=2),
    "show": Writer(["show", "{a.store}", "{patch}", "-o", "patch.png"], weight=2),
    "describe": Writer(["describe", "{a.store}", "--html", "card.html"], weight=2),
    "explore": Writer(["explore", "{a.store}", "-o", "page.html"], weight=3),
    "explore a run": Writer(["explore", "{run}", "-o", "page.html"], weight=2),
    "explore a study": Writer(["explore", "{study}", "-o", "page.html"], weight=1),
    "train": Writer(["train", "{run.yaml}", "--to", "out"], resumes="out", weight=10),
    "train for maps": Writer(["train", "{maps.yaml}", "--to", "out"], resumes="out", weight=6),
    "pretrain": Writer(["pretrain", "{pretraining.yaml}", "--to", "out"], resumes="out", weight=6),
    "train in ranks": Writer(["train", "{run.yaml}", "--to", "out", *RANKS], resumes="out", weight=8),
    "pretrain in ranks": Writer(["pretrain", "{pretraining.yaml}", "--to", "out", *RANKS], resumes="out", weight=4),
    "evaluate": Writer(["evaluate", "out"], (("out", "run"),), weight=2),
    "attribute": Writer(["attribute", "out", "--repeats", "1"], (("out", "run"),), weight=2),
    "predict": Writer(["predict", "{run}", "{b.store}", "-o", "predictions.parquet"], weight=3),
    "predict maps": Writer(["predict", "{maps}", "{b.store}", "-o", "predictions.csv", "--maps", "maps"], weight=3),
    "map": Writer(["map", "{maps}", "{map.yaml}", "-o", "out", "--polygons", "--workers", "2"], weight=8),
    "embed": Writer(["embed", "{a.store}", "--with", "presto", "--weights", "{weights}", "-o", "out"], weight=6),
    "suggest": Writer(["suggest", "{run}", "{a.store}", "-n", "3", "-o", "out"], weight=3),
    "study": Writer(["study", "{study.yaml}", "--to", "out", "--workers", "2"], weight=3, limit_s=120),
    "report": Writer(["report", "out"], (("out", "study"),), weight=1),
}


def _input(name: str, world: World) -> str:
    if name == "site":
        return site(world)
    if name == "patch":
        index = made(world, "a.store") / "index.parquet"
        return in_fork(lambda: str(pd.read_parquet(index)["patch_id"].iloc[0]))
    if name == "weights":
        return str(world.made("presto.safetensors", lambda path: in_fork(lambda: _write_weights(path))))
    return str(own_input(world, name))


def _write_weights(path: Path) -> None:
    from safetensors.torch import save_file

    from eofuse.models.foundation import build_foundation

    save_file(build_foundation("presto").state_dict(), path)


def wanted(world: World, among: Iterable[str] = WRITERS) -> list[str]:
    """The names of those commands that are tried."""
    return [name for name in among if not world.commands or {name, name.split()[0]} & {*world.commands}]


def drawn(draw: random.Random, world: World, among: Iterable[str] = WRITERS) -> str:
    """The name of a command, the more likely the greater its weight."""
    names = wanted(world, among)
    return draw.choices(names, [WRITERS[name].weight for name in names])[0]


def reference(name: str, world: World) -> dict[str, str]:
    """What the folder of an undisturbed command holds at its end."""
    kept: dict[str, dict[str, str]] = world.kept.setdefault("references", {})
    if name not in kept:
        writer = WRITERS[name]
        folder = writer.folder(world)
        ended = writer.run(world, folder)
        left = survivors()
        if ended.status != 0 or left:
            raise AssertionError(f"{name}: {ended.status}, {left}\n{ended.output}\n{ended.error}")
        kept[name] = in_fork(lambda: digests(folder))
    return kept[name]

"""What is spoilt, by which commands it is read, and what must be found; `TARGETS`."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .fuzz_inputs import SHAPES
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
        results: files and folders that a command writes, which are compared then beside what it prints.
        rewrite: writes a file anew in the process of the command, in place of a change of its bytes.
        trains: it is trained in earnest; else a command ends where its training would begin.
        weight: how often it is tried.
    """

    inputs: Sequence[str]
    files: Sequence[str]
    commands: Sequence[Sequence[str]]
    strict: Sequence[str] = ()
    results: Sequence[str] = ()
    rewrite: Callable[[Path, random.Random], str] | None = None
    trains: bool = False
    weight: int = 10


STORE = ("store.json", "index.parquet", "*/*.npy")
GO_ON = ("study", "{study.yaml}", "--to", "stopped/study", *ONE)
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
        ["maps of classes"],
        ["maps of classes/map*.tif", "maps of classes/points.design.json"],
        [
            ("sample", "maps of classes/map.tif", "-n", "40", "-o", "p.csv"),
            ("area", "maps of classes/map.tif", "maps of classes/points.geojson", "-o", "out"),
        ],
        weight=6,
    ),
    "labelled points": Target(
        ["maps of classes"],
        ["maps of classes/points.gpkg", "maps of classes/points.csv", "maps of classes/points.geojson"],
        [
            ("area", "maps of classes/map.tif", f"maps of classes/points.{suffix}", "-o", "out")
            for suffix in ("gpkg", "csv", "geojson")
        ],
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
            ("publish", "run", "out", "--as", "model"),
        ],
        weight=10,
    ),
    "checkpoint": Target(
        ["begun"],
        ["begun/checkpoint.pt"],
        [("resume", "begun"), ("train", "{run.yaml}", "--to", "begun")],
        strict=["*"],
        results=["begun"],
        trains=True,
        weight=3,
    ),
    "begun run": Target(["begun"], ["begun/*.*", "begun/*/*.*"], [("resume", "begun")], trains=True, weight=3),
    "study": Target(
        ["study"],
        ["study/*.*", "study/*/*.*", "study/cells/*/*.*", "study/cells/*/*/*.*"],
        [("report", "study"), *[("predict", "study", "{b.store}", "-o", "predictions.csv")] * 3],
        weight=8,
    ),
    "claims in a stopped study": Target(
        ["stopped"],
        [
            "stopped/.study.claim",
            "stopped/study/cells/.*.claim",
            "stopped/study/cells/.*.lock",
            "stopped/study/cost.json",
        ],
        [GO_ON],
        strict=["*"],
        results=["stopped/study"],
        trains=True,
        weight=6,
    ),
    "stopped study": Target(
        ["stopped"],
        ["stopped/study/*.*", "stopped/study/cells/*/*.*", "stopped/study/cells/*/*/*.*"],
        [GO_ON],
        trains=True,
        weight=4,
    ),
    "spec of a collection": Target(
        ["catalogue"],
        ["catalogue/*.yaml"],
        [
            ("collect", "catalogue/collect.yaml", "out"),
            ("collect", "catalogue/masks.yaml", "out"),
            ("check", "catalogue/collect.yaml"),
        ],
        weight=10,
    ),
    "labels of a collection": Target(
        ["catalogue"],
        ["catalogue/fields.csv", "catalogue/fields.geojson"],
        [
            ("collect", "catalogue/collect.yaml", "out"),
            ("collect", "catalogue/masks.yaml", "out"),
            ("init", "catalogue/fields.csv", "-o", "spec.yaml"),
            ("init", "catalogue/fields.geojson", "-o", "spec.yaml"),
        ],
        weight=8,
    ),
    "catalogue": Target(
        ["catalogue"],
        ["catalogue/catalog.json", "catalogue/*/collection.json", "catalogue/*/*_*.json"],
        [("collect", "catalogue/collect.yaml", "out"), ("check", "catalogue/collect.yaml")],
        weight=10,
    ),
    "rasters of a catalogue": Target(
        ["catalogue"], ["catalogue/pixels/*.tif"], [("collect", "catalogue/collect.yaml", "out")], weight=4
    ),
    "other rasters of a catalogue": Target(
        ["catalogue"],
        ["catalogue/pixels/*.tif"],
        [("collect", "catalogue/collect.yaml", "out")],
        rewrite=spoil_raster,
        weight=6,
    ),
    "spec of arrays": Target(["arrays"], ["arrays/spec.yaml"], [("pack", "arrays/spec.yaml", "out", *ONE)], weight=5),
    "arrays": Target(
        ["arrays"],
        ["arrays/*.npy", "arrays/*.npz", "arrays/*.h5", "arrays/*.nc", "arrays/dates.json"],
        [
            ("pack", "arrays/spec.yaml", "out", *ONE),
            ("check", "arrays/spec.yaml", *ONE),
            ("init", "arrays", "-o", "spec.yaml"),
        ],
        weight=12,
    ),
    "pictures": Target(
        ["pictures"],
        ["pictures/classes/*/*", "pictures/segmented/*/*"],
        [
            ("pack", "pictures/segmented.yaml", "out", *ONE),
            ("init", "pictures/classes", "-o", "spec.yaml"),
            ("init", "pictures/segmented", "-o", "spec.yaml"),
        ],
        weight=6,
    ),
    "Hugging Face folder": Target(["hub"], ["hub/data/*"], [("init", "hub", "-o", "spec.yaml")], weight=4),
    "model to be exported": Target(
        ["run"],
        ["run/model/*", "run/*.json"],
        [("card", "run", "-o", "card.md"), ("export", "run", "model.onnx")],
        weight=2,
    ),
    "store to be published": Target(
        ["a.store"],
        [f"a.store/{pattern}" for pattern in STORE],
        [("publish", "a.store", "out", "--as", form) for form in ("store", "geotiff", "webdataset", "parquet")],
        weight=4,
    ),
    "store to be explored": Target(
        ["a.store"],
        [f"a.store/{pattern}" for pattern in STORE],
        [("explore", "a.store", "-o", "page.html")],
        strict=["*"],
        results=["page.html"],
        weight=4,
    ),
    "run to be explored": Target(
        ["run"],
        ["run/*.*", "run/*/*.*"],
        [("explore", "run", "-o", "page.html"), ("explore", "run", "--features", "bands", "-o", "page.html")],
        strict=["*"],
        results=["page.html"],
        weight=5,
    ),
    "study to be explored": Target(
        ["study"],
        ["study/*.*", "study/*/*.*", "study/cells/*/*.*", "study/cells/*/*/*.*"],
        [("explore", "study", "-o", "page.html")],
        weight=4,
    ),
    "run to be published": Target(
        ["run"],
        ["run/model/*", "run/*.json", "run/*.parquet"],
        [("publish", "run", "out", "--as", "model")],
        strict=["*"],
        results=["out"],
        weight=5,
    ),
    "download": Target([], [], [("download", "ben-ge-800", "--base-url", "{address}")], weight=10),
    "download of a folder": Target([], [], [("download", "{address}/fields")], weight=10),
}

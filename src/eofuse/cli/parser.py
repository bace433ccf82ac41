"""The words of the command line: every command and what may follow it; long, as it is one list."""

import argparse
import textwrap
from collections.abc import Callable
from pathlib import Path

from eofuse import __version__
from eofuse.cli import completion, data, maps, models
from eofuse.cli.arguments import (
    Parser,
    add_classes,
    add_joining,
    add_json,
    add_overwrite,
    add_recipe,
    add_workers,
    names,
    not_negative,
    positive,
)


def make_parser() -> argparse.ArgumentParser:
    """Every command with its arguments, and the function that does it as `command`."""
    parser = Parser(
        prog="eofuse",
        usage="eofuse COMMAND … [-q | -v]",
        description="Data-efficient, multimodal deep learning for Earth observation.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"eofuse {__version__}")
    about = "one of these; eofuse COMMAND -h says more"
    commands = parser.add_subparsers(prog="eofuse", metavar="COMMAND", required=True, help=about)
    groups: dict[str, list[str]] = {}

    def command(name: str, function: Callable[[argparse.Namespace], int | None], text: str) -> Parser:
        added = commands.add_parser(name, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
        added.set_defaults(command=function)
        words = added.add_mutually_exclusive_group()
        words.add_argument("-q", "--quiet", action="store_true", help="no progress; results, notes and errors only")
        words.add_argument(
            "-v", "--verbose", action="store_true", help="time and memory taken; a traceback with an error"
        )
        lines = textwrap.wrap(text, 100, initial_indent=f"  {name:<11}", subsequent_indent=" " * 13)
        groups.setdefault(group, []).extend(lines)
        return added

    group = "data"
    add = command(
        "simulate", data.run_simulate, "write a simulated ben-ge folder, for first use and teaching, never for claims"
    )
    add.add_argument("folder", metavar="DIR", type=Path, help="the folder to be made")
    add.add_argument("--patches", type=int, default=800, help="number of patches (default: 800)")
    add.add_argument("--scenes", type=int, help="number of scenes they come from (default: one for every 16 patches)")
    add.add_argument("--seed", type=int, default=0, help="the same seed gives the same files (default: 0)")
    text = "dates of a season of Sentinel-2 that stands beside, packed by DIR/season.yaml (default: none)"
    add.add_argument("--season", type=int, default=0, metavar="DATES", help=text)
    add_workers(add)

    add = command("download", data.run_download, "fetch published data: resumable, checked, safely unpacked")
    add.add_argument(
        "name", metavar="NAME|URL", help="ben-ge-800, ben-ge-8k, or the address of a folder that eofuse publish wrote"
    )
    add.add_argument("--to", metavar="DIR", type=Path, default=Path(), help="where to (default: here)")
    add.add_argument("--base-url", default="https://zenodo.org", help="address of the archive, for mirrors")

    add = command("check", data.run_check, "find every problem of a folder or store; exit code 1 if one is an error")
    add.reads = "check"
    add.add_argument(
        "path", metavar="PATH", type=Path, help="a dataset's folder, a SPEC.yaml, a store, and what else is read"
    )
    add.add_argument("--all", action="store_true", help="each problem on a line, also many alike")
    add_json(add)
    add_workers(add)

    add = command(
        "init", data.run_init, "look at a table, or a folder of images, and write a first spec of it to be packed"
    )
    add.add_argument("path", metavar="DIR|TABLE", type=Path, help="a folder, or a CSV or Parquet table")
    add.add_argument("-o", "--output", metavar="SPEC.yaml", type=Path, help="default: <name>.yaml here")

    add = command(
        "pack", data.run_pack, "pack a folder or table into a store; goes on where an interrupted one stopped"
    )
    add.reads = "pack"
    add.add_argument(
        "folder", metavar="PATH", type=Path, help="a dataset's folder, a table's SPEC.yaml, and what else is read"
    )
    add.add_argument("store", metavar="STORE", type=Path, help="the store to be made")
    add.add_argument("overrides", metavar="key=value", nargs="*", help="changes to the spec, like root=DIR")
    add.add_argument("--modalities", type=names, help="those wanted, with commas between (default: all)")
    add.add_argument("--skip-bad", action="store_true", help="set bad patches aside in a list instead of stopping")
    add_overwrite(add)
    add_workers(add)

    add = command(
        "cut", data.run_cut, "cut scenes into the patches of a store; goes on where an interrupted one stopped"
    )
    add.add_argument(
        "spec", metavar="SPEC.yaml", type=Path, help="which files make which modality (see docs/scenes.md)"
    )
    add.add_argument("store", metavar="STORE", type=Path, help="the store to be made")
    add.add_argument("overrides", metavar="key=value", nargs="*", help="changes to the spec, like root=DIR")
    add.add_argument("--size", metavar="PIXELS", type=positive, default=120, help="side of a patch (default: 120)")
    add.add_argument("--overlap", metavar="PIXELS", type=int, default=0, help="that neighbours share (default: 0)")
    add_overwrite(add)
    add_workers(add)

    add = command(
        "collect",
        data.run_collect,
        "fetch the patches around labels from catalogues of scenes into a store; goes on where an interrupted one stopped",
    )
    add.add_argument("spec", metavar="SPEC.yaml", type=Path, help="labels, and what to fetch (see docs/collect.md)")
    add.add_argument("store", metavar="STORE", type=Path, help="the store to be made")
    add.add_argument("overrides", metavar="key=value", nargs="*", help="changes to the spec, like patch.size=64")
    add_overwrite(add)

    add = command(
        "describe", data.run_describe, "say what is in a store: counts, statistics, classes, scenes, leakage of splits"
    )
    add.add_argument("store", metavar="STORE", type=Path)
    add.add_argument("--html", metavar="FILE", type=Path, help="write a data card as well: one page, what to fix first")
    add.add_argument(
        "--split", choices=("scene", "blocks", "random", "published"), help="that the card looks at (default: scene)"
    )
    add.add_argument("--target", metavar="NAME", help="whose balance the card shows (default: the store's labels)")
    add_json(add)

    add = command("merge", data.run_merge, "make one store of several; goes on where an interrupted one stopped")
    add.add_argument("stores", metavar="STORE", type=Path, nargs="+", help="two or more stores")
    add.add_argument(
        "-o", "--output", metavar="STORE", type=Path, required=True, dest="to", help="the store to be made"
    )
    add.add_argument("--name", help="name of the dataset (default: the stores' names)")
    add_joining(add)
    add_overwrite(add)

    add = command("append", data.run_append, "add the patches of other stores to a store")
    add.add_argument("store", metavar="STORE", type=Path, help="the store that grows")
    add.add_argument("sources", metavar="SOURCE_STORE", type=Path, nargs="+", help="stores whose patches are added")
    add_joining(add)

    add = command("subset", data.run_subset, "make a store of some patches or modalities of another")
    add.add_argument("store", metavar="STORE", type=Path)
    add.add_argument(
        "-o", "--output", metavar="STORE", type=Path, required=True, dest="to", help="the store to be made"
    )
    add.add_argument("--ids", metavar="FILE", type=Path, help="text file with the ids wanted, one a line")
    add.add_argument(
        "--where",
        metavar="CONDITION",
        action="append",
        default=[],
        help="column=value, or a,b for one of several values; also !=, <, <=, >, >=; all that are given must hold",
    )
    add.add_argument("--modalities", type=names, help="those wanted, with commas between (default: all)")
    add.add_argument("-n", metavar="N", type=positive, dest="count", help="draw as many patches at random")
    add.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    add_overwrite(add)

    add = command(
        "publish",
        data.run_publish,
        "write a store or a model for others: with a card and checksums, to be served and downloaded",
    )
    add.add_argument("store", metavar="STORE|RUN", type=Path)
    add.add_argument("to", metavar="FOLDER", type=Path, help="the folder to be made")
    add.add_argument(
        "--as",
        dest="form",
        required=True,
        choices=("store", "geotiff", "parquet", "webdataset", "model"),
        help="the form",
    )
    add.add_argument("--modalities", type=names, help="those wanted, with commas between (default: all)")
    add.add_argument("--licence", default="", help="such as CC-BY-4.0, for the card")

    add = command(
        "show",
        data.run_show,
        "draw a patch of a store, or several side by side; of a run its course, confusions and examples",
    )
    add.add_argument("path", metavar="STORE|RUN", type=Path)
    add.add_argument("patch_id", metavar="PATCH_ID", nargs="?", help="of a store: all modalities of this patch")
    add.add_argument("--grid", metavar="N", type=positive, help="of a store: as many patches in one picture")
    add.add_argument("--by", metavar="TARGET", help="with --grid: some patches of each class of a target or column")
    add.add_argument("--modality", metavar="NAME", help="with --grid: which raster is shown")
    add.add_argument(
        "-o",
        "--output",
        metavar="FILE|DIR",
        type=Path,
        help="default: patch.png or grid.png; for a run, a folder (default: the run's)",
    )
    add.add_argument(
        "--augment", choices=("none", "light", "strong"), metavar="PRESET", help="beside it, what training makes of it"
    )
    add.add_argument("--seed", type=int, default=0, help="of what is drawn at random (default: 0)")

    add = command(
        "explore",
        data.run_explore,
        "write one page to look at a store, run or study: map, embedding, pictures, filters",
    )
    add.add_argument("path", metavar="STORE|RUN|STUDY", type=Path)
    add.add_argument("-o", "--output", metavar="FILE.html", type=Path, default=Path("explore.html"))
    add.add_argument("--store", metavar="STORE", type=Path, help="of a run or study, where it lies now")
    add.add_argument("--target", metavar="NAME", help="of a run or study with several: only this one")
    add.add_argument("--variant", metavar="NAME", help="of a study: only this one (default: all, the best first)")
    add.add_argument("--seed", metavar="N", type=int, help="of a study: only the runs with this seed")
    add.add_argument(
        "--features",
        metavar="NAME",
        help="what tells patches apart: run (its encoders), a vector of the store, or bands (default: the first there is)",
    )
    add.add_argument("--projection", choices=("pca", "umap"), default="pca", help="of these to a plane (default: pca)")
    add.add_argument(
        "--size", metavar="MB", type=float, default=6.0, dest="megabytes", help="that pictures fill up to (default: 6)"
    )
    add.add_argument("--device", default="auto", help="where a run computes: auto, cpu, cuda, cuda:1, mps")

    group = "models"
    add = command("train", models.run_train, "train one recipe and test it")
    add_recipe(add)
    add.add_argument("--to", metavar="RUN", type=Path, help="the run folder (default: runs/<name>-<hash>)")

    add = command(
        "pretrain",
        models.run_pretrain,
        "train encoders without labels, for any recipe to start from; goes on where it stopped",
    )
    add_recipe(add)
    add.add_argument("--to", metavar="RUN", type=Path, help="the run folder (default: runs/<name>-<hash>)")

    add = command("resume", models.run_resume, "go on with an interrupted run or pretraining")
    add.add_argument("folder", metavar="RUN", type=Path)

    add = command(
        "evaluate", models.run_evaluate, "score a run on its test patches, with intervals and the constant predictor"
    )
    add.add_argument("run", metavar="RUN", type=Path)
    add_json(add)

    add = command(
        "attribute",
        models.run_attribute,
        "say what each modality, scalar and band is worth to a run: a table and a picture",
    )
    add.add_argument("run", metavar="RUN", type=Path)
    add.add_argument("--metric", help="that is shown, of all that are computed (default: the one that ranks)")
    add.add_argument("--repeats", metavar="N", type=positive, default=5, help="draws of each permutation (default: 5)")
    add.add_argument("--seed", type=int, default=0, help="of the permutations (default: 0)")

    add = command(
        "predict",
        models.run_predict,
        "predict every patch of a store, with or without labels; a study takes its best variant by validation",
    )
    add.add_argument("run", metavar="RUN_OR_STUDY", type=Path)
    add.add_argument("store", metavar="STORE", type=Path)
    add.add_argument(
        "-o", "--output", metavar="FILE", type=Path, default=Path("predictions.parquet"), help=".parquet or .csv"
    )
    add.add_argument("--variant", metavar="NAME", help="of a study, in place of its best by validation")
    add.add_argument("--seed", metavar="N", type=int, help="of a study: this seed alone (default: the mean of all)")
    add.add_argument("--maps", metavar="DIR", type=Path, help="folder for GeoTIFFs of pixels, and GeoJSON of boxes")
    add.add_argument(
        "--threshold",
        type=float,
        default=0.5,
        help="probability from which one of several classes counts, score from which a box counts (default: 0.5)",
    )
    add_json(add)

    add = command(
        "export",
        models.run_export,
        "write a run as one file that predicts without eofuse; a study takes its best variant by validation",
    )
    add.add_argument("run", metavar="RUN_OR_STUDY", type=Path)
    add.add_argument("output", metavar="FILE", type=Path, help=".onnx for onnxruntime, or .pt2 for torch.export.load")
    add.add_argument("--variant", metavar="NAME", help="of a study, in place of its best by validation")
    add.add_argument("--seed", metavar="N", type=int, help="of a study: this seed alone (default: the mean of all)")
    add_json(add)

    add = command(
        "card",
        models.run_card,
        "write the model card of a run: data, inputs, scores with intervals, limits, how to load",
    )
    add.add_argument("run", metavar="RUN", type=Path)
    add.add_argument("-o", "--output", metavar="FILE.md", type=Path, help="default: RUN/README.md")

    add = command(
        "suggest", models.run_suggest, "say which patches of a store to annotate next: a table and a contact sheet"
    )
    add.add_argument("run", metavar="RUN", type=Path)
    add.add_argument("store", metavar="STORE", type=Path)
    add.add_argument("-n", metavar="N", type=positive, dest="count", default=50, help="how many (default: 50)")
    add.add_argument(
        "--by",
        choices=("uncertainty", "diversity", "mix", "random"),
        default="mix",
        help="unsure predictions, patches unlike those with labels, both (default), or a draw",
    )
    add.add_argument("--ids", metavar="FILE", type=Path, help="only among these patches: text file, an id a line")
    add.add_argument(
        "-o", "--output", metavar="DIR", type=Path, default=Path("suggestions"), help="default: suggestions"
    )
    add.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")

    add = command(
        "embed",
        models.run_embed,
        "add the vectors of a pretrained network to a store, and those of its twin with random weights",
    )
    add.add_argument("store", metavar="STORE", type=Path, nargs="?")
    add.add_argument("--list", action="store_true", dest="list_models", help="the models and what they take")
    add.add_argument(
        "--with", metavar="MODEL", dest="model", help="galileo:nano, presto, a run folder, timm:NAME …: see --list"
    )
    add.add_argument(
        "--weights", metavar="FILE|DIR", type=Path, help="of the model, as its authors publish them; a run has its own"
    )
    add.add_argument("-o", "--output", metavar="STORE", type=Path, dest="to", help="the store to be made")
    add.add_argument("--name", help="of the modality (default: the model's)")
    add.add_argument(
        "--inputs", type=names, metavar="NAMES", help="modalities that the model takes (default: all it knows)"
    )
    add.add_argument(
        "--unit",
        metavar="NAME=UNIT",
        action="append",
        default=[],
        help="unit of a modality (s2) or channel (s2.B04), where the store names none",
    )
    add.add_argument("--month", type=int, metavar="1-12", help="of samples without a date")
    add.add_argument(
        "--place", action="store_true", help="let the model see longitude and latitude: it may recognise sites"
    )
    add.add_argument("--patch", type=positive, metavar="PIXELS", help="side of a token (default: 8)")
    add.add_argument(
        "--pool",
        choices=("mean", "groups", "tokens"),
        default="mean",
        help="one mean, one a group of channels, or a raster with a vector for each token",
    )
    add.add_argument(
        "--non-commercial", action="store_true", help="take weights of timm or torchgeo whose licence forbids commerce"
    )
    add.add_argument("--no-twin", action="store_false", dest="twin", help="leave the random twin out")
    add.add_argument("--seed", type=int, default=0, help="of the twin's weights (default: 0)")
    add.add_argument("--device", default="auto", help="where it runs: auto, cpu, cuda, cuda:1, mps (default: auto)")
    add.add_argument("--threads", type=positive, default=1, help="of the processor (default: 1)")
    add_overwrite(add)

    group = "maps"
    add = command(
        "map", maps.run_map, "map whole scenes: cloud-optimised GeoTIFFs; goes on where an interrupted one stopped"
    )
    add.add_argument("run", metavar="RUN_OR_STUDY", type=Path)
    add.add_argument("scenes", metavar="SCENES.yaml", type=Path, nargs="?", help="spec of the scenes, as cut takes it")
    add.add_argument("overrides", metavar="key=value", nargs="*", help="changes to the spec, like root=DIR")
    add.add_argument(
        "--layer",
        metavar="NAME=FILES",
        action="append",
        default=[],
        help="in place of a spec: files of an input, a path, or a pattern of a file a band; once for each input",
    )
    add.add_argument(
        "--value",
        metavar="NAME=VALUES",
        action="append",
        default=[],
        help="beside --layer: an input without pixels, a class or numbers with commas, as the store held them",
    )
    add.add_argument(
        "-o", "--output", metavar="DIR|FILE.tif", type=Path, required=True, help="folder of maps; of layers, the map"
    )
    add.add_argument("--probabilities", action="store_true", help="write the probability of every class as well")
    add.add_argument(
        "--uncertainty", action="store_true", help="write entropy and, of several models, their disagreement as well"
    )
    add.add_argument("--polygons", action="store_true", help="write the regions of a class map as a GeoPackage as well")
    add.add_argument("--window", metavar="N", type=positive, help="pixels of a window's side that the model sees")
    add.add_argument("--overlap", metavar="N", type=not_negative, help="pixels that windows share")
    add.add_argument("--stride", metavar="N", type=positive, help="pixels of a cell of what is predicted of a patch")
    add.add_argument("--threshold", type=float, default=0.5, help="score from which a box counts (default: 0.5)")
    add.add_argument("--variant", metavar="NAME", help="of a study, in place of its best by validation")
    add.add_argument("--seed", metavar="N", type=int, help="of a study: this seed alone (default: the mean of all)")
    add.add_argument("--workers", metavar="N", type=positive, help="threads that predict (default: one a core)")
    add.add_argument("--readers", metavar="N", type=positive, default=2, help="threads that read (default: 2)")
    add.add_argument("--overwrite", action="store_true", help="replace maps that exist, or unfinished ones")
    add_json(add)

    add = command("sample", maps.run_sample, "draw points of a map at which to look for reference labels")
    add.add_argument("map", metavar="MAP.tif", type=Path, help="a map of classes")
    add.add_argument("-n", metavar="N", type=positive, dest="count", default=300, help="how many (default: 300)")
    add.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        default=Path("points.gpkg"),
        help=".gpkg, .geojson or .csv (default: points.gpkg); the design goes beside it",
    )
    add.add_argument(
        "--by",
        choices=("class", "confidence", "class-confidence", "none"),
        default="class",
        help="strata: the map's classes (default), groups of confidence, both, or none",
    )
    add.add_argument(
        "--allocation",
        choices=("equal", "proportional", "neyman"),
        default="neyman",
        help="points of a stratum: as many, by area, or by area and expected errors (default)",
    )
    add.add_argument(
        "--smallest", metavar="N", type=positive, help="points of a stratum at least (default: 30, less if N is small)"
    )
    add.add_argument("--seed", type=int, default=0, help="the same seed gives the same points (default: 0)")
    add.add_argument("--label", metavar="NAME", default="class", help="the empty column for labels (default: class)")
    add.add_argument(
        "--with-training-areas", action="store_true", help="points may lie where the model learned (default: never)"
    )
    add_classes(add)
    add.add_argument("--overwrite", action="store_true", help="replace points that exist, with their labels")
    add_json(add)

    add = command(
        "area", maps.run_area, "say how large the classes of a map are, and how right it is, from labelled points of it"
    )
    add.add_argument("map", metavar="MAP.tif", type=Path, help="the map that was sampled")
    add.add_argument("points", metavar="POINTS", type=Path, help="the points that sample wrote, with labels")
    add.add_argument("--label", metavar="NAME", default="class", help="the column of labels (default: class)")
    add.add_argument("-o", "--output", metavar="DIR", type=Path, help="for page and tables (default: <points>-areas)")
    add.add_argument(
        "--as-random",
        action="store_true",
        help="take any points as if they had been drawn at random from the whole map; the output says what that means",
    )
    add_classes(add)
    add.add_argument("--overwrite", action="store_true", help="replace an output that exists")
    add_json(add)

    group = "studies"
    add = command("study", models.run_study, "compare variants over seeds: leaderboard, tables, report")
    add_recipe(add)
    add.add_argument("--to", metavar="STUDY", type=Path, help="the study's folder (default: studies/<name>)")
    add.add_argument("--retry-failed", action="store_true", help="try runs again whose training diverged")
    where = "where its runs are done: local (default), ray or slurm; see docs/scaling.md"
    add.add_argument("--on", metavar="PLACE", default="local", help=where)
    words = "what to ask there: gpus=1,memory_gb=32 or a YAML file; docs/scaling.md lists the keys"
    add.add_argument("--resources", metavar="KEY=VALUE,…", help=words)
    add_workers(add)

    add = command("report", models.run_report, "write the report of a finished study again")
    add.add_argument("study", metavar="STUDY", type=Path)

    group = "shell"
    add = command("completion", completion.run_completion, "print the script by which a shell completes these words")
    add.add_argument("shell", metavar="SHELL", choices=completion.SHELLS, help=" or ".join(completion.SHELLS))
    parser.epilog = "\n\n".join("\n".join([f"{title}:", *lines]) for title, lines in groups.items())
    return parser

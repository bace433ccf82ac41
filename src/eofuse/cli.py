"""The command line: words only. It parses, calls and prints; heavy imports wait until a command needs them."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eofuse import __version__
from eofuse.errors import EofuseError, UsageError

if TYPE_CHECKING:
    from eofuse.learning.pretraining.run import PretrainedRun
    from eofuse.learning.run import Run


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns 0, 1 for bad data or 2 for misuse."""
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and (not hasattr(arguments, "overrides") or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:  # key=value words after an option
        arguments.overrides += rest
    try:
        status: int = arguments.command(arguments)
    except EofuseError as error:
        print(f"eofuse: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("eofuse: interrupted; what is done is kept, run the same command again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="eofuse", description="Data-efficient, multimodal deep learning for Earth observation.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"eofuse {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, function: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
        added.set_defaults(command=function)
        return added

    add = command(
        "simulate", _simulate, "write a simulated ben-ge folder, for first use and teaching, never for claims"
    )
    add.add_argument("folder", metavar="DIR", type=Path, help="the folder to be made")
    add.add_argument("--patches", type=int, default=800, help="number of patches (default: 800)")
    add.add_argument("--seed", type=int, default=0, help="the same seed gives the same files (default: 0)")
    _workers(add)

    add = command("download", _download, "fetch a published dataset: resumable, checked, safely unpacked")
    add.add_argument("name", metavar="NAME", help="ben-ge-800 or ben-ge-8k")
    add.add_argument("--to", metavar="DIR", type=Path, default=Path(), help="where to (default: here)")
    add.add_argument("--base-url", default="https://zenodo.org", help="address of the archive, for mirrors")

    add = command("check", _check, "find every problem of a folder or store; exit code 1 if one is an error")
    add.add_argument("path", metavar="DIR", type=Path, help="a dataset's folder, a table's SPEC.yaml, or a store")
    _workers(add)

    add = command("init", _init, "look at a table, or a folder of images, and write a first spec of it to be packed")
    add.add_argument("path", metavar="DIR|TABLE", type=Path, help="a folder, or a CSV or Parquet table")
    add.add_argument("-o", "--output", metavar="SPEC.yaml", type=Path, help="default: <name>.yaml here")

    add = command("pack", _pack, "pack a folder or table into a store; goes on where an interrupted one stopped")
    add.add_argument("folder", metavar="DIR|SPEC.yaml", type=Path, help="a dataset's folder, or the spec of a table")
    add.add_argument("store", metavar="STORE", type=Path, help="the store to be made")
    add.add_argument("overrides", metavar="key=value", nargs="*", help="changes to the spec, like root=DIR")
    add.add_argument("--modalities", help="those wanted, with commas between (default: all)")
    add.add_argument("--skip-bad", action="store_true", help="set bad patches aside in a list instead of stopping")
    add.add_argument("--overwrite", action="store_true", help="replace a store of other content")
    _workers(add)

    add = command("cut", _cut, "cut scenes into the patches of a store; goes on where an interrupted one stopped")
    add.add_argument("spec", metavar="SPEC.yaml", type=Path, help="which files make which modality (see docs/data.md)")
    add.add_argument("store", metavar="STORE", type=Path, help="the store to be made")
    add.add_argument("overrides", metavar="key=value", nargs="*", help="changes to the spec, like root=DIR")
    add.add_argument("--size", metavar="PIXELS", type=_positive, default=120, help="side of a patch (default: 120)")
    add.add_argument("--overlap", metavar="PIXELS", type=int, default=0, help="that neighbours share (default: 0)")
    add.add_argument("--overwrite", action="store_true", help="replace a store of other content")
    _workers(add)

    add = command(
        "describe", _describe, "say what is in a store: counts, statistics, classes, scenes, leakage of splits"
    )
    add.add_argument("store", metavar="STORE", type=Path)
    add.add_argument("--html", metavar="FILE", type=Path, help="write a data card as well: one page, what to fix first")
    add.add_argument(
        "--split", choices=("scene", "blocks", "random", "published"), help="that the card looks at (default: scene)"
    )
    add.add_argument("--target", metavar="NAME", help="whose balance the card shows (default: the store's labels)")

    add = command("merge", _merge, "make one store of several; goes on where an interrupted one stopped")
    add.add_argument("stores", metavar="STORE", type=Path, nargs="+", help="two or more stores")
    add.add_argument("-o", "--output", metavar="STORE", type=Path, required=True, help="the store to be made")
    add.add_argument("--name", help="name of the dataset (default: the stores' names)")
    _joining(add)
    add.add_argument("--overwrite", action="store_true", help="replace a store of other content")

    add = command("append", _append, "add the patches of other stores to a store")
    add.add_argument("store", metavar="STORE", type=Path, help="the store that grows")
    add.add_argument("sources", metavar="SOURCE_STORE", type=Path, nargs="+", help="stores whose patches are added")
    _joining(add)

    add = command("subset", _subset, "make a store of some patches or modalities of another")
    add.add_argument("store", metavar="STORE", type=Path)
    add.add_argument("-o", "--output", metavar="STORE", type=Path, required=True, help="the store to be made")
    add.add_argument("--ids", metavar="FILE", type=Path, help="text file with the ids wanted, one a line")
    add.add_argument(
        "--where",
        metavar="CONDITION",
        action="append",
        default=[],
        help="column=value, or a,b for one of several values; also !=, <, <=, >, >=; all that are given must hold",
    )
    add.add_argument("--modalities", help="those wanted, with commas between (default: all)")
    add.add_argument("-n", metavar="N", type=_positive, dest="count", help="draw as many patches at random")
    add.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    add.add_argument("--overwrite", action="store_true", help="replace a store of other content")

    add = command("show", _show, "draw all modalities of a patch side by side")
    add.add_argument("store", metavar="STORE", type=Path)
    add.add_argument("patch_id", metavar="PATCH_ID")
    add.add_argument("-o", "--output", metavar="FILE", type=Path, default=Path("patch.png"), help="default: patch.png")
    add.add_argument(
        "--augment", choices=("none", "light", "strong"), metavar="PRESET", help="beside it, what training makes of it"
    )
    add.add_argument("--seed", type=int, default=0, help="of these draws (default: 0)")

    add = command("train", _train, "train one recipe and test it")
    _recipe(add)
    add.add_argument("--to", metavar="RUN", type=Path, help="the run folder (default: runs/<name>-<hash>)")

    add = command(
        "pretrain", _pretrain, "train encoders without labels, for any recipe to start from; goes on where it stopped"
    )
    _recipe(add)
    add.add_argument("--to", metavar="RUN", type=Path, help="the run folder (default: runs/<name>-<hash>)")

    add = command("resume", _resume, "go on with an interrupted run or pretraining")
    add.add_argument("run", metavar="RUN", type=Path)

    add = command("evaluate", _evaluate, "score a run on its test patches, with intervals and the constant predictor")
    add.add_argument("run", metavar="RUN", type=Path)

    add = command(
        "attribute", _attribute, "say what each modality, scalar and band is worth to a run: a table and a picture"
    )
    add.add_argument("run", metavar="RUN", type=Path)
    add.add_argument("--metric", help="that is shown, of all that are computed (default: the one that ranks)")
    add.add_argument("--repeats", metavar="N", type=_positive, default=5, help="draws of each permutation (default: 5)")
    add.add_argument("--seed", type=int, default=0, help="of the permutations (default: 0)")

    add = command("predict", _predict, "predict every patch of a store, with or without labels")
    add.add_argument("run", metavar="RUN", type=Path)
    add.add_argument("store", metavar="STORE", type=Path)
    add.add_argument(
        "-o", "--output", metavar="FILE", type=Path, default=Path("predictions.parquet"), help=".parquet or .csv"
    )
    add.add_argument("--maps", metavar="DIR", type=Path, help="folder for GeoTIFFs of pixels, and GeoJSON of boxes")
    add.add_argument(
        "--threshold",
        type=float,
        default=0.5,
        help="probability from which one of several classes counts, score from which a box counts (default: 0.5)",
    )

    add = command("suggest", _suggest, "say which patches of a store to annotate next: a table and a contact sheet")
    add.add_argument("run", metavar="RUN", type=Path)
    add.add_argument("store", metavar="STORE", type=Path)
    add.add_argument("-n", metavar="N", type=_positive, dest="count", default=50, help="how many (default: 50)")
    add.add_argument(
        "--by",
        choices=("uncertainty", "diversity", "mix", "random"),
        default="mix",
        help="unsure predictions, patches unlike those with labels, both (default), or a draw",
    )
    add.add_argument(
        "-o", "--output", metavar="DIR", type=Path, default=Path("suggestions"), help="default: suggestions"
    )
    add.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")

    add = command("study", _study, "compare variants over seeds: leaderboard, tables, report")
    _recipe(add)
    add.add_argument("--to", metavar="STUDY", type=Path, help="the study's folder (default: studies/<name>)")
    _workers(add)

    add = command("report", _report, "write the report of a finished study again")
    add.add_argument("study", metavar="STUDY", type=Path)
    return parser


def _workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", metavar="N", type=_positive, help="processes at a time (default: one a core)")


def _joining(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--skip-identical", action="store_true", help="take a patch once that several stores hold alike"
    )
    parser.add_argument(
        "--with-simulated",
        action="store_true",
        help="allow simulated beside real patches: the whole counts as simulated",
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE.yaml", type=Path)
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="changes to the recipe, like train.steps=500")
    parser.add_argument("--store", metavar="STORE", type=Path, help="a store in place of the recipe's")


def _simulate(arguments: argparse.Namespace) -> int:
    from eofuse.data.simulate import simulate
    from eofuse.terminal import progress_bar

    with progress_bar("simulating", "patches") as progress:
        folder = simulate(
            arguments.folder,
            arguments.patches,
            arguments.seed,
            arguments.workers,
            lambda done, total: progress(done, total),
        )
    print(f"{folder}: {arguments.patches} simulated patches (for first use and teaching, never for claims)")
    return 0


def _download(arguments: argparse.Namespace) -> int:
    from eofuse.data.download import download, is_downloaded
    from eofuse.terminal import progress_bar

    if is_downloaded(arguments.name, arguments.to):
        print(f"{arguments.to / arguments.name}: is there already")
        return 0
    with progress_bar("downloading", "bytes") as progress:
        folder = download(
            arguments.name, arguments.to, arguments.base_url, lambda name, done, total: progress(done, total, name)
        )
    print(f"{folder}: downloaded and checked; next: eofuse pack {folder} {folder}.store")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from eofuse.data.check import check_path
    from eofuse.terminal import console, progress_bar

    with progress_bar("checking", "files") as progress:
        problems = check_path(arguments.path, arguments.workers, progress)
    errors = [problem for problem in problems if problem.severity == "error"]
    for problem in problems:
        style = "red" if problem.severity == "error" else "yellow"
        console().print(str(problem), style=style, markup=False, highlight=False, soft_wrap=True)
    counts = {"error": len(errors), "warning": len(problems) - len(errors)}
    print(f"{arguments.path}: " + ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items()))
    return 1 if errors else 0


def _init(arguments: argparse.Namespace) -> int:
    from eofuse.data.init import init

    done = init(arguments.path, arguments.output)
    print(done.spec)
    for line in done.found:
        print(f"  found: {line}")
    for line in done.unknown:
        print(f"  to be decided: {line}")
    print(f"next: edit {done.spec}, then eofuse pack {done.spec} {done.spec.with_suffix('.store')}")
    return 0


def _pack(arguments: argparse.Namespace) -> int:
    from eofuse.data.pack import pack
    from eofuse.terminal import progress_bar

    names = arguments.modalities.split(",") if arguments.modalities else None
    with progress_bar("packing", "patches") as progress:
        store = pack(
            arguments.folder,
            arguments.store,
            modalities=names,
            skip_bad=arguments.skip_bad,
            overwrite=arguments.overwrite,
            workers=arguments.workers,
            overrides=arguments.overrides,
            progress=progress,
        )
    for warning in store.provenance.get("table", {}).get("warnings", ()):
        print(f"note: {warning}")
    aside = store.provenance["set_aside"]
    print(f"{arguments.store}: {len(store)} patches{', ' * bool(store.modalities)}{', '.join(store.modalities)}")
    if aside:
        patches = "1 bad patch was" if aside == 1 else f"{aside} bad patches were"
        print(f"{patches} set aside: see {arguments.store / 'set_aside.csv'}")
    for problem in store.provenance["other_problems"]:
        print(f"not packed because of an {problem}")
    return 0


def _cut(arguments: argparse.Namespace) -> int:
    from eofuse.data.cut import cut
    from eofuse.terminal import progress_bar

    with progress_bar("cutting", "patches") as progress:
        done = cut(
            arguments.spec,
            arguments.store,
            size=arguments.size,
            overlap=arguments.overlap,
            overrides=arguments.overrides,
            overwrite=arguments.overwrite,
            workers=arguments.workers,
            progress=progress,
        )
    for warning in done.warnings:
        print(f"note: {warning}")
    for name, scenes in done.warped.items():
        print(f"{name}: warped to the reference's grid in {len(scenes)} scenes")
    print(
        f"{arguments.store}: {len(done.store)} patches of {', '.join(done.store.modalities)}; "
        f"left out: {done.beyond_edge} that would stick out, {done.no_data} without data"
    )
    return 0


def _describe(arguments: argparse.Namespace) -> int:
    from eofuse.data.describe import describe_store
    from eofuse.data.store import open_store
    from eofuse.terminal import console, description_tables

    if not arguments.html and (arguments.split or arguments.target):
        raise UsageError("--split and --target are for the data card", fix="add --html FILE")
    store = open_store(arguments.store)
    for part in description_tables(store, describe_store(store)):
        console().print(part)
    if arguments.html:
        from eofuse.reports.data_card import data_card
        from eofuse.terminal import progress_bar

        with progress_bar("looking at", "patches") as progress:
            data_card(store, arguments.html, protocol=arguments.split, target=arguments.target, progress=progress)
        print(arguments.html)
    return 0


def _merge(arguments: argparse.Namespace) -> int:
    from eofuse.data.combine import merge
    from eofuse.terminal import progress_bar

    with progress_bar("merging", "patches") as progress:
        store = merge(
            arguments.stores,
            arguments.output,
            name=arguments.name,
            skip_identical=arguments.skip_identical,
            with_simulated=arguments.with_simulated,
            overwrite=arguments.overwrite,
            progress=progress,
        )
    print(f"{arguments.output}: {len(store)} patches, {', '.join(store.modalities)}")
    return 0


def _append(arguments: argparse.Namespace) -> int:
    from eofuse.data.combine import append
    from eofuse.terminal import progress_bar

    with progress_bar("appending", "patches") as progress:
        store = append(
            arguments.store,
            arguments.sources,
            skip_identical=arguments.skip_identical,
            with_simulated=arguments.with_simulated,
            progress=progress,
        )
    print(f"{arguments.store}: {len(store)} patches, {', '.join(store.modalities)}")
    return 0


def _subset(arguments: argparse.Namespace) -> int:
    from eofuse.data.selection import read_ids, subset
    from eofuse.terminal import progress_bar

    with progress_bar("copying", "patches") as progress:
        store = subset(
            arguments.store,
            arguments.output,
            ids=read_ids(arguments.ids) if arguments.ids else None,
            where=arguments.where,
            modalities=arguments.modalities.split(",") if arguments.modalities else None,
            count=arguments.count,
            seed=arguments.seed,
            overwrite=arguments.overwrite,
            progress=progress,
        )
    print(f"{arguments.output}: {len(store)} patches, {', '.join(store.modalities)}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from eofuse.data.store import open_store
    from eofuse.reports.figures.patch import show_augmented, show_patch

    store = open_store(arguments.store)
    if arguments.augment is None:
        show_patch(store, arguments.patch_id, arguments.output)
    else:
        from eofuse.learning.augment import AugmentOptions
        from eofuse.learning.augment.examples import example_draws

        options = AugmentOptions(preset=arguments.augment)
        draws = example_draws(store, arguments.patch_id, options, count=5, seed=arguments.seed)
        title = f"as it is, and five draws of the augmentation '{arguments.augment}' with seed {arguments.seed}"
        show_augmented(store, arguments.patch_id, draws, title, arguments.output)
    print(arguments.output)
    return 0


def _train(arguments: argparse.Namespace) -> int:
    from eofuse.recipe import train
    from eofuse.terminal import progress_bar

    with progress_bar("training", "steps") as progress:
        run = train(
            arguments.recipe,
            store=arguments.store,
            to=arguments.to,
            overrides=arguments.overrides,
            progress=progress,
        )
    return _tell(run)


def _pretrain(arguments: argparse.Namespace) -> int:
    from eofuse.recipe import pretrain
    from eofuse.terminal import progress_bar

    with progress_bar("pretraining", "steps") as progress:
        run = pretrain(
            arguments.recipe,
            store=arguments.store,
            to=arguments.to,
            overrides=arguments.overrides,
            progress=progress,
        )
    return _tell_pretraining(run)


def _tell_pretraining(run: "PretrainedRun") -> int:
    from eofuse.learning.run import MODEL_FOLDER

    for note in run.notes():
        print(f"note: {note}")
    before, after = run.result["before"], run.result["after"]
    print(", ".join(f"{name.replace('_', ' ')} {before[name]:.3f} → {value:.3f}" for name, value in after.items()))
    print(f"{run.folder / MODEL_FOLDER}: weights after {run.result['steps']} steps of {run.result['method']}")
    return 0


def _resume(arguments: argparse.Namespace) -> int:
    from eofuse.learning.run import Run
    from eofuse.recipe import resume
    from eofuse.terminal import progress_bar

    with progress_bar("training", "steps") as progress:
        run = resume(arguments.run, progress)
    return _tell(run) if isinstance(run, Run) else _tell_pretraining(run)


def _tell(run: "Run") -> int:
    from eofuse.terminal import console, transfer_table

    assert run.test is not None
    if (started := run.transfer()) is not None:
        console().print(transfer_table(started))
    for warning in run.notes():
        print(f"note: {warning}")
    for found in run.result["targets"]:
        target, metric, unit = found["target"], found["metric"], f" {found['unit']}" if found["unit"] else ""
        validation, test = found["validation"][metric], run.test[target][metric]
        print(
            f"{target}: {metric} {validation:.3f}{unit} on validation (step {run.result['best_step']}), {test:.3f}{unit} on test"
        )
    print(f"{run.folder}: for all scores with intervals, eofuse evaluate {run.folder}")
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    from eofuse.learning.evaluate import evaluate
    from eofuse.learning.run import open_run
    from eofuse.terminal import console, scores_tables

    for table in scores_tables(evaluate(arguments.run)):
        console().print(table)
    for note in open_run(arguments.run).notes():
        print(f"note: {note}")
    return 0


def _attribute(arguments: argparse.Namespace) -> int:
    from eofuse.learning.attribution import TABLE_FILE, attribute
    from eofuse.reports.absence import write_run_pictures
    from eofuse.terminal import attribution_tables, console, progress_bar

    with progress_bar("asking", "times all test patches") as progress:
        found = attribute(
            arguments.run,
            metric=arguments.metric,
            seed=arguments.seed,
            repeats=arguments.repeats,
            progress=progress,
        )
    for table in attribution_tables(found.table, found.facts["targets"]):
        console().print(table)
    for warning in found.warnings:
        print(f"note: {warning}")
    print(f"{arguments.run / TABLE_FILE}: every metric")
    for path in write_run_pictures(found.table, found.facts["targets"], arguments.run):
        print(f"{path}: the picture")
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    from eofuse.data.store import open_store
    from eofuse.inference.predict import predict_store, write_predictions
    from eofuse.learning.run import MODEL_FOLDER, open_run
    from eofuse.terminal import progress_bar

    run = open_run(arguments.run)
    with progress_bar("predicting", "patches") as progress:
        table = predict_store(
            run.folder / MODEL_FOLDER,
            open_store(arguments.store),
            maps=arguments.maps,
            threshold=arguments.threshold,
            progress=progress,
        )
    write_predictions(table, arguments.output)
    missing = int((~table["predicted"]).sum())
    if run.is_simulated:
        print("note: the model was trained on simulated data: its predictions say nothing about the Earth")
    without = f"; {missing} of {len(table)} patches lack an input and have no prediction" if missing else ""
    print(f"{arguments.output}: {len(table) - missing} predictions{without}")
    if arguments.maps:
        print(f"{arguments.maps}: maps of {len(table) - missing} patches")
    return 0


def _suggest(arguments: argparse.Namespace) -> int:
    from eofuse.suggestions import SHEET_FILE, TABLE_FILE, suggest
    from eofuse.terminal import progress_bar

    with progress_bar("looking at", "patches") as progress:
        found = suggest(
            arguments.run,
            arguments.store,
            arguments.count,
            by=arguments.by,
            output=arguments.output,
            seed=arguments.seed,
            progress=progress,
        )
    without = ", ".join(f"{number} {reason}" for reason, number in found.left_out.items())
    print(f"{found.candidates} candidates" + (f"; left out: {without}" if without else ""))
    print(f"{found.folder / TABLE_FILE}: {len(found.table)} patches, the most wanted first")
    print(f"{found.folder / SHEET_FILE}: their pictures")
    return 0


def _study(arguments: argparse.Namespace) -> int:
    from eofuse.recipe import REPORT_FILE, study
    from eofuse.reports.terminal import leaderboard_table, question_lines
    from eofuse.terminal import console, progress_bar

    with progress_bar("studying", "runs") as progress:
        done = study(
            arguments.recipe,
            store=arguments.store,
            to=arguments.to,
            overrides=arguments.overrides,
            workers=arguments.workers,
            progress=progress,
        )
    for target in done.results.targets:
        console().print(leaderboard_table(done.results.of(target)))
        for line in question_lines(done.results.of(target)):
            print(line)
    for warning in done.results.summary["warnings"]:
        print(f"note: {warning}")
    print(f"report: {(done.folder / REPORT_FILE).resolve()}")
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from eofuse.recipe import open_study

    if not arguments.study.is_dir():
        raise UsageError("is no study folder", where=arguments.study)
    print(open_study(arguments.study).report())
    return 0


if __name__ == "__main__":
    sys.exit(main())

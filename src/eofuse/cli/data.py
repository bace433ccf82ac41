"""Commands about data: folders, tables, scenes and stores."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from eofuse.cli.output import carry_out, show, show_json
from eofuse.errors import UsageError
from eofuse.words import counted

if TYPE_CHECKING:
    from eofuse.data.store import Store


def run_simulate(arguments: argparse.Namespace) -> None:
    """Does `eofuse simulate`."""
    from eofuse.simulation import simulate

    folder = carry_out(simulate, arguments, "simulating", "patches")
    show(f"{folder}: {arguments.patches} simulated patches (for first use and teaching, never for claims)")


def run_download(arguments: argparse.Namespace) -> None:
    """Does `eofuse download`."""
    from eofuse.data.download import download, is_downloaded
    from eofuse.data.publish.listing import LISTING

    before = is_downloaded(arguments.name, arguments.to)
    folder = carry_out(download, arguments, "downloading", "bytes")
    forms = {"store.json": f"describe {folder}", "spec.yaml": f"pack {folder / 'spec.yaml'} {folder}.store"}
    ways = [f"eofuse {words}" for file, words in forms.items() if (folder / file).exists()]
    ways += [f"see {folder / 'README.md'}"] if (folder / LISTING).exists() else [f"eofuse pack {folder} {folder}.store"]
    show(f"{folder}: {'is there already' if before else f'downloaded and checked; next: {ways[0]}'}")


def run_check(arguments: argparse.Namespace) -> int:
    """Does `eofuse check`."""
    from eofuse.data.check import check_path
    from eofuse.data.problems import problem_lines
    from eofuse.terminal import console

    problems = carry_out(check_path, arguments, "checking", "files")
    errors = [problem for problem in problems if problem.severity == "error"]
    if arguments.json:
        warnings = len(problems) - len(errors)
        show_json({"path": arguments.path, "errors": len(errors), "warnings": warnings, "problems": problems})
        return 1 if errors else 0
    lines = [(each.severity, str(each)) for each in problems] if arguments.all else problem_lines(problems)
    for severity, line in lines:
        style = "red" if severity == "error" else "yellow"
        console().print(line, style=style, markup=False, highlight=False, soft_wrap=True)
    counts = [counted(len(errors), "error"), counted(len(problems) - len(errors), "warning")]
    more = "; every one on a line: --all" if len(lines) < len(problems) else ""
    show(f"{arguments.path}: {', '.join(counts)}{more}")
    return 1 if errors else 0


def run_init(arguments: argparse.Namespace) -> None:
    """Does `eofuse init`."""
    from eofuse.data.specs.init import init

    done = init(arguments.path, arguments.output)
    show(done.spec)
    for line in done.found:
        show(f"  found: {line}")
    for line in done.unknown:
        show(f"  to be decided: {line}")
    store = done.spec.with_suffix(".store")
    show(f"next: edit {done.spec}, then eofuse check {done.spec}, then eofuse {done.command} {done.spec} {store}")


def run_pack(arguments: argparse.Namespace) -> None:
    """Does `eofuse pack`."""
    from eofuse.data.sources import Provenance
    from eofuse.data.store.pack import pack

    store = carry_out(pack, arguments, "packing", "patches")
    for warning in Provenance.of(store.provenance).warnings:
        show(warning)
    aside = store.provenance["set_aside"]
    _tell(arguments.store, store)
    if aside:
        patches = "1 bad patch was" if aside == 1 else f"{aside} bad patches were"
        show(f"{patches} set aside: see {arguments.store / 'set_aside.csv'}")
    for problem in store.provenance["other_problems"]:
        show(f"not packed because of an {problem}")


def run_cut(arguments: argparse.Namespace) -> None:
    """Does `eofuse cut`."""
    from eofuse.data.store.cut import cut

    done = carry_out(cut, arguments, "cutting", "patches")
    for warning in done.warnings:
        show(f"note: {warning}")
    for name, scenes in done.warped.items():
        show(f"{name}: warped to the reference's grid in {len(scenes)} scenes ({', '.join(done.resampling[name])})")
    show(
        f"{arguments.store}: {counted(len(done.store), 'patch', 'patches')} of {', '.join(done.store.modalities)}; "
        f"left out: {done.beyond_edge} that would stick out, {done.no_data} without data"
    )


def run_collect(arguments: argparse.Namespace) -> None:
    """Does `eofuse collect`."""
    from eofuse.data.collect.run import collect

    done = carry_out(collect, arguments, "collecting", "patches")
    for note in done.notes:
        show(f"note: {note}")
    _tell(arguments.store, done.store)
    if done.missing is not None:
        left_out = f"; {counted(done.left_out, 'patch', 'patches')} without any modality left out" * bool(done.left_out)
        failed, absent = (
            counted(done.failed, "asset"),
            counted(done.absent, "modality of a patch", "modalities of patches"),
        )
        show(f"missing: {failed} that could not be read, {absent} without an item{left_out}: see {done.missing}")


def run_describe(arguments: argparse.Namespace) -> None:
    """Does `eofuse describe`."""
    from eofuse.data.card.describe import describe_store
    from eofuse.data.store import open_store
    from eofuse.terminal import console, description_tables

    if not arguments.html and (arguments.split or arguments.target):
        raise UsageError("--split and --target are for the data card", fix="add --html FILE")
    store = open_store(arguments.store)
    description = describe_store(store)
    if arguments.json:
        facts = {"store": arguments.store, "name": store.name, "patches": len(store), "simulated": store.simulated}
        show_json(facts | {"patch_size": store.patch_size, **vars(description)})
    else:
        for part in description_tables(store, description):
            console().print(part)
    if arguments.html:
        from eofuse.reports.data_card import data_card

        protocol = arguments.split
        carry_out(data_card, arguments, "looking at", "patches", store=store, path=arguments.html, protocol=protocol)
        if not arguments.json:
            show(arguments.html)


def run_merge(arguments: argparse.Namespace) -> None:
    """Does `eofuse merge`."""
    from eofuse.data.store.combine import merge

    _tell(arguments.to, carry_out(merge, arguments, "merging", "patches"))


def run_append(arguments: argparse.Namespace) -> None:
    """Does `eofuse append`."""
    from eofuse.data.store.combine import append

    _tell(arguments.store, carry_out(append, arguments, "appending", "patches"))


def run_subset(arguments: argparse.Namespace) -> None:
    """Does `eofuse subset`."""
    from eofuse.data.store.subset import read_ids, subset

    ids = read_ids(arguments.ids) if arguments.ids else None
    _tell(arguments.to, carry_out(subset, arguments, "copying", "patches", ids=ids))


def run_publish(arguments: argparse.Namespace) -> None:
    """Does `eofuse publish`."""
    from eofuse.data.publish.write import publish
    from eofuse.errors import UsageError

    if arguments.form != "model":
        folder = carry_out(publish, arguments, "writing", "patches")
        show(f"{folder}: written as {arguments.form}; {folder / 'README.md'} says what it holds and how to read it")
        return
    from eofuse.export.publish import publish_model

    if arguments.modalities:
        raise UsageError("a model has no modalities to choose from", where="--modalities", fix="leave it out")
    folder = publish_model(arguments.store, arguments.to, arguments.licence)
    show(f"{folder}: the model, its card, and checksums; eofuse predict and eofuse map take it as a run")


def run_show(arguments: argparse.Namespace) -> None:
    """Does `eofuse show`."""
    if (arguments.path / "recipe.yaml").is_file():
        _show_run(arguments)
        return
    if (arguments.patch_id is None) == (arguments.grid is None):
        fix = "give one of the two: a patch is one of patch_id in the store's index, --grid 12 draws some"
        raise UsageError("needs PATCH_ID or --grid N", where=arguments.path, fix=fix)
    if arguments.grid is None and (arguments.by or arguments.modality):
        raise UsageError("--by and --modality are for several patches", fix="add --grid N")
    if arguments.grid is not None and arguments.augment:
        raise UsageError("--augment is for one patch", fix="give PATCH_ID in place of --grid")
    _show_patches(arguments)


def _show_patches(arguments: argparse.Namespace) -> None:
    from eofuse.data.store import open_store
    from eofuse.reports.figures.patch import show_patch
    from eofuse.reports.figures.patch_grid import show_grid

    store = open_store(arguments.path)
    path = arguments.output or Path("patch.png" if arguments.grid is None else "grid.png")
    if arguments.grid is not None:
        names = {"by": arguments.by, "modality": arguments.modality, "seed": arguments.seed}
        show_grid(store, arguments.grid, **names, path=path)
    elif arguments.augment is None:
        show_patch(store, arguments.patch_id, path)
    else:
        from eofuse.pictures import show_augmented

        show_augmented(store, arguments.patch_id, arguments.augment, seed=arguments.seed, path=path)
    show(path)


def _show_run(arguments: argparse.Namespace) -> None:
    from eofuse.pictures import show_run

    given = {"PATCH_ID": "patch_id", "--grid": "grid", "--by": "by", "--modality": "modality", "--augment": "augment"}
    for word, name in given.items():
        if getattr(arguments, name) is not None:
            raise UsageError(f"{word} is for a store, and this is a run", where=arguments.path, fix="leave it out")
    done = show_run(arguments.path, arguments.output)
    for note in done.notes:
        show(f"note: {note}")
    for path in done.paths:
        show(path)


def run_explore(arguments: argparse.Namespace) -> None:
    """Does `eofuse explore`."""
    from eofuse.explorer.make import explore

    done = carry_out(explore, arguments, "looking at", "patches")
    for line in done.words:
        show(line)
    show(f"{done.path}: {counted(done.patches, 'patch', 'patches')}, {done.size / 1e6:.1f} MB; open it in a browser")


def _tell(path: Path, store: "Store") -> None:
    """Says what a store that was made holds."""
    show(", ".join([f"{path}: {counted(len(store), 'patch', 'patches')}", *store.modalities]))

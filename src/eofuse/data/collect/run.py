"""Collects patches into a store: plans, reads portion by portion, and writes; a collection that was killed goes on where it stopped.

`STORE.collecting` holds the plan and what was seen of each portion, `STORE.partial` the pixels; both go when the store is whole. What
could not be read, or is in no catalogue, is listed in `STORE.missing.csv`.
"""

import json
import os
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rasterio.errors import NotGeoreferencedWarning

from eofuse.config import apply_overrides, parse_options
from eofuse.data.collect.labels import read_labels
from eofuse.data.collect.masks import LabelMask
from eofuse.data.collect.plan import Plan, read_plan
from eofuse.data.collect.planning import make_plan, request_of
from eofuse.data.collect.portions import Portions
from eofuse.data.collect.reading import Reader
from eofuse.data.collect.samples import CollectedSamples, PatchFacts
from eofuse.data.collect.spec import CollectSpec
from eofuse.data.doors import read_kind
from eofuse.data.problems import Problem
from eofuse.data.store import STORE_FILE, Store, open_store, read_description
from eofuse.data.store.index import complete_index
from eofuse.data.store.partial import PartialStore
from eofuse.data.store.placing import clear_up, move_into_place, read_journal, remove_partial
from eofuse.errors import DataError, UsageError
from eofuse.files import read_json, write_text
from eofuse.locks import writes
from eofuse.modalities import Kind, Modality
from eofuse.progress import Progress

PORTION_BYTES = 2**26
MOST_IN_PORTION = 64


@dataclass(frozen=True)
class Collection:
    """What a collection gave.

    Attributes:
        store: the store, opened.
        missing: the list of what is missing, None if nothing is.
        failed: assets that could not be read.
        absent: patches and modalities without an item.
        left_out: patches without any modality.
        notes: what looks odd.
    """

    store: Store
    missing: Path | None
    failed: int
    absent: int
    left_out: int
    notes: tuple[str, ...]


def read_spec(path: Path, overrides: Sequence[str] = ()) -> CollectSpec:
    """The spec in a YAML file, changed by `key.path=value` words."""
    values = read_kind(
        path, "collect", "the spec of a collection", "write one with `eofuse init LABELS`: see docs/collect.md"
    )
    return parse_options(CollectSpec, apply_overrides(values, overrides), path)


@writes("store")
def collect(
    spec: str | os.PathLike[str] | Mapping[str, Any],
    store: str | os.PathLike[str],
    *,
    overrides: Sequence[str] = (),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Collection:
    """Collects the patches around labels from catalogues and files into a store; an interrupted collection goes on where it stopped.

    Args:
        spec: a YAML file with the keys of `CollectSpec`, or its values (paths are then relative to the working folder).
        store: folder of the store to be made.
        overrides: `key.path=value` words, such as `patch.size=64`.
        overwrite: replace a store of other content.
        progress: receives how many patches are done, and what is done with them.

    Raises:
        UsageError: if the spec is wrong, or `store` exists and holds something else.
        DataError: if labels or catalogues can't be read, nothing is found, the network is down or the disk is full.
    """
    if isinstance(spec, Mapping):
        options, folder = parse_options(CollectSpec, apply_overrides(spec, overrides), None), Path()
    else:
        options, folder = read_spec(Path(spec), overrides), Path(spec).parent
    root, target = (folder / options.root).resolve(), Path(store).resolve()
    request = request_of(options, root)
    if target.exists():
        if not (target / STORE_FILE).is_file():
            raise UsageError("exists and is no store", where=store, fix="choose another name")
        clear_up(target)
        if _is_of(target, request) and not (overwrite and _has_failures(target)):
            shutil.rmtree(_working(target), ignore_errors=True)
            return _result(target, [])
        if not overwrite:
            raise UsageError("exists and holds other data", where=store, fix="choose another name or pass --overwrite")
    reader = Reader(options.network)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            plan = _plan(options, root, target, request, reader, overwrite, progress)
            return _collect(options, root, plan, target, reader, overwrite, progress)
    finally:
        reader.close()


def check_collection(path: Path, progress: Progress | None = None) -> list[Problem]:
    """What is wrong with a collection, or looks odd, as far as labels and catalogues show; no pixel is read.

    Raises:
        UsageError: if the spec is wrong.
    """
    options = read_spec(path)
    root = (path.parent / options.root).resolve()
    reader = Reader(options.network)
    try:
        plan = make_plan(options, root, reader, progress)
    except DataError as error:
        return [Problem.from_error(error)]
    finally:
        reader.close()
    problems = [Problem("warning", note, options.name) for note in plan.notes]
    return problems + [Problem("warning", reason, name, patch) for patch, name, reason in plan.missing]


def _working(store: Path) -> Path:
    return store.with_name(f"{store.name}.collecting")


def _missing_file(store: Path) -> Path:
    return store.with_name(f"{store.name}.missing.csv")


def _is_of(store: Path, request: str) -> bool:
    try:
        return bool(read_description(store)["provenance"]["collect"]["request"] == request)
    except (DataError, KeyError, TypeError):
        return False


def _has_failures(store: Path) -> bool:
    return bool(read_description(store)["provenance"]["collect"]["failed"])


def _plan(
    spec: CollectSpec, root: Path, store: Path, request: str, reader: Reader, overwrite: bool, progress: Progress | None
) -> Plan:
    """The plan of an interrupted collection, or a new one."""
    folder = _working(store)
    plan = read_plan(folder)
    if plan is not None and plan.request == request:
        return plan
    if plan is not None and not overwrite and any(folder.glob("*.json")):
        fix = f"finish it by the command that began it; or remove {folder.name}, or pass --overwrite, to start anew"
        raise UsageError("a collection of other labels, or by another spec, was interrupted here", where=store, fix=fix)
    shutil.rmtree(folder, ignore_errors=True)
    plan = make_plan(spec, root, reader, progress)
    folder.mkdir(parents=True, exist_ok=True)
    plan.write(folder)
    return plan


def _collect(
    spec: CollectSpec, root: Path, plan: Plan, store: Path, reader: Reader, overwrite: bool, progress: Progress | None
) -> Collection:
    mask: LabelMask | None = None
    if spec.labels.used_as == "mask":
        labels = read_labels(spec.labels, root, spec.date_column)
        about = plan.facts["collections"][str(spec.labels.target)]["modality"]
        mask = LabelMask(spec.labels, labels, Modality.from_dict(about), spec.patch)
    samples = CollectedSamples(spec, plan, None if mask is None else mask.modality)
    portions = _portions(spec, plan, samples.modalities)
    folder = _working(store)
    recalled = _recall(folder, samples, portions)
    partial = store.with_name(f"{store.name}.partial")
    journal = read_journal(partial)
    if journal.get("job") == plan.digest and journal.get("chunks_done", 0) > recalled:
        remove_partial(partial)  # what was seen of its patches is lost
    writer = PartialStore.open(partial, samples, portions, plan.digest, skip_bad=True, discard=overwrite)
    total = len(plan.places)
    start = writer.chunks_done
    count = sum(map(len, portions[:start]))
    if progress:
        progress(count, total, "collected")
    work = Portions(spec, plan, reader, mask)
    for number, (chunk, facts) in enumerate(work.read(portions[start:], samples), start=start):
        samples.add(portions[number], facts)
        write_text(folder / f"{number:06d}.json", json.dumps([asdict(each) for each in facts]))
        writer.append(chunk)
        count += len(portions[number])
        if progress:
            progress(count, total, "collected")
    samples.finish()
    _require_data(samples)
    samples.index = complete_index(samples.index, samples.modalities, samples.name)
    writer.finish(skip_bad=True)
    _write_missing(_missing_file(store), _missing(plan, samples))
    move_into_place(writer.folder, store)
    shutil.rmtree(folder, ignore_errors=True)
    return _result(store, plan.notes)


def _result(store: Path, notes: Sequence[str]) -> Collection:
    opened = open_store(store)
    facts = opened.provenance["collect"]
    listed = _missing_file(store)
    notes = notes or facts.get("warnings", ())
    return Collection(
        opened,
        listed if listed.is_file() else None,
        facts["failed"],
        facts["absent"],
        opened.provenance["set_aside"],
        tuple(notes),
    )


def _portions(spec: CollectSpec, plan: Plan, modalities: Sequence[Modality]) -> list[list[int]]:
    """Rows that are read at a time: neighbours, and as many as fit into memory."""
    portions: list[list[int]] = []
    size = PORTION_BYTES
    for row in range(len(plan.places)):
        need = sum(
            4
            * len(recipe.modality.channels)
            * spec.patch.size**2
            * sum(len(one.items) for one in plan.choices[name][row])
            for name, recipe in plan.recipes.items()
            if recipe.modality.kind is not Kind.VECTOR
        )
        changes = row == 0 or plan.places[row].crs != plan.places[row - 1].crs
        if changes or size + need > PORTION_BYTES or len(portions[-1]) >= MOST_IN_PORTION:
            portions.append([])
            size = 0
        portions[-1].append(row)
        size += need
    return portions


def _recall(folder: Path, samples: CollectedSamples, portions: Sequence[Sequence[int]]) -> int:
    """Takes what was seen of portions before; gives their number."""
    for number, rows in enumerate(portions):
        path = folder / f"{number:06d}.json"
        if not path.is_file():
            return number
        values = read_json(path)
        samples.add(
            rows,
            [PatchFacts(each["values"], [tuple(one) for one in each["failures"]], each["warped"]) for each in values],
        )
    return len(portions)


def _require_data(samples: CollectedSamples) -> None:
    for modality in samples.modalities:
        if not samples.index[f"has_{modality.name}"].any():
            failures = [one for each in samples.facts.values() for one in each.failures if one[0] == modality.name]
            why = (
                f" (the first of {len(failures)} failures: {failures[0][4]})"
                if failures
                else ": all is nodata, or masked"
            )
            fix = f"take modalities.{modality.name} out, or correct it"
            raise DataError(f"no patch holds any data of this modality{why}", where=modality.name, fix=fix)


def _missing(plan: Plan, samples: CollectedSamples) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [(patch, name, "", "", "", reason) for patch, name, reason in plan.missing]
    for row, facts in sorted(samples.facts.items()):
        rows += [(plan.places[row].id, *failure) for failure in facts.failures]
        for name in plan.recipes:
            tried = plan.choices[name][row] and not any(failure[0] == name for failure in facts.failures)
            if tried and not facts.values.get(f"has_{name}"):
                items = facts.values.get(f"items.{name}") or ""
                rows.append(
                    (plan.places[row].id, name, items, "", "", "no pixel with data: nodata, masked, or beside the file")
                )
    return rows


def _write_missing(path: Path, rows: Sequence[tuple[str, ...]]) -> None:
    if not rows:
        path.unlink(missing_ok=True)
        return
    table = pd.DataFrame(rows, columns=["patch_id", "modality", "item", "asset", "address", "reason"])
    write_text(path, table.to_csv(index=False))

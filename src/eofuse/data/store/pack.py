"""Packs a foreign dataset into a store: parallel, resumable after any interruption, atomic.

Workers read patches in chunks, which are appended in order to a partial store (see `eofuse.data.store.partial`). A run that was killed
goes on from there, so the finished store is the same, bit for bit.
"""

import contextlib
import errno
import json
import os
from collections.abc import Sequence
from hashlib import sha256 as sha256_of
from pathlib import Path

from eofuse.data.doors import find_source
from eofuse.data.sources import OpenOptions, Samples
from eofuse.data.store import SCHEMA_VERSION, STORE_FILE, Store, open_store, read_description
from eofuse.data.store.arrays import Chunk, in_order, require_array
from eofuse.data.store.index import complete_index, require_as_many
from eofuse.data.store.partial import PartialStore
from eofuse.data.store.placing import clear_up, move_into_place, remove_partial
from eofuse.errors import DataError, UsageError
from eofuse.locks import HeldError, writes, writing
from eofuse.modalities import Kind
from eofuse.processes import in_processes, usable_cores
from eofuse.progress import Progress

CHUNK = 16
CHUNK_WITHOUT_RASTERS = 1024
CHUNK_OF_IMAGE_SERIES = 4


def pack(
    folder: str | os.PathLike[str],
    store: str | os.PathLike[str],
    *,
    modalities: Sequence[str] | None = None,
    skip_bad: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
    overrides: Sequence[str] = (),
    progress: Progress | None = None,
) -> Store:
    """Packs what a source reads into a store.

    Args:
        folder: the dataset's folder, a YAML file that says what the columns of a table are (`eofuse.data.sources.table.spec`), or
            whatever else a source reads.
        store: folder of the store to be made.
        modalities: those wanted, all by default.
        skip_bad: set bad patches aside in the store's `set_aside.csv` instead of stopping at the first.
        overwrite: replace a store of other content.
        workers: processes that read, one a core by default; the store does not depend on it.
        overrides: `key.path=value` words that change the YAML file, such as `root=../data`.
        progress: receives how many patches are done.

    Returns:
        The packed store, opened. If it exists already with this very content, nothing is done.

    Raises:
        DataError: if the folder has errors (without `skip_bad`) or the disk is full; run again to continue.
        UsageError: if `store` exists and holds something else, or another process is at work on
            it, unless it holds this very content already.
    """
    target, origin = Path(store).resolve(), Path(folder).resolve()
    if target == origin or target in origin.parents or origin in target.parents:
        fix = "name a store outside the dataset's folder"
        raise UsageError("the store must not hold the dataset, nor lie in it", where=store, fix=fix)

    def samples() -> Samples:
        wanted, otherwise = "a folder or the spec of a table", "see docs/data.md for what can be packed"
        source = find_source(Path(folder), "pack", wanted, otherwise)
        return source.open(
            Path(folder), OpenOptions(modalities, overrides, workers=workers or usable_cores(), progress=progress)
        )

    try:
        with writing(target):
            return pack_source(
                samples(), target, skip_bad=skip_bad, overwrite=overwrite, workers=workers, progress=progress
            )
    except HeldError:
        if (target / STORE_FILE).is_file() and _is_done(target, _job(_complete(samples())), skip_bad):
            return open_store(target)  # others may be reading it: nothing would be written
        raise


@writes("store")
def pack_source(
    source: Samples,
    store: Path,
    *,
    skip_bad: bool = False,
    overwrite: bool = False,
    discard: bool | None = None,
    base: Store | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Store:
    """Packs any source into a store; see `pack`.

    Args:
        source: what is packed.
        store: folder of the store to be made.
        skip_bad: as in `pack`.
        overwrite: as in `pack`.
        discard: whether a packing of other data that was interrupted is thrown away; as `overwrite` by default.
        base: a store whose patches are the first of the source, in its order: its files serve.
        workers: as in `pack`.
        progress: as in `pack`.

    Raises:
        DataError: as `pack`.
        UsageError: if `store`, or `STORE.partial`, exists and holds something else.
    """
    job = _job(_complete(source))
    if store.exists():
        if not (store / STORE_FILE).is_file():
            raise UsageError("exists and is no store", where=store, fix="choose another name")
        clear_up(store)
        if _is_done(store, job, skip_bad):
            try:
                return open_store(store)
            except DataError:
                if not overwrite:
                    raise
        elif not overwrite:
            raise UsageError("exists and holds other data", where=store, fix="choose another name or pass --overwrite")
    chunks = _chunks(source, skip_bad)
    writer = None
    try:
        partial = store.with_name(f"{store.name}.partial")
        discard = overwrite if discard is None else discard
        writer = PartialStore.open(partial, source, chunks, job, skip_bad=skip_bad, discard=discard)
        if base is not None and not writer.chunks_done:
            writer.begin_with(base)
        _fill(writer, skip_bad, workers or usable_cores(), progress)
        writer.finish(skip_bad)
        move_into_place(writer.folder, store)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            fix = "free some space and run the same command again: it continues where it stopped"
            raise DataError("the disk is full", where=store.parent, fix=fix) from None
        raise
    except DataError:
        if writer and not writer.chunks_done:
            remove_partial(writer.folder)
        raise
    return open_store(store, verified=False)


def _complete(source: Samples) -> Samples:
    """The source, with every column of an index."""
    source.index = complete_index(source.index, source.modalities, source.name)
    return source


def _job(source: Samples) -> str:
    """Digest of everything that the content of the store depends on; whether bad patches are set aside shows in its list of them."""
    parts = [
        SCHEMA_VERSION,
        _chunk_size(source),
        source.name,
        source.fingerprint,
        [m.to_dict() for m in source.modalities],
    ]
    return sha256_of(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _chunk_size(source: Samples) -> int:
    """Patches that are read at a time: many where they are small."""
    kinds = {modality.kind for modality in source.modalities}
    if Kind.IMAGE_SERIES in kinds:
        return CHUNK_OF_IMAGE_SERIES
    return CHUNK if Kind.RASTER in kinds else CHUNK_WITHOUT_RASTERS


def _is_done(store: Path, job: str, skip_bad: bool) -> bool:
    with contextlib.suppress(DataError, KeyError, TypeError):
        provenance = read_description(store)["provenance"]
        complete = not provenance["set_aside"] and not provenance["other_problems"]
        return bool(provenance["job"] == job and (skip_bad or complete))
    return False


def _chunks(source: Samples, skip_bad: bool) -> list[list[int]]:
    """Rows to pack, in order; the index's errors stop here unless bad patches are to be skipped."""
    errors = [problem for problem in source.problems if problem.severity == "error"]
    if errors and not skip_bad:
        first = errors[0]
        where = ", ".join([f"patch {first.patch_id}"] * bool(first.patch_id) + [first.where] * bool(first.where))
        others = f"see it and {len(errors) - 1} more problems" if len(errors) > 1 else "see it"
        fix = "; ".join([first.fix] * bool(first.fix) + [f"{others} with `eofuse check`, or pass --skip-bad"])
        raise DataError(first.what, where=where, fix=fix)
    bad = {problem.patch_id for problem in errors if problem.patch_id}
    rows = [row for row, patch_id in enumerate(source.index["patch_id"]) if patch_id not in bad]
    if not rows:
        raise DataError("no good patch to pack", where=source.name, fix="see the problems with `eofuse check`")
    return in_order(rows, _chunk_size(source))


def _read_chunk(shared: tuple[Samples, bool], rows: Sequence[int]) -> Chunk:
    samples, skip_bad = shared
    modalities = {modality.name: modality for modality in samples.modalities}
    patch_ids = samples.index["patch_id"]
    chunk = Chunk.empty(samples.modalities, samples.patch_size, len(rows))
    for row in rows:
        try:
            arrays = samples.read(row)
            for name, values in arrays.items():
                where = f"patch {patch_ids.iloc[row]}"
                require_array(modalities[name], values, samples.patch_size, where)
                if modalities[name].kind is Kind.IMAGE_SERIES:
                    require_as_many(samples.index, row, name, values, where)
        except DataError as error:
            if not skip_bad:
                raise
            chunk.bad.append((str(patch_ids.iloc[row]), str(error)))
            continue
        chunk.add(row, arrays)
    return chunk.finish()


def _fill(writer: PartialStore, skip_bad: bool, workers: int, progress: Progress | None) -> None:
    source, chunks = writer.source, writer.chunks
    total = sum(map(len, chunks))
    done = sum(map(len, chunks[: writer.chunks_done]))
    writer.require_space(total - done)
    if progress:
        progress(done, total)
    fix = "run the same command again: it continues where it stopped"
    rest = chunks[writer.chunks_done :]
    for chunk in in_processes(_read_chunk, (source, skip_bad), rest, workers, where=writer.folder, fix=fix):
        writer.append(chunk)
        done += len(chunk.rows) + len(chunk.bad)
        if progress:
            progress(done, total)

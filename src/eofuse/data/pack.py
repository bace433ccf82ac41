"""Packs a foreign dataset into a store: parallel, resumable after any interruption, atomic.

Workers read patches in chunks; one writer appends them in order to the shards of `STORE.partial` and, after each chunk, replaces
a small journal. A run that was killed is continued from the journal, so the finished store is the same, bit for bit. Only a
whole store is moved to its name.
"""

import contextlib
import errno
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib import format as npy_format

from eofuse import __version__
from eofuse.data.doors import SPEC_SUFFIXES, wrong_door
from eofuse.data.gaps import empty_bands_column, may_have_empty_bands
from eofuse.data.series import require_series
from eofuse.data.sources import Source
from eofuse.data.sources.ben_ge import open_ben_ge
from eofuse.data.sources.table import open_table_spec
from eofuse.data.store import INDEX_FILE, SCHEMA_VERSION, STORE_FILE, Store, open_store
from eofuse.errors import DataError, UsageError
from eofuse.files import exchange, remove_temporaries, sha256, write_text
from eofuse.locks import writes
from eofuse.modalities import Kind, Modality
from eofuse.processes import in_processes, usable_cores

CHUNK = 16
CHUNK_WITHOUT_RASTERS = 1024
SHARD_BYTES = 2 * 1024**3
HEADER_BYTES = 128
JOURNAL_FILE = "journal.json"
SET_ASIDE_FILE = "set_aside.csv"
REPLACED_FOLDER = "replaced"

Progress = Callable[[int, int], None]


@writes("store")
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
    """Packs a folder of the ben-ge family, or a table, into a store.

    Args:
        folder: the dataset's folder, or a YAML file that says what the columns of a table are (`eofuse.data.sources.table_spec`).
        store: folder of the store to be made.
        modalities: those wanted, all by default.
        skip_bad: set bad patches aside in the store's `set_aside.csv` instead of stopping at the first.
        overwrite: replace a store of other content.
        workers: processes that read, one a core by default; the store does not depend on it.
        overrides: `key.path=value` words that change the YAML file, such as `root=../data`.
        progress: called with (patches done, patches in all).

    Returns:
        The packed store, opened. If it exists already with this very content, nothing is done.

    Raises:
        DataError: if the folder has errors (without `skip_bad`) or the disk is full; run again to continue.
        UsageError: if `store` exists and holds something else.
    """
    target, origin = Path(store).resolve(), Path(folder).resolve()
    if target == origin or target in origin.parents or origin in target.parents:
        fix = "name a store outside the dataset's folder"
        raise UsageError("the store must not hold the dataset, nor lie in it", where=store, fix=fix)
    source: Source
    if origin.suffix in SPEC_SUFFIXES:
        source = open_table_spec(Path(folder), overrides, modalities, progress)
    elif not origin.is_dir() and origin.exists():
        raise wrong_door(Path(folder), "a folder or the spec of a table", "see docs/data.md for what can be packed")
    elif overrides:
        raise UsageError("changes need a YAML file", where=folder, fix=f"leave out {overrides[0]}")
    else:
        source = open_ben_ge(Path(folder), modalities)
    return pack_source(source, target, skip_bad=skip_bad, overwrite=overwrite, workers=workers, progress=progress)


@writes("store")
def pack_source(
    source: Source,
    store: Path,
    *,
    skip_bad: bool = False,
    overwrite: bool = False,
    discard: bool | None = None,
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
        workers: as in `pack`.
        progress: as in `pack`.

    Raises:
        DataError: as `pack`.
        UsageError: if `store`, or `STORE.partial`, exists and holds something else.
    """
    job = _job(source)
    if store.exists():
        if not (store / STORE_FILE).is_file():
            raise UsageError("exists and is no store", where=store, fix="choose another name")
        _clear(store)
        if _is_done(store, job, skip_bad):
            return open_store(store)
        if not overwrite:
            raise UsageError("exists and holds other data", where=store, fix="choose another name or pass --overwrite")
    chunks = _chunks(source, skip_bad)
    writer = None
    try:
        partial = store.with_name(f"{store.name}.partial")
        writer = _Writer.open(partial, source, job, skip_bad, overwrite if discard is None else discard)
        _fill(writer, source, chunks, skip_bad, workers or usable_cores(), progress)
        writer.finish(source, [row for chunk in chunks for row in chunk], skip_bad)
        _move_into_place(writer.folder, store)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            fix = "free some space and run the same command again: it continues where it stopped"
            raise DataError("the disk is full", where=store.parent, fix=fix) from None
        raise
    except DataError:
        if writer and not writer.chunks_done:
            shutil.rmtree(writer.folder)
        raise
    return open_store(store)


def _job(source: Source) -> str:
    """Digest of everything that the content of the store depends on; whether bad patches are set aside shows in its list of them."""
    parts = [
        SCHEMA_VERSION,
        _chunk_size(source),
        source.name,
        source.fingerprint,
        [m.to_dict() for m in source.modalities],
    ]
    return sha256_of(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _chunk_size(source: Source) -> int:
    """Patches that are read at a time: many where they are small."""
    return CHUNK if any(modality.kind is Kind.RASTER for modality in source.modalities) else CHUNK_WITHOUT_RASTERS


def _is_done(store: Path, job: str, skip_bad: bool) -> bool:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        description = json.loads((store / STORE_FILE).read_text(encoding="utf-8"))
        provenance = description["provenance"]
        complete = not provenance["set_aside"] and not provenance["other_problems"]
        return bool(provenance["job"] == job and (skip_bad or complete))
    return False


def _chunks(source: Source, skip_bad: bool) -> list[list[int]]:
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
    size = _chunk_size(source)
    return [rows[start : start + size] for start in range(0, len(rows), size)]


@dataclass
class _Chunk:
    """What a worker gives: the good rows, their arrays (zeros or, in series, NaN where absent), and the bad ones with reasons."""

    rows: list[int] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    bad: list[tuple[str, str]] = field(default_factory=list)


def _read_chunk(shared: tuple[Source, bool], rows: list[int]) -> _Chunk:
    source, skip_bad = shared
    series = {modality.name: modality for modality in source.modalities if modality.kind is Kind.SERIES}
    buffers = {
        modality.name: np.full(
            (len(rows), *modality.shape(source.patch_size)),
            np.nan if modality.name in series else 0,
            dtype=modality.dtype,
        )
        for modality in source.modalities
        if modality.is_array
    }
    patch_ids = source.index["patch_id"]
    chunk = _Chunk()
    for row in rows:
        try:
            patch = source.read(row)
            for name in series.keys() & patch.keys():
                require_series(series[name], patch[name], f"patch {patch_ids.iloc[row]}")
        except DataError as error:
            if not skip_bad:
                raise
            chunk.bad.append((str(patch_ids.iloc[row]), str(error)))
            continue
        for name, values in patch.items():
            buffers[name][len(chunk.rows)] = values
        chunk.rows.append(row)
    chunk.arrays = {name: buffer[: len(chunk.rows)] for name, buffer in buffers.items()}
    return chunk


def _fill(
    writer: "_Writer", source: Source, chunks: list[list[int]], skip_bad: bool, workers: int, progress: Progress | None
) -> None:
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


class _Writer:
    """Appends chunks to the shards of a partial store and keeps the journal."""

    def __init__(self, folder: Path, source: Source, journal: dict[str, Any]) -> None:
        self.folder = folder
        self.modalities = [modality for modality in source.modalities if modality.is_array]
        self.patch_size = source.patch_size
        self.journal = journal

    @classmethod
    def open(cls, folder: Path, source: Source, job: str, skip_bad: bool, discard: bool) -> "_Writer":
        """Opens the partial store of this very job, or starts one.

        Raises:
            UsageError: if the folder holds patches of another job, or set bad ones aside that may not be skipped, unless it
                may be discarded.
        """
        journal: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            journal = json.loads((folder / JOURNAL_FILE).read_text(encoding="utf-8"))
        writer = cls(folder, source, journal)
        ours = journal.get("job") == job and (skip_bad or not journal["bad"])
        if not ours and not discard and (journal.get("rows_done") or journal.get("bad")):
            raise _in_the_way(folder, journal, job)
        if not ours or not writer._cut_to_journal():
            remove_temporaries(folder)
            if not journal and folder.exists() and any(folder.iterdir()):
                raise UsageError("is in the way of the packing", where=folder, fix="move or remove it")
            shutil.rmtree(folder, ignore_errors=True)
            writer.journal = {"job": job, "chunks_done": 0, "rows_done": 0, "bad": []}
            writer._save_journal()
            for modality in writer.modalities:
                (folder / modality.name).mkdir()
        return writer

    @property
    def chunks_done(self) -> int:
        return int(self.journal["chunks_done"])

    def _save_journal(self) -> None:
        write_text(self.folder / JOURNAL_FILE, json.dumps(self.journal))

    def row_bytes(self, modality: Modality) -> int:
        return math.prod(modality.shape(self.patch_size)) * np.dtype(modality.dtype).itemsize

    def rows_per_shard(self, modality: Modality) -> int:
        return max(1, (SHARD_BYTES - HEADER_BYTES) // self.row_bytes(modality))

    def shards(self, modality: Modality) -> Iterator[tuple[Path, int]]:
        """Path and number of rows of each shard, for the rows that the journal holds."""
        rows, per_shard = self.journal["rows_done"], self.rows_per_shard(modality)
        for number, start in enumerate(range(0, rows, per_shard)):
            yield self.folder / modality.name / f"{number:05d}.npy", min(per_shard, rows - start)

    def _cut_to_journal(self) -> bool:
        """Cuts off what was appended after the last journal entry; False if something is missing."""
        for modality in self.modalities:
            expected = dict(self.shards(modality))
            folder = self.folder / modality.name
            for path in folder.glob("*.npy"):
                if path not in expected:
                    path.unlink()
            for path, rows in expected.items():
                size = HEADER_BYTES + rows * self.row_bytes(modality)
                if not path.is_file() or path.stat().st_size < size:
                    return False
                os.truncate(path, size)
            if not folder.is_dir():
                return False
        return True

    def require_space(self, patches: int) -> None:
        """Raises a `DataError` if what is still to be written can't fit on the disk."""
        needed = patches * sum(self.row_bytes(modality) for modality in self.modalities)
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            found = f"packing needs {needed / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB free"
            raise DataError(found, where=self.folder, fix="free some space, or pack fewer modalities")

    def append(self, chunk: _Chunk) -> None:
        """Appends a chunk to every modality's shards, then notes it in the journal."""
        start = self.journal["rows_done"]
        for modality in self.modalities:
            per_shard = self.rows_per_shard(modality)
            values = chunk.arrays[modality.name]
            written = 0
            while written < len(values):
                number, row = divmod(start + written, per_shard)
                count = min(per_shard - row, len(values) - written)
                with (self.folder / modality.name / f"{number:05d}.npy").open("ab") as file:
                    if row == 0:
                        file.write(bytes(HEADER_BYTES))
                    file.write(np.ascontiguousarray(values[written : written + count]).data)
                written += count
        self.journal["rows_done"] += len(chunk.rows)
        self.journal["bad"] += chunk.bad
        self.journal["chunks_done"] += 1
        self._save_journal()

    def finish(self, source: Source, rows: list[int], skip_bad: bool) -> None:
        """Writes headers, index, list of bad patches and description, with checksums of all."""
        bad = {patch_id for patch_id, _ in self.journal["bad"]}
        patch_ids = source.index["patch_id"].tolist()
        rows = [row for row in rows if patch_ids[row] not in bad]
        if not rows:
            raise DataError("every patch is bad", where=source.name, fix="see the problems with `eofuse check`")
        files = []
        for modality in self.modalities:
            for path, count in self.shards(modality):
                _write_header(path, (count, *modality.shape(self.patch_size)), modality.dtype)
                files.append(path)
        self._index(source, rows).to_parquet(self.folder / INDEX_FILE, index=False)
        files.append(self.folder / INDEX_FILE)
        errors = [problem for problem in source.problems if problem.severity == "error" and skip_bad]
        set_aside = [(problem.patch_id, str(problem)) for problem in errors if problem.patch_id]
        set_aside += [tuple(entry) for entry in self.journal["bad"]]
        if set_aside:
            pd.DataFrame(set_aside, columns=["patch_id", "reason"]).to_csv(self.folder / SET_ASIDE_FILE, index=False)
            files.append(self.folder / SET_ASIDE_FILE)
        checksums = {path.relative_to(self.folder).as_posix(): sha256(path) for path in files}
        modalities = [modality.to_dict() for modality in source.modalities]
        content = json.dumps([checksums, modalities], sort_keys=True)
        description = {
            "format": "eofuse-store",
            "schema_version": SCHEMA_VERSION,
            "name": source.name,
            "simulated": source.simulated,
            "patches": len(rows),
            "patch_size": list(self.patch_size),
            "modalities": modalities,
            "rows_per_shard": {modality.name: self.rows_per_shard(modality) for modality in self.modalities},
            "files": checksums,
            "fingerprint": sha256_of(content.encode()).hexdigest(),
            "provenance": {
                **getattr(source, "provenance", {}),
                "source": source.name,
                "job": self.journal["job"],
                "set_aside": len({patch_id for patch_id, _ in set_aside}),
                "other_problems": [str(problem) for problem in errors if not problem.patch_id],
                "eofuse": __version__,
            },
        }
        write_text(self.folder / STORE_FILE, json.dumps(description, indent=1) + "\n")
        remove_temporaries(self.folder)

    def _index(self, source: Source, rows: list[int]) -> pd.DataFrame:
        """The index of the rows that were packed, with the bands that hold no value."""
        index = source.index.iloc[rows].reset_index(drop=True)
        found = {}
        for modality in self.modalities:
            if may_have_empty_bands(modality):
                shards = [np.load(path, mmap_mode="r") for path, _ in self.shards(modality)]
                present = index[f"has_{modality.name}"].to_numpy(dtype=bool)
                found[f"empty_bands.{modality.name}"] = empty_bands_column(modality, shards, present)
        return index.assign(**found)


def _in_the_way(folder: Path, journal: dict[str, Any], job: str) -> UsageError:
    """Says what a partial store holds that is not what is to be packed."""
    if journal.get("job") == job:
        patch_id, reason = journal["bad"][0]
        aside = (
            f"{len(journal['bad'])} bad patch{'es' * (len(journal['bad']) > 1)} aside (the first: {patch_id}: {reason})"
        )
        found = f"is a packing of these data that was interrupted, with {journal['rows_done']} patches; it set {aside}"
        return UsageError(found, where=folder, fix="pass --skip-bad to go on with it, or remove it to start anew")
    found = (
        f"is a packing of other data, or with other options, that was interrupted, with {journal['rows_done']} patches"
    )
    fix = "finish it by the command that began it; or remove it, or (but for append) pass --overwrite, to start anew"
    return UsageError(found, where=folder, fix=fix)


def _write_header(path: Path, shape: tuple[int, ...], dtype: str) -> None:
    """Writes the npy header into the space left for it, padded to `HEADER_BYTES`."""
    with path.open("r+b") as file:
        npy_format.write_array_header_1_0(
            file, {"descr": npy_format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        )
        if file.tell() != HEADER_BYTES:
            raise AssertionError(f"npy header of {file.tell()} bytes")
        file.flush()
        os.fsync(file.fileno())


def _move_into_place(partial: Path, store: Path) -> None:
    """Gives a finished store its name, in one step where the system can; another store of that name is removed only then."""
    if not store.exists():
        partial.rename(store)
    elif not exchange(partial, store):
        store.rename(partial / REPLACED_FOLDER)
        partial.rename(store)
    _clear(store)


def _clear(store: Path) -> None:
    """Removes what only the packing needed, and the store that was replaced; a finished store with a journal has just got its name."""
    if (store / JOURNAL_FILE).exists():
        shutil.rmtree(store.with_name(f"{store.name}.partial"), ignore_errors=True)
    (store / JOURNAL_FILE).unlink(missing_ok=True)
    shutil.rmtree(store / REPLACED_FOLDER, ignore_errors=True)

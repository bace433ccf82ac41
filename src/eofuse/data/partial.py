"""A store that is being written: `PartialStore` takes patches chunk by chunk, `move_into_place` gives the whole store its name.

Chunks are appended in order to the shards of `STORE.partial` and, after each chunk, a small journal is replaced. Who goes on after
a kill begins at the journal.
"""

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib import format as npy_format

from eofuse import __version__
from eofuse.data.gaps import empty_bands_column, may_have_empty_bands
from eofuse.data.sources import Source
from eofuse.data.store import INDEX_FILE, SCHEMA_VERSION, STORE_FILE
from eofuse.errors import DataError, UsageError
from eofuse.files import exchange, remove_temporaries, sha256, write_text
from eofuse.modalities import Modality

SHARD_BYTES = 2 * 1024**3
HEADER_BYTES = 128
JOURNAL_FILE = "journal.json"
SET_ASIDE_FILE = "set_aside.csv"
REPLACED_FOLDER = "replaced"


@dataclass
class Chunk:
    """What a worker gives: the good rows, their arrays (zeros or, in series, NaN where absent), and the bad ones with reasons."""

    rows: list[int] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    bad: list[tuple[str, str]] = field(default_factory=list)


class PartialStore:
    """Appends chunks to the shards of a partial store and keeps the journal."""

    def __init__(self, folder: Path, source: Source, journal: dict[str, Any]) -> None:
        self.folder = folder
        self.modalities = [modality for modality in source.modalities if modality.is_array]
        self.patch_size = source.patch_size
        self.journal = journal

    @classmethod
    def open(cls, folder: Path, source: Source, job: str, skip_bad: bool, discard: bool) -> "PartialStore":
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
        """Chunks that the journal holds."""
        return int(self.journal["chunks_done"])

    def _save_journal(self) -> None:
        write_text(self.folder / JOURNAL_FILE, json.dumps(self.journal))

    def _row_bytes(self, modality: Modality) -> int:
        return math.prod(modality.shape(self.patch_size)) * np.dtype(modality.dtype).itemsize

    def _rows_per_shard(self, modality: Modality) -> int:
        return max(1, (SHARD_BYTES - HEADER_BYTES) // self._row_bytes(modality))

    def _shards(self, modality: Modality) -> Iterator[tuple[Path, int]]:
        """Path and number of rows of each shard, for the rows that the journal holds."""
        rows, per_shard = self.journal["rows_done"], self._rows_per_shard(modality)
        for number, start in enumerate(range(0, rows, per_shard)):
            yield self.folder / modality.name / f"{number:05d}.npy", min(per_shard, rows - start)

    def _cut_to_journal(self) -> bool:
        """Cuts off what was appended after the last journal entry; False if something is missing."""
        for modality in self.modalities:
            expected = dict(self._shards(modality))
            folder = self.folder / modality.name
            for path in folder.glob("*.npy"):
                if path not in expected:
                    path.unlink()
            for path, rows in expected.items():
                size = HEADER_BYTES + rows * self._row_bytes(modality)
                if not path.is_file() or path.stat().st_size < size:
                    return False
                os.truncate(path, size)
            if not folder.is_dir():
                return False
        return True

    def require_space(self, patches: int) -> None:
        """Raises a `DataError` if what is still to be written can't fit on the disk."""
        needed = patches * sum(self._row_bytes(modality) for modality in self.modalities)
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            found = f"packing needs {needed / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB free"
            raise DataError(found, where=self.folder, fix="free some space, or pack fewer modalities")

    def append(self, chunk: Chunk) -> None:
        """Appends a chunk to every modality's shards, then notes it in the journal."""
        start = self.journal["rows_done"]
        for modality in self.modalities:
            per_shard = self._rows_per_shard(modality)
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
            for path, count in self._shards(modality):
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
            "rows_per_shard": {modality.name: self._rows_per_shard(modality) for modality in self.modalities},
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
                shards = [np.load(path, mmap_mode="r") for path, _ in self._shards(modality)]
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


def move_into_place(partial: Path, store: Path) -> None:
    """Gives a finished store its name, in one step where the system can; another store of that name is removed only then."""
    if not store.exists():
        partial.rename(store)
    elif not exchange(partial, store):
        store.rename(partial / REPLACED_FOLDER)
        partial.rename(store)
    clear_up(store)


def clear_up(store: Path) -> None:
    """Removes what only the packing needed, and the store that was replaced; a finished store with a journal has just got its name."""
    if (store / JOURNAL_FILE).exists():
        shutil.rmtree(store.with_name(f"{store.name}.partial"), ignore_errors=True)
    (store / JOURNAL_FILE).unlink(missing_ok=True)
    shutil.rmtree(store / REPLACED_FOLDER, ignore_errors=True)

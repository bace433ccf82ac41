"""A store that is being written: `PartialStore` takes patches chunk by chunk; `eofuse.data.store.placing` gives it its name.

Chunks are appended in order to the shards of `STORE.partial`, with the digests of their patches, and after each chunk a small
journal is replaced. Who goes on after a kill or a power cut begins at the journal, or at the first patch that the disk does not give
back as it was read at its source. The same is compared once more before the store gets its name, so that no checksum is that of
a damaged write.
"""

import io
import json
import math
import shutil
from collections.abc import Iterator, Sequence
from hashlib import sha256 as sha256_of
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eofuse import __version__
from eofuse.data.sources import Samples
from eofuse.data.store import IMAGE_SERIES_VERSION, INDEX_FILE, SCHEMA_VERSION, STORE_FILE, Store
from eofuse.data.store.arrays import Chunk
from eofuse.data.store.gaps import AT_ONCE, empty_bands_column, may_have_empty_bands
from eofuse.data.store.index import counts_of
from eofuse.data.store.integrity import (
    DIGEST_BYTES,
    HEADER_BYTES,
    PATCH_DIGESTS_FILE,
    array_header,
    damaged_rows,
    side_by_side,
)
from eofuse.data.store.placing import JOURNAL_FILE, read_journal, remove_partial
from eofuse.data.store.shards import cut_off, extend, head_of, lend, own
from eofuse.errors import DataError, UsageError
from eofuse.files import remove_temporaries, synchronise, write_text
from eofuse.modalities import Kind, Modality
from eofuse.records import sealed

SHARD_BYTES = 2 * 1024**3
SET_ASIDE_FILE = "set_aside.csv"


class PartialStore:
    """Appends chunks to the shards of a partial store and keeps the journal.

    Args:
        folder: of the partial store.
        source: what is packed.
        chunks: rows of the source that are packed, by chunk.
        journal: what is done.
    """

    def __init__(
        self, folder: Path, source: Samples, chunks: Sequence[Sequence[int]], journal: dict[str, Any] | None = None
    ) -> None:
        self.folder = folder
        self.source = source
        self.chunks = chunks
        self.modalities = [modality for modality in source.modalities if modality.is_array]
        self.journal = journal or {}
        self.counts: dict[str, list[int]] = {m.name: [] for m in self.modalities if m.kind is Kind.IMAGE_SERIES}

    @classmethod
    def open(
        cls, folder: Path, source: Samples, chunks: Sequence[Sequence[int]], job: str, *, skip_bad: bool, discard: bool
    ) -> "PartialStore":
        """Opens the partial store of this very job, or starts one.

        Raises:
            UsageError: if the folder holds patches of another job, or set bad ones aside that may not be skipped, unless it
                may be discarded.
        """
        journal = read_journal(folder)
        writer = cls(folder, source, chunks, journal)
        ours = journal.get("job") == job and (skip_bad or not journal["bad"])
        if not ours and not discard and (journal.get("rows_done") or journal.get("bad")):
            raise _in_the_way(folder, journal, job)
        if ours:
            writer._count_dates()
        if ours and writer._cut_to_journal():
            writer._forget_damaged()
            return writer
        remove_temporaries(folder)
        if not journal and folder.exists() and any(folder.iterdir()):
            raise UsageError("is in the way of the packing", where=folder, fix="move or remove it")
        remove_partial(folder)
        writer.journal = {"job": job, "chunks_done": 0, "rows_done": 0, "bad": []}
        writer.counts = {name: [] for name in writer.counts}
        writer._save_journal()
        for modality in writer.modalities:
            (folder / modality.name).mkdir()
        return writer

    @property
    def chunks_done(self) -> int:
        """Chunks that the journal holds."""
        return int(self.journal["chunks_done"])

    def _save_journal(self) -> None:
        write_text(self.folder / JOURNAL_FILE, json.dumps(sealed(self.journal)))

    def _row_shape(self, modality: Modality) -> tuple[int, ...]:
        return modality.shape(self.source.patch_size)

    def _row_bytes(self, modality: Modality) -> int:
        """Bytes of a row, of an image series the most."""
        return math.prod(self._row_shape(modality)) * np.dtype(modality.dtype).itemsize

    def _count_dates(self) -> None:
        """Counts the dates of image series in the rows that the journal holds, as the source has them."""
        bad = {patch_id for patch_id, _ in self.journal["bad"]}
        patch_ids = self.source.index["patch_id"].tolist()
        chunks = self.chunks[: self.journal["chunks_done"]]
        rows = [row for chunk in chunks for row in chunk if patch_ids[row] not in bad]
        for name in self.counts:
            self.counts[name] = counts_of(self.source.index, name)[rows].tolist()

    def _shape(self, modality: Modality, start: int, rows: int) -> tuple[int, ...]:
        """Shape of the array of some rows, from the row `start` on."""
        shape = self._row_shape(modality)
        if modality.name not in self.counts:
            return (rows, *shape)
        return (sum(self.counts[modality.name][start : start + rows]), *shape[1:])

    def _rows_per_shard(self, modality: Modality) -> int:
        return max(1, (SHARD_BYTES - HEADER_BYTES) // self._row_bytes(modality))

    def _shards(self, modality: Modality) -> Iterator[tuple[Path, int, int]]:
        """Path, first row and number of rows of each shard, for the rows that the journal holds."""
        rows, per_shard = self.journal["rows_done"], self._rows_per_shard(modality)
        for number, start in enumerate(range(0, rows, per_shard)):
            yield self.folder / modality.name / f"{number:05d}.npy", start, min(per_shard, rows - start)

    def _arrays(self) -> Iterator[tuple[Path, tuple[int, ...], str]]:
        """Path, shape and dtype of each array, for the rows that the journal holds."""
        for modality in self.modalities:
            for path, start, rows in self._shards(modality):
                yield path, self._shape(modality, start, rows), modality.dtype
        if self.modalities and self.journal["rows_done"]:
            shape = (self.journal["rows_done"], len(self.modalities), DIGEST_BYTES)
            yield self.folder / PATCH_DIGESTS_FILE, shape, "uint8"

    def _cut_to_journal(self) -> bool:
        """Cuts off what was appended after the last journal entry; False if something is missing."""
        expected = {
            path: HEADER_BYTES + math.prod(shape) * np.dtype(dtype).itemsize for path, shape, dtype in self._arrays()
        }
        if not all((self.folder / modality.name).is_dir() for modality in self.modalities):
            return False
        if any(not path.is_file() or path.stat().st_size < size for path, size in expected.items()):
            return False
        for path in self.folder.rglob("*.npy"):
            if path not in expected:
                path.unlink()
        for path, size in expected.items():
            cut_off(path, size)
        return True

    def _read_back(self) -> tuple[dict[str, str], int | None]:
        """Reads what is written: checksums of all arrays, and the first row that is not what was read at the source."""
        if not self.modalities:
            return {}, None
        shape = (self.journal["rows_done"], len(self.modalities), DIGEST_BYTES)
        file = self.folder / PATCH_DIGESTS_FILE
        digests = np.fromfile(file, dtype=np.uint8, offset=HEADER_BYTES).reshape(shape) if shape[0] else np.empty(shape)

        def read(shard: tuple[int, Modality, int, Path, int]) -> tuple[str, str, int | None]:
            position, modality, start, path, rows = shard
            whole = sha256_of(array_header(self._shape(modality, start, rows), modality.dtype))
            expected = digests[start : start + rows, position]
            row_bytes: int | list[int] = self._row_bytes(modality)
            if modality.name in self.counts:
                date_bytes = self._row_bytes(modality) // (modality.steps or 1)
                row_bytes = [count * date_bytes for count in self.counts[modality.name][start : start + rows]]
            damaged = damaged_rows(path, expected, row_bytes, whole)
            name = path.relative_to(self.folder).as_posix()
            return name, whole.hexdigest(), start + damaged[0] if damaged else None

        shards = [
            (position, modality, start, path, rows)
            for position, modality in enumerate(self.modalities)
            for path, start, rows in self._shards(modality)
        ]
        found = list(side_by_side(read, shards))
        checksums = {name: checksum for name, checksum, _ in found}
        checksums[PATCH_DIGESTS_FILE] = sha256_of(array_header(shape, "uint8") + digests.tobytes()).hexdigest()
        return checksums, min((row for *_, row in found if row is not None), default=None)

    def _forget_damaged(self) -> None:
        """Takes the first damaged chunk, and all behind it, off the journal, so that they are read at the source again."""
        _, damaged = self._read_back()
        if damaged is None:
            return
        patch_ids = self.source.index["patch_id"].tolist()
        bad = dict(self.journal["bad"])
        chunks_done = rows_done = 0
        kept: set[str] = set()
        for chunk in self.chunks:
            ids = {patch_ids[row] for row in chunk}
            if rows_done + len(ids - bad.keys()) > damaged:
                break
            chunks_done, rows_done = chunks_done + 1, rows_done + len(ids - bad.keys())
            kept |= ids
        still_bad = [entry for entry in self.journal["bad"] if entry[0] in kept]
        self.journal |= {"chunks_done": chunks_done, "rows_done": rows_done, "bad": still_bad}
        self._save_journal()
        self._count_dates()
        self._cut_to_journal()

    def begin_with(self, base: Store) -> None:
        """Takes the first patches, which are those of a store, by its files and not by their values; does nothing where these differ.

        Whole chunks are taken; those behind them are read at the source, as all others are.
        """
        chunks = [
            chunk
            for chunk, last in zip(self.chunks, np.cumsum([*map(len, self.chunks)]), strict=True)
            if last <= len(base)
        ]
        rows = sum(map(len, chunks))
        alike = [modality.to_dict() for modality in base.modalities.values() if modality.is_array]
        per_shard = {modality.name: self._rows_per_shard(modality) for modality in self.modalities}
        if (
            not rows
            or [row for chunk in chunks for row in chunk] != list(range(rows))
            or alike != [modality.to_dict() for modality in self.modalities]
            or {name: base.rows_per_shard.get(name) for name in per_shard} != per_shard
            or not (base.path / PATCH_DIGESTS_FILE).is_file()
        ):
            return
        self.journal |= {"chunks_done": len(chunks), "rows_done": rows}
        self._count_dates()
        for path, shape, dtype in self._arrays():
            size = HEADER_BYTES + math.prod(shape) * np.dtype(dtype).itemsize
            lend(base.path / path.relative_to(self.folder), path, size)
        self._save_journal()

    def require_space(self, patches: int) -> None:
        """Raises a `DataError` if what is still to be written can't fit on the disk."""
        needed = patches * sum(
            self._row_bytes(modality) for modality in self.modalities if modality.name not in self.counts
        )
        for modality in self.modalities:
            if modality.name in self.counts:
                dates = int(counts_of(self.source.index, modality.name).sum()) - sum(self.counts[modality.name])
                needed += dates * self._row_bytes(modality) // (modality.steps or 1)
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            found = f"packing needs {needed / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB free"
            raise DataError(found, where=self.folder, fix="free some space, or pack fewer modalities")

    def append(self, chunk: Chunk) -> None:
        """Appends a chunk to every modality's shards, then notes it in the journal."""
        start = self.journal["rows_done"]
        for modality in self.modalities:
            per_shard = self._rows_per_shard(modality)
            values, written = chunk.arrays[modality.name], 0
            counts = chunk.counts.get(modality.name)
            edges = np.arange(len(values) + 1) if counts is None else np.cumsum([0, *counts])
            while written < len(chunk.rows):
                number, row = divmod(start + written, per_shard)
                count = min(per_shard - row, len(chunk.rows) - written)
                portion = values[edges[written] : edges[written + count]]
                extend(self.folder / modality.name / f"{number:05d}.npy", row, portion)
                written += count
            if counts is not None:
                self.counts[modality.name] += counts
        if self.modalities and chunk.rows:
            extend(self.folder / PATCH_DIGESTS_FILE, start, chunk.digests)
        self.journal["rows_done"] += len(chunk.rows)
        self.journal["bad"] += chunk.bad
        self.journal["chunks_done"] += 1
        self._save_journal()

    def finish(self, skip_bad: bool) -> None:
        """Writes headers, index, list of bad patches and description, with checksums of all.

        Raises:
            DataError: if every patch is bad, or the disk does not give back what was written.
        """
        source = self.source
        bad = {patch_id for patch_id, _ in self.journal["bad"]}
        patch_ids = source.index["patch_id"].tolist()
        rows = [row for chunk in self.chunks for row in chunk if patch_ids[row] not in bad]
        if not rows:
            raise DataError("every patch is bad", where=source.name, fix="see the problems with `eofuse check`")
        self._write_headers()
        checksums, damaged = self._read_back()
        if damaged is not None:
            raise _not_given_back(self.folder, f"patch {patch_ids[rows[damaged]]}")
        index = io.BytesIO()
        self._index(rows).to_parquet(index, index=False)
        checksums[INDEX_FILE] = self._write(INDEX_FILE, index.getvalue())
        errors = [problem for problem in source.problems if problem.severity == "error" and skip_bad]
        set_aside = [(problem.patch_id, str(problem)) for problem in errors if problem.patch_id]
        set_aside += [tuple(entry) for entry in self.journal["bad"]]
        if set_aside:
            listed = pd.DataFrame(set_aside, columns=["patch_id", "reason"]).to_csv(index=False)
            checksums[SET_ASIDE_FILE] = self._write(SET_ASIDE_FILE, listed.encode())
        modalities = [modality.to_dict() for modality in source.modalities]
        values = {file: checksum for file, checksum in checksums.items() if file != PATCH_DIGESTS_FILE}
        content = json.dumps([values, modalities], sort_keys=True)  # as before stores had digests of patches
        description = {
            "format": "eofuse-store",
            "schema_version": IMAGE_SERIES_VERSION if self.counts else SCHEMA_VERSION,
            "name": source.name,
            "simulated": source.simulated,
            "patches": len(rows),
            "patch_size": list(source.patch_size),
            "modalities": modalities,
            "rows_per_shard": {modality.name: self._rows_per_shard(modality) for modality in self.modalities},
            "files": checksums,
            "fingerprint": sha256_of(content.encode()).hexdigest(),
            "provenance": {
                **source.provenance.to_dict(),
                "source": source.name,
                "job": self.journal["job"],
                "set_aside": len({patch_id for patch_id, _ in set_aside}),
                "other_problems": [str(problem) for problem in errors if not problem.patch_id],
                "eofuse": __version__,
            },
        }
        for modality in self.modalities:
            synchronise(self.folder / modality.name)
        write_text(self.folder / STORE_FILE, json.dumps(sealed(description), indent=1) + "\n")
        remove_temporaries(self.folder)

    def _write_headers(self) -> None:
        """Writes the heads of all arrays into the space left for them, and waits until the arrays are on the disk."""
        for path, shape, dtype in self._arrays():
            head = array_header(shape, dtype)
            if head_of(path) != head:
                own(path)
                with path.open("r+b") as file:
                    file.write(head)
            synchronise(path)
            if head_of(path) != head:
                raise _not_given_back(self.folder, path.relative_to(self.folder).as_posix())

    def _write(self, name: str, content: bytes) -> str:
        """Writes a file and returns its SHA-256."""
        path = self.folder / name
        path.write_bytes(content)
        synchronise(path)
        if path.read_bytes() != content:
            raise _not_given_back(self.folder, name)
        return sha256_of(content).hexdigest()

    def _index(self, rows: list[int]) -> pd.DataFrame:
        """The index of the rows that were packed, with the bands that hold no value."""
        index = self.source.index.iloc[rows].reset_index(drop=True)
        found = {}
        for modality in self.modalities:
            if may_have_empty_bands(modality):
                present = index[f"has_{modality.name}"].to_numpy(dtype=bool)
                found[f"empty_bands.{modality.name}"] = empty_bands_column(modality, self._portions(modality), present)
        return index.assign(**found)

    def _portions(self, modality: Modality) -> Iterator[np.ndarray]:
        """What is written of a modality, some rows at a time; of an image series one."""
        for path, start, rows in self._shards(modality):
            values = np.load(path, mmap_mode="r", allow_pickle=False)
            if modality.name not in self.counts:
                yield from (values[first : first + AT_ONCE] for first in range(0, rows, AT_ONCE))
                continue
            edges = np.cumsum([0, *self.counts[modality.name][start : start + rows]])
            yield from (values[None, first:last] for first, last in pairwise(edges))


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


def _not_given_back(folder: Path, what: str) -> DataError:
    """The disk, or what lies between, changed what was written."""
    fix = "check the disk, then run the same command again: it goes on from what is not damaged"
    return DataError(f"{what} was written, and other bytes were read back", where=folder, fix=fix)

"""The packed store: a folder that anybody can read without eofuse, and that eofuse reads at memory speed.

::

    store.json                 schema version, modalities, provenance, checksums of the files and of itself
    index.parquet              a row a patch: id, scene, place, times, published split, presence, scalars, labels
    patch_digests.npy          a digest of each patch in each raster and series (see `eofuse.data.store.integrity`)
    <modality>/00000.npy …     one array a shard, native dtype, at most 2 GB: rasters (patches, channels, height, width),
                               series (patches, steps, 1 + channels)

Row *i* of the index is row *i* of every raster and series (all shards but the last hold `rows_per_shard` rows); a patch without
a modality has zeros there (of a series, NaN) and `has_<modality>` false in the index. Column 0 of a series is the time of the
step: days since 1970-01-01 if the modality is `dated`, else the step's number; NaN there is a step that does not exist, and NaN
in a channel is a gap. Vectors and categories are columns `<modality>.<channel>`.

Index columns: `patch_id`, `patch_id_s1`, `scene` (null: unknown), `scene_kind` (see `eofuse.data.scenes`), `tile`, `column`, `row`
(−1: unknown), `lon`, `lat`, `crs`, `ulx`, `uly`, `grid_a`, `grid_b`, `grid_d`, `grid_e`, `grid_width`, `grid_height` (the pixel grid:
see `eofuse.data.store.georeference`), `time_s2`, `time_s1`, `split` (published: train, validation, test), `has_<modality>`,
`empty_bands.<modality>` (names of the channels of a raster or series that hold no value), `worldcover_fraction.<class>`, `labels_43`,
`labels_19`.
"""

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.doors import wrong_door
from eofuse.data.problems import Problem
from eofuse.data.scenes import with_kinds
from eofuse.data.store.georeference import recovered
from eofuse.data.store.integrity import FIX, PATCH_DIGESTS_FILE, Digests, skipped, verify, verify_once, wrong_arrays
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.files import read_json
from eofuse.modalities import Kind, Modality, find_modality
from eofuse.progress import Progress
from eofuse.records import SEAL, seal_is_whole

if TYPE_CHECKING:
    from eofuse.data.dataset import PatchDataset

SCHEMA_VERSION = 3
"""The schema that is written: 2 and 1 (without series) kept a corner of each patch, not its pixel grid, and are read."""

STORE_FILE = "store.json"

EMBEDDINGS = "embeddings"
"""Key of the provenance under which stands how vectors of foundation models were computed."""

INDEX_FILE = "index.parquet"

UNSEALED = (
    "format", "schema_version", "name", "simulated", "patches", "patch_size", "modalities", "rows_per_shard",
    "files", "fingerprint", "provenance",
)  # fmt: skip
"""Keys of a `store.json` that holds no digest of itself: an older version wrote it."""

SAMPLE_KEYS = ("present", "patch_id", "scene", "lon", "lat", "row", "target")
"""Keys of a sample beside its modalities (see `eofuse.data.dataset`)."""

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Window:
    """A square or rectangle of pixels within a patch."""

    top: int
    left: int
    height: int
    width: int

    @classmethod
    def centred(cls, size: int, patch_size: tuple[int, int]) -> "Window":
        """The square of `size` pixels in the middle of a patch.

        Raises:
            UsageError: if the patch is smaller.
        """
        height, width = patch_size
        if not 0 < size <= min(height, width):
            raise UsageError(f"a crop of {size} pixels does not fit patches of {height} × {width}")
        return cls((height - size) // 2, (width - size) // 2, size, size)


class Store:
    """A packed store, open for reading; see `open_store`.

    Attributes:
        path: its folder.
        name: name of the dataset.
        simulated: whether its pixels are simulated.
        modalities: by name, those that at least one patch has.
        patch_size: (height, width) of its rasters in pixels; (0, 0) where there are none.
        provenance: where its content came from.
        fingerprint: digest of its content.
        files: SHA-256 of each file, by path in the folder.
        rows_per_shard: patches in each file but the last, of each raster and series.
        index: a row a patch.
    """

    def __init__(self, path: Path, description: dict[str, Any], index: pd.DataFrame) -> None:
        self.path = path
        self.index = index
        self.name: str = description["name"]
        self.simulated: bool = description["simulated"]
        self.modalities = {values["name"]: Modality.from_dict(values) for values in description["modalities"]}
        self.patch_size: tuple[int, int] = (description["patch_size"][0], description["patch_size"][1])
        self.provenance: dict[str, Any] = description["provenance"]
        self.fingerprint: str = description["fingerprint"]
        self.files: dict[str, str] = description["files"]
        self.rows_per_shard: dict[str, int] = description["rows_per_shard"]
        self._maps: dict[str, list[np.ndarray]] = {}
        self._scalars: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}: {len(self)} patches, {', '.join(self.modalities)})"

    def __getitem__(self, patch: int | str) -> dict[str, Any]:
        """A patch by its row (negative ones count from the end) or id, as a sample: see `eofuse.data.dataset`, with NumPy arrays.

        Raises:
            UsageError: if there is no such id; the nearest is named.
            IndexError: if there is no such row.
        """
        if not isinstance(patch, str) and not -len(self) <= patch < len(self):
            raise IndexError(f"the store has {len(self)} patches: no row {patch}")
        row = self.row_of(patch) if isinstance(patch, str) else range(len(self))[patch]
        place = self.index.iloc[row]
        return {
            **{name: self.read(name, [row])[0] for name in self.modalities},
            "present": {name: bool(self.present(name)[row]) for name in self.modalities},
            **{name: place[name] for name in ("patch_id", "scene")},
            **{name: float(place[name]) for name in ("lon", "lat")},
            "row": row,
        }

    def dataset(self, **options: Any) -> "PatchDataset":
        """The patches, or some of them, as a PyTorch dataset with a target.

        Args:
            options: `inputs`, `target`, `part`, `split`, `rows`, `incomplete`: see `eofuse.data.dataset.PatchDataset`.
        """
        from eofuse.data.dataset import PatchDataset

        return PatchDataset(self, **options)

    def modality(self, name: str) -> Modality:
        """The modality of that name; a `UsageError` names the nearest if there is none."""
        return find_modality(name, self.modalities.values())

    def present(self, name: str) -> npt.NDArray[np.bool_]:
        """Which patches have this modality: (patches,)."""
        self.modality(name)
        return self.index[f"has_{name}"].to_numpy(dtype=bool)

    def embeddings(self, name: str) -> list[dict[str, Any]]:
        """How a foundation model computed the vectors of a modality: more than one entry if stores were joined, none of others."""
        return _embeddings(self.provenance, name)

    @cached_property
    def _row_by_id(self) -> dict[str, int]:
        return {patch_id: row for row, patch_id in enumerate(self.index["patch_id"])}

    def __eq__(self, other: object) -> bool:
        """Stores at one place with the same content are equal."""
        return isinstance(other, Store) and (self.path, self.fingerprint) == (other.path, other.fingerprint)

    def __hash__(self) -> int:
        return hash((self.path, self.fingerprint))

    def row_of(self, patch_id: str) -> int:
        """Row of a patch; a `UsageError` names the nearest id if there is none."""
        row = self._row_by_id.get(patch_id)
        if row is None:
            raise UsageError(f"no patch '{patch_id}'", where=self.path, fix=did_you_mean(patch_id, self._row_by_id))
        return row

    def shape(self, name: str, channels: Sequence[int] | None = None, window: Window | None = None) -> tuple[int, ...]:
        """Shape of one patch of a modality: (channels, height, width), (channels,), (steps, 1 + channels) or ()."""
        size = (window.height, window.width) if window else self.patch_size
        return self.modality(name).shape(size, None if channels is None else len(channels))

    def read(
        self,
        name: str,
        rows: Rows | Sequence[int],
        out: np.ndarray | None = None,
        *,
        channels: Sequence[int] | None = None,
        window: Window | None = None,
    ) -> np.ndarray:
        """Reads a batch of one modality in native dtype, in one pass, without a copy in between.

        Args:
            name: the modality.
            rows: rows of the index, in any order.
            out: filled and returned if given; its shape and dtype must fit.
            channels: positions of the channels wanted, all by default; of a series, the time stays.
            window: pixels wanted of a raster, all by default.

        Returns:
            (batch, channels, height, width) for a raster, (batch, channels) for a vector, (batch, steps, 1 + channels) for a
            series, (batch,) codes for a category.
        """
        modality = self.modality(name)
        rows = np.asarray(rows, dtype=np.int64)
        if not modality.is_array:
            values = self._read_scalars(modality)[rows]
            if channels is not None and modality.kind is Kind.VECTOR:
                values = values[:, list(channels)]
            if out is None:
                return values
            out[...] = values
            return out
        if out is None:
            out = np.empty((len(rows), *self.shape(name, channels, window)), dtype=modality.dtype)
        shards = self._open_shards(modality)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise UsageError(f"rows go from 0 to {len(self) - 1}", where=self.path)
        if len(shards) == 1 and channels is None and (window is None or modality.kind is Kind.SERIES):
            return np.take(shards[0], rows, axis=0, out=out, mode="clip")
        rows_per_shard = self.rows_per_shard[name]
        if modality.kind is Kind.SERIES:
            columns = slice(None) if channels is None else [0, *(1 + channel for channel in channels)]
            for number in np.unique(rows // rows_per_shard).tolist():
                places = np.flatnonzero(rows // rows_per_shard == number)
                out[places] = shards[number][rows[places] % rows_per_shard][:, :, columns]
            return out
        area = (slice(None), slice(None))
        if window:
            area = (slice(window.top, window.top + window.height), slice(window.left, window.left + window.width))
        for position, row in enumerate(rows.tolist()):
            patch = shards[row // rows_per_shard][row % rows_per_shard]
            if channels is None:
                out[position] = patch[:, area[0], area[1]] if window else patch
            else:
                for target, channel in enumerate(channels):
                    out[position, target] = patch[channel, area[0], area[1]]
        return out

    def _read_scalars(self, modality: Modality) -> np.ndarray:
        if modality.name not in self._scalars:
            columns = [f"{modality.name}.{channel}" for channel in modality.channel_names]
            values = self.index[columns].to_numpy()
            if modality.kind is Kind.CATEGORY:
                codes = values[:, 0]
                self._scalars[modality.name] = np.where(codes < 0, 255, codes).astype(np.uint8)
            else:
                self._scalars[modality.name] = values.astype(np.float32)
        return self._scalars[modality.name]

    def shards(self, modality: Modality) -> dict[str, tuple[int, ...]]:
        """The files of a raster or series, in order, with the shapes of their arrays."""
        per_shard, shape = self.rows_per_shard[modality.name], modality.shape(self.patch_size)
        starts = range(0, len(self), per_shard)
        return {
            f"{modality.name}/{number:05d}.npy": (min(per_shard, len(self) - start), *shape)
            for number, start in enumerate(starts)
        }

    def _open_shards(self, modality: Modality) -> list[np.ndarray]:
        if modality.name not in self._maps:
            shards = []
            for file in self.shards(modality):
                try:
                    shards.append(np.load(self.path / file, mmap_mode="r", allow_pickle=False))
                except (OSError, ValueError) as error:
                    fix = "run `eofuse check` on the store"
                    raise DataError(f"can't be opened: {error}", where=self.path / file, fix=fix) from None
            self._maps[modality.name] = shards
        return self._maps[modality.name]

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}  # another process opens the maps anew

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(open_store(state["path"], verified=False).__dict__)  # the sender has verified it

    @property
    def arrays(self) -> list[Modality]:
        """The rasters and series, in the order of `digests`."""
        return [modality for modality in self.modalities.values() if modality.is_array]

    @cached_property
    def digests(self) -> Digests | None:
        """Digests of the patches in each raster and series, (patches, modalities, bytes); none in a store of an older version."""
        if PATCH_DIGESTS_FILE not in self.files:
            return None
        digests: Digests = np.load(self.path / PATCH_DIGESTS_FILE, allow_pickle=False)
        return digests

    def verify(self, progress: Progress | None = None) -> list[Problem]:
        """Compares every file with its checksum: an error for each that is missing or has changed, if only by a bit.

        Damaged patches are named, where the store has digests of them.

        Args:
            progress: called with (files done, files in all).
        """
        return verify(self, self.files, progress)


def open_store(path: str | os.PathLike[str], *, verified: bool = True) -> Store:
    """Opens a packed store, if it is what was written.

    The description, the index and the sizes of all arrays are checked each time. The other files are compared with their checksums
    when they are opened for the first time, and again after they have changed (see `eofuse.data.store.integrity`).

    Args:
        path: of its folder.
        verified: whether files are compared with their checksums; never where the variable `EOFUSE_VERIFY` of the environment is 0.

    Raises:
        UsageError: if there is no such folder.
        DataError: if it is no store, damaged, or of a schema that this version doesn't read.
    """
    store = open_to_check(path)
    problems = wrong_arrays(store)
    if not problems and verified and not skipped():
        files = {file: checksum for file, checksum in store.files.items() if file != INDEX_FILE}
        problems = verify_once(store.path, files, lambda due: verify(store, due))
    if problems:
        first = problems[0]
        more = f" (and {len(problems) - 1} more files: see `eofuse check`)" if len(problems) > 1 else ""
        raise DataError(first.what + more, where=store.path / first.where, fix=first.fix)
    return store


def open_to_check(path: str | os.PathLike[str]) -> Store:
    """Opens a store of which only description and index are known to be whole; `Store.verify` finds what else is damaged.

    Raises:
        UsageError: as `open_store`.
        DataError: if description or index are damaged, or of a schema that this version doesn't read.
    """
    folder = Path(path)
    if not folder.exists():
        raise UsageError("there is no such store", where=folder, fix="check the path")
    if not (folder / STORE_FILE).is_file():
        raise wrong_door(folder, "a store (no store.json)", "pack a folder into one with `eofuse pack DIR STORE`")
    description = read_description(folder)
    try:
        index = _read_index(folder, description["files"][INDEX_FILE])
        if description["schema_version"] < 3:
            index = with_kinds(recovered(index, tuple(description["patch_size"])), description["provenance"])
        store = Store(folder, description, index)
        if any(rows < 1 for rows in store.rows_per_shard.values()):
            raise ValueError("no rows in a shard")
        if len(index) == description["patches"]:
            wrong_arrays(store)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # what an older version wrote has no digest of its own: any value may be damaged
        raise DataError(f"can't be read: {error!r}", where=folder / STORE_FILE, fix=FIX) from None
    if len(index) != description["patches"]:
        found = f"{INDEX_FILE} has {len(index)} rows where {STORE_FILE} says {description['patches']}"
        raise DataError(found, where=folder, fix=FIX)
    return store


def _embeddings(provenance: Any, name: str) -> list[dict[str, Any]]:
    """How vectors were computed, from the provenance of a store and of those of which it was made."""
    if isinstance(provenance, list):
        return [found for each in provenance for found in _embeddings(each, name)]
    if not isinstance(provenance, dict):
        return []
    own = provenance.get(EMBEDDINGS)
    found = [dict(own[name])] if isinstance(own, dict) and isinstance(own.get(name), dict) else []
    return found + _embeddings([value for key, value in provenance.items() if key != EMBEDDINGS], name)


def read_description(folder: Path) -> dict[str, Any]:
    """The values of a store's `store.json`, as they were written.

    Raises:
        DataError: if they can't be read or have changed, or are of a schema that this version doesn't read.
    """
    file = folder / STORE_FILE
    try:
        description = read_json(file)
        version = description["schema_version"]
        newer = version > SCHEMA_VERSION
        readable = 1 <= version <= SCHEMA_VERSION
        sealed = SEAL in description or PATCH_DIGESTS_FILE not in description["files"]
        whole = sealed and seal_is_whole(description, UNSEALED)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"can't be read: {error}", where=file, fix=FIX) from None
    if not readable:
        found = f"has schema version {version}, this eofuse reads 1 to {SCHEMA_VERSION}"
        raise DataError(found, where=file, fix="update eofuse" if newer else "pack again")
    if not whole:
        raise DataError("has changed since it was written: its digest differs", where=file, fix=FIX)
    return dict(description)


def _read_index(folder: Path, checksum: str) -> pd.DataFrame:
    """The index, if its bytes are those of the checksum."""
    file = folder / INDEX_FILE
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"can't be read: {error.strerror}", where=file, fix=FIX) from None
    if hashlib.sha256(content).hexdigest() != checksum:
        raise DataError("has changed since it was written: its checksum differs", where=file, fix=FIX)
    return pd.read_parquet(io.BytesIO(content))

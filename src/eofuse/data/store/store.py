"""The packed store: a folder that anybody can read without eofuse, and that eofuse reads at memory speed.

::

    store.json                 schema version, modalities, provenance, checksums of the files and of itself
    index.parquet              a row a patch: id, scene, place, times, published split, presence, scalars, labels
    patch_digests.npy          a digest of each patch in each raster and series (see `eofuse.data.store.integrity`)
    <modality>/00000.npy …     one array a shard, native dtype, at most 2 GB: rasters (patches, channels, height, width), coarser by
                               their `cell`; series (patches, steps, 1 + channels), image series (dates, channels, height, width)

Row *i* of the index is row *i* of every raster and series (all shards but the last hold `rows_per_shard` rows); a patch without
a modality has zeros there (of a series, NaN) and `has_<modality>` false in the index. Column 0 of a series is the time of the
step: days since 1970-01-01 if the modality is `dated`, else the step's number; NaN there is a step that does not exist, and NaN
in a channel is a gap. Vectors and categories are columns `<modality>.<channel>`.

Of an image series, a patch has as many dates as the list `times.<modality>` in its row of the index, in the unit of the times of
series; a shard holds the dates of `rows_per_shard` patches one after another, nothing between. A pixel without a value is NaN or the
modality's nodata; every other value is data, 0 too.

Index columns: `patch_id`, `patch_id_s1`, `scene` (null: unknown), `scene_kind` (see `eofuse.data.scenes`), `tile`, `column`, `row`
(−1: unknown), `lon`, `lat`, `crs`, `ulx`, `uly`, `grid_a`, `grid_b`, `grid_d`, `grid_e`, `grid_width`, `grid_height` (the pixel grid:
see `eofuse.data.store.georeference`), `time_s2`, `time_s1`, `split` (published: train, validation, test), `has_<modality>`,
`empty_bands.<modality>` (names of the channels of a raster, series or image series that hold no value), `times.<modality>` (of image
series), `worldcover_fraction.<class>`, `labels_43`, `labels_19`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.problems import Problem
from eofuse.data.store.dates import DateTable
from eofuse.data.store.integrity import PATCH_DIGESTS_FILE, Digests, verify
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.modalities import Kind, Modality, code_places, find_modality
from eofuse.progress import Progress

if TYPE_CHECKING:
    from eofuse.data.dataset import PatchDataset

SCHEMA_VERSION = 3
"""The schema that is written: 2 and 1 (without series) kept a corner of each patch, not its pixel grid, and are read."""

IMAGE_SERIES_VERSION = 4
"""The schema of stores with image series, which older versions can't read; it is otherwise the one before."""

STORE_FILE = "store.json"

EMBEDDINGS = "embeddings"
"""Key of the provenance under which stands how vectors of foundation models were computed."""

INDEX_FILE = "index.parquet"

FEW_BYTES = 4096
"""Of a patch that are read: up to so many, patches are gathered a file at a time; of more, one copy each is faster."""

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

    @property
    def area(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def in_cells(self, modality: Modality) -> "Window":
        """The same window in the pixels of a modality, which may have a coarser grid.

        Raises:
            UsageError: if it cuts through cells.
        """
        cell, sides = modality.cell, (self.top, self.left, self.height, self.width)
        if any(side % cell for side in sides):
            what = f"a window of {self.height} × {self.width} pixels at row {self.top}, column {self.left} cuts cells of {cell}"
            raise UsageError(
                what, where=modality.name, fix=f"choose a crop that leaves multiples of {cell} on all sides"
            )
        return Window(*(side // cell for side in sides))

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
    """A packed store, open for reading; see `eofuse.data.store.opening`.

    Attributes:
        path: its folder.
        name: name of the dataset.
        simulated: whether its pixels are simulated.
        modalities: by name, those that at least one patch has.
        patch_size: (height, width) of its rasters in pixels; (0, 0) where there are none. Modalities with cells are coarser.
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
        self._dates: dict[str, DateTable] = {}

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
            **{m.times_key: self.times(m.name, [row])[0] for m in self.modalities.values() if len(m.keys) > 1},
            "present": {name: bool(self.present(name)[row]) for name in self.modalities},
            **{name: place[name] for name in ("patch_id", "scene")},
            **{name: float(place[name]) for name in ("lon", "lat")},
            "row": row,
        }

    def dataset(self, **options: Any) -> "PatchDataset":
        """The patches, or some of them, as a PyTorch dataset with a target.

        Args:
            options: `inputs`, `target`, `part`, `split`, `rows`, `incomplete`, `style`: see `eofuse.data.dataset.PatchDataset`.
        """
        from eofuse.data.dataset import PatchDataset

        return PatchDataset(self, **options)

    def to_xarray(self) -> Any:
        """All patches as an `xarray.Dataset` whose values are read when they are needed; see `eofuse.data.publish.labelled`."""
        from eofuse.data.publish.labelled import to_xarray

        return to_xarray(self)

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
        """Shape of one patch of a modality: (channels, height, width), (channels,), (steps, 1 + channels) or ().

        Of an image series it is (most dates, channels, height, width).
        """
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
            window: pixels of the store wanted of a raster, all by default.

        Returns:
            (batch, channels, height, width) for a raster, (batch, channels) for a vector, (batch, steps, 1 + channels) for a
            series, (batch,) codes for a category. Of an image series (batch, dates, channels, height, width), as many dates as the
            longest of the batch has, or `out` has room for; zeros fill up the shorter ones (see `times`).
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
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise UsageError(f"rows go from 0 to {len(self) - 1}", where=self.path)
        if modality.kind is Kind.IMAGE_SERIES:
            return self._read_dates(modality, rows, out, channels, window)
        if out is None:
            out = np.empty((len(rows), *self.shape(name, channels, window)), dtype=modality.dtype)
        shards = self._open_shards(modality)
        if len(shards) == 1 and channels is None and (window is None or modality.kind is Kind.SERIES):
            return np.take(shards[0], rows, axis=0, out=out, mode="clip")
        rows_per_shard = self.rows_per_shard[name]
        if modality.kind is Kind.SERIES:
            columns = slice(None) if channels is None else [0, *(1 + channel for channel in channels)]
            for number in np.unique(rows // rows_per_shard).tolist():
                places = np.flatnonzero(rows // rows_per_shard == number)
                out[places] = shards[number][rows[places] % rows_per_shard][:, :, columns]
            return out
        area = window.in_cells(modality).area if window else (slice(None), slice(None))
        if out[:1].nbytes <= FEW_BYTES and (channels is None or len(channels) == 1):
            only = slice(None) if channels is None else slice(channels[0], channels[0] + 1)
            for number in np.unique(rows // rows_per_shard).tolist():
                places = np.flatnonzero(rows // rows_per_shard == number)
                out[places] = shards[number][:, only, area[0], area[1]][rows[places] % rows_per_shard]
            return out
        for position, row in enumerate(rows.tolist()):
            patch = shards[row // rows_per_shard][row % rows_per_shard]
            if channels is None:
                out[position] = patch[:, area[0], area[1]] if window else patch
            else:
                for target, channel in enumerate(channels):
                    out[position, target] = patch[channel, area[0], area[1]]
        return out

    def _read_dates(
        self,
        modality: Modality,
        rows: Rows,
        out: np.ndarray | None,
        channels: Sequence[int] | None,
        window: Window | None,
    ) -> np.ndarray:
        table, shards = self.dates(modality.name), self._open_shards(modality)
        longest = table.longest(rows)
        if out is None:
            _, *shape = self.shape(modality.name, channels, window)
            out = np.empty((len(rows), longest, *shape), dtype=modality.dtype)
        elif out.shape[1] < longest:
            raise UsageError(f"has room for {out.shape[1]} dates of {longest}", where=modality.name)
        area = window.area if window else None
        return table.gather(shards, self.rows_per_shard[modality.name], rows, out, channels, area)

    def times(self, name: str, rows: Rows | Sequence[int]) -> npt.NDArray[np.float32]:
        """Times of an image series, (batch, dates): as many as `read` gives, NaN where a patch has fewer dates."""
        return self.dates(name).times(np.asarray(rows, dtype=np.int64))

    def dates(self, name: str) -> DateTable:
        """Which dates of an image series belong to which patch."""
        if name not in self._dates:
            self._dates[name] = DateTable(self.index, name)
        return self._dates[name]

    def _read_scalars(self, modality: Modality) -> np.ndarray:
        if modality.name not in self._scalars:
            columns = [f"{modality.name}.{channel}" for channel in modality.channel_names]
            values = self.index[columns].to_numpy()
            if modality.kind is Kind.CATEGORY:
                codes = values[:, 0]
                nothing, dtype = (255, np.uint8) if code_places(modality.categories) == 256 else (65_535, np.uint16)
                self._scalars[modality.name] = np.where(codes < 0, nothing, codes).astype(dtype)
            else:
                self._scalars[modality.name] = values.astype(np.float32)
        return self._scalars[modality.name]

    def shards(self, modality: Modality) -> dict[str, tuple[int, ...]]:
        """The files of a raster, series or image series, in order, with the shapes of their arrays."""
        per_shard, shape = self.rows_per_shard[modality.name], modality.shape(self.patch_size)
        edges = np.append(np.arange(0, len(self), per_shard), len(self))
        if modality.kind is Kind.IMAGE_SERIES:
            edges, shape = self.dates(modality.name).offsets[edges], shape[1:]
        lengths = np.diff(edges).tolist()
        return {f"{modality.name}/{number:05d}.npy": (length, *shape) for number, length in enumerate(lengths)}

    def row_bytes(self, modality: Modality, start: int) -> int | list[int]:
        """Bytes of a patch in the files of `shards`; of an image series those of each patch in the file that begins with `start`."""
        shape, size = modality.shape(self.patch_size), np.dtype(modality.dtype).itemsize
        if modality.kind is not Kind.IMAGE_SERIES:
            return math.prod(shape) * size
        edges = self.dates(modality.name).offsets[start : start + self.rows_per_shard[modality.name] + 1]
        return (np.diff(edges) * math.prod(shape[1:]) * size).tolist()  # type: ignore[no-any-return]  # whole numbers

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
        from eofuse.data.store.opening import open_store  # which opens what is defined here

        self.__dict__.update(open_store(state["path"], verified=False).__dict__)  # the sender has verified it

    @property
    def arrays(self) -> list[Modality]:
        """The rasters, series and image series, in the order of `digests`."""
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


def _embeddings(provenance: Any, name: str) -> list[dict[str, Any]]:
    """How vectors were computed, from the provenance of a store and of those of which it was made."""
    if isinstance(provenance, list):
        return [found for each in provenance for found in _embeddings(each, name)]
    if not isinstance(provenance, dict):
        return []
    own = provenance.get(EMBEDDINGS)
    found = [dict(own[name])] if isinstance(own, dict) and isinstance(own.get(name), dict) else []
    return found + _embeddings([value for key, value in provenance.items() if key != EMBEDDINGS], name)

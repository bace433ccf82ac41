"""ben-ge and BigEarthNet folders as a source of samples.

`open_ben_ge` indexes a folder in any of the known layouts (see `eofuse.data.sources.ben_ge.layout`), and `BenGeSamples.read`
gives the rasters of a patch, all on its 10 m grid. What is wrong with the tables is collected in `problems`; what is
wrong with a raster is raised when it is read.

Mommert et al., "Ben-ge: Extending BigEarthNet with Geographical and Environmental Data", IGARSS 2023; Sumbul et al.,
"BigEarthNet-MM", IEEE GRSM 9(3), 2021; Clasen et al., "reBEN: Refined BigEarthNet Dataset", 2024.
"""

import functools
import hashlib
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from affine import Affine

from eofuse.data.check import odd_values, warning
from eofuse.data.problems import Problem, Problems, errors_first
from eofuse.data.reading.grid import Grid
from eofuse.data.reading.rasters import reading_environment
from eofuse.data.sources.base import Arrays, Samples
from eofuse.data.sources.ben_ge.bands import READERS, REFERENCE_BAND, Band, band_paths, check_crs, read_band, read_grid
from eofuse.data.sources.ben_ge.index import build_index
from eofuse.data.sources.ben_ge.layout import Layout, find_layout
from eofuse.data.store.georeference import PIXEL_M, centres, misplaced, named_crs, set_grids
from eofuse.errors import DataError
from eofuse.modalities import BEN_GE_MODALITIES, SENTINEL1, SENTINEL2, WORLDCOVER, Kind, Modality, find_modality

CORNER_TOLERANCE_PIXELS = 0.5
"""Distance between corners that counts as none."""

FRACTION_TOLERANCE = 0.01
"""Difference between shares of land cover that counts as none."""


class BenGeSamples(Samples):
    """A ben-ge or BigEarthNet dataset, indexed; its problems are those of tables, ids and label files, errors first."""

    def __init__(self, layout: Layout, modalities: Sequence[Modality]) -> None:
        problems = Problems()
        wanted = {modality.name for modality in modalities}
        index = build_index(layout, wanted, problems)
        self._layout = layout
        self.name = layout.name
        self.simulated = layout.simulated
        self.modalities = tuple(modality for modality in modalities if index[f"has_{modality.name}"].any())
        self.index = _without_absent(index, self.modalities)
        self._ids: list[tuple[str, str]] = list(zip(self.index["patch_id"], self.index["patch_id_s1"], strict=True))
        self._present = {
            modality.name: self.index[f"has_{modality.name}"].to_numpy(dtype=bool) for modality in self.modalities
        }
        self._place(problems)
        self.problems = errors_first([*errors_first(problems), *misplaced(self.index, layout.name)])

    def _place(self, problems: Problems) -> None:
        """Writes the grid of each patch into the index: that of its first raster, which its label file should agree with."""
        grids: list[Grid | None] = []
        stated = list(zip(*(self.index[name] for name in ("crs", "ulx", "uly")), strict=True))
        with reading_environment():
            for row, (crs, left, top) in enumerate(stated):
                path = self._first_path(row)
                grid = read_grid(path) if path else None
                is_stated = isinstance(crs, str) and math.isfinite(left) and math.isfinite(top)
                if grid is not None and not grid.crs:  # a raster that was never georeferenced
                    turned = Affine(PIXEL_M, 0, left, 0, -PIXEL_M, top)
                    grid = Grid(named_crs(crs), turned, grid.width, grid.height) if is_stated else None
                elif grid is not None and is_stated and not _begins_at(grid, crs, left, top):
                    what = f"its label file puts the corner at ({left:.10g}, {top:.10g}) of {crs}, its raster elsewhere"
                    fix = "see which one is wrong; maps follow the raster"
                    problems.warn(what, path, self._ids[row][0], fix)
                grids.append(grid)
        set_grids(self.index, grids)
        for key, column in zip(("lon", "lat"), centres(self.index).T, strict=True):
            self.index[key] = self.index[key].where(self.index[key].notna(), column)

    def _first_path(self, row: int) -> str:
        """The file whose grid a patch has, "" if it has no raster."""
        modality = next(iter(self._rasters(row)), None)
        if modality is None:
            return ""
        return self._band_paths(row, modality)[REFERENCE_BAND if modality.name == SENTINEL2.name else 0]

    @functools.cached_property
    def patch_size(self) -> tuple[int, int]:  # type: ignore[override]  # looks at files, when it is needed
        """(height, width) of the first patch that can be read, in pixels of 10 m.

        Raises:
            DataError: if no patch can be read.
        """
        first_error: DataError | None = None
        with reading_environment():
            for row in range(len(self.index)):
                for modality in self._rasters(row):
                    try:
                        height, width = self._read_raster(row, modality, None)[0].shape[1:]
                    except DataError as error:
                        first_error = first_error or error
                    else:
                        return height, width
        raise first_error or DataError("no patch has a raster", where=self._layout.root, fix="fetch the rasters")

    @functools.cached_property
    def fingerprint(self) -> str:  # type: ignore[override]  # looks at all files
        """Digest of the index and of names, sizes and times of the raster files; the same wherever the folder lies."""
        digest = hashlib.sha256(repr((self.simulated, [modality.name for modality in self.modalities])).encode())
        digest.update(self.index.to_json(orient="split", double_precision=15).encode())
        for row in range(len(self.index)):
            for path in itertools.chain.from_iterable(self._band_paths(row, m) for m in self._rasters(row)):
                digest.update(f"{os.path.relpath(path, self._layout.root)} {_state(path)}\0".encode())
        return digest.hexdigest()

    def read(self, row: int) -> Arrays:
        """The rasters that a patch has; see `Samples.read`. Bands of 20 m and 60 m are interpolated bilinearly to 10 m."""
        return {name: values for name, (values, _) in self.read_with_grids(row).items()}

    def read_with_grids(self, row: int) -> dict[str, tuple[npt.NDArray[np.generic], Band]]:
        """As `read`, each raster with a band that tells its grid."""
        size = self.patch_size
        rasters: dict[str, tuple[npt.NDArray[np.generic], Band]] = {}
        reference: Band | None = None
        with reading_environment():
            for modality in self._rasters(row):
                values, band = self._read_raster(row, modality, size)
                reference = reference or band
                if band.crs is not None and reference.crs is not None:
                    check_crs(band, reference)
                rasters[modality.name] = values, band
        return rasters

    def check(self, row: int) -> list[Problem]:
        """Everything that is wrong with the rasters of a patch, or looks odd."""
        patch_id = self._ids[row][0]
        try:
            rasters = self.read_with_grids(row)
        except DataError:
            return [Problem.from_error(error, patch_id) for error in self.errors(row)]
        found = _corner_warnings({name: band.transform for name, (_, band) in rasters.items()}, patch_id)
        found += odd_values(self, patch_id, {name: values for name, (values, _) in rasters.items()})
        if WORLDCOVER.name in rasters:
            found += _fraction_warnings(self.index.iloc[row], rasters[WORLDCOVER.name][0])
        return found

    def errors(self, row: int) -> list[DataError]:
        """Everything that is wrong with the rasters of a patch, where `read` raises the first only."""
        found: dict[str, DataError] = {}
        try:
            size: tuple[int, int] | None = self.patch_size
        except DataError:
            size = None
        with reading_environment():
            for modality in self._rasters(row):
                try:
                    self._read_raster(row, modality, size)
                except DataError as error:
                    found[str(error)] = error
                    found.update((str(other), other) for other in self._band_errors(row, modality))
        if not found and size is not None:
            try:
                self.read(row)
            except DataError as error:
                found[str(error)] = error
        return list(found.values())

    def _band_errors(self, row: int, modality: Modality) -> Iterator[DataError]:
        """What is wrong with each file of a modality by itself."""
        if modality.name not in ("s2", "s1"):
            return
        patch_id = self._ids[row][0]
        for channel, path in zip(modality.channels, self._band_paths(row, modality), strict=True):
            try:
                read_band(path, patch_id, channel.name, (modality.dtype,))
            except DataError as error:
                yield error

    def _band_paths(self, row: int, modality: Modality) -> list[str]:
        """The raster files of a modality of a patch, one a channel."""
        patch_id, patch_id_s1 = self._ids[row]
        match modality.name:
            case "s2":
                return band_paths(self._layout.s2[patch_id], patch_id, SENTINEL2)
            case "s1":
                return band_paths(self._layout.s1[patch_id_s1], patch_id_s1, SENTINEL1)
            case "elevation":
                return [self._layout.elevation[patch_id]]
            case _:
                return [self._layout.worldcover[patch_id]]

    def _rasters(self, row: int) -> list[Modality]:
        """The raster modalities that a patch has."""
        rasters = (modality for modality in self.modalities if modality.kind is Kind.RASTER)
        return [modality for modality in rasters if self._present[modality.name][row]]

    def _read_raster(
        self, row: int, modality: Modality, size: tuple[int, int] | None
    ) -> tuple[npt.NDArray[np.generic], Band]:
        patch_id, paths = self._ids[row][0], self._band_paths(row, modality)
        return READERS[modality.name](paths, patch_id, size)


def open_ben_ge(folder: str | os.PathLike[str], modalities: Sequence[str] | None = None) -> BenGeSamples:
    """Indexes a ben-ge or BigEarthNet folder; of each patch the header of one raster is read, which says where it lies.

    Args:
        folder: the dataset's folder.
        modalities: names of those wanted; all that occur by default.

    Raises:
        DataError: if nothing known is in the folder, a table can't be read or has no patch ids, or a wanted modality
            never occurs.
        UsageError: if there is no modality of a wanted name.
    """
    wanted: tuple[Modality, ...] = BEN_GE_MODALITIES
    if modalities is not None:
        named = {find_modality(name, BEN_GE_MODALITIES) for name in modalities}
        wanted = tuple(modality for modality in BEN_GE_MODALITIES if modality in named)
    source = BenGeSamples(find_layout(Path(folder)), wanted)
    for modality in wanted if modalities is not None else ():
        if modality not in source.modalities:
            found = ", ".join(modality.name for modality in source.modalities) or "none"
            raise DataError(f"no patch has the modality '{modality.name}'", where=folder, fix=f"found: {found}")
    return source


def _without_absent(index: pd.DataFrame, modalities: Sequence[Modality]) -> pd.DataFrame:
    """The index without the columns of modalities that are absent or not wanted; fractions of land cover stay."""
    kept = {modality.name for modality in modalities}
    absent = {modality.name for modality in BEN_GE_MODALITIES} - kept
    columns = [
        name
        for name in index.columns
        if name.removeprefix("has_") not in absent and name.partition(".")[0] not in absent
    ]
    return index[columns].copy()


def _begins_at(grid: Grid, crs: str, left: float, top: float) -> bool:
    """Whether the upper left corner of a grid is the one stated, to half a pixel."""
    column, row = grid.pixel_at(left, top)
    return grid.crs == named_crs(crs) and max(abs(column), abs(row)) <= CORNER_TOLERANCE_PIXELS


def _state(path: str) -> tuple[int, int] | None:
    """Bytes of a file and when it was changed, None if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 (a str, for speed)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _corner_warnings(transforms: dict[str, Affine], patch_id: str) -> list[Problem]:
    """Rasters whose upper-left corner is not that of the patch's first raster."""
    tolerance = CORNER_TOLERANCE_PIXELS * max((abs(each.a) for each in transforms.values()), default=1.0)
    corners = {name: (each.c, each.f) for name, each in transforms.items()}
    first, (left, top) = next(iter(corners.items()), ("", (0.0, 0.0)))
    return [
        warning(patch_id, f"its corner lies {x - left:g} m east and {top - y:g} m south of that of {first}", name)
        for name, (x, y) in corners.items()
        if max(abs(x - left), abs(y - top)) > tolerance
    ]


def _fraction_warnings(patch: pd.Series, codes: npt.NDArray[np.generic]) -> list[Problem]:
    """Land cover fractions of the table that are not those of the map."""
    for category in WORLDCOVER.categories:
        column = f"worldcover_fraction.{category.name}"
        if column not in patch:
            return []
        listed, counted = float(patch[column]), float((codes == category.code).mean())
        if abs(listed - counted) > FRACTION_TOLERANCE:
            what = f"the table says {listed:.3f} {category.name}, the map {counted:.3f}"
            return [warning(str(patch["patch_id"]), what, column, "correct the table, or fetch the map again")]
    return []

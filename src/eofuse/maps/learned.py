"""Where a model learned: the squares of its training and validation patches, so that nobody judges a map there unawares."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from shapely import box, polygons
from shapely.geometry.base import BaseGeometry

from eofuse.data.reading.grid import Grid, transform_places
from eofuse.data.store import georeference, open_store
from eofuse.errors import EofuseError
from eofuse.learning.run import Run
from eofuse.learning.split_table import SPLIT_FILE, learned_from


@dataclass(frozen=True)
class LearnedAreas:
    """Patches from which some runs learned.

    Attributes:
        known: whether it is known of all of them where they lie.
        by_system: corners (patches, 4, 2) by coordinate reference system.
    """

    known: bool
    by_system: dict[str, npt.NDArray[np.float64]]

    def within(self, grid: Grid) -> list[BaseGeometry]:
        """Squares that touch a scene, in its reference system."""
        found: list[BaseGeometry] = []
        west, south, east, north = grid.bounds
        scene = box(west, south, east, north)
        for name, corners in self.by_system.items():
            crs = georeference.named_crs(name)
            places = corners.reshape(-1, 2)
            if crs != grid.crs:
                places = np.stack(transform_places(crs, grid.crs, *places.T), axis=1)
            squares = places.reshape(-1, 4, 2)
            squares = squares[np.isfinite(squares).all(axis=(1, 2))]
            found += [square for square in polygons(squares) if square.intersects(scene)]
        return found


def learned_areas(runs: Sequence[Run]) -> LearnedAreas:
    """The patches of training and validation of some runs, as far as their stores are still there."""
    by_system: dict[str, list[npt.NDArray[np.float64]]] = {}
    known = bool(runs)
    for run in runs:
        started = run.transfer() is not None
        try:
            index = open_store(run.options.data.store, verified=False).index
        except (EofuseError, OSError):
            known = False
            continue
        if not (run.folder / SPLIT_FILE).is_file() or started:
            known = False
        rows = np.flatnonzero(index["patch_id"].isin(learned_from([run.folder])))
        placed = rows[georeference.has_grid(index)[rows]]
        known &= len(placed) == len(rows)
        corners = georeference.corners(index)
        for name, members in index.iloc[placed].groupby("crs", sort=True).indices.items():
            by_system.setdefault(str(name), []).append(corners[placed[members]])
    return LearnedAreas(known, {name: np.unique(np.concatenate(parts), axis=0) for name, parts in by_system.items()})

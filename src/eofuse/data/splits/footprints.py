"""The ground that patches cover, whatever their reference systems: which overlap, and which lie near each other.

A footprint is the quadrangle of a patch's corners. Where the pixel grid is not known, it is a square around longitude and latitude:
with the side that an older store gives (`side_km`), else of 1.2 km, the side of a patch of BigEarthNet. Corners are taken to
geocentric coordinates (WGS 84, in metres), where neither UTM zones nor the antimeridian nor the poles have borders. Within one
reference system, overlap is judged by its own coordinates; a hundredth of a pixel counts as none.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from eofuse.data.reading.grid import TOLERANCE_PIXELS
from eofuse.data.store.georeference import GRID_COLUMNS, corners, degrees, has_grid

PATCH_KM = 1.2
EQUATOR_M = 6378137.0
ECCENTRICITY2 = 0.00669437999014
ASSUMED_SLACK = 0.05
"""Overlap that counts as none where a square is assumed, as a share of its side."""
ROWS_AT_ONCE = 4096
PAIRS_AT_ONCE = 200_000

Numbers = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Footprints:
    """Footprints of patches; those without a place have NaN.

    Attributes:
        known: which patches have a place, (patches,).
        system: number of the reference system, −1 where the pixel grid is not known.
        plane: corners in that system, (patches, 4, 2).
        earth: corners in geocentric metres, (patches, 4, 3).
        slack: depth of an overlap that counts as none, in the system's unit and in metres, (patches, 2).
        assumed: which patches have a place, but no known size, (patches,).
    """

    known: Mask
    system: Rows
    plane: Numbers
    earth: Numbers
    slack: Numbers
    assumed: Mask

    def for_counting(self) -> "Footprints":
        """The same, but squares of an assumed size overlap only where they have the same place: what is counted must be known."""
        slack = np.where(self.assumed[:, None], (1 - ASSUMED_SLACK) * self.side_m[:, None], self.slack)
        return replace(self, slack=slack)

    @property
    def centre(self) -> Numbers:
        """Middle of each footprint in geocentric metres, (patches, 3)."""
        return np.asarray(self.earth.mean(axis=1))

    @property
    def side_m(self) -> Numbers:
        """Length of the longest side of each footprint in metres, (patches,)."""
        return np.asarray(np.linalg.norm(self.earth - np.roll(self.earth, 1, axis=1), axis=2).max(axis=1))

    def groups(self) -> Rows:
        """Number of the group of each patch: patches that overlap are in one, also by way of others.

        Patches without a place are alone.
        """
        own, first = self._distinct()
        links = [np.zeros((2, 0), dtype=np.int64)]
        for one, other, _ in self._near_pairs(first, first, np.zeros(len(first))):
            ordered = one < other
            pairs = np.stack([one[ordered], other[ordered]])
            links.append(_forest(pairs[:, self.overlap(*first[pairs])]))
        found = np.full(len(self.known), -1)
        labels = components(np.concatenate(links, axis=1), len(first))
        found[self.known] = labels[own]
        found[~self.known] = labels.max(initial=-1) + 1 + np.arange(int((~self.known).sum()))
        return found

    def companions(self, of: Rows, others: Rows, reach: Numbers) -> tuple[Mask, Mask]:
        """Which patches share ground with one of the others, and which lie within a distance of one.

        Args:
            of: the patches.
            others: those that they are compared with.
            reach: metres for each of the patches.

        Returns:
            Two masks (of,): whether it overlaps, and whether the gap to the nearest is at most `reach`.
        """
        shares, near = np.zeros(len(of), dtype=bool), np.zeros(len(of), dtype=bool)
        placed, other = np.flatnonzero(self.known[of]), others[self.known[others]]
        if not len(placed) or not len(other):
            return shares, near
        outer, inner = self._radii
        for first, second, apart in self._near_pairs(of[placed], other, reach[placed]):
            at, rows, partners = placed[first], of[placed[first]], other[second]
            near[at[apart <= inner[rows] + inner[partners] + reach[at]]] = True
            may_meet = np.flatnonzero((apart < outer[rows] + outer[partners]) & ~shares[at])
            met = may_meet[self.overlap(rows[may_meet], partners[may_meet])]
            shares[at[met]] = near[at[met]] = True
            left = np.flatnonzero(~near[at])
            near[at[left[self._is_near(rows[left], partners[left], reach[at[left]])]]] = True
        return shares, near

    def overlap(self, first: Rows, other: Rows) -> Mask:
        """Whether each pair of patches, whose places are near each other, covers common ground, (pairs,)."""
        met = np.zeros(len(first), dtype=bool)
        slacks = np.stack([self.slack[first], self.slack[other]])
        gridded = np.minimum(self.system[first], self.system[other]) >= 0
        slack = np.where(gridded[:, None], slacks.min(axis=0), slacks.max(axis=0))
        low, high = self._ends
        depth = np.minimum(high[first], high[other]) - np.maximum(low[first], low[other])
        extent = np.maximum(high[first] - low[first], high[other] - low[other])
        in_sight = (-depth <= 2 * extent).all(
            axis=1
        )  # no seam of the system, such as the antimeridian, is between them
        same = gridded & (self.system[first] == self.system[other]) & in_sight
        in_plane = np.flatnonzero(same & (depth > slack[:, :1]).all(axis=1))
        met[in_plane] = _intersect(self.plane[first[in_plane]], self.plane[other[in_plane]], slack[in_plane, 0])
        on_earth = np.flatnonzero(~same)
        met[on_earth] = _intersect(*self._side_by_side(first[on_earth], other[on_earth]), slack[on_earth, 1])
        return met

    @cached_property
    def _ends(self) -> tuple[Numbers, Numbers]:
        """Smallest and largest coordinates of each footprint in its reference system, (patches, 2) each."""
        return self.plane.min(axis=1), self.plane.max(axis=1)

    @cached_property
    def _radii(self) -> tuple[Numbers, Numbers]:
        """Radius in metres of the circle around each footprint, and of the one within it, (patches,) each."""
        spokes = self.earth - self.centre[:, None]
        edges = np.roll(self.earth, -1, axis=1) - self.earth
        heights = np.linalg.norm(np.cross(edges, spokes), axis=2) / np.linalg.norm(edges, axis=2)
        return np.linalg.norm(spokes, axis=2).max(axis=1), heights.min(axis=1)

    def _is_near(self, first: Rows, other: Rows, reach: Numbers) -> Mask:
        """Whether the gap between the footprints of each pair, which do not overlap, is at most so many metres."""
        one, two = self._side_by_side(first, other)
        apart = np.linalg.norm(one[:, :, None] - two[:, None, :], axis=3).min(axis=(1, 2))
        close = apart <= reach
        rest = np.flatnonzero(~close)
        close[rest] = np.minimum(_to_sides(one[rest], two[rest]), _to_sides(two[rest], one[rest])) <= reach[rest]
        return np.asarray(close)

    def _side_by_side(self, first: Rows, other: Rows) -> tuple[Numbers, Numbers]:
        """Corners of both patches of each pair, in metres on the plane that touches the Earth at the first."""
        centre = self.earth[first].mean(axis=1)
        up = centre / np.linalg.norm(centre, axis=1, keepdims=True)
        east = np.stack([-up[:, 1], up[:, 0], np.zeros(len(up))], axis=1)
        length = np.linalg.norm(east, axis=1, keepdims=True)
        east = np.where(length > 0, east / np.where(length > 0, length, 1), [1.0, 0.0, 0.0])
        axes = np.stack([east, np.cross(up, east)], axis=2)
        return (self.earth[first] - centre[:, None]) @ axes, (self.earth[other] - centre[:, None]) @ axes

    def _distinct(self) -> tuple[Rows, npt.NDArray[np.intp]]:
        """Number of the distinct footprint of each patch with a place, and a row that has each."""
        rows = np.flatnonzero(self.known)
        table = pd.DataFrame(self.earth[rows][:, [0, 2]].reshape(-1, 6))
        same = table.assign(system=self.system[rows]).groupby([*range(6), "system"], sort=False)
        own: Rows = np.asarray(same.ngroup(), dtype=np.int64)
        return own, rows[np.unique(own, return_index=True)[1]]

    def _near_pairs(self, first: Rows, other: Rows, reach: Numbers) -> Iterator[tuple[Rows, Rows, Numbers]]:
        """Positions in two lists of patches whose circles come as near as their reach, and the distance of their centres.

        Patches of about one size are searched together, so that a few large ones do not slow down the others.
        """
        centre, radius = self.centre, self._radii[0]
        sizes = [np.ceil(np.log2(np.maximum(radius[rows], 1e-3))) for rows in (first, other)]
        for size_other in np.unique(sizes[1]):
            at_other = np.flatnonzero(sizes[1] == size_other)
            tree = cKDTree(centre[other[at_other]])
            for size_first in np.unique(sizes[0]):
                at_first = np.flatnonzero(sizes[0] == size_first)
                at_first = at_first[cKDTree(centre[first[at_first]]).indices]  # neighbours follow each other
                for start in range(0, len(at_first), ROWS_AT_ONCE):
                    chunk = at_first[start : start + ROWS_AT_ONCE]
                    far = radius[first[chunk]].max() + radius[other[at_other]].max() + reach[chunk].max()
                    here = cKDTree(centre[first[chunk]])
                    pairs = here.sparse_distance_matrix(tree, far, output_type="ndarray")
                    one, two = chunk[pairs["i"]], at_other[pairs["j"]]
                    fits = pairs["v"] <= radius[first[one]] + radius[other[two]] + reach[one]
                    one, two, apart = one[fits], two[fits], pairs["v"][fits]
                    for begin in range(0, len(one), PAIRS_AT_ONCE):
                        part = slice(begin, begin + PAIRS_AT_ONCE)
                        yield one[part], two[part], apart[part]


def components(links: Rows, count: int) -> Rows:
    """Number of the connected component of each of so many nodes, by the links (2, n) between them."""
    graph = coo_array((np.ones(links.shape[1], dtype=bool), tuple(links)), shape=(count, count))
    labels: Rows = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels


def _forest(links: Rows) -> Rows:
    """As few links as connect the same nodes."""
    nodes, places = np.unique(links, return_inverse=True)
    labels = components(places.reshape(links.shape), len(nodes))
    first = np.unique(labels, return_index=True)[1]
    return np.stack([nodes[first[labels]], nodes])


def footprints(index: pd.DataFrame) -> Footprints:
    """The footprints of the patches of an index."""
    count = len(index)
    gridded = has_grid(index)
    system = np.full(count, -1)
    plane, slack = np.full((count, 4, 2), np.nan), np.full((count, 2), np.nan)
    earth = np.full((count, 4, 3), np.nan)
    if gridded.any():
        system[gridded] = pd.factorize(index["crs"][gridded])[0]
        plane = corners(index)
        earth = _geocentric(degrees(index, plane))
        across = index[GRID_COLUMNS[-2]].to_numpy(dtype=float)
        for unit, places in enumerate((plane, earth)):
            slack[:, unit] = TOLERANCE_PIXELS * np.linalg.norm(places[:, 1] - places[:, 0], axis=1) / across
    rest = np.flatnonzero(~gridded)
    if len(rest) and {"lon", "lat"} <= set(index.columns):
        side = np.full(len(rest), PATCH_KM * 1000)
        if "side_km" in index.columns:
            side = index["side_km"].iloc[rest].fillna(PATCH_KM).to_numpy(dtype=float) * 1000
        earth[rest] = _squares(index[["lon", "lat"]].iloc[rest].to_numpy(dtype=float), side)
        slack[rest, 1] = ASSUMED_SLACK * side
    known = np.isfinite(earth).all(axis=(1, 2))
    sized = index["side_km"].notna().to_numpy() if "side_km" in index.columns else np.zeros(count, dtype=bool)
    return Footprints(known, system, plane, earth, slack, known & ~gridded & ~sized)


def _geocentric(places: Numbers) -> Numbers:
    """Geocentric coordinates (…, 3) of longitude and latitude (…, 2) on the ellipsoid WGS 84."""
    longitude, latitude = np.radians(places[..., 0]), np.radians(places[..., 1])
    normal = EQUATOR_M / np.sqrt(1 - ECCENTRICITY2 * np.sin(latitude) ** 2)
    x, y = (normal * np.cos(latitude) * turn(longitude) for turn in (np.cos, np.sin))
    found: Numbers = np.stack([x, y, normal * (1 - ECCENTRICITY2) * np.sin(latitude)], axis=-1)
    return found


def _squares(places: Numbers, side: Numbers) -> Numbers:
    """Corners (n, 4, 3) of squares around longitude and latitude (n, 2), in geocentric metres."""
    longitude, latitude = np.radians(places).T
    east = np.stack([-np.sin(longitude), np.cos(longitude), np.zeros(len(places))], axis=1)
    north = np.stack(
        [-np.sin(latitude) * np.cos(longitude), -np.sin(latitude) * np.sin(longitude), np.cos(latitude)], axis=1
    )
    ways = np.array([[-1, 1], [1, 1], [1, -1], [-1, -1]]) / 2
    moved = ways[None, :, :1] * east[:, None] + ways[None, :, 1:] * north[:, None]
    found: Numbers = _geocentric(places)[:, None] + side[:, None, None] * moved
    return found


def _intersect(first: Numbers, other: Numbers, slack: Numbers) -> Mask:
    """Whether pairs of convex quadrangles (pairs, 4, 2) share more than a margin of ground: no side of either separates them."""
    met = np.ones(len(first), dtype=bool)
    for corners_of in (first, other):
        for side in range(4):
            rows = np.flatnonzero(met)
            if not len(rows):
                return met
            one, two = first[rows], other[rows]
            edge = corners_of[rows, (side + 1) % 4] - corners_of[rows, side]
            normal = np.stack([-edge[:, 1], edge[:, 0]], axis=1) / np.linalg.norm(edge, axis=1, keepdims=True)
            a, b = (one @ normal[:, :, None])[..., 0], (two @ normal[:, :, None])[..., 0]
            depth = np.minimum(a.max(axis=1), b.max(axis=1)) - np.maximum(a.min(axis=1), b.min(axis=1))
            met[rows] = depth > slack[rows]
    return met


def _to_sides(points: Numbers, other: Numbers) -> Numbers:
    """Smallest distance of the corners of each quadrangle (pairs, 4, 2) from the sides of its partner, (pairs,)."""
    nearest = np.full(len(points), np.inf)
    for side in range(4):
        begin = other[:, None, side]
        edge = other[:, None, (side + 1) % 4] - begin
        along = ((points - begin) * edge).sum(axis=2) / (edge**2).sum(axis=2)
        foot = begin + np.clip(along, 0, 1)[..., None] * edge
        nearest = np.minimum(nearest, np.linalg.norm(points - foot, axis=2).min(axis=1))
    return nearest

"""The ground that patches cover: overlap and distance across reference systems, and splits that keep to them."""

from functools import cache

import numpy as np
import pandas as pd
import pyproj
import pytest
from affine import Affine
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS

from eofuse.data.reading.grid import Grid
from eofuse.data.splits import Leakage, Split, SplitOptions, leakage, make_split
from eofuse.data.splits.comparison import less_leaky, protocol_leakage
from eofuse.data.splits.footprints import footprints
from eofuse.data.store.georeference import corners, degrees, set_grids
from eofuse.errors import DataError

SYSTEMS = ("EPSG:32632", "EPSG:32633", "EPSG:4326", "EPSG:3035")
SEAMS = {"zones": (12.0, 47.0), "antimeridian": (180.0, -17.0), "pole": (30.0, 89.99)}


def index_of(grids: list[Grid], scenes: list[str] | None = None) -> pd.DataFrame:
    index = pd.DataFrame({"patch_id": [f"p{row}" for row in range(len(grids))]})
    index["scene"] = scenes or [f"s{row}" for row in range(len(grids))]
    index = index.assign(tile=None, column=-1, row=-1, split=None)
    set_grids(index, grids)
    index["lon"], index["lat"] = degrees(index, corners(index).mean(axis=1)[:, None])[:, 0].T
    return index


@cache
def to_system(system: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs("EPSG:4326", system, always_xy=True)


def grid_at(system: str, lon: float, lat: float, side_m: float, turn: float = 0.0, pixels: int = 20) -> Grid:
    """A patch around a place, with a side of about so many metres."""
    crs = CRS.from_user_input(system)
    x, y = to_system(system).transform(lon, lat)
    pixel = side_m / pixels / (111_000 if crs.is_geographic else 1)
    half = Affine.translation(-pixels / 2, -pixels / 2)
    return Grid(
        crs, Affine.translation(x, y) @ Affine.rotation(turn) @ Affine.scale(pixel, -pixel) @ half, pixels, pixels
    )


def _cross(first: np.ndarray, other: np.ndarray) -> np.ndarray:
    return first[..., 0] * other[..., 1] - first[..., 1] * other[..., 0]


class Shape:
    """A convex quadrangle on a plane, with the area that it shares with another and its distance from it."""

    def __init__(self, corner: np.ndarray) -> None:
        self.corner = corner
        signed = _cross(corner, np.roll(corner, -1, axis=0)).sum()
        self.sides = [(corner[k], corner[(k + 1) % 4]) for k in range(4)]
        self.turn = np.sign(signed)

    def shared(self, other: "Shape") -> float:
        """Area of what is left of the other when each side of this one cuts off what lies outside."""
        left = [*other.corner]
        for begin, end in self.sides:
            inside = [self.turn * _cross(end - begin, point - begin) for point in left]
            kept = []
            for k, point in enumerate(left):
                before = inside[k - 1]
                if before * inside[k] < 0:
                    kept.append(left[k - 1] + (point - left[k - 1]) * before / (before - inside[k]))
                if inside[k] >= 0:
                    kept.append(point)
            left = kept
        ring = np.array(left).reshape(-1, 2)
        return abs(_cross(ring, np.roll(ring, -1, axis=0)).sum()) / 2

    def distance(self, other: "Shape") -> float:
        if self.shared(other) > 0:
            return 0.0
        return min(
            _to_side(point, *side) for a, b in ((self, other), (other, self)) for point in a.corner for side in b.sides
        )


def _to_side(point: np.ndarray, begin: np.ndarray, end: np.ndarray) -> float:
    along = np.clip((point - begin) @ (end - begin) / ((end - begin) @ (end - begin)), 0, 1)
    return float(np.linalg.norm(point - begin - along * (end - begin)))


def shapes_of(index: pd.DataFrame, lon: float, lat: float) -> list[Shape]:
    """The patches on an azimuthal plane around a place."""
    plane = pyproj.Transformer.from_crs("EPSG:4326", f"+proj=aeqd +lon_0={lon} +lat_0={lat}", always_xy=True)
    places = degrees(index, corners(index))
    return [Shape(np.stack(plane.transform(*each.T), axis=1)) for each in places]


@st.composite
def scattered(draw, count: int = 12) -> tuple[pd.DataFrame, tuple[float, float]]:
    """Patches of several systems, sizes and turns around a seam of the Earth."""
    lon, lat = draw(st.sampled_from(list(SEAMS.values())))
    names = ["EPSG:4326"] if lon == 180 else ["EPSG:3995"] if lat > 85 else SYSTEMS
    offset = st.floats(-0.02, 0.02)
    grids = []
    for _ in range(count):
        east, north = draw(offset) / max(np.cos(np.radians(lat)), 0.01), draw(offset)
        place = (lon + east + 180) % 360 - 180, min(lat + north, 90.0)
        side = draw(st.sampled_from([300.0, 640.0, 1200.0]))
        grids.append(grid_at(draw(st.sampled_from(names)), *place, side, draw(st.sampled_from([0.0, 0.0, 30.0]))))
    return index_of(grids), (lon, lat)


@settings(max_examples=8, deadline=None)
@given(scattered())
def test_overlap_and_distance_are_those_of_the_ground(made):
    index, (lon, lat) = made
    shapes, ground = shapes_of(index, lon, lat), footprints(index)
    rows = np.arange(len(index))
    for row in rows:
        others = np.delete(rows, row)
        shares, near = ground.companions(np.array([row]), others, np.array([500.0]))
        area = max(shapes[row].shared(shapes[other]) for other in others)
        gap = min(shapes[row].distance(shapes[other]) for other in others)
        if area > 200 or area == 0:  # less is a matter of rounding
            assert shares[0] == (area > 0) or gap < 1
        if abs(gap - 500) > 3:
            assert near[0] == (gap < 500)


@settings(max_examples=5, deadline=None)
@given(scattered(), st.integers(0, 100))
def test_blocks_never_part_overlapping_patches(made, seed):
    index, (lon, lat) = made
    apart = index.assign(block=index["patch_id"])
    shapes = shapes_of(index, lon, lat)
    for each, block_km in ((index, 0.5), (apart, None)):
        options = SplitOptions(protocol="blocks", block_km=block_km, split_seed=seed, fractions=(0.4, 0.3, 0.3))
        try:
            split = make_split(each, options)
        except DataError as error:
            assume("leaves no" not in str(error))
        again = make_split(each, options)
        part = np.full(len(index), -1)
        for number, rows in enumerate(split.parts().values()):
            part[rows] = number
            np.testing.assert_array_equal(rows, list(again.parts().values())[number])
        for row in range(len(index)):
            for other in range(row):
                if part[row] != part[other]:
                    assert shapes[row].shared(shapes[other]) < 200
        assert leakage(each, split).same_ground == 0


@settings(max_examples=8, deadline=None)
@given(scattered(count=30), st.integers(0, 100), st.sampled_from(["blocks", "scene", "random"]))
def test_with_a_buffer_no_two_parts_are_nearer_than_that(made, seed, protocol):
    index, (lon, lat) = made
    options = SplitOptions(protocol=protocol, block_km=0.5, buffer=400, split_seed=seed, fractions=(0.4, 0.3, 0.3))
    try:
        split = make_split(index, options)
    except DataError as error:
        assume("leaves no" not in str(error))
    shapes, parts = shapes_of(index, lon, lat), list(split.parts().values())
    for number, rows in enumerate(parts):
        for others in parts[:number]:
            assert min(shapes[a].distance(shapes[b]) for a in rows for b in others) > 400
    together = np.concatenate([*parts, split.buffered])
    assert sorted(together.tolist()) == list(range(len(index)))


def scene_grids(system: str, corner: tuple[float, float], across: int = 4, down: int = 4, size: int = 64) -> list[Grid]:
    place = Affine(10, 0, corner[0], 0, -10, corner[1])
    whole = Grid(CRS.from_user_input(system), place, across * size, down * size)
    return [whole.window(column * size, row * size, size, size) for row in range(down) for column in range(across)]


def test_patches_side_by_side_do_not_overlap_and_touch():
    index = index_of(scene_grids("EPSG:32632", (500000, 5200000)))
    ground = footprints(index)
    assert len(np.unique(ground.groups())) == 16
    shares, near = ground.companions(np.array([0]), np.array([5]), np.array([1.0]))
    assert (shares[0], near[0]) == (False, True)
    shares, near = ground.companions(np.array([0]), np.array([2]), np.array([600.0]))
    assert not near[0]


def test_dates_of_one_place_are_on_one_side_of_a_split_by_blocks():
    grids = scene_grids("EPSG:32632", (500000, 5200000))
    dates = [f"date_{number}" for number in range(3) for _ in grids]
    index = index_of(grids * 3, dates)
    torn = index.assign(block=index["scene"] + "_" + pd.Series([*range(16)] * 3).astype(str))
    for options in ({"block_km": 0.64}, {"block_km": None}):
        split = make_split(torn, SplitOptions(protocol="blocks", **options))
        assert leakage(torn, split).same_ground == 0
    found = leakage(torn, make_split(torn, SplitOptions(protocol="scene", fractions=(0.34, 0.33, 0.33))))
    assert (found.sharing_scene, found.same_ground) == (0, 16)


def test_neighbours_of_all_sides_are_counted_where_stores_of_several_sizes_were_merged():
    small, large = (scene_grids("EPSG:32632", (5e5 + 1e5 * i, 5.2e6), size=size) for i, size in enumerate((16, 256)))
    index = index_of(small + large)
    index["block"] = [*(f"block {row}" for row in range(16)), *[None] * 16]
    split = make_split(index, SplitOptions(protocol="random", fractions=(0.4, 0.3, 0.3)))
    near = {row for row in split.test for other in split.train if _touch(row, other)}
    assert leakage(index, split).adjacent == len(near)
    blocks = make_split(index, SplitOptions(protocol="blocks"))
    assert leakage(index, blocks).same_ground == 0


def _touch(row: int, other: int) -> bool:
    same_store = (row < 16) == (other < 16)
    steps = [abs(f(row % 16, 4) - f(other % 16, 4)) for f in (lambda a, b: a // b, lambda a, b: a % b)]
    return same_store and max(steps) <= 1


def test_half_a_million_patches_are_compared_without_looking_at_pairs_of_all(monkeypatch):
    grids = scene_grids("EPSG:32632", (300000, 5200000), across=60, down=60)
    index = index_of(grids)
    looked_at = []
    ground = footprints(index)
    counted = type(ground).overlap
    monkeypatch.setattr(type(ground), "overlap", lambda *a: looked_at.append(len(a[1])) or counted(*a))
    ground.groups()
    assert sum(looked_at) < 5 * len(index)


def test_a_buffer_needs_every_place():
    index = index_of(scene_grids("EPSG:32632", (500000, 5200000)))
    index.loc[3, ["lon", "lat", "ulx"]] = np.nan
    with pytest.raises(DataError, match="of 1 it is not known"):
        make_split(index, SplitOptions(buffer=100))


def test_a_protocol_is_advised_only_if_it_was_measured_to_leak_less():
    now = Leakage(100, 0, 40, 0)
    worse, better, unknown = Leakage(100, 90, 5, 0), Leakage(100, 0, 5, 0), Leakage(100, None, 5, 0)
    assert less_leaky({"scene": now, "blocks": worse}, now, "adjacent") is None
    assert less_leaky({"scene": now, "blocks": unknown}, now, "adjacent") is None
    assert less_leaky({"scene": now, "blocks": better}, now, "adjacent") == "blocks"


def test_the_leakage_of_every_protocol_counts_common_ground():
    grids = scene_grids("EPSG:32632", (500000, 5200000))
    index = index_of(grids * 4, [f"date_{number}" for number in range(4) for _ in grids])
    found = protocol_leakage(index, SplitOptions(block_km=0.7, fractions=(0.5, 0.25, 0.25)))
    assert found["scene"].same_ground == found["scene"].test_patches
    assert found["blocks"].same_ground == 0
    assert found["random"].same_ground > 0


def test_patches_of_unknown_size_share_ground_only_with_those_of_their_place():
    index = pd.DataFrame(
        {"patch_id": ["a", "b", "c"], "scene": ["a", "b", "c"], "lat": 47.0, "crs": None, "ulx": np.nan}
    )
    index["lon"] = [8.0, 8.0, 8.01]
    split = Split(np.array([0]), np.array([], dtype=int), np.array([1, 2]))
    found = leakage(index, split)
    assert (found.same_ground, found.adjacent) == (1, 2)

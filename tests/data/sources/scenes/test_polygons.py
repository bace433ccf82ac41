"""Polygons are checked before GDAL sees them: it ends the interpreter on coordinates that are no numbers."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS

from eofuse.data.reading.grid import Grid, parse_crs
from eofuse.data.sources.scenes.polygons import read_polygons
from eofuse.errors import DataError
from eofuse.modalities import Category

GRID = Grid(CRS.from_epsg(32633), Affine(10, 0, 500000, 0, -10, 5000000), 100, 100)
RING = [[15, 45.1], [15.02, 45.1], [15.02, 45.2], [15, 45.1]]
FIELD = [Category(1, "field", "#000000")]


def write(path, geometry, **members):
    feature = {"type": "Feature", "properties": {"class": "field"}, "geometry": geometry}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature], **members}))
    return path


def read(path):
    return read_polygons(path, "class", FIELD, 0, GRID)


@pytest.mark.parametrize(
    "vertex",
    ["x", ["a", "b"], ["1", "2"], [True, False], None, {}, [1], [[1, 2]], [1e400, 2], [float("nan"), 2], [15, 1e308]],
)
@pytest.mark.parametrize("kind", ["Polygon", "MultiPolygon"])
def test_a_vertex_that_is_no_place_is_an_error(tmp_path, kind, vertex):
    rings = [[RING[0], vertex, *RING[1:]]]
    geometry = {"type": kind, "coordinates": rings if kind == "Polygon" else [rings]}
    with pytest.raises(DataError, match=r"feature 0: its coordinates can't be used; correct the feature"):
        read(write(tmp_path / "a.geojson", geometry))


def test_a_spoilt_polygon_does_not_end_the_interpreter(tmp_path):
    path = write(tmp_path / "a.geojson", {"type": "Polygon", "coordinates": [[*RING[:2], "x", *RING[2:]]]})
    code = f"from pathlib import Path; from test_polygons import read; read(Path({str(path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.returncode == 1
    assert "its coordinates can't be used" in done.stderr


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(anything, st.sampled_from(["Polygon", "MultiPolygon"]))
def test_any_coordinates_are_polygons_or_an_error(tmp_path_factory, coordinates, kind):
    path = write(tmp_path_factory.mktemp("any") / "a.geojson", {"type": kind, "coordinates": coordinates})
    try:
        found = read(path)
    except DataError:
        return
    assert np.isfinite(found.bounds).all()


@settings(max_examples=60, deadline=None)
@given(anything)
def test_any_geojson_is_polygons_or_an_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "a.geojson"
    path.write_text(json.dumps({"features": content, "crs": content}))
    with contextlib.suppress(DataError):
        read(path)


def test_an_open_ring_is_closed(tmp_path):
    closed = read(write(tmp_path / "a.geojson", {"type": "Polygon", "coordinates": [RING]}))
    opened = read(write(tmp_path / "b.geojson", {"type": "Polygon", "coordinates": [RING[:-1]]}))
    assert (closed.draw(GRID.transform, 100) == opened.draw(GRID.transform, 100)).all()


@pytest.mark.parametrize(
    "name",
    [
        "http://127.0.0.1:9/x",
        "ESRI::/etc/passwd",
        "/etc/passwd",
        "./a.wkt",
        "file:///a",
        "EPSG:4294971622",
        "urn:ogc:def:crs:EPSG::99999999999999",
        "[",
        "",
        "\ud800",
        None,
        5,
        {"a": 1},
    ],
)
def test_what_names_no_reference_system_is_never_opened(name):
    with pytest.raises(ValueError, match="no name of a coordinate reference system"):
        parse_crs(name)


@pytest.mark.parametrize(
    "name",
    ["EPSG:32633", "urn:ogc:def:crs:EPSG::32633", CRS.from_epsg(32633).to_wkt(), "+proj=utm +zone=33 +datum=WGS84"],
)
def test_reference_systems_are_found_by_their_names(name):
    assert parse_crs(name).to_epsg() in (32633, None)
    assert parse_crs(name).is_projected

"""Shapes are the same ones from every format, and what is no file of shapes is one clear error."""

import contextlib
import json
import struct

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from shapely.geometry import Point, box

from eofuse.data.reading.grid import Grid
from eofuse.data.reading.tables import GEOMETRY_PLACE, read_table_file
from eofuse.data.reading.vectors import BINARY_SUFFIXES, geometries_of, read_vectors
from eofuse.data.sources.scenes.polygons import read_polygons
from eofuse.data.targets.box_files import read_shapes
from eofuse.errors import DataError
from eofuse.modalities import Category

UTM = "EPSG:32633"
SHAPES = [box(500100, 5299700, 500300, 5299900), box(500500, 5299500, 500900, 5299600)]
CLASSES = ["oak", "beech"]
DRIVERS = {".gpkg": "GPKG", ".shp": "ESRI Shapefile", ".fgb": "FlatGeobuf", ".geojson": "GeoJSON", ".parquet": None}
GRID = Grid(CRS.from_epsg(32633), Affine(10, 0, 500_000, 0, -10, 5_300_000), 100, 100)
INDEX = pd.DataFrame({"patch_id": ["a"], "crs": [UTM], "ulx": 5e5, "uly": 5.3e6, "grid_a": 10.0, "grid_b": 0.0}).assign(
    grid_d=0.0, grid_e=-10.0, grid_width=100.0, grid_height=100.0
)


def write(path, shapes=SHAPES, crs=UTM, **options):
    """The shapes with a class and a number each, in the format of the path's ending."""
    geometries = np.array([None if each is None else shapely.to_wkb(each) for each in shapes], dtype=object)
    columns = {"class": np.array(CLASSES[: len(shapes)], dtype=object), "height": np.arange(len(shapes)) + 0.5}
    if path.suffix == ".parquet":
        about = {"encoding": "WKB", "geometry_types": [], "crs": pyproj.CRS(crs).to_json_dict()}
        geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": about}}
        table = pa.table({**columns, "geometry": pa.array(geometries.tolist(), pa.binary())})
        pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
        return path
    if path.suffix == ".geojson":
        options["RFC7946"] = "NO"
    kind = "Point" if isinstance(shapes[0], Point) else "Polygon"
    driver, fields = DRIVERS[path.suffix], list(columns)
    pyogrio.raw.write(
        path, geometries, list(columns.values()), fields, driver=driver, geometry_type=kind, crs=crs, **options
    )
    return path


@pytest.mark.parametrize("suffix", DRIVERS)
def test_every_format_gives_the_same_polygons_and_boxes(tmp_path, suffix):
    path = write(tmp_path / f"a{suffix}")
    drawn = read_polygons(path, "class", [Category(1, "oak"), Category(2, "beech")], 0, GRID).draw(GRID.transform, 100)
    expected = np.zeros((100, 100), np.uint8)
    expected[10:30, 10:30], expected[40:50, 50:90] = 1, 2
    assert (drawn == expected).all()
    boxes = read_shapes(path, INDEX, (100, 100))
    assert boxes.classes == ("beech", "oak")
    assert sorted(boxes.by_row[0].tolist()) == [[10, 10, 30, 30, 1], [50, 40, 90, 50, 0]]


@pytest.mark.parametrize("suffix", DRIVERS)
def test_every_format_is_a_table_with_places(tmp_path, suffix):
    table = read_table_file(write(tmp_path / f"a{suffix}", [Point(15.5, 47.25), Point(-60, -3)], "EPSG:4326"))
    assert table["class"].tolist() == CLASSES
    assert table["height"].tolist() == [0.5, 1.5]
    np.testing.assert_allclose(table[list(GEOMETRY_PLACE)], [[15.5, 47.25], [-60, -3]])


@pytest.mark.parametrize("suffix", [*BINARY_SUFFIXES, ".parquet", ".geojson"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_shapes_or_an_error(tmp_path, suffix, data):
    content = bytearray(write(tmp_path / f"a{suffix}").read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=6)):
        content[place] = data.draw(st.integers(0, 255))
    damaged = tmp_path / f"b{suffix}"
    for other in tmp_path.glob("a.*"):
        (tmp_path / f"b{other.suffix}").write_bytes(other.read_bytes())
    damaged.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(DataError):
        read_shapes(damaged, INDEX, (100, 100))
    with contextlib.suppress(DataError):
        read_table_file(damaged)


@pytest.mark.parametrize("suffix", BINARY_SUFFIXES)
def test_a_file_of_another_format_is_not_opened(tmp_path, suffix):
    (tmp_path / f"a{suffix}").write_text('<OGRVRTDataSource><OGRVRTLayer name="x"><SrcDataSource>/etc</SrcDataSource>')
    with pytest.raises(DataError, match=f"is no file of shapes such as {suffix} names"):
        read_vectors(tmp_path / f"a{suffix}")


def test_the_layer_must_be_clear(tmp_path):
    path = write(tmp_path / "a.gpkg", layer="first")
    write(path, layer="second", append=True)
    with pytest.raises(DataError, match="has 2 layers of shapes: first, second; write the one that is meant"):
        read_vectors(path)


@pytest.mark.parametrize("flags", [0, 0x20000000])
@pytest.mark.parametrize("kind", [4, 5, 6, 7, 1007])
def test_collections_without_end_are_an_error(tmp_path, kind, flags):
    """GEOS would end the interpreter."""
    inner = struct.pack("<BIdd", 1, 1, 0, 0)
    head = struct.pack("<BI", 1, kind | flags) + (b"\0" * 4 if flags else b"") + struct.pack("<I", 1)
    with pytest.raises(DataError, match=r"a, row 0: the geometry can't be read: it is nested too deeply"):
        geometries_of([head * 200_000 + inner], tmp_path / "a", "row")


def test_places_that_are_no_numbers_lie_nowhere(tmp_path):
    path = write(tmp_path / "a.gpkg", [Point(np.nan, np.nan), Point(1, 2)], "EPSG:4326")
    assert read_table_file(path)[GEOMETRY_PLACE[0]].isna().tolist() == [True, False]


def test_a_file_without_a_reference_system_says_so(tmp_path):
    write(tmp_path / "a.shp")
    (tmp_path / "a.prj").unlink()
    with pytest.raises(DataError, match="has no coordinate reference system; give it one"):
        read_vectors(tmp_path / "a.shp")


def test_a_damaged_reference_system_says_so(tmp_path):
    text = write(tmp_path / "a.shp").with_suffix(".prj").read_bytes()
    (tmp_path / "a.prj").write_bytes(text[:28] + b"\xff" + text[28:])
    with pytest.raises(DataError, match="its coordinate reference system is damaged"):
        read_vectors(tmp_path / "a.shp")


def test_a_large_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("EOFUSE_MAX_VECTOR_MB", "0.001")
    with pytest.raises(DataError, match="raise EOFUSE_MAX_VECTOR_MB"):
        read_vectors(write(tmp_path / "a.gpkg"))

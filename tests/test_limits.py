"""Small files that unpack to much are an error at once; the limits are options."""

import contextlib
import gzip
import json
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from eofuse.config import parse_yaml, read_yaml
from eofuse.data.reading.rasters import inspect_raster, reading_environment
from eofuse.data.reading.tables import read_table_file, to_numbers
from eofuse.data.reading.vectors import LONGITUDE_LATITUDE, centroids, geometries_of
from eofuse.data.sources.ben_ge.bands import read_band
from eofuse.data.targets.box_files import read_coco
from eofuse.errors import DataError, UsageError
from eofuse.files import parse_json, read_json
from eofuse.limits import LIMITS, RASTER

ONE_BLOCK = {"width": 30000, "height": 30000, "tiled": True, "blockxsize": 30000, "blockysize": 30000}


def tiff(path, padding=0, **options):
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "crs": "EPSG:32633", "SPARSE_OK": True}
    with rasterio.open(path, "w", **{**profile, "transform": Affine(10, 0, 5e5, 0, -10, 5e6), **options}):
        pass
    os.truncate(path, path.stat().st_size + padding)
    return path


def png(path, side):
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(side + 1)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: tiff(path, width=65000, height=65000, tiled=True), "is nearly empty and unpacks to 4,029 MB"),
        (
            lambda path: tiff(path, 1 << 20, **ONE_BLOCK),
            "unpacks to blocks of 858 MB",
        ),
        (lambda path: png(path, 30000), "unpacks to blocks of 858 MB"),
    ],
)
def test_a_raster_that_unpacks_to_much_is_an_error(tmp_path, make, words):
    path = make(tmp_path / "a.tif")
    with reading_environment(), pytest.raises(DataError, match=f"{words}.*raise EOFUSE_MAX_RASTER_MB"):
        inspect_raster(path, "a.tif")


def test_a_patch_that_unpacks_to_much_is_an_error(tmp_path):
    path = tiff(tmp_path / "a.tif", width=65000, height=65000, tiled=True)
    with reading_environment(), pytest.raises(DataError, match="unpacks to 4,029 MB"):
        read_band(path, "p", "B02", ["uint8"])


def test_a_limit_is_an_option(tmp_path, monkeypatch):
    path = tiff(tmp_path / "a.tif", **ONE_BLOCK)
    monkeypatch.setenv("EOFUSE_MAX_RASTER_MB", "1000")
    with reading_environment():
        assert inspect_raster(path, "a.tif").grid.width == 30000


@pytest.mark.parametrize("value", ["0", "-1", "nan", "many", ""])
def test_a_limit_that_is_no_size_is_an_error(monkeypatch, value):
    monkeypatch.setenv("EOFUSE_MAX_RASTER_MB", value)
    with pytest.raises(UsageError, match=r"EOFUSE_MAX_RASTER_MB: .*is no number of megabytes"):
        RASTER.check(1, "has", "a")


def test_limits_are_documented():
    text = Path("docs/data.md").read_text(encoding="utf-8")
    assert [limit.variable for limit in LIMITS if f"`{limit.variable}`" not in text] == []


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no such device")
def test_no_more_of_a_device_is_read_than_is_allowed(monkeypatch):
    monkeypatch.setenv("EOFUSE_MAX_JSON_MB", "0.01")
    with pytest.raises(DataError, match=r"/dev/zero: has 0 MB, more than the 0 MB that are allowed"):
        read_json("/dev/zero")


def test_a_text_of_any_size_is_refused_by_its_size(tmp_path):
    for name, read in (("a.yaml", read_yaml), ("a.json", read_json)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(5 * 10**9)
        with pytest.raises(DataError, match="has 4,768 MB, more than the"):
            read(tmp_path / name)
    with pytest.raises(DataError, match="raise EOFUSE_MAX_JSON_MB"):
        read_coco(tmp_path / "a.json", None, (1, 1))


ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(f'*{before}' for _ in range(9))}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ALIASES, "holds more than 100,000 values"),
        ("a: &a [*a]", "an alias holds itself"),
        ("a: " + "[" * 2000 + "]" * 2000, "is nested too deeply"),
        ("".join(f"{' ' * depth}a:\n" for depth in range(3000)), "is nested too deeply"),
        ("a: 2024-13-45", "'2024-13-45' is no value .*in quotes it is text"),
        ("a: 0x_", "'0x_' is no value"),
        ("a: " + "9" * 4500, "a long word is no value"),
        ("a: " + "9" * 400, "is too large a number"),
        ('a: "\\0"', "holds a control character"),
        ('a: "\\ud800"', "holds a control character"),
        ('a: "\\e[31m"', "holds a control character"),
        ("a: !!bool x", "'x' is no value"),
        ("a: !!timestamp x", "'x' is no value"),
    ],
)
def test_yaml_that_means_harm_is_an_error_that_names_the_line(text, words):
    with pytest.raises(UsageError, match=rf"spec\.yaml, line \d+: not valid YAML: .*{words}"):
        parse_yaml(text, "spec.yaml")


def test_aliases_may_be_used():
    assert parse_yaml("a: &a {x: [1]}\nb: *a") == {"a": {"x": [1]}, "b": {"x": [1]}}


@given(st.text(st.sampled_from(list("ab:-[]{}&*!|>'\"\\#%@,?~ \n0x1_.eT\0")), max_size=40))
def test_any_text_is_yaml_or_an_error(text):
    with contextlib.suppress(UsageError):
        parse_yaml(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("1" * 5000, "a whole number of 5000 digits is too large"),
        ("[-18446744073709551616]", "a whole number of 20 digits is too large"),
        (r'["\ud800"]', "surrogates not allowed"),
    ],
)
def test_json_that_no_file_can_mean_is_an_error(text, words):
    with pytest.raises(ValueError, match=words):
        parse_json(text)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(values, st.booleans())
def test_all_other_json_is_read(value, ascii_only):
    assert parse_json(json.dumps(value, ensure_ascii=ascii_only)) == value


def test_pixels_of_a_small_file_are_never_refused(tmp_path):
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=300, height=300, count=1, dtype="uint8", compress="deflate"
    ) as file:
        file.write(np.zeros((1, 300, 300), dtype=np.uint8))
    with reading_environment():
        assert inspect_raster(path, "a.tif").grid.width == 300


def test_a_compressed_table_that_unpacks_to_much_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("EOFUSE_MAX_TABLE_MB", "4")
    text = b"id,value\n" + b"a,1\n" * 2**18 + b"b,2\n" * 2
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text))
    with zipfile.ZipFile(tmp_path / "a.csv.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", text)
    (tmp_path / "a.csv").write_bytes(text)
    for name in ("a.csv.gz", "a.csv.zip", "a.csv"):
        with pytest.raises(DataError, match="raise EOFUSE_MAX_TABLE_MB"):
            read_table_file(tmp_path / name)


def test_a_compressed_table_is_read(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"id,value\na,1\n"))
    with zipfile.ZipFile(tmp_path / "a.csv.zip", "w") as archive:
        archive.writestr("a.csv", "id,value\na,1\n")
    for name in ("a.csv.gz", "a.csv.zip"):
        assert read_table_file(tmp_path / name).to_dict("records") == [{"id": "a", "value": 1}]


def test_a_parquet_table_that_unpacks_to_much_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("EOFUSE_MAX_TABLE_MB", "4")
    table = pyarrow.table({"a": pyarrow.nulls(2**20, pyarrow.int8())})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="unpacks to 8 MB"):
        read_table_file(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    "geo", [b"", b"[", b"[]", b"5", b"{}", b'{"primary_column": "a", "columns": {"a": {"encoding": "WKB", "crs": 5}}}']
)
def test_what_a_table_says_of_its_geometry_may_be_anything(tmp_path, geo):
    schema = pyarrow.schema([("a", pyarrow.binary())], metadata={b"geo": geo})
    pyarrow.parquet.write_table(pyarrow.table({"a": [b"\0"]}, schema=schema), tmp_path / "a.parquet")
    with pytest.raises(DataError):
        read_table_file(tmp_path / "a.parquet")


@given(st.binary(max_size=60))
def test_any_bytes_are_a_geometry_or_an_error(content):
    with contextlib.suppress(DataError):
        geometries = geometries_of([content], Path("a"), "row")
        assert centroids(geometries, LONGITUDE_LATITUDE, Path("a")).shape == (1, 2)


@given(st.text(st.sampled_from(list('ab,;"\n\t| \r\0é1.-')), max_size=60))
def test_any_text_is_a_table_or_an_error(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text(text, encoding="utf-8", newline="")
    with contextlib.suppress(DataError):
        assert len(read_table_file(path))


@pytest.mark.parametrize("cell", ["1" * 400, "-" + "1" * 400, "1e400", "inf"])
def test_numbers_beyond_every_range_are_named_as_none(cell):
    values, wrong = to_numbers(pd.Series(["1", cell, None], dtype="string"))
    assert wrong.tolist() == [1]
    assert values[0] == 1

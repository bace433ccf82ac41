"""The headers of a table's files are looked at once, in several processes if wanted, and again after anything has changed."""

import os

import numpy as np
import pytest

from eofuse.data.sources.table import rasters, survey
from eofuse.data.sources.table.source import open_table_spec


@pytest.fixture
def looks(monkeypatch, tmp_path):
    """Every survey is remembered; the paths of the files that were opened."""
    monkeypatch.setattr(survey, "FEWEST_REMEMBERED", 1)
    monkeypatch.setattr(survey, "AT_ONCE", 2)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    seen, original = [], rasters.inspect_file
    monkeypatch.setattr(rasters, "inspect_file", lambda path, where, part: seen.append(path) or original(path, where))
    return seen


@pytest.fixture
def table(mine):
    for number in range(6):
        mine.write(f"dem/p{number}.tif", np.ones((1, 4, 4), np.int16), pixel=20.0)
    mine.spec["modalities"]["dem"] = {"kind": "raster", "files": "dem/{id}.tif", "nodata": -1}
    return mine


def test_files_that_were_looked_at_are_not_opened_again(table, looks):
    first = table.open()
    count = len(looks)
    assert count > 12
    again = table.open()
    assert len(looks) == count + 2  # the first row's, of which the modalities are made
    assert again.fingerprint == first.fingerprint
    assert again.index.equals(first.index)
    assert again.provenance == first.provenance


def change_pixels(table):
    table.write("dem/p3.tif", np.ones((1, 8, 8), np.int16), pixel=10.0)


def change_time(table):
    os.utime(table.path / "dem/p3.tif", ns=(1, 1))


def add_sidecar(table):
    (table.path / "dem/p3.tfw").write_text("20\n0\n0\n-20\n600000\n5200000\n")


def change_spec(table):
    table.spec["size"] = 4


@pytest.mark.parametrize("change", [change_pixels, change_time, add_sidecar, change_spec])
def test_what_has_changed_is_looked_at_again(table, looks, change):
    table.open()
    change(table)
    looks.clear()
    table.open()
    assert len(looks) > 12


def test_a_sidecar_that_changes_in_place_is_read_again(table, looks):
    sidecar = table.path / "dem/p3.tif.aux.xml"
    sidecar.write_text("<PAMDataset><Metadata><MDI key='a'>1</MDI></Metadata></PAMDataset>")
    table.open()
    count = len(looks)
    table.open()
    assert len(looks) < count + 12
    sidecar.write_text("<PAMDataset><Metadata><MDI key='a'>12</MDI></Metadata></PAMDataset>")
    count = len(looks)
    table.open()
    assert len(looks) > count + 12


def test_a_survey_with_an_error_is_not_remembered(table, looks):
    (table.path / "dem/p3.tif").write_bytes(b"no raster")
    found = [table.open().problems for _ in range(2)]
    assert [str(problem) for problem in found[0]] == [str(problem) for problem in found[1]]
    assert any("not a readable" in problem.what for problem in found[0])
    assert len(looks) > 24


def test_a_damaged_memory_is_none(table, looks, tmp_path):
    table.open()
    for file in (tmp_path / "cache").rglob("*.z"):
        file.write_bytes(b"\x78\x01")
    looks.clear()
    assert len(table.open().index) == 6
    assert len(looks) > 12


def test_processes_see_the_same(table, looks):
    spec = table.save()
    alone, together = (open_table_spec(spec, ["reference=optical"], workers=workers) for workers in (1, 2))
    assert together.fingerprint == alone.fingerprint
    assert together.index.equals(alone.index)


def test_memory_that_can_not_be_written_is_no_error(table, looks, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(table.open().index) == 6

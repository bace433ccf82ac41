"""Patches around labels, from a catalogue of real pixels, near and on the loopback."""

import pydoc
import shutil

import numpy as np
import pandas as pd
import pytest
import rasterio
import yaml

import eofuse
from eofuse.cli import main
from eofuse.data.collect.run import collect
from eofuse.data.store import read_description
from eofuse.errors import DataError, UsageError
from scene_archive import BANDS, CORNER, degrees, tiles

SIZE = 32
NETWORK = {"tries": 3, "pause": 0.02, "timeout": 1}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A table of a place in each tile, one where four tiles meet, and one on ±180°."""
    rows = []
    for name, (crs, left, top, _) in tiles().items():
        lon, lat = degrees(crs, left + 1000, top - 1000)
        rows.append((name, lon, lat, "wheat" if name.startswith("33") else "maize", "2023-07-11"))
    rows.append(("corner", *degrees("EPSG:32633", *CORNER), "wheat", "2023-07-11"))
    rows.append(("line", 180.0, -17.0, "maize", "2023-07-11"))
    path = tmp_path_factory.mktemp("labels") / "places.csv"
    pd.DataFrame(rows, columns=["id", "lon", "lat", "crop", "surveyed"]).to_csv(path, index=False)
    return path


def spec_of(catalogue, places, **changes):
    s2 = {"stac": str(catalogue), "collection": "s2-l2a", "assets": list(BANDS), "cloud": 50}
    spec = {
        "name": "fields",
        "labels": {"file": str(places), "property": "crop"},
        "patch": {"size": SIZE, "resolution": 10},
        "time": {"column": "surveyed", "within": "30 days"},
        "modalities": {"s2": s2, "elevation": {"stac": str(catalogue), "collection": "dem", "time": "any"}},
        "network": NETWORK,
    }
    return {**spec, **changes}


@pytest.fixture(scope="module")
def collected(archive, places, tmp_path_factory):
    """The store of all places, over the loopback."""
    return collect(spec_of(archive.url, places), tmp_path_factory.mktemp("made") / "fields.store")


def true_pixels(archive, place, crs, left, top, size=SIZE):
    """Pixels of the tiles in a system, the first tile in front, 0 where there is none."""
    found = np.zeros((len(BANDS), size, size), dtype="uint16")
    for name, (system, *_) in tiles().items():
        if system != crs:
            continue
        for number, band in enumerate(BANDS):
            with rasterio.open(archive.folder / f"s2/S2_{name}_20230710/{band}.tif") as file:
                row, column = (round(each) for each in file.index(left, top, op=lambda value: value))
                window = rasterio.windows.Window(column, row, size, size)
                values = file.read(1, window=window, boundless=True, fill_value=0)
            found[number] = np.where(found[number] == 0, values, found[number])
    return found


def test_pixels_are_those_of_the_files_in_every_zone_and_where_tiles_meet(collected, archive):
    store = collected.store
    assert sorted(set(store.index["crs"])) == ["EPSG:32633", "EPSG:32701", "EPSG:32718", "EPSG:32760"]
    for row, patch in store.index.iterrows():
        if patch["patch_id"] == "line":
            continue
        expected = true_pixels(archive, patch["patch_id"], patch["crs"], patch["ulx"], patch["uly"])
        assert np.array_equal(store.read("s2", [row])[0], expected), patch["patch_id"]
    corner = store.index.set_index("patch_id").loc["corner"]
    assert len(corner["items.s2"].split()) == 4
    assert corner["nodata.s2"] == 0


def test_a_place_on_180_degrees_takes_the_other_side_from_the_neighbouring_zone(collected, archive):
    store = collected.store
    row = int(np.flatnonzero(store.index["patch_id"] == "line")[0])
    patch, values = store.index.iloc[row], store.read("s2", [row])[0]
    assert set(patch["items.s2"].split()) == {"S2_60S_20230710", "S2_01S_20230710"}
    own = true_pixels(archive, "line", patch["crs"], patch["ulx"], patch["uly"])
    is_own = own > 0
    assert 0.3 < is_own.mean() < 0.7
    assert np.array_equal(values[is_own], own[is_own])
    assert (values > 0).mean() > 0.98  # what is left is the seam between tiles whose edges are not parallel


def test_the_index_says_where_when_and_from_what(collected):
    index = collected.store.index.set_index("patch_id")
    assert index.loc["33NW", "items.s2"] == "S2_33NW_20230710"
    assert index.loc["33NW", "time_s2"] == "2023-07-10T10:10:31"
    assert index.loc["33NW", "cloud.s2"] == pytest.approx(0.04)
    assert index.loc["33NW", "crop"] == "wheat"
    assert index.loc["33NW", "time"] == "2023-07-11T00:00:00"
    assert collected.store.provenance["labels"] == {"crop": "class"}
    assert collected.store.modalities["s2"].attribution == "TerraMesh, CC-BY-SA-4.0"
    assert index.loc["33NW", "scene"] == index.loc["corner", "scene"] != index.loc["18S", "scene"]
    assert collected.missing is None


def test_averages_are_of_full_resolution_whatever_overviews_say(archive, places, tmp_path):
    spec = spec_of(archive.path, places, patch={"size": 8, "resolution": 40})
    store = collect(spec, tmp_path / "coarse.store").store
    for row, patch in store.index.iterrows():
        if patch["patch_id"] in ("line", "01S"):
            continue
        fine = true_pixels(archive, patch["patch_id"], patch["crs"], patch["ulx"], patch["uly"], 32).astype(float)
        means = fine.reshape(len(BANDS), 8, 4, 8, 4).mean(axis=(2, 4))
        assert np.abs(store.read("s2", [row])[0] - means).max() <= 0.5


def test_the_same_command_again_does_nothing(collected, archive, places):
    archive.server.requests.clear()
    again = collect(spec_of(archive.url, places), collected.store.path)
    assert again.store.fingerprint == collected.store.fingerprint
    assert archive.server.requests == []


def test_a_store_of_something_else_is_not_replaced(collected, archive, places):
    with pytest.raises(UsageError, match="exists and holds other data"):
        collect(spec_of(archive.url, places, name="other"), collected.store.path)


def test_the_command_collects_and_says_what_is_missing(archive, places, tmp_path, capsys):
    spec = spec_of(archive.path, places)
    spec["modalities"]["s1"] = {
        "stac": str(archive.path),
        "collection": "s1-rtc",
        "assets": {"both": ["VV", "VH"]},
        "decibels": True,
    }
    (tmp_path / "collect.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    assert main(["collect", str(tmp_path / "collect.yaml"), str(tmp_path / "a.store"), "-q"]) == 0
    said = capsys.readouterr().out
    assert "a.store: 9 patches, s2, elevation, s1" in said
    assert "0 assets that could not be read, 4 modalities of patches without an item" in said
    missing = pd.read_csv(tmp_path / "a.store.missing.csv")
    assert set(missing["patch_id"]) == {"18S", "60S", "01S", "line"}
    assert set(missing["reason"]) == {"no item shows the place"}
    store = eofuse.open_store(tmp_path / "a.store")
    with rasterio.open(archive.folder / "s1/33NW.tif") as file:
        power = file.read(window=rasterio.windows.Window(84, 84, SIZE, SIZE))
    row = int(np.flatnonzero(store.index["patch_id"] == "33NW")[0])
    assert np.allclose(store.read("s1", [row])[0], 10 * np.log10(power), atol=1e-4)


def test_what_cannot_be_reached_is_retried_or_listed(archive, places, tmp_path, collected):
    broken = "/s2/S2_18S_20230710/B03.tif"
    faults = {
        "/s2/S2_33NW_20230710/B02.tif": [503, 503],
        "/s2/S2_33NE_20230710/B03.tif": [None, "cut", "cut"],
        "/s2/S2_33SW_20230710/B04.tif": ["slow"],
        "/dem/collection.json": [503],
        broken: [500] * 1000,
    }
    with archive.server.failing(faults):
        done = collect(spec_of(f"{archive.server.anew()}/catalog.json", places), tmp_path / "f.store")
    assert done.failed == 1
    listed = pd.read_csv(done.missing)
    assert listed[["patch_id", "modality", "asset"]].values.tolist() == [["18S", "s2", "B03"]]
    assert listed["address"][0].endswith(broken)
    assert "after 3 tries: the server answers 500" in listed["reason"][0]
    whole = np.ones(len(done.store), dtype=bool)
    row = int(np.flatnonzero(done.store.index["patch_id"] == "18S")[0])
    whole[row] = False
    every = np.arange(len(done.store))
    assert np.array_equal(done.store.read("s2", every[whole]), collected.store.read("s2", every[whole]))
    assert (done.store.read("s2", [row])[0, 1] == 0).all()  # its nodata


def test_a_missing_file_is_listed_at_once(archive, places, tmp_path):
    moved = archive.folder / "s2/S2_60S_20230710/B02.tif"
    shutil.move(moved, tmp_path / "away.tif")
    try:
        done = collect(spec_of(archive.path, places), tmp_path / "f.store")
    finally:
        shutil.move(tmp_path / "away.tif", moved)
    listed = pd.read_csv(done.missing)
    assert set(listed["patch_id"]) == {"60S", "line"}
    assert listed["reason"][0].startswith("file missing")


def test_a_network_that_is_down_ends_the_command(archive, places, tmp_path, monkeypatch):
    monkeypatch.setattr("eofuse.data.collect.portions.MOST_FAILURES", 3)
    dead = {f"/s2/S2_{name}_20230710/{band}.tif": [503] * 1000 for name in tiles() for band in BANDS[1:]}
    spec = spec_of(f"{archive.server.anew()}/catalog.json", places)
    found = r"one after another can't be reached.*run the same command again"
    with archive.server.failing(dead), pytest.raises(DataError, match=found):
        collect(spec | {"network": NETWORK | {"tries": 1, "connections": 1}}, tmp_path / "f.store")
    assert collect(spec, tmp_path / "f.store").failed == 0


@pytest.mark.parametrize("place", ["partial.PartialStore.append", "run.write_text", "run.move_into_place"])
def test_a_collection_that_is_killed_anywhere_goes_on_to_the_same_store(
    place, archive, places, collected, tmp_path, monkeypatch
):
    module = "eofuse.data.store" if place.startswith("partial") else "eofuse.data.collect"
    name = f"{module}.{place}"
    calls = []

    original = pydoc.locate(name)

    def killed(*args, **kwargs):
        calls.append(None)
        if len(calls) == (1 if place.endswith("place") else 3):
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    spec = spec_of(archive.path, places)
    with monkeypatch.context() as patched:
        patched.setattr(name, killed)
        with pytest.raises(KeyboardInterrupt):
            collect(spec, tmp_path / "killed.store")
    assert not (tmp_path / "killed.store").exists()
    store = collect(spec, tmp_path / "killed.store").store
    assert store.fingerprint == collected.store.fingerprint
    ours, theirs = (read_description(each.path) for each in (store, collected.store))
    assert ours["files"] == theirs["files"]
    assert [path.name for path in tmp_path.iterdir()] == ["killed.store"]

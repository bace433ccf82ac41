"""Points on a map: strata, allocation, the frame, what the labeller sees, and each wrong input."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
from fake_class_map import NAMES, write_learned, write_map
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import from_origin

import eofuse
from eofuse.areas.classmap import open_map
from eofuse.areas.frame import CONFIDENCES, Frame, take_census
from eofuse.areas.ground import PixelAreas
from eofuse.areas.strata import ALLOCATIONS, WAYS, Strata, allocate
from eofuse.data.reading.grid import Grid
from eofuse.errors import DataError, UsageError
from eofuse.locks import writing


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_map(tmp_path_factory.mktemp("small"))


def design_of(points) -> dict:
    return json.loads(points.with_name(f"{points.stem}.design.json").read_text())


@pytest.mark.parametrize("by", ["class", "confidence", "class-confidence", "none"])
@pytest.mark.parametrize("allocation", list(ALLOCATIONS))
def test_points_lie_in_their_strata_with_the_chance_that_is_said(small, tmp_path, by, allocation):
    drawn = eofuse.sample_map(small.path, tmp_path / "p.geojson", 60, by=by, allocation=allocation)
    design = design_of(drawn.points)
    table = pd.DataFrame(design["points"])
    assert len(table) == drawn.strata["points"].sum() == 60
    assert drawn.strata["pixels"].sum() == (small.mapped != 255).sum()
    assert (table["map_code"] == small.mapped[table["row"], table["column"]]).all()
    for row in drawn.strata.to_dict("records"):
        own = table[table["stratum"] == row["name"]]
        assert len(own) == row["points"] >= 2
        assert np.allclose(own["inclusion"], row["points"] / row["pixels"])
        if by == "class":
            assert set(own["map_class"]) == {row["name"]}


def test_the_labellers_file_does_not_tell_what_the_map_says(small, tmp_path):
    for ending in ("gpkg", "geojson", "csv"):
        drawn = eofuse.sample_map(small.path, tmp_path / f"blind-{ending}.{ending}", 30, label="cover")
        content = drawn.points.read_bytes()
        assert not any(name.encode() in content for name in NAMES.values())
    design = design_of(drawn.points)
    assert [each["id"] for each in design["points"]] == sorted(each["id"] for each in design["points"])
    strata = [each["stratum"] for each in design["points"]]
    assert strata != sorted(strata)
    table = pd.read_csv(tmp_path / "blind-csv.csv")
    assert list(table) == ["id", "lon", "lat", "cover"]
    assert table["cover"].isna().all()


def test_points_are_centres_of_pixels_in_every_format(small, tmp_path):
    gpkg = eofuse.sample_map(small.path, tmp_path / "p.gpkg", 30)
    meta, _, geometries, (ids, label) = pyogrio.raw.read(gpkg.points)
    assert list(meta["fields"]) == ["id", "class"]
    assert meta["crs"] == "EPSG:32633"
    assert all(each is None for each in label)
    design = {each["id"]: each for each in design_of(gpkg.points)["points"]}
    grid = open_map(small.path).file.grid
    for name, geometry in zip(ids, geometries, strict=True):
        x, y = np.frombuffer(geometry[5:], dtype=np.float64)
        assert grid.pixel_at(x, y) == (design[name]["column"] + 0.5, design[name]["row"] + 0.5)
    csv = eofuse.sample_map(small.path, tmp_path / "q.csv", 30)
    table = pd.read_csv(csv.points)
    assert design_of(csv.points)["points"] == design_of(gpkg.points)["points"]
    assert table["lon"].between(14.9, 15.1).all()


def test_one_seed_gives_the_same_files_and_another_one_other_points(small, tmp_path):
    first = eofuse.sample_map(small.path, tmp_path / "a.gpkg", 30, seed=3)
    again = eofuse.sample_map(small.path, tmp_path / "b.gpkg", 30, seed=3)
    other = eofuse.sample_map(small.path, tmp_path / "c.gpkg", 30, seed=4)
    assert first.points.read_bytes() == again.points.read_bytes()
    assert first.design.read_bytes() == again.design.read_bytes()
    assert design_of(first.points)["points"] != design_of(other.points)["points"]


def test_every_pixel_of_a_stratum_has_the_same_chance(tmp_path):
    fake = write_map(tmp_path, (24, 10), beside=False)
    hits = np.zeros(fake.mapped.shape)
    for seed in range(60):
        drawn = eofuse.sample_map(fake.path, tmp_path / "p.csv", 40, by="none", seed=seed, overwrite=True)
        for each in design_of(drawn.points)["points"]:
            hits[each["row"], each["column"]] += 1
    chance = 40 / (fake.mapped != 255).sum()
    expected = 60 * chance
    assert hits[:4].sum() == 0
    deviation = (hits[4:] - expected) ** 2 / (expected * (1 - chance))
    assert deviation.mean() == pytest.approx(1, abs=0.35)


def test_pixels_where_the_model_learned_are_not_drawn(tmp_path):
    fake = write_map(tmp_path, tags={"learned_from": "known"})
    x, y = fake.transform.c, fake.transform.f
    write_learned(tmp_path, [(x, y - 500, x + 800, y), (x + 104, y - 626, x + 116, y - 614)])
    drawn = eofuse.sample_map(fake.path, tmp_path / "p.csv", 200)
    table = pd.DataFrame(design_of(drawn.points)["points"])
    assert table["row"].min() >= 50
    assert not ((table["row"] == 61) & (table["column"] == 10)).any()  # the one whose centre lies in the second
    assert drawn.strata["pixels"].sum() == 40 * 80 - 4
    assert "where the model learned" in drawn.frame
    free = eofuse.sample_map(fake.path, tmp_path / "q.csv", 200, with_training_areas=True)
    assert free.strata["pixels"].sum() == 86 * 80
    assert any("where the model learned" in note for note in free.notes)


def test_training_areas_may_have_any_reference_system(tmp_path):
    fake = write_map(tmp_path)
    write_learned(tmp_path, [(14.9, 45.1505, 15.2, 45.3)], crs="EPSG:4326")
    census = take_census(Frame(open_map(fake.path)))
    assert 0 < census.left_out_pixels < 86 * 80
    assert census.left_out_pixels % 80 < 5  # a cut along a parallel, nearly a row


def test_it_is_said_when_training_areas_are_not_known(tmp_path):
    fake = write_map(tmp_path, tags={})
    drawn = eofuse.sample_map(fake.path, tmp_path / "p.csv", 20)
    assert "not known which areas the model learned from" in drawn.frame


def test_a_map_on_which_the_model_learned_nowhere_is_sampled_everywhere(tmp_path):
    fake = write_map(tmp_path, tags={"learned_from": "known"})
    drawn = eofuse.sample_map(fake.path, tmp_path / "p.csv", 20)
    assert "learned" not in " ".join([drawn.frame, *drawn.notes])


def test_maps_of_several_targets_share_the_training_areas(tmp_path):
    fake = write_map(tmp_path)
    write_learned(tmp_path, [(0, 0, 6e5, 4_999_500)])
    path = fake.path.rename(tmp_path / "map.land_cover.tif")
    assert open_map(path).learned == tmp_path / "map.learned.gpkg"
    drawn = eofuse.sample_map(path, tmp_path / "p.csv", 20)
    assert "not known which areas" in drawn.frame  # the tag says that these may not be all
    assert drawn.strata["pixels"].sum() == 46 * 80


def test_a_note_on_the_map_is_repeated(tmp_path):
    fake = write_map(tmp_path, tags={"note": "made from simulated data; says nothing about the Earth"})
    drawn = eofuse.sample_map(fake.path, tmp_path / "p.csv", 20)
    assert any("simulated data; says nothing about the Earth" in note for note in drawn.notes)
    assert design_of(drawn.points)["map_tags"]["note"].startswith("made from simulated data")


@given(
    st.lists(st.integers(1, 10_000), min_size=1, max_size=12),
    st.integers(2, 400),
    st.sampled_from(list(ALLOCATIONS)),
    st.none() | st.integers(2, 20),
)
def test_allocations_sum_to_n_within_their_limits(pixels, n, allocation, smallest):
    sizes = np.array(pixels)
    names = tuple(map(str, range(len(sizes))))
    strata = Strata(names, sizes, sizes * 100.0, np.full(len(sizes), 0.8), np.zeros(CONFIDENCES, dtype=np.int16))
    least = int(np.minimum(sizes, smallest or 2).sum())
    if not least <= n <= sizes.sum():
        with pytest.raises(UsageError):
            allocate(strata, n, allocation, smallest)
        return
    found = allocate(strata, n, allocation, smallest)
    assert found.sum() == n
    assert (found >= np.minimum(sizes, smallest or 2)).all()
    assert (found <= sizes).all()


def test_areas_of_latitude_and_longitude_are_those_of_the_ellipsoid(tmp_path):
    from pyproj import Geod

    fake = write_map(tmp_path, (90, 80), crs="EPSG:4326", transform=from_origin(10, 60, 0.5, 0.5), beside=False)
    areas = PixelAreas(open_map(fake.path).file.grid).of_rows(0, 90)[:, 0]
    for row in (0, 40, 89):
        top, bottom = 60 - row / 2, 59.5 - row / 2
        along = np.linspace(0, 0.5, 200)
        longitudes, latitudes = np.r_[along, along[::-1]], np.r_[np.full(200, bottom), np.full(200, top)]
        expected, _ = Geod(ellps="WGS84").polygon_area_perimeter(longitudes, latitudes)
        assert areas[row] == pytest.approx(expected, rel=1e-5)
    census = take_census(Frame(open_map(fake.path)))
    assert census.areas.sum() == pytest.approx(80 * areas[4:].sum())


@pytest.mark.parametrize(
    ("code", "x", "y"),
    [
        ("EPSG:32633", 200_000, 5_500_000),
        ("EPSG:32660", 828_000, 1_000_000),
        ("EPSG:3857", 1_500_000, 6_000_000),
        ("EPSG:2263", 1e6, 2e5),
    ],
)
def test_areas_of_projections_are_those_of_the_ellipsoid(code, x, y):
    from pyproj import CRS, Transformer

    crs = CRS(code)
    grid = Grid(rasterio.CRS.from_user_input(code), from_origin(x, y, 100, 100), 40, 50)
    areas = PixelAreas(grid)
    edge = np.linspace(0, 1, 60)
    corners = [(0, 0), (4000, 0), (4000, -5000), (0, -5000), (0, 0)]
    outline = np.concatenate([np.outer(1 - edge, a) + np.outer(edge, b) for a, b in pairwise(corners)])
    lon, lat = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(
        x + outline[:, 0], y + outline[:, 1]
    )
    expected = abs(crs.get_geod().polygon_area_perimeter(lon, lat)[0])
    assert areas.of_rows(0, 50).sum() == pytest.approx(expected, rel=1e-5)
    rows, columns = np.array([3, 49]), np.array([39, 0])
    assert np.allclose(areas.at(rows, columns), areas.of_rows(0, 50)[rows, columns])


def test_a_foreign_map_has_codes_or_given_names(tmp_path):
    fake = write_map(tmp_path, tags={}, beside=False)
    with rasterio.open(fake.path) as old:
        profile, values = old.profile, old.read(1)
    path = tmp_path / "foreign.tif"
    profile["dtype"], profile["nodata"] = "int32", -1
    with rasterio.open(path, "w", **profile) as new:
        new.write(np.where(values == 255, -1, values.astype(np.int32) * 100), 1)
    drawn = eofuse.sample_map(path, tmp_path / "p.csv", 20)
    assert drawn.strata["name"].tolist() == ["100", "300", "400"]
    (tmp_path / "names.yaml").write_text("100: sea\n300: wood\n")
    named = eofuse.sample_map(path, tmp_path / "q.csv", 20, classes=tmp_path / "names.yaml")
    assert named.strata["name"].tolist() == ["sea", "wood", "400"]


def test_wrong_options_are_refused(small, tmp_path):
    for options, message in [
        ({"n": 5}, "each needs 2"),
        ({"n": 10**7}, "more than the 6,880 pixels"),
        ({"n": 60, "smallest": 30}, "at most 20"),
        ({"n": 60, "smallest": 1}, "no variance"),
        ({"by": "clas"}, "did you mean 'class'"),
        ({"allocation": "neymann"}, "did you mean 'neyman'"),
        ({"label": "id"}, "can't be the name"),
        ({"label": "geometry"}, "can't be the name"),
        ({"seed": -1}, "choose 0 or more"),
        ({"classes": {1: "a", 3: "a"}}, "one name"),
    ]:
        with pytest.raises(UsageError, match=message):
            eofuse.sample_map(small.path, tmp_path / "p.csv", **options)
    with pytest.raises(UsageError, match=r"not written as '\.shp'"):
        eofuse.sample_map(small.path, tmp_path / "p.shp")
    assert not list(tmp_path.glob("p*"))


def test_strata_of_confidence_need_confidence(tmp_path):
    fake = write_map(tmp_path, beside=False)
    with pytest.raises(UsageError, match=r"map\.confidence\.tif"):
        eofuse.sample_map(fake.path, tmp_path / "p.csv", by="confidence")


def test_points_that_exist_are_kept_unless_told(small, tmp_path):
    path = eofuse.sample_map(small.path, tmp_path / "p.csv", 20).points
    eofuse.sample_map(small.path, path, 20)  # the same sample, without labels: nothing is lost
    with pytest.raises(UsageError, match="exists"):
        eofuse.sample_map(small.path, path, 20, seed=1)
    path.write_text(path.read_text().replace(",\n", ",water\n"))
    with pytest.raises(UsageError, match="labels in it are lost"):
        eofuse.sample_map(small.path, path, 20)
    eofuse.sample_map(small.path, path, 20, overwrite=True)


def test_two_processes_do_not_write_one_file(small, tmp_path):
    import subprocess
    import sys

    command = [sys.executable, "-m", "eofuse.cli", "sample", str(small.path), "-o", str(tmp_path / "p.csv")]
    with writing(tmp_path / "p.csv"):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "another process is at work" in done.stderr


def test_maps_that_are_none_are_refused(tmp_path):
    missing = tmp_path / "no.tif"
    with pytest.raises(DataError, match="no such map"):
        eofuse.sample_map(missing, tmp_path / "p.csv")
    profile = {"driver": "GTiff", "height": 40, "width": 40, "transform": from_origin(5e5, 5e6, 10, 10)}
    zone = {**profile, "crs": "EPSG:32633"}
    cases = [
        ({**profile, "count": 1, "dtype": "uint8"}, np.ones((1, 40, 40)), "no coordinate reference system"),
        ({**zone, "count": 2, "dtype": "uint8"}, np.ones((2, 40, 40)), "2 bands"),
        ({**zone, "count": 1, "dtype": "float32"}, np.ones((1, 40, 40)), "whole numbers"),
        ({**zone, "count": 1, "dtype": "uint8", "nodata": 1}, np.ones((1, 40, 40)), "no pixel has a class"),
        ({**zone, "count": 1, "dtype": "uint16"}, np.arange(1600).reshape(1, 40, 40), "more than 250 classes"),
        ({**zone, "count": 1, "dtype": "int16"}, np.full((1, 40, 40), -3), "codes of classes are 0 to"),
    ]
    for number, (options, values, message) in enumerate(cases):
        path = tmp_path / f"{number}.tif"
        with rasterio.open(path, "w", **options) as file:
            file.write(values.astype(options["dtype"]))
        with pytest.raises(DataError, match=message):
            eofuse.sample_map(path, tmp_path / "p.csv")


def test_files_beside_the_map_must_lie_on_it(tmp_path):
    fake = write_map(tmp_path)
    (tmp_path / "other").mkdir()
    write_map(tmp_path / "other", (90, 70))
    (tmp_path / "other" / "map.confidence.tif").replace(tmp_path / "map.confidence.tif")
    with pytest.raises(DataError, match=r"other pixels than map\.tif"):
        eofuse.sample_map(fake.path, tmp_path / "p.csv")


def test_a_class_whose_code_is_the_name_of_another_has_a_name_of_its_own(tmp_path):
    found = replace(open_map(write_map(tmp_path).path), declared={1: "3"})
    assert [found.name(code) for code in (1, 3, 4)] == ["3", "code 3", "4"]


def test_files_beside_the_map_must_be_of_its_model(tmp_path):
    fake = write_map(tmp_path)
    for name, digest in (("map.tif", "a1"), ("map.probabilities.tif", "b2")):
        with rasterio.open(tmp_path / name, "r+") as file:
            file.update_tags(model_sha256=digest)
    with pytest.raises(DataError, match=r"another model than map\.tif"):
        eofuse.sample_map(fake.path, tmp_path / "p.csv")


def test_the_command_offers_every_way_and_allocation():
    from eofuse.cli.parser import make_parser

    parser = make_parser()
    for option, names in (("--by", WAYS), ("--allocation", ALLOCATIONS)):
        for name in names:
            assert parser.parse_args(["sample", "map.tif", option, name])
        with pytest.raises(SystemExit):
            parser.parse_args(["sample", "map.tif", option, "nothing"])

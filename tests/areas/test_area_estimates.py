"""From a map and labelled points to areas: files, refusals, the page, the command, real data."""

import csv
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import rasterio
from fake_class_map import NAMES, write_learned, write_map
from rasterio.transform import from_origin

import eofuse
from eofuse.areas.page import answer
from eofuse.areas.points import class_of_labels
from eofuse.cli import main
from eofuse.errors import DataError, UsageError

SIMULATED = "made from simulated data; says nothing about the Earth"


def hectares(fake, codes: np.ndarray) -> dict[str, float]:
    """Area of each class on a map in UTM near its central meridian, where 10 m of the plane are 10.004 m of ground."""
    return {name: float((codes == code).sum()) * 0.01 * 1.0008 for code, name in NAMES.items()}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A map, and points with labels."""
    folder = tmp_path_factory.mktemp("labelled")
    fake = write_map(folder, (120, 110))
    points = fake.label(eofuse.sample_map(fake.path, folder / "p.geojson", 200).points)
    return fake, points


@pytest.fixture(scope="module")
def estimates(labelled):
    fake, points = labelled
    return eofuse.estimate_area(fake.path, points)


@pytest.fixture
def copied(labelled, tmp_path):
    """The same, in a folder of the test's own."""
    _, points = labelled
    shutil.copytree(points.parent, tmp_path / "copy")
    return tmp_path / "copy" / "map.tif", tmp_path / "copy" / "p.geojson"


def change(points, edit) -> None:
    content = json.loads(points.read_text())
    edit(content["features"])
    points.write_text(json.dumps(content))


def test_areas_lie_near_the_truth_and_those_of_the_map_are_counted(labelled, estimates):
    fake, _ = labelled
    truth, mapped = hectares(fake, fake.truth), hectares(fake, fake.mapped)
    for row in estimates.classes.to_dict("records"):
        name = row["class"]
        assert row["mapped_ha"] == pytest.approx(mapped[name], rel=1e-4)
        assert row["area_low_ha"] - 3 < truth[name] < row["area_high_ha"] + 3
        assert row["area_low_ha"] < row["area_ha"] < row["area_high_ha"]
        assert abs(row["assisted_ha"] - truth[name]) < 3.5 * row["assisted_error_ha"]
    assert (
        estimates.classes["area_ha"].sum()
        == pytest.approx(estimates.hectares)
        == pytest.approx(sum(mapped.values()), rel=1e-4)
    )
    assert estimates.matrix.to_numpy().sum() == pytest.approx(1)
    right = (fake.mapped == fake.truth)[fake.mapped != 255].mean()
    assert abs(estimates.overall["value"] - right) < 3.5 * estimates.overall["error"]


def test_probabilities_are_worth_labels(estimates):
    assert estimates.helper == "probabilities"
    assert (estimates.classes["worth_labels"] > 0).all()
    assert estimates.overall["assisted"]["worth_labels"] > 0
    assert (estimates.classes["assisted_error_ha"] < estimates.classes["area_error_ha"]).all()


@pytest.mark.parametrize("by", ["none", "confidence", "class-confidence"])
def test_strata_need_not_be_classes(labelled, tmp_path, by):
    fake, _ = labelled
    points = fake.label(eofuse.sample_map(fake.path, tmp_path / "q.geojson", 200, by=by).points)
    found = eofuse.estimate_area(fake.path, points)
    truth = hectares(fake, fake.truth)
    for row in found.classes.to_dict("records"):
        assert abs(row["area_ha"] - truth[row["class"]]) < 3.5 * row["area_error_ha"]
        assert row["users_low"] <= row["users"] <= row["users_high"]


def test_without_probabilities_the_classes_of_the_map_help_a_simple_random_sample(tmp_path):
    fake = write_map(tmp_path, (120, 110), beside=False)
    points = fake.label(eofuse.sample_map(fake.path, tmp_path / "q.geojson", 200, by="none").points)
    found = eofuse.estimate_area(fake.path, points)
    assert found.helper == "map"
    assert (found.classes["worth_labels"] > 50).all()


def test_a_map_by_degrees_weighs_pixels_by_their_area(tmp_path):
    place = from_origin(0, 70, 0.5, 0.5)
    fake = write_map(tmp_path, (120, 40), crs="EPSG:4326", transform=place, beside=False)
    fake.truth[fake.mapped != 255] = 1
    fake.truth[64:][fake.mapped[64:] != 255] = 4  # the south, whose pixels are larger
    points = fake.label(eofuse.sample_map(fake.path, tmp_path / "q.geojson", 400, by="none").points)
    found = eofuse.estimate_area(fake.path, points).classes.set_index("class")
    south = (np.sin(np.radians(38)) - np.sin(np.radians(10))) / (np.sin(np.radians(68)) - np.sin(np.radians(10)))
    share = found.loc["crops", "area_ha"] / found["area_ha"].sum()
    assert share == pytest.approx(south, abs=0.06)
    assert abs(share - 56 / 116) > 0.05  # what counting pixels would give


def test_areas_where_the_model_learned_are_not_in_the_numbers(tmp_path):
    fake = write_map(tmp_path, tags={"learned_from": "known"})
    write_learned(tmp_path, [(0, 4_999_500, 6e5, 5_000_000)])
    points = fake.label(eofuse.sample_map(fake.path, tmp_path / "q.geojson", 100).points)
    found = eofuse.estimate_area(fake.path, points)
    assert found.hectares == pytest.approx(40 * 80 * 0.01 * 1.0008, rel=1e-4)
    assert any("where the model learned are not in these numbers" in note for note in found.notes)
    assert not any("learned" in caution for caution in found.cautions)
    write_learned(tmp_path, [(0, 4_999_600, 6e5, 5_000_000)])
    with pytest.raises(UsageError, match="strata are not those of the sample"):
        eofuse.estimate_area(fake.path, points)


def test_missing_labels_are_counted_and_said(copied):
    path, points = copied
    change(points, lambda features: [each["properties"].update({"class": None}) for each in features[:7]])
    change(points, lambda features: features.pop())
    found = eofuse.estimate_area(path, points)
    assert any("8 of 200 points have no label" in note for note in found.notes)
    assert found.strata["labelled"].sum() == 192
    assert found.strata["points"].sum() == 200


def test_labels_may_be_codes(copied, estimates):
    path, points = copied
    codes = {name: code for code, name in NAMES.items()}
    change(
        points,
        lambda features: [
            each["properties"].update({"class": codes[each["properties"]["class"]]}) for each in features
        ],
    )
    found = eofuse.estimate_area(path, points)
    pd.testing.assert_frame_equal(found.classes, estimates.classes)


def test_points_of_a_table_give_the_same(copied, estimates):
    path, points = copied
    features = json.loads(points.read_text())["features"]
    with points.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "lon", "lat", "class"])
        for each in features:
            writer.writerow([each["properties"]["id"], *each["geometry"]["coordinates"], each["properties"]["class"]])
    found = eofuse.estimate_area(path, points.with_suffix(".csv"))
    pd.testing.assert_frame_equal(found.classes, estimates.classes)


def test_a_place_that_is_no_number_is_named(copied):
    path, points = copied
    points.with_suffix(".csv").write_text('id,lon,lat,class\np001,15.001,45.1,water\np002,"15,002",45.1,water\n')
    with pytest.raises(DataError, match=r"column lon, row 2: '15,002' is no number of degrees"):
        eofuse.estimate_area(path, points.with_suffix(".csv"))


def test_codes_may_have_decimals_as_programs_write_them_in_columns_with_gaps():
    assert class_of_labels(["1.0", "2.00", "1.5", None], {1: "water", 2: "1.5"}, "points") == [1, 2, 2, None]


def test_a_map_without_an_error_is_within_its_intervals(tmp_path):
    fake = write_map(tmp_path, beside=False)
    with rasterio.open(fake.path, "r+") as file:
        file.write(fake.truth, 1)
    eofuse.sample_map(fake.path, tmp_path / "p.geojson", 60)
    found = eofuse.estimate_area(fake.path, fake.label(tmp_path / "p.geojson"))
    assert "outside the interval" not in answer(found)


def test_labels_may_name_a_class_that_the_map_lacks(copied):
    path, points = copied
    change(points, lambda features: [each["properties"].update({"class": "ice"}) for each in features[:9]])
    with pytest.raises(UsageError, match="the map has no class 'ice'"):
        eofuse.estimate_area(path, points)
    found = eofuse.estimate_area(path, points, classes={9: "ice"}).classes.set_index("class")
    assert found.loc["ice", "mapped_ha"] == 0 < found.loc["ice", "area_ha"]
    assert np.isnan(found.loc["ice", "users"])
    assert found.loc["ice", "producers"] == 0


def spoil_design(path, points):
    content = points.with_name("p.design.json").read_text()
    points.with_name("p.design.json").write_text(content.replace('"seed": 0', '"seed": 1'))


def spoil_map(path, points):
    with rasterio.open(path, "r+") as file:
        values = file.read(1)
        values[50, 50] = 1 if values[50, 50] != 1 else 3
        file.write(values, 1)


def shift(features, degrees):
    longitude, latitude = features[3]["geometry"]["coordinates"]
    features[3]["geometry"]["coordinates"] = [longitude + degrees, latitude]


SPOILT = [
    (lambda path, points: points.with_name("p.design.json").unlink(), UsageError, "no probability sample"),
    (spoil_design, DataError, "has changed since it was written"),
    (spoil_map, UsageError, "another map than the one that was sampled"),
    (lambda path, points: points.unlink(), DataError, "no such points"),
    (lambda path, points: change(points, lambda f: f.append(f[0])), DataError, "ids occur more than once: p001"),
    (
        lambda path, points: change(points, lambda f: f[0]["properties"].update(id="mine")),
        DataError,
        "not of the sample.*mine",
    ),
    (lambda path, points: change(points, lambda f: shift(f, 0.0002)), DataError, "moved to another pixel.*p004"),
    (lambda path, points: change(points, lambda f: shift(f, 1)), DataError, "outside the map: p004"),
    (
        lambda path, points: change(points, lambda f: f[0]["properties"].update({"class": "watr"})),
        UsageError,
        "no class 'watr'; did you mean 'water'",
    ),
    (
        lambda path, points: change(points, lambda f: [each["properties"].update({"class": None}) for each in f]),
        DataError,
        "no point has a label",
    ),
    (
        lambda path, points: change(points, lambda f: [each["properties"].update({"class": None}) for each in f[2:]]),
        DataError,
        "too few labels for a variance",
    ),
    (lambda path, points: (path.parent / "map.confidence.tif").unlink(), None, ""),
]


@pytest.mark.parametrize(("spoil", "error", "message"), SPOILT, ids=[message or "kept" for _, _, message in SPOILT])
def test_each_wrong_input_is_one_clear_error(copied, spoil, error, message):
    path, points = copied
    spoil(path, points)
    if error is None:
        assert len(eofuse.estimate_area(path, points).classes) == 3
        return
    with pytest.raises(error, match=message):
        eofuse.estimate_area(path, points)


def test_a_column_that_is_not_there_is_named(labelled):
    fake, points = labelled
    with pytest.raises(UsageError, match="did you mean 'class'"):
        eofuse.estimate_area(fake.path, points, "clas")


def test_points_of_convenience_are_taken_on_demand_and_it_is_said_what_they_are(copied):
    path, points = copied
    points.with_name("p.design.json").unlink()
    found = eofuse.estimate_area(path, points, as_random=True)
    assert "treated as a simple random sample" in found.cautions[0]
    assert found.strata["name"].tolist() == ["all"]
    assert "treated as" in found.method


def test_the_page_is_complete_self_contained_and_escaped(tmp_path):
    fake = write_map(tmp_path, tags={"note": SIMULATED})
    points = fake.label(
        eofuse.sample_map(fake.path, tmp_path / "q.geojson", 90).points, keep=lambda name: name != "p005"
    )
    names = {1: "<b>sea</b>", 3: "open_forest", 4: "crops", 9: "water"}
    change(
        points,
        lambda features: [
            each["properties"].update({"class": 1}) for each in features if each["properties"]["class"] == "water"
        ],
    )
    eofuse.estimate_area(fake.path, points, output=tmp_path / "out", classes=names)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for name in ("areas", "accuracy", "matrix", "sample", "method"):
        assert f'<section id="{name}">' in page
    assert SIMULATED in page
    assert "1 of 90 points have no label" in page
    assert "&lt;b&gt;sea&lt;/b&gt;" in page
    assert "<b>sea" not in page
    assert set(re.findall(r'(?:src|srcset)="(data:[a-z/+]+|[^"]*)', page)) == {"data:image/svg+xml"}
    assert not re.search(r'href="(?!#|data:)', page)
    assert "<script" not in page
    values = json.loads((tmp_path / "out" / "areas.json").read_text())
    table = pd.read_csv(tmp_path / "out" / "areas.csv")
    assert [row["class"] for row in values["classes"]] == table["class"].tolist()
    (tmp_path / "out" / "report.html").unlink()
    eofuse.estimate_area(fake.path, points, output=tmp_path / "out", classes=names)  # goes on where it was interrupted
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8") == page
    (tmp_path / "out" / "areas.csv").write_text("mine")
    with pytest.raises(UsageError, match=r"holds areas\.csv of other estimates; .*overwrite"):
        eofuse.estimate_area(fake.path, points, output=tmp_path / "out", classes=names)


def test_the_commands_sample_and_area(tmp_path, monkeypatch, capsys):
    fake = write_map(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["sample", "map.tif", "-n", "90", "-o", "points.geojson", "--json"]) == 0
    drawn = json.loads(capsys.readouterr().out)
    assert sum(row["points"] for row in drawn["strata"]) == 90
    fake.label(tmp_path / "points.geojson")
    assert main(["area", "map.tif", "points.geojson", "--label", "class"]) == 0
    shown = capsys.readouterr().out
    assert "Areas in hectares" in shown
    assert "not known which areas the model learned from" in shown
    assert main(["area", "map.tif", "points.geojson", "--as-random"]) == 2  # other estimates exist
    assert main(["area", "map.tif", "points.geojson", "--json", "--overwrite"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["classes"]) == 3
    assert (tmp_path / "points-areas" / "report.html").exists()
    assert main(["sample", "map.tif", "-o", "points.geojson"]) == 2


def test_real_land_cover(shared, tmp_path):
    source = shared / "realdata" / "terramesh-4" / "LULC" / "433D_629L_3_1.tif"
    with rasterio.open(source) as file:
        truth, profile = file.read(1), file.profile
    random = np.random.default_rng(0)
    wrong = random.random(truth.shape) < 0.1
    mapped = np.where(wrong, random.permutation(truth.ravel()).reshape(truth.shape), truth)
    with rasterio.open(tmp_path / "map.tif", "w", **profile) as file:
        file.write(mapped, 1)
    drawn = eofuse.sample_map(tmp_path / "map.tif", tmp_path / "p.geojson", 200)
    places = {each["id"]: each for each in json.loads(drawn.design.read_text())["points"]}
    change(
        drawn.points,
        lambda features: [
            each["properties"].update(
                {
                    "class": int(
                        truth[places[each["properties"]["id"]]["row"], places[each["properties"]["id"]]["column"]]
                    )
                }
            )
            for each in features
        ],
    )
    found = eofuse.estimate_area(tmp_path / "map.tif", drawn.points)
    counts = dict(zip(*np.unique(truth, return_counts=True), strict=True))
    for row in found.classes.to_dict("records"):
        expected = counts.get(row["code"], 0) / truth.size * found.hectares
        assert row["caution"] or row["area_low_ha"] <= expected <= row["area_high_ha"]
    assert abs(found.overall["value"] - (truth == mapped).mean()) < 3.5 * found.overall["error"]

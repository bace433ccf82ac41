"""Maps by models that take more than pixels: values of a scene reach every window."""

import json

import numpy as np
import pytest
import rasterio
import torch
from maps_scenes import NDVI, WEATHER, ZONE, make_model, optical, write

from eofuse.cli import main
from eofuse.data.reading.grid import Grid
from eofuse.errors import DataError, UsageError
from eofuse.maps.constants import given_constant, given_month
from eofuse.maps.make import MapOptions, map_scenes
from eofuse.maps.scene import MapScene
from eofuse.models.artifact import load_model

INPUTS = ("optical", "weather", "zone", "ndvi")
SPEC = """
name: s
modalities:
  optical: {files: "{scene}.tif", dtype: uint16, nodata: 0}
  weather: {kind: vector, columns: [rain, temperature], table: scenes.csv, optional: true}
  zone: {kind: category, column: zone, table: scenes.csv, optional: true}
  ndvi: {columns: "ndvi_t{step}", table: scenes.csv, optional: true}
"""
TABLE = "scene,temperature,rain,zone,ndvi_t0,ndvi_t1,ndvi_t2\na,290,1.5,wet,0.2,,0.4\n"
OPTIONS = MapOptions(window=48, probabilities=True)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model that needs all inputs, and one that may lack some."""
    folder = tmp_path_factory.mktemp("models")
    return {each: make_model(folder / each, "cover", inputs=INPUTS, missing=each) for each in ("exclude", "token")}


@pytest.fixture
def scenes(tmp_path):
    """A spec of one scene, with a row of a table."""
    values = optical(40, 44)
    values[:, :9, :5] = 0
    write(tmp_path / "a.tif", values, nodata=0, names=("red", "nir"))
    (tmp_path / "scenes.csv").write_text(TABLE)
    (tmp_path / "scenes.yaml").write_text(SPEC)
    return tmp_path / "scenes.yaml"


def in_one_pass(model, scenes, present=None):
    """Probabilities of the whole scene, NaN where it has no data."""
    values = rasterio.open(scenes.parent / "a.tif").read()
    inputs = {
        "optical": torch.from_numpy(values)[None],
        "weather": torch.tensor([[290.0, 1.5]]),
        "zone": torch.tensor([1], dtype=torch.uint8),
        "ndvi": torch.tensor([[[0, 0.2], [1, np.nan], [2, 0.4]]]),
    }
    flags = None if present is None else {name: torch.tensor([name in present]) for name in inputs}
    whole = load_model(model).predict(inputs, flags)["cover"][0].numpy()
    return np.where(values[0] > 0, whole, np.nan)


def probabilities(path):
    shares = rasterio.open(path).read().astype(float)
    return np.where(shares == 65535, np.nan, shares * 1e-4)


@pytest.mark.parametrize("missing", ["exclude", "token"])
def test_the_values_of_a_scene_reach_its_windows(models, scenes, tmp_path, missing):
    map_scenes(models[missing], scenes, tmp_path / "maps", options=OPTIONS)
    found = probabilities(tmp_path / "maps" / "a.probabilities.tif")
    np.testing.assert_allclose(found, in_one_pass(models[missing], scenes), atol=2e-4)


def test_a_scene_that_lacks_values_is_mapped_if_the_model_may_lack_them(models, scenes, tmp_path):
    (tmp_path / "scenes.csv").write_text(TABLE.replace("290", ""))
    (done,) = map_scenes(models["token"], scenes, tmp_path / "maps", options=OPTIONS)
    assert any("the scene lacks: weather" in note for note in done.notes)
    expected = in_one_pass(models["token"], scenes, present=("optical", "zone", "ndvi"))
    np.testing.assert_allclose(probabilities(tmp_path / "maps" / "a.probabilities.tif"), expected, atol=2e-4)
    with pytest.raises(DataError, match="scene a: lacks weather, which the model needs"):
        map_scenes(models["exclude"], scenes, tmp_path / "others")


def test_other_values_are_another_map(models, scenes, tmp_path):
    map_scenes(models["exclude"], scenes, tmp_path / "maps")
    before = json.loads((tmp_path / "maps" / "a.json").read_text())["properties"]["eofuse:plan"]
    (tmp_path / "scenes.csv").write_text(TABLE.replace("wet", "dry"))
    with pytest.raises(UsageError, match="exists already"):
        map_scenes(models["exclude"], scenes, tmp_path / "maps")
    map_scenes(models["exclude"], scenes, tmp_path / "maps", overwrite=True)
    properties = json.loads((tmp_path / "maps" / "a.json").read_text())["properties"]
    assert properties["eofuse:plan"] != before
    ndvi = [[0, pytest.approx(0.2)], [1, None], [2, pytest.approx(0.4)]]
    assert properties["eofuse:values"] == {"weather": [290, 1.5], "zone": 0, "ndvi": ndvi}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: vector, columns: [rain, temperature]", "columns: [rain]", "lacks a channel of the model"),
        ("[rain, temperature]", "[rain, temperature], unit: {temperature: C}", "unit of temperature is 'C' here"),
        ("kind: vector, columns: [rain, temperature]", "column: zone", "kind is category here and vector"),
        ("ndvi_t{step}", 'ndvi_t{step}", dates: [2024-01-01, 2024-02-01, 2024-03-01], title: "x', "dated is True here"),
        ("column: zone", "column: zone, categories: [wet, dry]", "categories is"),
    ],
)
def test_values_that_mean_something_else_are_refused(models, scenes, tmp_path, old, new, message):
    scenes.write_text(SPEC.replace(old, new))
    with pytest.raises(DataError) as raised:
        map_scenes(models["exclude"], scenes, tmp_path / "maps")
    assert message in str(raised.value)


def test_values_beside_layers_are_those_of_a_table(models, scenes, tmp_path):
    model = make_model(tmp_path / "model", "cover", inputs=("optical", "weather", "zone"))
    map_scenes(model, scenes, tmp_path / "maps", options=OPTIONS)
    words = ["--value", "weather=290,1.5", "--value", "zone=wet", "--window", "48", "--probabilities"]
    layer = f"optical={tmp_path / 'a.tif'}"
    assert main(["map", str(model), "--layer", layer, *words, "-o", str(tmp_path / "b.tif")]) == 0
    expected = probabilities(tmp_path / "maps" / "a.probabilities.tif")
    np.testing.assert_array_equal(probabilities(tmp_path / "b.probabilities.tif"), expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weather": "290,1", "zone": 0}, "--value: the model's input 'ndvi' is missing"),
        ({"optical": "1"}, "no input 'optical' without pixels"),
    ],
)
def test_inputs_that_are_missing_or_unknown_are_named(models, scenes, tmp_path, values, message):
    layers = {"optical": str(tmp_path / "a.tif")}
    with pytest.raises(UsageError) as raised:
        map_scenes(models["exclude"], None, tmp_path / "b.tif", layers=layers, values=values)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("modality", "given", "message"),
    [
        (WEATHER, "290", "1 numbers for 2 channels; give, in this order, temperature, rain"),
        (WEATHER, "290,x", "is no list of numbers"),
        (WEATHER, "290,inf", "is no list of numbers"),
        (WEATHER, "290,1e300", "is no list of numbers"),
        (WEATHER, {"rain": 3}, "no number for 'temperature'"),
        (WEATHER, {"snow": 3}, "unknown channel 'snow'"),
        (ZONE, "wett", "did you mean 'wet'"),
        (ZONE, 2, "2 is no category"),
        (NDVI, "0.1", "a series can't be given so"),
    ],
)
def test_values_that_do_not_fit_are_named(modality, given, message):
    with pytest.raises(UsageError) as raised:
        given_constant(given, modality)
    assert message in str(raised.value)


@pytest.mark.parametrize("given", ["290, 1.5", [290, 1.5], {"rain": 1.5, "temperature": 290}])
def test_numbers_are_given_in_order_or_by_name(given):
    assert given_constant(given, WEATHER).tolist() == [290, 1.5]


def test_values_belong_to_layers(models, scenes, tmp_path, capsys):
    with pytest.raises(UsageError, match="values belong to files by layer"):
        map_scenes(models["exclude"], scenes, tmp_path / "maps", values={"zone": "dry"})
    assert main(["map", str(models["exclude"]), str(scenes), "--value", "zone=dry", "-o", str(tmp_path / "maps")]) == 2
    assert "--value belongs to --layer" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["wet", "1", 1])
def test_a_class_is_given_by_name_or_code(given):
    found = given_constant(given, ZONE)
    assert (found.tolist(), found.dtype) == (1, np.uint8)


def test_the_month_of_a_scene_is_that_of_its_name_or_the_given_one():
    grid = Grid(None, rasterio.Affine.identity(), 8, 8)
    assert MapScene("T32_20200715T101031", grid, {}).month == 7
    assert MapScene("T32_20200715T101031", grid, {}, given_month=2).month == 2
    assert MapScene("nowhere", grid, {}).month is None
    assert given_month("11") == 11
    with pytest.raises(UsageError, match="there is no month '13'"):
        given_month("13")

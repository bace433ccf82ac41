"""Maps of scenes as files: what is in them, that they are valid, and what is refused."""

import json
import os
import shutil
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pyogrio
import pystac
import pytest
import rasterio
import torch
from affine import Affine
from maps_scenes import CORNER, UTM, make_model, optical, write
from rasterio.crs import CRS
from rasterio.warp import transform
from rio_cogeo import cog_validate
from shapely import from_wkb
from shapely.geometry import shape as shapely_shape

from eofuse.areas.estimate import estimate_area
from eofuse.areas.sample import sample_map
from eofuse.cli import main
from eofuse.data.reading.grid import Grid
from eofuse.data.sources.scenes.cautions import odd_values
from eofuse.data.sources.scenes.polygons import Polygons
from eofuse.errors import DataError, UsageError
from eofuse.files import sha256
from eofuse.inference.ensemble import load_ensemble
from eofuse.maps import make, output, stac
from eofuse.maps.make import MapOptions, map_scenes
from eofuse.maps.styles import write_style
from eofuse.modalities import SENTINEL1, SENTINEL2
from eofuse.models.artifact import load_model


def shapes_of(path):
    _, _, geometry, fields = pyogrio.raw.read(path)
    names = pyogrio.read_info(path)["fields"].tolist()
    return from_wkb(geometry), dict(zip(names, fields, strict=True))


@pytest.fixture(scope="module")
def mapped(cover_model, tmp_path_factory):
    """A map with everything, and its folder."""
    folder = tmp_path_factory.mktemp("mapped")
    values = optical(70, 90)
    values[:, :20, :30] = 0
    write(folder / "optical.tif", values, nodata=0, names=("red", "nir"))
    options = MapOptions(probabilities=True, uncertainty=True, polygons=True)
    (done,) = map_scenes(
        cover_model, None, folder / "map.tif", layers={"optical": str(folder / "optical.tif")}, options=options
    )
    return done, folder


def test_a_class_map_has_the_codes_names_and_colours_of_the_classes(mapped):
    _, folder = mapped
    with rasterio.open(folder / "map.tif") as file:
        codes = file.read(1)
        assert set(np.unique(codes)) <= {10, 20, 50, 255}
        np.testing.assert_array_equal(codes == 255, np.pad(np.ones((20, 30), bool), ((0, 50), (0, 60))))
        assert file.nodata == 255
        assert file.tags(1) == {"class_10": "water", "class_20": "forest", "class_50": "town"}
        assert [file.colormap(1)[code] for code in (10, 20, 50)] == [
            (0, 0, 255, 255),
            (0, 255, 0, 255),
            (255, 0, 0, 255),
        ]
        assert file.tags()["target"] == "cover"
        assert file.tags()["learned_from"] == "unknown"
        assert (file.crs, file.transform.c, file.transform.f) == (UTM, *CORNER)


def test_probabilities_confidence_and_entropy_belong_together(mapped):
    _, folder = mapped
    read = {
        ending: rasterio.open(folder / f"map{ending}.tif")
        for ending in ("", ".confidence", ".probabilities", ".uncertainty")
    }
    valid = read[""].read(1) != 255
    shares = read[".probabilities"].read() * read[".probabilities"].scales[0]
    assert read[".probabilities"].descriptions == ("water", "forest", "town")
    assert [read[".probabilities"].tags(band)["code"] for band in (1, 2, 3)] == ["10", "20", "50"]
    np.testing.assert_allclose(shares.sum(axis=0)[valid], 1, atol=2e-4)
    np.testing.assert_allclose(read[".confidence"].read(1)[valid], 100 * shares.max(axis=0)[valid], atol=0.6)
    entropy = -(shares * np.log(shares.clip(1e-9))).sum(axis=0) / np.log(3)
    np.testing.assert_allclose(read[".uncertainty"].read(1)[valid], 100 * entropy[valid], atol=1)
    assert all((read[ending].read(1)[~valid] == read[ending].nodata).all() for ending in read)


def test_a_map_in_one_window_is_what_the_model_says_of_the_whole_scene(cover_model, scene, tmp_path):
    options = MapOptions(window=96, probabilities=True)
    (done,) = map_scenes(cover_model, None, tmp_path / "map.tif", layers={"optical": str(scene)}, options=options)
    assert done.exact
    values = rasterio.open(scene).read()
    whole = load_model(cover_model).predict({"optical": torch.from_numpy(values)[None]})["cover"][0].numpy()
    shares = rasterio.open(tmp_path / "map.probabilities.tif").read()
    valid = shares[0] != 65535
    np.testing.assert_allclose(shares[:, valid] * 1e-4, whole[:, valid], atol=1e-4)


def test_every_file_is_a_valid_cloud_optimised_geotiff(mapped):
    done, _ = mapped
    rasters = [path for path in done.files if path.suffix == ".tif"]
    assert len(rasters) == 4
    for path in rasters:
        is_valid, errors, warnings = cog_validate(path, quiet=True)
        assert (is_valid, errors, warnings) == (True, [], [])


def test_a_class_map_has_a_style_with_names_and_colours_of_its_classes(mapped, cover_model):
    palette = ElementTree.parse(mapped[1] / "map.qml").iter("paletteEntry")
    shown = {int(each.get("value")): (each.get("label"), each.get("color")) for each in palette}
    classes = load_model(cover_model).spec.heads["cover"].classes
    with rasterio.open(mapped[1] / "map.tif") as file:
        colours = {code: "#{:02x}{:02x}{:02x}".format(*file.colormap(1)[code][:3]) for code in (10, 20, 50)}
    assert shown == {code: (name, colours[code]) for code, name in zip((10, 20, 50), classes, strict=True)}


def test_any_name_of_a_class_leaves_the_style_readable(tmp_path):
    names = {1: '<b>&"x"</b>', 2: "a\x00b\x1b[31m", 3: "\ufffe end", 4: "\ud800 half", 5: "line\nend"}
    write_style(tmp_path / "map.qml", names, dict.fromkeys(names, (1, 2, 3)))
    labels = [each.get("label") for each in ElementTree.parse(tmp_path / "map.qml").iter("paletteEntry")]
    assert labels == ['<b>&"x"</b>', r"a\x00b\x1b[31m", " end", r"\ud800 half", "line\nend"]


def test_the_item_is_valid_and_names_files_classes_and_the_model(mapped, cover_model):
    done, folder = mapped
    values = json.loads(done.item.read_text())
    item = pystac.Item.from_dict({**values, "stac_extensions": []})
    item.validate()
    assert {folder / asset.href for asset in item.assets.values()} == set(done.files)
    band = values["assets"]["cover"]["bands"][0]
    assert [each["value"] for each in band["classification:classes"]] == [10, 20, 50]
    assert values["properties"]["proj:code"] == UTM
    assert (folder / values["links"][0]["href"]).resolve() == cover_model
    lon, lat = transform(UTM, "EPSG:4326", [CORNER[0] + 450], [CORNER[1] - 350])
    west, south, east, north = values["bbox"]
    assert west < lon[0] < east
    assert south < lat[0] < north


@pytest.mark.parametrize(
    ("name", "day"), [("S2_20230715T104031", "2023-07-15T10:40:31Z"), ("2023-07-15", "2023-07-15T00:00:00Z")]
)
def test_the_item_is_of_the_day_that_names_of_files_tell(cover_model, scene, tmp_path, name, day):
    layers = {"optical": str(scene.rename(tmp_path / f"{name}.tif"))}
    (done,) = map_scenes(cover_model, None, tmp_path / "map.tif", layers=layers)
    properties = json.loads(done.item.read_text())["properties"]
    assert properties["datetime"] == day
    assert "eofuse:datetime_is" not in properties


def test_a_reference_system_without_a_code_is_described_in_wkt2():
    system = CRS.from_proj4("+proj=laea +lat_0=47 +lon_0=8 +ellps=WGS84 +units=m")
    described = stac._projection(Grid(system, Affine(10, 0, 0, 0, -10, 0), 20, 20))
    assert described["proj:code"] is None
    assert described["proj:wkt2"].startswith("PROJCRS[")


def test_regions_are_those_of_the_map(mapped):
    folder = mapped[1]
    regions, fields = shapes_of(folder / "map.gpkg")
    codes = rasterio.open(folder / "map.tif").read(1)
    for code in (10, 20, 50):
        own = fields["code"] == code
        assert fields["pixels"][own].sum() == (codes == code).sum()
        assert sum(region.area for region in regions[own]) == pytest.approx(100 * (codes == code).sum())
    assert set(fields["class"]) <= {"water", "forest", "town"}


def test_the_same_command_says_that_the_map_is_there(mapped, cover_model, monkeypatch):
    done, folder = mapped
    monkeypatch.setattr(make.Pass, "run", lambda *_: pytest.fail("was computed again"))
    options = MapOptions(probabilities=True, uncertainty=True, polygons=True)
    (again,) = map_scenes(
        cover_model, None, folder / "map.tif", layers={"optical": str(folder / "optical.tif")}, options=options
    )
    assert set(again.files) == set(done.files)


def test_a_killed_map_goes_on_to_the_same_bytes(mapped, cover_model, tmp_path, monkeypatch):
    done, folder = mapped
    options = MapOptions(probabilities=True, uncertainty=True, polygons=True)
    layers = {"optical": str(folder / "optical.tif")}
    write_rows = make.RowStore.write

    def killed(self, row, *rest):
        if row == 1:
            raise KeyboardInterrupt
        write_rows(self, row, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(make.RowStore, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            map_scenes(cover_model, None, tmp_path / "map.tif", layers=layers, options=options)
    with pytest.raises(UsageError, match="unfinished work on another map"):
        map_scenes(cover_model, None, tmp_path / "map.tif", layers=layers)
    (tmp_path / ".map.partial" / "plain.tif").write_bytes(b"II*\0\x08\0\0\0")  # killed when it wrote a raster
    map_scenes(cover_model, None, tmp_path / "map.tif", layers=layers, options=options, workers=1, readers=1)
    rasters = [path for path in done.files if path.suffix == ".tif"]
    assert [sha256(tmp_path / path.name) for path in rasters] == [sha256(path) for path in rasters]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_output_that_exists_is_kept_unless_it_may_go(cover_model, scene, tmp_path):
    layers = {"optical": str(scene)}
    (tmp_path / "map.confidence.tif").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        map_scenes(cover_model, None, tmp_path / "map.tif", layers=layers)
    assert (tmp_path / "map.confidence.tif").read_text() == "mine"
    map_scenes(cover_model, None, tmp_path / "map.tif", layers=layers, overwrite=True)
    assert rasterio.open(tmp_path / "map.confidence.tif").descriptions == ("confidence",)


def test_files_that_a_new_map_lacks_go_with_the_map_that_it_replaces(mapped, cover_model, tmp_path):
    shutil.copytree(mapped[1], tmp_path, dirs_exist_ok=True)
    (tmp_path / "map.mine.tif").write_text("mine")
    layers = {"optical": str(tmp_path / "optical.tif")}
    (done,) = map_scenes(cover_model, None, tmp_path / "map.tif", layers=layers, overwrite=True)
    kept = {done.item, *done.files, tmp_path / "optical.tif", tmp_path / "map.mine.tif"}
    assert set(tmp_path.iterdir()) == kept


def test_codes_beyond_a_byte_are_kept(scene, tmp_path):
    model = make_model(tmp_path / "model", "corine")
    (done,) = map_scenes(model, None, tmp_path / "map.tif", layers={"optical": str(scene)})
    with rasterio.open(tmp_path / "map.tif") as file:
        assert set(np.unique(file.read(1)[20:])) <= {111, 312, 523}
        assert file.nodata == 65535
        assert file.colormap(1)[523] == (255, 0, 0, 255)
    assert all(cog_validate(path, quiet=True)[0] for path in done.files if path.suffix == ".tif")


def test_numbers_come_with_their_interval(scene, tmp_path):
    map_scenes(make_model(tmp_path / "model", "height"), None, tmp_path / "map.tif", layers={"optical": str(scene)})
    with rasterio.open(tmp_path / "map.tif") as file:
        value, low, high = file.read()
        assert file.descriptions == ("height", "height.low", "height.high")
        assert file.units == ("m", "m", "m")
    assert np.isnan(value[:20, :30]).all()
    np.testing.assert_allclose((high - value)[20:], 7.5, atol=1e-4)
    np.testing.assert_allclose((value - low)[20:], 7.5, atol=1e-4)


def test_what_is_predicted_of_a_patch_has_a_cell_every_stride(scene, tmp_path):
    model = make_model(tmp_path / "model", "zone", "tags", "biomass")
    options = MapOptions(stride=16)
    (done,) = map_scenes(model, None, tmp_path / "map.tif", layers={"optical": str(scene)}, options=options)
    assert {path.name for path in done.files} == {
        "map.zone.tif",
        "map.zone.qml",
        "map.zone.confidence.tif",
        "map.tags.tif",
        "map.biomass.tif",
    }
    with rasterio.open(tmp_path / "map.zone.tif") as file:
        assert file.shape == (5, 6)
        assert file.transform.a == 160
        assert file.read(1)[0, 0] == 255  # the missing corner
        zones = file.read(1)
    predict = load_model(model).predict
    values = rasterio.open(scene).read()
    window = torch.from_numpy(values[:, 24:56, 40:72].copy())[None]  # around the cell in row 2, column 3
    assert zones[2, 3] == predict({"optical": window})["zone"].argmax()
    with rasterio.open(tmp_path / "map.biomass.tif") as file:
        assert file.read(1)[2, 3] == pytest.approx(float(predict({"optical": window})["biomass"]), rel=1e-5)


def test_several_models_give_their_mean_and_their_disagreement(scene, tmp_path):
    folders = [make_model(tmp_path / f"model{seed}", "cover", seed=seed) for seed in (0, 1)]
    predictor = make.open_predictor(folders[0])
    both = replace(predictor, model=load_ensemble(folders), folders=folders)
    maker = make.Mapper(both, MapOptions(probabilities=True, uncertainty=True), 1, 1)
    found = make.scene_of_layers("scene", {"optical": str(scene)}, maker.model.spec)
    maker.make(found, tmp_path / "map", overwrite=False)
    rows = maker.windows(found.grid)[0].rows
    alone = MapOptions(probabilities=True, overlap=rows.size - rows.step)
    single = []
    for number, folder in enumerate(folders):
        map_scenes(folder, None, tmp_path / f"{number}.tif", layers={"optical": str(scene)}, options=alone)
        single.append(rasterio.open(tmp_path / f"{number}.probabilities.tif").read().astype(float))
    joint = rasterio.open(tmp_path / "map.probabilities.tif").read().astype(float)
    np.testing.assert_allclose(joint[:, 30:, 40:], ((single[0] + single[1]) / 2)[:, 30:, 40:], atol=300)
    with rasterio.open(tmp_path / "map.uncertainty.tif") as file:
        assert file.descriptions == ("entropy", "disagreement")
        entropy, disagreement = file.read()[:, 30:, 40:]
    assert (disagreement <= entropy).all()
    assert disagreement.max() > 0


def test_a_scene_smaller_than_a_window_is_mapped(cover_model, tmp_path):
    write(tmp_path / "small.tif", optical(5, 3), nodata=0)
    (done,) = map_scenes(cover_model, None, tmp_path / "map.tif", layers={"optical": str(tmp_path / "small.tif")})
    assert done.exact
    model = load_model(cover_model)
    whole = model.predict({"optical": torch.from_numpy(rasterio.open(tmp_path / "small.tif").read())[None]})["cover"]
    codes = np.array([10, 20, 50])[whole[0].argmax(0).numpy()]
    np.testing.assert_array_equal(rasterio.open(tmp_path / "map.tif").read(1), codes)


def test_a_file_a_band_is_found_by_the_names_of_the_bands(cover_model, scene, tmp_path):
    red, nir = rasterio.open(scene).read()
    write(tmp_path / "bands" / "T33_nir_10m.tif", nir[None], nodata=0)
    write(tmp_path / "bands" / "T33_red_10m.tif", red[None], nodata=0)
    for name, pattern in (("one", str(scene)), ("two", str(tmp_path / "bands" / "*.tif"))):
        map_scenes(cover_model, None, tmp_path / f"{name}.tif", layers={"optical": pattern})
    one, two = (rasterio.open(tmp_path / f"{name}.tif").read() for name in ("one", "two"))
    np.testing.assert_array_equal(one, two)


def test_an_input_on_another_grid_is_brought_to_that_of_the_first(tmp_path):
    """A ramp on pixels of 23 m in the next zone comes out at its place, to a hundredth of a step."""
    from eofuse.data.reading.rasters import reading_environment
    from eofuse.maps.handles import Handles

    write(tmp_path / "optical.tif", optical(60, 50), nodata=0, names=("red", "nir"))
    x, y = transform(UTM, "EPSG:32632", [CORNER[0]], [CORNER[1]])
    corner, pixel = (x[0] - 2000.0, y[0] + 2000.0), 23.0
    columns, rows = np.meshgrid(np.arange(220) + 0.5, np.arange(220) + 0.5)
    ramp = (
        0.1 * (corner[0] + pixel * columns) + 0.3 * (corner[1] - pixel * rows) - 0.3 * corner[1] - 0.1 * corner[0]
    ) / pixel
    write(tmp_path / "radar.tif", ramp[None].astype(np.float32), corner=corner, pixel=pixel, crs="EPSG:32632")
    spec = load_model(make_model(tmp_path / "model", "cover", inputs=("optical", "radar"))).spec
    layers = {name: str(tmp_path / f"{name}.tif") for name in ("optical", "radar")}
    found = make.scene_of_layers("scene", layers, spec)
    with reading_environment():
        values, valid = found.layers["radar"].read("scene", found.grid, (0, 0, 50, 60), Handles())
    across, down = np.meshgrid(np.arange(50) + 0.5, np.arange(60) + 0.5)
    places = transform(UTM, "EPSG:32632", CORNER[0] + 10 * across.ravel(), CORNER[1] - 10 * down.ravel())
    expected = (0.1 * (np.array(places[0]) - corner[0]) + 0.3 * (np.array(places[1]) - corner[1])) / pixel
    assert valid.all()
    np.testing.assert_allclose(values[0].ravel(), expected, atol=0.01)


def test_the_spec_of_scenes_gives_a_map_for_each(cover_model, tmp_path, capsys):
    for name in ("north", "south"):
        write(tmp_path / f"{name}_nir.tif", optical(20, 30, 1)[:1], nodata=0)
        write(tmp_path / f"{name}_red.tif", optical(20, 30, 2)[:1], nodata=0)
    spec = (
        "name: s\nmodalities:\n  optical: {files: '{scene}_{band}.tif', bands: [nir, red], dtype: uint16, nodata: 0}\n"
    )
    (tmp_path / "scenes.yaml").write_text(spec)
    assert main(["map", str(cover_model), str(tmp_path / "scenes.yaml"), "-o", str(tmp_path / "maps")]) == 0
    assert {path.name for path in (tmp_path / "maps").iterdir()} == {
        f"{scene}{ending}" for scene in ("north", "south") for ending in (".tif", ".confidence.tif", ".qml", ".json")
    }
    assert str(tmp_path / "maps" / "south.tif") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("layers", "error", "words"),
    [
        ({"optical": "none.tif"}, UsageError, "no file is like this"),
        ({"optcal": "optical.tif"}, UsageError, "no input 'optcal' with pixels; did you mean 'optical'"),
        ({"optical": "one.tif"}, DataError, "has 1 bands, expected 2"),
        ({"optical": "named.tif"}, DataError, "has no band named nir"),
        ({"optical": "nowhere.tif"}, DataError, "no coordinate reference system"),
        ({"optical": "scaled.tif"}, DataError, "declares scale 0.01"),
        ({"optical": "cut.tif"}, DataError, "can't be read"),
        ({"optical": "negative.tif"}, DataError, "do not fit uint16"),
    ],
)
def test_scenes_that_do_not_fit_are_named(cover_model, tmp_path, layers, error, words):
    write(tmp_path / "optical.tif", optical(40, 40), nodata=0)
    write(tmp_path / "one.tif", optical(40, 40)[:1])
    write(tmp_path / "named.tif", optical(40, 40), names=("red", "swir"))
    write(tmp_path / "nowhere.tif", optical(40, 40), crs=None)
    write(tmp_path / "negative.tif", -optical(40, 40).astype(np.int32))
    shutil.copy(write(tmp_path / "scaled.tif", optical(40, 40)), tmp_path / "cut.tif")
    with rasterio.open(tmp_path / "scaled.tif", "r+") as file:
        file.scales = (0.01, 0.01)
    os.truncate(tmp_path / "cut.tif", 2000)
    given = {name: str(tmp_path / path) for name, path in layers.items()}
    with pytest.raises(error) as raised:
        map_scenes(cover_model, None, tmp_path / "map.tif", layers=given)
    assert words in str(raised.value)
    assert not (tmp_path / "map.tif").exists()


def test_a_model_that_may_lack_an_input_maps_without_it(scene, tmp_path):
    model = make_model(tmp_path / "model", "cover", inputs=("optical", "radar"), missing="token")
    (done,) = map_scenes(model, None, tmp_path / "map.tif", layers={"optical": str(scene)})
    assert any("tokens stand for inputs that the scene lacks: radar" in note for note in done.notes)
    other = make_model(tmp_path / "other", "cover", inputs=("optical", "radar"))
    with pytest.raises(UsageError, match="the model's input 'radar' is missing"):
        map_scenes(other, None, tmp_path / "other.tif", layers={"optical": str(scene)})


def test_boxes_of_a_scene_lie_in_it(scene, tmp_path):
    model = make_model(tmp_path / "model", "tank")
    options = MapOptions(threshold=0.001)
    (done,) = map_scenes(model, None, tmp_path / "map.tif", layers={"optical": str(scene)}, options=options)
    assert [path.name for path in done.files] == ["map.gpkg"]
    boxes, fields = shapes_of(tmp_path / "map.gpkg")
    assert len(boxes)
    assert set(fields["class"]) <= {"round", "square"}
    middles = [box.centroid for box in boxes]
    assert all(CORNER[0] <= each.x <= CORNER[0] + 900 and CORNER[1] - 700 <= each.y <= CORNER[1] for each in middles)


def test_a_map_can_be_sampled_and_its_areas_estimated(mapped, tmp_path):
    _, folder = mapped
    drawn = sample_map(folder / "map.tif", tmp_path / "points.geojson", 60, by="class-confidence")
    content = json.loads(drawn.points.read_text())
    classes = {each["id"]: each["map_class"] for each in json.loads(drawn.design.read_text())["points"]}
    for feature in content["features"]:
        feature["properties"]["class"] = classes[feature["properties"]["id"]]
    drawn.points.write_text(json.dumps(content))
    found = estimate_area(folder / "map.tif", drawn.points)
    assert found.helper == "probabilities"
    assert found.overall["value"] == pytest.approx(1)
    with rasterio.open(folder / "map.tif") as file:
        names = {name for key, name in file.tags(1).items() if key.startswith("class_")}
    assert set(found.classes["class"]) <= names


def test_a_scene_that_lacks_an_input_of_the_model_is_refused(tmp_path):
    for scene in ("north", "south"):
        write(tmp_path / f"{scene}_optical.tif", optical(20, 20), nodata=0, names=("red", "nir"))
    write(tmp_path / "north_radar.tif", optical(20, 20)[:1].astype(np.float32), names=("VV",))
    layers = "".join(
        f"  {name}: {{files: '{{scene}}_{name}.tif', optional: {rest}}}\n"
        for name, rest in (("optical", "false"), ("radar", "true"))
    )
    (tmp_path / "scenes.yaml").write_text(f"name: s\nmodalities:\n{layers}")
    model = make_model(tmp_path / "model", "cover", inputs=("optical", "radar"))
    with pytest.raises(DataError, match="scene south: lacks radar, which the model needs"):
        map_scenes(model, tmp_path / "scenes.yaml", tmp_path / "maps")
    assert not (tmp_path / "maps").exists()


def test_an_input_is_never_replaced(cover_model, scene):
    before = sha256(scene)
    with pytest.raises(UsageError, match="is an input of the map"):
        map_scenes(cover_model, None, scene, layers={"optical": str(scene)}, overwrite=True)
    assert sha256(scene) == before


def test_a_map_that_another_began_to_replace_is_not_called_done(scene, tmp_path, monkeypatch):
    models = [make_model(tmp_path / f"model{seed}", "cover", seed=seed) for seed in (0, 1)]
    layers = {"optical": str(scene)}
    map_scenes(models[0], None, tmp_path / "map.tif", layers=layers)
    write_geotiff = output.write_geotiff

    def killed(path, *rest):
        if "confidence" in path.name:
            raise KeyboardInterrupt
        write_geotiff(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(output, "write_geotiff", killed)
        with pytest.raises(KeyboardInterrupt):
            map_scenes(models[1], None, tmp_path / "map.tif", layers=layers, overwrite=True)
    with pytest.raises(UsageError, match="unfinished work on another map"):
        map_scenes(models[0], None, tmp_path / "map.tif", layers=layers)


def test_two_files_of_one_name_are_refused(cover_model, tmp_path):
    for name in ("a", "a.confidence"):
        write(tmp_path / f"{name}_optical.tif", optical(20, 20), nodata=0, names=("red", "nir"))
    (tmp_path / "scenes.yaml").write_text("name: s\nmodalities:\n  optical: {files: '{scene}_optical.tif'}\n")
    with pytest.raises(UsageError, match="two files of the maps would have this name"):
        map_scenes(cover_model, tmp_path / "scenes.yaml", tmp_path / "maps")


def test_an_input_that_changed_since_a_kill_is_named(cover_model, scene, tmp_path, monkeypatch):
    layers = {"optical": str(scene)}
    with monkeypatch.context() as patch:
        patch.setattr(make.MapFiles, "write", lambda *_: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            map_scenes(cover_model, None, tmp_path / "map.tif", layers=layers)
    os.utime(scene, (0, 0))
    with pytest.raises(UsageError, match=r"since then .*optical\.tif has changed"):
        map_scenes(cover_model, None, tmp_path / "map.tif", layers=layers)


def test_polygons_that_changed_make_another_map():
    polygon = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
    moved = {**polygon, "coordinates": [[[0, 0], [2, 0], [1, 1], [0, 0]]]}
    first, second = (Polygons((each,), (1,), np.zeros((1, 4)), 0).digest for each in (polygon, moved))
    assert first != second


@pytest.mark.parametrize(
    ("crs", "corner", "bounds"),
    [
        ("EPSG:32660", (820_000, 1_000_000), None),
        ("EPSG:4326", (179.99, 10.0), (179.99, 9.98, -179.99, 10.0)),
        ("EPSG:4326", (200.0, 10.0), (-160.0, 9.98, -159.98, 10.0)),
        ("EPSG:3413", (-1000.0, 1000.0), (-180.0, 89.98, 180.0, 90.0)),
    ],
)
def test_footprints_at_the_antimeridian_and_the_pole(crs, corner, bounds):
    pixel = 0.001 if crs == "EPSG:4326" else 100.0
    grid = Grid(CRS.from_user_input(crs), Affine(pixel, 0, corner[0], 0, -pixel, corner[1]), 20, 20)
    geometry, found = stac._outline(grid)
    footprint = shapely_shape(geometry)
    assert footprint.is_valid
    assert footprint.bounds[0] >= -180
    assert footprint.bounds[2] <= 180
    if bounds:
        np.testing.assert_allclose(found, bounds, atol=0.011)


def test_boxes_need_data_where_their_middle_is(tmp_path):
    values = optical(64, 128)
    values[:, :, 64:] = 0
    write(tmp_path / "optical.tif", values, nodata=0, names=("red", "nir"))
    model = make_model(tmp_path / "model", "tank")
    options = MapOptions(threshold=0.001)
    layers = {"optical": str(tmp_path / "optical.tif")}
    map_scenes(model, None, tmp_path / "map.tif", layers=layers, options=options)
    boxes, _ = shapes_of(tmp_path / "map.gpkg")
    assert len(boxes)
    assert all(each.centroid.x < CORNER[0] + 641 for each in boxes)


def test_confidence_is_no_map_of_classes(mapped, tmp_path, capsys):
    folder = mapped[1]
    assert main(["sample", str(folder / "map.confidence.tif"), "-n", "50", "-o", str(tmp_path / "p.gpkg")]) == 1
    assert "holds confidence, no classes; name the map beside it, map.tif" in capsys.readouterr().err


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(cover_model, scene, tmp_path):
    path = scene.rename(tmp_path / "a [bold]<b>*.tif")
    (done,) = map_scenes(cover_model, None, tmp_path / "map.tif", layers={"optical": str(path)})
    assert done.files


@pytest.mark.parametrize(("added", "is_far"), [(0, False), (8000, True)])
def test_a_scene_in_other_units_than_training_is_noted(cover_model, tmp_path, added, is_far):
    write(tmp_path / "optical.tif", optical(40, 50) + np.uint16(added), nodata=0)
    (done,) = map_scenes(cover_model, None, tmp_path / "map.tif", layers={"optical": str(tmp_path / "optical.tif")})
    far = [note for note in done.notes if "standard deviations from that of training" in note]
    assert bool(far) is is_far


def test_a_layer_beside_the_scene_is_noted(scene, tmp_path):
    radar = np.full((1, 40, 40), -12, dtype=np.float32)
    write(tmp_path / "radar.tif", radar, corner=(CORNER[0] + 90_000, CORNER[1]))
    model = make_model(tmp_path / "model", "cover", inputs=("optical", "radar"))
    layers = {"optical": str(scene), "radar": str(tmp_path / "radar.tif")}
    (done,) = map_scenes(model, None, tmp_path / "map.tif", layers=layers)
    assert any(note.startswith("radar: no pixel has a value") for note in done.notes)


@pytest.mark.parametrize(
    ("names", "is_noted"), [(("B4", "B8"), True), (("nir", "red"), False), (("x", "x"), False), ((), False)]
)
def test_bands_that_are_taken_by_their_order_in_spite_of_their_names_are_noted(cover_model, tmp_path, names, is_noted):
    layers = {"optical": str(write(tmp_path / "optical.tif", optical(40, 50), nodata=0, names=names))}
    (done,) = map_scenes(cover_model, None, tmp_path / "map.tif", layers=layers)
    assert ("optical: the file's bands B4, B8 were taken, in this order, for red, nir" in done.notes) is is_noted


def test_a_map_that_failed_before_its_first_row_is_in_no_ones_way(cover_model, scene, tmp_path):
    write(tmp_path / "negative.tif", -optical(40, 40).astype(np.int32))
    with pytest.raises(DataError, match="give values as those of training, uint16"):
        map_scenes(cover_model, None, tmp_path / "map.tif", layers={"optical": str(tmp_path / "negative.tif")})
    (done,) = map_scenes(cover_model, None, tmp_path / "map.tif", layers={"optical": str(scene)})
    assert done.files


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_that_is_no_score_is_refused(threshold):
    with pytest.raises(UsageError, match="choose 0 to 1"):
        MapOptions(threshold=threshold)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stride": 8}, "stride: the model has no target of whole patches"),
        ({"threshold": 0.2}, "threshold: the model has no target of boxes"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(cover_model, scene, tmp_path, options, words):
    with pytest.raises(UsageError, match=words):
        map_scenes(
            cover_model, output=tmp_path / "m.tif", layers={"optical": str(scene)}, options=MapOptions(**options)
        )


@pytest.mark.parametrize("option", ["overlap", "polygons", "probabilities"])
def test_an_option_of_pixels_or_classes_is_refused_for_a_number_of_a_patch(scene, tmp_path, option):
    model = make_model(tmp_path / "model", "biomass")
    with pytest.raises(UsageError, match=f"{option}: the model has no target of"):
        map_scenes(model, output=tmp_path / "m.tif", layers={"optical": str(scene)}, options=MapOptions(**{option: 1}))


def test_an_input_that_is_given_twice_is_refused(cover_model, scene, tmp_path, capsys):
    words = ["map", str(cover_model), "-o", str(tmp_path / "map.tif")]
    assert main([*words, *(2 * ["--layer", f"optical={scene}"])]) == 2
    assert "'optical' is given twice" in capsys.readouterr().err


def test_sentinel2_with_its_offset_and_backscatter_that_is_linear_are_noted():
    assert "offset of 1000" in odd_values(SENTINEL2, 1001.0, "s")[0][0]
    assert odd_values(SENTINEL2, 12.0, "s") == []
    assert "not backscatter in decibels" in odd_values(SENTINEL1, 0.01, "s")[0][0]

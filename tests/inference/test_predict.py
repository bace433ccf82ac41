"""What a model says about the patches of a store, as a table, maps and boxes."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform

from eofuse.data.reading.grid import Grid
from eofuse.data.store import Store, Window
from eofuse.data.store.georeference import set_grids
from eofuse.data.store.pack import pack_source
from eofuse.data.targets.box_files import read_shapes
from eofuse.errors import DataError, UsageError
from eofuse.inference.maps import MapFolder
from eofuse.inference.predict import lacked_inputs, predict_store, write_predictions
from eofuse.kinds import DETECTION, MULTI_LABEL, PIXEL_REGRESSION, REGRESSION, SEGMENTATION, SINGLE_LABEL
from eofuse.modalities import ELEVATION, SEASON, SENTINEL1, SENTINEL2, WORLDCOVER
from eofuse.models.artifact import save_model
from eofuse.models.fusion import FusionOptions
from eofuse.models.heads import HeadSpec
from eofuse.models.model import ModelSpec, build_model
from eofuse.models.normalisation import ChannelStatistics
from fake_source import FakeSource

torch.set_num_threads(1)

UTM = "EPSG:32632"
SIZE = 32
PATCHES = 20  # more than a batch
LACKING = 3
UNPLACED = 5
COVER = tuple(category.name for category in WORLDCOVER.categories)
HEADS = {
    "zone": HeadSpec(SINGLE_LABEL, ("north", "south")),
    "cover": HeadSpec(MULTI_LABEL, ("forest", "water")),
    "height": HeadSpec(REGRESSION, ("height",), (500.0,), (100.0,), unit="m", margin=(20.0,)),
    "shares": HeadSpec(REGRESSION, ("dry", "wet"), composition=True, margin=(0.9, 0.9)),
    "worldcover": HeadSpec(SEGMENTATION, COVER, network="fpn"),
    "elevation": HeadSpec(PIXEL_REGRESSION, ("elevation",), (500.0,), (9.0,), network="fpn", unit="m", margin=(7.5,)),
    "tank": HeadSpec(DETECTION, ("round", "square"), network="fcos"),
}


class PlacedSource(FakeSource):
    """Patches side by side in UTM zone 32; one has no place, one no radar, and of one half of the heights is missing."""

    def plant(self) -> None:
        corners = [Affine(10, 0, 500000 + 320 * row, 0, -10, 5300000) for row in range(self.patches)]
        grids = [Grid(CRS.from_string(UTM), corner, self.size, self.size) for corner in corners]
        set_grids(self.index, [None if row == UNPLACED else grid for row, grid in enumerate(grids)])

    def signal(self, modality, row, raster):
        if modality.name == "elevation" and row == 0:
            raster[:, :, : self.size // 2] = ELEVATION.nodata
        return raster


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    source = PlacedSource(
        patches=PATCHES,
        size=SIZE,
        modalities=(SENTINEL1, ELEVATION),
        absent={"elevation": {LACKING}},
    )
    return pack_source(source, tmp_path_factory.mktemp("placed") / "placed.store", workers=1)


def make_model(folder: Path, *heads: str, patch_size: int = SIZE) -> Path:
    """A model with random weights that looks at the elevation."""
    statistics = ChannelStatistics({"elevation": [1500.0]}, {"elevation": [800.0]})
    options = FusionOptions(strategy="single", encoder="test_resnet")
    chosen = {name: HEADS[name] for name in heads}
    return save_model(
        build_model(ModelSpec((ELEVATION,), options, chosen, statistics, (patch_size, patch_size)), seed=0), folder
    )


@pytest.fixture(scope="module")
def predicted(store, tmp_path_factory) -> tuple[pd.DataFrame, Path]:
    folder = tmp_path_factory.mktemp("predicted")
    table = predict_store(make_model(folder / "model", *HEADS), store, maps=folder / "maps")
    return table, folder / "maps"


def test_a_patch_that_lacks_an_input_has_a_row_without_values_and_no_map(predicted):
    table, maps = predicted
    assert table["predicted"].tolist() == [row != LACKING for row in range(PATCHES)]
    told = table.drop(columns=["patch_id", "scene", "lon", "lat", "predicted"])
    assert told.iloc[LACKING].isna().all()
    assert told.drop(index=LACKING).notna().all(axis=None)
    expected = {f"patch_{row}.tif" for row in range(PATCHES) if row != LACKING}
    assert {path.name for path in (maps / "worldcover").iterdir()} == expected
    assert {path.name for path in (maps / "elevation").iterdir()} == expected
    assert {path.name for path in maps.iterdir()} == {"worldcover", "elevation", "tank.geojson"}


def test_classes_come_with_their_probabilities(predicted):
    table = predicted[0].drop(index=LACKING)
    spread = table[["zone.p.north", "zone.p.south"]].to_numpy(dtype=float)
    np.testing.assert_allclose(spread.sum(axis=1), 1, rtol=1e-5)
    assert table["zone"].tolist() == [("north", "south")[number] for number in spread.argmax(axis=1)]
    spread = table[["cover.p.forest", "cover.p.water"]].to_numpy(dtype=float)
    assert [list(names) for names in table["cover"]] == [
        [name for name, value in zip(("forest", "water"), values, strict=True) if value >= 0.5] for values in spread
    ]


def test_one_number_is_a_column_and_several_are_columns_each_with_their_interval(predicted):
    table = predicted[0].drop(index=LACKING)
    assert table["height"].between(0, 1000).all()
    np.testing.assert_allclose(table["height.high"] - table["height"], 20)
    np.testing.assert_allclose(table["height"] - table["height.low"], 20)
    np.testing.assert_allclose(table["shares.dry"] + table["shares.wet"], 1, rtol=1e-5)
    ends = table[["shares.dry.low", "shares.dry.high", "shares.wet.low", "shares.wet.high"]]
    assert ends.ge(0).all(axis=None)
    assert ends.le(1).all(axis=None)


def test_a_number_without_a_known_interval_has_no_columns_of_it(store, tmp_path, monkeypatch):
    monkeypatch.setitem(HEADS, "height", HeadSpec(REGRESSION, ("height",), (500.0,), (100.0,)))
    table = predict_store(make_model(tmp_path / "model", "height"), store)
    assert [name for name in table if name.startswith("height")] == ["height"]


def test_maps_of_classes_lie_where_the_patch_lies(predicted, store):
    _, maps = predicted
    for row in (0, 7, PATCHES - 1):
        with rasterio.open(maps / "worldcover" / f"patch_{row}.tif") as file:
            assert file.crs == UTM
            assert file.bounds == (500000 + 320 * row, 5300000 - 320, 500000 + 320 * (row + 1), 5300000)
            assert (file.count, file.shape, file.dtypes, file.nodata) == (2, (SIZE, SIZE), ("uint8", "uint8"), 255)
            assert file.descriptions == ("class", "confidence")
            assert file.compression.name == "deflate"


def test_a_map_of_classes_says_the_names_and_colours_of_its_numbers(predicted):
    _, maps = predicted
    with rasterio.open(maps / "worldcover" / "patch_1.tif") as file:
        assert [file.tags(1)[f"class_{number}"] for number in range(len(COVER))] == list(COVER)
        assert file.colormap(1)[0][:3] == (0x00, 0x64, 0x00)
        numbers, confidence = file.read()
        assert "simulated" in file.tags()["note"]
    assert numbers.max() < len(COVER)
    assert confidence.min() >= round(100 / len(COVER))
    assert confidence.max() <= 100


def test_shares_are_those_of_the_map_and_sum_to_one(predicted):
    table, maps = predicted
    shares = table.set_index("patch_id")[[f"worldcover.share.{name}" for name in COVER]].astype(float)
    np.testing.assert_allclose(shares.drop(index=f"patch_{LACKING}").sum(axis=1), 1)
    for name in ("patch_0", "patch_4"):
        with rasterio.open(maps / "worldcover" / f"{name}.tif") as file:
            numbers = file.read(1, masked=True).compressed()
        expected = np.bincount(numbers, minlength=len(COVER)) / len(numbers)
        np.testing.assert_allclose(shares.loc[name], expected)


def test_numbers_of_pixels_have_their_name_and_unit_and_the_table_their_mean(predicted):
    table, maps = predicted
    for row in (0, 8):
        with rasterio.open(maps / "elevation" / f"patch_{row}.tif") as file:
            assert (file.dtypes, file.descriptions, file.units) == (("float32",), ("elevation",), ("m",))
            assert float(file.tags(1)["margin_of_90_percent_interval"]) == 7.5
            values = file.read(1, masked=True)
        assert 400 < values.mean() < 600
        assert table["elevation.mean"][row] == pytest.approx(values.mean(dtype=float), rel=1e-6)


def test_nothing_is_told_of_pixels_where_the_inputs_have_no_data(predicted):
    _, maps = predicted
    left = np.tile(np.arange(SIZE) < SIZE // 2, (SIZE, 1))
    with rasterio.open(maps / "worldcover" / "patch_0.tif") as file:
        bands = file.read()
    assert (bands[:, left] == 255).all()
    assert (bands[:, ~left] < 255).all()
    with rasterio.open(maps / "elevation" / "patch_0.tif") as file:
        np.testing.assert_array_equal(np.isnan(file.read(1)), left)


def test_a_patch_without_a_place_has_a_map_without_a_place(predicted):
    _, maps = predicted
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        file = rasterio.open(maps / "worldcover" / f"patch_{UNPLACED}.tif")
    with file:
        assert file.crs is None
        assert file.transform.is_identity
        assert file.read(1).shape == (SIZE, SIZE)


def test_a_window_in_the_middle_lies_in_the_middle(store, tmp_path):
    model = make_model(tmp_path / "model", "worldcover", patch_size=16)
    predict_store(model, store, maps=tmp_path / "maps")
    with rasterio.open(tmp_path / "maps" / "worldcover" / "patch_1.tif") as file:
        assert file.shape == (16, 16)
        assert file.bounds == (500320 + 80, 5300000 - 240, 500320 + 240, 5300000 - 80)


def turned(degrees: float, pixel: float, corner: tuple[float, float]) -> Affine:
    """Square pixels whose rows are turned against the axes."""
    return Affine.translation(*corner) @ Affine.rotation(degrees) @ Affine.scale(pixel, -pixel)


CHIPS = {
    "fine": (UTM, Affine(0.25, 0, 500000.1, 0, -0.25, 5300000.3)),
    "long pixels": (UTM, Affine(20, 0, 500000, 0, -10, 5300000)),
    "degrees": ("EPSG:4326", Affine(1.5e-4, 0, 8, 0, -1e-4, 47)),
    "turned": (UTM, turned(30, 10, (500000, 5300000))),
    "turned degrees": ("EPSG:4326", turned(-75, 1e-4, (8, 47))),
}


def placed_at(store: Store, crs: str, transform: Affine) -> Store:
    """The store with its patches at one place, far from what their longitude and latitude say."""
    index = store.index.copy()
    set_grids(index, [Grid(CRS.from_string(crs), transform, SIZE, SIZE)] * len(index))
    return Store(store.path, json.loads((store.path / "store.json").read_text()), index)


@pytest.mark.parametrize("chip", CHIPS)
def test_maps_have_the_transform_of_the_input_whatever_its_longitude_and_latitude(store, tmp_path, chip):
    crs, transform = CHIPS[chip]
    for name, window in (("whole", None), ("crop", Window(4, 8, 16, 16))):
        side = window.width if window else SIZE
        with MapFolder(
            tmp_path / name, placed_at(store, crs, transform), {"worldcover": HEADS["worldcover"]}, window
        ) as maps:
            maps.add("worldcover", np.array([2]), np.zeros((1, 2, side, side), dtype=np.uint8))
        with rasterio.open(tmp_path / name / "worldcover" / "patch_2.tif") as file:
            expected = transform @ Affine.translation(window.left, window.top) if window else transform
            assert file.crs == CRS.from_string(crs)
            assert file.transform.to_gdal() == pytest.approx(expected.to_gdal(), rel=1e-12)


@pytest.mark.parametrize("chip", CHIPS)
def test_boxes_go_through_geojson_and_back_on_every_grid(store, tmp_path, chip):
    box = (4, 6, 10, 20)
    with MapFolder(tmp_path, placed_at(store, *CHIPS[chip]), {"tank": HEADS["tank"]}) as maps:
        maps.add("tank", np.array([2]), told_boxes((*box, 0.9, 1)))
    index = placed_at(store, *CHIPS[chip]).index.iloc[[2]]
    (found,) = read_shapes(tmp_path / "tank.geojson", index, (SIZE, SIZE)).by_row
    np.testing.assert_allclose(found[0, :4], box, atol=0.02)


def told_boxes(*boxes: tuple[float, ...]) -> np.ndarray:
    """One patch's prediction: rows x0, y0, x1, y1, score, class."""
    told = np.zeros((1, 100, 6), dtype=np.float32)
    told[..., 5] = -1
    told[0, : len(boxes)] = boxes
    return told


def test_boxes_come_back_from_geojson_where_they_were(store, tmp_path):
    with MapFolder(tmp_path, store, {"tank": HEADS["tank"]}) as maps:
        maps.add(
            "tank", np.array([2]), told_boxes((4, 6, 10, 20, 0.9, 1), (20, 2, 30, 9, 0.5, 0), (0, 0, 9, 9, 0.4, 0))
        )
    first, _ = json.loads((tmp_path / "tank.geojson").read_text())["features"]
    assert first["properties"] == {"patch_id": "patch_2", "class": "square", "score": 0.9, "pixels": [4, 6, 10, 20]}
    ring = first["geometry"]["coordinates"][0]
    eastings, northings = transform("EPSG:4326", UTM, *zip(*ring, strict=True))
    left, top = 500640, 5300000
    assert eastings == pytest.approx([left + 10 * column for column in (4, 4, 10, 10, 4)], abs=0.01)
    assert northings == pytest.approx([top - 10 * row for row in (6, 20, 20, 6, 6)], abs=0.01)
    read = read_shapes(tmp_path / "tank.geojson", store.index, store.patch_size)
    np.testing.assert_allclose(read.by_row[2], [[4, 6, 10, 20, 1], [20, 2, 30, 9, 0]], atol=0.05)
    assert read.classes == ("round", "square")


def test_boxes_of_a_patch_without_a_place_have_pixels_only(store, tmp_path):
    with MapFolder(tmp_path, store, {"tank": HEADS["tank"]}) as maps:
        maps.add("tank", np.array([UNPLACED]), told_boxes((4, 6, 10, 20, 0.9, 1)))
    (feature,) = json.loads((tmp_path / "tank.geojson").read_text())["features"]
    assert feature["geometry"] is None
    assert feature["properties"]["pixels"] == [4, 6, 10, 20]


def test_boxes_of_a_window_are_counted_from_the_corner_of_the_patch(store, tmp_path):
    model = make_model(tmp_path / "model", "tank", patch_size=16)
    whole = predict_store(model, store, maps=tmp_path / "maps", threshold=0.05)
    features = json.loads((tmp_path / "maps" / "tank.geojson").read_text())["features"]
    pixels = np.array([feature["properties"]["pixels"] for feature in features])
    assert len(pixels) == whole["tank.boxes"].sum() > 0
    assert pixels.min() >= 8
    assert pixels.max() <= 24


def test_the_table_counts_the_boxes_of_the_file(store, tmp_path):
    model = make_model(tmp_path / "model", "tank")
    table = predict_store(model, store, maps=tmp_path, threshold=0.06).set_index("patch_id")
    features = [feature["properties"] for feature in json.loads((tmp_path / "tank.geojson").read_text())["features"]]
    counted = pd.Series([feature["patch_id"] for feature in features]).value_counts().reindex(table.index)
    assert 0 < counted.sum() == table["tank.boxes"].sum()
    assert counted.fillna(0).equals(table["tank.boxes"].fillna(0).astype(float))
    assert min(feature["score"] for feature in features) >= 0.06


def test_a_table_without_maps_is_the_same(predicted, store, tmp_path):
    table = predict_store(make_model(tmp_path / "model", *HEADS), store)
    pd.testing.assert_frame_equal(table, predicted[0])


@pytest.mark.parametrize("name", ["table.parquet", "table.csv"])
def test_the_table_can_be_written(predicted, tmp_path, name):
    write_predictions(predicted[0], tmp_path / name)
    read = pd.read_parquet(tmp_path / name) if name.endswith("parquet") else pd.read_csv(tmp_path / name)
    assert list(read.columns) == list(predicted[0].columns)
    np.testing.assert_allclose(
        read["tank.boxes"].fillna(-1).astype(int), predicted[0]["tank.boxes"].fillna(-1).astype(int)
    )


def test_maps_of_a_model_that_tells_nothing_of_pixels_are_refused(store, tmp_path):
    model = make_model(tmp_path / "model", "zone", "height")
    with pytest.raises(UsageError, match=r"predicts no pixels and no boxes: zone \(single_label\), height"):
        predict_store(model, store, maps=tmp_path / "maps")
    assert not (tmp_path / "maps").exists()


def test_a_file_in_place_of_the_folder_is_refused(store, tmp_path):
    (tmp_path / "maps").touch()
    with pytest.raises(UsageError, match="is no folder"):
        predict_store(make_model(tmp_path / "model", "tank"), store, maps=tmp_path / "maps")


def test_an_interrupted_prediction_leaves_the_boxes_of_the_last_one(store, tmp_path):
    (tmp_path / "tank.geojson").write_text("old")
    with pytest.raises(KeyboardInterrupt), MapFolder(tmp_path, store, {"tank": HEADS["tank"]}):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["tank.geojson"]
    assert (tmp_path / "tank.geojson").read_text() == "old"


def test_an_unknown_reference_system_is_named(store, tmp_path):
    odd = Store(store.path, json.loads((store.path / "store.json").read_text()), store.index.assign(crs="EPSG:1"))
    with (
        MapFolder(tmp_path, odd, {"worldcover": HEADS["worldcover"]}) as maps,
        pytest.raises(DataError, match="patch_2: unknown coordinate reference system 'EPSG:1'"),
    ):
        maps.add("worldcover", np.array([2]), np.zeros((1, 2, SIZE, SIZE), dtype=np.uint8))


def test_names_that_would_leave_the_folder_are_quoted(store, tmp_path):
    index = store.index.assign(patch_id=[f"../{row}" for row in range(PATCHES)])
    odd = Store(store.path, json.loads((store.path / "store.json").read_text()), index)
    with MapFolder(tmp_path / "maps", odd, {"a/b": HEADS["worldcover"]}) as maps:
        maps.add("a/b", np.array([2]), np.zeros((1, 2, SIZE, SIZE), dtype=np.uint8))
    assert [path.name for path in (tmp_path / "maps" / "a%2Fb").iterdir()] == ["..%2F2.tif"]
    assert [path.name for path in tmp_path.iterdir()] == ["maps"]


@pytest.fixture(scope="module")
def model_with_tokens(tmp_path_factory) -> Path:
    """A model that may lack inputs: elevation, radar and season."""
    statistics = ChannelStatistics(
        {"elevation": [1500.0], "s1": [-12.0] * 2, "season": [0.5] * 2},
        {"elevation": [800.0], "s1": [3.0] * 2, "season": [0.2] * 2},
    )
    options = FusionOptions(strategy="late", encoder="test_resnet", missing="token")
    heads = {name: HEADS[name] for name in ("zone", "worldcover")}
    spec = ModelSpec((ELEVATION, SENTINEL1, SEASON), options, heads, statistics, (SIZE, SIZE))
    return save_model(build_model(spec, seed=0), tmp_path_factory.mktemp("tokens") / "model")


class TestGaps:
    def test_patches_with_one_input_are_predicted(self, model_with_tokens, store, tmp_path):
        table = predict_store(model_with_tokens, store, maps=tmp_path / "maps")  # no season, and once no elevation
        assert table["predicted"].all()
        assert table["zone"].notna().all()
        assert len(list((tmp_path / "maps" / "worldcover").iterdir())) == PATCHES

    def test_what_patches_lack_is_counted(self, model_with_tokens, store):
        assert lacked_inputs(model_with_tokens, store) == {"elevation": 1, "season": PATCHES}

    def test_nothing_is_told_of_the_pixels_of_a_patch_without_rasters(self, model_with_tokens, tmp_path):
        source = FakeSource(patches=10, size=SIZE, modalities=(SENTINEL1, SEASON), absent={"s1": {3}})
        table = predict_store(model_with_tokens, pack_source(source, tmp_path / "radar.store", workers=1))
        assert table["predicted"].all()
        told = table["worldcover.share.grassland"].notna()
        assert told.tolist() == [row != 3 for row in range(10)]

    def test_a_store_without_rasters_is_predicted(self, model_with_tokens, tmp_path):
        source = FakeSource(patches=5, modalities=(SEASON,))
        table = predict_store(model_with_tokens, pack_source(source, tmp_path / "season.store", workers=1))
        assert table["zone"].notna().all()

    def test_a_store_without_any_input_is_refused(self, model_with_tokens, tmp_path):
        source = FakeSource(patches=5, size=SIZE, modalities=(SENTINEL2,))
        with pytest.raises(DataError, match="does not fit the model: unknown modality 'elevation'"):
            predict_store(model_with_tokens, pack_source(source, tmp_path / "s2.store", workers=1))

    def test_a_model_that_needs_all_inputs_refuses_a_store_that_lacks_one(self, tmp_path):
        source = FakeSource(patches=5, size=SIZE, modalities=(SENTINEL2,))
        store = pack_source(source, tmp_path / "s2.store", workers=1)
        with pytest.raises(DataError, match="does not fit the model: unknown modality 'elevation'"):
            predict_store(make_model(tmp_path / "model", "zone"), store)

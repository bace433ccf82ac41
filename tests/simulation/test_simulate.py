"""The simulated ben-ge: layout, georeference, values, consistency, determinism."""

import hashlib
import itertools
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rasterio.io import MemoryFile
from rasterio.transform import from_origin
from rasterio.warp import transform

from eofuse.cli import main
from eofuse.data.sources.ben_ge.clc import CLC43
from eofuse.data.sources.ben_ge.source import open_ben_ge
from eofuse.errors import UsageError
from eofuse.modalities import BEN_GE_MODALITIES, CLIMATE_ZONE, WEATHER, WORLDCOVER
from eofuse.simulation import figures, simulate
from eofuse.simulation.geotiff import geotiff_bytes
from eofuse.simulation.labels import land_labels
from eofuse.simulation.landscape import make_landscape
from eofuse.simulation.noise import smooth_noise
from eofuse.simulation.places import climate_of, tile_of, to_utm, zone_of
from eofuse.simulation.scenes import plan_scenes
from eofuse.simulation.sensors import NATIVE_FACTOR
from eofuse.simulation.sky import season

PATCHES = 40
NAME = "ben-ge-tiny"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("simulated") / NAME, PATCHES, seed=7, workers=1)


@pytest.fixture(scope="module")
def meta(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / f"{NAME}_meta.csv")


def digest(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


@settings(max_examples=25)
@given(
    array=st.sampled_from([np.uint8, np.int16, np.uint16, np.float32]).flatmap(
        lambda dtype: arrays(dtype, st.tuples(st.integers(1, 20), st.integers(1, 20)))
    ),
    zone=st.integers(1, 60),
    corner=st.tuples(st.integers(166_000, 834_000), st.integers(0, 9_300_000)),
    resolution=st.sampled_from([10.0, 20.0, 60.0]),
)
def test_geotiff_reads_back_with_crs_and_transform(array, zone, corner, resolution):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with MemoryFile(geotiff_bytes(array, 32600 + zone, *corner, resolution)) as file, file.open() as dataset:
            np.testing.assert_array_equal(dataset.read(1), array)
            assert dataset.dtypes == (array.dtype.name,)
            assert dataset.crs.to_epsg() == 32600 + zone
            assert dataset.transform == from_origin(*corner, resolution, resolution)
            assert dataset.compression is None


def test_the_same_simulation_again_does_nothing_and_another_one_is_refused(folder):
    before = digest(folder)
    assert simulate(folder, PATCHES, seed=7) == folder
    assert digest(folder) == before
    for other in ({"seed": 8}, {"seed": 7, "scenes": 3}):
        with pytest.raises(UsageError, match="is not empty"):
            simulate(folder, PATCHES, **other)


def test_folder_has_the_layout_of_ben_ge(folder, meta):
    assert {path.name for path in folder.iterdir()} == {
        *(f"{NAME}_{table}.csv" for table in ("meta", "era-5", "esaworldcover")),
        "dem", "esaworldcover", "sentinel-1", "sentinel-2", "splits", "simulation.json",
    }  # fmt: skip
    for patch_id, patch_id_s1 in zip(meta.patch_id, meta.patch_id_s1, strict=True):
        assert {path.name for path in (folder / "sentinel-2" / patch_id).iterdir()} == {
            *(f"{patch_id}_{band}.tif" for band in figures.BANDS), f"{patch_id}_labels_metadata.json"
        }  # fmt: skip
        assert {path.name for path in (folder / "sentinel-1" / patch_id_s1).iterdir()} == {
            *(f"{patch_id_s1}_{band}.tif" for band in ("VV", "VH")), f"{patch_id_s1}_labels_metadata.json"
        }  # fmt: skip
    assert {path.name for path in (folder / "dem").iterdir()} == {f"{patch_id}_dem.tif" for patch_id in meta.patch_id}
    assert len(list((folder / "esaworldcover").iterdir())) == PATCHES


def test_folder_says_that_it_is_simulated(folder):
    said = json.loads((folder / "simulation.json").read_text())
    assert said["simulated"] is True
    assert (said["seed"], said["patches"]) == (7, PATCHES)
    assert said["eofuse"]


def test_tables_have_every_column_of_ben_ge(folder):
    assert ",".join(pd.read_csv(folder / f"{NAME}_meta.csv")) == (
        "patch_id,patch_id_s1,timestamp_s2,timestamp_s1,season_s2,season_s1,lon,lat,climatezone"
    )
    assert list(pd.read_csv(folder / f"{NAME}_era-5.csv")) == ["patch_id", "patch_id_s1", *WEATHER.channel_names]
    assert list(pd.read_csv(folder / f"{NAME}_esaworldcover.csv")) == [
        "patch_id", "filename", *(category.name for category in WORLDCOVER.categories)
    ]  # fmt: skip


def test_rasters_have_native_grids_and_types(folder, meta):
    first = meta.iloc[0]
    for band, factor in NATIVE_FACTOR.items():
        values = read(folder / "sentinel-2" / first.patch_id / f"{first.patch_id}_{band}.tif")
        assert (values.shape, values.dtype) == ((120 // factor, 120 // factor), np.uint16)
    vv = read(folder / "sentinel-1" / first.patch_id_s1 / f"{first.patch_id_s1}_VV.tif")
    elevation = read(folder / "dem" / f"{first.patch_id}_dem.tif")
    worldcover = read(folder / "esaworldcover" / f"{first.patch_id}_esaworldcover.tif")
    assert [(array.shape, array.dtype.name) for array in (vv, elevation, worldcover)] == [
        ((120, 120), "float32"), ((120, 120), "int16"), ((120, 120), "uint8")
    ]  # fmt: skip


def test_values_lie_in_plausible_ranges(folder, meta):
    codes = {category.code for category in WORLDCOVER.categories}
    for row in meta.itertuples():
        bands = [read(folder / "sentinel-2" / row.patch_id / f"{row.patch_id}_{band}.tif") for band in figures.BANDS]
        assert min(band.min() for band in bands) >= 1
        assert max(band.max() for band in bands) <= 20_000
        for band in ("VV", "VH"):
            values = read(folder / "sentinel-1" / row.patch_id_s1 / f"{row.patch_id_s1}_{band}.tif")
            assert np.isfinite(values).all()
            assert -35 < np.median(values) < 0
        assert set(np.unique(read(folder / "esaworldcover" / f"{row.patch_id}_esaworldcover.tif"))) <= codes
    weather = pd.read_csv(folder / f"{NAME}_era-5.csv")
    assert weather[["temperature_s2", "temperature_s1"]].stack().between(255, 306).all()
    assert weather[["relhumidity_s2", "relhumidity_s1"]].stack().between(0, 100).all()
    assert set(meta.climatezone) <= {category.code for category in CLIMATE_ZONE.categories}


def test_ids_have_the_form_of_bigearthnet(meta):
    assert meta.patch_id.is_unique
    assert meta.patch_id_s1.is_unique
    for row in meta.itertuples():
        optical = re.fullmatch(r"S2[AB]_MSIL2A_(\d{8}T\d{6})_(\d{1,2})_(\d{1,2})", row.patch_id)
        radar = re.fullmatch(r"S1[AB]_IW_GRDH_1SDV_(\d{8}T\d{6})_(\d\d[A-Z]{3})_(\d{1,2})_(\d{1,2})", row.patch_id_s1)
        assert optical
        assert radar
        assert optical.groups()[1:] == radar.groups()[2:]
        assert pd.Timestamp(optical[1]) == pd.Timestamp(row.timestamp_s2)
        assert pd.Timestamp(radar[1]) == pd.Timestamp(row.timestamp_s1)
        assert abs(pd.Timestamp(row.timestamp_s1) - pd.Timestamp(row.timestamp_s2)) < pd.Timedelta(days=4)
        assert pd.Timestamp("2017-06-01") <= pd.Timestamp(row.timestamp_s2) < pd.Timestamp("2018-06-01")


def test_place_in_the_table_agrees_with_the_rasters(folder, meta):
    for row in meta.itertuples():
        with rasterio.open(folder / "sentinel-2" / row.patch_id / f"{row.patch_id}_B02.tif") as dataset:
            middle = rasterio.transform.xy(dataset.transform, 60, 60, offset="ul")
            lon, lat = transform(dataset.crs, "EPSG:4326", [middle[0]], [middle[1]])
            bounds, crs = dataset.bounds, dataset.crs
        assert (lon[0], lat[0]) == pytest.approx((row.lon, row.lat), abs=2e-5)
        assert crs.to_epsg() == 32600 + int(row.patch_id_s1.split("_")[5][:2])
        for path in (
            folder / "sentinel-2" / row.patch_id / f"{row.patch_id}_B01.tif",
            folder / "sentinel-1" / row.patch_id_s1 / f"{row.patch_id_s1}_VH.tif",
            folder / "dem" / f"{row.patch_id}_dem.tif",
        ):
            with rasterio.open(path) as dataset:
                assert (dataset.bounds, dataset.crs) == (bounds, crs)


def test_grid_column_and_row_give_the_corner(folder, meta):
    corners = {}
    for row in meta.itertuples():
        column, down = map(int, row.patch_id.split("_")[-2:])
        with rasterio.open(folder / "dem" / f"{row.patch_id}_dem.tif") as dataset:
            origin = (dataset.bounds.left - 1200 * column, dataset.bounds.top + 1200 * down)
        scene = row.patch_id.rsplit("_", 2)[0]
        assert corners.setdefault(scene, origin) == origin


def test_some_patches_are_adjacent_and_share_their_landscape(folder, meta):
    places = {tuple(patch_id.rsplit("_", 2)): patch_id for patch_id in meta.patch_id}
    steps = []
    for (scene, column, row), patch_id in places.items():
        east = places.get((scene, str(int(column) + 1), row))
        if east:
            left, right = (read(folder / "dem" / f"{name}_dem.tif").astype(float) for name in (patch_id, east))
            steps.append(np.abs(left[:, -1] - right[:, 0]).mean() / (1 + np.abs(np.diff(left, axis=1)).mean()))
    assert len(steps) >= 3
    assert max(steps) < 3


def test_label_files_carry_the_keys_of_bigearthnet(folder, meta):
    row = meta.iloc[0]
    optical = json.loads((folder / "sentinel-2" / row.patch_id / f"{row.patch_id}_labels_metadata.json").read_text())
    radar = json.loads(
        (folder / "sentinel-1" / row.patch_id_s1 / f"{row.patch_id_s1}_labels_metadata.json").read_text()
    )
    assert set(optical["coordinates"]) == {"ulx", "uly", "lrx", "lry"}
    assert set(radar["coordinates"]) == {"ulx", "uly", "lrx", "lly"}
    assert optical["labels"] == radar["labels"] != []
    assert radar["corresponding_s2_patch"] == row.patch_id


def test_fractions_are_those_of_the_map(folder):
    table = pd.read_csv(folder / f"{NAME}_esaworldcover.csv")
    for row in table.to_dict("records"):
        worldcover = read(folder / "esaworldcover" / row["filename"])
        for category in WORLDCOVER.categories:
            assert row[category.name] == pytest.approx((worldcover == category.code).mean())


def test_split_lists_share_out_all_patches(folder, meta):
    lists = [
        (folder / "splits" / f"{NAME}_{split}.csv").read_text().split() for split in ("train", "validation", "test")
    ]
    assert sorted(itertools.chain(*lists)) == sorted(meta.patch_id)
    assert [len(listed) for listed in lists] == [24, 8, 8]


def test_one_patch_is_a_folder_without_a_problem(tmp_path):
    folder = simulate(tmp_path / "one", patches=1, workers=1)
    assert [path.name for path in (folder / "splits").iterdir()] == ["one_train.csv"]
    assert main(["check", str(folder), "--workers", "1"]) == 0


def test_season_is_constant_within_a_scene_and_temperature_nearly(folder, meta):
    weather = pd.read_csv(folder / f"{NAME}_era-5.csv").merge(meta, on="patch_id")
    groups = weather.groupby(weather.patch_id.str.rsplit("_", n=2).str[0])
    assert (groups.season_s2.nunique() == 1).all()
    assert groups.temperature_s2.std().median() < 1.5 < weather.temperature_s2.std()


def test_files_do_not_depend_on_the_number_of_workers(folder, tmp_path):
    assert digest(simulate(tmp_path / NAME, PATCHES, seed=7, workers=2)) == digest(folder)


def test_another_seed_gives_other_patches(folder, meta, tmp_path):
    other = simulate(tmp_path / NAME, 3, seed=8, workers=1)
    assert not set(pd.read_csv(other / f"{NAME}_meta.csv").patch_id) & set(meta.patch_id)


def test_progress_counts_to_the_number_of_patches(tmp_path):
    seen = []
    simulate(tmp_path / "counted", 4, workers=1, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (4, 4)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_folder_with_content_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        simulate(tmp_path, 1, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_number_of_scenes_can_be_chosen():
    plan = plan_scenes(60, seed=0, scenes=20)
    assert len(plan) == 20
    assert sum(scene.patches for scene in plan) == 60
    assert min(scene.patches for scene in plan) >= 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"patches": 0},
        {"patches": 1, "workers": 0},
        {"patches": 1, "seed": -1},
        {"patches": 2, "scenes": 3},
        {"patches": 2, "scenes": 0},
    ],
)
def test_senseless_numbers_are_refused(tmp_path, wrong):
    with pytest.raises(UsageError):
        simulate(tmp_path / "never", **wrong)


def test_broken_run_leaves_nothing(tmp_path):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "broken", 3, workers=1, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("date", "value"),
    [("2017-06-17", 0.99935), ("2017-12-21", 0.00699), ("2018-02-04", 0.36662), ("2017-10-02", 0.63734)],
)
def test_season_follows_ben_ge(date, value):
    assert season(pd.Timestamp(date).to_pydatetime()) == value


def test_season_agrees_with_real_patches(ben_real_40):
    table = pd.read_csv(ben_real_40 / "ben-real-40_meta.csv").dropna(subset=["season_s2"])
    for row in table.itertuples():
        assert season(pd.Timestamp(row.timestamp_s2).to_pydatetime()) == pytest.approx(row.season_s2, abs=1e-5)


@pytest.mark.parametrize(
    ("lon", "lat", "tile"), [(-7.4423, 52.64069, "29UPU"), (30.59994, 62.81962, "35VPK"), (21.96048, 63.76012, "34VER")]
)
def test_tiles_are_named_as_sentinel_names_them(lon, lat, tile):
    epsg = 32600 + int(tile[:2])
    assert tile_of(epsg, *to_utm(epsg, lon, lat))[0] == tile


@given(st.floats(-10, 32, allow_nan=False), st.floats(36, 70, allow_nan=False), st.floats(0, 3500, allow_nan=False))
def test_every_place_has_a_climate_zone_of_ben_ge(lon, lat, elevation):
    assert zone_of(climate_of(lon, lat, elevation)) in {category.code for category in CLIMATE_ZONE.categories}


@settings(max_examples=30)
@given(st.integers(1, 3000), st.integers(0, 1000))
def test_plan_holds_every_patch_once(patches, seed):
    scenes = plan_scenes(patches, seed)
    cells = [
        (scene.satellite_s2, scene.time_s2, block.column + across, block.row + down)
        for scene in scenes
        for block in scene.blocks
        for down in range(block.shape[0])
        for across in range(block.shape[1])
    ]
    assert len(cells) == len(set(cells)) == patches
    assert all(0 <= column < 91 and 0 <= row < 91 for *_, column, row in cells)


def test_frequent_zones_have_several_scenes():
    zones = [zone_of(scene.climate(scene.elevation_m)) for scene in plan_scenes(800, 0)]
    counts = pd.Series(zones).value_counts()
    assert (counts >= 3).sum() >= 6
    assert counts.max() < len(zones) / 2


def test_noise_has_unit_spread():
    spreads = [smooth_noise(np.random.default_rng(i), (200, 200), (24, 12, 6), 0.5).std() for i in range(8)]
    assert np.mean(spreads) == pytest.approx(1, abs=0.2)


def test_water_is_level_and_low():
    for scene in plan_scenes(600, 1):
        if scene.at_coast:
            landscape = make_landscape(scene, (120, 120), np.random.default_rng(scene.number))
            sea = landscape.surface == figures.SEA
            assert (landscape.elevation_m[sea] == 0).all()
            assert (landscape.elevation_m[~sea] > 0).all()


def test_labels_follow_the_ground():
    scene = plan_scenes(40, 0)[0]
    surface = np.full((120, 120), figures.CONIFER, np.uint8)
    parcel = np.zeros((120, 120), np.int32)
    found = [land_labels(scene, surface, parcel, np.random.default_rng(i)) for i in range(60)]
    right = np.mean([labels == ["Coniferous forest"] for labels in found])
    assert 0.8 < right < 1


def test_labels_are_names_of_the_nomenclature(folder):
    names = {name for path in folder.rglob("*_labels_metadata.json") for name in json.loads(path.read_text())["labels"]}
    assert names <= set(CLC43)
    assert len(names) >= 8


def test_reader_takes_the_folder_without_complaint(folder):
    source = open_ben_ge(folder)
    assert source.simulated
    assert source.problems == []
    assert {modality.name for modality in source.modalities} == {modality.name for modality in BEN_GE_MODALITIES}
    assert source.errors(0) == []
    assert (source.index["split"].notna()).all()


def test_spectra_separate_water_from_leaves():
    green = figures.spectra()[0]
    near_infrared, red = figures.BANDS.index("B08"), figures.BANDS.index("B04")
    assert green[figures.BROADLEAF, near_infrared] > 10 * green[figures.LAKE, near_infrared]
    assert green[figures.BROADLEAF, near_infrared] > 5 * green[figures.BROADLEAF, red]

"""A folder of the ben-ge family becomes an index and rasters, or a message that says what is wrong."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio

from eofuse.data.sources.ben_ge.source import open_ben_ge
from eofuse.errors import DataError, UsageError
from eofuse.modalities import SENTINEL2
from fake_ben_ge import edit_table, write_ben_ge, write_tif

ALL = ["s2", "s1", "elevation", "worldcover", "weather", "climate_zone", "season"]


def names(source):
    return [modality.name for modality in source.modalities]


def problems(folder, severity=None):
    return [p for p in open_ben_ge(folder).problems if severity in (None, p.severity)]


def tif(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[0]


def rewrite(path: Path, change=lambda values: values, **profile):
    """Writes a GeoTIFF again with other values or another profile."""
    with rasterio.open(path) as dataset:
        values, old = dataset.read(), dataset.profile
    values = np.asarray(change(values))
    new = {
        **old,
        "dtype": values.dtype,
        "count": len(values),
        "height": values.shape[1],
        "width": values.shape[2],
        **profile,
    }
    with rasterio.open(path, "w", **new) as dataset:
        dataset.write(values)


# --- layouts


@pytest.mark.parametrize("name", ["ben-ge-800", "ben-ge-8k"])
def test_a_ben_ge_archive_has_every_modality(tmp_path, name):
    fakes = write_ben_ge(tmp_path / name, patches=3, name=name)
    source = open_ben_ge(tmp_path / name)
    assert source.problems == []
    assert (source.name, names(source), source.patch_size, source.simulated) == (name, ALL, (24, 24), False)
    assert list(source.index["patch_id"]) == [fake.patch_id for fake in fakes]
    assert list(source.index["patch_id_s1"]) == [fake.patch_id_s1 for fake in fakes]
    assert list(source.index["labels_43"]) == [fake.labels for fake in fakes]


def test_full_ben_ge_has_other_names_for_elevation_climate_zones_and_meta(tmp_path):
    write_ben_ge(tmp_path, patches=3, name="ben-ge", layout="full")
    source = open_ben_ge(tmp_path)
    assert source.problems == []
    assert (source.name, names(source)) == ("ben-ge", ALL)
    listed = pd.read_csv(tmp_path / "ben-ge_climatezones.csv", index_col="patch_id")["climatezone"]
    assert list(source.index["climate_zone.climatezone"]) == list(listed[source.index["patch_id"]])


@pytest.mark.parametrize("layout", ["v1", "v1-flat"])
def test_plain_bigearthnet_v1_pairs_by_the_sentinel1_label_files(tmp_path, layout):
    fakes = write_ben_ge(tmp_path, patches=4, layout=layout)
    source = open_ben_ge(tmp_path)
    assert source.problems == []
    assert names(source) == ["s2", "s1", "season"]
    by_id = {fake.patch_id: fake for fake in fakes}
    assert list(source.index["patch_id"]) == sorted(by_id)
    assert all(
        by_id[i].patch_id_s1 == j for i, j in zip(source.index["patch_id"], source.index["patch_id_s1"], strict=True)
    )
    assert source.index["lon"].between(11, 13).all()
    assert source.index["split"].isna().all()


def test_reben_pairs_by_its_metadata_and_gives_labels_splits_and_flags(tmp_path):
    fakes = write_ben_ge(tmp_path, patches=4, layout="v2")
    source = open_ben_ge(tmp_path)
    assert source.problems == []
    assert names(source) == ["s2", "s1", "season"]
    assert list(source.index["patch_id_s1"]) == [fake.patch_id_s1 for fake in fakes]
    assert list(source.index["split"]) == ["train", "validation", "test", "train"]
    assert list(source.index["seasonal_snow"]) == [False, True, False, False]
    assert list(source.index["cloud_or_shadow"]) == [False, False, True, False]
    assert source.index["labels_43"].isna().all()
    assert all(source.index["labels_19"])
    assert set(source.index["tile"]) == {"33UUP"}


def test_reben_without_metadata_still_opens(tmp_path):
    write_ben_ge(tmp_path, patches=2, layout="v2")
    (tmp_path / "metadata.parquet").unlink()
    source = open_ben_ge(tmp_path)
    assert names(source) == ["s2"]
    assert source.index["labels_19"].isna().all()


def test_reben_patches_without_a_folder_are_left_out_with_one_warning(tmp_path):
    fakes = write_ben_ge(tmp_path, patches=3, layout="v2")
    shutil.rmtree(next(tmp_path.glob(f"BigEarthNet-S2/*/{fakes[1].patch_id}")))
    assert [p.what for p in open_ben_ge(tmp_path).problems] == ["its Sentinel-2 folder is missing"]
    shutil.rmtree(next(tmp_path.glob(f"BigEarthNet-S1/*/{fakes[1].patch_id_s1}")))
    source = open_ben_ge(tmp_path)
    assert list(source.index["patch_id"]) == [fakes[0].patch_id, fakes[2].patch_id]
    assert [(p.severity, p.what) for p in source.problems] == [("warning", "1 of the 3 patches listed have no folder")]


def test_reben_sentinel1_alone_can_be_opened(tmp_path):
    fakes = write_ben_ge(tmp_path, patches=2, layout="v2", modalities=["s1"])
    source = open_ben_ge(tmp_path, ["s1"])
    assert source.problems == []
    assert list(source.index["patch_id"]) == [fake.patch_id for fake in fakes]
    assert source.read(1)["s1"].shape == (2, 24, 24)


def test_the_patch_folder_itself_can_be_opened(tmp_path):
    write_ben_ge(tmp_path, patches=2, layout="v1")
    assert names(open_ben_ge(tmp_path / "BigEarthNet-v1.0")) == ["s2"]


def test_sentinel1_alone_can_be_opened(tmp_path):
    write_ben_ge(tmp_path, patches=2, layout="v1", modalities=["s1"])
    source = open_ben_ge(tmp_path)
    assert names(source) == ["s1", "season"]
    assert source.read(0)["s1"].shape == (2, 24, 24)
    assert source.index["labels_43"].notna().all()
    assert source.index["lat"].between(47, 48).all()


def test_a_folder_without_anything_known_says_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"looked for a table \*_meta.csv, the folders sentinel-2"):
        open_ben_ge(tmp_path)


def test_the_folder_above_the_dataset_is_told_from_it(folder):
    with pytest.raises(DataError, match="did you mean the folder 'ben-ge-800' in it"):
        open_ben_ge(folder.parent)


def test_a_folder_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        open_ben_ge(tmp_path / "nowhere")


def test_two_meta_tables_are_an_error_unless_one_has_the_name_of_the_folder(folder):
    shutil.copy(folder / "ben-ge-800_meta.csv", folder / "ben-ge-8k_meta.csv")
    assert open_ben_ge(folder).name == "ben-ge-800"
    with pytest.raises(DataError, match="several tables match"):
        open_ben_ge(folder.rename(folder.parent / "other"))


def test_simulation_json_marks_a_simulated_dataset(tmp_path):
    write_ben_ge(tmp_path, patches=1, simulated=True)
    assert open_ben_ge(tmp_path).simulated


def test_a_damaged_simulation_json_is_an_error(folder):
    (folder / "simulation.json").write_text("{")
    with pytest.raises(DataError, match=r"simulation\.json: is not valid"):
        open_ben_ge(folder)


def test_hidden_files_are_not_patches(folder):
    (folder / "sentinel-2" / ".DS_Store").mkdir()
    (folder / "dem" / "._x_dem.tif").touch()
    (folder / "._ben-ge-800_meta.csv").touch()
    assert open_ben_ge(folder).problems == []


# --- index


def test_scene_and_tile_come_from_the_ids(tmp_path):
    fakes = write_ben_ge(tmp_path, patches=12)
    index = open_ben_ge(tmp_path).index
    assert list(index["scene"]) == [fake.scene for fake in fakes]
    assert index["scene"].nunique() == 6
    assert set(index["tile"]) == {"33UUP"}
    assert (list(index["column"][:2]), list(index["row"][:2])) == ([10, 11], [20, 20])


def test_v1_and_v2_ids_of_one_pass_share_the_scene(tmp_path):
    write_ben_ge(tmp_path / "a", patches=4)
    write_ben_ge(tmp_path / "b", patches=4, v2_ids=True)
    assert list(open_ben_ge(tmp_path / "a").index["scene"]) == list(open_ben_ge(tmp_path / "b").index["scene"])


def test_tables_are_joined_by_id_whatever_the_order_of_their_rows(folder):
    source = open_ben_ge(folder)
    weather = pd.read_csv(folder / "ben-ge-800_era-5.csv", index_col="patch_id")
    fractions = pd.read_csv(folder / "ben-ge-800_esaworldcover.csv", index_col="patch_id")
    order = source.index["patch_id"]
    assert list(weather.index) != list(order)
    assert np.allclose(source.index["weather.temperature_s2"], weather.loc[order, "temperature_s2"])
    assert np.allclose(source.index["worldcover_fraction.built-up"], fractions.loc[order, "built-up"])


def test_columns_are_read_by_name_whatever_their_order(folder):
    before = open_ben_ge(folder).index
    for table in ("meta", "era-5", "esaworldcover"):
        edit_table(folder / f"ben-ge-800_{table}.csv", lambda rows: rows[rows.columns[::-1]])
    pd.testing.assert_frame_equal(open_ben_ge(folder).index, before)


def test_sentinel1_is_paired_by_the_table_not_by_sorted_folders(tmp_path):
    write_ben_ge(tmp_path, patches=3)
    edit_table(tmp_path / "ben-ge-800_meta.csv", lambda rows: rows[::-1])
    source = open_ben_ge(tmp_path)
    assert source.problems == []
    for row, patch_id_s1 in enumerate(source.index["patch_id_s1"]):
        with rasterio.open(tmp_path / "sentinel-1" / patch_id_s1 / f"{patch_id_s1}_VV.tif") as dataset:
            assert (source.read(row)["s1"][0] == dataset.read(1)).all()


def test_time_comes_from_the_id_where_the_table_has_none(folder):
    edit_table(
        folder / "ben-ge-800_meta.csv", lambda rows: rows.drop(columns=["timestamp_s2", "season_s2", "season_s1"])
    )
    source = open_ben_ge(folder)
    assert source.problems == []
    assert source.index["time_s2"][0] == "2017-06-03T10:10:31"
    assert source.index["time_s2"][2] == "2017-07-03T09:41:59"


@pytest.mark.parametrize(
    "written",
    ["2017-07-03T09:41:59Z", "2017-07-03 09:41:59+00:00", "2017-07-03 11:41:59+02:00", "2017-07-03 09:41:59 UTC"],
)
def test_times_with_a_zone_are_utc(folder, written):
    edit_table(folder / "ben-ge-800_meta.csv", lambda rows: rows.assign(timestamp_s2=written))
    assert open_ben_ge(folder).index["time_s2"][2] == "2017-07-03T09:41:59"


def test_a_strange_timestamp_falls_back_to_the_id(folder):
    edit_table(folder / "ben-ge-800_meta.csv", lambda rows: rows.assign(timestamp_s2="2018-02-04 09:41:61"))
    assert open_ben_ge(folder).index["time_s2"][2] == "2017-07-03T09:41:59"


def test_season_is_computed_where_the_table_has_none(folder):
    before = open_ben_ge(folder).index
    edit_table(folder / "ben-ge-800_meta.csv", lambda rows: rows.drop(columns=["season_s2", "season_s1"]))
    after = open_ben_ge(folder).index
    assert np.allclose(
        after[["season.season_s2", "season.season_s1"]], before[["season.season_s2", "season.season_s1"]]
    )


def test_both_names_of_the_validation_list_are_accepted(folder):
    expected = ["train", "train", "validation", "test"]
    assert list(open_ben_ge(folder).index["split"]) == expected
    (folder / "splits/ben-ge-800_val.csv").rename(folder / "splits/ben-ge-800_validation.csv")
    assert list(open_ben_ge(folder).index["split"]) == expected


def test_published_lists_may_be_absent(tmp_path):
    write_ben_ge(tmp_path, patches=2, splits=False)
    source = open_ben_ge(tmp_path)
    assert list(source.index["split"]) == [None, None]
    assert source.problems == []


def test_lists_of_cloud_and_snow_become_flags(folder):
    ids = list(open_ben_ge(folder).index["patch_id"])
    assert "seasonal_snow" not in open_ben_ge(folder).index
    (folder / "patches_with_seasonal_snow.csv").write_text(f"{ids[1]}\nS2A_MSIL2A_20170613T101031_1_1\n")
    (folder / "patches_with_cloud_and_shadow.csv").write_text(f"{ids[2]}\n{ids[3]}\n")
    index = open_ben_ge(folder).index
    assert list(index["seasonal_snow"]) == [False, True, False, False]
    assert list(index["cloud_or_shadow"]) == [False, False, True, True]


def test_the_sentinel1_label_file_may_say_lly_for_lry(tmp_path):
    write_ben_ge(tmp_path / "s2", patches=2, layout="v1", modalities=["s2"])
    write_ben_ge(tmp_path / "s1", patches=2, layout="v1", modalities=["s1"])
    assert "lly" in json.loads(tif(tmp_path / "s1", "*/*/*.json").read_text())["coordinates"]
    place = ["crs", "ulx", "uly", "lon", "lat"]
    assert open_ben_ge(tmp_path / "s1").index[place].equals(open_ben_ge(tmp_path / "s2").index[place])


def test_place_comes_from_the_label_files(folder):
    index = open_ben_ge(folder).index
    assert set(index["crs"]) == {"EPSG:32633"}
    assert index["ulx"][1] - index["ulx"][0] == 240
    listed = pd.read_csv(folder / "ben-ge-800_meta.csv")
    assert list(index["lon"]) == list(listed["lon"])
    edit_table(folder / "ben-ge-800_meta.csv", lambda rows: rows.drop(columns=["lon", "lat"]))
    computed = open_ben_ge(folder).index
    assert np.allclose(computed[["lon", "lat"]], listed[["lon", "lat"]], atol=1e-5)


def test_labels_of_43_are_grouped_and_unknown_labels_are_none(folder):
    label_file = tif(folder, "sentinel-2/*/*.json")
    patch_id = label_file.parent.name
    content = json.loads(label_file.read_text())
    label_file.write_text(json.dumps({**content, "labels": ["Airports", "Salines"]}))
    row = open_ben_ge(folder).index.set_index("patch_id").loc[patch_id]
    assert (row["labels_43"], row["labels_19"]) == (["Airports", "Salines"], ["Coastal wetlands"])
    label_file.unlink()
    row = open_ben_ge(folder).index.set_index("patch_id").loc[patch_id]
    assert (row["labels_43"], row["labels_19"]) == (None, None)


def test_a_modality_without_any_file_does_not_occur(tmp_path):
    write_ben_ge(tmp_path, patches=2, modalities=["s2", "season"])
    source = open_ben_ge(tmp_path)
    assert "s1" not in names(source)
    assert "worldcover" not in names(source)
    assert not [column for column in source.index if column.startswith(("has_s1", "weather", "has_weather"))]


def test_a_patch_may_lack_a_modality(tmp_path):
    absent = {"s1": [0], "elevation": [1], "worldcover": [1], "weather": [2], "climate_zone": [3]}
    write_ben_ge(tmp_path, patches=4, absent=absent)
    source = open_ben_ge(tmp_path)
    assert not [p for p in source.problems if p.severity == "error"]
    for modality, rows in absent.items():
        assert list(np.flatnonzero(~source.index[f"has_{modality}"])) == rows
    assert source.index["patch_id_s1"][0] is None
    assert source.index["climate_zone.climatezone"][3] == -1
    assert np.isnan(source.index["weather.temperature_s1"][2])
    assert list(source.read(0)) == ["s2", "elevation", "worldcover"]
    assert list(source.read(1)) == ["s2", "s1"]


def test_wanted_modalities_can_be_chosen(folder):
    source = open_ben_ge(folder, ["season", "s1"])
    assert names(source) == ["s1", "season"]
    assert list(source.read(0)) == ["s1"]
    assert "has_s2" not in source.index


def test_what_is_missing_of_an_unwanted_modality_is_no_problem(folder):
    shutil.rmtree(tif(folder, "sentinel-1/*"))
    edit_table(folder / "ben-ge-800_era-5.csv", lambda rows: rows.drop(columns="wind-u_s1"))
    assert open_ben_ge(folder, ["s2", "season"]).problems == []
    assert len(open_ben_ge(folder).problems) == 2


def test_an_unknown_modality_names_the_nearest(folder):
    with pytest.raises(UsageError, match="did you mean 'elevation'"):
        open_ben_ge(folder, ["elevatoin"])


def test_a_wanted_modality_that_never_occurs_is_an_error(tmp_path):
    write_ben_ge(tmp_path, patches=1, modalities=["s2"])
    with pytest.raises(DataError, match="no patch has the modality 'worldcover'"):
        open_ben_ge(tmp_path, ["s2", "worldcover"])


def test_indexing_opens_no_raster(folder):
    for path in folder.rglob("*.tif"):
        path.write_bytes(b"")
    assert len(open_ben_ge(folder).index) == 4


def test_the_source_can_be_pickled(folder):
    source = open_ben_ge(folder)
    copy = pickle.loads(pickle.dumps(source))
    assert (copy.read(1)["s2"] == source.read(1)["s2"]).all()


def test_the_fingerprint_is_the_same_elsewhere_and_another_for_other_content(folder, tmp_path):
    fingerprint = open_ben_ge(folder).fingerprint
    shutil.copytree(folder, tmp_path / "copy")
    assert open_ben_ge(tmp_path / "copy").fingerprint == fingerprint
    assert open_ben_ge(folder, ["s2"]).fingerprint != fingerprint
    edit_table(folder / "ben-ge-800_meta.csv", lambda rows: rows.assign(climatezone="26"))
    assert open_ben_ge(folder).fingerprint != fingerprint
    path = tif(tmp_path / "copy", "dem/*.tif")
    path.write_bytes(path.read_bytes()[:-1] + b"\1")  # of the same length
    assert open_ben_ge(tmp_path / "copy").fingerprint != fingerprint


# --- rasters


def test_bands_come_in_the_named_order_on_the_10_m_grid(folder):
    source = open_ben_ge(folder)
    values = source.read(0)["s2"]
    assert (values.shape, values.dtype) == ((12, 24, 24), np.uint16)
    patch_id = source.index["patch_id"][0]
    for name in ("B02", "B03", "B04", "B08"):
        with rasterio.open(folder / "sentinel-2" / patch_id / f"{patch_id}_{name}.tif") as dataset:
            assert (values[SENTINEL2.channel_index(name)] == dataset.read(1)).all()
    with rasterio.open(folder / "sentinel-2" / patch_id / f"{patch_id}_B8A.tif") as dataset:
        assert values[SENTINEL2.channel_index("B8A")].mean() == pytest.approx(dataset.read(1).mean(), rel=0.05)


def test_decibels_keep_their_fractions(folder):
    path = tif(folder, "sentinel-1/*/*_VH.tif")
    rewrite(path, lambda values: np.full_like(values, -15.62))
    source = open_ben_ge(folder)
    row = list(source.index["patch_id_s1"]).index(path.parent.name)
    assert (source.read(row)["s1"][1] == np.float32(-15.62)).all()
    assert (source.read(row)["s1"][0] != np.float32(-15.62)).all()


def test_of_a_three_band_elevation_file_the_first_band_is_taken(folder):
    path = tif(folder, "dem/*.tif")
    rewrite(path, lambda values: np.concatenate([values, values * 0, values * 0 + 7]))
    source = open_ben_ge(folder)
    row = list(source.index["patch_id"]).index(path.name.removesuffix("_dem.tif"))
    with rasterio.open(path) as dataset:
        assert (source.read(row)["elevation"][0] == dataset.read(1)).all()


@pytest.mark.parametrize("dtype", ["uint16", "float32", "int32"])
def test_whole_metres_of_another_dtype_are_accepted(folder, dtype):
    for path in folder.glob("dem/*.tif"):
        rewrite(path, lambda values: np.abs(values).astype(dtype))
    assert open_ben_ge(folder).read(0)["elevation"].dtype == np.int16


def test_mangroves_and_moss_keep_their_codes(folder):
    path = tif(folder, "esaworldcover/*.tif")
    rewrite(path, lambda values: np.where(values < 60, 95, 100).astype(np.uint8))
    source = open_ben_ge(folder)
    row = list(source.index["patch_id"]).index(path.name.removesuffix("_esaworldcover.tif"))
    assert set(np.unique(source.read(row)["worldcover"])) <= {95, 100}


def shift_east(path):
    with rasterio.open(path) as dataset:
        a = dataset.transform
    rewrite(path, transform=rasterio.Affine(a.a, a.b, a.c + 10, a.d, a.e, a.f))


def put(value, count=1):
    def change(values):
        values = values.copy()
        values.reshape(-1)[:count] = value
        return values

    return change


def remade(change=lambda values: values, **profile):
    return lambda path: rewrite(path, change, **profile)


def cast(dtype):
    return remade(lambda values: values.astype(dtype))


def cut(path):
    path.write_bytes(path.read_bytes()[:1000])


BAD_RASTERS = {
    "a missing band": ("sentinel-2/*/*_B07.tif", Path.unlink, "band B07, .*file missing"),
    "a missing B02": ("sentinel-2/*/*_B02.tif", Path.unlink, "band B02, .*file missing"),
    "a missing polarisation": ("sentinel-1/*/*_VH.tif", Path.unlink, "band VH, .*file missing"),
    "an empty file": ("sentinel-2/*/*_B01.tif", lambda path: path.write_bytes(b""), "band B01, .*not a readable"),
    "a truncated file": ("sentinel-1/*/*_VV.tif", cut, "band VV, .*not a readable GeoTIFF"),
    "a wrong shape": ("sentinel-2/*/*_B03.tif", remade(lambda v: v[:, :20]), "20×24 pixels, expected 24×24"),
    "a band already resampled": (
        "sentinel-2/*/*_B05.tif",
        remade(lambda v: v.repeat(2, 1).repeat(2, 2)),
        "band B05, .*24×24 pixels, expected 12×12",
    ),
    "bands as reflectance": ("sentinel-2/*/*_B04.tif", cast("float32"), "dtype float32, expected uint16"),
    "bands with a sign": ("sentinel-2/*/*_B04.tif", cast("int16"), "dtype int16, expected uint16"),
    "decibels as integers": ("sentinel-1/*/*_VV.tif", cast("int32"), "dtype int32, expected float32"),
    "NaN in decibels": ("sentinel-1/*/*_VV.tif", remade(put(np.nan, 3)), "band VV, .*3 pixels are NaN"),
    "infinite decibels": ("sentinel-1/*/*_VV.tif", remade(put(-np.inf)), "band VV, .*1 pixels are NaN"),
    "decibels of another size": ("sentinel-1/*/*_VV.tif", remade(lambda v: v[:, :12, :12]), "12×12 pixels"),
    "a void in elevation": ("dem/*.tif", remade(put(-32768, 2)), "band elevation, .*2 pixels without data"),
    "a declared void in elevation": ("dem/*.tif", remade(put(-999), nodata=-999), r"1 pixels without data \(-999"),
    "heights in fractions": ("dem/*.tif", remade(lambda v: v + np.float32(0.5)), "heights are not whole metres"),
    "heights beyond int16": ("dem/*.tif", remade(lambda v: v.astype("int32") + 40000), "beyond the range of int16"),
    "an unknown land cover code": ("esaworldcover/*.tif", remade(put(11, 4)), "4 pixels hold codes .*: 11"),
    "land cover without data": ("esaworldcover/*.tif", remade(put(0)), "codes that WorldCover does not have: 0"),
    "land cover in two bytes": ("esaworldcover/*.tif", cast("int16"), "dtype int16, expected uint8"),
    "a band in another system": ("sentinel-2/*/*_B11.tif", remade(crs="EPSG:32632"), "band B11, .*EPSG:32632 differs"),
    "elevation in another system": ("dem/*.tif", remade(crs="EPSG:4326"), "band elevation, .*EPSG:4326 differs"),
    "a shifted band": ("sentinel-2/*/*_B12.tif", shift_east, "band B12, .*corner"),
    "a shifted polarisation": ("sentinel-1/*/*_VH.tif", shift_east, "band VH, .*corner"),
}


@pytest.mark.parametrize("case", BAD_RASTERS)
def test_a_bad_raster_is_named(folder, case):
    pattern, spoil, message = BAD_RASTERS[case]
    path = tif(folder, pattern)
    spoil(path)
    source = open_ben_ge(folder)
    ids = [*zip(source.index["patch_id"], source.index["patch_id_s1"], strict=True)]
    bad = next(row for row, (patch_id, patch_id_s1) in enumerate(ids) if path.name.startswith((patch_id, patch_id_s1)))
    with pytest.raises(DataError, match=message) as caught:
        source.read(bad)
    assert ids[bad][0] in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.fix
    source.read(bad - 1)


def test_a_pixel_without_data_in_any_band_is_named(folder):
    source = open_ben_ge(folder)
    patch_id = source.index["patch_id"][0]
    for path in folder.glob(f"sentinel-2/{patch_id}/*.tif"):
        rewrite(path, lambda values: values * 0)
    with pytest.raises(DataError, match=r"all bands of s2.*576 pixels without data"):
        source.read(0)


def test_the_patch_size_is_that_of_the_first_readable_patch(folder):
    for path in (folder / "sentinel-2" / open_ben_ge(folder).index["patch_id"][0]).glob("*.tif"):
        path.unlink()
    shutil.rmtree(folder / "sentinel-1" / open_ben_ge(folder).index["patch_id_s1"][0])
    assert open_ben_ge(folder).patch_size == (24, 24)


def test_a_dataset_without_a_readable_raster_has_no_patch_size(folder):
    for path in folder.rglob("*.tif"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="not a readable GeoTIFF"):
        open_ben_ge(folder).patch_size  # noqa: B018


# --- problems of tables


def expect(folder, text, severity="error", count=1):
    found = [p for p in problems(folder) if text in p.what]
    assert len(found) == count, [str(p) for p in problems(folder)]
    assert all(p.severity == severity for p in found)
    return found[0]


def test_duplicated_ids_are_an_error_and_the_first_row_counts(folder):
    edit_table(folder / "ben-ge-800_meta.csv", lambda rows: pd.concat([rows, rows[:1].assign(lon="0")]))
    problem = expect(folder, "several rows for one patch")
    index = open_ben_ge(folder).index
    assert problem.patch_id == index["patch_id"][0]
    assert len(index) == 4
    assert index["lon"][0] > 0


def test_a_listed_patch_without_any_raster_is_an_error(folder):
    def add(rows):
        return pd.concat([rows, rows[:1].assign(patch_id="S2A_MSIL2A_20170613T101031_1_1", patch_id_s1="")])

    edit_table(folder / "ben-ge-800_meta.csv", add)
    assert expect(folder, "no raster of it is there").patch_id == "S2A_MSIL2A_20170613T101031_1_1"


def test_a_listed_patch_without_its_sentinel2_folder_is_an_error(folder):
    path = tif(folder, "sentinel-2/*")
    shutil.rmtree(path)
    assert expect(folder, "Sentinel-2 folder is missing").patch_id == path.name


def test_a_folder_that_the_table_does_not_list_is_an_error(folder):
    edit_table(folder / "ben-ge-800_meta.csv", lambda rows: rows[1:])
    assert expect(folder, "does not list").fix


def test_a_missing_sentinel1_folder_is_an_error(folder):
    path = tif(folder, "sentinel-1/*")
    shutil.rmtree(path)
    assert path.name in expect(folder, "its Sentinel-1 folder").what


def test_a_pair_that_the_label_file_denies_is_an_error(folder):
    def swap(rows):
        return rows.assign(patch_id_s1=[*rows["patch_id_s1"][[1, 0]], *rows["patch_id_s1"][2:]])

    edit_table(folder / "ben-ge-800_meta.csv", swap)
    expect(folder, "whose label file names", count=2)


def test_a_pair_with_another_column_or_row_is_a_warning_where_no_label_file_tells(folder):
    for path in folder.glob("sentinel-1/*/*.json"):
        path.unlink()

    def swap(rows):
        return rows.assign(patch_id_s1=[*rows["patch_id_s1"][[1, 0]], *rows["patch_id_s1"][2:]])

    assert problems(folder) == []
    edit_table(folder / "ben-ge-800_meta.csv", swap)
    expect(folder, "another column and row", "warning", count=2)


def test_one_sentinel1_patch_for_two_is_an_error(folder):
    edit_table(folder / "ben-ge-800_meta.csv", lambda rows: rows.assign(patch_id_s1=rows["patch_id_s1"][0]))
    expect(folder, "belongs to another patch already", count=3)


def test_a_table_without_patch_ids_is_an_error_at_once(folder):
    edit_table(folder / "ben-ge-800_meta.csv", lambda rows: rows.rename(columns={"patch_id": "patchid"}))
    with pytest.raises(DataError, match=r"no column 'patch_id'.*rename the column 'patchid'"):
        open_ben_ge(folder)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x01\x02", b'patch_id,lon\n"a,1\n'])
def test_a_table_that_is_no_table_is_an_error_at_once(folder, content):
    (folder / "ben-ge-800_era-5.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"era-5\.csv: not a readable table"):
        open_ben_ge(folder)


def test_a_misspelt_column_names_the_nearest(folder):
    edit_table(folder / "ben-ge-800_era-5.csv", lambda rows: rows.rename(columns={"temperature_s2": "temprature_s2"}))
    assert "temprature_s2" in expect(folder, "no column 'temperature_s2'").fix
    assert "weather" not in names(open_ben_ge(folder))


def test_a_misspelt_optional_column_is_an_error_too(folder):
    edit_table(folder / "ben-ge-800_meta.csv", lambda rows: rows.rename(columns={"climatezone": "climate_zone"}))
    assert "climate_zone" in expect(folder, "no column 'climatezone'").fix


def test_a_missing_column_for_the_pairs_is_an_error(folder):
    edit_table(folder / "ben-ge-800_meta.csv", lambda rows: rows.drop(columns="patch_id_s1"))
    expect(folder, "no column 'patch_id_s1'")


def test_text_in_a_numeric_column_is_an_error(folder):
    edit_table(folder / "ben-ge-800_era-5.csv", lambda rows: rows.assign(atmpressure_level="high"))
    expect(folder, "'high', which is no number", count=4)


def test_a_list_that_names_an_unknown_patch_is_an_error(folder):
    with (folder / "splits/ben-ge-800_test.csv").open("a") as file:
        file.write("S2A_MSIL2A_20170613T101031_1_1\n")
    expect(folder, "unknown patch 'S2A_MSIL2A_20170613T101031_1_1'")


def test_an_empty_list_is_an_error(folder):
    (folder / "splits/ben-ge-800_test.csv").write_text("\n")
    assert expect(folder, "the list is empty").where.endswith("ben-ge-800_test.csv")


def test_a_patch_in_two_lists_is_an_error_and_in_neither_split(folder):
    shutil.copy(folder / "splits/ben-ge-800_train.csv", folder / "splits/ben-ge-800_test.csv")
    expect(folder, "listed for train and for test", count=2)
    assert list(open_ben_ge(folder).index["split"]) == [None, None, "validation", None]


def test_a_climate_code_that_ben_ge_does_not_have_is_an_error(folder):
    edit_table(folder / "ben-ge-800_meta.csv", lambda rows: rows.assign(climatezone=["31", *rows["climatezone"][1:]]))
    expect(folder, "climate code 31")
    assert list(open_ben_ge(folder).index["has_climate_zone"]) == [False, True, True, True]


def test_a_season_that_does_not_fit_the_date_is_a_warning(folder):
    edit_table(folder / "ben-ge-800_meta.csv", lambda rows: rows.assign(season_s1="0.5"))
    expect(folder, "season_s1 0.50000 does not fit the date", "warning", count=4)


def test_a_date_that_is_not_that_of_the_id_is_a_warning(folder):
    edit_table(folder / "ben-ge-800_meta.csv", lambda rows: rows.assign(timestamp_s1="2018-01-01 00:00:00"))
    expect(folder, "is not the date in the id", "warning", count=4)


def test_a_place_that_is_not_that_of_the_corner_is_a_warning(folder):
    edit_table(folder / "ben-ge-800_meta.csv", lambda rows: rows.rename(columns={"lon": "lat", "lat": "lon"}))
    expect(folder, "are not those of its corner", "warning", count=4)


def test_a_label_outside_the_nomenclature_is_an_error(folder):
    label_file = tif(folder, "sentinel-2/*/*.json")
    content = json.loads(label_file.read_text())
    label_file.write_text(json.dumps({**content, "labels": ["Pasture"]}))
    assert "did you mean 'Pastures'" in expect(folder, "unknown class 'Pasture'").fix


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"labels": "Pastures"}', '{"coordinates": 3}', '{"coordinates": {"ulx": "x"}}']
)
def test_a_damaged_label_file_is_an_error(folder, content):
    label_file = tif(folder, "sentinel-2/*/*.json")
    label_file.write_text(content)
    found = problems(folder, "error")
    assert [p.patch_id for p in found] == [label_file.parent.name]
    assert str(label_file) in found[0].where


@pytest.mark.parametrize("system", [{"epsg": 99999}, {"projection": "EPSG:99999"}, {"projection": "PROJCS[1"}])
def test_a_coordinate_system_that_does_not_exist_is_an_error(folder, system):
    label_file = tif(folder, "sentinel-2/*/*.json")
    label_file.write_text(json.dumps({**json.loads(label_file.read_text()), **system}))
    assert expect(folder, "no coordinate system: ").patch_id == label_file.parent.name


@pytest.mark.parametrize("system", [{"epsg": 32634}, {"epsg": "32634"}, {"projection": "EPSG:32634"}])
def test_a_coordinate_system_may_be_given_by_its_code_and_that_of_the_raster_counts(tmp_path, system):
    write_ben_ge(tmp_path, patches=1, layout="v1")
    label_file = tif(tmp_path, "BigEarthNet-v1.0/*/*.json")
    label_file.write_text(json.dumps({**json.loads(label_file.read_text()), **system}))
    source = open_ben_ge(tmp_path)
    assert any("of EPSG:32634, its raster elsewhere" in problem.what for problem in source.problems)
    assert source.index["crs"][0] == "EPSG:32633"


def test_a_damaged_sentinel1_label_file_is_an_error(folder):
    tif(folder, "sentinel-1/*/*.json").write_text("{")
    assert len(problems(folder, "error")) == 1


def test_the_scenes_of_ids_of_another_form_are_not_known(tmp_path):
    write_tif(tmp_path / "dem/field-1_dem.tif", np.zeros((12, 12), np.int16), 300000, 5300000)
    write_tif(tmp_path / "dem/field-2_dem.tif", np.zeros((12, 12), np.int16), 300000, 5300000)
    (tmp_path / "mine_meta.csv").write_text("patch_id\nfield-1\nfield-2\n")
    source = open_ben_ge(tmp_path)
    assert source.index["scene"].isna().all()
    assert "2 ids are not of BigEarthNet's form" in source.problems[0].what


def test_errors_come_before_warnings(folder):
    edit_table(folder / "ben-ge-800_meta.csv", lambda rows: rows.assign(season_s1="0.5"))
    (folder / "splits/ben-ge-800_test.csv").write_text("")
    severities = [p.severity for p in problems(folder)]
    assert severities == sorted(severities)
    assert len(set(severities)) == 2


# --- real data


def test_forty_real_patches_are_indexed_and_read(ben_real_40):
    source = open_ben_ge(ben_real_40)
    assert source.problems == []
    assert names(source) == ["s2", "s1", "elevation", "climate_zone", "season"]
    assert (len(source.index), source.patch_size) == (40, (120, 120))
    assert source.index["labels_19"].notna().all()
    assert source.index["labels_43"].notna().sum() == 24
    assert set(source.index["crs"]) == {f"EPSG:326{zone}" for zone in (29, 33, 34, 35)}
    for row in (0, 3, 24, 39):
        rasters = source.read(row)
        assert {name: (values.shape, str(values.dtype)) for name, values in rasters.items()} == {
            "s2": ((12, 120, 120), "uint16"),
            "s1": ((2, 120, 120), "float32"),
            "elevation": ((1, 120, 120), "int16"),
        }


def test_the_grouping_into_19_classes_agrees_with_the_real_label_files(ben_real_40):
    index = open_ben_ge(ben_real_40).index.set_index("patch_id")
    compared = 0
    for path in ben_real_40.glob("sentinel-2/*/*.json"):
        content = json.loads(path.read_text())
        if "labels_19" in content:
            assert set(index.loc[path.parent.name, "labels_19"]) == set(content["labels_19"])
            compared += index.loc[path.parent.name, "labels_43"] is not None
    assert compared == 20


def test_real_v1_and_v2_ids_of_one_datatake_share_a_scene(ben_real_40):
    index = open_ben_ge(ben_real_40).index
    datatake = index[index["scene"] == "S2A_20170613T101031"]
    assert datatake["patch_id"].str.contains("N9999").nunique() == 2

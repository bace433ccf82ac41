"""A table of one's own becomes a store; bad input is one clear message."""

import warnings

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from eofuse.data.card.balance import natural_target
from eofuse.data.card.describe import describe_store
from eofuse.data.reading.tables import read_table_file
from eofuse.data.sources.table.source import open_table_spec
from eofuse.data.splits import SplitOptions, leakage, make_split
from eofuse.data.store.pack import pack
from eofuse.data.store.subset import subset
from eofuse.data.targets import make_target
from eofuse.errors import DataError, UsageError
from eofuse.kinds import MULTI_LABEL, REGRESSION, SEGMENTATION
from eofuse.terminal import provenance_lines
from shrink import RECIPES
from table_folder import TableFolder

WEATHER = {"kind": "vector", "columns": ["temperature", "rain"]}
SOIL = {"kind": "category", "column": "soil"}
NDVI = {"kind": "series", "columns": "{channel}_t{step}"}


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield


def only_problem(source):
    (problem,) = [problem for problem in source.problems if problem.severity == "error"]
    return str(problem)


def test_every_kind_of_column_reaches_the_store(mine, tmp_path):
    mine.spec["modalities"] |= {"weather": WEATHER, "soil": SOIL, "ndvi": NDVI}
    store = pack(mine.save(), tmp_path / "out.store", workers=1)
    rows = np.array([1, 4])
    assert store.read("optical", rows)[:, 0, 0, 0].tolist() == [200, 500]
    assert store.read("weather", rows).tolist() == [[1.5, 2.0], [4.5, 8.0]]
    assert [store.modality("soil").categories[code].name for code in store.read("soil", rows)] == ["sand", "clay"]
    np.testing.assert_allclose(store.read("ndvi", rows)[0], [[0, 0.1], [1, 0.2], [2, 0.3]], rtol=1e-6)
    assert make_target(store, "label").classes == ("a", "b")
    assert store.index["split"].tolist() == ["train", "validation", "test"] * 2
    assert store.index["scene"].tolist()[:3] == ["site_0", "site_0", "site_1"]


def test_packing_again_does_nothing_and_a_changed_cell_is_other_content(mine, tmp_path):
    mine.only(weather=WEATHER)
    pack(mine.save(), tmp_path / "out.store", workers=1)
    pack(mine.save(), tmp_path / "out.store", workers=1)
    mine.table.loc[0, "rain"] = 99.0
    with pytest.raises(UsageError, match="holds other data"):
        pack(mine.save(), tmp_path / "out.store", workers=1)


def test_a_store_without_rasters_is_described_and_split(mine, tmp_path):
    mine.only(weather=WEATHER)
    store = pack(mine.save(), tmp_path / "out.store", workers=1)
    np.testing.assert_allclose(describe_store(store).channels["mean"], [3, 5])
    assert len(make_split(store.index, SplitOptions(protocol="published")).test) == 2


def test_ids_and_paths_keep_their_zeros(mine):
    mine.table["id"] = [f"00{number}" for number in range(6)]
    mine.only(weather=WEATHER)
    assert mine.open().index["patch_id"].tolist()[:2] == ["000", "001"]


def test_a_csv_with_semicolons_is_read(mine):
    spec = mine.only(weather=WEATHER).save()
    mine.table.to_csv(mine.path / "samples.csv", index=False, sep=";")
    assert len(open_table_spec(spec).index) == 6


def test_geoparquet_gives_the_place(mine):
    import json
    import struct

    import pyarrow as pa

    square = struct.pack("<BIII", 1, 3, 1, 5) + struct.pack("<10d", 8, 47, 10, 47, 10, 49, 8, 49, 8, 47)
    points = [struct.pack("<BI2d", 1, 1, 5.0 + row, 45.0) for row in range(5)]
    table = pa.Table.from_pandas(mine.table.drop(columns=["lon", "lat"]))
    table = table.append_column("geometry", pa.array([square, *points], pa.binary()))
    geo = {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {"geometry": {"encoding": "WKB", "geometry_types": []}},
    }
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), mine.path / "samples.parquet")
    for key in ("lon", "lat"):
        del mine.spec[key]
    mine.only(weather=WEATHER).spec["table"] = "samples.parquet"
    index = mine.open().index
    np.testing.assert_allclose(index["lon"][:2], [9, 5])
    np.testing.assert_allclose(index["lat"][:2], [48, 45])
    geo["columns"]["geometry"]["crs"] = None
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), mine.path / "samples.parquet")
    with pytest.raises(DataError, match="the geometry has no coordinate reference system"):
        mine.open()


def test_places_in_another_reference_system_become_degrees(mine):
    mine.table["lon"], mine.table["lat"] = 500000.0, 5200000.0
    mine.only(weather=WEATHER)
    index = mine.open("crs=EPSG:32632").index
    assert index["lon"].iloc[0] == pytest.approx(9.0)
    with pytest.raises(DataError, match=r"no place on Earth.*set `crs`"):
        mine.open()


@pytest.mark.parametrize("cells", [["x;y", "", "y", "x", "x; y", "y"], None])
def test_lists_of_labels_are_several_classes(mine, tmp_path, cells):
    if cells is None:
        mine.spec["labels"], mine.spec["table"] = {"tags": "list"}, "samples.parquet"
        mine.table["tags"] = [["x", "y"], None, ["y"], ["x"], ["x", "y"], ["y"]]
        mine.table.to_parquet(mine.path / "samples.parquet")
    else:
        mine.spec["labels"], mine.table["tags"] = {"tags": {"kind": "list", "separator": ";"}}, cells
    store = pack(mine.only(weather=WEATHER).save(), tmp_path / "out.store", workers=1)
    target = make_target(store, "tags")
    assert (target.kind, target.classes) == (MULTI_LABEL, ("x", "y"))
    assert target.valid.tolist() == [True, False, True, True, True, True]
    assert target.values[4].tolist() == [1, 1]


def test_a_mask_is_a_target_of_pixels(mine, tmp_path):
    for name in mine.table["id"]:
        mine.write(f"mask/{name}.tif", np.ones((1, 8, 8), np.uint8))
    mine.spec["modalities"]["mask"] = {
        "kind": "raster",
        "files": "mask/{id}.tif",
        "categories": {1: "field", 2: "wood"},
    }
    store = pack(mine.save(), tmp_path / "out.store", workers=1)
    assert make_target(store, "mask").kind == SEGMENTATION


def test_a_file_a_band_is_put_together_by_name(mine):
    for name in mine.table["id"]:
        for number, band in enumerate(("B02", "B04")):
            mine.write(f"{name}/{band}.tif", np.full((1, 8, 8), number + 1, np.uint16))
    mine.only(s2={"kind": "raster", "files": "{id}/{band}.tif", "bands": ["B04", "B02"], "like": "s2"})
    source = mine.open()
    assert source.read(0)["s2"][:, 0, 0].tolist() == [2, 1]
    assert source.modalities[0].scale == pytest.approx(1e-4)
    assert [channel.resolution_m for channel in source.modalities[0].channels] == [10, 10]


def test_a_coarser_file_is_brought_to_the_reference_and_said(mine, tmp_path):
    ramp = np.arange(4, dtype=np.float32)[None, None].repeat(4, axis=1)
    for name in mine.table["id"]:
        mine.write(f"dem/{name}.tif", ramp, pixel=20.0)
        mine.write(f"mask/{name}.tif", np.kron(np.eye(2), np.ones((2, 2))).astype(np.uint8)[None] + 1, pixel=20.0)
    mine.spec["modalities"]["dem"] = {"kind": "raster", "files": "dem/{id}.tif", "nodata": -1}
    mine.spec["modalities"]["mask"] = {"kind": "raster", "files": "mask/{id}.tif", "categories": {1: "a", 2: "b"}}
    store = pack(mine.save(), tmp_path / "out.store", workers=1)
    np.testing.assert_allclose(store.read("dem", [0])[0, 0, 4], [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], atol=0.01)
    assert set(np.unique(store.read("mask", [0]))) == {1, 2}
    lines = list(provenance_lines(store))
    assert "dem: brought to the reference's grid in 6 rows (bilinear)" in lines
    assert not any(line.startswith("optical") for line in lines)


def test_a_file_in_another_reference_system_is_brought_to_the_reference(mine):
    from rasterio.warp import transform

    (lon,), (lat,) = transform("EPSG:32632", "EPSG:4326", [500040.0], [5199960.0])
    for name in mine.table["id"]:
        mine.write(
            f"dem/{name}.tif",
            np.full((1, 20, 20), 7, np.float32),
            pixel=0.001,
            corner=(lon - 0.01, lat + 0.01),
            crs="EPSG:4326",
        )
    mine.spec["modalities"]["dem"] = {"kind": "raster", "files": "dem/{id}.tif", "nodata": -1}
    source = mine.open()
    assert (source.read(3)["dem"] == 7).all()
    assert source.provenance.facts["warped"] == {"dem": 6}


@pytest.mark.parametrize(("side", "expected"), [(10, 0), (6, 28)])
def test_references_of_another_size_are_cut_or_filled_around_their_middle(mine, side, expected):
    mine.write("optical/p3.tif", np.full((3, side, side), 9, np.uint16), nodata=0)
    mine.spec["modalities"]["optical"]["nodata"] = 0
    values = mine.open().read(3)["optical"]
    assert values.shape == (3, 8, 8)
    assert (values[0] == 0).sum() == expected


def test_files_without_a_reference_system_are_taken_as_they_lie(mine):
    for name in mine.table["id"]:
        mine.write(f"optical/{name}.tif", np.ones((3, 8, 8), np.uint16), crs=None)
    source = mine.open()
    assert (source.read(0)["optical"] == 1).all()
    assert source.index["lon"].iloc[1] == pytest.approx(8.1)


def test_a_row_may_lack_an_optional_modality(mine, tmp_path):
    (mine.path / "optical" / "p2.tif").unlink()
    mine.table.loc[3, "rain"] = np.nan
    mine.spec["modalities"]["optical"]["optional"] = True
    mine.spec["modalities"]["weather"] = WEATHER | {"optional": True}
    store = pack(mine.save(), tmp_path / "out.store", workers=1)
    assert np.flatnonzero(~store.present("optical")).tolist() == [2]
    assert np.flatnonzero(~store.present("weather")).tolist() == [3]


def test_a_row_without_the_reference_keeps_its_pixels(mine):
    for name in mine.table["id"]:
        mine.write(f"dem/{name}.tif", np.full((1, 4, 4), 5, np.int16), pixel=20.0)
    (mine.path / "optical" / "p2.tif").unlink()
    mine.spec["modalities"]["optical"]["optional"] = True
    mine.spec["modalities"]["dem"] = {"kind": "raster", "files": "dem/{id}.tif", "nodata": -1}
    read = mine.open().read(2)
    assert set(read) == {"dem"}
    assert (read["dem"] == 5).all()


def test_rows_without_scenes_get_spatial_blocks_and_it_is_said(mine):
    del mine.spec["scene"]
    source = mine.only(weather=WEATHER).open()
    assert source.index["scene"].nunique() < 6
    assert any("spatial blocks of 50 km" in str(problem) for problem in source.problems)
    mine.spec = {key: value for key, value in mine.spec.items() if key not in ("lon", "lat")}
    source = mine.open()
    assert source.index["scene"].isna().all()
    assert any("scenes, which splits keep together, are not known" in str(problem) for problem in source.problems)


def test_dates_of_a_series_may_differ_from_row_to_row_and_be_fewer(mine):
    mine.table["d0"], mine.table["d1"], mine.table["d2"] = "2024-01-01", "2024-02-01", "2024-03-01"
    mine.table.loc[2, ["d1", "ndvi_t1"]] = None
    mine.only(ndvi=NDVI | {"date_columns": ["d0", "d1", "d2"]})
    values = mine.open().read(2)["ndvi"]
    days = (pd.to_datetime(["2024-01-01", "2024-03-01"]) - pd.Timestamp(1970, 1, 1)).days
    np.testing.assert_allclose(values[:2, 0], days)
    assert np.isnan(values[2]).all()


def test_gaps_of_a_series_stay_gaps(mine):
    mine.table.loc[1, "ndvi_t1"] = np.nan
    values = mine.only(ndvi=NDVI).open().read(1)["ndvi"]
    assert np.isnan(values[1, 1])
    assert values[:, 0].tolist() == [0, 1, 2]


@settings(max_examples=8)
@given(st.permutations([0, 2, 5, 11]), st.booleans())
def test_steps_are_ordered_by_number_whatever_the_order_of_columns(tmp_path_factory, order, second):
    folder = TableFolder(tmp_path_factory.mktemp("steps"), rows=2)
    for step in order:
        folder.table[f"x_a_{step}"] = float(step)
        if second:
            folder.table[f"x_b_{step}"] = -float(step)
    source = folder.only(x={"kind": "series", "columns": "x_{channel}_{step}"}).open()
    values = source.read(0)["x"]
    assert values[:, 1].tolist() == [0, 2, 5, 11]
    assert source.modalities[0].channel_names == (("a", "b") if second else ("a",))


# what is wrong is said once, and where


def test_a_missing_column_names_the_nearest(mine):
    mine.only(weather=WEATHER | {"columns": ["temprature"]})
    with pytest.raises(
        DataError, match=r"no column 'temprature' \(modalities.weather.columns\); did you mean 'temperature'\?"
    ):
        mine.open()


def test_a_missing_file_names_row_and_path(mine, tmp_path):
    (mine.path / "optical" / "p2.tif").unlink()
    assert "row 3, optical" in only_problem(mine.open())
    with pytest.raises(DataError, match=r"patch p2, samples.csv, row 3, optical, .*p2.tif: file missing"):
        pack(mine.save(), tmp_path / "out.store", workers=1)
    assert len(pack(mine.save(), tmp_path / "out.store", workers=1, skip_bad=True)) == 5


def test_an_unreadable_file_names_row_and_path(mine):
    (mine.path / "optical" / "p2.tif").write_text("no image")
    assert "row 3 (p2), optical" in only_problem(mine.open())


def test_a_row_with_another_number_of_bands_is_named(mine):
    mine.write("optical/p4.tif", np.ones((2, 8, 8), np.uint16))
    problem = only_problem(mine.open())
    assert "row 5 (p4)" in problem
    assert "has 2 bands, expected 3: red, green, blue" in problem


def test_a_code_outside_the_list_names_row_and_code(mine):
    mine.table.loc[3, "soil"] = "lava"
    problem = only_problem(mine.only(soil=SOIL | {"categories": ["clay", "sand"]}).open())
    assert "row 4" in problem
    assert "'lava', which is not in the list" in problem


def test_a_pixel_outside_the_list_names_row_and_code(mine):
    for name in mine.table["id"]:
        mine.write(f"mask/{name}.tif", np.full((1, 8, 8), 9, np.uint8))
    mine.spec["modalities"]["mask"] = {"kind": "raster", "files": "mask/{id}.tif", "categories": {1: "field"}}
    with pytest.raises(DataError, match=r"row 2 \(p1\).*codes that are not in the list: 9"):
        mine.open().read(1)


def test_dates_that_do_not_rise_name_row_and_dates(mine):
    mine.table["d0"], mine.table["d1"], mine.table["d2"] = "2024-01-01", "2024-02-01", "2024-03-01"
    mine.table.loc[1, "d2"] = "2024-01-15"
    problem = only_problem(mine.only(ndvi=NDVI | {"date_columns": "d{step}"}).open())
    assert "row 2" in problem
    assert "2024-01-15 comes after 2024-02-01" in problem
    mine.only(ndvi=NDVI | {"dates": ["2024-03-01", "2024-02-01", "2024-01-01"]})
    with pytest.raises(UsageError, match="do not rise"):
        mine.open()


def test_a_file_that_has_to_be_warped_needs_a_reference_system(mine):
    mine.write("optical/p1.tif", np.ones((3, 8, 8), np.uint16))
    for name in mine.table["id"]:
        mine.write(
            f"dem/{name}.tif", np.ones((1, 4, 4), np.int16), **({"crs": None} if name == "p1" else {"pixel": 20.0})
        )
    mine.spec["modalities"]["dem"] = {"kind": "raster", "files": "dem/{id}.tif", "nodata": -1}
    problem = only_problem(mine.open())
    assert "row 2 (p1)" in problem
    assert "no coordinate reference system, and 4 × 4 pixels can't be brought to 8 × 8" in problem


@pytest.mark.parametrize(("shift", "warped"), [(110.0, False), (-110.0, False), (80.0, False), (90_003.0, True)])
def test_a_file_beside_the_patch_is_named(mine, shift, warped):
    mine.spec["modalities"]["dem"] = {"kind": "raster", "files": "dem/{id}.tif", "nodata": -9}
    for number in range(6):
        corner = (500000.0 + (shift if number == 2 else 0), 5200000.0)
        mine.write(f"dem/p{number}.tif", np.ones((1, 8, 8), np.float32), corner=corner)
    source = mine.open()
    assert source.provenance.facts["warped"] == ({"dem": 1} if warped else {})
    with pytest.raises(DataError, match=r"row 3 \(p2\), dem, .*lies beside the patch"):
        source.read(2)


@pytest.mark.parametrize("shift", [(30.0, 0.0), (-30.0, 20.0), (0.0, -50.0)])
def test_a_file_that_covers_a_part_is_nodata_elsewhere(mine, shift):
    mine.spec["modalities"]["dem"] = {"kind": "raster", "files": "dem.tif", "nodata": -9}
    mine.write("dem.tif", np.ones((1, 8, 8), np.float32), corner=(500000.0 + shift[0], 5200000.0 + shift[1]))
    found = mine.open().read(0)["dem"][0]
    columns, rows = (round(step / 10) for step in (shift[0], -shift[1]))
    expected = np.full((8, 8), -9.0)
    expected[max(rows, 0) : 8 + rows, max(columns, 0) : 8 + columns] = 1
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("pixel", [10.0, 30.0, 4.0])
def test_of_a_large_file_the_part_under_the_patch_is_read_and_warped_as_the_whole(mine, pixel, monkeypatch):
    side = int(2000 / pixel)
    slope = np.arange(side, dtype=np.float32) * pixel
    mine.write("dem.tif", np.broadcast_to(slope, (1, side, side)).copy(), pixel=pixel, corner=(499003.0, 5201000.0))
    mine.spec["modalities"]["dem"] = {"kind": "raster", "files": "dem.tif"}
    found = mine.open().read(0)["dem"][0]
    centres = 997 + 10 * (np.arange(8) + 0.5) - pixel / 2
    assert np.allclose(found, centres, atol=1e-2)


def test_nodata_that_does_not_fit_the_stored_type_is_an_error(mine):
    mine.spec["modalities"]["dem"] = {"kind": "raster", "files": "dem.tif", "dtype": "uint16"}
    values = np.full((1, 8, 8), 5, np.int16)
    values[0, 0, 0] = -32768
    mine.write("dem.tif", values, nodata=-32768)
    with pytest.raises(DataError, match="-32768, which stands for that, does not fit uint16"):
        mine.open().read(0)


def test_pixels_of_another_size_are_said(mine):
    mine.write("optical/p3.tif", np.ones((3, 8, 8), np.uint16), pixel=20.0)
    assert any("1 rows have pixels of another size" in str(problem) for problem in mine.open().problems)


def test_two_columns_of_one_name_are_refused(mine):
    mine.table = mine.table.rename(columns={"rain": "temperature"})
    with pytest.raises(DataError, match="two columns have the name 'temperature'"):
        mine.only(weather=WEATHER).open()


def test_a_label_among_the_inputs_is_refused(mine):
    mine.spec["labels"]["rain"] = "number"
    with pytest.raises(UsageError, match="holds 'rain', which is a label"):
        mine.only(weather=WEATHER).open()


def test_a_date_may_be_written_with_dots_and_the_day_first(mine):
    mine.table["day"] = "24.06.2024"
    mine.spec["time"] = "day"
    assert set(mine.open().index["time"]) == {"2024-06-24T00:00:00"}


def test_dates_are_no_numbers(mine):
    mine.table["rain"] = pd.to_datetime("2024-01-01")
    mine.spec["table"] = "samples.parquet"
    mine.table.to_parquet(mine.path / "samples.parquet")
    with pytest.raises(DataError, match=r"6 problems, the first: .*row 1: column 'rain' holds Timestamp"):
        mine.only(weather=WEATHER).open()


def test_two_columns_for_one_channel_are_refused(mine):
    mine.table["a_x"] = mine.table["b_x"] = 1.0
    with pytest.raises(DataError, match="columns 'a_x' and 'b_x' are both channel 'x'"):
        mine.only(x={"kind": "vector", "columns": "*_{channel}"}).open()


def test_steps_that_lie_unevenly_are_said(mine):
    mine.table = mine.table.rename(columns={"ndvi_t2": "ndvi_t7"})
    assert any("0, 1, 7 of 'ndvi' count as 0 to 2" in str(each) for each in mine.only(ndvi=NDVI).open().problems)


def test_a_place_in_a_tile_is_a_whole_number(mine):
    mine.spec["column"] = "temperature"
    source = mine.only(weather=WEATHER).open()
    assert "column 'temperature' holds 0.5, which is no whole number" in str(source.problems[0])


def test_words_of_the_split_may_be_truth_values(mine):
    mine.table["held_out"] = [True, False] * 3
    mine.spec["split"] = {"column": "held_out", "values": {True: "test", False: "train"}}
    assert mine.only(weather=WEATHER).open().index["split"].tolist() == ["test", "train"] * 3


def test_the_reference_is_not_left_out(mine):
    mine.spec["reference"] = "optical"
    mine.spec["modalities"]["other"] = {"kind": "raster", "files": "optical/{id}.tif"}
    with pytest.raises(UsageError, match="'optical' is not among the modalities wanted"):
        open_table_spec(mine.save(), modalities=["other"])


def test_a_blank_cell_is_no_path(mine, tmp_path):
    mine.table["file"] = ["optical/p0.tif", " ", None, *(f"optical/p{number}.tif" for number in (3, 4, 5))]
    mine.only(optical={"kind": "raster", "files": "{file}", "optional": True})
    assert mine.open().index["has_optical"].tolist() == [True, False, False, True, True, True]


def test_labels_of_a_table_are_known_to_every_store_made_of_it(mine, tmp_path):
    store = pack(mine.only(weather=WEATHER).save(), tmp_path / "out.store", workers=1)
    part = subset(store.path, tmp_path / "part.store", where=["lon>8.1"])
    for each in (store, part):
        assert natural_target(each).name == "label"
        assert set(describe_store(each).classes["target"]) == {"label"}


def test_two_rows_with_one_id_are_named(mine):
    mine.table.loc[4, "id"] = "p1"
    with pytest.raises(DataError, match=r"row 5: the id 'p1' .* is also that of row 2"):
        mine.open()


def test_an_empty_cell_names_row_and_column(mine):
    mine.table.loc[2, "rain"] = np.nan
    problem = only_problem(mine.only(weather=WEATHER).open())
    assert "row 3: column 'rain' is empty" in problem
    assert "optional: true" in problem


def test_a_word_among_numbers_names_row_and_cell(mine):
    mine.table["rain"] = mine.table["rain"].astype(object)
    mine.table.loc[2, "rain"] = "much"
    problem = only_problem(mine.only(weather=WEATHER).open())
    assert "row 3" in problem
    assert "'much', which is no number" in problem


def test_a_word_that_is_no_split_names_the_row(mine):
    mine.table.loc[3, "split"] = "spare"
    with pytest.raises(DataError, match="row 4: column 'split' holds 'spare'"):
        mine.only(weather=WEATHER).open()
    mine.spec["split"] = {"column": "split", "values": {"spare": None}}
    assert mine.open().index["split"][3] is None


def test_no_labelled_row_in_training_is_one_clear_message(mine, tmp_path, recipe):
    from eofuse.recipe import train

    mine.table.loc[mine.table["split"] == "train", "label"] = None
    store = pack(mine.only(weather=WEATHER).save(), tmp_path / "out.store", workers=1)
    values = recipe | {"inputs": ["weather"], "split": {"protocol": "published"}, "data": {"store": str(store.path)}}
    values["fusion"] = {"strategy": "single"}
    with pytest.raises(DataError, match=r"no train patch is left \(2 has no label \(label\)\)"):
        train(values, to=tmp_path / "run")


@pytest.mark.parametrize("cell", ["../secret", "/etc/passwd", "a/../../secret"])
def test_a_table_can_not_lead_out_of_its_folder(mine, cell):
    mine.table["file"] = cell
    mine.only(optical={"kind": "raster", "files": "{file}"})
    with pytest.raises(DataError, match=r"row 1: the path .* leads out of"):
        mine.open()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "vector", "files": "x.tif"}, "files has no meaning for kind vector"),
        ({"kind": "raster"}, "kind raster needs files"),
        ({"kind": "series", "columns": "x_*"}, "pattern with {step}"),
        ({"kind": "vector", "colums": "x"}, "unknown key; did you mean 'columns'"),
        ({"kind": "vector", "columns": "{channel}_{channel}"}, "holds {channel} twice"),
        ({"kind": "raster", "files": "{id:03}.tif"}, "more or less than a column's name"),
        ({"kind": "raster", "files": "{id.tif"}, "files is no pattern"),
        (
            {"kind": "category", "column": "soil", "categories": list(map(str, range(40_000)))},
            "40000 categories, 32767 at most",
        ),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(mine, change, message):
    with pytest.raises(UsageError, match=message):
        mine.only(x=change).open()


def test_names_are_taken_apart_and_a_strange_one_is_named(mine):
    mine.table["name"] = [f"S2_{number // 3}_T32_{number}_7" for number in range(6)]
    pattern = r"(?P<product>S2_\d)_(?P<tile>T\d+)_(?P<column>\d+)_(?P<row>\d+)"
    mine.spec |= {"parse": [{"column": "name", "pattern": pattern}], "scene": "product"}
    index = mine.only(weather=WEATHER).open().index
    assert index["scene"].tolist() == ["S2_0"] * 3 + ["S2_1"] * 3
    assert index["column"].tolist() == list(range(6))
    mine.table.loc[4, "name"] = "odd"
    with pytest.raises(DataError, match="row 5: column 'name' holds 'odd'"):
        mine.open()


def test_an_index_of_names_is_split_by_blocks_without_torn_tiles(shared, tmp_path):
    names = pd.read_csv(shared / "realdata" / "ben-index" / "s1_s2_name_country_season.csv.bz2", nrows=5000)
    names.to_csv(tmp_path / "names.csv", index=False)
    spec = RECIPES / "tables" / "ben_index.yaml"
    store = pack(spec, tmp_path / "out.store", workers=1, overrides=[f"root={tmp_path}", "table=names.csv"])
    described = describe_store(store)
    assert described.scenes["scenes"] > 20
    assert set(described.classes["target"]) == {"country", "season"}
    split = make_split(store.index, SplitOptions(protocol="blocks"))
    found = leakage(store.index, split)
    assert found.adjacent is not None
    assert found.adjacent < described.leakage["random"].adjacent / 2


def test_eurosat_has_thirteen_named_bands(shared, tmp_path):
    spec = RECIPES / "tables" / "eurosat_100.yaml"
    source = open_table_spec(spec, [f"root={shared / 'realdata' / 'eurosat-100'}"])
    assert source.modalities[0].channel_names[-4:] == ("B10", "B11", "B12", "B8A")
    assert source.read(0)["s2"].shape == (13, 64, 64)
    assert source.index["split"].value_counts().to_dict() == {"train": 60, "validation": 20, "test": 20}


def test_decimal_commas_are_read_if_the_spec_says_so(mine):
    mine.spec["decimal"] = ","
    spec = mine.only(weather=WEATHER).save()
    mine.table.to_csv(mine.path / "samples.csv", index=False, sep=";", decimal=",")
    source = open_table_spec(spec)
    assert source.index["weather.temperature"].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert source.index["lon"].tolist() == mine.table["lon"].tolist()


def test_a_decimal_comma_that_the_spec_does_not_mention_is_named(mine):
    mine.table["temperature"] = ["0,5", 1, 2, 3, 4, 5]
    problem = only_problem(mine.only(weather=WEATHER).open())
    assert "row 1: column 'temperature' holds '0,5', which is no number; set `decimal: ','` in the spec" in problem


def test_a_parquet_table_of_a_type_that_pandas_does_not_know_is_named(mine):
    mine.table.to_parquet(mine.path / "samples.parquet")
    table = pq.read_table(mine.path / "samples.parquet")
    damaged = {
        b"pandas": table.schema.metadata[b"pandas"].replace(b'"numpy_type": "float64"', b'"numpy_type": "flo`t64"')
    }
    assert damaged != table.schema.metadata
    pq.write_table(table.replace_schema_metadata(damaged), mine.path / "samples.parquet")
    with pytest.raises(DataError, match=r"samples\.parquet: not a readable table"):
        read_table_file(mine.path / "samples.parquet")


def test_a_named_index_of_a_parquet_table_is_a_column(mine):
    spec = mine.only(weather=WEATHER).save()
    mine.table.set_index("id").to_parquet(mine.path / "samples.parquet")
    assert open_table_spec(spec, ["table=samples.parquet"]).index["patch_id"].tolist() == mine.table["id"].tolist()


def test_a_number_that_may_mean_no_value_is_said(mine):
    mine.table.loc[2, "rain"] = mine.table.loc[3, "ndvi_t1"] = -9999
    problems = [str(problem) for problem in mine.only(weather=WEATHER, ndvi=NDVI).open().problems]
    assert any("-9999 counts as a number in 'rain', 'ndvi_t1'; if it means" in problem for problem in problems)
    mine.only(weather=WEATHER | {"nodata": -9999, "optional": True})
    assert not any("counts as a number" in str(problem) for problem in mine.open().problems)
    mine.table["rain"] = [-9999, -9998, -12000, 3, 4, 5]
    assert not any("counts as a number" in str(problem) for problem in mine.only(weather=WEATHER).open().problems)


def test_blanks_around_a_class_make_no_other_class(mine, tmp_path):
    mine.table["label"] = ["a", "a ", " b", "b", " ", None]
    store = pack(mine.only(weather=WEATHER).save(), tmp_path / "out.store", workers=1)
    target = make_target(store, "label")
    assert target.classes == ("a", "b")
    assert target.valid.tolist() == [True] * 4 + [False] * 2


def test_what_a_label_is_declared_to_be_is_how_it_is_predicted(mine, tmp_path):
    mine.table["yield"] = [120, 130, 120, 130, 120, 130]
    mine.table["code"] = [1, 2, 1, 2, None, 2]
    mine.spec["labels"] = {"yield": "number", "code": "class"}
    store = pack(mine.only(weather=WEATHER).save(), tmp_path / "out.store", workers=1)
    target = make_target(store, "yield")
    assert (target.kind, target.values[:2, 0].tolist()) == (REGRESSION, [120.0, 130.0])
    assert make_target(store, "code").classes == ("1", "2")
    assert make_target(store, "code").valid.tolist() == [True, True, True, True, False, True]

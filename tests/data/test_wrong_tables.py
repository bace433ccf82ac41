"""Ways in which the data of a table are wrong: each is one clear message that names the record."""

import numpy as np
import pytest
import rasterio
from affine import Affine

from eofuse.data.check import check_path
from eofuse.errors import EofuseError
from table_folder import TableFolder

NUMBERS = {"kind": "vector", "columns": ["temperature", "rain"]}
MASK = {"files": "mask/{id}.tif", "categories": {1: "wheat", 2: "maize"}}
HEIGHT = {"files": "dem/{id}.tif", "dtype": "float32"}


@pytest.fixture
def table(tmp_path):
    """A table whose places are those of its pixels."""
    made = TableFolder(tmp_path)
    made.table["lon"], made.table["lat"] = 9.00053, 46.95317
    return made


def set_cell(table, column, value, row=2):
    table.table[column] = table.table[column].astype(object)
    table.table.loc[row, column] = value


def a_name_that_is_no_reference_system(table):
    table.table["epsg"] = ["EPSG:32632"] * 2 + ["EPSG:2"] + ["EPSG:32632"] * 3
    table.table[["lon", "lat"]] = [500000, 5200000]
    table.spec["crs"] = "epsg"


def metres_as_degrees(table):
    table.table[["lon", "lat"]] = [500000, 5200000]


def longitude_and_latitude_exchanged(table):
    table.table["lon"], table.table["lat"] = table.table["lat"].to_numpy(), 120.0


def a_place_far_from_its_pixels(table):
    set_cell(table, "lon", 30.0)


def a_date_that_is_none(table):
    table.table["day"] = "2024-05-01"
    set_cell(table, "day", "2024-13-01")
    table.spec["time"] = "day"


def an_id_twice(table):
    set_cell(table, "id", "p1")


def an_empty_id(table):
    set_cell(table, "id", None)


def a_word_in_numbers(table):
    set_cell(table, "rain", "much")
    table.only(weather=NUMBERS)


def a_decimal_comma(table):
    set_cell(table, "rain", "4,5")
    table.only(weather=NUMBERS)


def an_empty_number(table):
    set_cell(table, "rain", None)
    table.only(weather=NUMBERS)


def a_number_for_nothing(table):
    set_cell(table, "rain", -9999)
    table.only(weather=NUMBERS)


def a_column_misspelt(table):
    table.only(weather={"kind": "vector", "columns": ["temperatur", "rain"]})


def a_part_that_is_none(table):
    set_cell(table, "split", "trian")


def a_category_that_is_not_listed(table):
    table.only(soil={"kind": "category", "column": "soil", "categories": ["clay", "silt"]})


def a_label_among_the_inputs(table):
    table.table["yield"] = 1.0
    table.spec["labels"] = {"yield": "number"}
    table.only(weather={"kind": "vector", "columns": ["yield", "rain"]})


def a_file_that_is_missing(table):
    (table.path / "optical/p2.tif").unlink()


def a_file_that_is_damaged(table):
    (table.path / "optical/p2.tif").write_bytes(b"II*\0damaged")


def a_path_that_leads_out(table):
    table.table["file"] = "../secret.tif"
    table.only(optical={"files": "{file}"})


def masks(table, code=1, crs="EPSG:32632", corner=(500000.0, 5200000.0), size=8):
    for name in table.table["id"]:
        wrong = name == "p2"
        values = np.full((1, size if wrong else 8, 8), code if wrong else 1, np.uint8)
        place = {"crs": crs, "corner": corner} if wrong else {}
        table.write(f"mask/{name}.tif", values, **place)
    table.spec["modalities"]["mask"] = MASK


def a_code_that_is_not_listed(table):
    masks(table, code=7)


def a_mask_beside_its_patch(table):
    masks(table, corner=(600000.0, 5200000.0))


def a_mask_in_another_zone(table):
    masks(table, crs="EPSG:32650")


def a_mask_without_place_of_another_size(table):
    masks(table, crs=None, size=6)


def reflectance_as_fractions_in_one_file(table):
    table.write("optical/p2.tif", np.full((3, 8, 8), 0.03, np.float32))


def a_file_with_another_number_of_bands(table):
    table.write("optical/p2.tif", np.ones((4, 8, 8), np.uint16))


def a_file_upside_down(table):
    size = {"count": 3, "height": 8, "width": 8, "dtype": "uint16", "crs": "EPSG:32632"}
    with rasterio.open(
        table.path / "optical/p2.tif", "w", driver="GTiff", transform=Affine(10, 0, 500000, 0, 10, 5200000), **size
    ) as file:
        file.write(np.ones((3, 8, 8), np.uint16))


def dates_that_do_not_rise(table):
    for step, day in enumerate(["2024-05-01", "2024-06-01", "2024-07-01"]):
        table.table[f"day_t{step}"] = day
    set_cell(table, "day_t1", "2024-08-01")
    table.only(ndvi={"kind": "series", "columns": "ndvi_t{step}", "date_columns": "day_t{step}"})


def values_without_a_date(table):
    for step, day in enumerate(["2024-05-01", "2024-06-01", "2024-07-01"]):
        table.table[f"day_t{step}"] = day
    set_cell(table, "day_t1", None)
    table.only(ndvi={"kind": "series", "columns": "ndvi_t{step}", "date_columns": "day_t{step}"})


def an_array_that_is_shorter_than_the_table(table):
    np.save(table.path / "all.npy", np.zeros((5, 3, 8, 8), np.uint16))
    table.only(optical={"files": "all.npy", "rows": True})


def an_array_that_is_pickled(table):
    np.save(table.path / "all.npy", np.array([{}] * 6, dtype=object), allow_pickle=True)
    table.only(optical={"files": "all.npy", "rows": True})


def an_array_with_its_axes_turned(table):
    np.save(table.path / "all.npy", np.zeros((3, 8, 8, 6), np.uint16))
    table.only(optical={"files": "all.npy", "rows": True})


WRONG = {
    a_name_that_is_no_reference_system: ("row 3", "'EPSG:2' is no coordinate reference system"),
    metres_as_degrees: ("row 1", "no place on Earth", "set `crs`"),
    longitude_and_latitude_exchanged: ("row 1", "latitude 120"),
    a_place_far_from_its_pixels: ("p2", "outside"),
    a_date_that_is_none: ("row 3", "'2024-13-01', which is no date", "2024-06-30"),
    an_id_twice: ("row 3", "the id 'p1'", "row 2"),
    an_empty_id: ("row 3", "no id"),
    a_word_in_numbers: ("row 3", "'rain' holds 'much', which is no number"),
    a_decimal_comma: ("row 3", "'4,5'", "decimal: ','"),
    an_empty_number: ("row 3", "column 'rain' is empty", "optional"),
    a_number_for_nothing: ("'rain'", "-9999 counts as a number", "nodata: -9999"),
    a_column_misspelt: ("no column 'temperatur'", "did you mean 'temperature'"),
    a_part_that_is_none: ("row 3", "'trian', which is no part", "did you mean 'train'"),
    a_category_that_is_not_listed: ("row 2", "'sand', which is not in the list"),
    a_label_among_the_inputs: ("'yield', which is a label", "would read the answer"),
    a_file_that_is_missing: ("row 3", "optical/p2.tif", "file missing"),
    a_file_that_is_damaged: ("row 3", "optical/p2.tif", "not a readable"),
    a_path_that_leads_out: ("row 1", "leads out of"),
    a_code_that_is_not_listed: ("row 3", "mask/p2.tif", "codes that are not in the list: 7"),
    a_mask_beside_its_patch: ("row 3", "mask/p2.tif", "lies beside the patch"),
    a_mask_in_another_zone: ("row 3", "mask/p2.tif", "lies beside the patch"),
    a_mask_without_place_of_another_size: ("row 3", "mask/p2.tif", "no coordinate reference system"),
    reflectance_as_fractions_in_one_file: ("row 3", "optical/p2.tif", "fractions"),
    a_file_with_another_number_of_bands: ("row 3", "optical/p2.tif", "has 4 bands, expected 3"),
    a_file_upside_down: ("row 3", "optical/p2.tif", "mirrored"),
    dates_that_do_not_rise: ("row 3", "do not rise", "2024-08-01"),
    values_without_a_date: ("row 3", "step 2 of 'ndvi' has values and no date"),
    an_array_that_is_shorter_than_the_table: ("all.npy", "has 5 samples, and samples.csv 6 rows"),
    an_array_that_is_pickled: ("all.npy", "pickle", "never loaded"),
    an_array_with_its_axes_turned: ("all.npy", "has 3 samples, and samples.csv 6 rows"),
}


@pytest.mark.parametrize("spoil", WRONG, ids=lambda spoil: spoil.__name__)
def test_what_is_wrong_is_one_message_that_names_the_record(table, spoil):
    spoil(table)
    try:
        found = [str(problem) for problem in check_path(table.save(), workers=1)]
    except EofuseError as error:
        found = [str(error)]
    told = [line for line in found if all(part in line for part in WRONG[spoil])]
    assert len(told) == 1, "\n".join(found)
    assert "\n" not in told[0]


def test_the_table_that_is_spoilt_is_right_otherwise(table):
    assert check_path(table.save(), workers=1) == []

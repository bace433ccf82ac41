"""Series of images of a table: every date of a row for which its files are there, in order, with clear words for what is wrong."""

import numpy as np
import pytest

from eofuse.data.check import check_path
from eofuse.data.store.pack import pack
from eofuse.errors import DataError, UsageError
from table_folder import TableFolder

DAYS = {"p0": ["2024-03-01", "2024-05-01"], "p1": ["20240310"], "p2": ["2024-04-01", "2024-04-21", "2024-08-01"]}
SEASON = {"files": "season/{id}_{date}.tif", "date": "all", "bands": ["red", "nir"], "optional": True}


@pytest.fixture
def mine(tmp_path) -> TableFolder:
    """Three rows with a raster, and a season of one to three dates, written in no order."""
    mine = TableFolder(tmp_path, rows=3)
    for number, (name, days) in enumerate(DAYS.items()):
        for date, day in reversed(list(enumerate(days))):
            mine.write(f"season/{name}_{day}.tif", np.full((2, 8, 8), 10 * number + date, np.uint16))
    mine.spec["modalities"]["season"] = dict(SEASON)
    return mine


def test_every_date_of_a_row_is_packed_with_its_day(mine, tmp_path):
    store = pack(mine.save(), tmp_path / "mine.store", workers=1)
    season = store.modality("season")
    assert (season.kind, season.steps, season.dated, season.channel_names) == ("image_series", 3, True, ("red", "nir"))
    for row, (number, days) in enumerate(zip(range(3), DAYS.values(), strict=True)):
        images, times = store[row]["season"], store[row]["season.times"]
        assert images[:, 0, 0, 0].tolist() == [10 * number + date for date in range(len(days))]
        assert [str(day).replace("-", "") for day in times.astype("datetime64[D]")] == [
            d.replace("-", "") for d in days
        ]


def test_a_date_counts_where_all_of_its_bands_are_there(mine, tmp_path):
    for name, day, bands in (("p0", "2024-03-01", "ab"), ("p0", "2024-05-01", "a"), ("p1", "2024-04-01", "ab")):
        for band in bands:
            mine.write(f"bands/{name}/{day}/{band}.tif", np.ones((1, 8, 8), np.uint16))
    mine.spec["modalities"]["season"] = {**SEASON, "files": "bands/{id}/{date}/{band}.tif", "bands": ["a", "b"]}
    store = pack(mine.save(), tmp_path / "mine.store", workers=1)
    assert store.index["times.season"].map(len).tolist() == [1, 1, 0]
    assert store.present("season").tolist() == [True, True, False]


def test_a_row_without_any_date_is_an_error_unless_the_season_is_optional(mine):
    for file in (mine.path / "season").glob("p1_*"):
        file.unlink()
    mine.spec["modalities"]["season"]["optional"] = False
    (problem,) = [each for each in check_path(mine.save(), workers=1) if each.severity == "error"]
    assert "p1" in str(problem)
    assert "file missing" in problem.what


def test_dates_on_another_grid_are_brought_to_that_of_the_row(mine, tmp_path):
    mine.write("season/p1_20240310.tif", np.full((2, 4, 4), 7, np.uint16), pixel=20.0)
    store = pack(mine.save(), tmp_path / "mine.store", workers=1)
    assert store[1]["season"].shape == (1, 2, 8, 8)
    assert (store[1]["season"] == 7).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"date": "nearest"}, "date: all"), ({"files": "season/{id}.tif"}, r"files with \{date\} in their path")],
)
def test_a_table_takes_all_dates_of_files_that_name_them(mine, changes, message):
    mine.spec["modalities"]["season"] |= changes
    with pytest.raises(UsageError, match=message):
        pack(mine.save(), mine.path / "mine.store", workers=1)


@pytest.fixture
def stacked(mine) -> TableFolder:
    """The same season with one file a row."""
    for number, (name, days) in enumerate(DAYS.items()):
        values = 10 * number + np.arange(len(days))[:, None, None, None] + np.zeros((1, 2, 8, 8))
        values[:, 1] += 100
        np.save(mine.path / f"{name}.npy", values.astype(np.uint16))
        dates = ", ".join(f'"{day}"' for day in days)
        (mine.path / f"{name}.json").write_text(f"[{dates}]")
    mine.spec["modalities"]["season"] = {"files": "{id}.npy", "date_files": "{id}.json", "bands": ["red", "nir"]}
    return mine


@pytest.mark.parametrize("form", ["as it is", "channels last", "GeoTIFF"])
def test_a_file_of_all_dates_is_packed_with_the_days_of_another_file(stacked, tmp_path, form):
    for name, days in DAYS.items():
        values = np.load(stacked.path / f"{name}.npy")
        if form == "channels last":
            np.save(stacked.path / f"{name}.npy", np.moveaxis(values, 1, -1))
        elif form == "GeoTIFF":
            stacked.write(f"{name}.tif", values.reshape(2 * len(days), 8, 8))
            stacked.spec["modalities"]["season"]["files"] = "{id}.tif"
    store = pack(stacked.save(), tmp_path / "mine.store", workers=1)
    for row, days in enumerate(DAYS.values()):
        images = store[row]["season"]
        assert images[:, :, 0, 0].tolist() == [
            [10 * row + date, 110 + 10 * row + date - 10] for date in range(len(days))
        ]
        assert len(store[row]["season.times"]) == len(days)


def test_a_stack_can_have_the_same_dates_in_all_rows(stacked, tmp_path):
    stacked.table = stacked.table[stacked.table["id"] == "p0"]
    stacked.spec["modalities"]["season"] = {"files": "{id}.npy", "dates": ["2024-03-01", "2024-05-01"]}
    store = pack(stacked.save(), tmp_path / "mine.store", workers=1)
    assert store.modality("season").channel_names == ("band_1", "band_2")
    assert store.read("season", [0]).shape == (1, 2, 2, 8, 8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('["2024-03-01", "2024-05-01", "2024-06-01"]', "4 bands, which can't be those of 3 dates"),
        ('["2024-05-01", "2024-03-01"]', "do not rise"),
        ('["2024-03-01", "soon"]', "'soon' is no date"),
        ('["-1", "2024-03-01"]', "'-1' is no date"),
        ("{}", "is no list of dates"),
    ],
)
def test_dates_that_do_not_fit_a_stack_are_named(stacked, content, message):
    (stacked.path / "p0.json").write_text(content)
    with pytest.raises(DataError, match=message) as error:
        pack(stacked.save(), stacked.path / "mine.store", workers=1)
    assert "p0" in str(error.value)


def test_an_array_that_is_no_stack_is_named(stacked):
    np.save(stacked.path / "p1.npy", np.zeros(4))
    with pytest.raises(DataError, match="of the shape"):
        pack(stacked.save(), stacked.path / "mine.store", workers=1)

"""Series of images of a table: every date of a row for which its files are there, in order, with clear words for what is wrong."""

import numpy as np
import pytest

from eofuse.data.check import check_path
from eofuse.data.store.pack import pack
from eofuse.errors import UsageError
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

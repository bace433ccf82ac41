"""Of several dates, a scene takes the one that its spec names by a rule."""

from datetime import datetime

import numpy as np
import pytest
import rasterio
from affine import Affine

import eofuse
from eofuse.config import write_yaml
from eofuse.data.specs.dates import choose_date, day_of, day_within
from eofuse.errors import DataError, UsageError

DATES = {"20230601": 1, "2023-07-14": 2, "20230716T104031": 3, "20230930": 4}


def write(path, value, bands=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {"crs": "EPSG:32632", "transform": Affine(10, 0, 500_000, 0, -10, 5_200_000), "width": 16, "height": 16}
    with rasterio.open(path, "w", count=bands, dtype="float32", **place) as file:
        file.write(np.full((bands, 16, 16), value, dtype=np.float32))  # a number, or (1, 16, 16)


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "s2/valley_20230715.tif", 9)
    for date, value in DATES.items():
        for band in ("VV", "VH"):
            write(tmp_path / f"s1/valley_{date}_{band}.tif", value)
    write(tmp_path / "s1/valley_20230715_VV.tif", 7)  # the other band is missing
    write(tmp_path / "s1/valley_99999999_VV.tif", 8)
    return tmp_path


def spec(folder, rule, reference=None, **keys):
    optical = {"files": "s2/{scene}_{date}.tif", "date": reference or "last", "bands": ["B04"], "dtype": "float32"}
    radar = {"files": "s1/{scene}_{date}_{band}.tif", "bands": ["VV", "VH"], **({"date": rule} if rule else {}), **keys}
    path = folder / "scenes.yaml"
    path.write_text(write_yaml({"name": "dated", "modalities": {"s2": optical, "s1": radar}}))
    return path


@pytest.mark.parametrize(
    ("rule", "value"),
    [("first", 1), ("last", 4), ("nearest", 2), ("2023-07-17", 3), ("20230101", 1), ("2023-08-25", 4)],
)
def test_the_rule_chooses_among_dates_that_have_every_band(folder, rule, value):
    store = eofuse.cut(spec(folder, rule), folder / "a.store", size=16, workers=1).store
    assert np.unique(store.read("s1", [0])).tolist() == [value]


def test_the_index_says_when_each_was_taken(folder):
    store = eofuse.cut(spec(folder, "first"), folder / "a.store", size=16, workers=1).store
    assert store.index.loc[0, ["scene", "time_s2", "time_s1"]].tolist() == [
        "valley",
        "2023-07-15T00:00:00",
        "2023-06-01T00:00:00",
    ]


def test_a_scene_with_several_dates_of_its_reference_is_one_scene(folder):
    write(folder / "s2/valley_20230815.tif", 10)
    store = eofuse.cut(spec(folder, "nearest"), folder / "a.store", size=16, workers=1).store
    assert np.unique(store.read("s2", [0])).tolist() == [10]


@pytest.mark.parametrize("rule", [None, "soon", "2023-13-45"])
def test_a_rule_that_is_none_is_refused(folder, rule):
    with pytest.raises(UsageError, match="first, last, nearest"):
        eofuse.cut(spec(folder, rule), folder / "a.store", size=16, workers=1)


def test_the_reference_has_no_nearest_date(folder):
    with pytest.raises(UsageError, match="nearest to itself"):
        eofuse.cut(spec(folder, "first", "nearest"), folder / "a.store", size=16, workers=1)


def test_a_scene_without_any_date_misses_the_file(folder):
    with pytest.raises(DataError, match="no date has all files like s1"):
        eofuse.cut(
            spec(folder, "first", files="s1/{scene}_{date}_GRD_{band}.tif"), folder / "a.store", size=16, workers=1
        )


def test_an_optional_modality_may_be_missing_in_the_first_scene(folder):
    write(folder / "s2/alp_20230715.tif", 9)
    store = eofuse.cut(spec(folder, "first", optional=True), folder / "a.store", size=16, workers=1).store
    assert store.index.set_index("scene")["has_s1"].to_dict() == {"alp": False, "valley": True}


def test_an_optional_modality_that_no_scene_has_is_an_error(folder):
    path = spec(folder, "first", files="s1/{scene}_{date}_GRD_{band}.tif", optional=True)
    with pytest.raises(DataError, match="no scene has a file of it"):
        eofuse.cut(path, folder / "a.store", size=16, workers=1)


def test_nearest_needs_a_date_of_the_reference(folder):
    with pytest.raises(DataError, match="name a day"):
        choose_date(folder, ["s1/valley_{date}_VV.tif"], "nearest", None, "scene valley")


def test_the_same_day_is_nearer_than_fewer_hours(folder):
    for date in ("20230901T230000", "20230902T170000"):
        write(folder / f"x_{date}.tif", 1)
    chosen = choose_date(folder, ["x_{date}.tif"], "2023-09-02", None, "scene x")
    assert chosen is not None
    assert chosen[0] == "20230902T170000"


def test_scene_and_date_may_stand_side_by_side(folder):
    write(folder / "side/valley20230715.tif", 5)
    path = folder / "side.yaml"
    layers = {"x": {"files": "side/{scene}{date}.tif", "date": "first"}}
    path.write_text(write_yaml({"name": "side", "modalities": layers}))
    store = eofuse.cut(path, folder / "side.store", size=16, workers=1).store
    assert store.index.loc[0, ["scene", "time"]].tolist() == ["valley", "2023-07-15T00:00:00"]


def test_dates_are_read_in_every_spelling():
    expected = datetime(2023, 7, 15, 10, 40, 31)
    assert [day_of(text) for text in ("20230715T104031", "20230715_104031", "2023-07-15")] == [
        expected,
        expected,
        datetime(2023, 7, 15),
    ]
    assert day_within("S2A_MSIL2A_20230715T104031_N0509_R008_T32TMT_20230715T164159.SAFE") == expected
    assert day_within("tile_123456789.tif") is None


def test_all_dates_are_a_series_of_images_of_which_a_patch_has_those_that_show_it(folder):
    values = np.full((2, 16, 16), 5.0, dtype=np.float32)
    values[:, :, :8] = np.nan
    for band, each in zip(("VV", "VH"), values, strict=True):
        write(folder / f"s1/valley_20231010_{band}.tif", each[None])
    store = eofuse.cut(spec(folder, "all"), folder / "a.store", size=8, workers=1).store
    radar = store.modality("s1")
    assert (radar.kind, radar.steps, radar.dated, radar.channel_names) == ("image_series", 5, True, ("VV", "VH"))
    left, right = store.row_of("valley_0_0"), store.row_of("valley_1_0")
    assert store[left]["s1"][:, 0, 0, 0].tolist() == [1, 2, 3, 4]
    assert store[right]["s1"][:, 1, 0, 0].tolist() == [1, 2, 3, 4, 5]
    days = [str(day) for day in store[right]["s1.times"].astype("datetime64[D]")]
    assert days == ["2023-06-01", "2023-07-14", "2023-07-16", "2023-09-30", "2023-10-10"]
    assert store.index["time_s1"].isna().all()


def test_the_reference_can_be_a_series_and_a_scene_can_lack_an_optional_one(folder):
    write(folder / "s2/alp_20230815.tif", 10)
    write(folder / "s2/valley_20230815.tif", 11)
    store = eofuse.cut(spec(folder, "all", "all", optional=True), folder / "a.store", size=16, workers=1).store
    assert store.index.set_index("scene")["times.s2"].map(len).to_dict() == {"alp": 1, "valley": 2}
    assert store.index.set_index("scene")["has_s1"].to_dict() == {"alp": False, "valley": True}

"""Series: what is packed is what is read, whatever is missing; what is no series is told by patch and step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eofuse.data.card.describe import describe_store
from eofuse.data.card.statistics import channel_moments, channel_quantiles
from eofuse.data.check import check_samples
from eofuse.data.loading import Loader
from eofuse.data.store import Window, open_store, partial
from eofuse.data.store import pack as packing
from eofuse.data.store.arrays import known_values, require_series
from eofuse.data.store.pack import pack_source
from eofuse.data.targets import make_target
from eofuse.errors import DataError, UsageError
from eofuse.modalities import SEASON, SENTINEL1
from fake_source import GREENNESS, FakeSource
from table_folder import TableFolder

PATCHES = 23
MIXED = {"patches": PATCHES, "modalities": (SENTINEL1, GREENNESS, SEASON), "absent": {"greenness": {0, 7}}}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return pack_source(FakeSource(**MIXED), tmp_path_factory.mktemp("series") / "mixed.store", workers=1)


@settings(max_examples=30)
@given(
    rows=st.lists(st.sampled_from([row for row in range(PATCHES) if row not in (0, 7)]), min_size=1, max_size=9),
    channels=st.none() | st.lists(st.integers(0, 1), min_size=1, max_size=2, unique=True),
)
def test_a_batch_holds_the_packed_series_with_their_times(store, rows, channels):
    source = FakeSource(**MIXED)
    expected = np.stack([source.read(row)["greenness"] for row in rows])
    columns = slice(None) if channels is None else [0, *(1 + channel for channel in channels)]
    batch = store.read("greenness", rows, channels=channels, window=Window(0, 0, 8, 8))
    assert batch.dtype == np.float32
    assert batch.shape[1:] == store.shape("greenness", channels)
    np.testing.assert_array_equal(batch, expected[:, :, columns])


def test_an_absent_series_is_missing_throughout(store):
    assert np.isnan(store.read("greenness", [0, 7])).all()
    assert np.flatnonzero(~store.present("greenness")).tolist() == [0, 7]


def test_series_cross_shards(tmp_path, store, monkeypatch):
    monkeypatch.setattr(partial, "SHARD_BYTES", 5 * 6 * 3 * 4 + 128)
    small = pack_source(FakeSource(**{**MIXED, "modalities": (GREENNESS,)}), tmp_path / "small.store", workers=1)
    assert len(list((small.path / "greenness").iterdir())) == 5
    for channels in (None, [1]):
        rows = [22, 4, 5, 4]
        source = FakeSource(**{**MIXED, "modalities": (GREENNESS,)})
        expected = np.stack([source.read(row)["greenness"] for row in rows])
        found = small.read("greenness", rows, channels=channels)
        np.testing.assert_array_equal(found, expected if channels is None else expected[:, :, [0, 2]])


def test_a_loader_selects_channels_by_name_and_keeps_the_time(store):
    loader = Loader(store, {"greenness": ["ndwi"]}, crop=8)
    batch = loader.read(np.array([1, 2]))
    assert loader.modalities["greenness"].channel_names == ("ndwi",)
    np.testing.assert_array_equal(batch.inputs["greenness"].numpy(), store.read("greenness", [1, 2], channels=[1]))


def test_a_shard_is_a_plain_npy_file(store):
    assert np.load(store.path / "greenness" / "00000.npy").shape == (PATCHES, 6, 3)


def test_moments_are_those_of_the_steps_that_are_known(store):
    moments = channel_moments(Loader(store, {"greenness": None}), np.arange(PATCHES))["greenness"]
    values = known_values(store.read("greenness", np.arange(PATCHES))).reshape(-1, 2)
    np.testing.assert_allclose(moments.mean, np.nanmean(values, axis=0), rtol=1e-5)
    np.testing.assert_allclose(moments.std, np.nanstd(values, axis=0), rtol=1e-5)
    assert moments.patches == PATCHES - 2


def test_quantiles_go_from_the_smallest_known_value_to_the_largest(store):
    found = channel_quantiles(Loader(store, {"s1": None, "greenness": ["ndwi"], "season": None}), np.arange(PATCHES))
    assert {name: [len(edges) for edges in channels] for name, channels in found.items()} == {
        "greenness": [17],
        "season": [17, 17],
    }
    values = known_values(store.read("greenness", np.arange(PATCHES)))[..., 1].ravel()
    expected = np.nanquantile(values, np.arange(17) / 16)
    np.testing.assert_allclose(found["greenness"][0], expected, rtol=1e-5)


def test_a_series_is_no_target(store):
    with pytest.raises(UsageError, match="the series 'greenness' can't be predicted"):
        make_target(store, "greenness")


def test_an_interrupted_pack_of_series_goes_on_to_the_same_store(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "CHUNK_WITHOUT_RASTERS", 8)
    options = {**MIXED, "modalities": (GREENNESS, SEASON)}
    whole = pack_source(FakeSource(**options), tmp_path / "whole.store", workers=1)
    source, reads = FakeSource(**options), []
    original = source.read
    source.read = lambda row: reads.append(row) or (original(row) if len(reads) < 12 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pack_source(source, tmp_path / "again.store", workers=1)
    again = pack_source(FakeSource(**options), tmp_path / "again.store", workers=1)
    assert again.fingerprint == whole.fingerprint
    assert again.verify() == []


def test_a_store_without_a_raster_is_described(tmp_path):
    source = FakeSource(patches=20, modalities=(GREENNESS, SEASON))
    store = pack_source(source, tmp_path / "flat.store", workers=1)
    assert store.patch_size == (0, 0)
    assert describe_store(store).modalities["kind"].tolist() == ["series", "vector"]
    assert open_store(store.path).modalities["greenness"] == GREENNESS


def series(*steps):
    return np.array([*steps, *[(np.nan,) * 3] * (6 - len(steps))], dtype=np.float32)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((4, 3), dtype=np.float32), r"patch a, greenness: has the shape \(4, 3\) where \(6, 3\)"),
        (series((1, 0, 0), (3, 0, 0), (2, 0, 0)), "the time of step 3 is not after that of step 2"),
        (series((1, 0, 0), (1, 0, 0)), "the time of step 2 is not after that of step 1"),
        (series((1, 0, 0), (np.nan, 0, 0), (2, 0, 0)), "step 2 of 3 has no time"),
    ],
)
def test_what_is_no_series_is_told_by_patch_and_step(values, message):
    with pytest.raises(DataError, match=message):
        require_series(GREENNESS, values, "patch a")


def test_gaps_and_missing_steps_are_fine():
    require_series(GREENNESS, series((1, np.nan, 0), (2, 0, np.nan)), "patch a")
    require_series(GREENNESS, series(), "patch a")


class BackwardsSource(FakeSource):
    """The steps of one patch run backwards."""

    def read(self, row):
        found = super().read(row)
        if row == 3:
            found["greenness"][:3, 0] = [3, 2, 1]
        return found


def test_a_patch_whose_time_runs_backwards_stops_the_packing_or_is_set_aside(tmp_path):
    source = BackwardsSource(patches=10, modalities=(GREENNESS,))
    with pytest.raises(DataError, match="patch_3, greenness: the time of step 2"):
        pack_source(source, tmp_path / "bad.store", workers=1)
    assert len(pack_source(source, tmp_path / "bad.store", skip_bad=True, workers=1)) == 9


def test_the_check_tells_of_every_patch_whose_time_runs_backwards():
    found = check_samples(BackwardsSource(patches=10, modalities=(SENTINEL1, GREENNESS)))
    assert [(problem.patch_id, problem.severity) for problem in found] == [("patch_3", "error")]


@pytest.mark.parametrize("date", ["-1", "0001-01-01", "2024-02-30", "9999-12-31", "2024-01-01T25:00", "1e400"])
def test_dates_of_any_year_are_taken_or_named(tmp_path, date):
    table = TableFolder(tmp_path).only(
        ndvi={"kind": "series", "columns": "ndvi_t{step}", "date_columns": "day_t{step}"}
    )
    for step in range(3):
        table.table[f"day_t{step}"] = f"2024-0{step + 1}-01"
    table.table.loc[1, "day_t2"] = date
    errors = [str(problem) for problem in table.open().problems if problem.severity == "error"]
    assert bool(errors) == (date != "9999-12-31")
    assert all("p1" in error for error in errors)

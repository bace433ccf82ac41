"""Series of images: what is packed is what is read, whatever their lengths; zeros are data, and what fills up a batch is none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eofuse
from eofuse.data.card.describe import describe_store
from eofuse.data.card.statistics import channel_moments, scan_store
from eofuse.data.check import check_path
from eofuse.data.loading import Loader
from eofuse.data.splits.identity import identities
from eofuse.data.store import Window, open_store, partial
from eofuse.data.store.combine import append, merge
from eofuse.data.store.pack import pack_source
from eofuse.data.store.subset import subset
from eofuse.errors import DataError, UsageError
from eofuse.modalities import SENTINEL1, Category, Channel, Kind, Modality
from fake_source import SCENES, FakeSource

PATCHES = 23
OPTIONS = {"patches": PATCHES, "modalities": (SENTINEL1, SCENES), "absent": {"scenes": {0, 7}}, "size": 8}


class Source(FakeSource):
    """Every date of patch 3 is black."""

    def signal(self, modality, row, raster):
        return raster * (row != 3)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return pack_source(Source(**OPTIONS), tmp_path_factory.mktemp("images") / "images.store", workers=1)


def dates(row):
    return Source(**OPTIONS).read(row)["scenes"]


@settings(max_examples=25)
@given(
    rows=st.lists(st.sampled_from([row for row in range(PATCHES) if row not in (0, 7)]), min_size=1, max_size=9),
    channels=st.none() | st.lists(st.integers(0, 1), min_size=1, max_size=2, unique=True),
    window=st.none() | st.just(Window(1, 2, 4, 5)),
)
def test_a_batch_holds_the_packed_dates_with_their_times_and_is_filled_up_with_zeros(store, rows, channels, window):
    batch, times = store.read("scenes", rows, channels=channels, window=window), store.times("scenes", rows)
    assert batch.dtype == np.uint16
    assert batch.shape[:2] == times.shape == (len(rows), max(len(dates(row)) for row in rows))
    area = np.s_[:, slice(None) if channels is None else channels]
    for row, values, days in zip(rows, batch, times, strict=True):
        expected = dates(row)[area]
        expected = expected[..., 1:5, 2:7] if window else expected
        np.testing.assert_array_equal(values[: len(expected)], expected)
        assert not values[len(expected) :].any()
        assert np.isfinite(days).tolist() == [True] * len(expected) + [False] * (len(days) - len(expected))
        assert days[: len(expected)].tolist() == Source(**OPTIONS).days(SCENES, row)


def test_nothing_is_stored_for_dates_that_do_not_exist(store):
    count = sum(len(dates(row)) for row in range(PATCHES) if row not in (0, 7))
    assert np.load(store.path / "scenes" / "00000.npy").shape == (count, 2, 8, 8)
    assert store.index["times.scenes"].map(len).sum() == count


def test_dates_cross_shards(tmp_path, store, monkeypatch):
    monkeypatch.setattr(partial, "SHARD_BYTES", 4 * 5 * 2 * 8 * 8 * 2 + 128)
    small = pack_source(Source(**OPTIONS), tmp_path / "small.store", workers=1)
    assert len(list((small.path / "scenes").iterdir())) == 6
    rows = [22, 4, 3, 0, 4]
    np.testing.assert_array_equal(small.read("scenes", rows), store.read("scenes", rows))
    assert open_store(small.path).verify() == []


def test_a_loader_reads_them_with_their_times_and_absent_ones_have_none(store):
    loader = Loader(store, {"scenes": ["nir"], "s1": None}, crop=4)
    batch = loader.read(np.array([0, 5, 3]))
    assert batch.inputs["scenes"].shape[2:] == (1, 4, 4)
    assert batch.inputs["scenes.times"][0].isnan().all()
    assert batch.inputs["scenes.times"][2].isfinite().any()
    whole = store.read("scenes", [5], channels=[1], window=Window(2, 2, 4, 4))[0]
    np.testing.assert_array_equal(batch.inputs["scenes"][1, : len(whole)].numpy(), whole)


def test_moments_count_zeros_and_nothing_that_fills_up(store):
    moments = channel_moments(Loader(store, {"scenes": None}), np.arange(PATCHES))["scenes"]
    values = np.concatenate([dates(row) for row in range(PATCHES) if row not in (0, 7)]) * 1e-4
    np.testing.assert_allclose(moments.mean, values.mean(axis=(0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(moments.minimum, 0, atol=1e-9)
    assert moments.patches == PATCHES - 2


def test_what_is_seen_of_a_patch_does_not_depend_on_the_others(store):
    alone, together = scan_store(store, np.array([4])), scan_store(store, np.arange(PATCHES))
    at = together["scenes"].rows.tolist().index(4)
    assert together["scenes"].digests[at] == alone["scenes"].digests[0]
    np.testing.assert_array_equal(together["scenes"].values[at], alone["scenes"].values[0])
    few, many = identities(store, ["scenes"], np.array([4])), identities(store, ["scenes"])
    assert few.values["scenes"][0] == many.values["scenes"][4] != 0


def test_parts_put_together_are_the_store_bit_for_bit(store, tmp_path):
    subset(store.path, tmp_path / "a.store", ids=[f"patch_{row}" for row in range(9)])
    subset(store.path, tmp_path / "b.store", ids=[f"patch_{row}" for row in range(9, PATCHES)])
    merged = merge([tmp_path / "a.store", tmp_path / "b.store"], tmp_path / "merged.store")
    assert merged.files["scenes/00000.npy"] == store.files["scenes/00000.npy"]
    grown = append(tmp_path / "a.store", [tmp_path / "b.store"])
    assert grown.files["scenes/00000.npy"] == store.files["scenes/00000.npy"]
    assert grown.index["times.scenes"].map(list).tolist() == store.index["times.scenes"].map(list).tolist()


def test_a_store_without_them_has_no_dates_in_a_merged_one(store, tmp_path):
    subset(store.path, tmp_path / "a.store", ids=["patch_1"])
    subset(store.path, tmp_path / "b.store", ids=["patch_2"], modalities=["s1"])
    merged = merge([tmp_path / "a.store", tmp_path / "b.store"], tmp_path / "merged.store")
    assert merged.present("scenes").tolist() == [True, False]
    assert np.isnan(merged.times("scenes", [1])).all()


def test_an_interrupted_packing_goes_on_to_the_same_bits(store, tmp_path):
    source = Source(**OPTIONS)
    source.bad = {14}
    with pytest.raises(DataError, match="is truncated"):
        pack_source(source, tmp_path / "killed.store", workers=1)
    assert pack_source(Source(**{**OPTIONS, "bad": set()}), tmp_path / "other.store", workers=1).files == store.files
    source.bad = set()
    assert pack_source(source, tmp_path / "killed.store", workers=1).files == store.files


def test_damaged_dates_name_their_patch(store, tmp_path):
    damaged = subset(store.path, tmp_path / "damaged.store")
    file = damaged.path / "scenes" / "00000.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert "1 patch: patch_22" in str(open_store(damaged.path, verified=False).verify()[0])


def test_the_schema_of_a_store_without_them_stays(store, tmp_path):
    assert '"schema_version": 4' in (store.path / "store.json").read_text()
    without = subset(store.path, tmp_path / "without.store", modalities=["s1"])
    assert '"schema_version": 3' in (without.path / "store.json").read_text()
    assert "times.scenes" not in without.index


def test_description_and_check_know_them(store):
    described = describe_store(store)
    assert described.modalities.set_index("modality").loc["scenes", "kind"] == "image_series"
    assert [str(problem) for problem in check_path(store.path, workers=1) if problem.severity == "error"] == []


def write(tmp_path, *samples, modality=SCENES):
    return eofuse.write_store(iter(samples), [modality], tmp_path / "given.store", name="given")


def sample(number=0, **changes):
    days = ["2024-04-01", "2024-06-01T12:00"]
    return {"id": f"p{number}", "scenes": np.full((2, 2, 4, 4), number), "scenes.times": days, **changes}


def test_samples_of_any_length_are_written(tmp_path):
    one = sample(1, scenes=np.ones((1, 2, 4, 4)), **{"scenes.times": [19_000]})
    store = write(tmp_path, sample(0), one, {"id": "p2", "scenes": None})
    assert store[0]["scenes.times"].tolist() == [19814, 19875.5]
    assert store[1]["scenes"].shape == (1, 2, 4, 4)
    assert store.present("scenes").tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scenes": np.zeros((2, 3, 4, 4))}, "is expected"),
        ({"scenes": np.zeros((6, 2, 4, 4))}, "give 1 to 5 dates"),
        ({"scenes.times": ["2024-06-01", "2024-04-01"]}, "date 2 is not after that of date 1"),
        ({"scenes.times": ["2024-06-01"]}, "2 times are expected"),
        ({"scenes.times": [0, np.nan]}, "date 2 of 2 has no time"),
        ({"scenes.times": None}, "is missing where 2 times are expected"),
        ({"scenes": np.full((2, 2, 4, 4), np.nan)}, "no value stands for that"),
    ],
)
def test_what_is_no_series_of_images_is_named(tmp_path, changes, message):
    with pytest.raises(DataError, match=message) as error:
        write(tmp_path, sample(), sample(1, **changes))
    assert "sample p1, scenes" in str(error.value)


def test_a_series_of_images_needs_a_number_of_dates_and_no_codes():
    with pytest.raises(UsageError, match="needs a number of dates"):
        Modality("scenes", Kind.IMAGE_SERIES, (Channel("red"),))
    with pytest.raises(UsageError, match="can't hold codes"):
        Modality("scenes", Kind.IMAGE_SERIES, (Channel("map"),), categories=(Category(1, "tree"),), steps=3)

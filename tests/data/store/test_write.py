"""Samples of any origin become a store: what is given is what is read, and what does not fit is named by sample and modality."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import eofuse
from eofuse.data.check import check_path
from eofuse.errors import DataError, EofuseError, UsageError
from eofuse.modalities import Category, Channel, Kind, Modality

RADAR = Modality("radar", Kind.RASTER, (Channel("VV", unit="dB"), Channel("VH", unit="dB")))
OPTICAL = Modality("optical", Kind.RASTER, (Channel("B04"),), dtype="uint16", nodata=0)
MOISTURE = Modality("moisture", Kind.SERIES, (Channel("top"), Channel("deep")), steps=3)
SOIL = Modality("soil", Kind.VECTOR, (Channel("clay"), Channel("sand")))
CLASSES = (Category(1, "dry"), Category(4, "wet"))
CLASSES = (Category(1, "dry"), Category(4, "wet"))
BIOME = Modality("biome", Kind.CATEGORY, (Channel("biome", unit="class"),), dtype="uint8", categories=CLASSES)
ALL = (RADAR, OPTICAL, MOISTURE, SOIL, BIOME)


def sample(number=0, **changes):
    values = {
        "id": f"plot {number}",
        "radar": np.full((2, 4, 4), -12.5),
        "optical": np.arange(1, 17).reshape(1, 4, 4),
        "moisture": np.array([[0, 0.2, 0.3], [1, np.nan, 0.4]]),
        "soil": [0.2, 0.5],
        "biome": "wet",
        "scene": "a",
        "species": "oak",
    }
    return {key: value for key, value in {**values, **changes}.items() if value is not ...}


def write(tmp_path, *samples, modalities=ALL, **options):
    return eofuse.write_store(iter(samples), modalities, tmp_path / "mine.store", name="mine", **options)


def test_a_sample_comes_back(tmp_path):
    place = {
        "transform": Affine(10, 0, 500_000, 0, -10, 5_300_000),
        "crs": "EPSG:32633",
        "time": "2024-06-30",
        "split": "test",
    }
    store = write(tmp_path, sample(0, **place), sample(1, radar=None, biome=4), labels={"species": "class"})
    patch = store[0]
    assert patch["radar"].dtype == np.float32
    assert (patch["radar"] == -12.5).all()
    assert (patch["optical"] == np.arange(1, 17).reshape(1, 4, 4)).all()
    assert np.array_equal(patch["moisture"][:2], np.float32([[0, 0.2, 0.3], [1, np.nan, 0.4]]), equal_nan=True)
    assert np.isnan(patch["moisture"][2]).all()
    assert patch["soil"].tolist() == np.float32([0.2, 0.5]).tolist()
    assert (patch["biome"], store[1]["biome"]) == (4, 4)
    assert store.present("radar").tolist() == [True, False]
    row = store.index.iloc[0]
    assert (row["time"], row["split"], row["species"]) == ("2024-06-30T00:00:00", "test", "oak")
    assert (row["ulx"], row["grid_e"], row["grid_width"]) == (500_000, -10, 4)
    assert row["lon"] == pytest.approx(15, abs=0.01)
    assert store.provenance["labels"] == {"species": "class"}
    assert not [problem for problem in check_path(store.path) if problem.severity == "error"]


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_fits_is_read_as_it_was_given(tmp_path, data):
    shape = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    numbers = st.floats(-1e6, 1e6, width=32) | st.just(float("nan"))
    samples = []
    for number in range(data.draw(st.integers(1, 40))):
        radar = st.none() | arrays.arrays(np.float32, (2, *shape), elements=numbers)
        samples.append(
            {
                "id": str(number),
                "radar": data.draw(radar) if number else np.zeros((2, *shape)),
                "optical": data.draw(arrays.arrays(np.uint16, (1, *shape))),
                "soil": data.draw(st.none() | st.tuples(numbers, numbers)) if number else (0, 1),
            }
        )
    store = write(tmp_path, *samples, modalities=(RADAR, OPTICAL, SOIL), overwrite=True)
    for row, given_sample in enumerate(samples):
        for name, modality in store.modalities.items():
            value = given_sample[name]
            assert store.present(name)[row] == (value is not None)
            if value is not None:
                assert np.array_equal(
                    store[row][name], np.asarray(value, modality.dtype), equal_nan=modality.dtype == "float32"
                )


WRONG = {
    "another size": ({"radar": np.zeros((2, 4, 5))}, "sample plot 1, radar: has the shape (2, 4, 5) where (2, 4, 4)"),
    "another number of channels": ({"radar": np.zeros((3, 4, 4))}, "sample plot 1, radar: has the shape (3, 4, 4)"),
    "fractions": ({"optical": np.full((1, 4, 4), 0.5)}, "sample plot 1, optical: holds fractions such as 0.5"),
    "too large": ({"optical": np.full((1, 4, 4), 70_000)}, "sample plot 1, optical: values from 70000"),
    "text": ({"radar": np.full((2, 4, 4), "x")}, "sample plot 1, radar: holds"),
    "too many steps": ({"moisture": np.zeros((4, 3))}, "sample plot 1, moisture: has the shape (4, 3)"),
    "times that fall": ({"moisture": [[1, 0, 0], [0, 0, 0]]}, "sample plot 1, moisture: the time of step 2"),
    "a number too few": ({"soil": [1]}, "sample plot 1, soil: has the shape (1,)"),
    "no category": ({"biome": "wett"}, "sample plot 1, biome: 'wett' is no category"),
    "no id": ({"id": ...}, "sample 2: is no dictionary with an id"),
    "an id twice": ({"id": "plot 0"}, "has an id that another has"),
    "no date": ({"time": "yesterday"}, "sample plot 1, time: 'yesterday' is no date"),
    "a date of two meanings": ({"time": "05.07.2023"}, "sample plot 1, time: '05.07.2023' is no date"),
    "no split": ({"split": "training"}, "sample plot 1: column 'split' holds 'training'"),
    "a place of text": ({"lon": "east"}, "sample plot 1: column 'lon' holds 'east'"),
    "a longitude beyond the Earth": (
        {"lon": np.float32(200)},
        "sample plot 1: lon 200 is no place; give degrees from -180",
    ),
    "a mirrored transform": (
        {"transform": (10, 0, 5e5, 0, 10, 5e6), "crs": "EPSG:32633"},
        "sample plot 1: transform and crs can't be used: the rows do not go down",
    ),
    "a transform without crs": ({"transform": Affine.identity()}, "sample plot 1: transform and crs can't be used"),
    "no crs": ({"transform": Affine.identity(), "crs": "nowhere"}, "sample plot 1: transform and crs can't be used"),
    "a column of the index": ({"ulx": 3}, "sample plot 1: has the key 'ulx'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_named_and_leaves_nothing(tmp_path, name):
    changes, message = WRONG[name]
    with pytest.raises(DataError) as error:
        write(tmp_path, sample(0), sample(1, **changes))
    assert message in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_samples_before_the_first_raster_wait_for_its_size(tmp_path):
    store = write(tmp_path, *(sample(n, radar=None, optical=None) for n in range(40)), sample(40))
    assert store.patch_size == (4, 4)
    assert store.present("radar").sum() == 1
    assert store["plot 3"]["moisture"][0, 1] == np.float32(0.2)


def test_a_store_that_exists_is_replaced_if_asked_and_only_by_a_whole_one(tmp_path):
    first = write(tmp_path, sample(0))
    with pytest.raises(UsageError, match="exists and holds other data"):
        write(tmp_path, sample(1))
    with pytest.raises(ZeroDivisionError):
        eofuse.write_store((1 / 0 for _ in range(3)), ALL, first.path, name="mine", overwrite=True)
    assert eofuse.open_store(first.path).fingerprint == first.fingerprint
    assert len(write(tmp_path, sample(1), sample(2), overwrite=True)) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modalities": ["s3"]}, "s3"),
        ({"modalities": [RADAR, RADAR]}, "can't be the name"),
        (
            {"modalities": [Modality("map", Kind.RASTER, (Channel("x"),), categories=CLASSES)]},
            "a map of classes can't hold float32",
        ),
        ({"labels": {"species": "word"}}, "no kind of label"),
        ({"labels": {"specie": "class"}}, "no sample has this label"),
        ({"modalities": [*ALL, Modality("extra", Kind.RASTER, (Channel("x"),))]}, "no sample has this modality"),
    ],
)
def test_options_that_can_not_be_are_named(tmp_path, options, message):
    with pytest.raises(EofuseError, match=message):
        write(tmp_path, sample(0), **options)


def test_no_sample_makes_no_store(tmp_path):
    with pytest.raises(DataError, match="there is no sample"):
        write(tmp_path)

"""A foundation model's vectors join a store: right values, checked units, gaps, resumed to the same bits, and no target in them."""

import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import eofuse
from eofuse.cli import main
from eofuse.data.store import EMBEDDINGS
from eofuse.data.store.write import write_store
from eofuse.data.targets import make_target
from eofuse.embedding import foundation
from eofuse.embedding import make as embedding
from eofuse.embedding.make import embed
from eofuse.errors import DataError, UsageError
from eofuse.files import temporary_of
from eofuse.learning.leaks import refuse_leaking_inputs
from eofuse.modalities import ELEVATION, SENTINEL1, SENTINEL2, Channel, Kind, Modality
from eofuse.models.foundation import Sample, build_foundation

OPTICAL = SENTINEL2.select(("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"))


def samples(count=6):
    random = np.random.default_rng(0)
    for number in range(count):
        yield {
            "id": f"p{number}",
            "time": f"2020-0{1 + number}-10",
            "lon": 9.0 + number,
            "lat": 47.0,
            "s2": random.integers(500, 4000, (10, 18, 18)).astype(np.uint16),
            "elevation": random.integers(0, 2500, (1, 18, 18)).astype(np.int16),
            **({"s1": random.normal(-12, 4, (2, 18, 18)).astype(np.float32)} if number else {}),
            "label": "ab"[number % 2],
        }


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    modalities = (OPTICAL, SENTINEL1, ELEVATION)
    return write_store(samples(), modalities, tmp_path_factory.mktemp("embedding") / "a.store", name="a")


@pytest.fixture(scope="module")
def weights(shared):
    return shared / "weights"


@pytest.fixture(scope="module")
def embedded(store, weights, tmp_path_factory):
    to = tmp_path_factory.mktemp("embedded") / "b.store"
    return embed(store.path, to, model="galileo:nano", weights=weights, pool="groups", patch=4)


def test_vectors_are_what_the_model_makes_of_each_sample_alone(store, weights, embedded):
    model = build_foundation("galileo:nano")
    model.load(weights)
    raw = {name: torch.from_numpy(store.read(name, [3])[0].astype(np.float32)) for name in ("s2", "s1", "elevation")}
    bands = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
    values = {band: raw["s2"][number][None] for number, band in enumerate(bands)}
    values |= {"VV": raw["s1"][:1], "VH": raw["s1"][1:], "elevation": raw["elevation"]}
    with torch.no_grad():
        means = model.embed(Sample(values, torch.tensor([3])), 4)
    expected = means.means[0][means.tokens[0] > 0].flatten()
    np.testing.assert_allclose(embedded.read("galileo", [3])[0], expected, atol=1e-4)


def test_the_twin_is_another_network_and_all_else_stays(store, embedded):
    assert not np.allclose(*(embedded.read(name, [3]) for name in ("galileo", "galileo_random")))
    np.testing.assert_array_equal(embedded.read("s2", range(6)), store.read("s2", range(6)))
    assert embedded.provenance[EMBEDDINGS]["galileo"]["weights"]["licence"] == "MIT"


def test_the_group_of_a_missing_modality_is_missing_and_the_others_are_not(embedded):
    first = dict(zip(embedded.modality("galileo").channel_names, embedded.read("galileo", [0])[0], strict=True))
    assert np.isnan(first["S1_000"])
    assert np.isfinite(first["S2_RGB_000"])
    assert not any(name.startswith(("ERA5", "location")) for name in first)


def test_a_missing_pixel_hides_its_token_and_no_other():
    model = build_foundation("galileo:nano")
    bands = {name: 1000 + 10 * torch.arange(64.0).reshape(1, 8, 8) for name in ("B2", "B3", "B4")}
    with_gap = {name: band.clone() for name, band in bands.items()}
    with_gap["B3"][0, 1, 1] = torch.nan
    with torch.no_grad():
        tokens = model.embed(Sample(with_gap, torch.tensor([0])), 4).tokens
    assert tokens[0].tolist() == [0, 3, *[0] * 15]


def test_an_interrupted_run_goes_on_to_the_same_store(store, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "PORTION", 2)
    options = {"model": "presto", "weights": weights, "name": "p"}
    whole = embed(store.path, tmp_path / "whole.store", **options)

    def stop(done, count):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(store.path, tmp_path / "cut.store", **options, progress=stop)
    assert len(list((tmp_path / "cut.store.embedding").glob("*.npz"))) == 2
    again = embed(store.path, tmp_path / "cut.store", **options)
    assert again.fingerprint == whole.fingerprint
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == [
        "cut.store",
        "whole.store",
    ]


def test_a_target_that_went_into_the_vectors_is_refused(embedded, tmp_path):
    inputs = {"galileo": None}
    with pytest.raises(UsageError, match=r"of which the vectors of 'galileo' were computed"):
        refuse_leaking_inputs(embedded, make_target(embedded, "elevation"), inputs)
    part = eofuse.subset(embedded.path, tmp_path / "part.store", count=4)
    with pytest.raises(UsageError, match=r"of which the vectors"):
        refuse_leaking_inputs(part, make_target(part, "elevation"), inputs)


def test_places_and_seasons_that_the_model_was_told_are_refused_as_targets(store, weights, tmp_path):
    seen = embed(store.path, tmp_path / "seen.store", model="presto", weights=weights, place=True, twin=False)
    with pytest.raises(UsageError, match="derives from the place"):
        refuse_leaking_inputs(seen, make_target(seen, "lat"), {"presto": None})


def test_vectors_that_were_computed_differently_are_not_joined(store, weights, tmp_path):
    one, other = (tmp_path / f"{inputs}.store" for inputs in ("s2", "elevation"))
    parts = {one: ["p0", "p1"], other: ["p2", "p3"]}
    for path, ids in parts.items():
        part = eofuse.subset(store.path, tmp_path / f"part-{path.name}", ids=ids).path
        embed(part, path, model="presto", weights=weights, inputs=[path.stem], twin=False)
    with pytest.raises(DataError, match="the vectors of 'presto' were computed differently"):
        eofuse.merge([one, other], tmp_path / "both.store")


def test_a_folder_of_somebody_is_not_touched(store, weights, tmp_path):
    own = tmp_path / "out.store.embedding" / "thesis.txt"
    own.parent.mkdir()
    own.write_text("precious")
    with pytest.raises(UsageError, match="is in the way"):
        embed(store.path, tmp_path / "out.store", model="presto", weights=weights)
    assert own.read_text() == "precious"


def test_a_folder_of_portions_that_was_killed_before_its_plan_is_taken_up(store, weights, tmp_path):
    left = temporary_of(tmp_path / "out.store.embedding" / embedding.PLAN)
    left = left.with_name(left.name.replace(f"-{os.getpid()}.", "-999999999."))
    left.parent.mkdir()
    left.write_text("{")
    embed(store.path, tmp_path / "out.store", model="presto", weights=weights)
    assert not left.parent.exists()


def test_an_empty_folder_of_portions_goes_when_the_store_is_there(store, weights, embedded):
    left = embedded.path.with_name(f"{embedded.path.name}.embedding")
    left.mkdir()
    embed(store.path, embedded.path, model="galileo:nano", weights=weights, pool="groups", patch=4)
    assert not left.exists()


def test_the_same_again_does_nothing_and_something_else_is_refused(store, weights, embedded):
    options = {"model": "galileo:nano", "weights": weights, "pool": "groups"}
    assert embed(store.path, embedded.path, **options, patch=4).fingerprint == embedded.fingerprint
    with pytest.raises(UsageError, match="holds other data"):
        embed(store.path, embedded.path, **options, patch=8)


@pytest.mark.parametrize("name", ["", "id", "lon", "../up", "s2", "has_s2"])
def test_a_name_that_is_taken_or_none_is_refused(store, weights, tmp_path, name):
    with pytest.raises(UsageError):
        embed(store.path, tmp_path / "o.store", model="presto", weights=weights, name=name)


def test_the_output_lies_apart_from_the_source(store, weights):
    with pytest.raises(UsageError, match="must lie apart"):
        embed(store.path, store.path / "inner.store", model="presto", weights=weights)


def test_a_group_that_lacks_a_channel_is_not_used(tmp_path, weights):
    path = made(tmp_path, "reflectance", 1.0, 0.01, 0.4, names=("B02", "B03", "B04", "B05"))
    found = embed(path, tmp_path / "out.store", model="galileo", weights=weights, month=7, twin=False)
    assert found.provenance[EMBEDDINGS]["galileo"]["not_used"] == ["o.B05"]


def test_data_without_any_value_are_refused(tmp_path, weights):
    path = made(tmp_path, "reflectance", 1.0, np.nan, np.nan)
    with pytest.raises(DataError, match="no sample has a token"):
        embed(path, tmp_path / "out.store", model="galileo", weights=weights, month=7)
    assert not (tmp_path / "out.store.embedding").exists()


def test_weights_that_are_no_numbers_are_refused(store, tmp_path):
    weights = {name: tensor * torch.nan for name, tensor in build_foundation("presto").state_dict().items()}
    save_file(weights, tmp_path / "nan.safetensors")
    with pytest.raises(DataError, match="something else than finite numbers"):
        embed(store.path, tmp_path / "o.store", model="presto", weights=tmp_path / "nan.safetensors")


def made(tmp_path, unit, scale, low, high, names=("B02", "B03", "B04"), name="o"):
    channels = tuple(Channel(each, unit=unit) for each in names)
    modality = Modality(name, Kind.RASTER, channels, dtype="float32", scale=scale)
    random = np.random.default_rng(0)
    shape = (len(names), 8, 8)
    given = [{"id": str(n), name: (low + (high - low) * random.random(shape)).astype(np.float32)} for n in range(4)]
    return write_store(given, [modality], tmp_path / "units.store", name="units").path


def test_the_unit_decides_and_not_the_numbers(tmp_path, weights):
    path = made(tmp_path, "reflectance", 1.0, 0.01, 0.4)
    found = embed(path, tmp_path / "out.store", model="galileo", weights=weights, month=7, twin=False)
    assert found.provenance[EMBEDDINGS]["galileo"]["warnings"] == []


def test_an_unknown_unit_is_asked_for(tmp_path, weights):
    path = made(tmp_path, "", 1.0, 100, 4000)
    with pytest.raises(UsageError, match=r"unit is not known.*--unit o='reflectance × 10,000' or"):
        embed(path, tmp_path / "out.store", model="galileo", weights=weights, month=7)
    embed(path, tmp_path / "out.store", model="galileo", weights=weights, month=7, units={"o": "DN"}, twin=False)


def test_reflectance_that_is_said_to_be_digital_numbers_is_refused(tmp_path, weights):
    path = made(tmp_path, "DN", 1.0, 0.01, 0.4)
    with pytest.raises(DataError, match="'DN' can't be the unit"):
        embed(path, tmp_path / "out.store", model="galileo", weights=weights, month=7)


def test_a_wrong_sign_is_said(tmp_path, weights):
    path = made(tmp_path, "DN", 1.0, -4000, -200)
    found = embed(path, tmp_path / "out.store", model="galileo", weights=weights, month=7, twin=False)
    assert "o.B02: the mean is" in found.provenance[EMBEDDINGS]["galileo"]["warnings"][0]


def test_rain_of_a_month_for_rain_of_a_day_is_refused(tmp_path, weights):
    names = ("temperature_2m", "total_precipitation_sum")
    channels = (Channel(names[0], unit="K"), Channel(names[1], unit="mm/day"))
    modality = Modality("weather", Kind.VECTOR, channels)
    given = [{"id": str(n), "weather": np.array([280.0 + n, 3.0 * n], dtype=np.float32)} for n in range(4)]
    path = write_store(given, [modality], tmp_path / "rain.store", name="rain").path
    with pytest.raises(UsageError, match="takes m/month, and the unit is mm/day"):
        embed(path, tmp_path / "out.store", model="galileo", weights=weights, month=7)


def test_samples_without_a_date_need_a_month(tmp_path, weights):
    path = made(tmp_path, "reflectance", 1.0, 0.01, 0.4)
    with pytest.raises(UsageError, match=r"4 of 4 samples have no date.*--month"):
        embed(path, tmp_path / "out.store", model="galileo", weights=weights)


def test_the_month_is_that_of_any_year(tmp_path):
    given = [{"id": f"{n}", "time": time, "v": np.float32([n])} for n, time in enumerate(("1500-06-30", "2020-12-01"))]
    store = write_store(given, [Modality("v", Kind.VECTOR, (Channel("a"),))], tmp_path / "old.store", name="old")
    assert foundation._months(store, None).tolist() == [5, 11]


def test_weights_of_another_network_are_refused(store, weights, tmp_path):
    with pytest.raises(DataError, match="another network than galileo:nano"):
        embed(
            store.path, tmp_path / "o.store", model="galileo:nano", weights=weights / "presto_default_model.safetensors"
        )


def test_the_list_of_models_says_what_they_take(capsys):
    assert main(["embed", "--list"]) == 0
    assert "galileo:nano" in capsys.readouterr().out

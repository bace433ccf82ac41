"""Pretrained models of several sensors as encoders: known vectors, units, gaps in their own mask, months and places."""

from datetime import date

import pytest
import torch
from safetensors.torch import load_file

from eofuse.errors import DataError, UsageError
from eofuse.kinds import KINDS
from eofuse.learning.fine_tuning import FineTuning
from eofuse.learning.pretraining.reconstruction import Reconstruction
from eofuse.learning.transfer import StartOptions, start_from
from eofuse.modalities import ELEVATION, MONTH, PLACE, SENTINEL1, SENTINEL2, WORLDCOVER, Channel, Kind, Modality
from eofuse.models.artifact import load_model, save_model
from eofuse.models.encoders import ENCODERS
from eofuse.models.encoders.foundation import months_of_days
from eofuse.models.foundation import Sample, build_foundation
from eofuse.models.foundation.derived import unit_sphere
from eofuse.models.foundation.presto import GROUPS
from eofuse.models.fusion import FUSIONS, FusionOptions
from eofuse.models.heads import HeadSpec
from eofuse.models.model import ModelSpec, build_model, example_inputs
from eofuse.models.normalisation import ChannelStatistics

OPTICAL = SENTINEL2.select(("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"))
HEAD = {"label": HeadSpec(KINDS["single_label"], ("a", "b"))}


def model_of(modalities, strategy="single", size=(16, 16), seed=0, heads=HEAD, **fusion):
    fusion = {"joint": {"galileo:nano": [each.name for each in modalities if each.name != "worldcover"]}, **fusion}
    neutral = {each.name: [1.0] * len(each.channels) for each in modalities}
    options = FusionOptions(strategy=strategy, **fusion)
    spec = ModelSpec(tuple(modalities), options, heads, ChannelStatistics(neutral, neutral), size)
    return build_model(spec, seed=seed)


@pytest.fixture(scope="module")
def weights(shared):
    return shared / "weights"


def test_vectors_of_stored_values_are_those_of_the_original(weights):
    known = load_file(weights / "galileo_eurosat.safetensors")
    model = model_of([OPTICAL], size=(64, 64)).eval()
    table = start_from(model, StartOptions(**{"from": str(weights / "galileo_nano_encoder.safetensors")}))
    assert set(table.loc[table["tensor"].str.contains("network"), "status"]) == {"loaded"}
    stored = {"s2": known["s2_dn"].round().to(torch.uint16), MONTH: known["months"][:, 0]}
    with torch.no_grad():
        found = model.features(stored)[0].vector
    torch.testing.assert_close(found, known["vector_p8"], atol=1e-5, rtol=0)


def values(count=3):
    torch.manual_seed(0)
    return {
        "s2": torch.randint(500, 4000, (count, 10, 16, 16)).to(torch.uint16),
        "s1": torch.randn(count, 2, 16, 16) * 4 - 12,
        "elevation": torch.randint(0, 900, (count, 1, 16, 16)).to(torch.int16),
        MONTH: torch.tensor([0, 6, -1])[:count],
    }


@pytest.mark.parametrize("strategy", ["single", "late", "gated", "attention", "decision"])
def test_what_a_patch_lacks_is_hidden_in_the_mask_of_the_model(strategy):
    model = model_of([OPTICAL, SENTINEL1, ELEVATION], strategy)
    inputs = values()
    present = {
        "s2": torch.ones(3, dtype=torch.bool),
        "s1": torch.tensor([True, False, True]),
        "elevation": torch.ones(3, dtype=torch.bool),
    }
    absent = {**inputs, "s1": inputs["s1"].clone()}
    absent["s1"][1] = torch.nan
    with torch.no_grad():
        found, expected, whole = (model.features(*each)[0].vector for each in ((inputs, present), (absent,), (inputs,)))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert (found - whole).abs().amax(1).gt(1e-3).tolist() == [False, True, False]


def test_a_missing_pixel_hides_its_token_whatever_the_others_hold():
    model = model_of([OPTICAL])
    whole = {"s2": values()["s2"][:1]}
    gap = {"s2": whole["s2"].clone()}
    gap["s2"][0, 1, 0, 0] = 0  # B03
    other = {"s2": gap["s2"].clone()}
    other["s2"][0, :2, 1:8, :8] = 900  # B02 and B03
    with torch.no_grad():
        first, second, third = (model.features(each)[0].vector for each in (gap, other, whole))
    assert torch.equal(first, second)
    assert not torch.allclose(first, third)


def test_nothing_at_all_is_zeros_and_gives_a_gradient():
    model = model_of([OPTICAL])
    inputs = {"s2": values()["s2"]}
    inputs["s2"][1] = 0
    vector = model.features(inputs)[0].vector
    vector.sum().backward()
    assert vector[1].eq(0).all()
    assert all(p.grad.isfinite().all() for p in model.fusion.parameters() if p.grad is not None)


def test_the_month_and_the_place_reach_the_model_only_as_they_are_asked_for():
    inputs = values()
    moved = {**inputs, MONTH: torch.tensor([3, 6, -1]), PLACE: torch.tensor([[9.0, 47.0]] * 3)}
    with torch.no_grad():
        for place, changed in ((False, [True, False, False]), (True, [True, True, True])):
            model = model_of([OPTICAL, SENTINEL1], foundation={"place": place})
            first, second = (model.features(each)[0].vector for each in (inputs, moved))
            assert (first - second).abs().amax(1).gt(1e-5).tolist() == changed


def test_only_strategies_with_an_encoder_a_modality_take_it():
    for strategy in ("early", "middle"):
        with pytest.raises(UsageError, match=f"{strategy} fusion has no own encoder for 's2'.*such as late"):
            model_of([OPTICAL, SENTINEL1], strategy)
    assert {"single", "late", "gated", "attention", "decision", "film"} <= set(FUSIONS)


def test_a_modality_that_the_model_does_not_know_is_named_with_what_it_knows():
    with pytest.raises(UsageError, match=r"can't encode .*worldcover.*it knows VV \(raster\)"):
        model_of([OPTICAL, WORLDCOVER], joint={"galileo:nano": ["s2", "worldcover"]})
    with pytest.raises(UsageError, match=r"galileo has no size 'huge'"):
        model_of([OPTICAL], joint={"galileo:huge": ["s2"]})
    with pytest.raises(UsageError, match=r"fusion.foundation.units.s2='reflectance × 10,000' or"):
        model_of([OPTICAL], foundation={"units": {"s2": "percent"}})


def test_a_saved_model_is_the_same(tmp_path):
    model = model_of([OPTICAL, SENTINEL1], "late", foundation={"pool": "groups"})
    inputs = values()
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert torch.equal(loaded.predict(inputs)["label"], model.predict(inputs)["label"])


def test_weights_of_another_size_are_refused(weights):
    model = model_of([OPTICAL], joint={"galileo:tiny": ["s2"]})
    with pytest.raises(DataError, match="does not hold the tensors of galileo:tiny"):
        start_from(model, StartOptions(**{"from": str(weights / "galileo_nano_encoder.safetensors")}))


def test_every_foundation_model_is_an_encoder():
    assert {"galileo", "presto"} <= set(ENCODERS)
    example = example_inputs([OPTICAL], (16, 16))
    assert model_of([OPTICAL], joint={"presto": ["s2"]}).features(example)[0].vector.shape == (1, 128)


def test_maps_come_from_four_depths_and_serve_heads_of_pixels():
    heads = {"cover": HeadSpec(KINDS["segmentation"], ("a", "b"), network="unet")}
    model = model_of([OPTICAL, SENTINEL1], "late", (20, 20), heads=heads, foundation={"patch": 4})
    inputs = {
        "s2": torch.randint(500, 4000, (2, 10, 20, 20)).to(torch.uint16),
        "s1": torch.randn(2, 2, 20, 20) * 4 - 12,
    }
    inputs["s2"][0, :, :4, :4], inputs["s1"][0, :, :4, :4] = 0, torch.nan
    with torch.no_grad():
        features = model.features(inputs)[0]
        assert [level.shape for level in features.maps] == [(2, 128, 5, 5)] * 4
        assert all(level[0, :, 0, 0].eq(0).all() and level[1, :, 0, 0].ne(0).any() for level in features.maps)
        assert model(inputs)["cover"].shape == (1, 2, 2, 20, 20)


def test_the_last_map_is_the_mean_of_the_tokens_of_the_original(weights):
    known = load_file(weights / "galileo_eurosat.safetensors")
    model = model_of(
        [OPTICAL], size=(64, 64), heads={"cover": HeadSpec(KINDS["segmentation"], ("a", "b"), network="unet")}
    )
    start_from(model, StartOptions(**{"from": str(weights / "galileo_nano_encoder.safetensors")}))
    with torch.no_grad():
        found = model.eval().features({"s2": known["s2_dn"].round().to(torch.uint16), MONTH: known["months"][:, 0]})[0]
    torch.testing.assert_close(found.maps[-1].mean((2, 3)), known["vector_p8"], atol=1e-5, rtol=0)


def test_presto_sees_of_stored_values_what_it_sees_of_its_own_units(weights):
    inputs = {name: values()[name] for name in ("s2", "s1", "elevation", MONTH)}
    model = model_of([OPTICAL, SENTINEL1, ELEVATION], joint={"presto": ["s2", "s1", "elevation"]})
    start_from(model, StartOptions(**{"from": str(weights / "presto_default_model.safetensors")}))
    names = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
    own = dict(zip(names, inputs["s2"].float().unbind(1), strict=True))
    own |= {"VV": inputs["s1"][:, 0], "VH": inputs["s1"][:, 1], "elevation": inputs["elevation"][:, 0].float()}
    network = build_foundation("presto")
    network.load(weights)
    with torch.no_grad():
        expected = network.embed(Sample(own, inputs[MONTH]), 1).pooled
        found = model.features(inputs)[0].vector
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_low_rank_changes_reach_every_layer_of_the_attention():
    model = model_of([OPTICAL])
    FineTuning(
        model,
        StartOptions(**{"from": "random", "mode": "lora"}),
        start_from(model, StartOptions(**{"from": "random"})),
        seed=0,
    )
    learning = {
        name.partition(".parametrizations")[0] for name, p in model.fusion.named_parameters() if p.requires_grad
    }
    layers = {f"encoder.network.encoder.blocks.{block}.attn.{layer}" for block in range(4) for layer in ("qkv", "proj")}
    assert learning == layers


def test_masked_pretraining_of_what_takes_physical_units_is_refused():
    with pytest.raises(UsageError, match="of which nothing can be hidden and reconstructed"):
        Reconstruction(model_of([OPTICAL], heads={}), lambda normalised, valid: {})


def test_the_network_goes_to_a_model_of_other_modalities(tmp_path):
    save_model(model_of([OPTICAL, SENTINEL1], "late", seed=1), tmp_path)
    model = model_of([OPTICAL])
    table = start_from(model, StartOptions(**{"from": str(tmp_path)})).set_index("tensor")
    network = table.index.str.startswith("fusion.encoder.network")
    assert set(table.loc[network, "status"]) == {"loaded"}
    assert table.loc["fusion.encoder.vector_mean", "status"] == "fresh"


def series_of(name, channels, unit, steps):
    given = tuple(Channel(each, unit=unit[each] if isinstance(unit, dict) else unit) for each in channels)
    return Modality(name, Kind.SERIES, given, steps=steps, dated=True)


@pytest.mark.parametrize("case", ["no_s1_t12", "gap_t4", "sensors_t3"])
def test_series_months_and_places_reach_presto_as_in_the_original(weights, case):
    known = {k.removeprefix(f"{case}."): v for k, v in load_file(weights / "presto_reference.safetensors").items()}
    x, hidden, count = known["x"], known["mask"] == 1, known["x"].shape[1]
    x[..., 16] = (x[..., 8] - x[..., 4]) / (x[..., 8] + x[..., 4])  # NDVI of B8 and B4
    bands = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
    optical = series_of("s2", bands, "DN", count)
    radar = series_of("s1", ("VV", "VH"), "dB", count)
    weather = series_of("weather", ("t2m", "precip"), {"t2m": "K", "precip": "m/day"}, count)
    terrain = Modality("terrain", Kind.VECTOR, (Channel("elevation", unit="m"), Channel("slope", unit="°")))
    since = known["start_month"][:, None] + torch.arange(count)
    days = [[(date(2019 + n // 12, n % 12 + 1, 15) - date(1970, 1, 1)).days for n in row] for row in since.tolist()]
    times, months = torch.tensor(days)[..., None].float(), since % 12
    scale = torch.tensor([25.0] * 2 + [1e4] * 10 + [35, 0.03, 2000, 50])
    shift = torch.tensor([-25.0] * 2 + [0] * 10 + [272.15, 0, 0, 0])
    physical = (x[..., :16] * scale + shift).masked_fill(hidden[..., :16], torch.nan)
    parts = {"s1": slice(0, 2), "s2": slice(2, 12), "weather": slice(12, 14)}
    inputs = {name: torch.cat([times, physical[..., part]], -1) for name, part in parts.items()}
    inputs |= {"terrain": physical[:, 0, 14:], PLACE: known["latlon"].flip(1)}
    joint = {"joint": {"presto": [*parts, "terrain"]}, "foundation": {"place": True}}
    model = model_of([radar, optical, weather, terrain], **joint)
    start_from(model, StartOptions(**{"from": str(weights / "presto_default_model.safetensors")}))
    network = model.fusion.encoder.network
    visible = torch.stack([~each.any(-1) for each in hidden.split([len(group) for group in GROUPS.values()], -1)], -1)
    with torch.no_grad():
        tokens, seen = network.encoder(x, visible, months, unit_sphere(known["latlon"].flip(1)))
        total = sum(each.sum(1) for each in tokens.values())
        expected = network.encoder.norm(total / sum(each.sum(1) for each in seen.values())[:, None])
        found = model.features(inputs)[0].vector
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_model_of_pictures_takes_no_series_and_series_have_the_same_steps():
    with pytest.raises(UsageError, match=r"can't encode 's1' \(series\)"):
        model_of([series_of("s1", ("VV", "VH"), "dB", 4)], joint={"galileo:nano": ["s1"]})
    both = [
        series_of("s1", ("VV", "VH"), "dB", 4),
        series_of("weather", ("t2m", "precip"), {"t2m": "K", "precip": "m/day"}, 5),
    ]
    with pytest.raises(UsageError, match="the series 's1' and 'weather' differ in their steps"):
        model_of(both, joint={"presto": ["s1", "weather"]})


def test_months_of_days():
    days = [date(1970, 1, 1), date(2000, 2, 29), date(2019, 12, 31), date(2024, 3, 1)]
    found = months_of_days(torch.tensor([(day - date(1970, 1, 1)).days + 0.5 for day in days] + [torch.nan]))
    assert found.tolist() == [0, 1, 11, 2, -1]

"""Numbers in pieces: the formula of the paper, and its bins carried by the model."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eofuse.errors import UsageError
from eofuse.modalities import CLIMATE_ZONE, ELEVATION, SEASON, SENTINEL1
from eofuse.models.artifact import load_model, save_model
from eofuse.models.model import build_model
from eofuse.models.normalisation import ChannelStatistics, Normaliser
from eofuse.models.piecewise import encode_piecewise
from fake_source import GREENNESS

EDGES = [[0.0, 0.1, 0.4, 0.4, 1.0], [-1.0, 0.0, 1.0, 2.0, 4.0]]
STATISTICS = ChannelStatistics(
    mean={"season": [0.5, 0.5], "greenness": [0.4, 1.0], "elevation": [0.0]},
    std={"season": [0.25, 1.0], "greenness": [1.0, 1.0], "elevation": [1.0]},
    quantiles={"season": EDGES, "greenness": EDGES},
)


@given(st.floats(-3, 6, width=32))
def test_a_number_fills_the_pieces_below_it_and_its_own_in_part(x):
    edges = np.array(EDGES[1])
    expected = np.clip((x - edges[:-1]) / np.diff(edges), 0, 1)
    found = encode_piecewise(torch.tensor([0.0, x]), torch.tensor(EDGES))[1]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(("x", "expected"), [(0.25, [1, 0.5, 0, 0]), (0.4, [1, 1, 1, 0]), (0.7, [1, 1, 1, 0.5])])
def test_a_piece_without_width_is_a_threshold(x, expected):
    found = encode_piecewise(torch.tensor([x, 0.0]), torch.tensor(EDGES))[0]
    assert found.tolist() == pytest.approx(expected)


class TestNormaliser:
    def test_the_mean_and_what_is_missing_are_zeros(self):
        values = torch.tensor([[0.5, 0.5], [float("nan"), float("inf")]])
        assert not Normaliser([SEASON], STATISTICS, piecewise=True)({"season": values})["season"].any()

    def test_what_it_gives_is_as_wide_as_it_says(self):
        modalities = [SEASON, GREENNESS, ELEVATION, CLIMATE_ZONE]
        normaliser = Normaliser(modalities, STATISTICS, piecewise=True)
        batch = {
            "season": torch.rand(3, 2),
            "greenness": torch.rand(3, 6, 3),
            "elevation": torch.zeros(3, 1, 4, 4),
            "climate_zone": torch.zeros(3, dtype=torch.uint8),
        }
        given = normaliser(batch)
        assert [modality.width for modality in normaliser.gives] == [8, 3 + 8 + 2, 1, 12]
        assert given["greenness"].shape == (3, 6, 13)
        assert [given[modality.name].shape[1] for modality in modalities if modality != GREENNESS] == [8, 1, 12]

    def test_gaps_of_a_series_are_zeros_in_every_piece(self):
        values = torch.rand(1, 6, 3)
        values[0, 2, 1] = torch.nan
        given = Normaliser([GREENNESS], STATISTICS, piecewise=True)({"greenness": values})["greenness"]
        assert not given[0, 2, 3:7].any()
        assert given[0, 2, -2:].tolist() == [0, 1]

    def test_quantiles_are_never_guessed(self):
        with pytest.raises(UsageError, match="season: there are no quantiles"):
            Normaliser([SEASON], ChannelStatistics({"season": [0, 0]}, {"season": [1, 1]}), piecewise=True)

    def test_quantiles_of_other_channels_are_refused(self):
        with pytest.raises(UsageError, match="season: quantiles of 2 channels for 1"):
            Normaliser(
                [SEASON.select(["season_s1"])],
                ChannelStatistics({"season": [0]}, {"season": [1]}, {"season": EDGES}),
                piecewise=True,
            )


@pytest.mark.parametrize("strategy", ["early", "late", "middle", "decision"])
@pytest.mark.parametrize("modalities", [(GREENNESS, SEASON), (SENTINEL1, SEASON)], ids=["flat", "with a raster"])
def test_a_saved_model_predicts_the_same_bits(strategy, modalities, make_spec, make_inputs, tmp_path):
    model = build_model(make_spec(modalities, strategy=strategy, numbers="piecewise"), seed=0)
    inputs = make_inputs(modalities)
    expected = model.predict(inputs)
    loaded = load_model(save_model(model, tmp_path / "model"))
    assert loaded.spec == model.spec
    for target, probabilities in loaded.predict(inputs).items():
        assert torch.equal(probabilities, expected[target])


def test_encoders_see_every_piece(make_spec):
    model = build_model(make_spec((SENTINEL1, GREENNESS, SEASON), strategy="late", numbers="piecewise"), seed=0)
    assert model.fusion.encoders["season"].layers[0].in_features == 8
    assert model.fusion.encoders["greenness"].first.in_features == 3 + 8 + 2


def test_planes_of_early_fusion_stay_linear(make_spec, make_inputs):
    modalities = (SENTINEL1, SEASON)
    linear, piecewise = (build_model(make_spec(modalities, numbers=each), seed=0) for each in ("linear", "piecewise"))
    inputs = make_inputs(modalities)
    assert torch.equal(linear.predict(inputs)["zone"], piecewise.predict(inputs)["zone"])

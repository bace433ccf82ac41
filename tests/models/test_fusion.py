"""The contract of every fusion strategy, and what is peculiar to each."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from eofuse.config import parse_options
from eofuse.errors import UsageError
from eofuse.modalities import CLIMATE_ZONE, ELEVATION, SEASON, SENTINEL1, SENTINEL2, WEATHER, WORLDCOVER, Kind, Modality
from eofuse.models.artifact import load_model, save_model
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.fusion import FUSIONS, Fusion, FusionOptions, build_fusion
from eofuse.models.fusion.early import Early
from eofuse.models.model import Model, ModelSpec, build_model
from eofuse.models.pretrained import map_weights
from eofuse.models.pretrained.source import model_source
from fake_source import GREENNESS

MakeSpec = Callable[..., ModelSpec]
MakeInputs = Callable[..., dict[str, Tensor]]

INPUTS: dict[str, tuple[Modality, ...]] = {
    "one raster": (SENTINEL2,),
    "rasters, a vector and a category": (SENTINEL1, ELEVATION, WORLDCOVER, WEATHER, CLIMATE_ZONE),
    "one raster and a vector": (SENTINEL1, SEASON),
    "a vector": (WEATHER,),
    "vectors and a category": (WEATHER, SEASON, CLIMATE_ZONE),
    "a series": (GREENNESS,),
    "a raster, a series and a vector": (SENTINEL1, GREENNESS, SEASON),
}


def _can_be_conditioned(modalities: Sequence[Modality]) -> bool:
    """Whether there is what conditions, and what is conditioned."""
    return 0 < sum(modality.kind in (Kind.VECTOR, Kind.CATEGORY) for modality in modalities) < len(modalities)


CASES = [
    pytest.param(strategy, modalities, id=f"{strategy}: {name}")
    for strategy in FUSIONS
    for name, modalities in INPUTS.items()
    if (strategy != "single" or len(modalities) == 1) and (strategy != "film" or _can_be_conditioned(modalities))
]


SHARED = {"strategy": "late", "weights": "shared"}


def wake_residual_branches(model: Model) -> None:
    """Residual branches begin with a factor of zero, through which no gradient passes."""
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.fill_(0.5)


def _pixels(modalities: Sequence[Modality]) -> bool:
    return any(modality.kind == "raster" for modality in modalities)


@pytest.fixture
def tiny(make_spec: MakeSpec) -> Callable[..., Model]:
    def make(modalities: Sequence[Modality], **options: object) -> Model:
        return build_model(make_spec(modalities, **options), seed=0)

    return make


@pytest.mark.parametrize(("strategy", "modalities"), CASES)
class TestContract:
    def test_features_have_the_sizes_that_are_announced(self, strategy, modalities, tiny, make_inputs):
        model = tiny(modalities, strategy=strategy)
        features = model.features(make_inputs(modalities, batch_size=3))
        assert len(features) == (len(modalities) if strategy == "decision" else 1) == len(model.fusion.sizes)
        for given, sizes in zip(features, model.fusion.sizes, strict=True):
            assert given.vector.shape == (3, sizes.vector)
            assert [level.shape[1] for level in given.maps] == sizes.maps
            assert given.strides == sizes.strides
            assert [level.shape[-1] for level in given.maps] == [64 // stride for stride in sizes.strides]
        assert any(given.maps for given in features) == _pixels(modalities)

    def test_logits_have_a_row_a_patch_for_each_target(self, strategy, modalities, tiny, make_inputs):
        logits = tiny(modalities, strategy=strategy)(make_inputs(modalities, batch_size=3))
        heads = len(modalities) if strategy == "decision" else 1
        assert {name: values.shape for name, values in logits.items()} == {
            "land_cover": (heads, 3, 3),
            "zone": (heads, 3, 2),
        }

    def test_a_gradient_reaches_every_parameter(self, strategy, modalities, tiny, make_inputs):
        model = tiny(modalities, strategy=strategy)
        wake_residual_branches(model)
        logits = model(make_inputs(modalities, batch_size=4))
        sum(values.square().sum() for values in logits.values()).backward()
        dead = [
            name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()
        ]
        assert dead == []

    def test_evaluation_does_not_depend_on_the_rest_of_the_batch(self, strategy, modalities, tiny, make_inputs):
        model = tiny(modalities, strategy=strategy, dropout=0.5)
        inputs = make_inputs(modalities, batch_size=4)
        together = model.predict(inputs)
        alone = model.predict({name: values[:1] for name, values in inputs.items()})
        again = model.predict(inputs)
        for target in together:
            torch.testing.assert_close(together[target][:1], alone[target])
            assert torch.equal(together[target], again[target])

    def test_a_saved_model_predicts_the_same_bits(self, strategy, modalities, tiny, make_inputs, tmp_path):
        model = tiny(modalities, strategy=strategy)
        inputs = make_inputs(modalities)
        model(inputs)  # moves the running statistics of batch norm
        expected = model.predict(inputs)
        loaded = load_model(save_model(model, tmp_path / "model"))
        assert loaded.spec == model.spec
        for target, probabilities in loaded.predict(inputs).items():
            assert torch.equal(probabilities, expected[target])

    def test_every_input_changes_the_features(self, strategy, modalities, tiny, make_inputs):
        model = tiny(modalities, strategy=strategy).eval()
        wake_residual_branches(model)
        inputs, others = make_inputs(modalities, seed=0), make_inputs(modalities, seed=1)
        before = torch.cat([given.vector for given in model.features(inputs)], 1)
        for name in inputs:
            after = torch.cat([given.vector for given in model.features({**inputs, name: others[name]})], 1)
            assert not torch.equal(before, after), name


@pytest.mark.parametrize("size", [120, 64, 33])
@pytest.mark.parametrize("strategy", ["early", "middle", "late", "decision"])
def test_patches_of_any_size_fit(strategy, size, tiny, make_inputs):
    modalities = (SENTINEL2, SENTINEL1, SEASON)
    features = tiny(modalities, strategy=strategy, patch_size=size).features(make_inputs(modalities, size=size))
    assert all(given.vector.isfinite().all() for given in features)


def test_the_nearest_name_is_suggested_for_a_misspelt_strategy():
    with pytest.raises(UsageError, match=r"^strategy: 'erly' is no fusion strategy; did you mean 'early'\?$"):
        parse_options(FusionOptions, {"strategy": "erly"})


def test_no_modality_is_an_error():
    with pytest.raises(UsageError, match="at least one modality"):
        build_fusion([], FusionOptions())


def test_single_refuses_two_modalities_by_name():
    with pytest.raises(UsageError, match=r"takes one modality, not 2 \(s2, s1\)"):
        build_fusion([SENTINEL2, SENTINEL1], FusionOptions(strategy="single"))


@pytest.mark.parametrize("strategy", ["single", "early", "middle", "decision"])
def test_only_late_fusion_shares_weights(strategy):
    with pytest.raises(UsageError, match=f"weights can't be shared in {strategy} fusion"):
        parse_options(FusionOptions, {"strategy": strategy, "weights": "shared"})


class TestEncodersOfTheirOwn:
    ENCODERS = {"s2": "resnet10t", "season": "perceptron"}  # noqa: RUF012

    def test_modalities_have_the_encoders_that_are_named_for_them(self, tiny, make_inputs, tmp_path):
        modalities = (SENTINEL2, SENTINEL1, SEASON)
        model = tiny(modalities, strategy="late", encoders=self.ENCODERS)
        found = {name: encoder.name for name, encoder in model.fusion.encoders.items()}
        assert found == {"s2": "resnet10t", "s1": "test_resnet", "season": "perceptron"}
        loaded = load_model(save_model(model, tmp_path))
        inputs = make_inputs(modalities)
        assert torch.equal(loaded.predict(inputs)["zone"], model.predict(inputs)["zone"])

    def test_their_maps_are_joined_where_they_have_the_same_stride(self, make_inputs, make_spec):
        modalities = (SENTINEL2, SENTINEL1)
        options = FusionOptions(strategy="late", encoder="test_resnet", encoders={"s2": "test_vit"})
        fusion = build_fusion(modalities, options, pixels=True)
        rasters = {name: values.float() for name, values in make_inputs(modalities, size=40).items()}
        (features,) = fusion(rasters)
        assert features.strides == [16]
        assert features.maps[0].shape[2:] == (4, 4)  # of both, padded to 64 pixels

    def test_each_starts_from_its_own_network(self, tiny):
        source = tiny((SENTINEL2, SENTINEL1), strategy="late", encoders={"s2": "resnet10t"})
        model = tiny((SENTINEL2, SENTINEL1), strategy="late", encoder="resnet10t", encoders={"s1": "test_resnet"})
        rows = [row for row in map_weights(model, model_source(source, "source")) if ".encoders." in row.tensor]
        assert {row.status for row in rows} == {"loaded"}

    @pytest.mark.parametrize(
        ("strategy", "encoders", "message"),
        [
            ("early", {"s1": "resnet10t"}, "early fusion has no own encoder for 's1'"),
            ("middle", {"s1": "test_resnet"}, "middle fusion has no own encoder for 's1'"),
            (
                "late",
                {"s1": "perceptron"},
                r"the encoder 'perceptron' can't encode 's1' \(raster\); choose a timm name",
            ),
            ("late", {"season": "resnet10t"}, r"no encoder 'resnet10t' for 'season' \(vector\)"),
            ("late", {"s1": "resnet_18"}, "unknown encoder 'resnet_18'"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, strategy, encoders, message):
        with pytest.raises(UsageError, match=message):
            build_fusion((SENTINEL2, SENTINEL1, SEASON), FusionOptions(strategy=strategy, encoders=encoders))

    def test_recipes_without_them_are_what_they_were(self):
        assert "encoders" not in FusionOptions().model_dump()
        assert FusionOptions(encoders={"s1": "x"}).model_dump()["encoders"] == {"s1": "x"}


class TestEarly:
    def test_numbers_and_categories_become_constant_planes_behind_the_rasters(self):
        early = Early([SEASON, SENTINEL1, CLIMATE_ZONE], FusionOptions(encoder="test_resnet"))
        rasters, season, zone = torch.randn(2, 2, 5, 7), torch.randn(2, 2), torch.eye(12)[:2]
        stack = early.stack({"season": season, "s1": rasters, "climate_zone": zone})
        assert stack.shape == (2, 2 + 2 + 12, 5, 7)
        assert torch.equal(stack[:, :2], rasters)
        planes = stack[:, 2:]
        assert torch.equal(planes, torch.cat([season, zone], 1)[:, :, None, None].expand(2, 14, 5, 7))


class TestShared:
    def test_all_but_the_first_layer_is_counted_once(self, tiny):
        modalities = (SENTINEL2, SENTINEL1)
        shared, separate = tiny(modalities, **SHARED), tiny(modalities, strategy="late")
        size = {
            name: sum(p.numel() for p in model.fusion.parameters())
            for name, model in {"shared": shared, "separate": separate}.items()
        }
        trunk = sum(parameter.numel() for parameter in shared.fusion.trunk.encoder.parameters())
        assert size["separate"] - size["shared"] == trunk

    def test_a_gradient_reaches_every_parameter(self, tiny, make_inputs):
        modalities = (SENTINEL2, SENTINEL1, SEASON)
        model = tiny(modalities, **SHARED)
        wake_residual_branches(model)
        model(make_inputs(modalities))["zone"].square().sum().backward()
        dead = [name for name, parameter in model.fusion.named_parameters() if not parameter.grad.any()]
        assert dead == []

    def test_batch_norm_meets_in_evaluation_what_it_met_in_training(self, tiny, make_inputs):
        """Modalities that pass the trunk one after another would each be normalised by statistics of their own."""
        modalities = (SENTINEL2, SENTINEL1)
        model = tiny(modalities, **SHARED)
        inputs = make_inputs(modalities, batch_size=16)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # running statistics become the mean over all passes
        with torch.no_grad():
            trained = model.features(inputs)[0].vector
            evaluated = model.eval().features(inputs)[0].vector
        torch.testing.assert_close(evaluated, trained, atol=0.05, rtol=0.05)

    def test_a_modality_is_encoded_the_same_whatever_the_order(self, tiny, make_inputs):
        modalities = (SENTINEL2, SENTINEL1)
        trunk = tiny(modalities, **SHARED).eval().fusion.trunk
        inputs = {name: values.float() for name, values in make_inputs(modalities).items()}
        features = trunk(inputs)
        for name, given in features.items():
            alone = trunk.encoder.encode(trunk.stems[name](inputs[name]))
            torch.testing.assert_close(given.vector, alone.vector)
            torch.testing.assert_close(given.maps[0], alone.maps[0])

    def test_a_saved_model_predicts_the_same_bits(self, tiny, make_inputs, tmp_path):
        modalities = (SENTINEL2, SENTINEL1, WEATHER)
        model, inputs = tiny(modalities, **SHARED), make_inputs(modalities)
        loaded = load_model(save_model(model, tmp_path))
        assert torch.equal(loaded.predict(inputs)["zone"], model.predict(inputs)["zone"])

    @pytest.mark.parametrize("modalities", [(SENTINEL2, SEASON), (SEASON, WEATHER)])
    def test_it_needs_two_rasters(self, modalities):
        with pytest.raises(UsageError, match="two or more rasters"):
            build_fusion(modalities, FusionOptions(**SHARED))

    @pytest.mark.parametrize("encoder", ["resnet10t", "mobilenetv3_small_050", "convnext_atto", "regnety_002"])
    def test_networks_of_other_families_can_be_cut(self, encoder, tiny, make_inputs):
        modalities = (SENTINEL2, SENTINEL1)
        model = tiny(modalities, encoder=encoder, **SHARED)
        assert model.features(make_inputs(modalities))[0].vector.shape == (3, model.fusion.join.width)

    @pytest.mark.parametrize("encoder", ["test_vit", "xception41"])
    def test_a_network_that_cannot_be_cut_is_refused(self, encoder):
        with pytest.raises(UsageError, match=f"'{encoder}' can't be cut into parts"):
            build_fusion([SENTINEL2, SENTINEL1], FusionOptions(encoder=encoder, **SHARED))


class TestMiddle:
    def test_a_stage_beyond_the_encoder_is_refused_with_the_valid_ones(self):
        options = FusionOptions(strategy="middle", stage=5, encoder="test_resnet")
        with pytest.raises(UsageError, match="'test_resnet' has 5 stages; choose 1 to 4"):
            build_fusion([SENTINEL2, SENTINEL1], options)

    @pytest.mark.parametrize("stage", [1, 2, 3, 4])
    def test_maps_are_the_modalities_own_before_the_stage_and_common_from_it_on(self, stage, tiny, make_inputs):
        modalities = (SENTINEL2, SENTINEL1)
        own = tiny((SENTINEL2,), strategy="single").fusion.sizes[0].maps
        model = tiny(modalities, strategy="middle", stage=stage)
        maps = model.features(make_inputs(modalities))[0].maps
        expected = [2 * width if level < stage - 1 else width for level, width in enumerate(own)]
        assert [level.shape[1] for level in maps] == expected

    def test_a_network_that_cannot_be_cut_is_refused(self):
        with pytest.raises(UsageError, match="'test_vit' can't be cut into parts"):
            build_fusion([SENTINEL2, SENTINEL1], FusionOptions(strategy="middle", encoder="test_vit"))

    def test_a_single_raster_may_have_any_encoder(self, tiny, make_inputs):
        modalities = (SENTINEL1, SEASON)
        model = tiny(modalities, strategy="middle", encoder="test_vit")
        assert model(make_inputs(modalities))["zone"].shape == (1, 3, 2)


class TestGated:
    def test_a_closed_gate_keeps_a_modality_out(self, tiny, make_inputs):
        model = tiny((SENTINEL1, SEASON), strategy="gated").eval()
        with torch.no_grad():
            model.fusion.joining.gates["season"].weight.zero_()
            model.fusion.joining.gates["season"].bias.fill_(-1000.0)
            model.fusion.joining.gates["s1"].weight.zero_()
        first = make_inputs(model.spec.modalities)
        second = first | {"season": first["season"] + 1}
        assert torch.equal(model.features(first)[0].vector, model.features(second)[0].vector)


class TestAttention:
    def test_the_order_of_the_modalities_does_not_matter(self, tiny, make_inputs):
        model = tiny((SENTINEL1, SEASON, CLIMATE_ZONE), strategy="attention").eval()
        features = model.fusion.encode(model.normaliser(make_inputs(model.spec.modalities)), None)
        vectors = {name: found.vector for name, found in features.items()}
        backwards = dict(reversed(vectors.items()))
        joining = model.fusion.joining
        torch.testing.assert_close(joining(vectors, None), joining(backwards, None))


class TestFilm:
    def test_untrained_it_is_the_encoder_alone(self, tiny, make_inputs):
        model = tiny((SENTINEL1, SEASON), strategy="film").eval()
        inputs = make_inputs(model.spec.modalities)
        alone = model.fusion.encoders["s1"](model.normaliser(inputs)["s1"])
        torch.testing.assert_close(model.features(inputs)[0].vector, alone.vector)

    def test_numbers_change_the_maps_of_every_stage(self, tiny, make_inputs):
        model = tiny((SENTINEL1, SEASON), strategy="film").eval()
        with torch.no_grad():
            model.fusion.films["s1"].layer.weight.normal_(std=0.1)
        first = make_inputs(model.spec.modalities)
        second = first | {"season": first["season"] + 1}
        before, after = model.features(first)[0].maps, model.features(second)[0].maps
        assert not any(torch.equal(one, other) for one, other in zip(before, after, strict=True))

    @pytest.mark.parametrize("modalities", [(SENTINEL1, SENTINEL2), (SEASON, WEATHER)])
    def test_it_needs_what_conditions_and_what_is_conditioned(self, modalities):
        with pytest.raises(UsageError, match="vectors or categories that condition"):
            build_fusion(modalities, FusionOptions(strategy="film"))


class Bare(Fusion):
    """A strategy of vectors alone, without tokens."""

    def __init__(self, modalities, options, pixels=False):
        super().__init__(modalities, options, pixels)
        self.sizes = [FeatureSizes(4)]

    def forward(self, inputs, present=None):
        return [Features(torch.zeros(len(next(iter(inputs.values()))), 4))]


@pytest.mark.parametrize(
    ("options", "pixels", "words"),
    [
        ({"missing": "token"}, False, "fusion.missing: early fusion has nothing that stands for missing modalities"),
        ({}, True, "fusion.strategy: early fusion makes no maps, and the target is of pixels"),
    ],
)
def test_what_a_strategy_lacks_is_refused_not_guessed(monkeypatch, options, pixels, words):
    monkeypatch.setitem(FUSIONS._things, "early", Bare)
    assert build_fusion([SENTINEL1], FusionOptions()).sizes[0].vector == 4
    with pytest.raises(UsageError, match=words):
        build_fusion([SENTINEL1], FusionOptions(**options), pixels)

"""Patches that lack modalities: every strategy goes on, and what is stored for an absent modality tells nothing."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from eofuse.kinds import SEGMENTATION, SINGLE_LABEL
from eofuse.modalities import ELEVATION, SEASON, SENTINEL1, WEATHER, Modality
from eofuse.models.artifact import load_model, save_model
from eofuse.models.fusion import FUSIONS
from eofuse.models.heads import HeadSpec
from eofuse.models.model import Model, build_model
from eofuse.models.pretrained import map_weights
from eofuse.models.pretrained.source import model_source
from fake_source import GREENNESS

MODALITIES = (SENTINEL1, ELEVATION, WEATHER, GREENNESS)
OPTIONS = {strategy: {"strategy": strategy} for strategy in FUSIONS} | {
    "shared": {"strategy": "late", "weights": "shared"}
}
TOLD_OF_PATCHES = {"zone": HeadSpec(SINGLE_LABEL, ("north", "south"))}
TOLD_OF_PIXELS = TOLD_OF_PATCHES | {"cover": HeadSpec(SEGMENTATION, ("land", "water", "ice"), network="fpn")}
SIZE, BATCH = 32, 4

Make = Callable[..., Model]


def inputs_of(name: str) -> tuple[Modality, ...]:
    return (SENTINEL1,) if name == "single" else MODALITIES


def lacking(modalities: Sequence[Modality], **counts: int) -> dict[str, Tensor]:
    """Presence in a batch: of some modalities only as many of the first patches have them."""
    return {modality.name: torch.arange(BATCH) < counts.get(modality.name, BATCH) for modality in modalities}


def tensors(output: dict[str, Tensor]) -> Tensor:
    return torch.cat([values.flatten() for values in output.values()])


@pytest.fixture(scope="module")
def built() -> dict[str, Model]:
    """Models by what they are made of: building takes longer than running."""
    return {}


@pytest.fixture
def tiny(make_spec, built) -> Make:
    def make(modalities: Sequence[Modality], pixels: bool = False, **options: object) -> Model:
        spec = make_spec(modalities, patch_size=SIZE, **{"missing": "token", **options})
        spec = replace(spec, heads=TOLD_OF_PIXELS if pixels else TOLD_OF_PATCHES)
        if str(spec) not in built:
            built[str(spec)] = build_model(spec, seed=0)
        return deepcopy(built[str(spec)])

    return make


@pytest.fixture
def batch(make_inputs) -> Callable[..., dict[str, Tensor]]:
    return lambda modalities, seed=0: make_inputs(modalities, size=SIZE, batch_size=BATCH, seed=seed)


@pytest.mark.parametrize("pixels", [False, True], ids=["patches", "pixels"])
@pytest.mark.parametrize("name", OPTIONS)
class TestEveryStrategy:
    @pytest.mark.parametrize("count", [0, 1])
    def test_outputs_and_gradients_are_finite_however_many_patches_have_a_modality(
        self, name, pixels, count, tiny, batch
    ):
        modalities = inputs_of(name)
        model = tiny(modalities, pixels, **OPTIONS[name])
        inputs = batch(modalities)
        for names in (("s1",), [each.name for each in modalities]):
            present = lacking(modalities, **dict.fromkeys(names, count))
            model.zero_grad()
            output = tensors(model(inputs, present))
            output.square().sum().backward()
            gradients = [each.grad for each in model.parameters() if each.grad is not None]
            assert output.isfinite().all()
            assert all(gradient.isfinite().all() for gradient in gradients)
            assert tensors(model.predict(inputs, present)).isfinite().all()
        assert all(values.isfinite().all() for values in model.state_dict().values())

    def test_what_is_stored_of_an_absent_modality_has_no_influence(self, name, pixels, tiny, batch):
        modalities = inputs_of(name)
        present = {each.name: torch.arange(BATCH) % 3 != place % 3 for place, each in enumerate(modalities)}
        inputs, others = batch(modalities), batch(modalities, seed=1)
        changed = {
            key: torch.where(
                there.view(-1, *(1,) * (inputs[key].ndim - 1)), inputs[key].float(), others[key].float()
            ).to(inputs[key].dtype)
            for key, there in present.items()
        }
        trained = [tiny(modalities, pixels, **OPTIONS[name]) for _ in range(2)]
        outputs = [tensors(model(given, present)) for model, given in zip(trained, (inputs, changed), strict=True)]
        assert torch.equal(*outputs)
        states = [model.state_dict() for model in trained]
        assert all(torch.equal(values, states[1][key]) for key, values in states[0].items())
        evaluated = [tensors(trained[0].predict(given, present)) for given in (inputs, changed)]
        assert torch.equal(*evaluated)

    def test_a_saved_model_tells_the_same_bits_of_gaps(self, name, pixels, tiny, batch, tmp_path):
        modalities = inputs_of(name)
        model, inputs = tiny(modalities, pixels, **OPTIONS[name]), batch(modalities)
        with torch.no_grad():
            for key, parameter in model.fusion.named_parameters():
                if key.startswith("tokens"):
                    parameter.normal_()
        present = lacking(modalities, s1=1, weather=2)
        loaded = load_model(save_model(model, tmp_path / "model"))
        assert loaded.spec == model.spec
        assert torch.equal(tensors(loaded.predict(inputs, present)), tensors(model.predict(inputs, present)))


@pytest.mark.parametrize("name", OPTIONS)
class TestEveryStrategyWithoutPixels:
    def test_where_nothing_lacks_presence_changes_nothing(self, name, tiny, batch):
        modalities = inputs_of(name)
        inputs = batch(modalities)
        model = tiny(modalities, **OPTIONS[name])
        assert torch.equal(tensors(model.predict(inputs, lacking(modalities))), tensors(model.predict(inputs)))

    def test_what_stands_for_an_absent_modality_learns(self, name, tiny, batch):
        modalities = inputs_of(name)
        model = tiny(modalities, **OPTIONS[name])
        with torch.no_grad():
            for parameter in model.parameters():
                if not parameter.any():
                    parameter.fill_(0.5)  # residual branches begin with a factor of zero
        tokens = [key for key, _ in model.fusion.named_parameters() if key.startswith("tokens")]
        assert tokens or name == "decision"
        for each in modalities:
            model.zero_grad()
            tensors(model(batch(modalities), lacking(modalities, **{each.name: 2}))).square().sum().backward()
            own = [
                parameter
                for key, parameter in model.fusion.named_parameters()
                if key.startswith("tokens") and each.name in key
            ]
            assert any(parameter.grad is not None and parameter.grad.any() for parameter in own), each.name

    def test_training_with_one_patch_that_lacks_something_works(self, name, tiny, batch):
        modalities = inputs_of(name)
        model = tiny(modalities, **OPTIONS[name])
        inputs = {key: values[:2] for key, values in batch(modalities).items()}
        present = {each.name: torch.tensor([True, place == 0]) for place, each in enumerate(modalities)}
        assert tensors(model(inputs, present)).isfinite().all()

    def test_without_tokens_an_absent_modality_counts_as_its_mean(self, name, tiny, batch):
        modalities = inputs_of(name)
        model, inputs = tiny(modalities, **{**OPTIONS[name], "missing": "exclude"}), batch(modalities)
        present = lacking(modalities, s1=2)
        blank = inputs["s1"].clone()
        blank[2:] = float("nan")
        assert torch.equal(
            model.predict(inputs, present)["zone"], model.predict({**inputs, "s1": blank}, present)["zone"]
        )


class TestDecision:
    def test_the_mean_is_over_the_modalities_that_are_there(self, tiny, batch):
        modalities = (SENTINEL1, ELEVATION, SEASON)
        model, inputs = tiny(modalities, strategy="decision").eval(), batch(modalities)
        present = lacking(modalities, elevation=2, s1=3)
        alone = model(inputs)["zone"].softmax(-1)
        told = model.predict(inputs, present)["zone"]
        torch.testing.assert_close(told[0], alone[:, 0].mean(0))
        torch.testing.assert_close(told[2], alone[[0, 2], 2].mean(0))
        torch.testing.assert_close(told[3], alone[2, 3])

    def test_a_head_does_not_learn_from_patches_that_lack_its_modality(self, tiny, batch):
        modalities = (SENTINEL1, ELEVATION)
        model = tiny(modalities, strategy="decision")
        counted = model.fusion.counted(lacking(modalities, elevation=1))
        assert counted.tolist() == [[True] * BATCH, [True] + [False] * (BATCH - 1)]
        assert model.fusion.counted(lacking(modalities)) is None


@pytest.mark.parametrize("name", OPTIONS)
class TestTransfer:
    def test_every_tensor_belongs_to_a_part(self, name, tiny):
        model = tiny(inputs_of(name), pixels=True, **OPTIONS[name])
        covered = {tensor for part in model.parts() for tensor in part.tensors.values()}
        assert covered == {tensor for tensor in model.state_dict() if not tensor.startswith("normaliser.")}

    @pytest.mark.parametrize("missing", ["exclude", "token"])
    def test_encoders_start_from_a_model_that_treats_gaps_another_way(self, name, missing, tiny):
        other = {"exclude": "token", "token": "exclude"}[missing]
        source = tiny(inputs_of(name), **{**OPTIONS[name], "missing": other})
        model = tiny(inputs_of(name), **{**OPTIONS[name], "missing": missing})
        rows = {row.tensor: row for row in map_weights(model, model_source(source, "other")) if row.tensor}
        assert set(rows) == set(model.state_dict())
        tokens = [tensor for tensor in rows if tensor.startswith("fusion.tokens")]
        assert bool(tokens) == (missing == "token")
        assert all(rows[tensor].status == "fresh" for tensor in tokens)
        encoders = [tensor for tensor in rows if "encoder" in tensor or "pyramid" in tensor]
        assert {rows[tensor].status for tensor in encoders} <= {"loaded", "mapped"}

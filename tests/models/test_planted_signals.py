"""Each strategy learns the signals that it can see, and stays at chance on those that it can't.

Models are trained with a few steps of a plain loop and measured in evaluation mode on patches that they have not seen.
"""

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from eofuse.kinds import SINGLE_LABEL
from eofuse.modalities import CLIMATE_ZONE, SEASON, SENTINEL1, SENTINEL2, Modality
from eofuse.models.fusion import FusionOptions
from eofuse.models.model import HeadSpec, ModelSpec, build_model
from eofuse.models.normalisation import ChannelStatistics

S2, S1 = SENTINEL2.select(["B04", "B08"]), SENTINEL1
MEAN = {"s2": [0.2, 0.3], "s1": [-10.0, -16.0], "season": [0.5, 0.5]}
STD = {"s2": [0.05, 0.05], "s1": [3.0, 3.0], "season": [0.2, 0.2]}
SIZE, BATCH_SIZE, STEPS = 16, 16, 26

JOINING = {
    "early": {"strategy": "early"},
    "middle": {"strategy": "middle"},
    "late": {"strategy": "late"},
    "late, shared": {"strategy": "late", "weights": "shared"},
}
ALL = {**JOINING, "decision": {"strategy": "decision"}}

Label = Callable[[dict[str, Tensor]], Tensor]


def in_s1(signs: dict[str, Tensor]) -> Tensor:
    return signs["s1"]


def in_season(signs: dict[str, Tensor]) -> Tensor:
    return signs["season"]


def in_climate_zone(signs: dict[str, Tensor]) -> Tensor:
    return signs["climate_zone"]


def in_neither_alone(signs: dict[str, Tensor]) -> Tensor:
    return signs["s1"] ^ signs["s2"]


def draw(count: int, generator: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A batch in native dtype, and the sign planted in each modality: brighter or darker than its mean."""
    signs = {name: torch.randint(2, (count,), generator=generator) for name in ("s2", "s1", "season", "climate_zone")}

    def values(name: str, *size: int) -> Tensor:
        shape = (1, 2, *(1 for _ in size))
        shift = (2 * signs[name] - 1).view(-1, *(1 for _ in shape[1:]))
        noise = torch.randn(count, 2, *size, generator=generator)
        planted = 0.8 * shift + (0.8 if size else 0.2) * noise
        return torch.tensor(MEAN[name]).view(shape) + torch.tensor(STD[name]).view(shape) * planted

    inputs = {
        "s2": (values("s2", SIZE, SIZE) / S2.scale).clamp(min=1).to(torch.uint16),
        "s1": values("s1", SIZE, SIZE),
        "season": values("season"),
        "climate_zone": torch.tensor([26, 15], dtype=torch.uint8)[signs["climate_zone"]],
    }
    return inputs, signs


def accuracy(modalities: Sequence[Modality], label: Label, **fusion: str) -> float:
    """Trains a small model and gives the share of unseen patches on which it is right."""
    spec = ModelSpec(
        modalities=tuple(modalities),
        fusion=FusionOptions(encoder="test_resnet", **fusion),
        heads={"sign": HeadSpec(SINGLE_LABEL, ("darker", "brighter"))},
        statistics=ChannelStatistics(MEAN, STD),
        patch_size=(SIZE, SIZE),
    )
    model = build_model(spec, seed=0)
    optimiser = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=6e-3, total_steps=STEPS, pct_start=0.2)
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        inputs, signs = draw(BATCH_SIZE, generator)
        logits = model(inputs)["sign"]
        target = label(signs)
        loss = torch.stack([F.cross_entropy(head, target) for head in logits]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    inputs, signs = draw(256, torch.Generator().manual_seed(2))
    return (model.predict(inputs)["sign"].argmax(1) == label(signs)).float().mean().item()


def test_a_signal_in_one_raster_is_found_by_an_average_of_predictions():
    assert accuracy((S2, S1), in_s1, strategy="decision") > 0.95


@pytest.mark.parametrize("fusion", JOINING.values(), ids=JOINING)
def test_a_signal_in_neither_raster_alone_is_found_where_they_meet(fusion):
    assert accuracy((S2, S1), in_neither_alone, **fusion) > 0.95


def test_a_signal_in_neither_raster_alone_is_beyond_an_average_of_predictions():
    assert 0.4 < accuracy((S2, S1), in_neither_alone, strategy="decision") < 0.6


@pytest.mark.parametrize(("modality", "seen"), [(S1, True), (S2, False)], ids=["s1", "s2"])
def test_a_single_modality_finds_its_own_signal_only(modality, seen):
    found = accuracy((modality,), in_s1, strategy="single")
    assert found > 0.95 if seen else 0.4 < found < 0.6


@pytest.mark.parametrize("fusion", ALL.values(), ids=ALL)
def test_a_signal_in_numbers_is_found_beside_two_rasters(fusion):
    assert accuracy((S2, S1, SEASON), in_season, **fusion) > 0.95


@pytest.mark.parametrize("strategy", ["early", "late"])
def test_a_signal_in_a_category_is_found_beside_a_raster(strategy):
    assert accuracy((S1, CLIMATE_ZONE), in_climate_zone, strategy=strategy) > 0.95


@pytest.mark.parametrize("strategy", ["early", "middle", "late"])
def test_a_signal_in_neither_vector_alone_is_found_where_they_meet(strategy):
    def label(signs: dict[str, Tensor]) -> Tensor:
        return signs["season"] ^ signs["climate_zone"]

    assert accuracy((SEASON, CLIMATE_ZONE), label, strategy=strategy) > 0.95

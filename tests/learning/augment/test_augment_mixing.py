"""Mixing and dropping: labels, masks and losses follow; something always remains to be seen."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_batch import KINDS, MODALITIES, fake_batch, missing, rasters
from hypothesis import given, settings
from hypothesis import strategies as st

from eofuse.data.loading import Batch
from eofuse.errors import UsageError
from eofuse.kinds import DETECTION, SINGLE_LABEL
from eofuse.learning.augment import AugmentOptions, make_augmentation
from eofuse.learning.augment.dropping import rectangle
from eofuse.modalities import ELEVATION, SENTINEL1, SENTINEL2
from eofuse.models.fusion import FusionOptions
from eofuse.models.heads.base import HeadSpec
from eofuse.models.model import ModelSpec, build_model
from eofuse.models.normalisation import ChannelStatistics, Normaliser
from eofuse.tasks.mixed import MixedBatch


def augmented(batch: Batch, seed: int = 0, modalities=MODALITIES, kinds=KINDS, **options) -> Batch:
    return make_augmentation(AugmentOptions(**options), modalities, kinds)(batch, torch.manual_seed(seed))


def places_of(batch: Batch, after: MixedBatch) -> int:
    """By how many places the partners were moved."""
    moved = after.partners["label"].truth
    numbered = {places for places in range(1, len(batch)) if torch.equal(batch.targets["label"].roll(-places), moved)}
    assert len(numbered) == 1
    return numbered.pop()


@pytest.fixture
def numbered() -> Batch:
    """A batch in which every patch has a label of its own."""
    batch = fake_batch(6, 16)
    batch.targets["label"] = torch.arange(6)
    return batch


def test_mixup_averages_numbers_and_tells_the_share(numbered):
    after = augmented(numbered, mixup=1.0)
    places, share = places_of(numbered, after), after.partners["label"].weight
    assert 0 < share < 1
    for name in ("s2", "s1", "elevation", "season"):
        values = numbered.inputs[name].float()
        mean = (1 - share) * values + share * values.roll(-places, 0)
        assert torch.allclose(after.inputs[name], mean, rtol=1e-4, atol=1e-3), name


def test_mixup_takes_codes_of_a_patch_from_one_of_the_two(numbered):
    after = augmented(numbered, mixup=1.0, seed=3)
    places = places_of(numbered, after)
    for name in ("worldcover", "climate_zone"):
        values = numbered.inputs[name]
        for position in range(6):
            pair = (values[position], values[(position + places) % 6])
            assert any(torch.equal(after.inputs[name][position], one) for one in pair)


def test_mixup_keeps_every_truth_and_its_partners(numbered):
    numbered.valid["shares"] = torch.arange(6) < 3
    after = augmented(numbered, mixup=1.0)
    places = places_of(numbered, after)
    assert set(after.partners) == set(KINDS)
    for name, partner in after.partners.items():
        assert torch.equal(after.targets[name], numbered.targets[name])
        assert torch.equal(partner.truth, numbered.targets[name].roll(-places, 0))
        assert torch.equal(partner.valid, numbered.valid[name].roll(-places, 0))


def test_mixup_of_something_missing_is_missing(numbered):
    numbered.inputs["s2"][2, 3] = 0
    after = augmented(numbered, mixup=1.0)
    places = places_of(numbered, after)
    gone = after.inputs["s2"].isnan().flatten(2).all(2).nonzero().tolist()
    assert sorted(gone) == sorted([[2, 3], [(2 - places) % 6, 3]])


@pytest.mark.parametrize("mixing", ["mixup", "cutmix"])
def test_a_patch_to_which_mixing_leaves_no_modality_is_not_learned_from(numbered, mixing):
    for place, name in enumerate(numbered.present):
        numbered.present[name] = torch.arange(6) % 2 == place % 2
    modalities = {name: MODALITIES[name] for name in list(numbered.present)}
    after = augmented(numbered, modalities=modalities, **{mixing: 1.0})
    there = torch.stack(list(after.present.values())).any(0)
    assert torch.equal(after.valid["label"], there)
    assert torch.equal(after.partners["label"].valid, there)


def test_cutmix_pastes_the_same_rectangle_into_rasters_and_maps(numbered):
    after = augmented(numbered, cutmix=1.0)
    places, share = places_of(numbered, after), after.partners["label"].weight
    rolled = numbered.targets["height"].roll(-places, 0)
    pasted = (after.targets["height"] == rolled)[:, 0]
    rectangle = pasted[0]
    rows, columns = rectangle.nonzero().unbind(1)
    assert rectangle[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
    assert rectangle.float().mean() == pytest.approx(share)
    for before, now in [
        *((numbered.inputs[name], after.inputs[name]) for name in rasters(MODALITIES)),
        *((numbered.targets[name], after.targets[name]) for name in ("cover", "height")),
    ]:
        assert now.dtype == before.dtype
        expected = torch.where(rectangle, before.roll(-places, 0).double(), before.double())
        assert torch.equal(now.double(), expected)
    assert set(after.partners) == {"label", "labels", "shares"}


def test_cutmix_takes_no_labels_from_a_patch_whose_map_is_not_known(numbered):
    numbered.valid["cover"] = torch.arange(6) != 4
    numbered.valid["height"] = torch.arange(6) != 4
    after = augmented(numbered, cutmix=1.0)
    receiver = (4 - places_of(numbered, after)) % 6
    changed = after.targets["height"][receiver, 0].isnan()
    assert changed.any()
    assert torch.equal(after.targets["cover"][receiver] == 255, changed)
    others = [position for position in range(6) if position != receiver]
    assert not (after.targets["cover"][others] == 255).any()


def test_one_patch_alone_is_not_mixed():
    assert not isinstance(augmented(fake_batch(1), mixup=1.0), MixedBatch)


@pytest.mark.parametrize("change", [{"mixup": 0.2}, {"cutmix": 1.0}, {"preset": "strong", "mixup": 0.5}])
def test_mixing_boxes_is_refused(change):
    with pytest.raises(UsageError, match="boxes of two patches can't be mixed"):
        make_augmentation(AugmentOptions(**change), MODALITIES, {"boxes": DETECTION})


@pytest.mark.parametrize("kinds", [{}, {"boxes": DETECTION}])
def test_strong_leaves_mixing_out_where_it_can_not_be(kinds):
    assert not make_augmentation(AugmentOptions(preset="strong"), MODALITIES, kinds).options.mixes


def test_cut_out_hides_all_rasters_and_labels_of_pixels_alike():
    batch = fake_batch(8, 20)
    after = augmented(batch, cut_out=0.5)
    hidden = after.targets["cover"] == 255
    assert hidden.any()
    assert (hidden.float().mean((1, 2)) <= 0.55).all()
    assert torch.equal(after.targets["height"][:, 0].isnan(), hidden)
    for name in rasters(MODALITIES):
        gone = missing(MODALITIES[name], after.inputs[name])
        assert torch.equal(gone, hidden[:, None].expand_as(gone)), name
    assert torch.equal(after.targets["label"], batch.targets["label"])


def test_cut_out_hides_the_partners_labels_too():
    after = augmented(fake_batch(8, 20), cut_out=0.5, mixup=1.0)
    assert torch.equal(after.partners["cover"].truth == 255, after.targets["cover"] == 255)


def test_cut_out_drops_boxes_of_which_little_remains():
    batch = fake_batch(40, 20)
    whole, corner = [0.0, 0.0, 20.0, 20.0, 1.0], [9.0, 9.0, 10.0, 10.0, 0.0]
    batch.targets["boxes"] = torch.tensor([[whole, corner, [0, 0, 0, 0, -1]]]).repeat(40, 1, 1)
    batch.valid["boxes"] = torch.ones(40, dtype=torch.bool)
    after = augmented(batch, kinds={**KINDS, "boxes": DETECTION}, cut_out=0.6)
    hidden = after.targets["cover"][:, 9, 9] == 255
    assert hidden.any()
    assert torch.equal(after.targets["boxes"][:, 1, 4] == -1, hidden)
    assert (after.targets["boxes"][:, 0, 4] == 1).all()


def test_bands_are_dropped_but_never_all():
    modalities = {"s2": SENTINEL2, "s1": SENTINEL1, "elevation": ELEVATION}
    after = augmented(fake_batch(40, 4, modalities), modalities=modalities, drop_bands=0.7)
    for name in ("s2", "s1"):
        gone = missing(modalities[name], after.inputs[name]).flatten(2)
        assert torch.equal(gone.any(2), gone.all(2))
        assert gone.any(2).float().mean() > 0.4
        assert not gone.all(2).all(1).any()
    assert after.inputs["s2"].dtype == torch.uint16
    assert not missing(ELEVATION, after.inputs["elevation"]).any()


@pytest.mark.parametrize("chance", [0.5, 0.99])
def test_modalities_are_dropped_but_never_the_last_one(chance):
    batch = fake_batch(60, 4)
    present = torch.rand(60, generator=torch.manual_seed(0)) < 0.5
    batch.present["s2"] = present
    only = torch.arange(60) < 5
    for name in set(MODALITIES) - {"s1"}:
        batch.present[name] = batch.present[name] & ~only
    after = augmented(batch, drop_modalities=chance)
    gone = {name: missing(modality, after.inputs[name]).reshape(60, -1).all(1) for name, modality in MODALITIES.items()}
    left = torch.stack([batch.present[name] & ~gone[name] for name in MODALITIES], 1)
    assert left.any(1).all()
    assert not gone["s1"][:5].any()
    assert all(values.any() for values in gone.values())


def test_a_dropped_modality_becomes_the_mean_of_its_channels():
    batch = fake_batch(30, 4)
    after = augmented(batch, drop_modalities=0.5)
    neutral = {name: [1.0] * len(each.channels) for name, each in MODALITIES.items()}
    normalised = Normaliser(list(MODALITIES.values()), ChannelStatistics(neutral, neutral))(after.inputs)
    for name, modality in MODALITIES.items():
        gone = missing(modality, after.inputs[name]).reshape(30, -1).all(1)
        assert gone.any()
        assert not normalised[name][gone].any()


def test_integers_without_a_value_for_missing_become_numbers():
    modality = replace(ELEVATION, nodata=None)
    modalities = {"elevation": modality, "s1": SENTINEL1}
    after = augmented(fake_batch(20, 4, modalities), modalities=modalities, drop_modalities=0.5)
    assert after.inputs["elevation"].isnan().flatten(1).all(1).any()


def test_the_loss_of_a_mixed_batch_is_that_of_both_truths(numbered):
    from eofuse.data.targets import Target
    from eofuse.tasks.base import TaskOptions
    from eofuse.tasks.objective import Supervised
    from eofuse.tasks.single_label import SingleLabel
    from eofuse.tasks.weighting import Fixed

    classes = tuple("abcdef")
    target = Target("label", SINGLE_LABEL, classes, numbered.valid["label"].numpy())
    task = SingleLabel(target, TaskOptions(target="label"))
    spec = ModelSpec(
        modalities=(SENTINEL1,),
        fusion=FusionOptions(strategy="single", encoder="test_resnet"),
        heads={"label": HeadSpec(SINGLE_LABEL, classes)},
        statistics=ChannelStatistics({"s1": [-12.0, -12.0]}, {"s1": [3.0, 3.0]}),
        patch_size=(16, 16),
    )
    model = build_model(spec, seed=0).eval()
    augment = make_augmentation(AugmentOptions(mixup=1.0), {"s1": SENTINEL1}, {"label": SINGLE_LABEL})
    torch.manual_seed(5)
    mixed = augment(numbered)
    torch.manual_seed(5)
    loss, _ = Supervised(model, [task], Fixed(["label"]), augment=augment).step(numbered)
    output = model(mixed.inputs)["label"]
    own = task.loss(output, mixed.targets["label"], mixed.valid["label"])
    partner = mixed.partners["label"]
    other = task.loss(output, partner.truth, partner.valid)
    assert loss.item() == pytest.approx(((1 - partner.weight) * own + partner.weight * other).item(), rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    largest=st.floats(0.01, 0.99), seed=st.integers(0, 1000), size=st.tuples(st.integers(8, 128), st.integers(8, 128))
)
def test_cut_out_never_hides_more_than_its_share(largest, seed, size):
    draw = np.random.default_rng(seed)
    hidden = [area_of(rectangle(size, share, draw, largest), size) for share in draw.uniform(0, largest, 50)]
    assert max(hidden) <= largest


def test_rectangles_have_the_area_that_is_drawn():
    draw = np.random.default_rng(0)
    areas = draw.uniform(0, 1, 2000)
    found = np.array([area_of(rectangle((120, 120), area, draw), (120, 120)) for area in areas])
    assert abs(found - areas).max() < 0.02
    assert (found - areas).mean() == pytest.approx(0, abs=0.001)


def area_of(sides, size):
    top, bottom, left, right = sides
    return (bottom - top) * (right - left) / (size[0] * size[1])

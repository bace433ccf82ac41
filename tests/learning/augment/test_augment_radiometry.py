"""Radiometry: means are kept, units are right, what is missing stays so."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_batch import MODALITIES, fake_batch

from eofuse.learning.augment import AugmentOptions, make_augmentation
from eofuse.modalities import SENTINEL1, SENTINEL2


def augmented(batch, modalities, seed=0, **options):
    return make_augmentation(AugmentOptions(**options), modalities, {})(batch, torch.manual_seed(seed)).inputs


@pytest.mark.parametrize("looks", [1, 4, 20])
def test_speckle_keeps_the_mean_of_linear_power(looks):
    batch = fake_batch(24, 64, {"s1": SENTINEL1})
    batch.inputs["s1"][:] = -12.0
    after = augmented(batch, {"s1": SENTINEL1}, speckle=looks)["s1"].double()
    factor = 10 ** ((after + 12) / 10)
    tolerance = 5 / np.sqrt(looks * factor.numel())
    assert factor.mean() == pytest.approx(1, abs=tolerance)
    assert factor.var() == pytest.approx(1 / looks, rel=0.05)


def test_speckle_is_independent_from_pixel_to_pixel_and_between_channels():
    batch = fake_batch(4, 64, {"s1": SENTINEL1})
    noise = (augmented(batch, {"s1": SENTINEL1}, speckle=4)["s1"] - batch.inputs["s1"]).flatten(2).numpy()
    for patch in noise:
        for shift in (1, 64):
            assert abs(np.corrcoef(patch[0, :-shift], patch[0, shift:])[0, 1]) < 0.08
        assert abs(np.corrcoef(patch)[0, 1]) < 0.08


def test_speckle_reaches_over_patches_larger_than_its_pieces():
    batch = fake_batch(1, 150, {"s1": SENTINEL1})
    after = augmented(batch, {"s1": SENTINEL1}, speckle=4)["s1"]
    assert (after != batch.inputs["s1"]).float().mean() > 0.99


def test_gain_is_the_same_for_all_pixels_of_a_band():
    batch = fake_batch(5, 12, {"s2": SENTINEL2})
    ratio = augmented(batch, {"s2": SENTINEL2}, gain=0.2)["s2"] / batch.inputs["s2"].float()
    assert torch.allclose(ratio.amin((2, 3)), ratio.amax((2, 3)), atol=1e-5)
    assert 0.8 <= ratio.min() < 0.95
    assert 1.05 < ratio.max() <= 1.2


def test_every_patch_has_gains_of_its_own_in_each_band():
    batch = fake_batch(40, 4, {"s2": SENTINEL2})
    ratio = augmented(batch, {"s2": SENTINEL2}, gain=0.2)["s2"] / batch.inputs["s2"].float()
    gains = ratio.mean((2, 3)).numpy()
    between = np.diff(gains, axis=1)  # what two bands have in common falls out
    assert (between.std(axis=0) > 0.05).all()


def test_gain_and_haze_act_on_reflectance_whatever_the_stored_units():
    plain = replace(SENTINEL2, dtype="float32", scale=1.0, nodata=None)
    shifted = replace(SENTINEL2, dtype="float32", scale=1e-4, offset=-0.1, nodata=None)
    batch = fake_batch(5, 12, {"s2": SENTINEL2})
    physical = batch.inputs["s2"].float() * 1e-4
    results = []
    for modality, stored in ((plain, physical), (shifted, (physical + 0.1) / 1e-4)):
        batch.inputs["s2"] = stored
        after = augmented(batch, {"s2": modality}, gain=0.2, haze=0.1)["s2"]
        results.append(after * modality.scale + modality.offset)
    assert torch.allclose(*results, atol=1e-5)


def test_haze_brightens_dark_ground_and_most_in_blue():
    batch = fake_batch(5, 12, {"s2": SENTINEL2})
    batch.inputs["s2"].view(torch.int16)[:] = 100
    after = augmented(batch, {"s2": SENTINEL2}, haze=0.2)["s2"][:, :, 0, 0]
    blue, infrared = (SENTINEL2.channel_index(name) for name in ("B02", "B12"))
    assert (after > 100).all()
    assert (after[:, blue] - 100 > 4 * (after[:, infrared] - 100)).all()


def test_height_noise_is_in_metres():
    modality = MODALITIES["elevation"]
    batch = fake_batch(60, 12, {"elevation": modality})
    noise = augmented(batch, {"elevation": modality}, height_noise=5)["elevation"] - batch.inputs["elevation"].float()
    assert noise.std((2, 3)).mean() == pytest.approx(5, rel=0.1)
    assert noise.mean((2, 3)).std() == pytest.approx(5, rel=0.3)


def test_what_is_missing_stays_missing_and_nothing_else_becomes_so():
    names = ("s2", "s1", "elevation")
    modalities = {name: MODALITIES[name] for name in names}
    batch = fake_batch(5, 12, modalities)
    batch.inputs["s2"][1, 2, 3] = 0
    batch.inputs["elevation"][2, 0, :, 4] = -32768
    batch.inputs["s1"][0, 1, 5] = float("nan")
    after = augmented(batch, modalities, gain=0.2, haze=0.1, speckle=4, height_noise=5)
    for name in names:
        before = batch.inputs[name].float()
        gone = before.isnan() | (before == modalities[name].nodata if modalities[name].nodata is not None else False)
        assert gone.any()
        assert torch.equal(~after[name].isfinite(), gone)


def test_a_declared_nodata_value_of_decibels_is_left_alone_after_a_turn():
    modality = replace(SENTINEL1, nodata=-9999.0)
    batch = fake_batch(3, 12, {"s1": modality})
    batch.inputs["s1"][:, :, 2] = -9999.0
    after = augmented(batch, {"s1": modality}, turns=True, speckle=4)["s1"]
    assert after.isnan().float().mean() == pytest.approx(1 / 12)
    assert after[after.isfinite()].min() > -100

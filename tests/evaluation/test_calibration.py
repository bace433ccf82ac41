"""Calibration: temperature and reliability, against simulations where the truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from eofuse.errors import DataError, UsageError
from eofuse.evaluation.calibration import (
    _log_sum_exp,
    choose_temperature,
    expected_calibration_error,
    fit_temperature,
    label_reliability,
    pixel_reliability,
    scale,
    unscale,
)
from eofuse.evaluation.metrics.segmentation import IGNORE
from eofuse.kinds import DETECTION, MULTI_LABEL, REGRESSION, SEGMENTATION, SINGLE_LABEL
from scoring import calibration_metrics

KINDS = (SINGLE_LABEL, MULTI_LABEL)


def softmax(logits: np.ndarray, axis: int = 1) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def drawn(kind: str, count: int, seed: int = 0, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and truth drawn from them: perfectly calibrated."""
    generator = np.random.default_rng(seed)
    if kind == MULTI_LABEL:
        probabilities = generator.random((count, classes))
        return probabilities, (generator.random(probabilities.shape) < probabilities).astype(int)
    probabilities = softmax(generator.normal(0, 2, (count, classes)))
    edges = probabilities.cumsum(axis=1)
    return probabilities, (generator.random((count, 1)) > edges[:, :-1]).sum(axis=1)


@st.composite
def probabilities_and_temperature(draw: st.DrawFn) -> tuple[np.ndarray, float, str]:
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    kind, temperature = draw(st.sampled_from(KINDS)), float(np.exp(draw(st.floats(-1, 3))))
    logits = generator.normal(0, draw(st.sampled_from([0.1, 1.0, 2.0])), (draw(st.integers(1, 8)), 5))
    probabilities = softmax(logits) if kind == SINGLE_LABEL else 1 / (1 + np.exp(-logits))
    return probabilities, temperature, kind


@settings(max_examples=100)
@given(probabilities_and_temperature())
def test_scale_and_unscale_are_inverses(case: tuple[np.ndarray, float, str]) -> None:
    probabilities, temperature, kind = case
    scaled = scale(probabilities, temperature, kind)
    np.testing.assert_allclose(unscale(scaled, temperature, kind), probabilities, rtol=1e-5, atol=1e-12)


@settings(max_examples=100)
@given(probabilities_and_temperature())
def test_a_temperature_changes_neither_the_most_probable_class_nor_the_sum(case: tuple[np.ndarray, float, str]) -> None:
    probabilities, temperature, kind = case
    scaled = scale(probabilities, temperature, kind)
    np.testing.assert_array_equal(scaled.argmax(axis=1), probabilities.argmax(axis=1))
    if kind == SINGLE_LABEL:
        np.testing.assert_allclose(scaled.sum(axis=1), 1)
        if temperature > 1:
            assert (scaled.max(axis=1) <= probabilities.max(axis=1) + 1e-12).all()
    else:
        np.testing.assert_array_equal(scaled >= 0.5, probabilities >= 0.5)


def test_scale_divides_logits() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (6, 4))
    np.testing.assert_allclose(scale(softmax(logits), 2.5, SINGLE_LABEL), softmax(logits / 2.5))
    sigmoid = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(scale(sigmoid, 2.5, MULTI_LABEL), 1 / (1 + np.exp(-logits / 2.5)))
    maps = np.random.default_rng(1).normal(0, 3, (2, 4, 3, 3))
    np.testing.assert_allclose(scale(softmax(maps), 0.5, SEGMENTATION), softmax(maps / 0.5))
    np.testing.assert_allclose(scale(softmax(logits, -1), 3, SINGLE_LABEL, axis=-1), softmax(logits / 3, -1))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_zero_and_one_stay_what_they_are(kind: str, dtype: type) -> None:
    certain = np.eye(3, dtype=dtype)
    for temperature in (0.05, 1, 20):
        scaled = scale(certain, temperature, kind)
        assert scaled.dtype == dtype
        np.testing.assert_array_equal(scaled, certain)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [0.4, 3.0])
def test_the_fitted_temperature_is_the_one_that_spoilt_the_probabilities(kind: str, temperature: float) -> None:
    probabilities, truth = drawn(kind, 20_000)
    spoilt = unscale(probabilities, temperature, kind)
    assert fit_temperature(spoilt, truth, kind) == pytest.approx(temperature, rel=0.05)
    assert fit_temperature(probabilities, truth, kind) == pytest.approx(1, rel=0.05)


def test_the_temperature_of_maps_is_that_of_their_known_pixels() -> None:
    probabilities, truth = drawn(SINGLE_LABEL, 2 * 30 * 30)
    spoilt = unscale(probabilities, 2.0, SINGLE_LABEL)
    maps, numbers = spoilt.reshape(2, 30, 30, 4).transpose(0, 3, 1, 2), truth.reshape(2, 30, 30)
    assert fit_temperature(maps, numbers, SEGMENTATION) == pytest.approx(
        fit_temperature(spoilt, truth, SINGLE_LABEL), rel=1e-4
    )
    numbers[:, :10] = IGNORE
    known = numbers.ravel() != IGNORE
    assert fit_temperature(spoilt, numbers.ravel(), SEGMENTATION) == fit_temperature(
        spoilt[known], truth[known], SINGLE_LABEL
    )
    assert fit_temperature(maps.astype(np.float32), numbers, SEGMENTATION) == pytest.approx(
        fit_temperature(spoilt[known], truth[known], SINGLE_LABEL), rel=1e-4
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", KINDS)
def test_the_fit_survives_probabilities_of_zero_and_one(kind: str) -> None:
    certain = np.eye(3)[[0, 1, 2, 0]]
    right = certain if kind == MULTI_LABEL else np.array([0, 1, 2, 0])
    wrong = 1 - certain if kind == MULTI_LABEL else np.array([1, 2, 0, 1])
    assert np.exp(-3) <= fit_temperature(certain, right, kind) <= 1
    assert fit_temperature(certain, wrong, kind) == pytest.approx(np.exp(3), rel=1e-3)


def test_probabilities_that_no_temperature_improves_keep_the_temperature_one() -> None:
    assert fit_temperature(np.full((10, 4), 0.25), np.arange(10) % 4, SINGLE_LABEL) == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_calibration_error_is_small_for_calibrated_large_for_overconfident_and_small_after_the_fit(kind: str) -> None:
    probabilities, truth = drawn(kind, 10_000, seed=1)
    overconfident = unscale(probabilities, 3.0, kind)
    temperature = fit_temperature(*(rows[:5000] for rows in (overconfident, truth)), kind)
    calibrated = scale(overconfident, temperature, kind)[5000:]
    values = calibration_metrics(label_reliability(calibrated, truth[5000:], temperature, kind))
    honest = calibration_metrics(label_reliability(probabilities, truth, kind=kind))
    assert honest["ece"] < 0.02
    assert honest["ece_raw"] == pytest.approx(honest["ece"])
    assert values["ece_raw"] > 0.1
    assert values["ece"] < 0.03


def binned(confidence, correct):
    """Predictions, sum of their confidence and right ones in each of 15 bins, (15, 3)."""
    edges = np.linspace(0, 1, 16)
    place = np.minimum(np.searchsorted(edges, np.ravel(confidence) + 1e-12, side="right") - 1, 14)
    weights = (np.ones(np.size(confidence)), np.ravel(confidence), np.ravel(correct))
    return np.stack([np.bincount(place, each, minlength=15) for each in weights], axis=-1)


def test_the_calibration_error_of_a_worked_example() -> None:
    bins = np.array([[2, 0.1, 1], [3, 2.45, 2]])
    assert expected_calibration_error(bins) == pytest.approx((0.9 + 0.45) / 5)


def test_the_calibration_error_of_each_set_of_bins_is_taken_alone() -> None:
    bins = np.zeros((2, 3, 15, 3))
    bins[1, 2, 14] = [4, 3.8, 2]
    error = expected_calibration_error(bins)
    assert error.shape == (2, 3)
    assert error[1, 2] == pytest.approx(0.45)
    assert np.isnan(error).sum() == 5


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from(KINDS), st.floats(0.3, 5))
def test_reliability_of_patches_sums_to_that_of_the_raw_and_calibrated_predictions(
    seed: int, kind: str, temperature: float
) -> None:
    raw, truth = drawn(kind, 40, seed)
    table = label_reliability(scale(raw, temperature, kind), truth, temperature, kind)
    assert table.shape == (40, 2, 15, 3)
    for side, values in enumerate((raw, scale(raw, temperature, kind))):
        several = (values, truth == 1) if kind == MULTI_LABEL else (values.max(axis=1), values.argmax(axis=1) == truth)
        expected = binned(*several)
        np.testing.assert_allclose(table[:, side].sum(axis=0), expected, rtol=1e-6, atol=1e-9)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.floats(0.3, 5), st.sampled_from([0.0, 0.3, 1.0]))
def test_reliability_of_pixels_is_that_of_patches_for_each_known_pixel(
    seed: int, temperature: float, unknown: float
) -> None:
    generator = np.random.default_rng(seed)
    raw, truth = drawn(SINGLE_LABEL, 3 * 5 * 6, seed)
    calibrated = scale(raw, temperature, SINGLE_LABEL)
    truth = np.where(generator.random(len(truth)) < unknown, IGNORE, truth)
    maps = calibrated.reshape(3, 5, 6, 4).transpose(0, 3, 1, 2)
    table = pixel_reliability(maps, truth.reshape(3, 5, 6).astype(np.uint8), temperature)
    for patch in range(3):
        rows = np.arange(patch * 30, (patch + 1) * 30)
        rows = rows[truth[rows] != IGNORE]
        expected = label_reliability(calibrated[rows], truth[rows], temperature).sum(axis=0)
        np.testing.assert_allclose(table[patch], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.filterwarnings("error")
def test_reliability_takes_float32_and_certain_pixels() -> None:
    certain = np.zeros((1, 3, 2, 2), np.float32)
    certain[:, 1] = 1
    table = pixel_reliability(certain, np.array([[[1, 1], [0, IGNORE]]], np.uint8), temperature=2.0)
    for side in (0, 1):
        assert table[0, side, 14].tolist() == [3, 3, 2]
        assert not table[0, side, :14].any()


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from(KINDS))
def test_integer_weights_equal_repeated_rows_and_many_weightings_one_at_a_time(seed: int, kind: str) -> None:
    table = label_reliability(*drawn(kind, 12, seed), 1.7, kind)
    many = np.random.default_rng(seed).integers(0, 3, (4, 12)) * [[0], [1], [1], [2]]
    together = calibration_metrics(table, many)
    for replicate, weights in enumerate(many):
        repeated = calibration_metrics(np.repeat(table, weights, axis=0))
        assert calibration_metrics(table, weights) == pytest.approx(repeated, nan_ok=True)
        assert {name: values[replicate] for name, values in together.items()} == pytest.approx(repeated, nan_ok=True)
    assert np.isnan(together["ece"][0])


def test_impossible_temperatures_and_kinds_are_usage_errors() -> None:
    for temperature in (0, -1, np.nan, np.inf):
        for function in (scale, unscale):
            with pytest.raises(UsageError, match="temperature"):
                function(np.eye(2), temperature, SINGLE_LABEL)
        with pytest.raises(UsageError, match="temperature"):
            pixel_reliability(np.ones((1, 1, 1, 1)), np.zeros((1, 1, 1), int), temperature)
    with pytest.raises(UsageError, match="valid: multi_label, segmentation, single_label"):
        scale(np.eye(2), 1.0, REGRESSION)
    with pytest.raises(UsageError, match="valid: multi_label, segmentation, single_label"):
        fit_temperature(np.eye(2), [0, 1], DETECTION)
    with pytest.raises(UsageError, match="pixel_reliability"):
        label_reliability(np.eye(2), [0, 1], 1.0, SEGMENTATION)


def test_data_that_are_no_probabilities_or_truth_are_data_errors() -> None:
    with pytest.raises(DataError, match="within 0 and 1"):
        label_reliability([[1.5, -0.5]], [0])
    with pytest.raises(DataError, match="class 2 does not exist"):
        fit_temperature(np.eye(2), [0, 2], SINGLE_LABEL)
    with pytest.raises(DataError, match="class 7 does not exist"):
        pixel_reliability(np.full((1, 2, 1, 1), 0.5), np.full((1, 1, 1), 7))
    with pytest.raises(DataError, match="0 or 1"):
        fit_temperature(np.eye(2), np.eye(2) * 2, MULTI_LABEL)
    with pytest.raises(DataError, match="no truth is known"):
        fit_temperature(np.full((1, 2, 1, 1), 0.5), np.full((1, 1, 1), IGNORE), SEGMENTATION)


def test_shapes_that_do_not_fit_are_usage_errors() -> None:
    with pytest.raises(UsageError, match=r"give \(N, K\) and \(N,\)"):
        label_reliability(np.eye(2), np.eye(2))
    with pytest.raises(UsageError, match=r"give \(N, K\) both"):
        label_reliability(np.eye(2), [0, 1], kind=MULTI_LABEL)
    with pytest.raises(UsageError, match=r"give \(B, K, H, W\)"):
        pixel_reliability(np.ones((1, 2, 3, 3)), np.zeros((1, 2, 3), int))
    with pytest.raises(UsageError, match="class numbers"):
        label_reliability(np.eye(2), [0.0, 1.0])


def scenes_with_temperatures(temperatures, seed=0):
    """Predictions of 200 patches a scene, spoilt by a temperature of its own, with truth and scenes."""
    parts = [spoil_one(temperature, seed + number) for number, temperature in enumerate(temperatures)]
    probabilities, truth = (np.concatenate(values) for values in zip(*parts, strict=True))
    return probabilities, truth, np.repeat(np.arange(len(temperatures)), 200)


def spoil_one(temperature, seed):
    generator = np.random.default_rng(seed)
    right = generator.dirichlet(np.ones(4), 200)
    truth = (generator.random((200, 1)) > right.cumsum(1)).sum(1).clip(0, 3)
    return scale(right, 1 / temperature, SINGLE_LABEL), truth


def test_a_temperature_that_helps_in_other_scenes_is_used():
    choice = choose_temperature(*scenes_with_temperatures([2, 2.2, 1.8, 2, 2]), SINGLE_LABEL)
    assert choice.temperature == choice.fitted == pytest.approx(2, rel=0.2)
    assert choice.held_out_loss < choice.raw_loss


def test_a_temperature_that_one_scene_asks_for_and_others_do_not_is_not_used():
    choice = choose_temperature(*scenes_with_temperatures([0.2, 1.5]), SINGLE_LABEL)
    assert choice.temperature == 1
    assert choice.fitted != 1
    assert choice.held_out_loss > choice.raw_loss


def test_with_one_scene_nothing_can_be_held_out_so_there_is_no_temperature():
    choice = choose_temperature(*scenes_with_temperatures([3.0]), SINGLE_LABEL)
    assert choice.temperature == 1
    assert np.isnan(choice.held_out_loss)


@pytest.mark.parametrize("kind", [MULTI_LABEL, SEGMENTATION])
def test_every_kind_with_probabilities_holds_scenes_out(kind):
    probabilities, truth, scenes = scenes_with_temperatures([2, 2, 2, 2])
    if kind == MULTI_LABEL:
        generator = np.random.default_rng(1)
        right = generator.random((len(truth), 3))
        truth = (generator.random(right.shape) < right).astype(int)
        probabilities = scale(right, 0.5, kind)
    assert choose_temperature(probabilities, truth, scenes, kind).temperature == pytest.approx(2, rel=0.2)


@pytest.mark.parametrize("classes", [1, 2, 11])
def test_sums_of_exponentials_are_those_of_scipy_to_the_bit(classes):
    logits = np.random.default_rng(classes).normal(0, 20, (400, classes))
    logits[::3] = np.round(logits[::3], -1)  # several are the greatest
    np.testing.assert_array_equal(_log_sum_exp(logits), logsumexp(logits, axis=1))

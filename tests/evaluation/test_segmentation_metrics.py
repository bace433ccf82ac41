"""Segmentation: counts against slow definitions, metrics against scikit-learn on all pixels at once."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt
from sklearn import metrics as sklearn_metrics

from eofuse.errors import DataError, UsageError
from eofuse.evaluation import weighting
from eofuse.evaluation.metrics.segmentation import IGNORE, boundary_counts, confusion_counts
from scoring import segmentation_metrics, segmentation_per_class

Maps = tuple[np.ndarray, np.ndarray, int]


@st.composite
def maps(draw: st.DrawFn) -> Maps:
    """Predicted and true maps of a few patches with regions, ignored pixels, and classes that do not occur."""
    patches, height, width = draw(st.integers(1, 4)), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    classes = draw(st.integers(1, 5))
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    coarse = generator.integers(0, draw(st.integers(1, classes)), (patches, 3, 3))
    truth = np.repeat(np.repeat(coarse, 3, axis=1), 3, axis=2)[:, :height, :width].astype(np.uint8)
    changed = generator.random(truth.shape) < draw(st.sampled_from([0.0, 0.1, 0.5]))
    predicted = np.where(changed, generator.integers(0, classes, truth.shape), truth)
    truth[generator.random(truth.shape) < draw(st.sampled_from([0.0, 0.2, 1.0]))] = IGNORE
    return predicted, truth, classes


def slow_boundary(labels: np.ndarray, known: np.ndarray, number: int) -> np.ndarray:
    height, width = labels.shape
    boundary = np.zeros(labels.shape, dtype=bool)
    for row in range(height):
        for column in range(width):
            if known[row, column] and labels[row, column] == number:
                around = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
                boundary[row, column] = any(
                    0 <= r < height and 0 <= c < width and known[r, c] and labels[r, c] != number for r, c in around
                )
    return boundary


def within(tolerance: float, boundary: np.ndarray) -> np.ndarray:
    if not boundary.any():
        return np.zeros(boundary.shape, dtype=bool)
    return distance_transform_edt(~boundary) <= tolerance


@pytest.mark.filterwarnings("ignore:A single label was found")
@settings(max_examples=60)
@given(maps())
def test_confusion_counts_equal_sklearn_on_the_known_pixels_of_each_patch(case: Maps) -> None:
    predicted, truth, classes = case
    counts = confusion_counts(predicted, truth, classes)
    assert counts.dtype == np.int64
    for patch, table in enumerate(counts):
        known = truth[patch] != IGNORE
        expected = np.zeros((classes, classes), int)
        if known.any():
            expected = sklearn_metrics.confusion_matrix(
                truth[patch][known], predicted[patch][known], labels=np.arange(classes)
            )
        np.testing.assert_array_equal(table, expected)


@settings(max_examples=60)
@given(maps(), st.sampled_from([0, 1, 1.5, 2, 3, 50]))
def test_boundary_counts_equal_a_distance_transform_of_each_class(case: Maps, tolerance: float) -> None:
    predicted, truth, classes = case
    counts = boundary_counts(predicted, truth, classes, tolerance)
    for patch in range(len(truth)):
        known = truth[patch] != IGNORE
        for number in range(classes):
            found = slow_boundary(predicted[patch], known, number)
            real = slow_boundary(truth[patch], known, number)
            expected = [
                (found & within(tolerance, real)).sum(),
                found.sum(),
                (real & within(tolerance, found)).sum(),
                real.sum(),
            ]
            assert counts[patch, number].tolist() == expected


def test_boundary_counts_of_a_worked_example() -> None:
    truth = np.zeros((1, 6, 8), np.uint8)
    truth[:, :, 4:] = 1
    predicted = np.zeros_like(truth)
    predicted[:, :, 5:] = 1  # the edge between columns 3 and 4 is seen one pixel too far right
    assert boundary_counts(predicted, truth, 3, tolerance=0)[0].tolist() == [[0, 6, 0, 6], [0, 6, 0, 6], [0, 0, 0, 0]]
    assert boundary_counts(predicted, truth, 3, tolerance=1)[0].tolist() == [[6, 6, 6, 6], [6, 6, 6, 6], [0, 0, 0, 0]]


def test_the_edge_of_a_patch_and_of_the_unknown_is_no_boundary() -> None:
    truth = np.ones((1, 5, 5), np.uint8)
    assert not boundary_counts(truth, truth, 2).any()
    truth[:, :, 3:] = IGNORE
    predicted = np.ones((1, 5, 5), np.uint8)
    predicted[:, :, 3:] = 0  # a boundary where nothing is known
    assert not boundary_counts(predicted, truth, 2).any()


def test_distance_is_euclidean() -> None:
    truth = np.zeros((1, 9, 9), np.uint8)
    predicted = truth.copy()
    truth[0, 2, 2] = predicted[0, 4, 4] = 1  # 2 pixels by Chebyshev distance, 2.83 by Euclidean
    assert boundary_counts(predicted, truth, 2, tolerance=2)[0, 1].tolist() == [0, 1, 0, 1]
    assert boundary_counts(predicted, truth, 2, tolerance=2.9)[0, 1].tolist() == [1, 1, 1, 1]


@settings(max_examples=60)
@given(maps(), st.integers(0, 10**6))
def test_metrics_with_weights_equal_sklearn_on_the_pixels_of_repeated_patches(case: Maps, seed: int) -> None:
    predicted, truth, classes = case
    weights = np.random.default_rng(seed).integers(0, 3, len(truth))
    values = segmentation_metrics(
        confusion_counts(predicted, truth, classes), boundary_counts(predicted, truth, classes), weights
    )
    real, found = np.repeat(truth, weights, axis=0), np.repeat(predicted, weights, axis=0)
    known = real != IGNORE
    real, found = real[known], found[known]
    if not real.size:
        assert all(np.isnan(value) for value in values.values())
        return
    occurring = np.unique(real)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"labels": occurring, "average": "macro", "zero_division": 0}
        expected = {
            "miou": sklearn_metrics.jaccard_score(real, found, **options),
            "macro_f1": sklearn_metrics.f1_score(real, found, **options),
            "accuracy": sklearn_metrics.accuracy_score(real, found),
        }
    assert {name: values[name] for name in expected} == pytest.approx(expected)


@settings(max_examples=40)
@given(maps(), st.integers(0, 10**6))
def test_integer_weights_equal_repeated_patches_and_many_weightings_one_at_a_time(case: Maps, seed: int) -> None:
    predicted, truth, classes = case
    evidence = confusion_counts(predicted, truth, classes), boundary_counts(predicted, truth, classes)
    many = np.random.default_rng(seed).integers(0, 3, (5, len(truth)))
    together = segmentation_metrics(*evidence, many)
    for replicate, weights in enumerate(many):
        repeated = segmentation_metrics(*(np.repeat(counts, weights, axis=0) for counts in evidence))
        assert segmentation_metrics(*evidence, weights) == pytest.approx(repeated, nan_ok=True)
        assert {name: row[replicate] for name, row in together.items()} == pytest.approx(repeated, nan_ok=True)


def test_chunks_do_not_change_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    evidence = generator.integers(0, 50, (23, 3, 3)), generator.integers(1, 50, (23, 3, 4))
    weights = generator.random((4, 23))
    whole = segmentation_metrics(*evidence, weights)
    monkeypatch.setattr(weighting, "_CHUNK_BYTES", 8 * 9 * 5)  # five patches at a time
    for name, values in segmentation_metrics(*evidence, weights).items():
        np.testing.assert_allclose(values, whole[name])


def test_a_perfect_map_scores_one_and_a_class_that_does_not_occur_does_not_count() -> None:
    truth = np.zeros((2, 8, 8), np.uint8)
    truth[:, 2:5, 2:6] = 2
    evidence = confusion_counts(truth, truth, 4), boundary_counts(truth, truth, 4)
    assert set(segmentation_metrics(*evidence).values()) == {1.0}
    scores = segmentation_per_class(*evidence)
    np.testing.assert_array_equal(scores["iou"], [1, np.nan, 1, np.nan])
    np.testing.assert_array_equal(scores["support"], [104, 0, 24, 0])


def test_scores_are_ratios_of_sums_over_the_data_set() -> None:
    confusion = np.array([[[1, 0], [0, 0]], [[3, 6], [0, 0]]])  # class 0: 1 of 1, then 3 of 9 pixels
    values = segmentation_metrics(confusion, np.zeros((2, 2, 4), int))
    assert values["miou"] == pytest.approx(4 / 10)
    assert values["accuracy"] == pytest.approx(4 / 10)
    assert np.isnan(values["boundary_f1"])


def test_boundary_f1_is_the_harmonic_mean_of_the_two_shares() -> None:
    confusion = np.array([np.diag([5, 5, 5, 5])])
    boundary = np.array([[[3, 4, 1, 2], [0, 7, 0, 0], [0, 0, 0, 3], [0, 0, 0, 0]]])
    expected = 2 * 0.75 * 0.5 / 1.25
    np.testing.assert_allclose(segmentation_per_class(confusion, boundary)["boundary_f1"], [expected, 0, 0, np.nan])
    assert segmentation_metrics(confusion, boundary)["boundary_f1"] == pytest.approx(expected / 3)


@settings(max_examples=30)
@given(maps())
def test_scores_of_classes_average_to_the_metrics_and_equal_sklearn(case: Maps) -> None:
    predicted, truth, classes = case
    evidence = confusion_counts(predicted, truth, classes), boundary_counts(predicted, truth, classes)
    scores, values = segmentation_per_class(*evidence), segmentation_metrics(*evidence)
    known = truth != IGNORE
    if not known.any():
        assert not scores["support"].any()
        return
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        truth[known], predicted[known], labels=np.arange(classes), zero_division=np.nan
    )
    assert scores["precision"] == pytest.approx(precision, nan_ok=True)
    assert scores["recall"] == pytest.approx(recall, nan_ok=True)
    assert scores["f1"] == pytest.approx(np.where(support > 0, f1, np.nan), nan_ok=True)
    assert scores["support"].tolist() == support.tolist()
    for column, name in (("iou", "miou"), ("f1", "macro_f1"), ("boundary_f1", "boundary_f1")):
        occurring = scores[column][~np.isnan(scores[column])]
        assert values[name] == pytest.approx(occurring.mean() if len(occurring) else np.nan, nan_ok=True)


def test_metrics_of_nothing_are_nan() -> None:
    none = np.zeros((0, 3, 3), int), np.zeros((0, 3, 4), int)
    assert all(np.isnan(value) for value in segmentation_metrics(*none).values())
    one = np.ones((1, 3, 3), int), np.ones((1, 3, 4), int)
    assert all(np.isnan(value) for value in segmentation_metrics(*one, [0]).values())
    for values in segmentation_metrics(*one, [[0], [1]]).values():
        assert np.isnan(values).tolist() == [True, False]


def test_numbers_out_of_range_and_shapes_that_do_not_fit_are_refused() -> None:
    good, bad = np.zeros((1, 4, 4), np.uint8), np.full((1, 4, 4), 7, np.uint8)
    with pytest.raises(DataError, match=r"truth, patch 0, row 0.*class 7 does not exist"):
        confusion_counts(good, bad, 3)
    with pytest.raises(DataError, match=r"predicted, patch 0.*class 7"):
        boundary_counts(bad, good, 3)
    with pytest.raises(DataError, match=r"predicted.*class 255"):
        confusion_counts(np.full_like(good, IGNORE), good, 3)
    with pytest.raises(UsageError, match="shape"):
        confusion_counts(good[0], good, 3)
    with pytest.raises(UsageError, match="class numbers"):
        confusion_counts(good.astype(float), good, 3)
    with pytest.raises(UsageError, match="tolerance"):
        boundary_counts(good, good, 3, tolerance=-1)
    with pytest.raises(UsageError, match="classes"):
        confusion_counts(good, good, 256)
    with pytest.raises(UsageError, match="shape"):
        segmentation_metrics(np.ones((1, 2, 2)), np.ones((1, 3, 4)))

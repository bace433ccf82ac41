"""Estimators of areas and accuracies against a published example, a census, and what must hold for any sample."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eofuse.areas.assisted import assisted_shares
from eofuse.areas.estimators import Sample, area_shares, ratios, rests_on_little

COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
"""Table 8 of Olofsson et al. (2014): deforestation, forest gain, stable forest, stable non-forest; a row a class of the map."""

PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])
HECTARES = 0.09 * PIXELS


def labelled(counts: np.ndarray, pixels=PIXELS, hectares=HECTARES) -> tuple[Sample, np.ndarray, np.ndarray]:
    """A sample with strata that are classes of the map; whether map and label are each class."""
    size = len(counts)
    stratum = np.repeat(np.arange(size), counts.sum(axis=1))
    label = np.concatenate([np.repeat(np.arange(size), row) for row in counts])
    sample = Sample(stratum, np.full(len(label), 900.0), np.asarray(pixels), np.asarray(hectares))
    return sample, np.eye(size)[stratum], np.eye(size)[label]


def accuracies(sample: Sample, mapped: np.ndarray, labels: np.ndarray):
    own = np.eye(labels.shape[1], dtype=bool)
    users = ratios(sample, mapped * labels, mapped * (1 - labels), (own, own))
    return users, ratios(sample, mapped * labels, (1 - mapped) * labels, (own, ~own))


def test_areas_of_the_published_example():
    sample, _, labels = labelled(COUNTS)
    areas = area_shares(sample, labels).times(HECTARES.sum())
    np.testing.assert_allclose(areas.value, [21_158, 11_686, 285_770, 581_386], atol=1)
    np.testing.assert_allclose(1.96 * areas.error, [6_158, 3_756, 15_510, 16_282], atol=2)


def test_accuracies_of_the_published_example():
    sample, mapped, labels = labelled(COUNTS)
    users, producers = accuracies(sample, mapped, labels)
    overall = area_shares(sample, (mapped * labels).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(users.value, [0.88, 0.73, 0.93, 0.96], atol=0.005)
    np.testing.assert_allclose(1.96 * users.error, [0.07, 0.10, 0.04, 0.02], atol=0.005)
    np.testing.assert_allclose(producers.value, [0.75, 0.85, 0.93, 0.96], atol=0.005)
    np.testing.assert_allclose(overall.value, 0.95, atol=0.005)
    np.testing.assert_allclose(1.96 * overall.error, 0.02, atol=0.005)


def test_errors_of_producers_accuracies_are_those_of_the_published_formula():
    sample, mapped, labels = labelled(COUNTS)
    _, producers = accuracies(sample, mapped, labels)
    size, count = PIXELS.astype(float), COUNTS.sum(axis=1)
    share = COUNTS / count[:, None]
    total = (size[:, None] * share).sum(axis=0)
    spread = size[:, None] ** 2 * share * (1 - share) / (count - 1)[:, None]
    own = np.diag(spread)
    expected = np.sqrt((1 - producers.value) ** 2 * own + producers.value**2 * (spread.sum(axis=0) - own)) / total
    np.testing.assert_allclose(producers.error, expected, rtol=1e-3)  # but for the finite population correction


def test_a_census_has_no_error():
    pixels = COUNTS.sum(axis=1)
    sample, mapped, labels = labelled(COUNTS, pixels, 0.09 * pixels)
    for found in (area_shares(sample, labels), *accuracies(sample, mapped, labels)):
        np.testing.assert_allclose(found.error, 0, atol=1e-9)
        np.testing.assert_allclose(found.low, found.value, atol=1e-9)
        np.testing.assert_allclose(found.high, found.value, atol=1e-9)


def test_no_error_found_is_not_no_error():
    sample, mapped, labels = labelled(np.diag([20, 30]), PIXELS[:2], HECTARES[:2])
    users, producers = accuracies(sample, mapped, labels)
    assert (users.low < 0.95).all()
    assert (producers.low < 0.95).all()
    assert (producers.high == 1).all()


def test_a_class_that_no_label_has_has_no_producers_accuracy_and_an_interval_of_its_area():
    sample, mapped, labels = labelled(np.array([[20, 0], [30, 0]]), PIXELS[:2], HECTARES[:2])
    _, producers = accuracies(sample, mapped, labels)
    areas = area_shares(sample, labels)
    assert np.isnan(producers.value[1])
    assert np.isnan([producers.low[1], producers.high[1]]).all()
    assert areas.value[1] == 0 < areas.high[1]


def test_pixels_count_with_their_area():
    stratum, area = np.zeros(4, dtype=int), np.array([1.0, 1.0, 1.0, 3.0])
    sample = Sample(stratum, area, np.array([1000]), np.array([1500.0]))
    assert area_shares(sample, np.array([[0.0], [0], [0], [1]])).value[0] == pytest.approx(0.5)


def test_strata_that_are_no_classes_give_the_ratio_of_the_sums():
    stratum = np.array([0, 0, 0, 0, 1, 1])
    sample = Sample(stratum, np.ones(6), np.array([400, 100]), np.array([400.0, 100.0]))
    mapped, label = np.array([1, 1, 0, 0, 1, 1]), np.array([1, 0, 1, 0, 1, 1])
    anywhere = np.ones((2, 1), dtype=bool)
    hits, others = (mapped * label)[:, None].astype(float), (mapped * (1 - label))[:, None].astype(float)
    users = ratios(sample, hits, others, (anywhere, anywhere))
    assert users.value[0] == pytest.approx((400 / 4 + 100) / (400 * 2 / 4 + 100))
    assert users.low[0] < users.value[0] < users.high[0]


def test_a_class_on_few_deciding_points_is_named():
    sample, mapped, labels = labelled(np.array([[70, 5, 0], [25, 100, 0], [0, 0, 300]]), [10**6] * 3, [1e5] * 3)
    assert rests_on_little(sample, labels, mapped).tolist() == [False, False, True]


@given(st.lists(st.lists(st.integers(0, 40), min_size=3, max_size=3), min_size=3, max_size=3))
def test_any_counts_give_intervals_around_estimates_that_sum_to_all(rows):
    counts = np.array(rows) + 2 * np.eye(3, dtype=int)
    sample, mapped, labels = labelled(counts, PIXELS[:3], HECTARES[:3])
    areas = area_shares(sample, labels)
    assert areas.value.sum() == pytest.approx(1)
    for found in (areas, *accuracies(sample, mapped, labels)):
        inside = np.isfinite(found.value)
        assert (found.low[inside] <= found.value[inside] + 1e-9).all()
        assert (found.value[inside] <= found.high[inside] + 1e-9).all()
        assert (found.low[inside] >= 0).all()
        assert (found.high[inside] <= 1).all()


def test_probabilities_that_know_the_labels_narrow_the_interval_and_rubbish_does_not_widen_it():
    sample, _, labels = labelled(COUNTS)
    random = np.random.default_rng(0)
    plain = area_shares(sample, labels)
    noise = random.normal(0, 0.01, labels.shape)
    known = plain.value  # of the whole map, as if the sample hit it
    helped = assisted_shares(sample, labels, labels + noise, known)
    assert (helped.estimate.error < 0.6 * plain.error).all()
    assert (helped.worth > 500).all()
    rubbish = assisted_shares(sample, labels, random.random(labels.shape), np.full(4, 0.5))
    assert (rubbish.tuning < 0.1).all()
    assert (rubbish.estimate.error < 1.01 * plain.error).all()


def test_what_the_sample_lacks_of_the_probabilities_is_added():
    sample, _, labels = labelled(COUNTS)
    found = assisted_shares(sample, labels, labels, np.array([0.02, 0.02, 0.3, 0.66]))
    np.testing.assert_allclose(found.estimate.value, [0.02, 0.02, 0.3, 0.66])
    np.testing.assert_allclose(found.tuning, 1)

"""Heads that are fitted in one go: right classes and numbers, classes that training lacks, and neighbours that are saved."""

import numpy as np
import pytest
import torch

from eofuse.kinds import KINDS
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.heads import FITTED_HEADS, HeadSpec, build_head

CENTRES = np.array([[3.0, 0, 0, 0], [0, 3, 0, 0], [0, 0, 3, 0]])


def drawn(count=60, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    return CENTRES[labels] + random.normal(0, 0.5, (count, 4)), labels


def head_of(method, kind, classes=("a", "b", "c"), **more):
    return build_head(HeadSpec(KINDS[kind], classes, fitted=method, **more), [FeatureSizes(4)])


def predicted(head, features):
    with torch.no_grad():
        return head.predict(head([Features(torch.from_numpy(features).float())], (1, 1))).numpy()


@pytest.mark.parametrize("method", list(FITTED_HEADS))
def test_classes_are_told_apart_with_five_labels_each(method):
    features, labels = drawn()
    few = np.concatenate([np.flatnonzero(labels == each)[:5] for each in range(3)])
    head = head_of(method, "single_label")
    for setting in FITTED_HEADS[method].settings:
        FITTED_HEADS[method].fit(head, 0, features[few], labels[few], setting)
        found = predicted(head, features)
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
        assert (found.argmax(1) == labels).mean() > 0.95


@pytest.mark.parametrize("method", list(FITTED_HEADS))
@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c", "never")])
def test_two_classes_and_classes_that_training_lacks(method, classes):
    features, labels = drawn()
    rows = labels < min(len(classes), 3)
    head = head_of(method, "single_label", classes)
    FITTED_HEADS[method].fit(head, 0, features[rows], labels[rows], FITTED_HEADS[method].settings[-1])
    found = predicted(head, features[rows])
    assert (found.argmax(1) == labels[rows]).mean() > 0.95
    assert found[:, 3:].max(initial=0) < 1e-3


@pytest.mark.parametrize("method", list(FITTED_HEADS))
def test_several_classes_of_a_patch(method):
    features, labels = drawn()
    truth = np.stack([labels == 0, labels != 0, np.ones(len(labels))], axis=1).astype(np.float32)
    head = head_of(method, "multi_label")
    FITTED_HEADS[method].fit(head, 0, features, truth, FITTED_HEADS[method].settings[-1])
    assert ((predicted(head, features) > 0.5) == truth).mean() > 0.95


@pytest.mark.parametrize("method", ["linear", "neighbours"])
def test_numbers_come_in_their_unit_and_shares_sum_to_1(method):
    features, _ = drawn(200)
    truth = np.stack([100 + 10 * features[:, 0], 5 - features[:, 1]], axis=1)
    head = head_of(method, "regression", ("x", "y"), mean=tuple(truth.mean(0)), std=tuple(truth.std(0)))
    FITTED_HEADS[method].fit(head, 0, features, truth, 5.0)
    assert np.abs(predicted(head, features) - truth).mean(0).max() < 4
    shares = np.abs(features[:, :2]) / np.abs(features[:, :2]).sum(1, keepdims=True)
    head = head_of(method, "regression", ("x", "y"), mean=(0.5, 0.5), std=(1.0, 1.0), composition=True)
    FITTED_HEADS[method].fit(head, 0, features, shares, 5.0)
    np.testing.assert_allclose(predicted(head, features).sum(1), 1, atol=1e-5)


def test_the_linear_head_is_that_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    features, labels = drawn()
    head = head_of("linear", "single_label")
    FITTED_HEADS["linear"].fit(head, 0, features, labels, 0.1)
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=0.1, max_iter=1000).fit(scaler.transform(features), labels)
    np.testing.assert_allclose(predicted(head, features), model.predict_proba(scaler.transform(features)), atol=1e-4)


def test_neighbours_are_saved_with_the_head():
    features, labels = drawn()
    head, other = head_of("neighbours", "single_label"), head_of("neighbours", "single_label")
    FITTED_HEADS["neighbours"].fit(head, 0, features, labels, 3)
    other.load_state_dict(head.state_dict())
    np.testing.assert_array_equal(predicted(head, features), predicted(other, features))

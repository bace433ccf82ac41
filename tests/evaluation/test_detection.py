"""Metrics of boxes: against the COCO tools, against repeated patches, and by hand."""

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster
from hypothesis import given, settings
from hypothesis import strategies as st

from eofuse.errors import DataError, UsageError
from eofuse.evaluation.metrics.detection import match_boxes
from eofuse.kinds import DETECTION
from scoring import one_by_one, scored

NOTHING = [0, 0, 0, 0, 0, -1]


def draw(seed, patches=6, most=8, classes=3, whole=False):
    """Predicted (N, 100, 6) and true (N, M, 5) boxes, many of them near each other; scores of few digits, so with ties."""
    generator = np.random.default_rng(seed)
    truth, predicted = np.full((patches, most, 5), -1.0), np.tile(np.array(NOTHING, dtype=float), (patches, 100, 1))
    for patch in range(patches):
        count, guesses = generator.integers(0, most + 1), generator.integers(0, 2 * most)
        corner, sides = generator.uniform(0, 60, (count, 2)), generator.uniform(4, 40, (count, 2))
        numbers = generator.integers(0, classes, count)
        truth[patch, :count] = np.column_stack([corner, corner + sides, numbers])
        for guess in range(guesses):
            if count and generator.random() < 0.8:
                real = truth[patch, generator.integers(count)]
                box = real[:4] + generator.normal(0, 2, 4)
                number = real[4] if generator.random() < 0.9 else generator.integers(classes)
            else:
                start = generator.uniform(0, 60, 2)
                box, number = np.r_[start, start + generator.uniform(4, 40, 2)], generator.integers(classes)
            box = np.r_[np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])]
            predicted[patch, guess] = [*box, generator.integers(1, 50) / 50, number]
    if whole:
        predicted[..., :4], truth[..., :4] = predicted[..., :4].round(), truth[..., :4].round()
    return predicted, truth


def coco_average_precision(predicted, truth, classes):
    """(K, 10) from the COCO tools, NaN for classes that do not occur."""
    images = [{"id": patch + 1, "height": 200, "width": 200} for patch in range(len(truth))]
    real = [
        (patch, box) for patch, rows in enumerate(truth) for box in rows.tolist() if box[4] >= 0 and box[2] > box[0]
    ]
    annotations = [
        {
            "id": number,
            "image_id": patch + 1,
            "category_id": int(box[4]) + 1,
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "area": (box[2] - box[0]) * (box[3] - box[1]),
            "iscrowd": 0,
        }
        for number, (patch, box) in enumerate(real, 1)
    ]
    found = [
        {
            "image_id": patch + 1,
            "category_id": int(box[5]) + 1,
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "score": float(np.float32(box[4])),
        }
        for patch, rows in enumerate(predicted)
        for box in rows.tolist()
        if box[5] >= 0
    ]
    categories = [{"id": number + 1, "name": str(number)} for number in range(classes)]
    data = COCO({"images": images, "annotations": annotations, "categories": categories})
    evaluation = COCOeval_faster(data, data.loadRes(found), iouType="bbox", print_function=lambda *_: None)
    evaluation.evaluate()
    evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, -1]  # threshold, recall, class
    return np.where(precision < 0, np.nan, precision).mean(axis=1).T


def metrics(evidence, weights=None):
    return scored(DETECTION, evidence, weights)


def by_class(evidence, weights=None):
    return one_by_one(DETECTION, evidence, weights)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.booleans())
def test_average_precision_equals_the_coco_tools(seed, whole):
    predicted, truth = draw(seed, whole=whole)
    predicted[0, 0], truth[0, 0] = [1, 1, 9, 9, 0.5, 0], [1, 1, 9, 9, 0]
    expected = coco_average_precision(predicted, truth, 3)
    evidence = match_boxes(predicted, truth, 3)
    scores = by_class(evidence)
    np.testing.assert_allclose(scores["average_precision"], expected.mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(scores["ap50"], expected[:, 0], atol=1e-6)
    overall = metrics(evidence)
    assert overall["box_map"] == pytest.approx(np.nanmean(expected), abs=1e-6)
    assert overall["box_ap50"] == pytest.approx(np.nanmean(expected[:, 0]), abs=1e-6)


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_integer_weights_equal_repeated_patches(seed):
    predicted, truth = draw(seed)
    generator = np.random.default_rng(seed)
    predicted[..., 4] = np.where(predicted[..., 5] >= 0, generator.permuted(np.tile(np.arange(100), (6, 1)), axis=1), 0)
    weights = generator.integers(0, 4, len(truth))
    repeated = match_boxes(np.repeat(predicted, weights, axis=0), np.repeat(truth, weights, axis=0), 3)
    evidence = match_boxes(predicted, truth, 3)
    assert metrics(evidence, weights) == pytest.approx(metrics(repeated), nan_ok=True)
    weighted, expected = by_class(evidence, weights), by_class(repeated)
    for name, values in expected.items():
        np.testing.assert_allclose(weighted[name], values)


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_many_weightings_equal_one_at_a_time(seed):
    evidence = match_boxes(*draw(seed), 3)
    many = np.random.default_rng(seed).integers(0, 3, (5, 6))
    together = metrics(evidence, many)
    for replicate, weights in enumerate(many):
        alone = metrics(evidence, weights)
        assert {name: values[replicate] for name, values in together.items()} == pytest.approx(alone, nan_ok=True)


def test_many_weightings_in_parts_equal_all_at_once(monkeypatch):
    evidence = match_boxes(*draw(1), 3)
    many = np.random.default_rng(0).integers(0, 3, (7, 6))
    expected = metrics(evidence, many)
    monkeypatch.setattr("eofuse.evaluation.metrics.detection.MOST_VALUES", 100)
    np.testing.assert_array_equal(metrics(evidence, many)["box_map"], expected["box_map"])


def padded(*rows):
    return np.array([[*rows, *[NOTHING] * (4 - len(rows))]], dtype=float)


def test_a_true_box_is_found_once_and_by_the_best_score():
    predicted = padded([0, 0, 10, 10, 0.6, 0], [0, 0, 10, 9, 0.9, 0])
    evidence = match_boxes(predicted, [[[0, 0, 10, 10, 0]]], 1)
    assert evidence["matched"][0, :, 0].tolist() == [0, 1, 0, 0]
    assert evidence["matched"][0, :, -1].tolist() == [1, 0, 0, 0]  # .9 is not enough for .95
    assert evidence["counts"].tolist() == [[1]]
    assert metrics(evidence)["box_ap50"] == 1.0


def test_a_box_of_another_class_finds_nothing():
    evidence = match_boxes(padded([0, 0, 10, 10, 0.6, 1]), [[[0, 0, 10, 10, 0]]], 2)
    assert not evidence["matched"].any()
    assert metrics(evidence) == {"box_map": 0.0, "box_ap50": 0.0}


def test_empty_patches_have_no_score_but_false_alarms_in_them_count():
    nothing = match_boxes(padded(), [[[0, 0, 0, 0, -1]]], 2)
    assert np.isnan(list(metrics(nothing).values())).all()
    alarm = np.concatenate([padded([0, 0, 9, 9, 0.9, 0]), padded([0, 0, 9, 9, 0.8, 0])])
    truth = np.array([[[0, 0, 0, 0, -1]], [[0, 0, 9, 9, 0]]])
    assert metrics(match_boxes(alarm, truth, 1))["box_map"] == pytest.approx(0.5)


def test_a_class_absent_from_the_truth_is_not_counted():
    evidence = match_boxes(padded([0, 0, 9, 9, 0.9, 0], [0, 0, 9, 9, 0.9, 1]), [[[0, 0, 9, 9, 0]]], 3)
    scores = by_class(evidence)
    assert metrics(evidence)["box_map"] == 1.0
    np.testing.assert_array_equal(scores["recall"], [1, np.nan, np.nan])
    assert scores["support"].tolist() == [1, 0, 0]


def test_true_boxes_without_area_and_unknown_rows_are_passed_over():
    truth = [[[5, 5, 5, 9, 0], [0, 0, 9, 9, -2], [0, 0, 9, 9, -1]]]
    evidence = match_boxes(padded([5, 5, 5, 9, 0.5, 0]), truth, 1)
    assert evidence["counts"].sum() == 0
    assert not evidence["matched"].any()


def test_evidence_has_the_agreed_shapes_and_types():
    evidence = match_boxes(*draw(0), 3)
    kinds = {name: (values.shape, values.dtype.name) for name, values in evidence.items()}
    assert kinds == {
        "boxes": ((6, 100, 4), "float32"),
        "scores": ((6, 100), "float32"),
        "labels": ((6, 100), "int64"),
        "matched": ((6, 100, 10), "int8"),
        "counts": ((6, 3), "int64"),
    }


@pytest.mark.parametrize(
    ("predicted", "truth", "kind"),
    [
        (np.zeros((1, 2, 5)), np.zeros((1, 2, 5)), UsageError),
        (np.zeros((2, 2, 6)), np.zeros((1, 2, 5)), UsageError),
        (np.full((1, 2, 6), np.nan), np.zeros((1, 2, 5)), DataError),
        (np.zeros((1, 2, 6)), np.full((1, 2, 5), 3.0), DataError),
    ],
    ids=["columns", "patches", "not finite", "no such class"],
)
def test_what_are_no_boxes_is_refused(predicted, truth, kind):
    with pytest.raises(kind):
        match_boxes(predicted, truth, 2)


def test_evidence_that_does_not_fit_is_refused():
    evidence = match_boxes(*draw(0), 3)
    with pytest.raises(UsageError, match="do not fit"):
        metrics({**evidence, "counts": evidence["counts"][:2]})

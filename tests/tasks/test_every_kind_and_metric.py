"""What holds for every kind of task and every metric, whoever adds them; nothing outside their files knows their names."""

import ast
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import eofuse
from eofuse.data.targets import Target
from eofuse.errors import UsageError
from eofuse.evaluation.evidence import from_columns, to_columns
from eofuse.evaluation.metrics import METRICS, Metric, class_metrics_of, metrics_of, scores
from eofuse.evaluation.metrics.regression import NumberTotals
from eofuse.kinds import KINDS, REGRESSION, Place, Values
from eofuse.models.features import FeatureSizes
from eofuse.models.heads import HEADS, HeadSpec, build_head
from eofuse.reports.examples import CHOICES, standard
from eofuse.tasks import TASKS, TaskOptions

CLASSES = ("a", "b", "c")
PATCHES, SIDE = 12, 16
SOURCE = Path(eofuse.__file__).parent


class FakeTarget(Target):
    """Boxes for the extra columns of predictions."""

    def read(self, rows, window=None):
        return truth_of(self.kind)[rows]


def truth_of(kind):
    """Truth of 12 patches, in which every class occurs and numbers vary."""
    random = np.random.default_rng(0)
    if kind.place is Place.BOX:
        corners = random.uniform(0, 40, (PATCHES, 4, 2))
        numbers = np.tile(np.arange(4) % len(CLASSES), (PATCHES, 1))[..., None]
        return np.concatenate([corners, corners + random.uniform(4, 9, corners.shape), numbers], axis=2)
    pixels = (SIDE, SIDE) if kind.is_map else ()
    if kind.is_numbers:
        return random.normal(50, 9, (PATCHES, len(CLASSES), *pixels))
    if kind.has_several:
        return (np.arange(PATCHES)[:, None] % np.arange(2, 2 + len(CLASSES)) == 0).astype(np.int64)
    numbers = np.arange(PATCHES).reshape(-1, *[1] * len(pixels)) + (np.arange(SIDE) // 4 if pixels else 0)
    return np.broadcast_to(numbers % len(CLASSES), (PATCHES, *pixels)).astype(np.int64)


def predictions_of(kind, truth, spoilt=0.0):
    """Perfect predictions of a truth, or such with so much noise."""
    random = np.random.default_rng(1)
    if kind.place is Place.BOX:
        boxes = np.tile(np.array([0, 0, 0, 0, 0, -1.0]), (PATCHES, 100, 1))
        boxes[:, : truth.shape[1], :4] = truth[..., :4] + 9 * spoilt * random.normal(size=truth[..., :4].shape)
        boxes[:, : truth.shape[1], 4] = 1 - random.random(truth.shape[:2]) / 2
        boxes[:, : truth.shape[1], 5] = truth[..., 4]
        return boxes
    if kind.is_numbers:
        return truth + 9 * spoilt * random.normal(size=truth.shape)
    sure = truth if kind.has_several else np.moveaxis(np.eye(len(CLASSES))[truth], -1, 1)
    mixed = (1 - spoilt) * sure + spoilt * random.random(sure.shape)
    return mixed if kind.has_several else mixed / mixed.sum(axis=1, keepdims=True)


def task_and_head(name):
    kind = KINDS[name]
    known, values = np.ones(PATCHES, dtype=bool), truth_of(kind)
    task = TASKS[name](FakeTarget("t", kind, CLASSES, known, values=values, unit="m"), TaskOptions(target="t"))
    task.fit(np.arange(PATCHES), None)
    return task, HeadSpec(**{**vars(task.head()), "margin": (0.0,) * len(CLASSES) if kind.is_numbers else ()})


def evidence_of(name, spoilt=0.0):
    task, head = task_and_head(name)
    return task, task.evidence(predictions_of(task.kind, truth_of(task.kind), spoilt), truth_of(task.kind), head)


each_kind = pytest.mark.parametrize("name", KINDS)


@each_kind
def test_a_kind_is_whole(name):
    kind = KINDS[name]
    assert isinstance(kind.place, Place)
    assert isinstance(kind.values, Values)
    assert kind.name == name
    assert kind.words
    assert kind.support
    assert kind.head in HEADS
    assert set(KINDS) == set(TASKS)
    assert TASKS[name].kind == kind
    assert metrics_of(kind)[0].name == kind.ranking
    assert METRICS[kind.ranking].is_main
    assert METRICS[kind.ranking].best != "zero"
    assert {name, standard(kind.place, kind.values)} & set(CHOICES)


@each_kind
def test_its_evidence_has_the_shapes_that_it_names_and_survives_a_table(name):
    task, evidence = evidence_of(name, 0.3)
    assert {name: array.shape[1:] for name, array in evidence.items()} == task.kind.evidence_shapes(len(CLASSES))
    back = from_columns(pd.DataFrame(to_columns(evidence)), task.kind, len(CLASSES))
    for array, values in evidence.items():
        np.testing.assert_array_equal(back[array], values)
    assert set(task.extra_columns(np.arange(PATCHES), None)) == set(task.kind.columns)


@each_kind
def test_its_head_is_built_and_its_predictions_are_columns(name):
    task, head = task_and_head(name)
    sizes = [FeatureSizes(8, (8, 8), (4, 8))]
    assert isinstance(build_head(head, sizes), torch.nn.Module)
    assert HeadSpec.from_dict(head.to_dict()) == head
    prediction = torch.from_numpy(predictions_of(task.kind, truth_of(task.kind), 0.1)).float()
    with_data = np.ones((PATCHES, SIDE, SIDE), dtype=bool)
    with_data[0] = False
    columns = task.prediction_columns("t", head, task.decide(prediction, with_data), 0.5)
    assert columns
    assert all(column.split(".")[0] == "t" and len(values) == PATCHES for column, values in columns.items())


@each_kind
def test_metrics_of_perfect_predictions_are_perfect(name):
    task, evidence = evidence_of(name)
    scores = task.score(evidence)
    assert scores == pytest.approx({metric.name: metric.perfect for metric in task.scored}, abs=1e-6)
    singly = task.per_class(evidence)
    for metric in class_metrics_of(task.kind):
        np.testing.assert_allclose(singly[metric.name], metric.perfect, atol=1e-6)


@each_kind
def test_metrics_lie_within_their_bounds_and_differ_from_perfect(name):
    task, evidence = evidence_of(name, 0.6)
    for metric, value in task.score(evidence).items():
        low, high = METRICS[metric].bounds
        assert low <= value <= high
    assert task.score(evidence)[task.metric] != pytest.approx(METRICS[task.metric].perfect)


@each_kind
def test_weights_are_repetitions(name):
    task, evidence = evidence_of(name, 0.4)
    weights = np.random.default_rng(2).integers(0, 4, (3, PATCHES))
    together = task.score(evidence, weights)
    for row, counts in enumerate(weights):
        repeated = task.score({key: np.repeat(array, counts, axis=0) for key, array in evidence.items()})
        assert {key: values[row] for key, values in together.items()} == pytest.approx(repeated, nan_ok=True)
        assert task.score(evidence, counts) == pytest.approx(repeated, nan_ok=True)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_whole(name):
    metric = METRICS[name]
    assert metric.name == name
    assert metric.title
    assert metric.meaning
    assert metric.function is not None or metric.per_class is not None
    assert any(metric.is_for(kind) for kind in KINDS.values())
    assert metric.bounds[0] <= metric.perfect <= metric.bounds[1]
    assert not metric.by_class or METRICS[metric.by_class].per_class is not None
    assert metric.unit_of("") == "" or not metric.in_unit


@pytest.mark.parametrize("value", [0.5, np.zeros(3)])
def test_a_metric_that_returns_another_shape_than_a_value_a_weighting_is_named(value):
    totals = NumberTotals(REGRESSION, {"truth": np.zeros((4, 1)), "prediction": np.ones((4, 1))}, np.ones((2, 4)))
    metric = Metric("odd", "oddity", "odd", is_for=lambda kind: True, function=lambda totals: value)
    with pytest.raises(UsageError, match=r"the metric 'odd' returned the shape .*, expected \(2,\)"):
        scores([metric], totals)


def names_in(tree):
    """Strings that are compared, looked up, or listed."""
    for node in ast.walk(tree):
        found = []
        if isinstance(node, ast.Compare):
            found = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            found = [key for key in node.keys if key is not None]
        elif isinstance(node, ast.Tuple | ast.List | ast.Set):
            found = node.elts
        elif isinstance(node, ast.Subscript):
            found = [node.slice]
        elif isinstance(node, ast.MatchValue):
            found = [node.value]
        yield from (each.value for each in found if isinstance(each, ast.Constant) and isinstance(each.value, str))


def test_nothing_else_switches_on_their_names():
    own = (
        "kinds.py",
        "tasks",
        "evaluation/metrics",
        "learning/pretraining",
    )  # logs of pretraining have names of their own
    for path in SOURCE.rglob("*.py"):
        place = path.relative_to(SOURCE).as_posix()
        if not place.startswith(own):
            text, names = path.read_text(encoding="utf-8"), {*KINDS, *METRICS}
            if not any(f'"{name}"' in text for name in names):
                continue  # to parse it takes longer
            found = set(names_in(ast.parse(text))) & names
            assert not found, f"{place} has the names {found}"

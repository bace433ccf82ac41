"""What another package adds, by a file and an entry point a thing, is everywhere: options, runs, predictions, studies, reports."""

import numpy as np
import pandas as pd
import pytest

from eofuse import recipe as recipes
from eofuse.data.store.pack import pack_source
from eofuse.errors import UsageError
from eofuse.evaluation.metrics import METRICS
from eofuse.inference.predict import predict_store
from eofuse.kinds import KINDS
from eofuse.learning.evaluate import evaluate
from eofuse.reports.html import write_report
from eofuse.tasks import TASKS
from eofuse.terminal import scores_tables
from fake_source import FakeSource
from undrawn import undraw


@pytest.fixture(scope="module")
def store(plugin, tmp_path_factory):
    """80 patches with numbers alone; the column `grade` has three ordered classes that the season shows."""
    source = FakeSource(patches=80, size=16)
    source.index["grade"] = np.arange(80) % 3
    return pack_source(source, tmp_path_factory.mktemp("plugin") / "plugin.store", workers=1)


@pytest.fixture(scope="module")
def study(store, tmp_path_factory):
    """A study of the ordered classes, ranked by the metric from outside."""
    values = {
        "name": "grades",
        "data": {"store": str(store.path)},
        "split": {"fractions": [0.5, 0.2, 0.3]},
        "task": {"target": "grade", "kind": "ordinal", "metric": "class_distance"},
        "train": {"steps": 6, "batch_size": 16, "evaluations": 2},
        "study": {
            "seeds": [0],
            "baseline": "season",
            "controls": False,
            "search": {"learning_rates": [0.01]},
            "variants": {"season": {"inputs": ["season"]}, "zone": {"inputs": ["climate_zone"]}},
        },
    }
    return recipes.study(values, to=tmp_path_factory.mktemp("grades") / "study", workers=1)


def test_its_things_are_in_the_registries(plugin):
    for registry, name in ((KINDS, "ordinal"), (TASKS, "ordinal"), (METRICS, "class_distance")):
        assert registry.package_of(name) == "example_plugin"


def test_its_kind_and_metric_are_checked_as_all_options_are(store):
    from eofuse.tasks import TaskOptions, make_task

    assert make_task(store, TaskOptions(target="grade", kind="ordinal")).losses == ("earth_mover",)
    with pytest.raises(UsageError, match="unknown metric 'class_distance' for single label"):
        make_task(store, TaskOptions(target="grade", metric="class_distance"))
    with pytest.raises(UsageError, match="predicted by regression only"):
        make_task(store, TaskOptions(target="season", kind="ordinal"))


def test_a_study_ranks_by_its_metric(study):
    board = study.results.leaderboard
    assert study.results.kind is KINDS["ordinal"]
    assert study.results.summary["metrics"] == ["macro_f1", *study.results.summary["metrics"][1:]]
    rows = board[board["metric"] == "class_distance"]
    assert rows[["mean", "low", "high"]].notna().all(axis=None)
    assert study.leaderboard()["mean"].is_monotonic_increasing
    assert study.results.curves["metric"].eq("class_distance").any()


def test_a_run_is_evaluated_and_predicts(study, store):
    run = study.results.cells["cell"].iloc[0]
    folder = study.folder / "cells" / run
    scores = evaluate(folder)
    assert set(scores.loc[scores["metric"] == "class_distance", "predictor"]) == {"run", "constant"}
    assert any("class_distance" in map(str, table.columns[1].cells) for table in scores_tables(scores))
    predicted = predict_store(folder / "model", store)
    assert {"grade", "grade.confidence", "grade.p.0", "grade.p.2"} <= set(predicted.columns)
    assert pd.notna(predicted["grade"]).all()


def test_a_report_has_words_for_them(study, tmp_path, monkeypatch):
    undraw(monkeypatch)
    text = write_report(study.results, None, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "one of ordered classes a patch" in text
    assert "Class distance" in text or "class distance" in text
    assert "Most confidently wrong" in text

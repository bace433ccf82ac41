"""The folder of a study is read whole or refused with a message that names the file."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from fake_efficiency import with_amounts
from fake_study import VARIANTS, write_study

from eofuse.errors import DataError, UsageError
from eofuse.evaluation.metrics import METRICS
from eofuse.kinds import KINDS
from eofuse.studies.results import COLUMNS, OF_ALL_AMOUNTS, StudyResults, read_results


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study") / "study", n_test=20)


@pytest.fixture
def folder(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study, tmp_path / "study"))


def test_reads_the_summary_and_every_table(folder: Path) -> None:
    results = read_results(str(folder))
    assert results.summary["metric"] == "macro_f1"
    assert results.folder == folder
    for name, columns in COLUMNS.items():
        table = table_of(results, name)
        assert set(columns) <= set(table.columns)
        assert len(table) or name in (*OF_ALL_AMOUNTS, "questions", "without", "attribution")


def table_of(results: StudyResults, name: str) -> pd.DataFrame:
    table: pd.DataFrame = getattr(results.over_labels if name in OF_ALL_AMOUNTS else results, name)
    return table


@pytest.mark.parametrize("kind", KINDS)
def test_gives_the_evidence_of_every_kind_its_shape_back(kind: str, tmp_path: Path) -> None:
    results = read_results(write_study(tmp_path / "study", kind, n_test=5, variants=VARIANTS[:1], seeds=(0,)))
    rows = results.predictions.iloc[3:7]
    classes = len(results.summary["classes"])
    found = {name: array.shape for name, array in results.evidence(rows).items()}
    assert found == {name: (4, *shape) for name, shape in KINDS[kind].evidence_shapes(classes).items()}


def test_each_target_has_its_own_view(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", kinds=("regression", "single_label"), n_test=12, variants=VARIANTS[:2])
    first = read_results(folder)
    assert first.targets == ["mean_elevation", "dominant_land_cover"]
    assert (first.summary["target"], first.summary["unit"]) == ("mean_elevation", "m")
    second = first.of("dominant_land_cover")
    assert second.summary["task_kind"] == "single_label"
    assert "probabilities" in second.predictions
    assert first.of("mean_elevation") is first
    for results in (first, second):
        for name, columns in COLUMNS.items():
            if "target" in columns and name not in (*OF_ALL_AMOUNTS, "questions", "without", "attribution"):
                assert set(getattr(results, name)["target"]) == {results.summary["target"]}
    assert set(first.leaderboard["metric"]) > {"rmse"}
    assert "rmse" not in set(second.leaderboard["metric"])


def test_a_study_that_ranks_by_a_metric_of_a_package_that_is_gone_is_refused(folder, monkeypatch) -> None:
    """Whether more or less of it is better would be a guess, and the order with it."""
    read_results(folder)
    monkeypatch.delitem(METRICS._things, "macro_f1")
    with pytest.raises(DataError, match="ranks by the metric 'macro_f1', which is not installed; install the package"):
        read_results(folder)


def test_an_unknown_target_names_the_nearest(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"no target 'dominant_landcover'.*dominant_land_cover"):
        read_results(folder, "dominant_landcover")


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such study folder"):
        read_results(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "name", ["summary.json", "predictions/dominant_land_cover.parquet", *(f"{table}.parquet" for table in COLUMNS)]
)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=rf"{name}: the file is missing"):
        read_results(folder)


@pytest.mark.parametrize("name", ["summary.json", "results.parquet"])
def test_a_damaged_file_is_named(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=rf"{name}: is damaged"):
        read_results(folder)


def test_a_missing_key_is_named(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    del summary["baseline"]
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(DataError, match="lacks baseline"):
        read_results(folder)


def test_an_unknown_task_kind_is_refused(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    summary["targets"][0]["task_kind"] = "poetry"
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(DataError, match="unknown task kind 'poetry'"):
        read_results(folder)


def test_a_missing_column_is_named(folder: Path) -> None:
    table = pd.read_parquet(folder / "comparisons.parquet").drop(columns="p_holm")
    table.to_parquet(folder / "comparisons.parquet")
    with pytest.raises(DataError, match="lacks column p_holm"):
        read_results(folder)


def test_a_missing_key_of_a_target_is_named(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    del summary["targets"][0]["unit"]
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(DataError, match="lacks unit of a target"):
        read_results(folder)


def test_missing_evidence_is_named(folder: Path) -> None:
    path = folder / "predictions" / "dominant_land_cover.parquet"
    pd.read_parquet(path).drop(columns="probabilities").to_parquet(path)
    with pytest.raises(DataError, match="lacks column probabilities"):
        read_results(folder)


def test_each_amount_of_labels_has_its_own_view(tmp_path: Path) -> None:
    results = read_results(with_amounts(write_study(tmp_path / "study", n_test=12, variants=VARIANTS[:3])))
    assert (results.labels, results.amounts) == (480, [5, 24, 48, 240, 480])
    few = results.at(24)
    assert set(few.leaderboard["n_labels"]) == {24}
    assert few.at(24) is few
    assert set(few.over_labels.leaderboard["n_labels"]) == set(results.amounts)
    with pytest.raises(UsageError, match="no results with 25 labels"):
        results.at(25)
